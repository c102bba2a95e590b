//! The YAML configuration, read as leapp reads it: `*.yaml` in one directory, sorted, each a YAML 1.1 document.
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
pub use options::{Config, KEYS};

use crate::failure::Failure;
use crate::sysroot::SysRoot;
use merged::Merged;

mod check;
mod merged;
mod network;
mod options;

/// A configuration and where it came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loaded {
    /// The values.
    pub config: Config,
    /// For each key the file that set it, or `default`.
    pub origins: BTreeMap<String, String>,
    /// What leapp's own loader would not like.
    pub warnings: Vec<String>,
}

/// Reads every `*.yaml` of the directory; a directory that is not there holds none. Paths of the values are looked at
/// below `root`, for no more than whether they are directories.
///
/// # Errors
/// [`Failure::Config`] with all faults of all files; another error when the directory cannot be read.
pub fn load(dir: &Path, root: &SysRoot) -> Result<Loaded> {
    let mut texts = Vec::new();
    let mut faults = Vec::new();
    for path in files(dir)? {
        if path.exists() && !path.is_file() {
            // Reading a FIFO would wait for ever.
            faults.push(format!("{}: no regular file", path.display()));
            continue;
        }
        match std::fs::read(&path).map(String::from_utf8) {
            Ok(Ok(text)) => texts.push((path.display().to_string(), text)),
            Ok(Err(e)) => {
                let line = e.as_bytes()[..e.utf8_error().valid_up_to()]
                    .split(|b| *b == b'\n')
                    .count();
                faults.push(format!("{}:{line}: not UTF-8", path.display()));
            }
            Err(e) => faults.push(format!("{}: {e}", path.display())),
        }
    }
    match merge(&texts, root) {
        Ok(loaded) if faults.is_empty() => Ok(loaded),
        Ok(_) => Err(Failure::Config(faults).into()),
        Err(more) => {
            faults.extend(more);
            Err(Failure::Config(faults).into())
        }
    }
}

/// Merges files, each by its name and text, key by key: the later one wins.
///
/// # Errors
/// All faults of all files.
pub fn merge(texts: &[(String, String)], root: &SysRoot) -> Result<Loaded, Vec<String>> {
    let mut merged = Merged::default();
    for (file, text) in texts {
        merged.add(file, text);
    }
    let mut faults = std::mem::take(&mut merged.faults);
    faults.extend(merged.value_faults(root));
    if !faults.is_empty() {
        return Err(faults);
    }
    let origin = |key: &&str| {
        merged
            .places
            .get(*key)
            .map_or("default".to_owned(), |place| place.file.clone())
    };
    Ok(Loaded {
        origins: KEYS.iter().map(|key| ((*key).to_owned(), origin(key))).collect(),
        config: merged.config,
        warnings: merged.warnings,
    })
}

fn files(dir: &Path) -> Result<Vec<PathBuf>> {
    let context = || format!("reading {}", dir.display());
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(e).with_context(context),
    };
    let mut files = Vec::new();
    for entry in entries {
        let path = entry.with_context(context)?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.ends_with(".yaml") && !name.starts_with('.') && !path.is_dir() {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}
