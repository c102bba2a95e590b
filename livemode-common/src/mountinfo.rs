//! /proc/self/mountinfo, as proc_pid_mountinfo(5) describes it.
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// One mount.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    /// The directory of the file system that is mounted here.
    pub root: PathBuf,
    /// Where it is mounted.
    pub target: PathBuf,
    /// Type of the file system.
    pub fstype: String,
    /// Device or other source.
    pub source: String,
    /// Options of the mount and of its superblock.
    pub options: Vec<String>,
}

/// The mounts of a mountinfo text, in its order; lines that are not in the format are passed over.
pub fn parse(text: &str) -> Vec<Mount> {
    text.lines().filter_map(parse_line).collect()
}

fn parse_line(line: &str) -> Option<Mount> {
    let (left, right) = line.split_once(" - ")?;
    let left: Vec<&str> = left.split(' ').collect();
    let right: Vec<&str> = right.split(' ').collect();
    let options = [left.get(5), right.get(2)]
        .into_iter()
        .flatten()
        .flat_map(|o| o.split(','));
    Some(Mount {
        root: unescape(left.get(3)?).into(),
        target: unescape(left.get(4)?).into(),
        fstype: (*right.first()?).to_owned(),
        source: unescape(right.get(1)?),
        options: options.map(str::to_owned).collect(),
    })
}

/// The kernel writes blanks, `\` and `#` as three octal digits.
fn unescape(field: &str) -> String {
    let bytes = field.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut i = 0;
    while i < bytes.len() {
        let octal = field
            .get(i + 1..i + 4)
            .and_then(|digits| u8::from_str_radix(digits, 8).ok());
        match (bytes[i], octal) {
            (b'\\', Some(byte)) => {
                out.push(byte);
                i += 4;
            }
            (byte, _) => {
                out.push(byte);
                i += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// The mount that holds `path`: the longest mount point above it, the last one where several are stacked.
pub fn holding<'a>(mounts: &'a [Mount], path: &Path) -> Option<&'a Mount> {
    mounts
        .iter()
        .filter(|m| path.starts_with(&m.target))
        .max_by_key(|m| m.target.components().count())
}

impl Mount {
    /// Where `path`, which lies in this mount, is on the file system itself: through bind mounts and subvolumes.
    pub fn on_device(&self, path: &Path) -> PathBuf {
        let below = path.strip_prefix(&self.target).unwrap_or(path);
        if below.as_os_str().is_empty() {
            self.root.clone()
        } else {
            self.root.join(below)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // From a Fedora 40 machine with btrfs subvolumes.
    const BTRFS: &str = "\
36 1 0:33 /root / rw,relatime shared:1 - btrfs /dev/nvme0n1p3 rw,seclabel,subvol=/root
50 36 0:33 /home /home rw,relatime shared:26 - btrfs /dev/nvme0n1p3 rw,subvol=/home
52 36 259:2 / /boot rw,relatime shared:28 - ext4 /dev/nvme0n1p2 rw,seclabel
60 36 0:33 /root/srv/my\\040dir /mnt rw - btrfs /dev/nvme0n1p3 rw
";

    #[test]
    fn a_path_is_found_on_its_device_through_subvolumes_and_binds() {
        let mounts = parse(BTRFS);
        let on_device = |path: &str| {
            let mount = holding(&mounts, Path::new(path)).unwrap();
            (mount.source.clone(), mount.on_device(Path::new(path)))
        };
        assert_eq!(
            on_device("/var/lib/leapp"),
            ("/dev/nvme0n1p3".into(), "/root/var/lib/leapp".into())
        );
        assert_eq!(on_device("/boot"), ("/dev/nvme0n1p2".into(), "/".into()));
        assert_eq!(
            on_device("/mnt/x"),
            ("/dev/nvme0n1p3".into(), "/root/srv/my dir/x".into())
        );
    }

    #[test]
    fn a_mount_has_its_own_options_and_its_file_systems() {
        let mounts = parse(BTRFS);
        assert_eq!(mounts.len(), 4);
        assert_eq!(
            mounts[0],
            Mount {
                root: "/root".into(),
                target: "/".into(),
                fstype: "btrfs".into(),
                source: "/dev/nvme0n1p3".into(),
                options: ["rw", "relatime", "rw", "seclabel", "subvol=/root"]
                    .map(str::to_owned)
                    .to_vec(),
            }
        );
    }

    #[test]
    fn what_is_no_line_of_it_is_passed_over() {
        for line in [
            "",
            "36 1 0:33 /root / rw",
            "36 1 0:33 - btrfs /dev/sda1 rw",
            "36 1 0:33 /root / rw - btrfs",
        ] {
            assert_eq!(parse(line), [], "{line}");
        }
    }

    #[test]
    fn of_mounts_on_one_place_the_last_one_holds() {
        let mounts = parse("1 0 8:1 / / rw - ext4 /dev/sda1 rw\n2 1 8:2 / /a rw - xfs /dev/sda2 rw\n3 2 8:3 / /a rw - xfs /dev/sda3 rw\n");
        let source = |path: &str| holding(&mounts, Path::new(path)).map(|m| m.source.as_str());
        assert_eq!(source("/a/b"), Some("/dev/sda3"));
        assert_eq!(
            source("/ab"),
            Some("/dev/sda1"),
            "a part of a name is no directory above"
        );
        assert_eq!(source("relative"), None);
    }
}
