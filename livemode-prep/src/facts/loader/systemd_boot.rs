//! systemd-boot as the source system sees it: the partitions that it reads, and what it says of itself.
use std::path::{Path, PathBuf};

use anyhow::Result;
use livemode_common::loader::efivars;
use livemode_common::loader::systemd_boot::files::{self, ENTRIES};
use livemode_common::loader::systemd_boot::SystemdBoot;
use livemode_common::sysroot::SysRoot;
use serde::{Deserialize, Serialize};

use crate::facts::source::{MountTable, Place};

/// How its name begins, which it leaves in a variable.
const NAME: &str = "systemd-boot";
/// Where the EFI system partition is mounted (bootctl(1)).
const ESP: [&str; 3] = ["/efi", "/boot", "/boot/efi"];
/// Where the partition with the kernels is, if that is another one ($BOOT; UAPI.1 Boot Loader Specification).
const EXTENDED: &str = "/boot";

/// systemd-boot's files. Paths as the source system sees them.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct SystemdBootFiles {
    /// Where the EFI system partition is mounted.
    pub(crate) esp: PathBuf,
    /// Where the partition is that entries and kernels are put on.
    pub(crate) boot: PathBuf,
    /// The same as a directory that is written to.
    pub(crate) place: Place,
    /// All that it goes by.
    pub(crate) loader: SystemdBoot,
}

/// None where another loader has booted the system.
pub(super) fn look(root: &SysRoot, table: &MountTable) -> Result<Option<Result<SystemdBootFiles, String>>> {
    let variables = root.at(efivars::DIR);
    let info = efivars::read(&variables, efivars::LOADER_INFO).ok().flatten();
    if !info.is_some_and(|info| info.starts_with(NAME)) {
        return Ok(None);
    }
    let mut esp = None;
    for dir in ESP {
        if is_partition(root, table, dir)? && root.at(dir).join("EFI").is_dir() {
            esp = Some(PathBuf::from(dir));
            break;
        }
    }
    let Some(esp) = esp else {
        return Ok(Some(Err(format!(
            "systemd-boot has booted this system, and its EFI system partition is mounted at none of {}; mount it, by \
             /etc/fstab",
            ESP.join(", ")
        ))));
    };
    let has_extended = esp != Path::new(EXTENDED)
        && is_partition(root, table, EXTENDED)?
        && root.at(EXTENDED).join(ENTRIES).is_dir();
    let boot = if has_extended {
        PathBuf::from(EXTENDED)
    } else {
        esp.clone()
    };
    Ok(Some(Ok(SystemdBootFiles {
        loader: files::look(&root.at(&esp), &root.at(&boot), &variables),
        place: Place::look(root.at(&boot))?,
        esp,
        boot,
    })))
}

/// Whether a file system that the firmware reads is mounted right there.
fn is_partition(root: &SysRoot, table: &MountTable, dir: &str) -> Result<bool> {
    if !root.at(dir).is_dir() {
        return Ok(false);
    }
    let found = table.file_system_under(&Place::look(root.at(dir))?)?;
    Ok(found.fstype == "vfat" && found.dir == Path::new("/"))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// A source system with these directories and mounts.
    fn source(mounts: &[&str], dirs: &[&str]) -> (tempfile::TempDir, SysRoot) {
        let dir = tempfile::tempdir().unwrap();
        let root = SysRoot::new(dir.path());
        for path in ["proc/self", efivars::DIR].iter().chain(dirs) {
            fs::create_dir_all(dir.path().join(path)).unwrap();
        }
        let mut table = "30 1 0:1 / / rw - ext4 /dev/vda rw\n".to_owned();
        for (number, mount) in mounts.iter().enumerate() {
            table.push_str(&format!(
                "3{} 30 0:{number} / /{mount} rw - vfat /dev/vdb{number} rw\n",
                number + 1
            ));
        }
        fs::write(dir.path().join("proc/self/mountinfo"), table).unwrap();
        (dir, root)
    }

    fn looked(mounts: &[&str], dirs: &[&str], info: &str) -> Option<Result<[PathBuf; 2], String>> {
        let (_dir, root) = source(mounts, dirs);
        efivars::write(&root.at(efivars::DIR), efivars::LOADER_INFO, Some(info)).unwrap();
        let table = MountTable::read(&root).unwrap();
        let found = look(&root, &table).unwrap()?;
        Some(found.map(|files| [files.esp, files.boot]))
    }

    #[test]
    fn it_is_what_boots_where_it_says_so_and_its_partitions_are_found() {
        let sd = "systemd-boot 257.1";
        assert_eq!(looked(&["efi"], &["efi/EFI"], "GRUB 2.12"), None);
        for (mounts, dirs, esp, boot) in [
            (vec!["efi"], vec!["efi/EFI"], "/efi", "/efi"),
            (
                vec!["boot"],
                vec!["boot/EFI", "boot/loader/entries"],
                "/boot",
                "/boot",
            ),
            (
                vec!["boot/efi"],
                vec!["boot/efi/EFI", "boot/loader/entries"],
                "/boot/efi",
                "/boot/efi",
            ),
            (
                vec!["efi", "boot"],
                vec!["efi/EFI", "boot/loader/entries"],
                "/efi",
                "/boot",
            ),
            (vec!["efi", "boot"], vec!["efi/EFI", "boot/x"], "/efi", "/efi"),
        ] {
            let found = looked(&mounts, &dirs, sd).unwrap().unwrap();
            assert_eq!(found, [esp, boot].map(PathBuf::from), "{mounts:?}");
        }
        let why = looked(&[], &["efi/EFI"], sd).unwrap().unwrap_err();
        assert!(
            why.contains("at none of /efi, /boot, /boot/efi; mount it"),
            "{why}"
        );
    }
}
