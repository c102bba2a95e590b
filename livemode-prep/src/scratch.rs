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
use livemode_common::fsio::{atomic_write, remove_temps, sync_dir};
use livemode_common::sysroot::SysRoot;
use nix::fcntl::{Flock, FlockArg};

/// The last moments of killed children can keep a directory busy.
const TRIES: u32 = 50;
const PAUSE: Duration = Duration::from_millis(200);
/// In the work directory: the renames that make a finished build the one that counts, as the source system sees them.
const COMMIT: &str = "commit.json";

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

/// The claim of a build or remove on the directory of the image.
pub(crate) fn lock(dir: &Path) -> Result<Flock<File>> {
    Flock::lock(open_dir(dir)?, FlockArg::LockExclusiveNonblock)
        .map_err(|_| precondition(format!("another build or remove is at work in {}", dir.display())))
}

/// A running build's claim on its leftovers.
pub(crate) struct Scratch {
    root: SysRoot,
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
            root: root.clone(),
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

    /// Renames each first path to its second. Written down before: a cut in the middle is completed by the sweep.
    pub(crate) fn commit(&self, renames: &[(PathBuf, PathBuf)]) -> Result<()> {
        let record = self.work.join(COMMIT);
        let inside = |path: &Path| path.strip_prefix(self.root.path()).unwrap_or(path).to_owned();
        let renames: Vec<(PathBuf, PathBuf)> = renames
            .iter()
            .map(|(from, to)| (inside(from), inside(to)))
            .collect();
        atomic_write(
            &record,
            &serde_json::to_vec(&renames).context("writing JSON")?,
            0o600,
        )?;
        complete(&self.root, &renames)?;
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

/// Completes a commit that was cut off, then removes the leftovers and what was being written beside them.
pub(crate) fn sweep(root: &SysRoot, leftovers: &[PathBuf]) -> Result<()> {
    if let Ok(text) = fs::read(leftovers[0].join(COMMIT)) {
        complete(
            root,
            &serde_json::from_slice::<Vec<(PathBuf, PathBuf)>>(&text).context("reading the commit record")?,
        )?;
    }
    for path in leftovers {
        remove_all(path)?;
        remove_temps(path.parent().unwrap_or(Path::new("/")))?;
    }
    Ok(())
}

fn complete(root: &SysRoot, renames: &[(PathBuf, PathBuf)]) -> Result<()> {
    for (from, to) in renames.iter().map(|(from, to)| (root.at(from), root.at(to))) {
        match fs::rename(&from, &to) {
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
        let inside = |name: &str| PathBuf::from("/").join(name);
        fs::write(path("kernel"), "new").unwrap();
        fs::write(path("image"), "old").unwrap();
        fs::write(path("image.tmp"), "new").unwrap();
        let renames = [
            (inside("kernel.tmp"), inside("kernel")),
            (inside("image.tmp"), inside("image")),
        ];
        fs::write(work.join(COMMIT), serde_json::to_vec(&renames).unwrap()).unwrap();

        let leftovers = [work.clone(), path("kernel.tmp"), path("image.tmp")];
        sweep(&SysRoot::new(&dir), &leftovers).unwrap();

        assert_eq!(fs::read_to_string(path("image")).unwrap(), "new");
        assert_eq!(fs::read_to_string(path("kernel")).unwrap(), "new");
        assert!(!work.exists() && !path("image.tmp").exists());
        fs::remove_dir_all(&dir).unwrap();
    }

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
