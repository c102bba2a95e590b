//! Where the upgrade stands, as a person is told it: the same words in the installed and in the live system. Pure.
use super::{Phase, State};
use crate::contract::SCHEMA;

/// Which system is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// The one on the disks, old or new.
    Installed,
    /// The one in the image.
    Live,
}

/// What there is to say of a state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// What is going on, or was when the record ends.
    pub step: String,
    /// Why it failed, if it did.
    pub error: Option<String>,
    /// What to do now.
    pub do_now: &'static str,
    lines: Vec<String>,
}

impl Standing {
    /// What there is to say of a state, in this place.
    pub fn of(state: &State, place: Place) -> Self {
        let mut lines = vec![
            format!("upgrade    {}: {}", state.state, state.message),
            format!("attempts   {}", state.attempt),
        ];
        lines.extend(
            state
                .attempts
                .iter()
                .map(|attempt| format!("           {}: {}", attempt.number, attempt.outcome)),
        );
        let do_now = do_now(state, place);
        lines.push(format!("do now     {do_now}"));
        Self {
            step: state.message.clone(),
            error: (state.state == Phase::Failed).then(|| state.message.clone()),
            do_now,
            lines,
        }
    }

    /// For a program: what `status --json` of both systems says. `percent` is how full the store is, `boots` the ids of the
    /// entries that boot next and after that.
    pub fn to_json(
        state: Option<&State>,
        place: Place,
        percent: Option<u64>,
        boots: Option<[String; 2]>,
    ) -> serde_json::Value {
        let standing = state.map(|state| Self::of(state, place));
        serde_json::json!({
            "schema": SCHEMA,
            "upgrade": state,
            "state": state.map(|state| state.state),
            "since": state.map(|state| state.time),
            "attempts": state.map(|state| &state.attempts),
            "step": standing.as_ref().map(|standing| &standing.step),
            "percent": percent,
            "error": standing.as_ref().and_then(|standing| standing.error.as_ref()),
            "next_boots": boots,
            "atomic": state.is_some_and(|state| state.atomic),
            "do_now": standing.as_ref().map(|standing| standing.do_now),
        })
    }

    /// For a person, each line with its name.
    pub fn lines(&self) -> &[String] {
        &self.lines
    }
}

const GIVEN_UP: &str =
    "this system is as it was: look at the log; to try again: livemode-prep retry; to give the upgrade up: \
                        livemode-prep remove";

fn do_now(state: &State, place: Place) -> &'static str {
    match (state.state, place) {
        (Phase::Prepared, _) => "reboot: the upgrade's entry boots once; livemode-prep status shows what boots next",
        (Phase::Booted, Place::Live) => "nothing where the upgrade starts by itself; else type: upgrade",
        (Phase::Booted, Place::Installed) => {
            "this system is as it was: the image was booted, and leapp did not run; to try again: livemode-prep arm, then \
             reboot; to give the upgrade up: livemode-prep remove"
        }
        (Phase::Verified, Place::Live) => {
            "look around in /run/upgrade; then type: livemode-run commit, or to give it up: livemode-run discard"
        }
        (Phase::Verified, Place::Installed) => GIVEN_UP,
        (Phase::Failed, Place::Installed) if state.atomic => GIVEN_UP,
        (Phase::Upgrading, Place::Installed) if state.atomic => {
            "this system is as it was: the upgrade was cut off, and what it had written is given up; to try again: livemode-prep \
             retry; to give the upgrade up: livemode-prep remove"
        }
        (Phase::Failed, Place::Live) if state.atomic => {
            "the installed system is as it was; what the upgrade has written is in /run/upgrade until you leave: systemctl \
             reboot, which boots the old system"
        }
        (Phase::Committing, _) => {
            "wait: the upgraded system is being moved to its disks; a reboot goes on with it; where a disk has failed: mend it, then \
             type: livemode-run commit"
        }
        (Phase::Upgrading, Place::Live) => "wait; where nothing runs, it was cut off: to resume it type: upgrade",
        (Phase::Upgrading, Place::Installed) => {
            "the upgrade was cut off: boot the upgrade's entry, which is the default, and type: upgrade"
        }
        (Phase::Finishing, Place::Live) => "wait: the upgraded system is being made the default",
        (Phase::Finishing | Phase::Succeeded, _) => {
            "nothing: the system is upgraded; livemode-prep remove takes back what is left of the image"
        }
        (Phase::Failed, Place::Installed) if !state.may_have_begun() => {
            "this system is as it was: look at the log; to try again: livemode-prep arm, then reboot; to give the upgrade up: \
             livemode-prep remove"
        }
        (Phase::Failed, Place::Live) if !state.may_have_begun() => {
            "the installed system is as it was: to try again type: upgrade; to leave: systemctl reboot, which boots the old \
             system"
        }
        (Phase::Failed, Place::Live) => {
            "the RPM transaction has begun: mend what the log names, then type: upgrade; a reboot comes back here"
        }
        (Phase::Failed, Place::Installed) => {
            "the RPM transaction has begun: boot the upgrade's entry, mend what the log names, and type: upgrade"
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Attempt;
    use super::*;

    #[test]
    fn a_failure_says_whether_the_system_is_as_it_was_and_what_to_do() {
        for (begun, place, words) in [
            (false, Place::Installed, "livemode-prep arm"),
            (false, Place::Live, "boots the old system"),
            (true, Place::Installed, "boot the upgrade's entry"),
            (true, Place::Live, "a reboot comes back here"),
        ] {
            let state = State {
                state: Phase::Failed,
                begun,
                attempt: 1,
                message: "leapp ended with 7".into(),
                attempts: vec![Attempt {
                    number: 1,
                    outcome: "leapp ended with 7".into(),
                    ..Attempt::default()
                }],
                checksum: Some(String::new()),
                ..State::default()
            };
            let standing = Standing::of(&state, place);
            assert!(standing.do_now.contains(words), "{}", standing.do_now);
            assert_eq!(standing.error.as_deref(), Some("leapp ended with 7"));
            assert_eq!(
                standing.lines()[..3],
                [
                    "upgrade    failed: leapp ended with 7",
                    "attempts   1",
                    "           1: leapp ended with 7"
                ]
            );
        }
    }

    /// Until it is committed, an upgrade in layers leaves the system as it was.
    #[test]
    fn in_layers_nothing_is_to_be_mended() {
        for (phase, place, words) in [
            (Phase::Failed, Place::Installed, "livemode-prep retry"),
            (Phase::Upgrading, Place::Installed, "livemode-prep retry"),
            (Phase::Failed, Place::Live, "is in /run/upgrade until you leave"),
        ] {
            let mut state = State {
                state: phase,
                begun: true,
                atomic: true,
                ..State::default()
            };
            let told = Standing::of(&state, place).do_now;
            assert!(
                told.contains("as it was") && told.contains(words),
                "{phase:?}: {told}"
            );
            state.atomic = false;
            let told = Standing::of(&state, place).do_now;
            assert!(
                !told.contains("as it was") && !told.contains(words),
                "{phase:?}: {told}"
            );
        }
    }

    #[test]
    fn every_state_has_something_to_do_and_only_a_failure_an_error() {
        for phase in [
            Phase::Prepared,
            Phase::Booted,
            Phase::Upgrading,
            Phase::Verified,
            Phase::Committing,
            Phase::Finishing,
            Phase::Succeeded,
        ] {
            for place in [Place::Installed, Place::Live] {
                let state = State {
                    state: phase,
                    ..State::default()
                };
                let standing = Standing::of(&state, place);
                assert!(!standing.do_now.is_empty() && standing.error.is_none());
            }
        }
    }
}
