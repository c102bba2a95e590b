//! One boot of the upgrade's entry: look at the records, decide, then mount the image or leave.
use anyhow::{bail, Context, Result};
use livemode_common::loader::own::Boots;
use livemode_common::mount::MountStack;
use livemode_common::records::{Change, Manifest, OwnEntry, Phase, Records, State};

use crate::console::{say, Level};
use crate::decision::{decide, Decision, Seen, Unreadable};
use crate::device;
use crate::loader;
use crate::plan::MountPlan;
use crate::{apply, wayback};

/// What the records say, read once.
pub(crate) struct Found {
    manifest: Option<Manifest>,
    state: Result<Option<State>, Unreadable>,
}

impl Found {
    /// The build's own entry.
    pub(crate) fn own(&self) -> Option<&OwnEntry> {
        self.manifest
            .as_ref()
            .and_then(|manifest| manifest.boot.entry.as_ref())
    }

    /// Whether an upgrade is under way whose image was not refused before.
    pub(crate) fn has_a_second_chance(&self) -> bool {
        let state = self.state.as_ref().ok().and_then(Option::as_ref);
        state.is_some_and(|state| state.state == Phase::Upgrading)
    }
}

/// Does what is decided; whatever fails leads to the old system.
pub(crate) fn run(plan: &MountPlan, line: &str) -> Result<()> {
    steps(plan).or_else(|error| wayback::take(&error, line, Some(plan)))
}

fn steps(plan: &MountPlan) -> Result<()> {
    let found = look(plan).unwrap_or_else(|error| {
        say(
            Level::Warning,
            &format!("reading where the upgrade stands: {error:#}"),
        );
        Found {
            manifest: None,
            state: Ok(None),
        }
    });
    let seen = Seen {
        build: plan.build.as_deref(),
        has_loader: plan.grubenv.is_some(),
        manifest: found.manifest.as_ref(),
        state: found.state.as_ref().map(Option::as_ref).map_err(Clone::clone),
    };
    match (decide(seen), found.own()) {
        (Decision::Mount, _) => {}
        (Decision::Start, own) => {
            // First of all: whatever comes now, the next boot is the old system.
            loader::tell(match own {
                Some(own) => loader::set(plan, own, Boots::Old(&own.former_default)),
                None => loader::clear_next(plan),
            });
            record(plan, Phase::Booted, "early boot has taken the image")?;
        }
        (Decision::Resume, Some(own)) => loader::tell(loader::set(plan, own, Boots::Upgrade)),
        (Decision::Resume, None) => {}
        (Decision::Finish(target), Some(own)) => {
            loader::set(plan, own, Boots::New(&target))?;
            record(
                plan,
                Phase::Succeeded,
                "leapp has finished; the upgraded system is the default",
            )?;
            return wayback::to_new_system(&target);
        }
        (Decision::Finish(_), None) => {}
        (Decision::GoBack(why), _) => bail!(why),
    }
    apply::mount(plan)
}

/// Reads the records where the line says that they lie on the image's file system.
pub(crate) fn look(plan: &MountPlan) -> Result<Found> {
    let nothing = Found {
        manifest: None,
        state: Ok(None),
    };
    let (Some(disk), Some(dir)) = (plan.disk(), &plan.state_dir) else {
        return Ok(nothing);
    };
    let device = device::wait(disk)?;
    let mut mounts = MountStack::default();
    device::mount(&device, &disk.mount, &mut mounts)?;
    let records = Records::in_dir(dir);
    let found = Found {
        manifest: records.manifest().ok().flatten(),
        state: records.state().map_err(|error| {
            say(
                Level::Warning,
                &format!("where the upgrade stands cannot be read: {error:#}"),
            );
            Unreadable
        }),
    };
    mounts.unmount()?;
    Ok(found)
}

/// Each state before its step: whatever ends this boot, the record says how far it came.
fn record(plan: &MountPlan, phase: Phase, message: &str) -> Result<()> {
    let recorded = apply::with_records(plan, |records| {
        records.update(|last| last.map(|last| Change::new(phase, last.attempt, message)))
    });
    recorded
        .map(|_| ())
        .with_context(|| format!("recording: {message}"))
}
