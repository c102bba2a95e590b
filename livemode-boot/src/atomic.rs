//! An upgrade that is all or nothing, in early boot: by what the store says the layers are mapped for a first run; or what was
//! written is given up, and the old system boots; or what was verified is moved to the disks, and the new system boots.
use std::path::Path;
use std::time::Duration;

use anyhow::{bail, Context, Result};
use livemode_common::loader::files;
use livemode_common::loader::own::Boots;
use livemode_common::records::{Change, OwnEntry, Phase, Records, State};
use livemode_common::store::{fill, Fill, LogRing};

use crate::apply;
use crate::console::{say, Level};
use crate::device;
use crate::loader;
use crate::plan::{Disk, MountPlan, Source, StorePlace};
use crate::store::Store;
use crate::wayback;

mod decision;
mod keep;
mod layers;

use decision::{decide, Decision};

/// Where a file system is mounted while its copy is taken or put back.
const KEEPING: &str = "/run/livemode/keep";
/// Between two looks at a merge.
const LOOK: Duration = Duration::from_millis(500);
/// A merge that does not move for as long as this is taken for one that hangs: 5 minutes.
const STILL_AT_MOST: u32 = 600;

/// Does what the store's record asks for; mounts the live system only for a first run.
pub(crate) fn run(plan: &MountPlan, place: &StorePlace) -> Result<()> {
    let store = Store::open(plan, place)?;
    let own = store.own().context("the store names no boot entry")?;
    let records = store.records()?;
    let state = records.state().unwrap_or_else(|error| {
        say(Level::Warning, &format!("{error:#}"));
        None
    });
    let attempt = state.as_ref().map_or(0, |state| state.attempt);
    match decide(state.as_ref()) {
        Decision::Begin => begin(plan, &store, own, &records, attempt),
        Decision::GiveUp(why) => give_up(plan, &store, own, &records, state.as_ref(), why),
        Decision::Merge(target) => commit(plan, &store, own, &records, attempt, &target),
        Decision::HandOver(target) => hand_over(plan, own, &records, attempt, &target),
    }
}

/// A first run: the copy of /boot is taken, and the layers are mapped.
fn begin(plan: &MountPlan, store: &Store, own: &OwnEntry, records: &Records, attempt: u32) -> Result<()> {
    // The next boot is the old system again, whatever becomes of this one.
    loader::set(plan, own, own.old())?;
    records.record(Change::new(
        Phase::Booted,
        attempt,
        "early boot has taken the image",
    ))?;
    // What the upgrade writes goes to these blocks: they must still be the file's.
    store.check_file(Path::new(KEEPING))?;
    let io = store.io()?;
    let (origins, kept) = (store.origins(plan)?, store.kept(plan)?);
    // A copy that is still there was not put back: somebody has booted the old system past this entry.
    keep::restore(&store.header, &io, &kept, Path::new(KEEPING))?;
    say(Level::Info, "copying what the boot loader reads");
    keep::take(&store.header, &io, &kept, Path::new(KEEPING))?;
    layers::empty(&store.header, &io)?;
    LogRing::clear(&io)?;
    let layers = layers::map(&store.header, &store.node, &origins, false)?;
    say(
        Level::Info,
        "nothing is written to the installed system before the upgrade is whole",
    );
    apply::mount(&through(plan, &layers))
}

/// The plan with the image's device seen through its layer.
fn through(plan: &MountPlan, layers: &[layers::Mounted]) -> MountPlan {
    let mut plan = plan.clone();
    for source in &mut plan.sources {
        let Source::Disk(Disk {
            device, reference, ..
        }) = source
        else {
            continue;
        };
        let node = device.canonicalize().unwrap_or_else(|_| device.clone());
        if let Some(layer) = layers.iter().find(|layer| layer.origin == node) {
            *device = layer.view.node();
            *reference = device.display().to_string();
        }
    }
    plan
}

/// What the upgrade has written is forgotten, /boot is as it was, and the old system boots.
fn give_up(
    plan: &MountPlan,
    store: &Store,
    own: &OwnEntry,
    records: &Records,
    state: Option<&State>,
    why: &str,
) -> Result<()> {
    say(Level::Warning, &format!("the upgrade is given up: {why}"));
    let mut message = match state {
        Some(state) if state.state == Phase::Failed => state.message.clone(),
        Some(state) if state.attempt > 0 => format!(
            "attempt {} did not complete: {}; the machine went down",
            state.attempt, state.message
        ),
        _ => why.to_owned(),
    };
    let put_back = store
        .kept(plan)
        .and_then(|kept| keep::restore(&store.header, &store.io()?, &kept, Path::new(KEEPING)));
    let is_put_back = put_back.is_ok();
    if let Err(error) = put_back {
        say(Level::Error, &format!("{error:#}"));
        message = format!("{message}; then: {error:#}");
    }
    let change = Change {
        exit_code: state.and_then(|state| state.exit_code),
        ..Change::new(Phase::Failed, state.map_or(0, |state| state.attempt), message)
    };
    loader::tell(records.record(change).map(|()| true));
    loader::set(plan, own, own.old())?;
    if is_put_back {
        loader::tell(keep::forget(&store.header, &store.io()?).map(|()| true));
    }
    say(Level::Info, "the installed system is as it was; it boots now");
    wayback::reboot_now()
}

/// Moves what was verified to the disks: again from wherever it was cut off.
fn commit(
    plan: &MountPlan,
    store: &Store,
    own: &OwnEntry,
    records: &Records,
    attempt: u32,
    target: &str,
) -> Result<()> {
    say(Level::Info, "the upgraded system is moved to its disks");
    let layers = layers::map(&store.header, &store.node, &store.origins(plan)?, true)?;
    if let Err(error) = layers.iter().try_for_each(merged) {
        return half_moved(plan, &layers, records, attempt, target, &error);
    }
    for kept in store.kept(plan)? {
        device::while_mounted(&kept, Path::new(KEEPING), || {
            files::show_entries(Path::new(KEEPING))
        })?;
    }
    records.record(Change {
        target: Some(target.to_owned()),
        ..Change::new(
            Phase::Finishing,
            attempt,
            "the upgraded system is on its disks; it is being made the default",
        )
    })?;
    hand_over(plan, own, records, attempt, target)
}

/// A disk does not take what is moved to it. Through its layer it is whole all the same: the live system comes up, where
/// somebody can read this and mend it.
fn half_moved(
    plan: &MountPlan,
    layers: &[layers::Mounted],
    records: &Records,
    attempt: u32,
    target: &str,
    error: &anyhow::Error,
) -> Result<()> {
    say(Level::Error, &format!("{error:#}"));
    loader::tell(
        records
            .record(Change {
                target: Some(target.to_owned()),
                ..Change::new(Phase::Committing, attempt, format!("{error:#}"))
            })
            .map(|()| true),
    );
    apply::mount(&through(plan, layers))
}

fn merged(layer: &layers::Mounted) -> Result<()> {
    let mut still = 0;
    let mut last = None;
    loop {
        let status = layer.view.status()?;
        match fill(&status) {
            Some(fill) if fill.is_merged() => return Ok(()),
            Some(Fill::Full | Fill::Invalid | Fill::MergeFailed) | None => {
                bail!(
                    "moving what was kept to {} failed: {status}",
                    layer.origin.display()
                )
            }
            Some(_) if last.as_ref() == Some(&status) => still += 1,
            Some(_) => {
                say(
                    Level::Info,
                    &format!("moving to {}: {status} sectors are left", layer.origin.display()),
                );
                still = 0;
            }
        }
        if still > STILL_AT_MOST {
            bail!(
                "moving what was kept to {} hangs at {status}",
                layer.origin.display()
            );
        }
        last = Some(status);
        std::thread::sleep(LOOK);
    }
}

fn hand_over(plan: &MountPlan, own: &OwnEntry, records: &Records, attempt: u32, target: &str) -> Result<()> {
    loader::set(plan, own, Boots::New(target))?;
    loader::tell(
        records
            .record(Change {
                exit_code: Some(0),
                ..Change::new(Phase::Succeeded, attempt, "the upgraded system is the default")
            })
            .map(|()| true),
    );
    wayback::to_new_system(target)
}
