//! Where the upgrade stands. Pure.
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::fingerprint::Fingerprint;

/// Where the upgrade stands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// `build` is done, the machine has not booted the image yet.
    #[default]
    Prepared,
    /// Early boot has taken the image.
    Booted,
    /// leapp runs.
    Upgrading,
    /// The upgraded system is whole, and waits in its layers for an admin's word.
    Verified,
    /// The upgraded system is whole, and what was kept of it is being moved to its disks; from here there is no way back.
    Committing,
    /// leapp ended with 0, both times, and the upgraded system can boot; it is being made the default.
    Finishing,
    /// The upgraded system is what boots.
    Succeeded,
    /// The image was refused, or leapp failed.
    Failed,
}

impl std::fmt::Display for Phase {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Prepared => "prepared",
            Self::Booted => "booted",
            Self::Upgrading => "upgrading",
            Self::Verified => "verified",
            Self::Committing => "committing",
            Self::Finishing => "finishing",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
        })
    }
}

/// One run of the upgrade.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// From 1.
    pub number: u32,
    /// Seconds since the epoch.
    pub started: u64,
    /// Seconds since the epoch; none while it runs, or when it was cut off.
    pub ended: Option<u64>,
    /// How it ended; while it runs, what is true if nothing more is ever recorded.
    pub outcome: String,
}

/// The record behind `state.json`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// Version of this record.
    pub schema: u32,
    /// Counts the records of this build.
    #[serde(default)]
    pub sequence: u64,
    /// Where the upgrade stands.
    pub state: Phase,
    /// Seconds since the epoch of this change.
    pub time: u64,
    /// Which run of the upgrade, from 1; 0 before the first.
    pub attempt: u32,
    /// What the upgrade did last, or why it failed.
    pub message: String,
    /// Exit code of the command that ended the upgrade.
    pub exit_code: Option<i32>,
    /// Of a failure: whether the RPM transaction has begun, so that the old system is no longer whole.
    #[serde(default)]
    pub begun: bool,
    /// Whether what the upgrade writes is kept apart until it is whole: before [`Phase::Committing`] the old system is as it was.
    #[serde(default)]
    pub atomic: bool,
    /// The source system before leapp ran for the first time.
    #[serde(default)]
    pub before: Option<Fingerprint>,
    /// The id of the boot entry that follows a success.
    #[serde(default)]
    pub target: Option<String>,
    /// All runs of the upgrade.
    #[serde(default)]
    pub attempts: Vec<Attempt>,
    /// SHA-256 in hex of the record without it. None in a record of an older version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checksum: Option<String>,
}

/// How the message of a refusal in early boot begins: it is [`Phase::Failed`], though no upgrade was tried.
const REFUSAL: &str = "the image was refused in early boot: ";

impl State {
    /// Whether the state is a refusal of the image in early boot: leapp has not run, a later boot may start it.
    pub fn is_refusal(&self) -> bool {
        self.state == Phase::Failed && self.message.starts_with(REFUSAL)
    }

    /// Whether the source system may no longer be as it was: the RPM transaction has begun, or may have.
    pub fn may_have_begun(&self) -> bool {
        match self.state {
            Phase::Prepared | Phase::Booted | Phase::Verified => false,
            Phase::Upgrading | Phase::Failed if self.atomic => false,
            Phase::Upgrading | Phase::Committing | Phase::Finishing | Phase::Succeeded => true,
            // A record of an older version does not say; once leapp has run, that is taken for it.
            Phase::Failed => self.begun || (self.checksum.is_none() && self.attempt > 0),
        }
    }

    /// Whether the RPM transaction has begun, by the source system as it is `now`; what cannot be told is taken for it.
    pub fn has_begun(&self, now: Option<&Fingerprint>) -> bool {
        self.may_have_begun()
            && match (&self.before, now) {
                (Some(before), Some(now)) => before.has_begun(now),
                _ => true,
            }
    }

    /// Why nothing of the build may be taken away now, if so: a part of the new system is only in the store.
    pub fn moves_to_the_disks(&self) -> Option<&'static str> {
        (self.state == Phase::Committing).then_some(
            "the upgraded system is being moved to its disks, and a part of it is only in the store; boot the upgrade's entry, \
             which goes on with it",
        )
    }

    /// What becomes of this state when early boot refuses the image because of `fault`; `None` where it must stay as it
    /// is. An upgrade that has succeeded stays so, and one that has failed stays a failure of that attempt.
    pub fn refused(&self, fault: &str) -> Option<Change> {
        let message = match self.state {
            Phase::Committing | Phase::Finishing | Phase::Succeeded => return None,
            Phase::Failed if !self.is_refusal() => {
                let failure = self.message.split("; then ").next().unwrap_or_default();
                format!("{failure}; then {REFUSAL}{fault}")
            }
            Phase::Upgrading => format!("attempt {} did not complete; then {REFUSAL}{fault}", self.attempt),
            _ => format!("{REFUSAL}{fault}"),
        };
        Some(Change {
            begun: self.may_have_begun(),
            exit_code: self.exit_code,
            ..Change::new(Phase::Failed, self.attempt, message)
        })
    }

    /// The first record of a build.
    pub fn first(message: &str, atomic: bool, now: u64) -> Self {
        let first = Self {
            atomic,
            ..Self::default()
        };
        // The sequence begins with 1.
        Self::followed_by(Some(&first), Change::new(Phase::Prepared, 0, message), now)
    }

    /// The record that follows this one.
    pub(super) fn followed_by(last: Option<&Self>, change: Change, now: u64) -> Self {
        let kept = last.cloned().unwrap_or_default();
        let state = Self {
            schema: crate::contract::SCHEMA,
            sequence: kept.sequence + 1,
            state: change.state,
            time: now,
            attempt: change.attempt,
            attempts: attempts(kept.attempts, &change, now),
            message: change.message,
            exit_code: change.exit_code,
            begun: change.begun,
            atomic: kept.atomic,
            before: change.before.or(kept.before),
            target: change.target.or(kept.target),
            checksum: None,
        };
        Self {
            checksum: Some(state.sum()),
            ..state
        }
    }

    /// Whether the record is what was written.
    pub(crate) fn is_whole(&self) -> bool {
        self.checksum.as_ref().is_none_or(|sum| *sum == self.sum())
    }

    fn sum(&self) -> String {
        let bare = Self {
            checksum: None,
            ..self.clone()
        };
        let text = serde_json::to_vec(&bare).unwrap_or_default();
        Sha256::digest(text)
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect()
    }
}

fn attempts(mut attempts: Vec<Attempt>, change: &Change, now: u64) -> Vec<Attempt> {
    if change.attempt == 0 {
        return attempts;
    }
    if attempts.last().is_none_or(|last| last.number != change.attempt) {
        attempts.push(Attempt {
            number: change.attempt,
            started: now,
            ..Attempt::default()
        });
    }
    let Some(last) = attempts.last_mut() else {
        return attempts;
    };
    match change.state {
        // Once a run has ended, a refusal of a later boot is no news of it.
        Phase::Failed | Phase::Succeeded if last.ended.is_none() => {
            last.ended = Some(now);
            last.outcome.clone_from(&change.message);
        }
        Phase::Upgrading | Phase::Verified | Phase::Committing | Phase::Finishing => {
            last.outcome = format!("did not complete: {}", change.message);
        }
        _ => {}
    }
    attempts
}

/// A state that is to be recorded. What is `None` stays as it was.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Change {
    /// Where the upgrade stands from now on.
    pub state: Phase,
    /// Which run of the upgrade, from 1; 0 before the first.
    pub attempt: u32,
    /// What the upgrade did last, or why it failed.
    pub message: String,
    /// Exit code of the command that ended the upgrade.
    pub exit_code: Option<i32>,
    /// Of a failure: whether the RPM transaction has begun.
    pub begun: bool,
    /// The source system before leapp ran for the first time.
    pub before: Option<Fingerprint>,
    /// The id of the boot entry that follows a success.
    pub target: Option<String>,
}

impl Change {
    /// One that says no more than this.
    pub fn new(state: Phase, attempt: u32, message: impl Into<String>) -> Self {
        Self {
            state,
            attempt,
            message: message.into(),
            ..Self::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(changes: &[Change]) -> State {
        let first = State::followed_by(None, Change::new(Phase::Prepared, 0, "built"), 10);
        changes.iter().zip(11..).fold(first, |last, (change, now)| {
            State::followed_by(Some(&last), change.clone(), now)
        })
    }

    #[test]
    fn while_a_run_goes_on_the_record_says_what_a_cut_makes_true() {
        let state = after(&[
            Change::new(Phase::Booted, 0, "up"),
            Change::new(Phase::Upgrading, 1, "step 1 of 2"),
        ]);
        assert_eq!(state.attempts.len(), 1);
        assert_eq!(state.attempts[0].outcome, "did not complete: step 1 of 2");
        assert_eq!((state.attempts[0].started, state.attempts[0].ended), (12, None));
        assert_eq!(state.sequence, 3);
    }

    #[test]
    fn every_run_is_listed_with_how_it_ended() {
        let fingerprint = Fingerprint::default();
        let state = after(&[
            Change {
                before: Some(fingerprint.clone()),
                ..Change::new(Phase::Upgrading, 1, "step 1 of 2")
            },
            Change {
                begun: true,
                ..Change::new(Phase::Failed, 1, "leapp ended with 7")
            },
            Change::new(Phase::Failed, 1, "leapp ended with 7; then refused"),
            Change::new(Phase::Upgrading, 2, "step 1 of 2"),
            Change {
                target: Some("a-6".into()),
                ..Change::new(Phase::Finishing, 2, "leapp has finished")
            },
            Change::new(Phase::Succeeded, 2, "done"),
        ]);
        let told: Vec<(u32, &str, Option<u64>)> = state
            .attempts
            .iter()
            .map(|attempt| (attempt.number, attempt.outcome.as_str(), attempt.ended))
            .collect();
        assert_eq!(told, [(1, "leapp ended with 7", Some(12)), (2, "done", Some(16))]);
        assert_eq!(
            (state.before, state.target),
            (Some(fingerprint), Some("a-6".into()))
        );
    }

    #[test]
    fn a_record_that_was_changed_is_not_whole() {
        let state = after(&[]);
        assert!(state.is_whole());
        let text = serde_json::to_string(&state).unwrap();
        assert!(serde_json::from_str::<State>(&text).unwrap().is_whole());
        let torn = text.replace("built", "burnt");
        assert!(!serde_json::from_str::<State>(&torn).unwrap().is_whole());
        let old: State = serde_json::from_str(
            r#"{"schema": 1, "state": "booted", "time": 1, "attempt": 0, "message": "", "exit_code": null}"#,
        )
        .unwrap();
        assert!(old.is_whole());
    }

    #[test]
    fn a_transaction_has_begun_unless_the_system_shows_that_it_has_not() {
        let same = Fingerprint::default();
        let other = Fingerprint {
            packages: "other".into(),
            ..Fingerprint::default()
        };
        for (phase, before, now, begun) in [
            (Phase::Booted, None, None, false),
            (Phase::Booted, Some(&same), Some(&other), false),
            (Phase::Upgrading, Some(&same), Some(&same), false),
            (Phase::Upgrading, Some(&same), Some(&other), true),
            (Phase::Upgrading, None, Some(&same), true),
            (Phase::Upgrading, Some(&same), None, true),
        ] {
            let state = State {
                state: phase,
                before: before.cloned(),
                ..State::default()
            };
            assert_eq!(state.has_begun(now), begun, "{phase} {before:?} {now:?}");
        }
    }

    #[test]
    fn only_what_came_before_leapp_has_certainly_changed_nothing() {
        for (phase, begun, may_have) in [
            (Phase::Prepared, false, false),
            (Phase::Booted, false, false),
            (Phase::Upgrading, false, true),
            (Phase::Finishing, false, true),
            (Phase::Succeeded, false, true),
            (Phase::Failed, false, false),
            (Phase::Failed, true, true),
        ] {
            let state = State {
                state: phase,
                begun,
                ..State::default()
            };
            assert_eq!(state.may_have_begun(), may_have, "{phase}");
        }
        let of_an_older_version = State {
            state: Phase::Failed,
            attempt: 1,
            ..State::default()
        };
        assert!(of_an_older_version.may_have_begun());
        for phase in [Phase::Upgrading, Phase::Failed] {
            let in_layers = State {
                state: phase,
                begun: true,
                atomic: true,
                ..State::default()
            };
            assert!(!in_layers.may_have_begun(), "{phase}");
        }
    }

    #[test]
    fn while_the_system_moves_to_its_disks_nothing_may_be_taken_away() {
        for phase in [Phase::Prepared, Phase::Upgrading, Phase::Finishing, Phase::Failed] {
            let state = State {
                state: phase,
                ..State::default()
            };
            assert_eq!(state.moves_to_the_disks(), None, "{phase}");
        }
        let committing = State {
            state: Phase::Committing,
            ..State::default()
        };
        let why = committing.moves_to_the_disks().unwrap();
        assert!(why.contains("boot the upgrade's entry"), "{why}");
    }

    #[test]
    fn the_first_record_of_a_build_is_its_own() {
        let first = State::first("built", true, 7);
        assert_eq!(
            (first.sequence, first.state, first.time, first.atomic),
            (1, Phase::Prepared, 7, true)
        );
        assert_eq!(first.message, "built");
        assert!(first.attempts.is_empty() && first.checksum.is_some());
    }
}
