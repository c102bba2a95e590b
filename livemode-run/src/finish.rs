//! What follows the upgrade: the reboot, or a message and a system that stays reachable.
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{anyhow, Context, Error, Result};
use livemode_common::cmd::Cmd;
use livemode_common::contract::{LEAPP_FAILED_MARK, LEAPP_LOG, NO_REBOOT};
use livemode_common::fsio;
use livemode_common::mountinfo::Mount;
use livemode_common::records::{Phase, Records};
use livemode_common::sysroot::SysRoot;

use crate::live;
use crate::output::Output;

/// One run of the upgrade.
pub(crate) struct Attempt<'a> {
    /// The system that is upgraded.
    pub(crate) source: &'a SysRoot,
    /// Which run it is, from 1.
    pub(crate) number: u32,
}

/// Why an attempt has failed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    /// The cause, as one line.
    pub(crate) message: String,
    /// Exit code of the command that ended the upgrade, if one did.
    pub(crate) exit_code: Option<i32>,
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Self {
            message: format!("{error:#}"),
            exit_code: None,
        }
    }
}

/// Makes what leapp has written durable, and only then says so in the records; then [`leave`].
pub(crate) fn success(attempt: &Attempt, output: &mut Output) -> Result<()> {
    if let Err(error) = sync(attempt.source, output) {
        let fault = error.context("leapp has finished, but the disk did not take all that it wrote");
        return Err(failure(attempt, &fault.into(), output));
    }
    let message = "leapp has finished; the next boot is the upgraded system";
    let recorded = Records::of(attempt.source).record(Phase::Succeeded, attempt.number, message, Some(0));
    output.line("the upgrade succeeded");
    recorded
        .context("recording that the upgrade succeeded")
        .inspect_err(|error| {
            output.line(&format!("{error:#}"));
            output.line(
                "not rebooting: the upgrade's entry would run leapp once more; boot the upgraded system's entry",
            );
        })?;
    leave(attempt.source, output)
}

/// Reboots, unless an admin has put `.noreboot` on the source system.
pub(crate) fn leave(source: &SysRoot, output: &mut Output) -> Result<()> {
    if source
        .at(Path::new(NO_REBOOT).file_name().unwrap_or_default())
        .exists()
    {
        output.line(&format!(
            "{NO_REBOOT} is there: not rebooting; when you are done: systemctl reboot"
        ));
        return Ok(());
    }
    output.line("rebooting into the upgraded system");
    nix::unistd::sync();
    // Not waiting for it to be done, for it stops us too.
    Cmd::new("systemctl").args(["--no-block", "reboot"]).run()
}

/// Says why the upgrade failed, then records it, then says what to do; gives the error to end with. What goes wrong with
/// the records is said after the cause and does not replace it. The system stays as it is and reachable; what else may
/// follow a failure is decided here and nowhere else.
pub(crate) fn failure(attempt: &Attempt, fault: &Fault, output: &mut Output) -> Error {
    let message = &fault.message;
    output.line(&format!("THE UPGRADE FAILED: {message}"));
    let recorded =
        Records::of(attempt.source).record(Phase::Failed, attempt.number, message, fault.exit_code);
    let is_recorded = recorded.is_ok();
    // Its directory is made, which must not be the live system's own.
    let marked = match live::is_mounted(attempt.source.path()) {
        Ok(true) => mark(attempt.source),
        Ok(false) => Err(anyhow!(live::not_mounted(attempt.source.path()))),
        Err(error) => Err(error),
    };
    for error in [
        recorded.context("recording the failure"),
        marked.context("leaving leapp's mark of a failure"),
    ]
    .into_iter()
    .filter_map(Result::err)
    {
        output.line(&format!("{error:#}"));
    }
    nix::unistd::sync();
    for line in advice(attempt.source.path(), is_recorded) {
        output.line(&line);
    }
    nix::unistd::sync();
    anyhow!("the upgrade failed: {message}")
}

/// What an admin can do after a failure.
fn advice(source: &Path, is_recorded: bool) -> Vec<String> {
    let next_boot = if is_recorded {
        "a boot of the upgrade's entry, which may still be the default, comes back here and waits until someone types: upgrade"
    } else {
        "the failure is not recorded: a boot of the upgrade's entry, which may still be the default, tries again by itself, \
         unless the boot line says upgrade.autostart=0"
    };
    vec![
        format!(
            "what happened is in /{LEAPP_LOG} on the source system, mounted at {}",
            source.display()
        ),
        "to try again: upgrade    to leave: systemctl reboot, and choose the old system's entry in the boot menu".into(),
        next_boot.into(),
        "to give the upgrade up: livemode-prep remove, in the old system".into(),
    ]
}

fn mark(source: &SysRoot) -> Result<()> {
    let mark = source.at(LEAPP_FAILED_MARK);
    if let Some(dir) = mark.parent() {
        fs::create_dir_all(dir).with_context(|| format!("creating {}", dir.display()))?;
    }
    fsio::atomic_write(&mark, b"", 0o600)
}

/// Makes durable what was written to the source system. sync(2) reaches all file systems, but tells no errors; syncfs(2)
/// tells those since the file was opened (Linux 5.8).
fn sync(source: &SysRoot, output: &mut Output) -> Result<()> {
    let mut opened = Vec::new();
    for dir in on_disks(source.path(), &live::mounts()?) {
        match File::open(&dir) {
            Ok(file) => opened.push((dir, file)),
            // A mount that the system can do without may be broken by now; the upgrade did not need it.
            Err(error) => output.line(&format!("not looking at {}: {error}", dir.display())),
        }
    }
    nix::unistd::sync();
    for (dir, file) in &opened {
        nix::unistd::syncfs(file).with_context(|| format!("syncing {}", dir.display()))?;
    }
    Ok(())
}

/// The mount points of the source system's file systems on devices of this machine. Others are left to sync(2): to open a
/// file of a server that is gone can take for ever.
fn on_disks(source: &Path, mounts: &[Mount]) -> Vec<PathBuf> {
    let mounts = mounts.iter().filter(|mount| mount.source.starts_with("/dev/"));
    mounts
        .map(|mount| mount.target.clone())
        .filter(|target| target.starts_with(source))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use livemode_common::mountinfo;

    #[test]
    fn the_disks_of_the_source_are_synced_and_no_server_is_asked() {
        let mounts = "\
90 1 254:1 / /run/upgrade rw shared:1 - ext4 /dev/vda1 rw
91 90 254:2 / /run/upgrade/var rw shared:1 - xfs /dev/mapper/vg-var rw
92 90 0:50 / /run/upgrade/home rw shared:1 - nfs4 server:/home rw
93 90 0:51 / /run/upgrade/tmp rw shared:1 - tmpfs tmpfs rw
94 1 254:1 / /run/livemode/device rw shared:1 - ext4 /dev/vda1 rw
";
        assert_eq!(
            on_disks(Path::new("/run/upgrade"), &mountinfo::parse(mounts)),
            [PathBuf::from("/run/upgrade"), "/run/upgrade/var".into()]
        );
    }

    #[test]
    fn a_failure_is_marked_as_leapp_does() {
        let dir = tempfile::tempdir().unwrap();
        mark(&SysRoot::new(dir.path())).unwrap();
        let mark = dir.path().join("root/tmp_leapp_py3/.leapp_upgrade_failed");
        assert_eq!(fs::read(mark).unwrap(), b"");
    }

    #[test]
    fn a_cause_is_told_with_all_that_led_to_it() {
        let error = anyhow!("no space left").context("writing x");
        let fault = Fault {
            message: "writing x: no space left".into(),
            exit_code: None,
        };
        assert_eq!(Fault::from(error), fault);
    }

    #[test]
    fn the_advice_says_what_the_next_boot_does() {
        let lines = |is_recorded| advice(Path::new("/run/upgrade"), is_recorded).join("\n");
        assert!(lines(true).contains("comes back here and waits until someone types: upgrade"));
        assert!(lines(false).contains("tries again by itself, unless the boot line says upgrade.autostart=0"));
        for is_recorded in [true, false] {
            let text = lines(is_recorded);
            assert!(text
                .contains("/var/log/leapp/leapp-upgrade.log on the source system, mounted at /run/upgrade"));
            assert!(
                text.contains("choose the old system's entry in the boot menu"),
                "{text}"
            );
            assert!(text.contains("livemode-prep remove"), "{text}");
        }
    }
}
