//! One transaction on the source system: files are staged beside their places, and then all count, or none does.
//!
//! A record in the directory of our records says how far it has come. It is on the disk before the step it describes, so
//! whoever finds it knows what to do: throw away what was staged, put back what was there before, or clear up.
use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::Duration;

use anyhow::{bail, Context, Result};
use livemode_common::cmd::Cmd;
use livemode_common::contract::{SCHEMA, STATE_DIR};
use livemode_common::fsio::{atomic_write, remove_temps, sync_dir};
use livemode_common::sysroot::SysRoot;
use serde::{Deserialize, Serialize};

use super::boot_entry::{take_back, Saved};
use super::lock::Lock;
use crate::plan::boot_entry::BootEntry;
use crate::plan::paths::{former, staged};

/// In the directory of our records.
const RECORD: &str = "transaction.json";
/// The loader's files as they were, in the same directory.
const LOADER: &str = "loader-before";
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
struct Record {
    schema: u32,
    stage: Stage,
    /// A directory that goes with the transaction.
    work: Option<PathBuf>,
    changes: Vec<Recorded>,
    /// The loader's files as they were.
    loader: Option<Saved>,
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

/// What is to happen to the boot loader.
#[derive(Debug, Clone, Copy)]
pub(crate) enum LoaderChange<'a> {
    /// Nothing: nobody keeps an entry.
    None,
    /// The old system is its default while files and entry do not fit each other; leapp makes the entry later.
    Disarm(&'a BootEntry),
    /// The entry is made with these arguments, and is the default.
    Set(&'a BootEntry, &'a str),
    /// The entry that leapp has made gets these arguments, and is the default.
    Complete(&'a BootEntry, &'a str),
    /// The entry goes.
    TakeBack(&'a BootEntry),
}

/// A transaction that has begun. Dropped before its commit, it leaves nothing.
pub(crate) struct Transaction {
    root: SysRoot,
    record: Record,
    /// Directories that were made for it.
    made: Vec<PathBuf>,
    lock: Option<Lock>,
    sweeper: Child,
}

impl Transaction {
    /// Locks these directories, which are made where they are missing, settles what an earlier transaction has left, and
    /// writes down that `targets` may have files staged beside them and that `work`, which is made, goes at the end.
    ///
    /// Whatever ends us then, a second process of ours sees its standard input end and clears up.
    ///
    /// # Errors
    /// When another transaction is going on (exit code 4), or something cannot be made.
    pub(crate) fn begin(
        root: &SysRoot,
        dirs: &[&Path],
        work: Option<&Path>,
        targets: &[&Path],
    ) -> Result<Self> {
        let state_dir = root.at(STATE_DIR);
        let dirs: Vec<&Path> = dirs.iter().copied().chain([state_dir.as_path()]).collect();
        let missing = dirs
            .iter()
            .flat_map(|dir| dir.ancestors().take_while(|d| !d.exists()));
        let mut made: Vec<PathBuf> = missing.map(Path::to_owned).collect();
        made.sort();
        made.dedup();
        let sweeper = sweeper(root, &made)?;
        let mut transaction = Self {
            root: root.clone(),
            record: Record {
                schema: SCHEMA,
                stage: Stage::Staging,
                work: work.map(|work| root.inside(work)),
                changes: targets.iter().map(|target| may_be_staged(root, target)).collect(),
                loader: None,
            },
            made,
            lock: None,
            sweeper,
        };
        if let Err(error) = transaction.prepare(&dirs, work) {
            if transaction.lock.is_none() {
                // It must not take away what the transaction that has the lock is making.
                transaction.sweeper.kill().context("ending the sweeper")?;
            }
            return Err(error);
        }
        Ok(transaction)
    }

    fn prepare(&mut self, dirs: &[&Path], work: Option<&Path>) -> Result<()> {
        for dir in dirs {
            fs::create_dir_all(dir).with_context(|| format!("creating {}", dir.display()))?;
        }
        self.lock = Some(Lock::take(dirs)?);
        settle(&self.root)?;
        self.record.write(&self.root)?;
        if let Some(work) = work {
            remove_all(work)?;
            // Host keys and profiles lie in it, in files that only get their own modes at the end.
            let private = fs::DirBuilder::new().mode(0o700).create(work);
            private.with_context(|| format!("creating {}", work.display()))?;
        }
        Ok(())
    }

    /// The directories that were made for it, as the source sees them.
    pub(crate) fn made(&self) -> Vec<String> {
        let made = self.made.iter().map(|dir| self.root.inside(dir));
        made.map(|dir| dir.display().to_string()).collect()
    }

    /// Makes all of it count, on the disk. On an error everything is as it was; that error is the one told, whatever
    /// undoing says.
    ///
    /// # Errors
    /// When something cannot be changed.
    pub(crate) fn commit(mut self, changes: &[Change], loader: LoaderChange) -> Result<()> {
        self.record.changes = changes
            .iter()
            .map(|change| recorded(&self.root, change))
            .collect::<Result<_>>()?;
        if !matches!(loader, LoaderChange::None) {
            let copies = self.root.at(STATE_DIR).join(LOADER);
            remove_all(&copies)?;
            self.record.loader = Some(Saved::save(&self.root, &copies)?);
        }
        for change in &self.record.changes {
            keep(&self.root, change)?;
        }
        self.record.stage = Stage::Committing;
        self.record.write(&self.root)?;
        let done = loader
            .before()
            .and_then(|()| {
                self.record
                    .changes
                    .iter()
                    .try_for_each(|change| apply(&self.root, change))
            })
            .and_then(|()| loader.after());
        if let Err(error) = done {
            if let Err(second) = self.record.undo(&self.root) {
                eprintln!("livemode-prep: undoing: {second:#}; the next build or remove tries it again");
            }
            return Err(error);
        }
        // grubby and zipl have not synced what they wrote.
        nix::unistd::sync();
        self.record.stage = Stage::Committed;
        self.record.write(&self.root)?;
        self.record.clear(&self.root)
    }
}

impl Drop for Transaction {
    fn drop(&mut self) {
        // The sweeper takes the lock itself, once its input ends.
        drop(self.lock.take());
        drop(self.sweeper.stdin.take());
        if let Err(error) = self.sweeper.wait() {
            eprintln!("livemode-prep: waiting for the sweeper: {error}");
        }
    }
}

impl LoaderChange<'_> {
    /// Until the files have changed, nothing may boot that does not fit them.
    fn before(self) -> Result<()> {
        match self {
            Self::None | Self::Complete(..) => Ok(()),
            Self::Disarm(entry) | Self::Set(entry, _) => entry.disarm().context("making the boot entry"),
            Self::TakeBack(entry) => take_back(entry).context("taking the boot entry back"),
        }
    }

    fn after(self) -> Result<()> {
        match self {
            Self::None | Self::Disarm(_) | Self::TakeBack(_) => Ok(()),
            Self::Set(entry, arguments) => entry.set(arguments).context("making the boot entry"),
            Self::Complete(entry, arguments) => {
                entry.complete(arguments).context("completing the boot entry")?;
                entry.arm().context("making the boot entry the default one")
            }
        }
    }
}

/// Undoes or completes a transaction that was cut off. The lock must be held.
///
/// # Errors
/// When it cannot; then the next call tries it again.
pub(crate) fn settle(root: &SysRoot) -> Result<()> {
    let Some(mut record) = Record::read(root)? else {
        return remove_temps(&root.at(STATE_DIR));
    };
    match record.stage {
        Stage::Staging | Stage::Committed => record.clear(root),
        Stage::Committing => record.undo(root),
    }
}

/// Whether one was cut off and waits for the next call.
pub(crate) fn is_unsettled(root: &SysRoot) -> bool {
    root.at(STATE_DIR).join(RECORD).exists()
}

/// What the second process runs: waits for the first to end, settles what it has left, and removes what is empty of the
/// directories that were made for it.
pub(crate) fn sweep_at_end_of_input(root: &SysRoot, made: &[PathBuf]) -> Result<()> {
    io::Read::read_to_end(&mut io::stdin(), &mut Vec::new()).context("waiting for the transaction to end")?;
    let state_dir = root.at(STATE_DIR);
    if state_dir.exists() {
        let _lock = Lock::wait(&[&state_dir])?;
        settle(root)?;
    }
    remove_empty(made)
}

/// Removes directories, the deepest first; one that holds something stays.
pub(crate) fn remove_empty(dirs: &[PathBuf]) -> Result<()> {
    let mut dirs: Vec<&PathBuf> = dirs.iter().collect();
    dirs.sort_by_key(|dir| std::cmp::Reverse(dir.components().count()));
    for dir in dirs {
        match fs::remove_dir(dir) {
            Err(e)
                if !matches!(
                    e.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::DirectoryNotEmpty
                ) =>
            {
                return Err(e).with_context(|| format!("removing {}", dir.display()));
            }
            _ => {}
        }
    }
    Ok(())
}

fn sweeper(root: &SysRoot, made: &[PathBuf]) -> Result<Child> {
    // The link of the running program, which is right wherever its path leads in our mount namespace.
    let sweeper = Cmd::new("/proc/self/exe")
        .arg("--root")
        .arg(root.path())
        .arg("sweep")
        .args(made)
        .outlive_us();
    sweeper.spawn(|command| {
        command.stdin(Stdio::piped()).stdout(Stdio::null());
    })
}

impl Record {
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

    fn write(&self, root: &SysRoot) -> Result<()> {
        let text = serde_json::to_vec(self).context("writing JSON")?;
        atomic_write(&root.at(STATE_DIR).join(RECORD), &text, 0o600)
    }

    /// Puts everything back as it was, then clears up. The loader last: until its files are back, the old system is its
    /// default.
    fn undo(&mut self, root: &SysRoot) -> Result<()> {
        for change in self.changes.iter().rev() {
            put_back(root, change)?;
        }
        if let Some(loader) = &self.loader {
            loader.restore(root)?;
        }
        // From here on there is nothing to put back.
        self.stage = Stage::Staging;
        self.write(root)?;
        self.clear(root)
    }

    /// Removes all that is not in its place, and the record at last.
    fn clear(&self, root: &SysRoot) -> Result<()> {
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
        remove_all(&state_dir.join(LOADER))?;
        remove_temps(&state_dir)?;
        remove_file(&state_dir.join(RECORD))
    }
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

fn remove_all(path: &Path) -> Result<()> {
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
