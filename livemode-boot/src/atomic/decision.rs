//! What early boot does by the record in the store. Pure; docs/disk.md shows the table.
use livemode_common::records::{Phase, State};

/// What is done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Decision {
    /// A first run: /boot is copied, the layers are mapped, the live system comes up.
    Begin,
    /// What was written is forgotten, /boot is put back, and the old system boots.
    GiveUp(&'static str),
    /// What was verified is moved to the disks; then the entry with this id boots.
    Merge(String),
    /// All of it is on the disks: the entry with this id is made the default, and boots.
    HandOver(String),
}

/// The whole table. `state` is an error where no slot of the recorder can be read.
pub(super) fn decide(state: Option<&State>) -> Decision {
    let Some(state) = state else {
        return Decision::GiveUp("nothing says where the upgrade stands");
    };
    let target = state.target.clone();
    match (state.state, target) {
        (Phase::Prepared, _) => Decision::Begin,
        (Phase::Booted, _) => Decision::GiveUp("the image was booted before, and leapp did not begin"),
        (Phase::Upgrading, _) => Decision::GiveUp("it was cut off"),
        (Phase::Verified, _) => Decision::GiveUp("it was whole, and nobody has committed it"),
        (Phase::Failed, _) => Decision::GiveUp("it failed"),
        (Phase::Committing, Some(target)) => Decision::Merge(target),
        (Phase::Finishing | Phase::Succeeded, Some(target)) => Decision::HandOver(target),
        // No program of ours writes such a record.
        (Phase::Committing | Phase::Finishing | Phase::Succeeded, None) => {
            Decision::GiveUp("the record does not say what boots after it")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_verified_is_ever_moved_to_the_disks() {
        let new = || Some("new".to_owned());
        for (phase, target, expected) in [
            (Phase::Prepared, None, Decision::Begin),
            // Of the attempt before.
            (Phase::Prepared, new(), Decision::Begin),
            (
                Phase::Booted,
                None,
                Decision::GiveUp("the image was booted before, and leapp did not begin"),
            ),
            (Phase::Upgrading, None, Decision::GiveUp("it was cut off")),
            (Phase::Upgrading, new(), Decision::GiveUp("it was cut off")),
            (
                Phase::Verified,
                new(),
                Decision::GiveUp("it was whole, and nobody has committed it"),
            ),
            (Phase::Failed, None, Decision::GiveUp("it failed")),
            (Phase::Failed, new(), Decision::GiveUp("it failed")),
            (Phase::Committing, new(), Decision::Merge("new".into())),
            (
                Phase::Committing,
                None,
                Decision::GiveUp("the record does not say what boots after it"),
            ),
            (Phase::Finishing, new(), Decision::HandOver("new".into())),
            (Phase::Succeeded, new(), Decision::HandOver("new".into())),
            (
                Phase::Succeeded,
                None,
                Decision::GiveUp("the record does not say what boots after it"),
            ),
        ] {
            let state = State {
                state: phase,
                target,
                atomic: true,
                ..State::default()
            };
            assert_eq!(decide(Some(&state)), expected, "{state:?}");
        }
        assert_eq!(
            decide(None),
            Decision::GiveUp("nothing says where the upgrade stands")
        );
    }
}
