//! Runs the upgrade: each state is on the source's disk before the step it describes.
use std::path::Path;

use anyhow::Result;
use livemode_common::contract::{RUN_ATTEMPT, START_REQUEST};
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
use crate::ready::{cut_off, next_attempt, ready, spent};
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
        watch: None,
    };
    if let Some(last) = last.as_ref().filter(|last| last.state == Phase::Committing) {
        if begun_here().is_some() {
            return finish::go_on_in_early_boot(&mut output);
        }
        attempt.number = number - 1;
        attempt.manifest = Records::of(source).manifest()?;
        return finish::half_moved(&attempt, Request::last(), &last.message, &mut output);
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

/// The attempt whose service has begun in this boot, unless an admin has asked for another one since.
fn begun_here() -> Option<u32> {
    std::fs::read_to_string(RUN_ATTEMPT).ok()?.trim().parse().ok()
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
    attempt.watch = attempt
        .layers
        .as_ref()
        .map(|layers| Watch::over(layers, attempt.number, output));
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
            if let Some(why) = attempt.watch.as_ref().and_then(Watch::verdict) {
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

#[cfg(test)]
mod tests {
    use super::*;

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
            watch: None,
        };
        let fault = steps(&mut attempt, &cmdline, None, &mut Output::new(&source)).unwrap_err();
        assert_eq!(fault.message, crate::live::not_mounted(source.path()));
        assert!(!dir.path().join("var").exists());
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
