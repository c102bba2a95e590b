//! What the upgrade depends on: the boot line, what was built, what was booted, what is mounted.
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use livemode_common::cmdline::Cmdline;
use livemode_common::container::ContainerDir;
use livemode_common::contract::{karg, BOOT_RECORD, MANIFEST, MANIFEST_FILE, RUN_DEVICE};
use livemode_common::records::{BootRecord, Manifest, Records};
use livemode_common::sysroot::SysRoot;
use livemode_common::{fstab, mountinfo};

#[derive(Debug)]
pub(crate) struct Facts {
    /// The file for the trace, on this machine.
    pub(crate) trace: Option<PathBuf>,
    pub(crate) manifest: Option<Manifest>,
    /// SHA-256 of the image that was booted; absent when it was not checked.
    pub(crate) booted_sha256: Option<String>,
    /// Mount points that the source requires and that are not there.
    pub(crate) not_mounted: Vec<PathBuf>,
    /// Whether the source is another system than the one whose records lie beside the image: a copy of its disk.
    pub(crate) is_a_copy: bool,
}

impl Facts {
    pub(crate) fn gather(source: &SysRoot, cmdline: &Path) -> Result<Self> {
        let read = |path: &Path| {
            std::fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))
        };
        let line = Cmdline::parse(&read(cmdline)?);
        let boot = match std::fs::read(BOOT_RECORD) {
            Ok(text) => Some(serde_json::from_slice::<BootRecord>(&text).context("reading the boot record")?),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => None,
            Err(e) => return Err(e).with_context(|| format!("reading {BOOT_RECORD}")),
        };
        let records = line
            .last(karg::STATE_DIR)
            .map(|dir| Path::new(RUN_DEVICE).join(dir.trim_start_matches('/')));
        Ok(Self {
            is_a_copy: records
                .is_some_and(|records| !is_same_file(&records.join(MANIFEST_FILE), &source.at(MANIFEST))),
            trace: line
                .last(karg::STRACE)
                .filter(|path| !path.is_empty())
                .map(|path| ContainerDir::new(source.path()).resolve(path))
                .transpose()?,
            manifest: Records::of(source).manifest()?,
            booted_sha256: boot.and_then(|b| b.sha256),
            not_mounted: not_mounted(
                &read(Path::new("/etc/fstab"))?,
                &read(Path::new("/proc/self/mountinfo"))?,
            )?,
        })
    }
}

/// Whether both are there and one file: on one file system that is mounted twice.
fn is_same_file(one: &Path, other: &Path) -> bool {
    let identity = |path: &Path| std::fs::metadata(path).map(|meta| (meta.dev(), meta.ino()));
    match (identity(one), identity(other)) {
        (Ok(one), Ok(other)) => one == other,
        // Nothing to tell them apart by: an image that was fetched, a source without records.
        _ => true,
    }
}

/// What the live fstab marks as required (`x-livemode.required`) and the mount table does not have.
fn not_mounted(fstab: &str, mounts: &str) -> Result<Vec<PathBuf>> {
    let entries = fstab::parse(fstab).context("reading /etc/fstab")?;
    let mounts = mountinfo::parse(mounts);
    let required = entries
        .iter()
        .filter(|e| e.has("x-livemode.required"))
        .map(|e| PathBuf::from(&e.fs_file));
    Ok(required
        .filter(|target| !mounts.iter().any(|m| m.target == *target))
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_of_the_records_is_not_the_records() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        std::fs::write(path("a"), "{}").unwrap();
        std::fs::write(path("copy"), "{}").unwrap();
        std::fs::hard_link(path("a"), path("same")).unwrap();
        assert!(is_same_file(&path("a"), &path("same")));
        assert!(!is_same_file(&path("a"), &path("copy")));
        assert!(is_same_file(&path("a"), &path("gone")));
    }

    #[test]
    fn only_required_mounts_are_missed() {
        let fstab = "\
UUID=a /run/upgrade ext4 nofail,x-livemode.required 0 0
UUID=b /run/upgrade/boot ext4 nofail,x-livemode.required 0 0
UUID=c /run/upgrade/backup ext4 nofail 0 0
";
        let mounts = "90 1 254:1 / /run/upgrade rw shared:1 - ext4 /dev/vda1 rw\n";
        assert_eq!(
            not_mounted(fstab, mounts).unwrap(),
            [PathBuf::from("/run/upgrade/boot")]
        );
    }
}
