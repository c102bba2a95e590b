//! Looks at how full the layers are for as long as something is written to them.
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::Result;
use livemode_common::records::{Change, Phase, Records, State};
use livemode_common::store::{Fill, StoreIo, STORE_DEVICE};
use nix::sys::mman::{mlockall, MlockAllFlags};
use nix::sys::reboot::{reboot, RebootMode};
use nix::sys::signal::{kill, Signal};
use nix::unistd::Pid;

use super::Layers;
use crate::output::Output;

/// Between two looks.
const LOOK: Duration = Duration::from_millis(100);
/// What leapp writes goes to memory first, and from there to the disk as fast as that can: it is ended while some room is left, at so
/// many per cent.
const FULL: u64 = 95;

/// Looks at the layers until it is dropped, or ended.
#[derive(Debug)]
pub(crate) struct Watch {
    ends: Arc<AtomicBool>,
    full: Arc<Mutex<Option<String>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Watch {
    /// Ends all that this process has started once a layer is nearly full; leaves the live system where something is lost.
    pub(crate) fn over(layers: &Layers, attempt: u32, output: &mut Output) -> Self {
        // By then nothing may be read from the image any more, this program neither.
        if let Err(error) = mlockall(MlockAllFlags::MCL_CURRENT | MlockAllFlags::MCL_FUTURE) {
            output.line(&format!("keeping this program in memory: {error}"));
        }
        let (ends, full) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(None)));
        let (layers, until, told) = (layers.clone(), Arc::clone(&ends), Arc::clone(&full));
        let thread = std::thread::spawn(move || {
            while !until.load(Ordering::Relaxed) {
                leave_if_lossy(&layers, attempt);
                if let Some((percent, mount)) = layers.fullest().filter(|(percent, _)| *percent >= FULL) {
                    if let Ok(mut told) = told.lock() {
                        told.get_or_insert_with(|| {
                            format!(
                                "the store is full: what was written to {mount} takes {percent} % of its place; build again with \
                                 more free space"
                            )
                        });
                    }
                    end_all_below(std::process::id());
                }
                std::thread::sleep(LOOK);
            }
        });
        Self {
            ends,
            full,
            thread: Mutex::new(Some(thread)),
        }
    }

    /// Why it has ended what ran, if it has.
    pub(crate) fn verdict(&self) -> Option<String> {
        self.full.lock().ok().and_then(|full| full.clone())
    }

    /// When this returns nobody looks any more: what the layers say means something else once they are merged.
    pub(crate) fn end(&self) {
        self.ends.store(true, Ordering::Relaxed);
        if let Ok(mut thread) = self.thread.lock() {
            // A thread that has panicked has nothing more to tell.
            let _ = thread.take().map(JoinHandle::join);
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.end();
    }
}

/// Where something that was written is lost, a file system that was written to may not even be read any more, the image on it
/// neither: then this records it in the store, and resets the machine. Nothing has reached the disks, so nothing is lost by that;
/// early boot gives the upgrade up.
pub(crate) fn leave_if_lossy(layers: &Layers, attempt: u32) {
    let Some((mount, fill)) = layers.lossy() else {
        return;
    };
    let why = why(mount, fill);
    // One who cannot write there can only reset, too.
    let _ = std::fs::write(
        "/dev/kmsg",
        format!("<2>livemode: THE UPGRADE FAILED: {why}; resetting this machine"),
    );
    let _ = record(attempt, &why);
    let _ = reboot(RebootMode::RB_AUTOBOOT);
}

fn why(mount: &str, fill: Fill) -> String {
    if fill == Fill::Full {
        return format!(
            "the store is full: there was no room for what was written to {mount}; build again with more free space"
        );
    }
    format!("what was written to {mount} can no longer be read: the disk with the store has failed")
}

/// Past the file systems, which may take nothing.
fn record(attempt: u32, why: &str) -> Result<()> {
    let store = StoreIo::view(&Path::new("/dev/mapper").join(STORE_DEVICE))?;
    let failed = |last: Option<&State>| may_fail(last).then(|| Change::new(Phase::Failed, attempt, why));
    Records::of_store(store).update(failed).map(|_| ())
}

/// From the commit on no record may say that the upgrade has failed: early boot would give up what is half on the disks.
fn may_fail(last: Option<&State>) -> bool {
    last.is_none_or(|last| {
        !matches!(
            last.state,
            Phase::Committing | Phase::Finishing | Phase::Succeeded
        )
    })
}

/// The descendants of a process, the youngest first, get SIGKILL.
fn end_all_below(process: u32) {
    let tasks = std::fs::read_dir(format!("/proc/{process}/task"))
        .into_iter()
        .flatten()
        .flatten();
    for task in tasks {
        let children = std::fs::read_to_string(task.path().join("children")).unwrap_or_default();
        for child in children
            .split_whitespace()
            .filter_map(|pid| pid.parse::<u32>().ok())
        {
            end_all_below(child);
            // One that has ended by itself needs none.
            let _ = kill(Pid::from_raw(child.cast_signed()), Signal::SIGKILL);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use livemode_common::cmd::Cmd;

    #[test]
    fn what_is_lost_is_told_by_its_cause_and_from_the_commit_on_nothing_fails() {
        assert!(why("/var", Fill::Full)
            .starts_with("the store is full: there was no room for what was written to /var; "));
        assert!(why("/var", Fill::Invalid).ends_with("the disk with the store has failed"));
        for (state, expected) in [
            (Phase::Upgrading, true),
            (Phase::Verified, true),
            (Phase::Failed, true),
            (Phase::Committing, false),
            (Phase::Finishing, false),
            (Phase::Succeeded, false),
        ] {
            let last = State {
                state,
                ..State::default()
            };
            assert_eq!(may_fail(Some(&last)), expected, "{state}");
        }
        assert!(may_fail(None));
    }

    #[test]
    fn all_that_was_started_is_ended_with_what_that_has_started() {
        let shell = Cmd::new("sh").args(["-c", "sleep 1000 & wait"]);
        let mut child = shell.spawn(|_| ()).unwrap();
        let below = || std::fs::read_to_string(format!("/proc/{0}/task/{0}/children", child.id())).unwrap();
        while below().is_empty() {
            std::thread::sleep(Duration::from_millis(10));
        }
        let sleeper: i32 = below().trim().parse().unwrap();
        end_all_below(std::process::id());
        child.wait().unwrap();
        while kill(Pid::from_raw(sleeper), None).is_ok() {
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}
