//! The claim of a build, entry or remove on the directories it changes. The kernel drops it with the process.
use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use livemode_common::failure::{precondition, Failure};
use nix::fcntl::{Flock, FlockArg};

/// How long clearing up may take: it removes a work directory and puts a few files back.
const CLEARING_UP: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(100);

/// Locked directories.
#[derive(Debug)]
pub(crate) struct Lock {
    _locked: Vec<Flock<File>>,
}

impl Lock {
    /// Locks all of these directories; one that is named twice once. Whoever clears up after a transaction that was killed
    /// gets a moment to finish.
    ///
    /// # Errors
    /// When another process has one of them for longer (exit code 4), or one is not there.
    pub(crate) fn take(dirs: &[&Path]) -> Result<Self> {
        Self::take_within(dirs, CLEARING_UP)
    }

    fn take_within(dirs: &[&Path], patience: Duration) -> Result<Self> {
        let started = Instant::now();
        loop {
            let taken = Self::with(dirs, FlockArg::LockExclusiveNonblock, |dir| {
                precondition(format!("another build or remove is at work in {}", dir.display()))
            });
            match taken {
                Err(error) if error.is::<Failure>() && started.elapsed() < patience => {
                    std::thread::sleep(PAUSE);
                }
                taken => return taken,
            }
        }
    }

    /// The same, once whoever has them is done.
    ///
    /// # Errors
    /// When one of the directories is not there.
    pub(crate) fn wait(dirs: &[&Path]) -> Result<Self> {
        Self::with(dirs, FlockArg::LockExclusive, |dir| {
            anyhow::anyhow!("locking {}", dir.display())
        })
    }

    fn with(dirs: &[&Path], how: FlockArg, refused: impl Fn(&Path) -> anyhow::Error) -> Result<Self> {
        let mut locked: Vec<Flock<File>> = Vec::new();
        for &dir in dirs {
            let opened = File::open(dir).with_context(|| format!("opening {}", dir.display()))?;
            if locked.iter().any(|known| identity(known) == identity(&opened)) {
                continue;
            }
            let lock = Flock::lock(opened, how).map_err(|_| refused(dir))?;
            // Whoever had it may have removed the directory, or put another in its place.
            if fs::metadata(dir).ok().map(|meta| (meta.dev(), meta.ino())) != identity(&lock) {
                return Err(refused(dir));
            }
            locked.push(lock);
        }
        Ok(Self { _locked: locked })
    }
}

fn identity(dir: &File) -> Option<(u64, u64)> {
    let meta = dir.metadata().ok()?;
    Some((meta.dev(), meta.ino()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_directory_of_two_that_is_taken_is_enough_to_refuse() {
        let dir = tempfile::tempdir().unwrap();
        let [state, image, other] = ["state", "image", "other"].map(|name| dir.path().join(name));
        for path in [&state, &image, &other] {
            fs::create_dir(path).unwrap();
        }
        let lock = Lock::take(&[&state, &image]).unwrap();
        let refused = Lock::take_within(&[&state, &other], Duration::ZERO)
            .unwrap_err()
            .to_string();
        assert_eq!(
            refused,
            format!("another build or remove is at work in {}", state.display())
        );
        drop(lock);
        Lock::take(&[&state, &state, &other]).unwrap();
    }

    #[test]
    fn whoever_clears_up_is_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let lock = Lock::take(&[dir.path()]).unwrap();
        let clears_up = std::thread::spawn(move || {
            std::thread::sleep(PAUSE);
            drop(lock);
        });
        Lock::take_within(&[dir.path()], Duration::from_secs(600)).unwrap();
        clears_up.join().unwrap();
    }
}
