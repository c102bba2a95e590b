//! Makes a finished build the one that counts. It is written down first, in the work directory: what is cut off is
//! completed, or, where a boot entry belongs to it, undone as a whole.
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use livemode_common::fsio::{atomic_write, sync_dir};
use livemode_common::sysroot::SysRoot;
use serde::{Deserialize, Serialize};

use crate::commit::boot_entry::{GrubbyEntry, Saved};
use crate::commit::scratch::{former, stage};

/// In the work directory.
const RECORD: &str = "commit.json";
/// The loader's files as they were, in the work directory.
const LOADER: &str = "loader";

/// Paths are as the source system sees them.
#[derive(Debug, Serialize, Deserialize)]
struct Record {
    renames: Vec<(PathBuf, PathBuf)>,
    /// Without a boot entry there is nothing to undo.
    undo: Option<Undo>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Undo {
    /// Where a file of an earlier build is kept, and where it belongs.
    kept: Vec<(PathBuf, PathBuf)>,
    /// What no earlier build had.
    new: Vec<PathBuf>,
    loader: Saved,
}

/// Renames each first path to its second, and makes the boot entry with these arguments, if there is to be one; without
/// arguments another makes it afterwards. On an error everything is as it was.
pub(crate) fn make(
    root: &SysRoot,
    work: &Path,
    renames: &[(PathBuf, PathBuf)],
    entry: Option<(&GrubbyEntry, Option<&str>)>,
) -> Result<()> {
    let inside = |path: &Path| path.strip_prefix(root.path()).unwrap_or(path).to_owned();
    let undo = entry.map(|_| Undo::keep(root, work, renames)).transpose()?;
    let record = Record {
        renames: renames
            .iter()
            .map(|(from, to)| (inside(from), inside(to)))
            .collect(),
        undo,
    };
    let path = work.join(RECORD);
    atomic_write(
        &path,
        &serde_json::to_vec(&record).context("writing JSON")?,
        0o600,
    )?;
    let made = match entry {
        // While files and entry do not fit each other, the old system boots.
        Some((entry, arguments)) => entry
            .disarm()
            .and_then(|()| complete(root, &record.renames))
            .and_then(|()| arguments.map_or(Ok(()), |arguments| entry.set(arguments)))
            .context("making the boot entry"),
        None => complete(root, &record.renames),
    };
    if let (Err(_), Some(undo)) = (&made, &record.undo) {
        undo.undo(root)?;
    }
    fs::remove_file(&path).with_context(|| format!("removing {}", path.display()))?;
    sync_dir(work)?;
    made
}

/// After a cut: completes or undoes what `make` had begun.
pub(crate) fn finish(root: &SysRoot, work: &Path) -> Result<()> {
    let path = work.join(RECORD);
    let text = match fs::read(&path) {
        Ok(text) => text,
        Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => return Ok(()),
        Err(e) => return Err(e).with_context(|| format!("reading {}", path.display())),
    };
    let record: Record =
        serde_json::from_slice(&text).with_context(|| format!("reading {}", path.display()))?;
    match &record.undo {
        Some(undo) => undo.undo(root),
        None => complete(root, &record.renames),
    }
}

fn complete(root: &SysRoot, renames: &[(PathBuf, PathBuf)]) -> Result<()> {
    for (from, to) in renames.iter().map(|(from, to)| (root.at(from), root.at(to))) {
        match fs::rename(&from, &to) {
            Ok(()) => sync_dir(to.parent().unwrap_or(Path::new("/")))?,
            // Renamed before the cut.
            Err(e) if e.kind() == io::ErrorKind::NotFound && to.exists() => {}
            Err(e) => {
                return Err(e).with_context(|| format!("renaming {} to {}", from.display(), to.display()))
            }
        }
    }
    Ok(())
}

impl Undo {
    /// Keeps what is there now beside it: by a link, or, on a file system without links (vfat), by a copy.
    fn keep(root: &SysRoot, work: &Path, renames: &[(PathBuf, PathBuf)]) -> Result<Self> {
        let inside = |path: &Path| path.strip_prefix(root.path()).unwrap_or(path).to_owned();
        let (mut kept, mut new) = (Vec::new(), Vec::new());
        for (_, target) in renames {
            if !target.exists() {
                new.push(inside(target));
                continue;
            }
            let beside = former(target);
            if fs::hard_link(target, &beside).is_err() {
                stage(target, &beside, 0o600)?;
            }
            sync_dir(beside.parent().unwrap_or(Path::new("/")))?;
            kept.push((inside(&beside), inside(target)));
        }
        Ok(Self {
            kept,
            new,
            loader: Saved::save(root, &work.join(LOADER))?,
        })
    }

    /// The loader last: until its files are back, the old system is its default.
    fn undo(&self, root: &SysRoot) -> Result<()> {
        let kept: Vec<(PathBuf, PathBuf)> = self.kept.clone();
        complete(root, &kept)?;
        for path in self.new.iter().map(|path| root.at(path)) {
            crate::commit::remove::remove_file(&path)?;
        }
        self.loader.restore(root)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_cut_off_is_completed() {
        let dir = tempfile::tempdir().unwrap();
        let work = dir.path().join("work");
        fs::create_dir(&work).unwrap();
        let path = |name: &str| dir.path().join(name);
        let inside = |name: &str| PathBuf::from(name);
        fs::write(path("kernel"), "new").unwrap();
        fs::write(path("image"), "old").unwrap();
        fs::write(path("image.tmp"), "new").unwrap();
        let record = Record {
            renames: vec![
                (inside("kernel.tmp"), inside("kernel")),
                (inside("image.tmp"), inside("image")),
            ],
            undo: None,
        };
        fs::write(work.join(RECORD), serde_json::to_vec(&record).unwrap()).unwrap();

        finish(&SysRoot::new(dir.path()), &work).unwrap();

        assert_eq!(fs::read_to_string(path("image")).unwrap(), "new");
        assert_eq!(fs::read_to_string(path("kernel")).unwrap(), "new");
    }
}
