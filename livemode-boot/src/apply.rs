//! Carries the plan out: wait, mount the device, check the image, mount it, put an overlay over it.
use std::fs::{self, File};
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{bail, Context, Result};
use livemode_common::contract::{BootRecord, Phase, Step, BOOT_RECORD, SCHEMA};
use livemode_common::fsio;
use livemode_common::journal::{to_json, Journal};
use livemode_common::loopback::LoopGuard;
use livemode_common::mount::{MountSpec, MountStack};
use sys_mount::MountFlags;

use crate::console::{say, Level};
use crate::params::Check;
use crate::plan::MountPlan;

const POLL: Duration = Duration::from_millis(100);
/// Time for the block layer to show a device whose link udev has just made.
const MOUNT_TRIES: u32 = 3;
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

/// An error unless the device is there or its deadline has passed.
pub(crate) fn settled(plan: &MountPlan) -> Result<()> {
    if plan.device.as_deref().is_none_or(is_block_device) || uptime_s()? >= plan.deadline_s {
        return Ok(());
    }
    bail!("waiting for {}", plan.reference)
}

/// Mounts the image at the plan's sysroot and records how long each step took. What was mounted before an
/// error is unmounted again.
pub(crate) fn mount(plan: &MountPlan) -> Result<()> {
    let mut clock = Clock {
        last: Instant::now(),
        steps: Vec::new(),
    };
    let mut mounts = MountStack::default();

    let device = wait(plan)?;
    clock.done("wait for the device");

    mount_device(plan, &device, &mut mounts)?;
    clock.done("mount the device");

    let (file, size) = open_image(plan)?;
    let sha256 = check_digest(plan, &file)?;
    if sha256.is_some() {
        clock.done("check the digest");
    }

    mount_image(plan, &file, &mut mounts)?;
    clock.done("mount the image");

    mount_overlay(plan, &mut mounts)?;
    clock.done("mount the overlay");

    let total: u64 = clock.steps.iter().map(|s| s.ms).sum();
    let record = BootRecord {
        schema: SCHEMA,
        device: device.display().to_string(),
        image: format!("/{}", plan.path.display()),
        size,
        sha256,
        steps: clock.steps,
    };
    fsio::atomic_write(Path::new(BOOT_RECORD), &to_json(&record)?, 0o644)?;
    mounts.keep();
    say(
        Level::Info,
        &format!(
            "{} of {} is mounted as root ({total} ms)",
            record.image, plan.reference
        ),
    );
    Ok(())
}

/// Puts a refusal into the source system's journal, where the plan says that it lies on the image's device; gives
/// whether it did.
pub(crate) fn record_refusal(plan: &MountPlan, fault: &str) -> Result<bool> {
    let (Some(device), Some(dir)) = (&plan.device, &plan.state_dir) else {
        return Ok(false);
    };
    if !is_block_device(device) {
        return Ok(false);
    }
    let mut mounts = MountStack::default();
    mount_device(plan, device, &mut mounts)?;
    let journal = Journal::in_dir(dir);
    // Only what `build` has begun: no other disk is written to.
    let Some(state) = journal.state()? else {
        return Ok(false);
    };
    let message = format!("the image was refused in early boot: {fault}");
    journal.record(Phase::Failed, state.attempt, &message, None)?;
    mounts.unmount()?;
    Ok(true)
}

fn wait(plan: &MountPlan) -> Result<PathBuf> {
    let Some(device) = &plan.device else {
        bail!(
            "{}: loading the image from a URL is not supported by this version",
            plan.reference
        )
    };
    if !is_block_device(device) {
        say(Level::Info, &format!("waiting for {}", device.display()));
    }
    while !is_block_device(device) {
        if uptime_s()? >= plan.deadline_s {
            let s = plan.deadline_s;
            bail!(
                "the device {} did not appear within {s} s of boot",
                plan.reference
            );
        }
        std::thread::sleep(POLL);
    }
    device
        .canonicalize()
        .with_context(|| format!("following {}", device.display()))
}

/// Read-write, for the live system mounts the same superblock again, as part of the source system.
fn mount_device(plan: &MountPlan, device: &Path, mounts: &mut MountStack) -> Result<()> {
    create_dir(&plan.device_mount)?;
    let fstypes = candidate_fstypes(&fs::read_to_string("/proc/filesystems")?);
    let mut last = None;
    for attempt in 1..=MOUNT_TRIES {
        for fstype in &fstypes {
            match mounts.mount(&MountSpec::new(device, &plan.device_mount, fstype, "")) {
                Ok(()) => return Ok(()),
                // EINVAL: no such superblock. The reason of the one type that knew it is worth telling.
                Err(e) if is_errno(&e, nix::errno::Errno::EINVAL) => {}
                Err(e) => last = Some(e),
            }
        }
        if attempt < MOUNT_TRIES {
            std::thread::sleep(POLL);
        }
    }
    match last {
        Some(error) => Err(error),
        None => bail!(
            "{} holds no file system that this initramfs can mount",
            device.display()
        ),
    }
}

/// The file systems for block devices in an order that tells them apart: the modules the initramfs has for
/// sources are tried even before they are loaded (mount(2) loads them by name), then all the kernel lists.
fn candidate_fstypes(filesystems: &str) -> Vec<String> {
    let mut types: Vec<String> = ["ext4", "xfs", "btrfs", "vfat"].map(str::to_owned).to_vec();
    for line in filesystems.lines().filter(|l| !l.starts_with("nodev")) {
        let name = line.trim().to_owned();
        if !types.contains(&name) && !name.is_empty() {
            types.push(name);
        }
    }
    types
}

fn open_image(plan: &MountPlan) -> Result<(File, u64)> {
    let path = plan.image_file();
    let named = format!("/{} on {}", plan.path.display(), plan.reference);
    let file = match File::open(&path) {
        Ok(file) => file,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => bail!("the image {named} is missing"),
        Err(e) => return Err(e).with_context(|| format!("opening the image {named}")),
    };
    let metadata = file
        .metadata()
        .with_context(|| format!("looking at the image {named}"))?;
    if !metadata.is_file() {
        bail!("the image {named} is no regular file");
    }
    let size = metadata.len();
    match plan.size_bytes {
        Some(expected) if size < expected => {
            bail!("the image {named} is too short: {size} bytes of {expected}")
        }
        Some(expected) if size > expected => {
            bail!("the image {named} is too long: {size} bytes in place of {expected}")
        }
        _ => Ok((file, size)),
    }
}

fn check_digest(plan: &MountPlan, file: &File) -> Result<Option<String>> {
    let expected = match &plan.check {
        Check::Sha256(expected) => expected,
        Check::Off(warning) => {
            say(Level::Warning, warning);
            return Ok(None);
        }
    };
    let (found, _) = fsio::sha256(file, |_| ()).context("reading the image")?;
    if found != *expected {
        bail!(
            "the image /{} on {} has the wrong digest: sha256 {found} in place of {expected}",
            plan.path.display(),
            plan.reference
        );
    }
    Ok(Some(found))
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

fn is_block_device(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|m| m.file_type().is_block_device())
}

fn uptime_s() -> Result<u64> {
    let text = fs::read_to_string("/proc/uptime").context("reading /proc/uptime")?;
    let seconds = text.split(['.', ' ']).next().and_then(|s| s.parse().ok());
    seconds.context("reading /proc/uptime")
}

fn is_errno(error: &anyhow::Error, errno: nix::errno::Errno) -> bool {
    error.chain().any(|cause| {
        cause
            .downcast_ref::<std::io::Error>()
            .is_some_and(|e| e.raw_os_error() == Some(errno as i32))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn block_file_systems_are_tried_in_order_without_virtual_ones() {
        let listed = "nodev\tproc\n\text3\n\tbtrfs\n\tsquashfs\n";
        assert_eq!(
            candidate_fstypes(listed),
            ["ext4", "xfs", "btrfs", "vfat", "ext3", "squashfs"]
        );
    }
}
