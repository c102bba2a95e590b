//! Carries the plan out: get the image, check it, mount it, put an overlay over it.
use std::fs::{self, File};
use std::path::Path;
use std::time::Instant;

use anyhow::{bail, Context, Result};
use livemode_common::contract::{BOOT_RECORD, SCHEMA};
use livemode_common::fsio;
use livemode_common::loopback::LoopGuard;
use livemode_common::mount::{MountSpec, MountStack};
use livemode_common::records::{to_json, BootRecord, Records, Step};
use sys_mount::MountFlags;

use crate::console::{say, Level};
use crate::device::{self, is_block_device, uptime_s};
use crate::fetch;
use crate::params::Check;
use crate::plan::{Disk, Fetch, MountPlan, Source};
use crate::store::{self, Store};

/// Where the squashfs superblock has its magic and its compression id
/// (Documentation/filesystems/squashfs.rst and fs/squashfs/squashfs_fs.h).
const SQUASHFS_MAGIC: [u8; 4] = *b"hsqs";
const COMPRESSION_OFFSET: usize = 20;
const COMPRESSORS: [&str; 7] = ["", "gzip", "lzma", "lzo", "xz", "lz4", "zstd"];

/// Measures what happens between its calls.
struct Clock {
    last: Instant,
    steps: Vec<Step>,
}

impl Clock {
    fn done(&mut self, name: &str) {
        let ms = self.last.elapsed().as_millis().try_into().unwrap_or(u64::MAX);
        self.steps.push(Step {
            name: name.to_owned(),
            ms,
        });
        self.last = Instant::now();
    }
}

/// The image, open, as large as it must be and with the right digest; what it lies on is mounted.
struct Image {
    file: File,
    size: u64,
    /// The SHA-256 that it was found to have; absent when the check was off.
    sha256: Option<String>,
    /// The device it lies on, or the URL it was fetched from.
    from: String,
    /// Its path: on that device, or in memory.
    path: String,
    mounts: MountStack,
}

/// An error unless dracut's initqueue may end: the devices of the image and of the records are there, or the image comes from
/// a URL (dracut itself then waits for the network). At the deadline the other conditions of the queue, in `conditions`, go: a
/// network that never comes must not keep the machine for ever.
pub(crate) fn settled(plan: &MountPlan, conditions: Option<&Path>) -> Result<()> {
    if uptime_s()? >= plan.deadline_s {
        for entry in conditions.into_iter().flat_map(fs::read_dir).flatten() {
            let path = entry?.path();
            say(
                Level::Warning,
                &format!("no longer waiting for {}", path.display()),
            );
            fs::remove_file(&path).with_context(|| format!("removing {}", path.display()))?;
        }
        return Ok(());
    }
    let is_settled = |place| store::is_settled(place);
    if !plan.store.as_ref().is_none_or(is_settled) {
        bail!("waiting for the devices of the layers");
    }
    if let Some(Source::Disk(disk)) = plan.sources.first() {
        if !is_block_device(&disk.device) {
            bail!("waiting for {}", disk.reference);
        }
    }
    match &plan.state_device {
        Some(device) if !is_block_device(device) => bail!("waiting for {}", device.display()),
        _ => Ok(()),
    }
}

/// Mounts the image at the plan's sysroot and records how long each step took. What was mounted before an
/// error is unmounted again.
pub(crate) fn mount(plan: &MountPlan) -> Result<()> {
    let mut clock = Clock {
        last: Instant::now(),
        steps: Vec::new(),
    };
    let mut image = obtain(plan, &mut clock)?;
    mount_image(plan, &image.file, &mut image.mounts)?;
    clock.done("mount the image");

    mount_overlay(plan, &mut image.mounts)?;
    clock.done("mount the overlay");

    let total: u64 = clock.steps.iter().map(|s| s.ms).sum();
    let record = BootRecord {
        schema: SCHEMA,
        device: image.from,
        image: image.path,
        size: image.size,
        sha256: image.sha256,
        steps: clock.steps,
    };
    fsio::atomic_write(Path::new(BOOT_RECORD), &to_json(&record)?, 0o644)?;
    image.mounts.keep();
    let (path, from) = (&record.image, &record.device);
    say(
        Level::Info,
        &format!("{path} of {from} is mounted as root ({total} ms)"),
    );
    Ok(())
}

/// The image, from the first of the plan's sources that has it.
fn obtain(plan: &MountPlan, clock: &mut Clock) -> Result<Image> {
    let mut faults = Vec::new();
    for source in &plan.sources {
        if let Some(fault) = faults.last() {
            say(Level::Warning, &format!("{fault}; taking the local image"));
        }
        let image = match source {
            Source::Url(url) => from_url(url, plan, clock),
            Source::Disk(disk) => from_disk(disk, plan, clock),
        };
        match image {
            Ok(image) => return Ok(image),
            Err(error) => faults.push(format!("{error:#}")),
        }
    }
    bail!("{}", faults.join("; and "))
}

fn from_disk(disk: &Disk, plan: &MountPlan, clock: &mut Clock) -> Result<Image> {
    let device = device::wait(&disk.device, &disk.reference, disk.deadline_s)?;
    clock.done("wait for the device");
    let mut faults = Vec::new();
    for device in device::with_the_same_name(&disk.reference, device) {
        if let Some(fault) = faults.last() {
            let next = device.display();
            say(
                Level::Warning,
                &format!("{fault}; {next} has that name too, looking there"),
            );
        }
        match from_device(&device, disk, plan, clock) {
            Ok(image) => return Ok(image),
            Err(error) => faults.push(format!("{error:#}")),
        }
    }
    bail!("{}", faults.join("; and "))
}

fn from_device(device: &Path, disk: &Disk, plan: &MountPlan, clock: &mut Clock) -> Result<Image> {
    let mut mounts = MountStack::default();
    device::mount(device, &disk.mount, &mut mounts)?;
    clock.done("mount the device");
    device::keep_known(device);

    let (file, size) = device::open_image(disk, plan.size_bytes)?;
    let sha256 = match &plan.check {
        Check::Off(warning) => {
            say(Level::Warning, warning);
            None
        }
        Check::Sha256(expected) => {
            let (found, _) = fsio::sha256_of(&file, |_| ()).context("reading the image")?;
            if found != *expected {
                let named = disk.named();
                bail!("the image {named} has the wrong digest: sha256 {found} in place of {expected}");
            }
            clock.done("check the digest");
            Some(found)
        }
    };
    Ok(Image {
        file,
        size,
        sha256,
        from: device.display().to_string(),
        path: format!("/{}", disk.path.display()),
        mounts,
    })
}

fn from_url(url: &Fetch, plan: &MountPlan, clock: &mut Clock) -> Result<Image> {
    let mut mounts = MountStack::default();
    if let Check::Off(warning) = &plan.check {
        say(Level::Warning, warning);
    }
    let fetched = fetch::fetch(url, plan.size_bytes, &plan.check, &mut mounts)?;
    clock.done("fetch the image");
    Ok(Image {
        file: fetched.file,
        size: fetched.size,
        sha256: Some(fetched.sha256).filter(|_| matches!(plan.check, Check::Sha256(_))),
        from: url.shown.clone(),
        path: url.file().display().to_string(),
        mounts,
    })
}

/// Records a refusal in the source system's state.json, where the plan says on which device that lies; gives whether it did. Neither success nor a failed attempt of the upgrade is hidden by it.
pub(crate) fn record_refusal(plan: &MountPlan, fault: &str) -> Result<bool> {
    with_records(plan, |records| {
        // Only what `build` has begun: no other disk is written to.
        if records.state()?.is_none() {
            return Ok(false);
        }
        records.update(|last| last.and_then(|last| last.refused(fault)))
    })
}

/// Calls `act` with the source system's records, mounted for that moment; false where it is not known on which device
/// they lie, or that is not there.
pub(crate) fn with_records(
    plan: &MountPlan,
    act: impl FnOnce(&Records) -> Result<bool> + Send,
) -> Result<bool> {
    if let Some(place) = &plan.store {
        return act(&Store::open(plan, place)?.records()?);
    }
    let (Some((device, mount)), Some(dir)) = (plan.records(), &plan.state_dir) else {
        return Ok(false);
    };
    if !is_block_device(device) {
        return Ok(false);
    }
    device::while_mounted(device, mount, || act(&Records::in_dir(dir)))
}

fn mount_image(plan: &MountPlan, file: &File, mounts: &mut MountStack) -> Result<()> {
    create_dir(&plan.image_mount)?;
    let device = LoopGuard::attach_read_only(file)?;
    let spec = MountSpec::new(device.path(), &plan.image_mount, "squashfs", "").flags(MountFlags::RDONLY);
    mounts.mount(&spec).map_err(|error| match compressor(file) {
        None => error.context("the image is no squashfs file system"),
        Some(name) => error.context(format!(
            "the kernel cannot mount the image: it is compressed with {name}; is that in the kernel (CONFIG_SQUASHFS_{})?",
            if name == "gzip" { "ZLIB".to_owned() } else { name.to_uppercase() }
        )),
    })
}

fn compressor(file: &File) -> Option<String> {
    use std::os::unix::fs::FileExt;
    let mut superblock = [0; COMPRESSION_OFFSET + 2];
    file.read_exact_at(&mut superblock, 0).ok()?;
    if superblock[..4] != SQUASHFS_MAGIC {
        return None;
    }
    let id = usize::from(u16::from_le_bytes([
        superblock[COMPRESSION_OFFSET],
        superblock[COMPRESSION_OFFSET + 1],
    ]));
    Some(
        COMPRESSORS
            .get(id)
            .filter(|n| !n.is_empty())
            .map_or(format!("the unknown compressor {id}"), |n| (*n).to_owned()),
    )
}

fn mount_overlay(plan: &MountPlan, mounts: &mut MountStack) -> Result<()> {
    create_dir(&plan.overlay_mount)?;
    let options = format!("mode=0755,size={}", plan.overlay_size);
    mounts.mount(&MountSpec::new(
        "livemode",
        &plan.overlay_mount,
        "tmpfs",
        &options,
    ))?;
    create_dir(&plan.upper())?;
    create_dir(&plan.work())?;
    create_dir(&plan.sysroot)?;
    mounts.mount(&MountSpec::new(
        "livemode",
        &plan.sysroot,
        "overlay",
        &plan.overlay_options(),
    ))
}

fn create_dir(path: &Path) -> Result<()> {
    fs::create_dir_all(path).with_context(|| format!("creating {}", path.display()))
}
