//! The records that one binary writes and another reads: what was built, where the upgrade stands, what booted. On the
//! source system's disk, so that they say what was last true, whatever happens next.
use serde::{Deserialize, Serialize};

use crate::config::Config;
use crate::fingerprint::Fingerprint;
use crate::loader::own::Boots;
use crate::loader::store::Keeper;

mod standing;
mod state;
mod store;

pub use standing::{Place, Standing};
pub use state::{Attempt, Change, Phase, State};
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
    /// The entry, where it is ours.
    #[serde(default)]
    pub entry: Option<OwnEntry>,
}

/// An entry of our own in the loader's menu. Paths as the source system sees them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnEntry {
    /// What the loader calls it: the name of its file, for GRUB without `.conf`.
    pub id: String,
    /// Its file.
    pub path: String,
    /// The kernel that it boots.
    pub kernel: String,
    /// The initramfs that it boots.
    pub initramfs: String,
    /// Whose it is.
    #[serde(flatten)]
    pub keeper: Keeper,
    /// Of GRUB, /boot on its own file system: what its paths begin with. Of systemd-boot, where the entry's partition is
    /// mounted.
    pub boot: String,
    /// The id of the entry that boots when this one does not.
    pub former_default: String,
}

impl OwnEntry {
    /// What the loader was told of its default before; it takes one of itself where there is nothing.
    pub fn former_choice(&self) -> Option<&str> {
        match &self.keeper {
            Keeper::Grub { .. } => Some(&self.former_default),
            Keeper::SystemdBoot { former_choice, .. } => former_choice.as_deref(),
        }
    }

    /// The old system, as the loader was told of it before.
    pub fn old(&self) -> Boots<'_> {
        Boots::Old(self.former_choice())
    }
}

/// What `livemode-prep build` made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// Version of this record.
    pub schema: u32,
    /// Names this build; its boot entry carries it (`livemode.build=`). Empty of a build by an older version.
    #[serde(default)]
    pub id: String,
    /// The source system at the time of the build, where that could be told.
    #[serde(default)]
    pub source: Option<Fingerprint>,
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
    /// The store of an upgrade that is all or nothing; none of one in place.
    #[serde(default)]
    pub store: Option<StoreFile>,
    /// Seconds since the epoch.
    pub created: u64,
}

/// The file of a [`crate::store`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoreFile {
    /// Path as the source system sees it.
    pub path: String,
    /// Its size, in bytes.
    pub bytes: u64,
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
