//! The layers as they are mapped: what is mounted through them, how full they are, and their merge.
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{bail, Context, Result};
use livemode_common::dm::{self, Mapped};
use livemode_common::mountinfo::Mount;
use livemode_common::store::{fill, Fill, Header, StoreIo, LAYER_PREFIX, STORE_DEVICE};
use nix::sys::signal::{kill, Signal};
use nix::unistd::Pid;

/// What ends the name of the device with a layer's kept blocks.
const CHANGES: &str = "-changes";
/// Between two looks.
const LOOK: Duration = Duration::from_millis(500);
/// A layer that is full cannot be read any more: the upgrade is ended before it is, at so many per cent.
const FULL: u64 = 95;

/// One layer.
#[derive(Debug, Clone)]
struct Layer {
    mount: String,
    view: Mapped,
    /// Of its device, in bytes.
    bytes: u64,
    origin: String,
    changes: Mapped,
}

/// All of them.
#[derive(Debug, Clone)]
pub(crate) struct Layers(Vec<Layer>);

impl Layers {
    /// Those that early boot has mapped; none of an upgrade in place.
    ///
    /// # Errors
    /// When the store is mapped and a layer is not.
    pub(crate) fn find() -> Result<Option<Self>> {
        if !dm::exists(STORE_DEVICE) {
            return Ok(None);
        }
        let store = StoreIo::view(&Mapped::find(STORE_DEVICE)?.node())?;
        let Header { layers, .. } = store.header()?;
        let layers = layers.into_iter().map(|layer| {
            let name = format!("{LAYER_PREFIX}{}", layer.name);
            let view = Mapped::find(&name)?;
            let table = view.table()?;
            Ok(Layer {
                mount: layer.mount,
                origin: table.split(' ').next().unwrap_or_default().to_owned(),
                changes: Mapped::find(&format!("{name}{CHANGES}"))?,
                bytes: layer.bytes,
                view,
            })
        });
        layers
            .collect::<Result<Vec<Layer>>>()
            .map(|layers| Some(Self(layers)))
    }

    /// The mount points of the source that are mounted past their layers.
    pub(crate) fn past(&self, source: &Path, mounts: &[Mount]) -> Vec<String> {
        let is_past = |layer: &&Layer| {
            let target = source.join(layer.mount.trim_start_matches('/'));
            let mut mounted = mounts.iter().filter(|mount| mount.target == target);
            mounted.any(|mount| Path::new(&mount.source).canonicalize().ok() != Some(layer.view.node()))
        };
        self.0
            .iter()
            .filter(is_past)
            .map(|layer| layer.mount.clone())
            .collect()
    }

    /// How full the fullest is, in per cent, and which it is.
    pub(crate) fn fullest(&self) -> Option<(u64, &str)> {
        let fills = self.0.iter().filter_map(|layer| {
            let fill = fill(&layer.view.status().ok()?)?;
            Some((fill.percent(), layer.mount.as_str()))
        });
        fills.max()
    }

    /// Ends all that this process has started once a layer is nearly full, until the guard is dropped.
    pub(crate) fn watch(&self) -> Watch {
        let (ends, full) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(None)));
        let (layers, until, told) = (self.clone(), Arc::clone(&ends), Arc::clone(&full));
        let thread = std::thread::spawn(move || {
            while !until.load(Ordering::Relaxed) {
                if let Some((percent, mount)) = layers.fullest().filter(|(percent, _)| *percent >= FULL) {
                    if let Ok(mut told) = told.lock() {
                        *told = Some(format!(
                            "the store is full: what was written to {mount} takes {percent} % of its place; build again with \
                             more free space"
                        ));
                    }
                    end_all_below(std::process::id());
                    return;
                }
                std::thread::sleep(LOOK);
            }
        });
        Watch {
            ends,
            full,
            thread: Some(thread),
        }
    }

    /// Moves what is kept to the devices, while they are mounted.
    ///
    /// # Errors
    /// When the device mapper cannot; the next boot tries it again.
    pub(crate) fn merge(&self, say: &mut dyn FnMut(&str)) -> Result<()> {
        for layer in &self.0 {
            let table =
                livemode_common::store::snapshot(layer.bytes, &layer.origin, &layer.changes.number(), true);
            layer
                .view
                .replace(&[table])
                .with_context(|| format!("merging {}", layer.mount))?;
        }
        for layer in &self.0 {
            loop {
                let status = layer.view.status()?;
                match fill(&status) {
                    Some(fill) if fill.is_merged() => break,
                    Some(Fill::Used { .. }) => std::thread::sleep(LOOK),
                    _ => bail!("moving what was kept to {} failed: {status}", layer.mount),
                }
            }
            say(&format!("{} is on its disk", layer.mount));
        }
        Ok(())
    }
}

/// Looks at the layers while leapp runs.
#[derive(Debug)]
pub(crate) struct Watch {
    ends: Arc<AtomicBool>,
    full: Arc<Mutex<Option<String>>>,
    thread: Option<JoinHandle<()>>,
}

impl Watch {
    /// Why it has ended what ran, if it has.
    pub(crate) fn verdict(&self) -> Option<String> {
        self.full.lock().ok().and_then(|full| full.clone())
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
        // A thread that has panicked has nothing more to tell.
        let _ = self.thread.take().map(JoinHandle::join);
    }
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
