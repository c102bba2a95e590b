//! What is said after a failure. Pure.
use std::path::Path;

use livemode_common::contract::LEAPP_LOG;

use crate::policy::{AfterFailure, Left};

/// What an admin can do after a failure, and what happens without one.
pub(super) fn advice(source: &Path, left: Left, follows: AfterFailure, is_recorded: bool) -> Vec<String> {
    let state = if left.begun {
        "the RPM transaction has begun: the old system is no longer whole"
    } else {
        "the installed system is as it was"
    };
    let next_boot = match (left.begun, left.has_loader) {
        (true, true) => "a reboot comes back here, and waits until someone types: upgrade",
        (false, true) => "a reboot boots the old system; there livemode-prep status tells what happened",
        (_, false) => {
            "a boot of the upgrade's entry, which may still be the default, comes back here; choose the old system's entry in the \
             boot menu"
        }
    };
    let mut lines = vec![
        format!(
            "what happened is in /{LEAPP_LOG} on the source system, mounted at {}",
            source.display()
        ),
        state.to_owned(),
        "to try again: upgrade    to leave: systemctl reboot".to_owned(),
        next_boot.to_owned(),
        "to give the upgrade up: livemode-prep remove, in the old system".to_owned(),
    ];
    if !is_recorded {
        lines.push(
            "the failure is not recorded: a boot of the upgrade's entry may try again by itself, unless the boot line says \
             upgrade.autostart=0"
                .to_owned(),
        );
    }
    match follows {
        AfterFailure::Hold(Some(minutes)) => {
            lines.push(format!(
                "the old system boots in {minutes} minutes unless someone types: upgrade"
            ));
        }
        AfterFailure::Hold(None) => lines.push("this live system stays up".to_owned()),
        AfterFailure::Return => {}
    }
    lines
}

/// The same where nothing has reached the disks.
pub(super) fn advice_in_layers(follows: AfterFailure) -> Vec<String> {
    let mut lines = vec![
        "the installed system is as it was: nothing that the upgrade has written has reached its disks".to_owned(),
        "a reboot gives it up and boots the old system; there: livemode-prep status, and to try again: livemode-prep retry"
            .to_owned(),
    ];
    match follows {
        AfterFailure::Hold(Some(minutes)) => {
            lines.push(format!(
                "the old system boots in {minutes} minutes; to leave now: systemctl reboot"
            ));
        }
        AfterFailure::Hold(None) => {
            lines.push("this live system stays up, with what the upgrade has written in /run/upgrade; to leave: systemctl reboot".to_owned());
        }
        AfterFailure::Return => {}
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_advice_says_what_is_left_and_what_the_next_boot_does() {
        let lines = |begun, has_loader, follows| {
            let left = Left {
                begun,
                has_loader,
                is_attended: false,
            };
            advice(Path::new("/run/upgrade"), left, follows, has_loader).join("\n")
        };
        let hold = AfterFailure::Hold(None);
        assert!(lines(true, true, hold)
            .contains("a reboot comes back here, and waits until someone types: upgrade"));
        assert!(lines(true, true, hold).contains("no longer whole"));
        assert!(lines(false, true, hold).contains("a reboot boots the old system"));
        assert!(lines(false, true, hold).contains("the installed system is as it was"));
        assert!(lines(false, false, hold).contains("choose the old system's entry in the boot menu"));
        assert!(lines(false, false, hold).contains("the failure is not recorded"));
        assert!(!lines(false, true, hold).contains("the failure is not recorded"));
        assert!(lines(false, true, hold).contains("this live system stays up"));
        assert!(lines(false, true, AfterFailure::Hold(Some(30))).contains("boots in 30 minutes unless"));
        for begun in [true, false] {
            let text = lines(begun, true, AfterFailure::Return);
            assert!(text
                .contains("/var/log/leapp/leapp-upgrade.log on the source system, mounted at /run/upgrade"));
            assert!(text.contains("livemode-prep remove"), "{text}");
        }
    }
}
