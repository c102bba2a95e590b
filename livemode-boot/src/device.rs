//! The image on a file system: wait for its device, mount that, open the image.
use std::fs::{self, File};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{bail, Context, Result};
use livemode_common::mount::{in_private, MountSpec, MountStack};
use nix::sys::stat::{major, minor};
use sys_mount::MountFlags;

use crate::console::{say, Level};
use crate::plan::Disk;

/// Between two looks for the device.
const POLL: Duration = Duration::from_millis(100);
const BLOCK_DEVICES: &str = "/sys/class/block";
/// udev's records: a file for each device, named by its type and numbers (`b254:1`). Not documented, and the same since
/// systemd 205.
const UDEV_DATABASE: &str = "/run/udev/data";
/// What keeps a record when `udevadm info --cleanup-db` removes all others.
const STICKY: u32 = 0o1000;
/// Time for the block layer to show a device whose link udev has just made, and for the other devices of a btrfs to be
/// seen: 2 s.
const MOUNT_TRIES: u32 = 20;

/// The device node behind a link of udev's, once it is there; `reference` is what messages call it.
pub(crate) fn wait(device: &Path, reference: &str, deadline_s: u64) -> Result<PathBuf> {
    if !is_block_device(device) {
        say(Level::Info, &format!("waiting for {}", device.display()));
    }
    while !is_block_device(device) {
        if uptime_s()? >= deadline_s {
            bail!("the device {reference} did not appear within {deadline_s} s of boot");
        }
        std::thread::sleep(POLL);
    }
    device
        .canonicalize()
        .with_context(|| format!("following {}", device.display()))
}

/// The device, and all others with a file system of the same UUID: MD members, paths of multipath and snapshots of LVM
/// show that of the layer above them, and a copied disk has it too. Devices that others are made of come last.
pub(crate) fn with_the_same_name(reference: &str, device: PathBuf) -> Vec<PathBuf> {
    let (sys, udev) = (Path::new(BLOCK_DEVICES), Path::new(UDEV_DATABASE));
    let uuid = reference.strip_prefix("UUID=");
    let same = uuid.map_or_else(Vec::new, |uuid| with_uuid(uuid, sys, udev));
    let others = same.into_iter().filter(|node| *node != device);
    let others: Vec<PathBuf> = others.filter(|node| is_block_device(node)).collect();
    let mut all = [vec![device], others].concat();
    all.sort_by_key(|node| is_below_another(node, sys));
    all
}

/// The nodes of all devices of which udev knows that they hold the file system with this UUID, in no order.
fn with_uuid(uuid: &str, sys: &Path, udev: &Path) -> Vec<PathBuf> {
    let holds_it = |entry: &fs::DirEntry| {
        // A device may be gone by now, or unknown to udev.
        let number = fs::read_to_string(entry.path().join("dev")).unwrap_or_default();
        let record = fs::read_to_string(udev.join(format!("b{}", number.trim()))).unwrap_or_default();
        is_file_system(&record, uuid)
    };
    let entries = fs::read_dir(sys).into_iter().flatten().flatten();
    entries
        .filter(holds_it)
        .map(|entry| Path::new("/dev").join(entry.file_name()))
        .collect()
}

/// Lets udev's record of the device outlive the switch to the live system, as the option `db_persist` of a udev rule does:
/// what is mounted from it there is mounted at once, and not when all devices have been looked at once more. The layers below
/// it, if any, are known already, and udev looks at it again all the same.
pub(crate) fn keep_known(device: &Path) {
    if let Err(error) = keep_record(device, Path::new(UDEV_DATABASE)) {
        say(
            Level::Info,
            &format!("the live system will wait for udev: {error:#}"),
        );
    }
}

fn keep_record(device: &Path, udev: &Path) -> Result<()> {
    let number = fs::metadata(device)
        .with_context(|| format!("asking for {}", device.display()))?
        .rdev();
    let record = udev.join(format!("b{}:{}", major(number), minor(number)));
    let change = || -> std::io::Result<()> {
        let mut mode = fs::metadata(&record)?.permissions();
        mode.set_mode(mode.mode() | STICKY);
        fs::set_permissions(&record, mode)
    };
    change().with_context(|| format!("keeping {}", record.display()))
}

/// Whether udev's record of a device (udev(7), `E:KEY=VALUE`) says that it holds the file system with this UUID.
fn is_file_system(record: &str, uuid: &str) -> bool {
    let says = |text: &str| record.lines().any(|line| line == text);
    says(&format!("E:ID_FS_UUID={uuid}")) && says("E:ID_FS_USAGE=filesystem")
}

/// Whether another device is made of this one: an array, a volume, a mapping.
fn is_below_another(node: &Path, sys: &Path) -> bool {
    let name = node.file_name().unwrap_or_default();
    fs::read_dir(sys.join(name).join("holders")).is_ok_and(|mut holders| holders.next().is_some())
}

/// Mounts the device read-write, for the live system mounts the same superblock again, as part of the source system.
pub(crate) fn mount(device: &Path, target: &Path, mounts: &mut MountStack) -> Result<()> {
    mount_with(device, target, MountFlags::empty(), mounts)
}

/// Calls `act` while the device is mounted there, for this call alone. Nobody else sees that: systemd reads its table of mounts
/// anew at each change, and after a handful of them rests for a second, in which nothing goes on.
///
/// # Errors
/// Those of `act` before those of unmounting.
pub(crate) fn while_mounted<T: Send>(
    device: &Path,
    target: &Path,
    act: impl FnOnce() -> Result<T> + Send,
) -> Result<T> {
    in_private(|| {
        let mut mounts = MountStack::default();
        mount(device, target, &mut mounts)?;
        let result = act();
        let unmounted = mounts.unmount();
        let result = result?;
        unmounted?;
        Ok(result)
    })
}

/// Mounts the device read-only: where it was unmounted last, nothing is written to it.
pub(crate) fn mount_to_read(device: &Path, target: &Path, mounts: &mut MountStack) -> Result<()> {
    mount_with(device, target, MountFlags::RDONLY, mounts)
}

fn mount_with(device: &Path, target: &Path, flags: MountFlags, mounts: &mut MountStack) -> Result<()> {
    fs::create_dir_all(target).with_context(|| format!("creating {}", target.display()))?;
    let fstypes = candidate_fstypes(&fs::read_to_string("/proc/filesystems")?);
    let mut last = None;
    for attempt in 1..=MOUNT_TRIES {
        for fstype in &fstypes {
            match mounts.mount(&MountSpec::new(device, target, fstype, options(fstype)).flags(flags)) {
                Ok(()) => return Ok(()),
                // EINVAL: the device holds a file system of another type. Another error comes from the type that it does
                // hold, and says why that cannot be mounted.
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

/// Paths on a btrfs are named from its top level, whatever its default subvolume is (btrfs-subvolume(8)).
fn options(fstype: &str) -> &'static str {
    if fstype == "btrfs" {
        "subvolid=5"
    } else {
        ""
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

/// The image and its size in bytes, which must be `expected`.
pub(crate) fn open_image(disk: &Disk, expected: Option<u64>) -> Result<(File, u64)> {
    let named = disk.named();
    let file = match File::open(disk.file()) {
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
    match expected {
        Some(expected) if size < expected => {
            bail!("the image {named} is too short: {size} bytes of {expected}")
        }
        Some(expected) if size > expected => {
            bail!("the image {named} is too long: {size} bytes in place of {expected}")
        }
        _ => Ok((file, size)),
    }
}

pub(crate) fn is_block_device(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|m| m.file_type().is_block_device())
}

/// Seconds since boot.
pub(crate) fn uptime_s() -> Result<u64> {
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
    use livemode_common::cmd::Cmd;

    use super::*;

    #[test]
    fn a_member_of_an_array_is_no_file_system() {
        // Of udev 252, shortened.
        let record = "S:disk/by-uuid/6c69\nI:1\nE:ID_FS_UUID=6c69\nE:ID_FS_TYPE=ext4\nE:ID_FS_USAGE=filesystem\nG:systemd\n";
        assert!(is_file_system(record, "6c69"));
        assert!(!is_file_system(record, "6c6"));
        assert!(!is_file_system(&record.replace("=filesystem", "=raid"), "6c69"));
    }

    #[test]
    fn block_file_systems_are_tried_in_order_without_virtual_ones() {
        let listed = "nodev\tproc\n\text3\n\tbtrfs\n\tsquashfs\n";
        assert_eq!(
            candidate_fstypes(listed),
            ["ext4", "xfs", "btrfs", "vfat", "ext3", "squashfs"]
        );
    }

    #[test]
    fn devices_of_one_uuid_are_found_by_udevs_records() {
        let dir = tempfile::tempdir().unwrap();
        let (sys, udev) = (dir.path().join("sys"), dir.path().join("udev"));
        fs::create_dir(&udev).unwrap();
        for (name, number, uuid) in [
            ("vda1", "254:1", "6c69"),
            ("vdb1", "254:17", "0000"),
            ("dm-0", "253:0", "6c69"),
            ("loop0", "7:0", ""),
        ] {
            fs::create_dir_all(sys.join(name).join("holders")).unwrap();
            fs::write(sys.join(name).join("dev"), format!("{number}\n")).unwrap();
            if !uuid.is_empty() {
                let record = format!("E:ID_FS_UUID={uuid}\nE:ID_FS_USAGE=filesystem\n");
                fs::write(udev.join(format!("b{number}")), record).unwrap();
            }
        }
        fs::create_dir(sys.join("vda1/holders/dm-0")).unwrap();
        let mut found = with_uuid("6c69", &sys, &udev);
        found.sort();
        assert_eq!(found, [Path::new("/dev/dm-0"), Path::new("/dev/vda1")]);
        assert!(is_below_another(Path::new("/dev/vda1"), &sys));
        assert!(!is_below_another(Path::new("/dev/dm-0"), &sys));
        assert!(!is_below_another(Path::new("/dev/gone"), &sys));
    }

    #[test]
    fn udevs_record_of_the_device_is_kept_and_no_other() {
        let dir = tempfile::tempdir().unwrap();
        let device = Path::new("/dev/null");
        let fault = keep_record(device, dir.path()).unwrap_err();
        assert!(fault.to_string().starts_with("keeping "), "{fault:#}");
        let [its, other] = ["b1:3", "b1:5"].map(|name| dir.path().join(name));
        for record in [&its, &other] {
            fs::write(record, "").unwrap();
            fs::set_permissions(record, fs::Permissions::from_mode(0o644)).unwrap();
        }
        keep_record(device, dir.path()).unwrap();
        let mode = |record: &Path| fs::metadata(record).unwrap().mode() & 0o7777;
        assert_eq!((mode(&its), mode(&other)), (0o1644, 0o644));
    }

    fn disk(reference: &str, device: &str, mount: &Path) -> Disk {
        Disk {
            reference: reference.into(),
            device: device.into(),
            deadline_s: 0,
            mount: mount.to_owned(),
            path: "dir/live.img".into(),
        }
    }

    #[test]
    fn the_device_that_was_found_is_among_those_of_its_name() {
        for reference in ["UUID=6c697665-none", "LABEL=data", "/dev/null"] {
            assert_eq!(
                with_the_same_name(reference, "/dev/null".into()),
                [Path::new("/dev/null")]
            );
        }
    }

    #[test]
    fn a_device_that_is_none_is_waited_for_until_the_deadline() {
        for device in ["/dev/nowhere", "/dev/null", "/etc"] {
            let fault = wait(Path::new(device), "UUID=x", 0).unwrap_err();
            assert_eq!(
                fault.to_string(),
                "the device UUID=x did not appear within 0 s of boot"
            );
        }
        // This machine runs longer than the tests that it has to build first.
        assert!(uptime_s().unwrap() > 1);
    }

    #[test]
    fn what_stands_against_a_mount_is_said() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("made/for it");
        let mut mounts = MountStack::default();
        let fault = mount(Path::new("/dev/null"), &target, &mut mounts).unwrap_err();
        assert!(
            fault.to_string().starts_with("mounting /dev/null on "),
            "{fault:#}"
        );
        assert!(target.is_dir());
    }

    #[test]
    fn only_btrfs_is_mounted_with_options() {
        assert_eq!(options("btrfs"), "subvolid=5");
        assert_eq!(options("ext4"), "");
    }

    #[test]
    fn an_image_has_exactly_the_size_that_was_built() {
        let dir = tempfile::tempdir().unwrap();
        let disk = disk("UUID=x", "/dev/null", dir.path());
        let open = |size| {
            open_image(&disk, size)
                .map(|(_, size)| size)
                .map_err(|e| format!("{e:#}"))
        };
        let fault = |text: &str| Err(format!("the image /dir/live.img on UUID=x {text}"));
        assert_eq!(open(None), fault("is missing"));
        fs::create_dir_all(dir.path().join("dir/live.img")).unwrap();
        assert_eq!(open(None), fault("is no regular file"));
        fs::remove_dir(dir.path().join("dir/live.img")).unwrap();
        fs::write(dir.path().join("dir/live.img"), "1234567").unwrap();
        assert_eq!(open(None), Ok(7));
        assert_eq!(open(Some(7)), Ok(7));
        assert_eq!(open(Some(8)), fault("is too short: 7 bytes of 8"));
        assert_eq!(open(Some(6)), fault("is too long: 7 bytes in place of 6"));
        fs::remove_dir_all(dir.path().join("dir")).unwrap();
        fs::write(dir.path().join("dir"), "").unwrap();
        let fault = open(None).unwrap_err();
        assert!(
            fault.starts_with("opening the image /dir/live.img on UUID=x: Not a directory"),
            "{fault}"
        );
    }

    #[test]
    fn an_errno_is_found_below_its_context() {
        let error = anyhow::Error::from(std::io::Error::from_raw_os_error(22)).context("mounting");
        assert!(is_errno(&error, nix::errno::Errno::EINVAL));
        assert!(!is_errno(&error, nix::errno::Errno::EBUSY));
    }

    #[test]
    fn on_a_slow_machine_the_clock_ends_dracuts_rounds() {
        let hook = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/dracut/90livemode/livemode-settled.sh"
        );
        // RDRETRY is in half seconds: 2 have passed since boot for sure, the other has not.
        for (round, retries, then) in [
            ("0", "2", "2"),
            ("1", "2", "2"),
            ("7", "2", "7"),
            ("0", "999999999999", "0"),
        ] {
            let script = format!("main_loop={round} RDRETRY={retries}; . {hook}; printf %s $main_loop");
            let said = Cmd::new("sh").args(["-euc", &script]).read().unwrap();
            assert_eq!(said, then, "{round} of {retries}");
        }
    }
}
