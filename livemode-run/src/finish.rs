//! What follows the upgrade: the reboot, or a message and a system that stays reachable.
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{anyhow, Context, Error, Result};
use livemode_common::cmd::Cmd;
use livemode_common::cmdline::Cmdline;
use livemode_common::config::Config;
use livemode_common::contract::{karg, HOLD_UNIT, LEAPP_FAILED_MARK, NO_REBOOT};
use livemode_common::fingerprint::Fingerprint;
use livemode_common::fsio;
use livemode_common::loader::bls::Entry;
use livemode_common::mountinfo::Mount;
use livemode_common::records::{Change, Manifest, Phase, Records};
use livemode_common::sysroot::SysRoot;

use crate::atomic::{self, leave_if_lossy, Layers, Watch};
use crate::by_hand::Request;
use crate::live;
use crate::loader::Loader;
use crate::output::Output;
use crate::policy::{self, AfterFailure, Left};

mod advice;
mod in_layers;

pub(crate) use in_layers::{discard, go_on_in_early_boot, half_moved};

use advice::{advice, advice_in_layers};
use in_layers::{keep, not_moved};

/// Seconds in which somebody can keep the live system up after a failure, unless the boot line says otherwise.
const COUNTDOWN_S: u64 = 60;
const COUNTDOWN_STEP_S: u64 = 10;
/// logind's records of who is logged in (sd_get_sessions(3)).
const SESSIONS: &str = "/run/systemd/sessions";

/// One run of the upgrade.
pub(crate) struct Attempt<'a> {
    /// The system that is upgraded.
    pub(crate) source: &'a SysRoot,
    /// Which run it is, from 1.
    pub(crate) number: u32,
    /// What was built, once it is read.
    pub(crate) manifest: Option<Manifest>,
    /// Whether an admin has typed `upgrade` since this boot.
    pub(crate) is_asked_for: bool,
    /// Seconds before the old system boots after a failure.
    pub(crate) countdown_s: u64,
    /// Whether leapp was started in this run.
    pub(crate) has_started: bool,
    /// Where what it writes goes; none in place.
    pub(crate) layers: Option<Layers>,
    /// Looks at those while something is written to them.
    pub(crate) watch: Option<Watch>,
}

/// How long somebody can keep the live system up: by the boot line, or a minute.
pub(crate) fn countdown_s(line: &str) -> u64 {
    let line = Cmdline::parse(line);
    let seconds = line
        .last(karg::COUNTDOWN)
        .and_then(|seconds| seconds.parse().ok());
    seconds.unwrap_or(COUNTDOWN_S)
}

impl Attempt<'_> {
    fn loader(&self) -> Option<Loader> {
        Loader::of(self.source, self.manifest.as_ref()?)
    }

    fn record(&self, change: Change) -> Result<()> {
        Records::of(self.source).record(change)
    }
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

/// Makes what leapp has written durable, looks whether the upgraded system can boot, and only then makes it what boots and
/// says so in the records; then [`leave`].
pub(crate) fn success(attempt: &Attempt, request: Option<Request>, output: &mut Output) -> Result<()> {
    if let Err(error) = sync(attempt.source, output) {
        let fault = error.context("leapp has finished, but the disk did not take all that it wrote");
        return Err(failure(attempt, &fault.into(), output));
    }
    let loader = attempt.loader();
    let target = match (&loader, &attempt.layers) {
        (Some(loader), Some(_)) => atomic::verify(attempt.source, loader, output)
            .map(Some)
            .context("verification failed"),
        (loader, _) => loader
            .as_ref()
            .map(Loader::target)
            .transpose()
            .context("leapp has finished, but the upgraded system cannot boot"),
    };
    let target = match target {
        Ok(target) => target,
        Err(fault) => return Err(failure(attempt, &fault.into(), output)),
    };
    if let (Some(layers), Some((loader, target))) = (&attempt.layers, loader.as_ref().zip(target.as_ref())) {
        if request == Some(Request::Keep) {
            return keep(attempt, target, output);
        }
        attempt.watch.iter().for_each(Watch::end);
        let moved = atomic::commit(attempt.source, attempt.number, layers, loader, target, output);
        if let Err(error) = moved.and_then(|()| sync(attempt.source, output)) {
            return Err(not_moved(attempt, error, output));
        }
    }
    if let Err(error) = hand_over(attempt, loader.as_ref().zip(target.as_ref()), output) {
        output.line(&format!("{error:#}"));
        output.line(
            "not rebooting: the upgraded system is whole; a boot of the upgrade's entry tries this once more",
        );
        return Err(error);
    }
    output.line("the upgrade succeeded");
    leave(attempt.source, output)
}

/// Each record before its step, and success last of all.
fn hand_over(attempt: &Attempt, target: Option<(&Loader, &Entry)>, output: &mut Output) -> Result<()> {
    if let Some((loader, target)) = target {
        let finishing = Change {
            target: Some(target.id.clone()),
            ..Change::new(
                Phase::Finishing,
                attempt.number,
                "leapp has finished, and the upgraded system can boot; it is being made the default",
            )
        };
        attempt
            .record(finishing)
            .context("recording that leapp has finished")?;
        let shown = target.title.as_deref().unwrap_or(&target.id);
        output.line(&format!("making {shown} the default"));
        loader
            .hand_over(&target.id)
            .context("making the upgraded system the default")?;
    }
    let succeeded = Change {
        exit_code: Some(0),
        ..Change::new(
            Phase::Succeeded,
            attempt.number,
            "leapp has finished; the next boot is the upgraded system",
        )
    };
    attempt
        .record(succeeded)
        .context("recording that the upgrade succeeded")
}

/// The upgrade has succeeded before this boot: it does not run again. Where the loader is not ours, its entry may still be the
/// default: a reboot could lead here again and again.
pub(crate) fn already_done(source: &SysRoot, output: &mut Output) -> Result<()> {
    output.line("the upgrade has succeeded already; it does not run again");
    let manifest = Records::of(source).manifest()?;
    if manifest.is_some_and(|manifest| manifest.boot.entry.is_some()) {
        return leave(source, output);
    }
    output.line("make the upgraded system's entry the default one, then: systemctl reboot");
    Ok(())
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
    reboot()
}

fn reboot() -> Result<()> {
    nix::unistd::sync();
    // Not waiting for it to be done, for it stops us too.
    Cmd::new("systemctl").args(["--no-block", "reboot"]).run()
}

/// Says why the upgrade failed, then records it, then says what to do; gives the error to end with. What goes wrong with
/// the records is said after the cause and does not replace it. What else follows a failure is decided by [`policy`], and
/// done here and nowhere else.
pub(crate) fn failure(attempt: &Attempt, fault: &Fault, output: &mut Output) -> Error {
    if let Some(layers) = &attempt.layers {
        leave_if_lossy(layers, attempt.number);
    }
    let message = &fault.message;
    output.line(&format!("THE UPGRADE FAILED: {message}"));
    let begun = has_begun(attempt, output);
    let recorded = attempt.record(Change {
        exit_code: fault.exit_code,
        begun,
        ..Change::new(Phase::Failed, attempt.number, message)
    });
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
    let (loader, config) = (
        attempt.loader(),
        attempt.manifest.as_ref().map(|manifest| &manifest.config),
    );
    let mut left = Left {
        begun,
        has_loader: loader.is_some() && is_recorded,
        is_attended: attempt.is_asked_for || is_somebody_here(),
    };
    let mut follows = policy::after_failure(left, config.unwrap_or(&Config::default()));
    if !begun {
        // In layers early boot does it, after it has put /boot back.
        let change = if attempt.layers.is_some() {
            Loader::keep_ours
        } else {
            Loader::give_back
        };
        if let Some(Err(error)) = loader.as_ref().map(change) {
            output.line(&format!("giving what boots back to the old system: {error:#}"));
            follows = AfterFailure::Hold(None);
            // What a reboot boots is not what it should be, and that is not to be promised.
            left.has_loader = false;
        }
    }
    let advice = match attempt.layers {
        Some(_) => advice_in_layers(follows),
        None => advice(attempt.source.path(), left, follows, is_recorded),
    };
    for line in advice {
        output.line(&line);
    }
    nix::unistd::sync();
    let done = match follows {
        AfterFailure::Return => count_down(attempt.countdown_s, output),
        AfterFailure::Hold(None) => Ok(()),
        AfterFailure::Hold(Some(minutes)) => end_waiting_after(minutes),
    };
    if let Err(error) = done {
        output.line(&format!("{error:#}"));
    }
    anyhow!("the upgrade failed: {message}")
}

/// Whether the RPM transaction has begun since leapp was started first.
pub(crate) fn has_begun(attempt: &Attempt, output: &mut Output) -> bool {
    let last = match Records::of(attempt.source).state() {
        Ok(Some(last)) => last,
        // Nothing is started before a record of it; but the source system may have gone since.
        Ok(None) => return attempt.has_started,
        Err(_) => return true,
    };
    let now = Fingerprint::of(attempt.source).map_err(|error| {
        output.line(&format!(
            "whether the RPM transaction has begun cannot be told: {error:#}"
        ));
    });
    last.has_begun(now.ok().as_ref())
}

/// Whether somebody is logged in, on a console or by ssh.
fn is_somebody_here() -> bool {
    fs::read_dir(SESSIONS).is_ok_and(|mut sessions| sessions.next().is_some())
}

/// The old system boots, unless somebody comes in the meantime.
fn count_down(seconds: u64, output: &mut Output) -> Result<()> {
    let mut left = seconds;
    while left > 0 {
        output.line(&format!("the old system boots in {left} s; to stay here: log in"));
        let step = left.min(COUNTDOWN_STEP_S);
        std::thread::sleep(Duration::from_secs(step));
        left -= step;
        if is_somebody_here() {
            output.line("somebody is logged in: staying here; to leave: systemctl reboot");
            return Ok(());
        }
    }
    reboot()
}

/// A live system that nobody comes to boots the old system.
fn end_waiting_after(minutes: u32) -> Result<()> {
    Cmd::new("systemd-run")
        .arg(format!("--unit={HOLD_UNIT}"))
        .arg(format!("--on-active={minutes}min"))
        .args(["--timer-property=AccuracySec=1s", "systemctl", "reboot"])
        .run()
        .context("limiting how long this waits for somebody")
}

/// Somebody has come: the limit of an earlier failure no longer counts.
pub(crate) fn end_of_waiting() {
    // Where there was none, there is nothing to stop.
    let _ = Cmd::new("systemctl")
        .args(["stop", "--quiet", &format!("{HOLD_UNIT}.timer")])
        .output();
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
    fn the_boot_line_says_how_long_somebody_can_stay() {
        assert_eq!(countdown_s("quiet"), 60);
        assert_eq!(countdown_s("livemode.countdown=soon"), 60);
        assert_eq!(countdown_s("livemode.countdown=9 livemode.countdown=3"), 3);
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
}
