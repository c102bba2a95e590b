//! The image on a file system: wait for its device, mount that, open the image.
use std::fs::{self, File};
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{bail, Context, Result};
use livemode_common::mount::{MountSpec, MountStack};

use crate::console::{say, Level};
use crate::plan::Disk;

/// Between two looks for the device.
const POLL: Duration = Duration::from_millis(100);
const BLOCK_DEVICES: &str = "/sys/class/block";
/// udev's records: a file for each device, named by its type and numbers (`b254:1`). Not documented, and the same since
/// systemd 205.
const UDEV_DATABASE: &str = "/run/udev/data";
/// Time for the block layer to show a device whose link udev has just made, and for the other devices of a btrfs to be
/// seen: 2 s.
const MOUNT_TRIES: u32 = 20;

/// The device node behind the reference, once it is there.
pub(crate) fn wait(disk: &Disk) -> Result<PathBuf> {
    let device = &disk.device;
    if !is_block_device(device) {
        say(Level::Info, &format!("waiting for {}", device.display()));
    }
    while !is_block_device(device) {
        if uptime_s()? >= disk.deadline_s {
            let s = disk.deadline_s;
            bail!(
                "the device {} did not appear within {s} s of boot",
                disk.reference
            );
        }
        std::thread::sleep(POLL);
    }
    device
        .canonicalize()
        .with_context(|| format!("following {}", device.display()))
}

/// The device, and all others with a file system of the same UUID: MD members, paths of multipath and snapshots of LVM
/// show that of the layer above them, and a copied disk has it too. Devices that others are made of come last.
pub(crate) fn with_the_same_name(disk: &Disk, device: PathBuf) -> Vec<PathBuf> {
    let mut all = vec![device];
    if let Some(uuid) = disk.reference.strip_prefix("UUID=") {
        for entry in fs::read_dir(BLOCK_DEVICES).into_iter().flatten().flatten() {
            let node = Path::new("/dev").join(entry.file_name());
            let number = fs::read_to_string(entry.path().join("dev")).unwrap_or_default();
            let known = fs::read_to_string(format!("{UDEV_DATABASE}/b{}", number.trim())).unwrap_or_default();
            if is_file_system(&known, uuid) && !all.contains(&node) && is_block_device(&node) {
                all.push(node);
            }
        }
    }
    all.sort_by_key(|node| is_below_another(node));
    all
}

/// Whether udev's record of a device (udev(7), `E:KEY=VALUE`) says that it holds the file system with this UUID.
fn is_file_system(record: &str, uuid: &str) -> bool {
    let says = |text: &str| record.lines().any(|line| line == text);
    says(&format!("E:ID_FS_UUID={uuid}")) && says("E:ID_FS_USAGE=filesystem")
}

fn is_below_another(node: &Path) -> bool {
    let name = node.file_name().unwrap_or_default();
    fs::read_dir(Path::new(BLOCK_DEVICES).join(name).join("holders"))
        .is_ok_and(|mut holders| holders.next().is_some())
}

/// Mounts the device read-write, for the live system mounts the same superblock again, as part of the source system.
pub(crate) fn mount(device: &Path, target: &Path, mounts: &mut MountStack) -> Result<()> {
    fs::create_dir_all(target).with_context(|| format!("creating {}", target.display()))?;
    let fstypes = candidate_fstypes(&fs::read_to_string("/proc/filesystems")?);
    let mut last = None;
    for attempt in 1..=MOUNT_TRIES {
        for fstype in &fstypes {
            match mounts.mount(&MountSpec::new(device, target, fstype, options(fstype))) {
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
}
