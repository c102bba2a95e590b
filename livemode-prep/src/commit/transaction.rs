//! One transaction on the source system: files are staged beside their places, and then all count, or none does.
//!
//! A record in the directory of our records says how far it has come. It is on the disk before the step it describes, so
//! whoever finds it knows what to do: throw away what was staged, put back what was there before, or clear up.
use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

use anyhow::{Context, Result};
use livemode_common::cmd::Cmd;
use livemode_common::contract::STATE_DIR;
use livemode_common::records::OwnEntry;
use livemode_common::sysroot::SysRoot;

use super::boot_entry::{arm, disarm};
use super::lock::Lock;
use super::record::{remove_all, settle, Change, Record};

/// What is to happen to what boots next. The entry itself is a file like the others.
#[derive(Debug, Clone, Copy)]
pub(crate) enum LoaderChange<'a> {
    /// Nothing: no entry is ours.
    None,
    /// The old system boots, from before the files change on.
    Disarm(&'a OwnEntry),
    /// The same, and once the files are in their places the entry boots once.
    Arm {
        /// The entry.
        own: &'a OwnEntry,
        /// Whether it may boot again and again if early boot cannot clear it.
        loop_risk: bool,
    },
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
            record: Record::staging(root, work, targets),
            made,
            lock: None,
            sweeper,
        };
        if let Err(error) = transaction.prepare(&dirs, work) {
            if transaction.lock.is_none() {
                // The sweeper must not take away what the transaction that has the lock is making.
                transaction.sweeper.kill().context("ending the sweeper")?;
                remove_empty(&transaction.made)?;
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

    /// Makes all of it count, on the disk; then the entry is armed. An entry never boots while the next call would still undo
    /// what it boots. On an error everything is as it was; that error is the one told, whatever undoing says.
    ///
    /// # Errors
    /// When something cannot be changed.
    pub(crate) fn commit(mut self, changes: &[Change], loader: LoaderChange) -> Result<()> {
        self.record.begin_commit(&self.root, changes, loader.own())?;
        let done = loader
            .before(&self.root)
            .and_then(|()| self.record.apply(&self.root))
            .and_then(|()| self.record.end_commit(&self.root))
            .and_then(|()| loader.after(&self.root));
        if let Err(error) = done {
            if let Err(second) = self.record.undo(&self.root, true) {
                eprintln!("livemode-prep: undoing: {second:#}; the next build or remove tries it again");
            }
            return Err(error);
        }
        if let Err(error) = self.record.clear(&self.root) {
            eprintln!("livemode-prep: clearing up: {error:#}; the next build or remove does it");
        }
        Ok(())
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

impl<'a> LoaderChange<'a> {
    fn own(self) -> Option<&'a OwnEntry> {
        match self {
            Self::None => None,
            Self::Disarm(own) | Self::Arm { own, .. } => Some(own),
        }
    }

    /// Until the files have changed, nothing may boot that does not fit them.
    fn before(self, root: &SysRoot) -> Result<()> {
        self.own().map_or(Ok(()), |own| {
            disarm(root, own).context("giving what boots back to the old system")
        })
    }

    fn after(self, root: &SysRoot) -> Result<()> {
        match self {
            Self::None | Self::Disarm(_) => Ok(()),
            Self::Arm { own, loop_risk } => arm(root, own, loop_risk)
                .map(|_| ())
                .context("arming the boot entry"),
        }
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn made_directories_go_only_when_empty() {
        let dir = tempfile::tempdir().unwrap();
        let (full, empty) = (dir.path().join("full"), dir.path().join("empty"));
        fs::create_dir_all(empty.join("deep")).unwrap();
        fs::create_dir_all(&full).unwrap();
        fs::write(full.join("manifest.json"), "{}").unwrap();

        remove_empty(&[
            full.clone(),
            empty.clone(),
            empty.join("deep"),
            dir.path().join("gone"),
        ])
        .unwrap();

        assert!(full.join("manifest.json").exists() && !empty.exists());
    }
}
