//! The records that one binary writes and another reads: what was built, where the upgrade stands, what booted. On the
//! source system's disk, so that they say what was last true, whatever happens next.
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::config::Config;
use crate::contract::{MANIFEST_FILE, SCHEMA, STATE_DIR, STATE_FILE};
use crate::fsio::{atomic_write, now};
use crate::sysroot::SysRoot;

/// Who made a file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Origin {
    /// `livemode-prep build`.
    #[default]
    Made,
    /// leapp, before `build` ran.
    Given,
}

/// A file that the upgrade boots from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Artifact {
    /// Who made it.
    #[serde(default)]
    pub origin: Origin,
    /// Path as the source system sees it.
    pub path: String,
    /// Size in bytes.
    pub size: u64,
    /// SHA-256 in hex.
    pub sha256: String,
}

/// The upgrade's boot entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BootEntry {
    /// Who keeps the entry: `none` when nobody does yet.
    pub loader: String,
    /// The whole kernel command line.
    pub arguments: String,
    /// The kernel that booted by default before; `remove` makes it the default again.
    #[serde(default)]
    pub former_default: Option<String>,
}

/// What `livemode-prep build` made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// Version of this record.
    pub schema: u32,
    /// The squashfs image.
    pub image: Artifact,
    /// The kernel in /boot.
    pub kernel: Artifact,
    /// The kernel's checksum file in /boot, where the target has one.
    pub hmac: Option<Artifact>,
    /// The initramfs in /boot.
    pub initramfs: Artifact,
    /// Release of the target's kernel.
    pub kernel_version: String,
    /// Compressor of the image.
    pub compressor: String,
    /// The boot entry.
    pub boot: BootEntry,
    /// The source system's own kernel arguments, which the upgrade sees as /proc/cmdline.
    pub source_arguments: String,
    /// The configuration it was built from.
    pub config: Config,
    /// Versions of ours and of the tools.
    pub versions: std::collections::BTreeMap<String, String>,
    /// Directories that `build` made on its way; `remove` removes those that are empty.
    #[serde(default)]
    pub made_directories: Vec<String>,
    /// Seconds since the epoch.
    pub created: u64,
}

/// Where the upgrade stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// `build` is done, the machine has not booted the image yet.
    Prepared,
    /// The live system is up.
    Booted,
    /// leapp runs.
    Upgrading,
    /// leapp ended with 0, both times.
    Succeeded,
    /// The image was refused, or leapp failed.
    Failed,
}

impl std::fmt::Display for Phase {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Prepared => "prepared",
            Self::Booted => "booted",
            Self::Upgrading => "upgrading",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
        })
    }
}

/// The record behind `state.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// Version of this record.
    pub schema: u32,
    /// Where the upgrade stands.
    pub state: Phase,
    /// Seconds since the epoch of this change.
    pub time: u64,
    /// Which run of the upgrade, from 1; 0 before the first.
    pub attempt: u32,
    /// What the upgrade did last, or why it failed.
    pub message: String,
    /// Exit code of the command that ended the upgrade.
    pub exit_code: Option<i32>,
}

/// One timed step of `livemode-boot`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// What was done.
    pub name: String,
    /// How long it took, in milliseconds.
    pub ms: u64,
}

/// The record behind `boot.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BootRecord {
    /// Version of this record.
    pub schema: u32,
    /// The device that holds the image.
    pub device: String,
    /// The image, below that device's file system.
    pub image: String,
    /// Size of the image in bytes.
    pub size: u64,
    /// SHA-256 that the image was found to have; absent when the check was off.
    pub sha256: Option<String>,
    /// The steps, in order.
    pub steps: Vec<Step>,
}

/// `state.json` and `manifest.json` of one source system.
#[derive(Debug)]
pub struct Records {
    state: PathBuf,
    manifest: PathBuf,
}

impl Records {
    /// Those of the source system below `root`.
    pub fn of(root: &SysRoot) -> Self {
        Self::in_dir(&root.at(STATE_DIR))
    }

    /// Those that lie in `dir`.
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
