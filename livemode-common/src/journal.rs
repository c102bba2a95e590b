//! The state journal on the source system's disk: what was last true, whatever happens next.
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::contract::{Manifest, Phase, State, MANIFEST_FILE, SCHEMA, STATE_DIR, STATE_FILE};
use crate::fsio::{atomic_write, now};
use crate::sysroot::SysRoot;

/// `state.json` and `manifest.json` of one source system.
#[derive(Debug)]
pub struct Journal {
    state: PathBuf,
    manifest: PathBuf,
}

impl Journal {
    /// The journal of the source system below `root`.
    pub fn of(root: &SysRoot) -> Self {
        Self::in_dir(&root.at(STATE_DIR))
    }

    /// The journal whose records lie in `dir`.
    pub fn in_dir(dir: &Path) -> Self {
        Self {
            state: dir.join(STATE_FILE),
            manifest: dir.join(MANIFEST_FILE),
        }
    }

    /// The last state, or `None` before the first.
    ///
    /// # Errors
    /// When the record is there but cannot be read or understood.
    pub fn state(&self) -> Result<Option<State>> {
        read(&self.state)
    }

    /// What was built, or `None` when nothing is.
    ///
    /// # Errors
    /// When the record is there but cannot be read or understood.
    pub fn manifest(&self) -> Result<Option<Manifest>> {
        read(&self.manifest)
    }

    /// Makes the next state durable.
    ///
    /// # Errors
    /// When the record cannot be written.
    pub fn record(&self, state: Phase, attempt: u32, message: &str, exit_code: Option<i32>) -> Result<()> {
        let record = State {
            schema: SCHEMA,
            state,
            time: now(),
            attempt,
            message: message.to_owned(),
            exit_code,
        };
        atomic_write(&self.state, &to_json(&record)?, 0o600)
    }
}

/// A record as it is stored: indented JSON with a newline.
///
/// # Errors
/// When the record cannot be put into JSON.
pub fn to_json(record: &impl serde::Serialize) -> Result<Vec<u8>> {
    let mut json = serde_json::to_vec_pretty(record).context("writing JSON")?;
    json.push(b'\n');
    Ok(json)
}

fn read<T: serde::de::DeserializeOwned>(path: &Path) -> Result<Option<T>> {
    let text = match std::fs::read(path) {
        Ok(text) => text,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(e).with_context(|| format!("reading {}", path.display())),
    };
    serde_json::from_slice(&text)
        .map(Some)
        .with_context(|| format!("reading {}", path.display()))
}
