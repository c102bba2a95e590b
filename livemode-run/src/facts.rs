//! What the upgrade depends on: the boot line, what was built, what was booted, what is mounted.
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use livemode_common::cmdline::Cmdline;
use livemode_common::container::ContainerDir;
use livemode_common::contract::{karg, BootRecord, Manifest, BOOT_RECORD};
use livemode_common::journal::Journal;
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
        Ok(Self {
            trace: line
                .last(karg::STRACE)
                .filter(|path| !path.is_empty())
                .map(|path| ContainerDir::new(source.path()).resolve(path))
                .transpose()?,
            manifest: Journal::of(source).manifest()?,
            booted_sha256: boot.and_then(|b| b.sha256),
            not_mounted: not_mounted(
                &read(Path::new("/etc/fstab"))?,
                &read(Path::new("/proc/self/mountinfo"))?,
            )?,
        })
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
