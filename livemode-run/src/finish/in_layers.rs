//! The ends that only an upgrade in layers has: kept apart, given up, or not yet all on its disks.
use anyhow::{anyhow, Error, Result};
use livemode_common::loader::bls::Entry;
use livemode_common::records::{Change, Phase, Records};

use super::{end_waiting_after, failure, hand_over, leave, reboot, sync, Attempt};
use crate::atomic::{self, Layers};
use crate::by_hand::Request;
use crate::loader::Loader;
use crate::output::Output;

/// A disk that did not take what was moved to it is tried again after so many minutes.
const AGAIN_MIN: u32 = 60;

/// Nothing has reached the disks yet, and nothing does before an admin says so.
pub(super) fn keep(attempt: &Attempt, target: &Entry, output: &mut Output) -> Result<()> {
    attempt.record(Change {
        target: Some(target.id.clone()),
        ..Change::new(
            Phase::Verified,
            attempt.number,
            "leapp has finished, and the upgraded system is whole; nothing of it is on the disks yet",
        )
    })?;
    output.line("the upgraded system is whole, and kept apart: look around in /run/upgrade");
    output.line("to move it to the disks: livemode-run commit    to give it up: livemode-run discard");
    Ok(())
}

/// An admin has looked at the upgraded system, and does not want it.
pub(crate) fn discard(attempt: &Attempt, output: &mut Output) -> Result<()> {
    attempt.record(Change::new(
        Phase::Failed,
        attempt.number,
        "the upgrade was whole, and an admin has discarded it",
    ))?;
    output.line("the upgrade is given up; rebooting: early boot puts /boot back, and the old system boots");
    reboot()
}

/// Early boot could not move all of the upgraded system to its disks, and has started this system to say so: through its layers
/// it is whole. An admin who has mended what failed tries it again; and where nobody comes, early boot: a disk may come back by itself.
pub(crate) fn half_moved(
    attempt: &Attempt,
    request: Option<Request>,
    why: &str,
    output: &mut Output,
) -> Result<()> {
    let moved = match (request, attempt.layers.as_ref().zip(attempt.loader())) {
        (Some(Request::Commit), Some((layers, loader))) => move_again(attempt, layers, &loader, output),
        _ => Err(anyhow!("{why}")),
    };
    if let Err(error) = moved {
        output.line(&format!("{error:#}"));
        output.line("this live system stays up, with the upgraded system in /run/upgrade");
        output.line(&format!(
            "when the disk is mended: livemode-run commit, or reboot; without a word it reboots in {AGAIN_MIN} minutes, and early boot \
             tries it again"
        ));
        if let Err(second) = end_waiting_after(AGAIN_MIN) {
            output.line(&format!("{second:#}"));
        }
        return Err(error);
    }
    output.line("the upgrade succeeded");
    leave(attempt.source, output)
}

fn move_again(attempt: &Attempt, layers: &Layers, loader: &Loader, output: &mut Output) -> Result<()> {
    atomic::merge(attempt.source, layers, output)?;
    sync(attempt.source, output)?;
    let target = loader.target()?;
    hand_over(attempt, Some((loader, &target)), output)
}

/// What moves the upgraded system to its disks was killed here: early boot, which has nothing mounted, goes on with it.
pub(crate) fn go_on_in_early_boot(output: &mut Output) -> Result<()> {
    output.line("the upgraded system is not yet on its disks; rebooting: early boot goes on with it");
    reboot()
}

/// A commit that was not ended: before its record the upgrade has failed; after it, early boot goes on with it.
pub(super) fn not_moved(attempt: &Attempt, error: Error, output: &mut Output) -> Error {
    // What cannot be read may be that record: a failure must not be written over it.
    let state = Records::of(attempt.source).state();
    if state.is_ok_and(|state| state.is_none_or(|state| state.state != Phase::Committing)) {
        return failure(attempt, &error.into(), output);
    }
    output.line(&format!("{error:#}; the next boot goes on with it"));
    if let Err(second) = reboot() {
        output.line(&format!("{second:#}"));
    }
    error
}
