//! Whether this is the live system, and whether the source system is mounted in it.
use std::path::Path;

use anyhow::{Context, Result};
use livemode_common::cmdline::Cmdline;
use livemode_common::contract::{karg, BOOT_RECORD};
use livemode_common::failure::precondition;
use livemode_common::mountinfo::{self, Mount};

/// An error with exit code 4 unless this is the live system, by the kernel command line in the file `cmdline` and by what
/// early boot has left.
pub(crate) fn require(cmdline: &Path) -> Result<()> {
    match why_not_live(cmdline)? {
        Some(why) => Err(precondition(format!("{why}; boot the upgrade's entry first"))),
        None => Ok(()),
    }
}

/// Why this is not the live system; `None` where it is.
pub(crate) fn why_not_live(cmdline: &Path) -> Result<Option<String>> {
    Ok(judge(&read(cmdline)?, Path::new(BOOT_RECORD).exists()))
}

fn judge(line: &str, has_boot_record: bool) -> Option<String> {
    let line = Cmdline::parse(line);
    let root = line.last(karg::ROOT).unwrap_or_default();
    if !root.starts_with("livemode:") && !root.starts_with("live:") {
        return Some("this is not the live system: its boot line has no root=livemode:…".into());
    }
    (!has_boot_record)
        .then(|| format!("this is not the live system: there is no {BOOT_RECORD}, which early boot leaves"))
}

/// Whether something is mounted on `dir` itself.
pub(crate) fn is_mounted(dir: &Path) -> Result<bool> {
    let dir = dir.canonicalize().unwrap_or_else(|_| dir.to_owned());
    Ok(mounts()?.iter().any(|mount| mount.target == dir))
}

/// All that is mounted now.
pub(crate) fn mounts() -> Result<Vec<Mount>> {
    Ok(mountinfo::parse(&read(Path::new("/proc/self/mountinfo"))?))
}

/// The text of a file.
pub(crate) fn read(path: &Path) -> Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))
}

/// Removes a file that may not be there.
pub(crate) fn forget(path: &Path) -> Result<()> {
    match std::fs::remove_file(path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
            Err(e).with_context(|| format!("removing {}", path.display()))
        }
        _ => Ok(()),
    }
}

/// What is said where the source system is to be written to and is not mounted.
pub(crate) fn not_mounted(source: &Path) -> String {
    format!("the source system is not mounted at {}", source.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_live_system_has_our_root_and_the_record_of_early_boot() {
        let not_ours = "this is not the live system: its boot line has no root=livemode:…";
        let no_record =
            "this is not the live system: there is no /run/livemode/boot.json, which early boot leaves";
        for (line, has_boot_record, why) in [
            ("root=livemode:UUID=x", true, None),
            ("root=live:UUID=x rd.live.image", true, None),
            ("root=livemode:https://host/x", true, None),
            ("root=livemode:UUID=x", false, Some(no_record)),
            ("root=UUID=x ro", true, Some(not_ours)),
            ("root=livemode:UUID=x root=UUID=y", true, Some(not_ours)),
            ("", false, Some(not_ours)),
        ] {
            assert_eq!(judge(line, has_boot_record).as_deref(), why, "{line}");
        }
    }

    #[test]
    fn only_the_mount_point_itself_is_mounted() {
        assert!(is_mounted(Path::new("/proc")).unwrap());
        assert!(is_mounted(Path::new("/proc/../proc")).unwrap());
        assert!(!is_mounted(Path::new("/proc/self")).unwrap());
        assert!(!is_mounted(Path::new("/nowhere")).unwrap());
    }

    #[test]
    fn elsewhere_every_command_is_refused_by_name() {
        let dir = tempfile::tempdir().unwrap();
        let cmdline = dir.path().join("cmdline");
        std::fs::write(&cmdline, "root=UUID=x ro\n").unwrap();
        let fault = require(&cmdline).unwrap_err();
        assert_eq!(
            fault.to_string(),
            "this is not the live system: its boot line has no root=livemode:…; boot the upgrade's entry first"
        );
        assert!(fault.is::<livemode_common::failure::Failure>());
        let fault = require(&dir.path().join("gone")).unwrap_err();
        assert!(fault.to_string().starts_with("reading "), "{fault:#}");
    }
}
