//! `upgrade` typed by an admin: the service does the work, so that a lost terminal or ssh session stops nothing.
use std::path::Path;
use std::time::Duration;

use anyhow::{anyhow, Result};
use livemode_common::cmd::Cmd;
use livemode_common::contract::{RUN_ATTEMPT, START_REQUEST, UPGRADE_UNIT};
use livemode_common::failure::precondition;
use livemode_common::fsio;
use livemode_common::records::{Phase, Records, State};
use livemode_common::sysroot::SysRoot;

use crate::live;
use crate::output::to_journal;
use crate::start::{by_itself, may_start, Decision};

/// Between two looks at whether the service has ended.
const POLL: Duration = Duration::from_secs(1);

/// Set in the environment of our unit (its `Environment=`), and nowhere else.
pub(crate) const UNIT_VARIABLE: &str = "LIVEMODE_UNIT";

/// What an admin has asked the service for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Request {
    /// The upgrade.
    Upgrade,
    /// The upgrade, up to where nothing has reached the disks.
    Keep,
    /// That what was kept moves to the disks.
    Commit,
    /// That it is given up.
    Discard,
}

impl Request {
    const ALL: [Self; 4] = [Self::Upgrade, Self::Keep, Self::Commit, Self::Discard];

    /// The one that was asked last in this boot; none where the upgrade starts by itself.
    pub(crate) fn last() -> Option<Self> {
        let word = std::fs::read_to_string(START_REQUEST).ok()?;
        Self::ALL.into_iter().find(|request| request.word() == word)
    }

    fn word(self) -> &'static str {
        match self {
            Self::Upgrade => "",
            Self::Keep => "keep",
            Self::Commit => "commit",
            Self::Discard => "discard",
        }
    }

    /// # Errors
    /// Why it cannot be done as things stand.
    fn may_be_asked(self, state: Option<&State>) -> Result<(), &'static str> {
        let is_verified = state.is_some_and(|state| state.state == Phase::Verified);
        let is_half_moved = state.is_some_and(|state| state.state == Phase::Committing);
        match self {
            Self::Keep if state.is_some_and(|state| !state.atomic) => Err(
                "the upgrade runs in place: what it writes is on the disks at once, and cannot be kept apart",
            ),
            Self::Upgrade | Self::Keep if is_verified => {
                Err("the upgrade is whole and verified already: livemode-run commit, or livemode-run discard")
            }
            Self::Upgrade | Self::Keep if is_half_moved => {
                Err("the upgraded system is not yet on its disks: livemode-run commit goes on with it")
            }
            Self::Discard if is_half_moved => {
                Err("the upgraded system is half on its disks: there is no way back; livemode-run commit goes on with it")
            }
            Self::Commit | Self::Discard if !is_verified && !is_half_moved => {
                Err("there is no upgrade that waits for it; livemode-run status says what there is")
            }
            _ => Ok(()),
        }
    }
}

/// An error unless the upgrade may start now. A source system that is not mounted has no state to go by: then the upgrade
/// is let go, and refuses it itself.
pub(crate) fn wanted(source: &SysRoot, cmdline: &Path) -> Result<()> {
    let state = if live::is_mounted(source.path())? {
        Records::of(source).state()?
    } else {
        None
    };
    let asked_for = Path::new(START_REQUEST).exists();
    match may_start(by_itself(&live::read(cmdline)?), asked_for, state.as_ref()) {
        Decision::Start(why) => {
            to_journal(format!("livemode: the upgrade may start: {why}\n").as_bytes());
            Ok(())
        }
        Decision::Wait(why) => Err(precondition(why)),
    }
}

/// Starts the upgrade's service, unless it runs already, and shows what it says until it ends.
pub(crate) fn start_and_follow(source: &SysRoot, request: Request) -> Result<()> {
    // What cannot be read now would stop the service before it says anything.
    let before = Records::of(source).state()?;
    request.may_be_asked(before.as_ref()).map_err(precondition)?;
    if is_active()? {
        println!("The upgrade is running already.");
    } else {
        live::forget(Path::new(RUN_ATTEMPT))?;
        fsio::atomic_write(START_REQUEST.as_ref(), request.word().as_bytes(), 0o600)?;
        Cmd::new("systemctl").args(["start", UPGRADE_UNIT]).run()?;
    }
    println!("Following it; ^C ends only this view.");
    let show = Cmd::new("systemctl").args(["show", "--property=InvocationID", "--value", UPGRADE_UNIT]);
    let invocation = format!("_SYSTEMD_INVOCATION_ID={}", show.read()?.trim());
    let mut view = Cmd::new("journalctl")
        .args(["--follow", "--lines=all", "--output=cat", &invocation])
        .spawn(|command| {
            command.stdin(std::process::Stdio::null());
        })?;
    while is_active()? {
        std::thread::sleep(POLL);
    }
    // journalctl follows the journal at some distance: it may still have to show what the service said last.
    std::thread::sleep(POLL);
    view.kill()?;
    view.wait()?;
    let after = Records::of(source).state()?;
    outcome(before.as_ref(), after.as_ref()).map_or(Ok(()), |fault| Err(anyhow!(fault)))
}

fn is_active() -> Result<bool> {
    let (_, state, _) = Cmd::new("systemctl").args(["is-active", UPGRADE_UNIT]).output()?;
    Ok(is_running(&state))
}

/// Whether a unit in this state, as `systemctl is-active` prints it, has something that runs.
fn is_running(state: &str) -> bool {
    matches!(state.trim(), "active" | "activating")
}

/// What there is to say once the service has ended, unless the upgrade has succeeded; from the states before and after.
fn outcome(before: Option<&State>, after: Option<&State>) -> Option<String> {
    let see = format!("see: journalctl -u {UPGRADE_UNIT}");
    match after {
        Some(state) if matches!(state.state, Phase::Succeeded | Phase::Verified) => None,
        Some(state) if before == after => Some(format!(
            "the service ended and recorded nothing, it stays {}: {}; {see}",
            state.state, state.message
        )),
        Some(state) => Some(format!("the upgrade is {}: {}", state.state, state.message)),
        None => Some(format!("the upgrade did not start; {see}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_boot_line_holds_back_is_not_wanted() {
        let dir = tempfile::tempdir().unwrap();
        let cmdline = dir.path().join("cmdline");
        let source = SysRoot::new(dir.path());
        std::fs::write(&cmdline, "upgrade.autostart=0\n").unwrap();
        let fault = wanted(&source, &cmdline).unwrap_err();
        assert_eq!(
            fault.to_string(),
            "upgrade.autostart=0: not before someone types: upgrade"
        );
        std::fs::write(&cmdline, "upgrade.autostart=1\n").unwrap();
        wanted(&source, &cmdline).unwrap();
    }

    #[test]
    fn only_what_is_verified_can_be_committed_or_discarded() {
        let state = |state, atomic| State {
            state,
            atomic,
            ..State::default()
        };
        for (request, state, is_fit) in [
            (Request::Upgrade, state(Phase::Booted, false), true),
            (Request::Keep, state(Phase::Booted, true), true),
            (Request::Keep, state(Phase::Booted, false), false),
            (Request::Upgrade, state(Phase::Verified, true), false),
            (Request::Commit, state(Phase::Verified, true), true),
            (Request::Discard, state(Phase::Verified, true), true),
            (Request::Commit, state(Phase::Upgrading, true), false),
            (Request::Commit, state(Phase::Committing, true), true),
            (Request::Discard, state(Phase::Committing, true), false),
            (Request::Upgrade, state(Phase::Committing, true), false),
            (Request::Discard, state(Phase::Failed, true), false),
        ] {
            assert_eq!(
                request.may_be_asked(Some(&state)).is_ok(),
                is_fit,
                "{request:?} {state:?}"
            );
        }
    }

    #[test]
    fn a_unit_that_starts_runs_already() {
        for (state, runs) in [
            ("active\n", true),
            ("activating\n", true),
            ("inactive\n", false),
            ("failed\n", false),
            ("deactivating\n", false),
            ("", false),
        ] {
            assert_eq!(is_running(state), runs, "{state}");
        }
    }

    #[test]
    fn an_old_failure_is_not_told_as_a_new_one() {
        let state = |state, attempt, message: &str| State {
            state,
            attempt,
            message: message.into(),
            ..State::default()
        };
        let failed = state(Phase::Failed, 1, "leapp ended with 7");
        let again = state(Phase::Failed, 2, "leapp ended with 7");
        let cut = state(Phase::Upgrading, 2, "step 1 of 2");
        let done = state(Phase::Succeeded, 2, "leapp has finished");
        for (before, after, fault) in [
            (Some(&failed), Some(&done), None),
            (Some(&done), Some(&done), None),
            (Some(&failed), Some(&again), Some("the upgrade is failed: leapp ended with 7")),
            (
                Some(&failed),
                Some(&failed),
                Some(
                    "the service ended and recorded nothing, it stays failed: leapp ended with 7; see: journalctl -u \
                     livemode-upgrade.service",
                ),
            ),
            (Some(&failed), Some(&cut), Some("the upgrade is upgrading: step 1 of 2")),
            (
                None,
                None,
                Some("the upgrade did not start; see: journalctl -u livemode-upgrade.service"),
            ),
        ] {
            assert_eq!(outcome(before, after).as_deref(), fault, "{before:?} {after:?}");
        }
    }
}
