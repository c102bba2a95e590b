//! What a build leaves half-done, and taking it away: whatever ends the build, a second process of ours sees its
//! standard input end and sweeps. A build after a power cut sweeps first.
use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};
use livemode_common::cmd::Cmd;
use livemode_common::failure::precondition;
use livemode_common::fsio::{atomic_write, sync_dir};
use nix::fcntl::{Flock, FlockArg};

/// The last moments of killed children can keep a directory busy.
const TRIES: u32 = 50;
const PAUSE: Duration = Duration::from_millis(200);
/// In the work directory: the renames that make a finished build the one that counts.
const COMMIT: &str = "commit.json";

/// A running build's claim on its leftovers.
pub(crate) struct Scratch {
    work: PathBuf,
    lock: Option<Flock<File>>,
    sweeper: Child,
}

impl Scratch {
    /// Sweeps after a build that was cut off, then makes the work directory, the first of `leftovers`.
    pub(crate) fn begin(leftovers: &[PathBuf]) -> Result<Self> {
        let work = leftovers[0].clone();
        let beside = work.parent().unwrap_or(Path::new("/"));
        let lock = Flock::lock(open_dir(beside)?, FlockArg::LockExclusiveNonblock).map_err(|_| {
            precondition(format!(
                "another build or remove is at work in {}",
                beside.display()
            ))
        })?;
        sweep(leftovers)?;
        let sweeper = Cmd::new(std::env::current_exe().context("finding our own program")?)
            .arg("sweep")
            .args(leftovers)
            .outlive_us()
            .spawn(|command| {
                command.stdin(Stdio::piped()).stdout(Stdio::null());
            })?;
        let scratch = Self {
            work,
            lock: Some(lock),
            sweeper,
        };
        fs::create_dir(&scratch.work).with_context(|| format!("creating {}", scratch.work.display()))?;
        Ok(scratch)
    }

    /// Renames each first path to its second. Written down before: a cut in the middle is completed by the sweep.
    pub(crate) fn commit(&self, renames: &[(PathBuf, PathBuf)]) -> Result<()> {
        let record = self.work.join(COMMIT);
        atomic_write(
            &record,
            &serde_json::to_vec(renames).context("writing JSON")?,
            0o600,
        )?;
        complete(renames)?;
        fs::remove_file(&record).with_context(|| format!("removing {}", record.display()))
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

/// What the sweeper runs: waits for the build to end, then sweeps.
pub(crate) fn sweep_at_end_of_input(leftovers: &[PathBuf]) -> Result<()> {
    std::io::stdin()
        .read_to_end(&mut Vec::new())
        .context("waiting for the build to end")?;
    let beside = leftovers[0].parent().unwrap_or(Path::new("/"));
    let _lock = Flock::lock(open_dir(beside)?, FlockArg::LockExclusive)
        .map_err(|(_, e)| e)
        .with_context(|| format!("locking {}", beside.display()))?;
    sweep(leftovers)
}

/// Completes a commit that was cut off, then removes the leftovers.
pub(crate) fn sweep(leftovers: &[PathBuf]) -> Result<()> {
    if let Ok(text) = fs::read(leftovers[0].join(COMMIT)) {
        complete(
            &serde_json::from_slice::<Vec<(PathBuf, PathBuf)>>(&text).context("reading the commit record")?,
        )?;
    }
    leftovers.iter().try_for_each(|path| remove_all(path))
}

fn complete(renames: &[(PathBuf, PathBuf)]) -> Result<()> {
    for (from, to) in renames {
        match fs::rename(from, to) {
            Ok(()) => sync_dir(to.parent().unwrap_or(Path::new("/")))?,
            // Renamed before the cut.
            Err(e) if e.kind() == std::io::ErrorKind::NotFound && to.exists() => {}
            Err(e) => {
                return Err(e).with_context(|| format!("renaming {} to {}", from.display(), to.display()))
            }
        }
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
    fn a_commit_that_was_cut_off_is_completed() {
        let dir = std::env::temp_dir().join(format!("livemode-scratch-{}", std::process::id()));
        let work = dir.join("work");
        fs::create_dir_all(&work).unwrap();
        let path = |name: &str| dir.join(name);
        fs::write(path("kernel"), "new").unwrap();
        fs::write(path("image"), "old").unwrap();
        fs::write(path("image.tmp"), "new").unwrap();
        let renames = [
            (path("kernel.tmp"), path("kernel")),
            (path("image.tmp"), path("image")),
        ];
        fs::write(work.join(COMMIT), serde_json::to_vec(&renames).unwrap()).unwrap();

        sweep(&[work.clone(), path("kernel.tmp"), path("image.tmp")]).unwrap();

        assert_eq!(fs::read_to_string(path("image")).unwrap(), "new");
        assert_eq!(fs::read_to_string(path("kernel")).unwrap(), "new");
        assert!(!work.exists() && !path("image.tmp").exists());
        fs::remove_dir_all(&dir).unwrap();
    }
}
