//! What is on the disk of a transaction, and what it says of the files: how to go on from wherever it was cut off.
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{bail, Context, Result};
use livemode_common::contract::{SCHEMA, STATE_DIR, STORE_FILE};
use livemode_common::fsio::{atomic_write, remove_temps, sync_dir};
use livemode_common::records::OwnEntry;
use livemode_common::store::protect;
use livemode_common::sysroot::SysRoot;
use serde::{Deserialize, Serialize};

use super::boot_entry::{arm_again, disarm, is_armed};
use crate::plan::paths::{former, staged};

/// In the directory of our records.
const RECORD: &str = "transaction.json";
/// The last moments of killed children can keep a directory busy.
const TRIES: u32 = 50;
const PAUSE: Duration = Duration::from_millis(200);

/// How far it has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Stage {
    /// Nothing counts yet.
    Staging,
    /// Files are being put into their places: what was there lies beside them.
    Committing,
    /// All of it counts; what was there before may go.
    Committed,
}

/// What is on the disk of a transaction. Paths are as the source system sees them.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Record {
    schema: u32,
    stage: Stage,
    /// A directory that goes with the transaction.
    work: Option<PathBuf>,
    changes: Vec<Recorded>,
    /// The boot entry that may be armed.
    #[serde(default)]
    entry: Option<OwnEntry>,
    /// Whether it was armed before.
    #[serde(default)]
    was_armed: bool,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Recorded {
    target: PathBuf,
    /// Where its new content lies; without one it goes away.
    staged: Option<PathBuf>,
    /// Whether something was there before.
    was_there: bool,
}

/// One file that changes, on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Change {
    /// It gets the content that was staged here.
    Put { staged: PathBuf, target: PathBuf },
    /// It goes, where it is there.
    Remove { target: PathBuf },
}

impl Record {
    /// Of a transaction that begins: `targets` may have files staged beside them, and `work` goes at the end.
    pub(super) fn staging(root: &SysRoot, work: Option<&Path>, targets: &[&Path]) -> Self {
        Self {
            schema: SCHEMA,
            stage: Stage::Staging,
            work: work.map(|work| root.inside(work)),
            changes: targets.iter().map(|target| may_be_staged(root, target)).collect(),
            entry: None,
            was_armed: false,
        }
    }

    fn read(root: &SysRoot) -> Result<Option<Self>> {
        let path = root.at(STATE_DIR).join(RECORD);
        let context = || format!("reading {}", path.display());
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                return Ok(None)
            }
            Err(e) => return Err(e).with_context(context),
        };
        let record: Self = serde_json::from_slice(&text).with_context(context)?;
        if record.schema != SCHEMA {
            bail!(
                "{}: schema {} is of another version of livemode-prep; settle it with that one: livemode-prep remove",
                path.display(),
                record.schema
            );
        }
        Ok(Some(record))
    }

    /// Keeps what is there now, and writes down that these changes are being made; before that, that something may be kept.
    pub(super) fn begin_commit(
        &mut self,
        root: &SysRoot,
        changes: &[Change],
        entry: Option<&OwnEntry>,
    ) -> Result<()> {
        self.changes = changes
            .iter()
            .map(|change| recorded(root, change))
            .collect::<Result<_>>()?;
        self.entry = entry.cloned();
        self.was_armed = entry.is_some_and(|entry| is_armed(root, entry));
        if !self.changes.is_empty() {
            self.write(root)?;
        }
        for change in &self.changes {
            let target = root.at(&change.target);
            // A store is immutable while it counts.
            if change.was_there && is_store(&target) {
                protect(&target, false)?;
            }
            keep(root, change)?;
        }
        self.stage = Stage::Committing;
        self.write(root)
    }

    /// Puts every file into its place.
    pub(super) fn apply(&self, root: &SysRoot) -> Result<()> {
        self.changes.iter().try_for_each(|change| apply(root, change))
    }

    /// Writes down that all of it counts.
    pub(super) fn end_commit(&mut self, root: &SysRoot) -> Result<()> {
        self.stage = Stage::Committed;
        self.write(root)
    }

    pub(super) fn write(&self, root: &SysRoot) -> Result<()> {
        let text = serde_json::to_vec(self).context("writing JSON")?;
        atomic_write(&root.at(STATE_DIR).join(RECORD), &text, 0o600)
    }

    /// Puts everything back as it was, then clears up. What boots is given back first: files and entry must not boot while they
    /// do not fit each other. An entry that was armed is armed again where `rearm` says so: not when this comes much later.
    pub(super) fn undo(&mut self, root: &SysRoot, rearm: bool) -> Result<()> {
        if self.stage != Stage::Committing {
            self.stage = Stage::Committing;
            self.write(root)?;
        }
        if let Some(entry) = &self.entry {
            disarm(root, entry)?;
        }
        for change in self.changes.iter().rev() {
            put_back(root, change)?;
        }
        let stores = self.changes.iter().filter(|change| change.was_there);
        for target in stores
            .map(|change| root.at(&change.target))
            .filter(|target| is_store(target))
        {
            protect(&target, true)?;
        }
        if let Some(entry) = self.entry.as_ref().filter(|_| rearm && self.was_armed) {
            arm_again(root, entry)?;
        }
        // From here on there is nothing to put back.
        self.stage = Stage::Staging;
        self.write(root)?;
        self.clear(root)
    }

    /// Removes all that is not in its place, and the record at last.
    pub(super) fn clear(&self, root: &SysRoot) -> Result<()> {
        let state_dir = root.at(STATE_DIR);
        for change in &self.changes {
            let target = root.at(&change.target);
            for path in change
                .staged
                .iter()
                .map(|path| root.at(path))
                .chain([former(&target)])
            {
                remove_all(&path)?;
            }
            remove_temps(target.parent().unwrap_or(root.path()))?;
        }
        if let Some(work) = &self.work {
            remove_all(&root.at(work))?;
        }
        remove_temps(&state_dir)?;
        remove_file(&state_dir.join(RECORD))
    }
}

/// Undoes or completes a transaction that was cut off. The lock must be held.
///
/// # Errors
/// When it cannot; then the next call tries it again.
pub(super) fn settle(root: &SysRoot) -> Result<()> {
    let Some(mut record) = Record::read(root)? else {
        return remove_temps(&root.at(STATE_DIR));
    };
    match record.stage {
        Stage::Staging | Stage::Committed => record.clear(root),
        Stage::Committing => record.undo(root, false),
    }
}

/// Whether one was cut off and waits for the next call.
pub(crate) fn is_unsettled(root: &SysRoot) -> bool {
    root.at(STATE_DIR).join(RECORD).exists()
}

/// What may lie beside a target before anything is committed.
fn may_be_staged(root: &SysRoot, target: &Path) -> Recorded {
    Recorded {
        target: root.inside(target),
        staged: Some(root.inside(&staged(target))),
        was_there: true,
    }
}

fn recorded(root: &SysRoot, change: &Change) -> Result<Recorded> {
    let (Change::Put { target, .. } | Change::Remove { target }) = change;
    let was_there = match fs::symlink_metadata(target) {
        Ok(meta) if meta.is_dir() => bail!(
            "{} is a directory, where a file must be; remove it",
            target.display()
        ),
        Ok(_) => true,
        Err(e) if e.kind() == io::ErrorKind::NotFound => false,
        Err(e) => return Err(e).with_context(|| format!("looking at {}", target.display())),
    };
    Ok(Recorded {
        target: root.inside(target),
        staged: match change {
            Change::Put { staged, .. } => Some(root.inside(staged)),
            Change::Remove { .. } => None,
        },
        was_there,
    })
}

fn is_store(target: &Path) -> bool {
    let name = target.file_name().unwrap_or_default().to_string_lossy();
    name.trim_start_matches(".livemode-") == STORE_FILE
}

/// A second name for what is there now. A file system without such (vfat) gets it when the file changes.
fn keep(root: &SysRoot, change: &Recorded) -> Result<()> {
    let target = root.at(&change.target);
    let beside = former(&target);
    remove_all(&beside)?;
    if change.was_there && fs::hard_link(&target, &beside).is_ok() {
        sync_dir(parent(&beside))?;
    }
    Ok(())
}

fn apply(root: &SysRoot, change: &Recorded) -> Result<()> {
    let target = root.at(&change.target);
    let beside = former(&target);
    if change.was_there && fs::symlink_metadata(&beside).is_err() {
        rename(&target, &beside)?;
    }
    match &change.staged {
        Some(staged) => rename(&root.at(staged), &target),
        None => remove_file(&target),
    }
}

/// Undoes [`apply`], wherever it was cut off.
fn put_back(root: &SysRoot, change: &Recorded) -> Result<()> {
    let target = root.at(&change.target);
    let beside = former(&target);
    if change.was_there {
        if fs::symlink_metadata(&beside).is_ok() {
            rename(&beside, &target)?;
            // Two names of one file: rename(2) does nothing then.
            remove_file(&beside)?;
        }
        return Ok(());
    }
    match &change.staged {
        // Still beside its place.
        Some(staged) if fs::symlink_metadata(root.at(staged)).is_ok() => Ok(()),
        _ => remove_file(&target),
    }
}

fn rename(from: &Path, to: &Path) -> Result<()> {
    fs::rename(from, to).with_context(|| format!("renaming {} to {}", from.display(), to.display()))?;
    sync_dir(parent(to))
}

/// Removes a file durably; one that is not there is no error.
pub(crate) fn remove_file(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Ok(()) => sync_dir(parent(path)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(e) => Err(e).with_context(|| format!("removing {}", path.display())),
    }
}

pub(super) fn remove_all(path: &Path) -> Result<()> {
    for attempt in 1.. {
        let removed = match fs::symlink_metadata(path) {
            Ok(meta) if meta.is_dir() => fs::remove_dir_all(path),
            Ok(_) => fs::remove_file(path),
            Err(e) => Err(e),
        };
        match removed {
            Err(e) if !matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                if attempt == TRIES {
                    return Err(e).with_context(|| format!("removing {}", path.display()));
                }
                std::thread::sleep(PAUSE);
            }
            _ => break,
        }
    }
    Ok(())
}

fn parent(path: &Path) -> &Path {
    path.parent().unwrap_or(Path::new("/"))
}

#[cfg(test)]
mod tests;
