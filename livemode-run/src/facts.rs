//! What the upgrade depends on: the boot line, what was built, what was booted, what is mounted.
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use livemode_common::cmdline::Cmdline;
use livemode_common::container::ContainerDir;
use livemode_common::contract::{karg, BOOT_RECORD, MANIFEST, MANIFEST_FILE, RUN_DEVICE};
use livemode_common::fingerprint::Fingerprint;
use livemode_common::fstab;
use livemode_common::loader::script::decode;
use livemode_common::mountinfo::Mount;
use livemode_common::records::{BootRecord, Manifest, Records};
use livemode_common::sysroot::SysRoot;

use crate::live;

/// How the upgrade is to be traced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Tracing {
    /// Nobody has asked for a trace.
    Off,
    /// Into this file, as this machine sees it.
    Into(PathBuf),
    /// One was asked for and cannot be kept, because of this.
    Impossible(String),
}

#[derive(Debug)]
pub(crate) struct Facts {
    /// What the boot line says about a trace.
    pub(crate) tracing: Tracing,
    /// What was built on the source system.
    pub(crate) manifest: Option<Manifest>,
    /// SHA-256 of the image that was booted; absent when it was not checked.
    pub(crate) booted_sha256: Option<String>,
    /// Mount points that the source requires and that are not there.
    pub(crate) not_mounted: Vec<PathBuf>,
    /// The source system as it is now, or why that cannot be told.
    pub(crate) now: Result<Fingerprint, String>,
}

impl Facts {
    pub(crate) fn gather(source: &SysRoot, cmdline: &Path) -> Result<Self> {
        let line = Cmdline::parse(&live::read(cmdline)?);
        Ok(Self {
            tracing: tracing(&line, source),
            manifest: Records::of(source).manifest()?,
            booted_sha256: BootRecord::load(Path::new(BOOT_RECORD))?.and_then(|boot| boot.sha256),
            not_mounted: not_mounted(&live::read(Path::new("/etc/fstab"))?, &live::mounts()?)?,
            now: Fingerprint::of(source).map_err(|error| format!("{error:#}")),
        })
    }
}

/// Why nothing may be written below `source`, if anything speaks against it: it is not mounted, or it is another system
/// than the one whose records lie beside the image.
pub(crate) fn wrong_source(source: &SysRoot, cmdline: &Path) -> Result<Option<String>> {
    let at = source.path().display();
    if !live::is_mounted(source.path())? {
        let fault = live::not_mounted(source.path());
        return Ok(Some(format!(
            "{fault}; see 'systemctl --failed', mount it, then type: upgrade"
        )));
    }
    let line = Cmdline::parse(&live::read(cmdline)?);
    let is_a_copy = line.last(karg::STATE_DIR).is_some_and(|records| {
        is_a_copy(
            source,
            &Path::new(RUN_DEVICE).join(value(&line, records).trim_start_matches('/')),
        )
    });
    Ok(is_a_copy.then(|| {
        format!(
            "the system at {at} is a copy of the one that the image lies on: two disks have its UUID; detach the copy, \
             reboot, and start the upgrade again"
        )
    }))
}

/// What the boot line says about a trace. A path that cannot be followed costs the trace, not the upgrade.
fn tracing(line: &Cmdline, source: &SysRoot) -> Tracing {
    let Some(path) = line.last(karg::STRACE).filter(|path| !path.is_empty()) else {
        return Tracing::Off;
    };
    match ContainerDir::new(source.path()).resolve(value(line, path)) {
        Ok(path) => Tracing::Into(path),
        Err(error) => Tracing::Impossible(format!("{error:#}")),
    }
}

/// A value of the boot line: our own entries have it encoded, those of upstream's actors as it is.
fn value(line: &Cmdline, text: &str) -> String {
    let is_ours = line
        .last(karg::ROOT)
        .is_some_and(|root| root.starts_with("livemode:"));
    if is_ours {
        decode(text)
    } else {
        text.to_owned()
    }
}

/// Whether the source system's records are others than those in the directory `records`, which lies beside the image.
fn is_a_copy(source: &SysRoot, records: &Path) -> bool {
    !is_same_file(&records.join(MANIFEST_FILE), &source.at(MANIFEST))
}

/// Whether both are there and one file: on one file system that is mounted twice.
fn is_same_file(one: &Path, other: &Path) -> bool {
    let identity = |path: &Path| std::fs::metadata(path).map(|meta| (meta.dev(), meta.ino()));
    match (identity(one), identity(other)) {
        (Ok(one), Ok(other)) => one == other,
        // One of them is not there, where the image was fetched or the source has no records: nothing says that they differ.
        _ => true,
    }
}

/// What the live fstab marks as required (`x-livemode.required`) and the mount table does not have.
fn not_mounted(fstab: &str, mounts: &[Mount]) -> Result<Vec<PathBuf>> {
    let entries = fstab::parse(fstab).context("reading /etc/fstab")?;
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
    use livemode_common::mountinfo;

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
            not_mounted(fstab, &mountinfo::parse(mounts)).unwrap(),
            [PathBuf::from("/run/upgrade/boot")]
        );
    }

    #[test]
    fn the_last_word_about_a_trace_counts_and_its_path_is_the_source_s() {
        let dir = tempfile::tempdir().unwrap();
        let link =
            |target: &str, name: &str| std::os::unix::fs::symlink(target, dir.path().join(name)).unwrap();
        link("/data", "log");
        link("circle", "circle");
        let source = SysRoot::new(dir.path());
        let of = |line: &str| tracing(&Cmdline::parse(line), &source);
        assert_eq!(of("quiet"), Tracing::Off);
        assert_eq!(of("upgrade.strace=/a upgrade.strace="), Tracing::Off);
        assert_eq!(
            of("upgrade.strace=/log/x"),
            Tracing::Into(dir.path().join("data/x"))
        );
        assert!(matches!(of("upgrade.strace=/circle/x"), Tracing::Impossible(_)));
        assert_eq!(
            of("root=livemode:UUID=x upgrade.strace=/a%20b"),
            Tracing::Into(dir.path().join("a b"))
        );
        assert_eq!(
            of("root=live:UUID=x upgrade.strace=/a%20b"),
            Tracing::Into(dir.path().join("a%20b"))
        );
    }

    #[test]
    fn a_copy_of_the_source_is_not_the_source() {
        let dir = tempfile::tempdir().unwrap();
        let records = |disk: &str| dir.path().join(disk).join("var/lib/leapp/livemode");
        for disk in ["disk", "copy"] {
            std::fs::create_dir_all(records(disk)).unwrap();
            std::fs::write(records(disk).join(MANIFEST_FILE), "{}").unwrap();
        }
        let source = SysRoot::new(dir.path().join("disk"));
        assert!(!is_a_copy(&source, &records("disk")));
        assert!(is_a_copy(&source, &records("copy")));
        assert!(!is_a_copy(&source, &records("gone")));
    }

    #[test]
    fn a_source_that_is_not_mounted_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let why = wrong_source(&SysRoot::new(dir.path()), Path::new("/proc/cmdline")).unwrap();
        assert_eq!(
            why,
            Some(format!(
                "the source system is not mounted at {}; see 'systemctl --failed', mount it, then type: upgrade",
                dir.path().display()
            ))
        );
        assert_eq!(
            wrong_source(&SysRoot::new("/proc"), Path::new("/proc/cmdline")).unwrap(),
            None
        );
    }
}
