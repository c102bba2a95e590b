//! The records that one binary writes and another reads: what was built, where the upgrade stands, what booted. On the
//! source system's disk, so that they say what was last true, whatever happens next.
use serde::{Deserialize, Serialize};

use crate::config::Config;

mod store;

pub use store::{to_json, Records};

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

/// How the message of a refusal in early boot begins: it is [`Phase::Failed`], though no upgrade was tried.
const REFUSAL: &str = "the image was refused in early boot: ";

impl State {
    /// Whether the state is a refusal of the image in early boot: leapp has not run, a later boot may start it.
    pub fn is_refusal(&self) -> bool {
        self.state == Phase::Failed && self.message.starts_with(REFUSAL)
    }

    /// What becomes of this state when early boot refuses the image because of `fault`; `None` where it must stay as it
    /// is. An upgrade that has succeeded stays so, and one that has failed stays a failure of that attempt.
    pub fn refused(&self, fault: &str) -> Option<Change> {
        let message = match self.state {
            Phase::Succeeded => return None,
            Phase::Failed if !self.is_refusal() => {
                let failure = self.message.split("; then ").next().unwrap_or_default();
                format!("{failure}; then {REFUSAL}{fault}")
            }
            _ => format!("{REFUSAL}{fault}"),
        };
        Some(Change {
            state: Phase::Failed,
            attempt: self.attempt,
            message,
            exit_code: self.exit_code,
        })
    }
}

/// A state that is to be recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Where the upgrade stands from now on.
    pub state: Phase,
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
