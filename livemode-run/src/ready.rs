//! Whether the upgrade may begin, as the records and the facts have it. Pure.
use livemode_common::contract::BOOT_RECORD;
use livemode_common::records::{Manifest, Phase, State};

use crate::facts::Facts;
use crate::finish::Fault;

/// What the record of a run says that the machine, or the service, did not survive: it is not resumed by itself, for leapp
/// may not be able to, and an admin should know. `here` is the attempt that has begun in this boot.
pub(crate) fn cut_off(last: &State, is_asked_for: bool, here: Option<u32>) -> Option<Fault> {
    let is_killed = here == Some(last.attempt);
    let why = if is_killed {
        "the service that ran it was killed"
    } else {
        "the machine went down"
    };
    // In layers there is nothing to resume.
    let is_over = is_killed || last.atomic || !is_asked_for;
    (last.state == Phase::Upgrading && is_over).then(|| Fault {
        message: format!(
            "attempt {} did not complete: {}; {why}",
            last.attempt, last.message
        ),
        exit_code: None,
    })
}

/// Why a run in layers cannot be followed by another in the same boot.
pub(crate) fn spent(last: &State) -> Option<String> {
    (last.atomic && last.state == Phase::Failed && !last.is_refusal()).then(|| {
        format!(
            "attempt {} has ended: {}; what it has written is given up by a reboot, after which the old system can try it again: \
             systemctl reboot, there: livemode-prep retry",
            last.attempt, last.message
        )
    })
}

/// The number of the attempt that comes after this state; `None` when the upgrade has succeeded.
pub(crate) fn next_attempt(last: Option<&State>) -> Option<u32> {
    match last {
        Some(state) if state.state == Phase::Succeeded => None,
        Some(state) => Some(state.attempt + 1),
        None => Some(1),
    }
}

/// What was built, unless something of it does not fit what was booted.
pub(crate) fn ready<'a>(facts: &'a Facts, last: Option<&State>) -> Result<&'a Manifest, Fault> {
    let fault = |message: String| Fault {
        message,
        exit_code: None,
    };
    let Some(manifest) = &facts.manifest else {
        return Err(fault(
            "the source system has no manifest: nothing is prepared there; run livemode-prep build".into(),
        ));
    };
    match &facts.booted_sha256 {
        Some(sha256) if *sha256 != manifest.image.sha256 => {
            return Err(fault(format!(
                "{BOOT_RECORD} and the manifest name different images: this boot entry is of another build"
            )))
        }
        _ => {}
    }
    let is_first = last.is_none_or(|last| !last.may_have_begun());
    let changed = match (&manifest.source, &facts.now) {
        (Some(built), Ok(now)) if is_first => built.changed(now),
        _ => None,
    };
    if let Some(what) = changed {
        return Err(fault(format!(
            "the source system has changed since the image was built ({what}); build it again"
        )));
    }
    if facts.not_mounted.is_empty() {
        return Ok(manifest);
    }
    let targets: Vec<String> = facts
        .not_mounted
        .iter()
        .map(|t| t.display().to_string())
        .collect();
    Err(fault(format!(
        "not mounted, though the source system requires it: {}",
        targets.join(", ")
    )))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::Tracing;
    use livemode_common::config::Config;
    use livemode_common::contract::SCHEMA;
    use livemode_common::fingerprint::Fingerprint;
    use livemode_common::records::{Artifact, BootEntry, Origin};

    #[test]
    fn attempts_are_counted_until_one_has_succeeded() {
        let state = |state, attempt| State {
            state,
            attempt,
            ..State::default()
        };
        for (last, next) in [
            (None, Some(1)),
            (Some(state(Phase::Booted, 0)), Some(1)),
            (Some(state(Phase::Upgrading, 1)), Some(2)),
            (Some(state(Phase::Failed, 2)), Some(3)),
            (Some(state(Phase::Succeeded, 2)), None),
        ] {
            assert_eq!(next_attempt(last.as_ref()), next, "{last:?}");
        }
    }

    #[test]
    fn what_was_cut_off_is_told_and_not_resumed_by_itself() {
        let last = |state| State {
            state,
            attempt: 2,
            message: "step 1 of 2".into(),
            ..State::default()
        };
        let down = Some("attempt 2 did not complete: step 1 of 2; the machine went down");
        let killed = Some("attempt 2 did not complete: step 1 of 2; the service that ran it was killed");
        for (state, is_asked_for, here, said) in [
            (Phase::Upgrading, false, None, down),
            (Phase::Upgrading, true, None, None),
            (Phase::Upgrading, false, Some(2), killed),
            (Phase::Upgrading, true, Some(2), killed),
            (Phase::Upgrading, true, Some(1), None),
            (Phase::Failed, false, Some(2), None),
            (Phase::Booted, false, None, None),
        ] {
            let fault = cut_off(&last(state), is_asked_for, here).map(|fault| fault.message);
            assert_eq!(fault.as_deref(), said, "{state} {is_asked_for} {here:?}");
        }
        let in_layers = State {
            atomic: true,
            ..last(Phase::Upgrading)
        };
        assert!(cut_off(&in_layers, true, None).is_some());
    }

    #[test]
    fn what_has_failed_in_layers_is_not_gone_on_with() {
        let state = |phase, atomic, message: &str| State {
            state: phase,
            atomic,
            message: message.into(),
            ..State::default()
        };
        let refused = "the image was refused in early boot: too short";
        for (state, is_spent) in [
            (state(Phase::Failed, true, "leapp ended with 7"), true),
            (state(Phase::Failed, false, "leapp ended with 7"), false),
            (state(Phase::Failed, true, refused), false),
            (state(Phase::Booted, true, "up"), false),
        ] {
            assert_eq!(spent(&state).is_some(), is_spent, "{state:?}");
        }
    }

    fn manifest(sha256: &str) -> Manifest {
        let artifact = |sha256: &str| Artifact {
            origin: Origin::Made,
            path: "/x".into(),
            size: 1,
            sha256: sha256.into(),
        };
        Manifest {
            schema: SCHEMA,
            image: artifact(sha256),
            kernel: artifact("k"),
            hmac: None,
            initramfs: artifact("i"),
            kernel_version: "6.1".into(),
            compressor: "zstd".into(),
            boot: BootEntry {
                loader: "none".into(),
                arguments: String::new(),
                entry: None,
            },
            id: "b1".into(),
            source: Some(Fingerprint::default()),
            source_arguments: "root=UUID=x ro".into(),
            config: Config::default(),
            versions: std::collections::BTreeMap::new(),
            made_directories: Vec::new(),
            store: None,
            created: 0,
        }
    }

    #[test]
    fn the_upgrade_begins_with_the_image_that_was_built_and_all_that_the_source_requires() {
        let no_manifest =
            "the source system has no manifest: nothing is prepared there; run livemode-prep build";
        let other_image =
            "/run/livemode/boot.json and the manifest name different images: this boot entry is of \
                           another build";
        let missing =
            "not mounted, though the source system requires it: /run/upgrade/boot, /run/upgrade/var";
        for (built, booted, not_mounted, fault) in [
            (Some("a"), Some("a"), vec![], None),
            // The check was off.
            (Some("a"), None, vec![], None),
            (None, Some("a"), vec![], Some(no_manifest)),
            (Some("a"), Some("b"), vec![], Some(other_image)),
            (
                Some("a"),
                Some("a"),
                vec!["/run/upgrade/boot", "/run/upgrade/var"],
                Some(missing),
            ),
        ] {
            let facts = Facts {
                now: Ok(Fingerprint::default()),
                tracing: Tracing::Off,
                manifest: built.map(manifest),
                booted_sha256: booted.map(str::to_owned),
                not_mounted: not_mounted.into_iter().map(Into::into).collect(),
            };
            let said = ready(&facts, None).map_err(|fault| (fault.message, fault.exit_code));
            match fault {
                None => assert_eq!(said, Ok(&manifest("a"))),
                Some(fault) => assert_eq!(said, Err((fault.into(), None))),
            }
        }
    }

    #[test]
    fn a_system_that_has_changed_since_the_build_is_not_upgraded_but_one_in_the_middle_of_it_is() {
        let facts = Facts {
            tracing: Tracing::Off,
            manifest: Some(manifest("a")),
            booted_sha256: None,
            not_mounted: Vec::new(),
            now: Ok(Fingerprint {
                packages: "other".into(),
                ..Fingerprint::default()
            }),
        };
        let state = |phase| State {
            state: phase,
            ..State::default()
        };
        let fault = ready(&facts, Some(&state(Phase::Booted))).unwrap_err();
        assert_eq!(
            fault.message,
            "the source system has changed since the image was built (installed packages); build it again"
        );
        assert!(ready(&facts, Some(&state(Phase::Upgrading))).is_ok());
        let unknown = Facts {
            now: Err("no rpm".into()),
            ..facts
        };
        assert!(ready(&unknown, None).is_ok());
    }
}
