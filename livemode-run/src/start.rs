//! Whether the upgrade starts. Pure.
use livemode_common::cmdline::Cmdline;
use livemode_common::contract::karg;
use livemode_common::records::{Phase, State};

/// Whether the upgrade may start, with the reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Decision {
    /// It starts now.
    Start(&'static str),
    /// It waits for an admin.
    Wait(String),
}

/// Decides by three things: whether the boot line lets the upgrade start by itself, whether an admin has asked for it
/// since this boot, and where it stands.
///
/// After a failure it waits whatever the boot line says: the upgrade's entry may still be what boots by default, and a
/// reboot that was meant to leave would try again. What was cut off is resumed; an image that early boot refused was no
/// attempt.
pub(crate) fn may_start(by_itself: bool, asked_for: bool, state: Option<&State>) -> Decision {
    if asked_for {
        return Decision::Start("an admin has asked for it");
    }
    match state {
        Some(state) if state.state == Phase::Committing => {
            Decision::Start("the upgraded system is not yet on its disks")
        }
        Some(state) if state.state == Phase::Finishing => {
            Decision::Start("leapp has finished, and the upgraded system is not the default yet")
        }
        Some(state) if state.state == Phase::Failed && !state.is_refusal() => Decision::Wait(format!(
            "attempt {} has failed: {}; the next one waits until someone types: upgrade",
            state.attempt, state.message
        )),
        _ if !by_itself => Decision::Wait(format!(
            "{}=0: not before someone types: upgrade",
            karg::AUTOSTART
        )),
        _ => Decision::Start("the boot line lets it start by itself"),
    }
}

/// Whether the boot line lets the upgrade start by itself: its last word about it counts.
pub(crate) fn by_itself(line: &str) -> bool {
    Cmdline::parse(line).last(karg::AUTOSTART) != Some("0")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_word_on_the_boot_line_counts() {
        for (line, starts) in [
            ("quiet", true),
            ("upgrade.autostart=1", true),
            ("upgrade.autostart=0", false),
            ("upgrade.autostart=0 quiet upgrade.autostart=1", true),
            ("upgrade.autostart=1 upgrade.autostart=0", false),
        ] {
            assert_eq!(by_itself(line), starts, "{line}");
        }
    }

    #[test]
    fn after_a_failure_the_upgrade_waits_for_an_admin() {
        let state = |state, message: &str| State {
            state,
            attempt: 2,
            message: message.into(),
            ..State::default()
        };
        let asked = Decision::Start("an admin has asked for it");
        let alone = Decision::Start("the boot line lets it start by itself");
        let line = Decision::Wait("upgrade.autostart=0: not before someone types: upgrade".into());
        let committing = Decision::Start("the upgraded system is not yet on its disks");
        let finishing = Decision::Start("leapp has finished, and the upgraded system is not the default yet");
        let held = Decision::Wait(
            "attempt 2 has failed: step 1 of 2: leapp ended with 7; the next one waits until someone types: upgrade"
                .into(),
        );
        let failed = state(Phase::Failed, "step 1 of 2: leapp ended with 7");
        let refused = state(Phase::Failed, "the image was refused in early boot: too short");
        for (last, with_autostart, without) in [
            (None, &alone, &line),
            (Some(state(Phase::Prepared, "built")), &alone, &line),
            (Some(state(Phase::Booted, "up")), &alone, &line),
            (Some(state(Phase::Upgrading, "step 1 of 2")), &alone, &line),
            (Some(state(Phase::Committing, "whole")), &committing, &committing),
            (
                Some(state(Phase::Finishing, "step 2 of 2")),
                &finishing,
                &finishing,
            ),
            (Some(state(Phase::Succeeded, "done")), &alone, &line),
            (Some(refused), &alone, &line),
            (Some(failed), &held, &held),
        ] {
            let last = last.as_ref();
            assert_eq!(may_start(true, false, last), *with_autostart, "{last:?}");
            assert_eq!(may_start(false, false, last), *without, "{last:?}");
            assert_eq!(may_start(true, true, last), asked, "{last:?}");
            assert_eq!(may_start(false, true, last), asked, "{last:?}");
        }
    }
}
