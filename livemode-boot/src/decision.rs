//! What early boot does, by the records of the source system and the line it was booted with. Pure.
use livemode_common::records::{Phase, State};

/// What is known before anything is mounted as root.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Seen<'a> {
    /// The build that the boot entry names.
    pub(crate) build: Option<&'a str>,
    /// Whether what boots next can be changed from here.
    pub(crate) has_loader: bool,
    /// The build that lies on the disk, where its record can be read.
    pub(crate) built: Option<&'a str>,
    /// Where the upgrade stands.
    pub(crate) state: Result<Option<&'a State>, Unreadable>,
}

/// A record that is there and cannot be understood: torn, or of another version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Unreadable;

/// What is done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Decision {
    /// The image is mounted and `booted` recorded; the entry boots no more by itself.
    Start,
    /// The image is mounted, and its entry stays what boots: the upgrade is under way.
    Resume,
    /// The image is mounted, and of the loader only what was to boot once is cleared.
    Mount,
    /// The upgrade is done: the entry of this id is made the default, and the machine boots it.
    Finish(String),
    /// The old system is made the default, for this reason, and the machine boots it.
    GoBack(&'static str),
}

/// The whole table, docs/stages.md shows it.
pub(crate) fn decide(seen: Seen) -> Decision {
    let Some(build) = seen.build else {
        // An entry that somebody else has made.
        return Decision::Mount;
    };
    let Ok(state) = seen.state else {
        // What cannot be read may be an upgrade under way: the live system comes up, and waits.
        return Decision::Mount;
    };
    let Some(state) = state else {
        return Decision::Mount;
    };
    if let Some(target) = finished(state) {
        return if seen.has_loader {
            Decision::Finish(target.to_owned())
        } else {
            Decision::Mount
        };
    }
    let is_other = seen.built.is_some_and(|built| built != build);
    match (state.may_have_begun(), is_other) {
        (true, _) => Decision::Resume,
        (false, true) => Decision::GoBack("this boot entry is of another build"),
        // Without a loader of ours the entry may be the default: after a failure nothing starts by itself.
        (false, false) if state.state == Phase::Failed && !state.is_refusal() && !seen.has_loader => {
            Decision::Mount
        }
        (false, false) => Decision::Start,
    }
}

/// What boots after an image that was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum WayOut {
    /// The old system, which is as it was, or the only one left to try.
    Old,
    /// The upgrade once more: the old system may no longer be whole, and a device may only have been late.
    Again,
    /// The upgraded system, by its entry.
    New(String),
}

/// Where a refused image leads, by where the upgrade stands.
pub(crate) fn way_out(state: Result<Option<&State>, Unreadable>) -> WayOut {
    match state {
        Ok(Some(state)) if matches!(state.state, Phase::Upgrading | Phase::Committing) => WayOut::Again,
        Ok(Some(state)) => finished(state).map_or(WayOut::Old, |target| WayOut::New(target.to_owned())),
        Ok(None) | Err(Unreadable) => WayOut::Old,
    }
}

fn finished(state: &State) -> Option<&str> {
    matches!(state.state, Phase::Finishing | Phase::Succeeded)
        .then_some(state.target.as_deref())
        .flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_state_has_its_decision() {
        let go_back = || Decision::GoBack("this boot entry is of another build");
        let finish = || Decision::Finish("new".into());
        let refusal = "the image was refused in early boot: too short";
        for (phase, begun, message, target, with_loader, without, of_another) in [
            (
                Phase::Prepared,
                false,
                "",
                None,
                Decision::Start,
                Decision::Start,
                go_back(),
            ),
            (
                Phase::Booted,
                false,
                "",
                None,
                Decision::Start,
                Decision::Start,
                go_back(),
            ),
            (
                Phase::Failed,
                false,
                refusal,
                None,
                Decision::Start,
                Decision::Start,
                go_back(),
            ),
            (
                Phase::Failed,
                false,
                "7",
                None,
                Decision::Start,
                Decision::Mount,
                go_back(),
            ),
            (
                Phase::Failed,
                true,
                "7",
                None,
                Decision::Resume,
                Decision::Resume,
                Decision::Resume,
            ),
            (
                Phase::Upgrading,
                false,
                "",
                None,
                Decision::Resume,
                Decision::Resume,
                Decision::Resume,
            ),
            (
                Phase::Finishing,
                false,
                "",
                Some("new"),
                finish(),
                Decision::Mount,
                finish(),
            ),
            (
                Phase::Succeeded,
                false,
                "",
                Some("new"),
                finish(),
                Decision::Mount,
                finish(),
            ),
            (
                Phase::Succeeded,
                false,
                "",
                None,
                Decision::Resume,
                Decision::Resume,
                Decision::Resume,
            ),
        ] {
            let state = State {
                state: phase,
                begun,
                message: message.into(),
                target: target.map(str::to_owned),
                ..State::default()
            };
            let seen = |built, has_loader| Seen {
                build: Some("b1"),
                has_loader,
                built,
                state: Ok(Some(&state)),
            };
            assert_eq!(decide(seen(Some("b1"), true)), with_loader, "{phase} {begun}");
            assert_eq!(decide(seen(Some("b1"), false)), without, "{phase} {begun}");
            assert_eq!(decide(seen(Some("b2"), true)), of_another, "{phase} {begun}");
            assert_eq!(decide(seen(None, true)), with_loader, "{phase} {begun}");
        }
    }

    #[test]
    fn what_is_not_known_brings_the_live_system_up() {
        let state = State::default();
        for (build, state) in [
            (None, Ok(Some(&state))),
            (Some("b1"), Err(Unreadable)),
            (Some("b1"), Ok(None)),
        ] {
            let seen = Seen {
                build,
                has_loader: true,
                built: None,
                state,
            };
            assert_eq!(decide(seen), Decision::Mount);
        }
    }

    #[test]
    fn a_refused_image_leads_where_a_system_is_whole() {
        let state = |phase, target: Option<&str>| State {
            state: phase,
            target: target.map(str::to_owned),
            ..State::default()
        };
        for (state, way) in [
            (Some(state(Phase::Prepared, None)), WayOut::Old),
            (Some(state(Phase::Booted, None)), WayOut::Old),
            (Some(state(Phase::Upgrading, None)), WayOut::Again),
            (Some(state(Phase::Failed, None)), WayOut::Old),
            (Some(state(Phase::Committing, Some("new"))), WayOut::Again),
            (
                Some(state(Phase::Finishing, Some("new"))),
                WayOut::New("new".into()),
            ),
            (
                Some(state(Phase::Succeeded, Some("new"))),
                WayOut::New("new".into()),
            ),
            (None, WayOut::Old),
        ] {
            assert_eq!(way_out(Ok(state.as_ref())), way, "{state:?}");
        }
        assert_eq!(way_out(Err(Unreadable)), WayOut::Old);
    }
}
