//! Runs the upgrade: each state is on the source's disk before the step it describes.
use std::path::Path;

use anyhow::Result;
use livemode_common::contract::{BOOT_RECORD, RUN_ATTEMPT, START_REQUEST};
use livemode_common::failure::precondition;
use livemode_common::fingerprint::Fingerprint;
use livemode_common::fsio;
use livemode_common::records::{Change, Manifest, Phase, Records, State};
use livemode_common::sysroot::SysRoot;

use crate::atomic::{self, Layers, Watch};
use crate::by_hand::Request;
use crate::facts::{self, Facts, Tracing};
use crate::finish::{self, Attempt, Fault};
use crate::inhibitor::Inhibitor;
use crate::live;
use crate::loader::Loader;
use crate::output::Output;
use crate::plan::{UpgradePlan, SOURCE_CMDLINE};
use crate::{step, trace};

pub(crate) fn run(source: &SysRoot, cmdline: &Path) -> Result<()> {
    if let Some(why) = facts::wrong_source(source, cmdline)? {
        return Err(precondition(why));
    }
    finish::end_of_waiting();
    let mut output = Output::new(source);
    let last = Records::of(source).state().inspect_err(|error| {
        output.line(&format!("the upgrade does not start: {error:#}"));
    })?;
    let Some(number) = next_attempt(last.as_ref()) else {
        return finish::already_done(source, &mut output);
    };
    let is_asked_for = Path::new(START_REQUEST).exists();
    let mut attempt = Attempt {
        source,
        number,
        manifest: None,
        is_asked_for,
        countdown_s: finish::countdown_s(&live::read(cmdline)?),
        has_started: false,
        layers: Layers::find()?,
    };
    if last.as_ref().is_some_and(|last| last.state == Phase::Committing) {
        return finish::go_on_in_early_boot(&mut output);
    }
    if last.as_ref().is_some_and(|last| last.state == Phase::Verified) {
        attempt.number = number - 1;
        attempt.manifest = Records::of(source).manifest()?;
        return match Request::last() {
            Some(Request::Commit) => finish::success(&attempt, None, &mut output),
            Some(Request::Discard) => finish::discard(&attempt, &mut output),
            _ => Err(precondition(
                "the upgrade is whole and verified: livemode-run commit, or livemode-run discard",
            )),
        };
    }
    if let Some(why) = last.as_ref().and_then(spent) {
        return Err(precondition(why));
    }
    if last.as_ref().is_some_and(|last| last.state == Phase::Finishing) {
        // leapp has finished; what is missing is the default.
        attempt.number = number - 1;
        attempt.manifest = Records::of(source).manifest()?;
        return finish::success(&attempt, None, &mut output);
    }
    let result = match last
        .as_ref()
        .and_then(|last| cut_off(last, is_asked_for, begun_here()))
    {
        Some(fault) => {
            attempt.number = number - 1;
            attempt.manifest = Records::of(source).manifest().ok().flatten();
            Err(fault)
        }
        None => steps(&mut attempt, cmdline, last.as_ref(), &mut output),
    };
    match result {
        Ok(()) => finish::success(&attempt, Request::last(), &mut output),
        Err(fault) => Err(finish::failure(&attempt, &fault, &mut output)),
    }
}

/// What the record of a run says that the machine, or the service, did not survive: it is not resumed by itself, for leapp
/// may not be able to, and an admin should know. `here` is the attempt that has begun in this boot.
fn cut_off(last: &State, is_asked_for: bool, here: Option<u32>) -> Option<Fault> {
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

/// The attempt whose service has begun in this boot, unless an admin has asked for another one since.
fn begun_here() -> Option<u32> {
    std::fs::read_to_string(RUN_ATTEMPT).ok()?.trim().parse().ok()
}

/// Why a run in layers cannot be followed by another in the same boot.
fn spent(last: &State) -> Option<String> {
    (last.atomic && last.state == Phase::Failed && !last.is_refusal()).then(|| {
        format!(
            "attempt {} has ended: {}; what it has written is given up by a reboot, after which the old system can try it again: \
             systemctl reboot, there: livemode-prep retry",
            last.attempt, last.message
        )
    })
}

/// The number of the attempt that comes after this state; `None` when the upgrade has succeeded.
fn next_attempt(last: Option<&State>) -> Option<u32> {
    match last {
        Some(state) if state.state == Phase::Succeeded => None,
        Some(state) => Some(state.attempt + 1),
        None => Some(1),
    }
}

/// One step after the other, until one fails.
fn steps(
    attempt: &mut Attempt,
    cmdline: &Path,
    last: Option<&State>,
    output: &mut Output,
) -> Result<(), Fault> {
    output.open()?;
    let mut facts = Facts::gather(attempt.source, cmdline)?;
    attempt.manifest.clone_from(&facts.manifest);
    let manifest = ready(&facts, last)?;
    through_layers(attempt, manifest)?;
    let source_arguments = manifest.source_arguments.clone();
    let loader = Loader::of(attempt.source, manifest);
    let resumes = last.is_some_and(State::may_have_begun);
    let stand_in = loader
        .as_ref()
        .map(|loader| loader.stand_in(resumes))
        .transpose()?;
    if let Tracing::Into(path) = &facts.tracing {
        if let Err(error) = trace::prepare(path) {
            facts.tracing = Tracing::Impossible(format!("{error:#}"));
        }
    }
    if let Tracing::Impossible(why) = &facts.tracing {
        output.line(&format!(
            "no trace can be kept: {why}; the upgrade goes on without one"
        ));
    }
    let plan = UpgradePlan::new(attempt.source, &facts.tracing, stand_in.as_ref());
    fsio::atomic_write(
        Path::new(SOURCE_CMDLINE),
        format!("{source_arguments}\n").as_bytes(),
        0o444,
    )?;
    fsio::atomic_write(
        Path::new(RUN_ATTEMPT),
        format!("{}\n", attempt.number).as_bytes(),
        0o644,
    )?;
    let silence = step::silence(&live::read(cmdline)?);
    if attempt.layers.is_some() {
        atomic::name_by_uuid(attempt.source)?;
    }
    let mut before = before(&facts, last, output);
    let _awake = Inhibitor::start(output);
    let watch = attempt.layers.as_ref().map(Layers::watch);
    for (number, command) in plan.steps.iter().enumerate() {
        let step = format!("step {} of {}", number + 1, plan.steps.len());
        Records::of(attempt.source).record(Change {
            before: before.take(),
            ..Change::new(Phase::Upgrading, attempt.number, &step)
        })?;
        if let Some(loader) = loader.as_ref().filter(|_| number == 0) {
            loader.keep_ours()?;
        }
        attempt.has_started = true;
        let title = format!("attempt {}, {step}", attempt.number);
        let has_begun = |output: &mut Output| finish::has_begun(attempt, output);
        let trace = plan.trace.as_deref();
        let ended = step::run(command, trace, &title, silence, has_begun, output)
            .map_err(|error| Fault::from(error.context(step.clone())))?;
        if let Some(mut fault) = step::verdict(&step, ended) {
            if let Some(why) = watch.as_ref().and_then(Watch::verdict) {
                fault.message = format!("{step}: {why}");
            }
            return Err(fault);
        }
    }
    Ok(())
}

/// What the record gets of the source system as it is before leapp runs. The first run's stays: what came after it may have
/// changed the system.
fn before(facts: &Facts, last: Option<&State>, output: &mut Output) -> Option<Fingerprint> {
    if last.is_some_and(|last| last.may_have_begun() && last.before.is_some()) {
        return None;
    }
    let now = facts.now.clone().map_err(|why| {
        output.line(&format!(
            "a failure will be taken for one in the middle of the RPM transaction: {why}"
        ));
    });
    now.ok()
}

/// Of an upgrade that is all or nothing, nothing may be mounted past its layer.
fn through_layers(attempt: &Attempt, manifest: &Manifest) -> Result<(), Fault> {
    let fault = |message: String| {
        Err(Fault {
            message,
            exit_code: None,
        })
    };
    match (&attempt.layers, &manifest.store) {
        (None, Some(_)) => fault("the store is not mapped: early boot has not seen it".into()),
        (Some(layers), _) => match layers.past(attempt.source.path(), &live::mounts()?).as_slice() {
            [] => Ok(()),
            past => fault(format!("mounted past its layer: {}", past.join(", "))),
        },
        (None, None) => Ok(()),
    }
}

/// What was built, unless something of it does not fit what was booted.
fn ready<'a>(facts: &'a Facts, last: Option<&State>) -> Result<&'a Manifest, Fault> {
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
    use livemode_common::config::Config;
    use livemode_common::contract::SCHEMA;
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

    #[test]
    fn without_its_source_nothing_begins() {
        let dir = tempfile::tempdir().unwrap();
        let source = SysRoot::new(dir.path());
        let cmdline = dir.path().join("cmdline");
        std::fs::write(&cmdline, "root=livemode:UUID=x\n").unwrap();
        assert!(run(&source, &cmdline)
            .unwrap_err()
            .is::<livemode_common::failure::Failure>());
        let mut attempt = Attempt {
            source: &source,
            number: 1,
            manifest: None,
            is_asked_for: false,
            countdown_s: 0,
            has_started: false,
            layers: None,
        };
        let fault = steps(&mut attempt, &cmdline, None, &mut Output::new(&source)).unwrap_err();
        assert_eq!(fault.message, crate::live::not_mounted(source.path()));
        assert!(!dir.path().join("var").exists());
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

    #[test]
    fn what_a_run_started_from_is_kept_until_another_starts_from_a_whole_system() {
        let dir = tempfile::tempdir().unwrap();
        let mut output = Output::new(&SysRoot::new(dir.path()));
        let facts = Facts {
            tracing: Tracing::Off,
            manifest: None,
            booted_sha256: None,
            not_mounted: Vec::new(),
            now: Ok(Fingerprint::default()),
        };
        for (phase, begun, has_before, taken) in [
            (Phase::Booted, false, false, true),
            (Phase::Booted, false, true, true),
            (Phase::Failed, false, true, true),
            (Phase::Failed, true, true, false),
            (Phase::Upgrading, false, true, false),
            (Phase::Upgrading, false, false, true),
        ] {
            let last = State {
                state: phase,
                begun,
                before: has_before.then(Fingerprint::default),
                ..State::default()
            };
            assert_eq!(
                before(&facts, Some(&last), &mut output).is_some(),
                taken,
                "{last:?}"
            );
        }
    }
}
