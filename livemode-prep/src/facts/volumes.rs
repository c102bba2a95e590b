//! What an upgrade that is all or nothing is planned by: the file systems on this machine's devices, how much is going to be
//! written to each, and where the boot loader lies outside of them.
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Result;
use livemode_common::cmd::Cmd;
use livemode_common::mountinfo::Mount;
use livemode_common::store::Sectors;
use livemode_common::sysroot::SysRoot;
use nix::sys::statvfs::statvfs;
use serde::{Deserialize, Serialize};

use super::source::Place;

/// Where leapp has dnf put what it downloads.
const DOWNLOADS: [&str; 2] = ["var/lib/leapp", "var/cache/dnf"];
/// Reading the headers of some thousand packages.
const READING: Duration = Duration::from_secs(300);
const FILE_SIZES: &str = "[%{FILENAMES}\\t%{FILESIZES}\\n]";
/// What packages own, where it is not known which ones come: most of them are replaced.
const OF_PACKAGES: &str = "usr";
const SECTOR: u64 = 512;
/// Boot code in the master boot record ends where its disk signature begins.
const MBR_CODE: u64 = 440;
/// A partition of boot code (BIOS boot, PReP) is no larger.
const BOOT_PARTITION_AT_MOST: u64 = 16 << 20;

/// A mounted file system on a device.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Volume {
    pub(crate) fstype: String,
    /// Size of the device.
    pub(crate) bytes: u64,
    pub(crate) used_bytes: u64,
    /// Its top directory.
    pub(crate) place: Place,
    /// What the upgrade is going to put there.
    pub(crate) incoming_bytes: u64,
}

/// All of it.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Volumes {
    /// By mount point, as the source sees it.
    pub(crate) mounted: BTreeMap<String, Volume>,
    /// How many packages leapp has downloaded; without any, what is installed stands for what comes.
    pub(crate) downloaded: usize,
    /// Where the boot loader lies on the disks below /boot.
    pub(crate) boot_code: Vec<Sectors>,
    /// Why a store could not be made, once that was tried.
    #[serde(default)]
    pub(crate) no_store: Option<String>,
}

impl Volumes {
    pub(crate) fn look(root: &SysRoot, mounts: &[Mount]) -> Result<Self> {
        let mut volumes = Self::default();
        for mount in mounts.iter().filter(|mount| mount.source.starts_with("/dev/")) {
            let dir = root.at(&mount.target);
            let Some(bytes) = device_number(&dir).and_then(|number| size(&number)) else {
                continue;
            };
            let stat = statvfs(&dir)?;
            let blocks = (stat.blocks() - stat.blocks_free()) as u64;
            let volume = Volume {
                fstype: mount.fstype.clone(),
                bytes,
                used_bytes: blocks * stat.fragment_size() as u64,
                place: Place::look(dir)?,
                incoming_bytes: 0,
            };
            volumes.mounted.insert(mount.target.display().to_string(), volume);
        }
        let downloads = downloads(root);
        volumes.downloaded = downloads.len();
        if downloads.is_empty() || !volumes.add_packages(&downloads) {
            volumes.downloaded = 0;
            volumes.add_tree(&root.at(OF_PACKAGES), root);
        }
        volumes.boot_code = boot_code(&root.at("boot"));
        Ok(volumes)
    }

    /// The files of packages, by where they are going to be; gives whether rpm could tell.
    fn add_packages(&mut self, packages: &[PathBuf]) -> bool {
        let list = Cmd::new("rpm")
            .args(["-qp", "--nosignature", "--nodigest", "--qf", FILE_SIZES])
            .args(packages)
            .limit(READING)
            .read();
        let Ok(list) = list else { return false };
        for (path, size) in list.lines().filter_map(|line| line.rsplit_once('\t')) {
            self.add(path, size.parse().unwrap_or(0));
        }
        true
    }

    fn add_tree(&mut self, dir: &Path, root: &SysRoot) {
        for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
            let Ok(meta) = entry.metadata() else { continue };
            if meta.is_dir() {
                self.add_tree(&entry.path(), root);
            } else {
                let inside = root.inside(&entry.path());
                self.add(&inside.to_string_lossy(), meta.len());
            }
        }
    }

    fn add(&mut self, path: &str, bytes: u64) {
        let holding = self
            .mounted
            .iter_mut()
            .filter(|(mount, _)| Path::new(path).starts_with(mount));
        if let Some((_, volume)) = holding.max_by_key(|(mount, _)| mount.len()) {
            // In whole blocks, and the inode.
            volume.incoming_bytes += bytes.next_multiple_of(4096) + 512;
        }
    }
}

fn downloads(root: &SysRoot) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let leapp = fs::read_dir(root.at(DOWNLOADS[0]))
        .into_iter()
        .flatten()
        .flatten();
    for container in leapp.filter(|entry| entry.file_name().to_string_lossy().ends_with("userspace")) {
        packages_below(&container.path().join(DOWNLOADS[1]), &mut found);
    }
    found.sort();
    found
}

fn packages_below(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            packages_below(&path, found);
        } else if path.extension().is_some_and(|end| end == "rpm") {
            found.push(path);
        }
    }
}

fn device_number(dir: &Path) -> Option<String> {
    let dev = fs::metadata(dir).ok()?.dev();
    Some(format!(
        "{}:{}",
        nix::sys::stat::major(dev),
        nix::sys::stat::minor(dev)
    ))
}

fn number_in(path: PathBuf) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

fn size(number: &str) -> Option<u64> {
    number_in(Path::new("/sys/dev/block").join(number).join("size")).map(|sectors| sectors * SECTOR)
}

/// Of each disk below /boot: the code in its first sector, what lies before its first partition where nothing else does, and
/// small partitions that hold no file system.
fn boot_code(boot: &Path) -> Vec<Sectors> {
    let device = device_number(boot).map(|number| Path::new("/sys/dev/block").join(number));
    let device = device.and_then(|path| path.canonicalize().ok());
    let mut partitions = Vec::new();
    leaves(device.into_iter().collect(), &mut partitions);
    partitions
        .iter()
        .flat_map(|partition| of_disk(partition))
        .collect()
}

/// The devices that nothing lies below, in sysfs.
fn leaves(devices: Vec<PathBuf>, found: &mut Vec<PathBuf>) {
    for device in devices {
        let slaves: Vec<PathBuf> = fs::read_dir(device.join("slaves"))
            .into_iter()
            .flatten()
            .flatten()
            .filter_map(|entry| entry.path().canonicalize().ok())
            .collect();
        if slaves.is_empty() {
            found.push(device);
        } else {
            leaves(slaves, found);
        }
    }
}

fn of_disk(partition: &Path) -> Vec<Sectors> {
    let Some(disk) = partition
        .parent()
        .filter(|_| partition.join("partition").exists())
    else {
        return Vec::new();
    };
    let node = |sys: &Path| Path::new("/dev").join(sys.file_name().unwrap_or_default());
    let Some(beside) = partition_uuid(&node(partition)) else {
        return Vec::new();
    };
    let sectors = |at: u64, bytes: u64| Sectors {
        beside: format!("/dev/disk/by-partuuid/{beside}"),
        at,
        bytes,
    };
    let mut head = [0; 8];
    let file = File::open(node(disk));
    let is_gpt = file.is_ok_and(|file| file.read_exact_at(&mut head, SECTOR).is_ok()) && head == *b"EFI PART";
    let others: Vec<(PathBuf, u64, u64)> = fs::read_dir(disk)
        .into_iter()
        .flatten()
        .flatten()
        .filter(|entry| entry.path().join("partition").exists())
        .filter_map(|entry| {
            let start = number_in(entry.path().join("start"))? * SECTOR;
            let bytes = number_in(entry.path().join("size"))? * SECTOR;
            Some((entry.path(), start, bytes))
        })
        .collect();
    let mut found = vec![sectors(0, MBR_CODE)];
    let first = others.iter().map(|(_, start, _)| *start).min();
    if let Some(first) = first.filter(|first| !is_gpt && (SECTOR..=BOOT_PARTITION_AT_MOST).contains(first)) {
        found.push(sectors(SECTOR, first - SECTOR));
    }
    for (path, start, bytes) in others {
        let is_small = bytes <= BOOT_PARTITION_AT_MOST && bytes > 0;
        let holds_nothing = || {
            let holders = fs::read_dir(path.join("holders"));
            let is_used = holders.is_ok_and(|mut holders| holders.next().is_some());
            let kind = Cmd::new("blkid")
                .args(["-p", "-s", "TYPE", "-o", "value"])
                .arg(node(&path))
                .limit(super::tools::ASKING)
                .output();
            !is_used && kind.is_ok_and(|(_, kind, _)| kind.trim().is_empty())
        };
        if is_small && holds_nothing() {
            found.push(sectors(start, bytes));
        }
    }
    found
}

fn partition_uuid(node: &Path) -> Option<String> {
    let found = Cmd::new("blkid")
        .args(["-p", "-s", "PART_ENTRY_UUID", "-o", "value"])
        .arg(node)
        .limit(super::tools::ASKING)
        .read()
        .ok()?;
    Some(found.trim().to_owned()).filter(|uuid| !uuid.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_counts_where_it_is_going_to_be() {
        let volume = Volume::default;
        let mut volumes = Volumes {
            mounted: ["/", "/usr", "/var"]
                .map(|mount| (mount.to_owned(), volume()))
                .into(),
            ..Volumes::default()
        };
        volumes.add("/usr/bin/bash", 5000);
        volumes.add("/etc/passwd", 1);
        volumes.add("/variable", 1);
        let bytes = |mount: &str| volumes.mounted[mount].incoming_bytes;
        assert_eq!(
            (bytes("/usr"), bytes("/var"), bytes("/")),
            (8192 + 512, 0, 2 * (4096 + 512))
        );
    }

    #[test]
    fn downloads_are_found_in_leapps_container_only() {
        let dir = tempfile::tempdir().unwrap();
        for path in [
            "var/lib/leapp/el9userspace/var/cache/dnf/base-1/packages/a.rpm",
            "var/lib/leapp/el9userspace/root/b.rpm",
            "var/lib/leapp/scratch/var/cache/dnf/c.rpm",
        ] {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        let found = downloads(&SysRoot::new(dir.path()));
        assert_eq!(found.len(), 1);
        assert!(found[0].ends_with("base-1/packages/a.rpm"));
    }
}
