//! One boot of the upgrade's entry: look at the records, decide, then mount the image or leave.
use anyhow::{bail, Context, Result};
use livemode_common::loader::own::Boots;
use livemode_common::records::{Change, Phase};

use crate::console::{say, Level};
use crate::decision::{decide, Decision};
use crate::found::{self, Found};
use crate::plan::MountPlan;
use crate::{apply, atomic, loader, wayback};

/// Does what is decided; whatever fails leads to the old system.
pub(crate) fn run(plan: &MountPlan, line: &str) -> Result<()> {
    steps(plan).or_else(|error| wayback::take(&error, line, Some(plan)))
}

fn steps(plan: &MountPlan) -> Result<()> {
    if let Some(place) = &plan.store {
        return atomic::run(plan, place);
    }
    let found = found::look(plan).unwrap_or_else(|error| {
        say(
            Level::Warning,
            &format!("reading where the upgrade stands: {error:#}"),
        );
        Found::nothing()
    });
    match (decide(found.seen(plan)), found.own()) {
        // Whatever the records would say: what GRUB could not clear boots no more by itself.
        (Decision::Mount, _) => loader::tell(loader::clear_next(plan)),
        (Decision::Start, own) => {
            // First of all: whatever comes now, the next boot is the old system.
            loader::tell(match own {
                Some(own) => loader::set(plan, own, own.old()),
                None => loader::clear_next(plan),
            });
            record(plan, Phase::Booted, "early boot has taken the image")?;
        }
        (Decision::Resume, Some(own)) => loader::tell(loader::set(plan, own, Boots::Upgrade)),
        (Decision::Resume, None) => {}
        (Decision::Finish(target), Some(own)) => {
            match loader::set(plan, own, Boots::New(&own.keeper.called(&target))) {
                Ok(_) => {
                    let message = "leapp has finished; the upgraded system is the default";
                    loader::tell(record(plan, Phase::Succeeded, message));
                    return wayback::to_new_system(&target);
                }
                // The live system, which has other means, tries it once more.
                Err(error) => loader::tell(Err(error)),
            }
        }
        (Decision::Finish(_), None) => {}
        (Decision::GoBack(why), _) => bail!(why),
    }
    apply::mount(plan)
}

/// Each state before its step: whatever ends this boot, the record says how far it came.
fn record(plan: &MountPlan, phase: Phase, message: &str) -> Result<bool> {
    let recorded = apply::with_records(plan, |records| {
        records.update(|last| last.map(|last| Change::new(phase, last.attempt, message)))
    });
    recorded.with_context(|| format!("recording: {message}"))
}
