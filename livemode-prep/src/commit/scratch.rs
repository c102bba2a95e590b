//! What a build leaves half-done, and taking it away: whatever ends the build, a second process of ours sees its
//! standard input end and sweeps. A build after a power cut sweeps first.
use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};
use livemode_common::cmd::Cmd;
use livemode_common::failure::precondition;
use livemode_common::fsio::remove_temps;
use livemode_common::sysroot::SysRoot;
use nix::fcntl::{Flock, FlockArg};

use crate::commit::transaction;

/// The last moments of killed children can keep a directory busy.
const TRIES: u32 = 50;
const PAUSE: Duration = Duration::from_millis(200);

/// The throw-away overlay and the unfinished image lie in a directory of this name beside the image.
const WORK: &str = ".livemode-work";

/// The work directory of a build that puts its image into `dir`.
pub(crate) fn work_in(dir: &Path) -> PathBuf {
    dir.join(WORK)
}

/// The name under which a file lies on its file system until it counts.
pub(crate) fn unfinished(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".livemode-new-{}", name.trim_start_matches('.')))
}

/// The name under which a file of an earlier build is kept until the new one counts.
pub(crate) fn former(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".livemode-former-{}", name.trim_start_matches('.')))
}

/// The claim of a build or remove on the directory of the image.
pub(crate) fn lock(dir: &Path) -> Result<Flock<File>> {
    Flock::lock(open_dir(dir)?, FlockArg::LockExclusiveNonblock)
        .map_err(|_| precondition(format!("another build or remove is at work in {}", dir.display())))
}

/// A running build's claim on its leftovers.
pub(crate) struct Scratch {
    work: PathBuf,
    lock: Option<Flock<File>>,
    sweeper: Child,
}

impl Scratch {
    /// Sweeps after a build that was cut off, then makes the work directory, the first of `leftovers`, and those of
    /// `dirs` that are missing: what is still empty of them when the build ends goes again.
    pub(crate) fn begin(root: &SysRoot, leftovers: &[PathBuf], dirs: &[&Path]) -> Result<Self> {
        let work = leftovers[0].clone();
        let missing: Vec<&Path> = dirs
            .iter()
            .flat_map(|dir| dir.ancestors().take_while(|d| !d.exists()))
            .collect();
        let mut sweeper = Cmd::new(std::env::current_exe().context("finding our own program")?)
            .arg("--root")
            .arg(root.path())
            .arg("sweep")
            .args(missing.iter().map(|dir| format!("--made={}", dir.display())))
            .args(leftovers)
            .outlive_us()
            .spawn(|command| {
                command.stdin(Stdio::piped()).stdout(Stdio::null());
            })?;
        let lock = Self::claim(root, &work, leftovers, dirs);
        if lock.is_err() {
            // It must not take the work of the build that has the lock.
            sweeper.kill().context("ending the sweeper")?;
            sweeper.wait().context("waiting for the sweeper")?;
        }
        Ok(Self {
            work,
            lock: Some(lock?),
            sweeper,
        })
    }

    fn claim(root: &SysRoot, work: &Path, leftovers: &[PathBuf], dirs: &[&Path]) -> Result<Flock<File>> {
        for dir in dirs {
            fs::create_dir_all(dir).with_context(|| format!("creating {}", dir.display()))?;
        }
        let lock = lock(work.parent().unwrap_or(Path::new("/")))?;
        sweep(root, leftovers)?;
        // Host keys and profiles lie in it, in files that only get their own modes at the end.
        let private = fs::DirBuilder::new().mode(0o700).create(work);
        private.with_context(|| format!("creating {}", work.display()))?;
        Ok(lock)
    }

    /// Where it works.
    pub(crate) fn work(&self) -> &Path {
        &self.work
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // The sweeper takes the lock itself, once its input ends.
        drop(self.lock.take());
        drop(self.sweeper.stdin.take());
        if let Err(error) = self.sweeper.wait() {
            eprintln!("livemode-prep: waiting for the sweeper: {error}");
        }
    }
}

/// What the sweeper runs: waits for the build to end, then sweeps, and removes what is empty of the directories that
/// it had made.
pub(crate) fn sweep_at_end_of_input(root: &SysRoot, leftovers: &[PathBuf], made: &[PathBuf]) -> Result<()> {
    std::io::stdin()
        .read_to_end(&mut Vec::new())
        .context("waiting for the build to end")?;
    let beside = leftovers[0].parent().unwrap_or(Path::new("/"));
    if beside.exists() {
        let _lock = Flock::lock(open_dir(beside)?, FlockArg::LockExclusive)
            .map_err(|(_, e)| e)
            .with_context(|| format!("locking {}", beside.display()))?;
        sweep(root, leftovers)?;
    }
    remove_empty(made)
}

/// Removes directories, the deepest first; one that holds something stays.
fn remove_empty(dirs: &[PathBuf]) -> Result<()> {
    let mut dirs: Vec<&PathBuf> = dirs.iter().collect();
    dirs.sort_by_key(|dir| std::cmp::Reverse(dir.components().count()));
    for dir in dirs {
        match fs::remove_dir(dir) {
            Err(e)
                if !matches!(
                    e.kind(),
                    std::io::ErrorKind::NotFound | std::io::ErrorKind::DirectoryNotEmpty
                ) =>
            {
                return Err(e).with_context(|| format!("removing {}", dir.display()));
            }
            _ => {}
        }
    }
    Ok(())
}

/// Completes or undoes a commit that was cut off, then removes the leftovers and what was being written beside them.
pub(crate) fn sweep(root: &SysRoot, leftovers: &[PathBuf]) -> Result<()> {
    transaction::finish(root, &leftovers[0])?;
    for path in leftovers {
        remove_all(path)?;
        remove_temps(path.parent().unwrap_or(Path::new("/")))?;
    }
    Ok(())
}

fn remove_all(path: &Path) -> Result<()> {
    for attempt in 1.. {
        let removed = match fs::symlink_metadata(path) {
            Ok(meta) if meta.is_dir() => fs::remove_dir_all(path),
            Ok(_) => fs::remove_file(path),
            Err(e) => Err(e),
        };
        match removed {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
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

fn open_dir(path: &Path) -> Result<File> {
    File::open(path).with_context(|| format!("opening {}", path.display()))
}

/// Copies a file with its data made durable; gives its size and SHA-256.
pub(crate) fn stage(from: &Path, to: &Path, mode: u32) -> Result<(u64, String)> {
    use std::os::unix::fs::OpenOptionsExt;
    let copy = || -> Result<(u64, String)> {
        let mut source = File::open(from)?;
        let mut target = fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(mode)
            .open(to)?;
        std::io::copy(&mut source, &mut target)?;
        target.flush()?;
        target.sync_all()?;
        let (sha256, size) = livemode_common::fsio::sha256(File::open(to)?, |_| ())?;
        Ok((size, sha256))
    };
    copy().with_context(|| format!("copying {} to {}", from.display(), to.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn made_directories_go_only_when_empty() {
        let dir = std::env::temp_dir().join(format!("livemode-made-{}", std::process::id()));
        let (full, empty) = (dir.join("full"), dir.join("empty"));
        fs::create_dir_all(empty.join("deep")).unwrap();
        fs::create_dir_all(&full).unwrap();
        fs::write(full.join("manifest.json"), "{}").unwrap();

        remove_empty(&[
            dir.clone(),
            full.clone(),
            empty.clone(),
            empty.join("deep"),
            dir.join("gone"),
        ])
        .unwrap();

        assert!(full.join("manifest.json").exists() && !empty.exists());
        fs::remove_dir_all(&dir).unwrap();
    }
}
