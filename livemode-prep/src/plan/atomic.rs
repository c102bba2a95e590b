//! Whether an upgrade of this machine can be all or nothing: what the upgrade writes is kept in a store until it is whole; and
//! how large that store must be. Pure.
use std::path::{Path, PathBuf};

use livemode_common::config::Atomic as Wish;
use livemode_common::contract::{STATE_DIR, STORE_FILE};
use livemode_common::records::OwnEntry;
use livemode_common::store::{Header, Kept, Layer, Map, Region, Sectors, FIXED_BYTES, LAYER_PREFIX};
use serde::Serialize;

use super::space::Budget;
use super::storage::Storage;
use crate::facts::source::Place;
use crate::facts::userspace::Kernel;
use crate::facts::volumes::Volume;
use crate::facts::Facts;

const MIB: u64 = 1 << 20;
/// What the loader reads, and nothing may stand between: copied, not kept in layers.
const OF_THE_LOADER: [&str; 3] = ["/boot", "/boot/efi", "/efi"];
/// File systems whose files are where FIEMAP says.
const FOR_A_STORE: [&str; 2] = ["ext4", "xfs"];
/// On any file system that is written to: its journal, its tables.
const OWN_OF_A_FILE_SYSTEM: u64 = 48 * MIB;
/// Where packages are installed: rpm's database and dnf's, logs, leapp's own records, dracut's working space.
const OWN_OF_AN_UPGRADE: u64 = 96 * MIB;
/// A mapping of a chunk takes 16 bytes of each 8 KiB; this much for it, and for chunks that are changed in part only.
const SHARE_OF_CHUNKS: u64 = 16;
/// The longest name of a layer; the device mapper takes 127 bytes.
const NAME_AT_MOST: usize = 60;

/// The store and what it holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Atomic {
    /// Its file, on this machine.
    #[serde(skip)]
    pub(crate) file: PathBuf,
    /// Its size.
    pub(crate) bytes: u64,
    /// The mount point it lies below, as the source sees it.
    mount: String,
    layers: Vec<Layer>,
    kept: Vec<Kept>,
    sectors: Vec<Sectors>,
    copy_bytes: u64,
    #[serde(skip)]
    place: PlaceOf,
}

/// Where its budget lies; of no interest for whether two plans are the same.
#[derive(Debug, Clone, Default)]
struct PlaceOf(Place);

impl PartialEq for PlaceOf {
    fn eq(&self, other: &Self) -> bool {
        self.0.path == other.0.path
    }
}

impl Eq for PlaceOf {}

impl Atomic {
    /// # Errors
    /// Why the upgrade of this machine cannot be all or nothing: every reason, each as a sentence.
    pub(crate) fn plan(
        facts: &Facts,
        storage: &Storage,
        is_entry_ours: bool,
        kernel: Option<&Kernel>,
    ) -> Result<Self, Vec<String>> {
        if facts.config.atomic == Wish::Off {
            return Err(vec!["the configuration says atomic: off".into()]);
        }
        if let Some(why) = &facts.volumes.no_store {
            return Err(vec![why.clone()]);
        }
        if facts.userspace.is_none() {
            return Err(vec!["not known before there is a container".into()]);
        }
        let mut whys = Vec::new();
        if !is_entry_ours {
            whys.push("early boot cannot change what boots next: the boot entry is not ours".to_owned());
        }
        let has = |module: &str| kernel.is_none_or(|kernel| kernel.has(module));
        if !has("dm-snapshot") {
            whys.push("the target's kernel has no dm-snapshot".into());
        }
        let tools = facts.userspace.as_ref();
        if tools.is_some_and(|userspace| !userspace.has("dmsetup")) {
            whys.push("the container has no dmsetup, whose rules name the devices".into());
        }
        let (layers, kept) = parts(facts, storage, &mut whys);
        if !kept.iter().any(|kept| kept.mount == OF_THE_LOADER[0]) {
            whys.push(
                "/boot is no file system of its own: the boot loader would read half of an upgrade".into(),
            );
        }
        if !whys.is_empty() {
            return Err(whys);
        }
        let volume = |mount: &str| facts.volumes.mounted.get(mount);
        let copied = kept.iter().filter_map(|kept| volume(&kept.mount));
        let copied: u64 = copied.map(|volume| volume.used_bytes).sum();
        let sectors = facts.volumes.boot_code.clone();
        let code: u64 = sectors.iter().map(|sectors| sectors.bytes).sum();
        let copy_bytes = (copied + copied / 16 + code + 4 * MIB).next_multiple_of(MIB);
        let changes: u64 = layers.iter().map(|layer| layer.changes.bytes).sum();
        // Each extent has its marker; a file system that is not full gives large ones.
        let bytes = FIXED_BYTES + copy_bytes + changes + 4 * MIB;

        let fit = layers
            .iter()
            .filter_map(|layer| Some((layer.mount.as_str(), volume(&layer.mount)?)))
            .filter(|(_, volume)| FOR_A_STORE.contains(&volume.fstype.as_str()));
        let Some((mount, volume)) = fit.max_by_key(|(_, volume)| volume.place.free_bytes) else {
            return Err(vec![
                "none of its file systems can hold a store: it must be an ext4 or xfs".into(),
            ]);
        };
        Ok(Self {
            file: file(facts, mount, &volume.place),
            bytes: bytes.next_multiple_of(MIB),
            mount: mount.to_owned(),
            place: PlaceOf(volume.place.clone()),
            layers,
            kept,
            sectors,
            copy_bytes,
        })
    }

    /// Itself, where all that the build needs fits beside it.
    ///
    /// # Errors
    /// What does not fit.
    pub(crate) fn if_it_fits(self, budgets: &[Budget]) -> Result<Self, Vec<String>> {
        let budget = budgets.iter().find(|budget| budget.holds_a_store());
        match budget.and_then(Budget::fault) {
            Some(fault) => Err(vec![fault]),
            None => Ok(self),
        }
    }

    /// What the live system mounts in place of the device of a mount point.
    pub(crate) fn device(&self, mount: &str) -> Option<String> {
        let layer = self.layers.iter().find(|layer| layer.mount == mount)?;
        Some(format!("/dev/mapper/{LAYER_PREFIX}{}", layer.name))
    }

    /// Where its space is needed.
    pub(crate) fn place(&self) -> &Place {
        &self.place.0
    }

    /// By what early boot finds the device that the store lies on.
    pub(crate) fn lies_on(&self) -> &str {
        let layer = self.layers.iter().find(|layer| layer.mount == self.mount);
        layer.map_or("", |layer| &layer.device)
    }

    /// As a person reads it.
    pub(crate) fn describe(&self) -> String {
        let mounts: Vec<&str> = self.layers.iter().map(|layer| layer.mount.as_str()).collect();
        format!(
            "yes: what is written to {} is kept in a store of {} MiB below {} until it is whole",
            mounts.join(", "),
            self.bytes / MIB,
            self.mount
        )
    }

    /// The header of the store `file`, as the source system sees it, whose extents these are.
    ///
    /// # Errors
    /// When they are less than was planned for.
    pub(crate) fn header(
        &self,
        id: &str,
        file: &str,
        map: Map,
        entry: Option<&OwnEntry>,
    ) -> Result<Header, String> {
        let mut at = FIXED_BYTES;
        let mut region = |bytes: u64| {
            let region = Region { at, bytes };
            at += bytes;
            region
        };
        let copy = region(self.copy_bytes);
        let layers = self
            .layers
            .iter()
            .map(|layer| Layer {
                changes: region(layer.changes.bytes),
                ..layer.clone()
            })
            .collect();
        if at > map.bytes() {
            return Err(format!(
                "the store came out too small: {} of {at} bytes are left beside the markers of its {} extents",
                map.bytes(),
                map.pieces().len()
            ));
        }
        Ok(Header {
            schema: livemode_common::contract::SCHEMA,
            id: id.to_owned(),
            device: self.lies_on().to_owned(),
            file: file
                .strip_prefix(&self.mount)
                .unwrap_or(file)
                .trim_start_matches('/')
                .into(),
            map,
            layers,
            kept: self.kept.clone(),
            sectors: self.sectors.clone(),
            copy,
            entry: entry.cloned(),
        })
    }
}

/// The layers, without a place in the store yet, and what is copied.
fn parts(facts: &Facts, storage: &Storage, whys: &mut Vec<String>) -> (Vec<Layer>, Vec<Kept>) {
    let (mut layers, mut kept): (Vec<Layer>, Vec<Kept>) = (Vec::new(), Vec::new());
    for (mount, device) in storage.on_devices(&facts.storage) {
        let at = mount.entry.fs_file.as_str();
        let Some(device) = device else {
            whys.push(format!("{at}: nothing tells its device apart from others"));
            continue;
        };
        if OF_THE_LOADER.contains(&at) {
            kept.push(Kept {
                mount: at.to_owned(),
                device,
            });
            continue;
        }
        let Some(volume) = facts.volumes.mounted.get(at) else {
            whys.push(format!(
                "{at} is not mounted now: mount it, or take its line out of /etc/fstab"
            ));
            continue;
        };
        if volume.fstype == "btrfs" {
            whys.push(format!("{at} is a btrfs, which finds its devices by itself"));
            continue;
        }
        if layers.iter().any(|layer| layer.device == device) {
            continue;
        }
        layers.push(Layer {
            name: name(at, &layers),
            mount: at.to_owned(),
            device,
            bytes: volume.bytes,
            changes: Region {
                at: 0,
                bytes: changes(volume, at),
            },
        });
    }
    (layers, kept)
}

/// How much of a file system an upgrade changes, at most.
fn changes(volume: &Volume, mount: &str) -> u64 {
    let own = if matches!(mount, "/" | "/var") {
        OWN_OF_A_FILE_SYSTEM + OWN_OF_AN_UPGRADE
    } else {
        OWN_OF_A_FILE_SYSTEM
    };
    let bytes = volume.incoming_bytes + own;
    let bytes = bytes + bytes / SHARE_OF_CHUNKS;
    // No more than all of it, with its mappings.
    let all = volume.bytes + volume.bytes / 256 + MIB;
    bytes.min(all).next_multiple_of(MIB)
}

/// The store's file: beside our records where they lie on that file system, else at its top.
fn file(facts: &Facts, mount: &str, place: &Place) -> PathBuf {
    let mounts = || facts.volumes.mounted.keys();
    let holding = |path: &Path| {
        mounts()
            .filter(|mount| path.starts_with(mount))
            .max_by_key(|mount| mount.len())
            .cloned()
    };
    if holding(&Path::new("/").join(STATE_DIR)).as_deref() == Some(mount) {
        facts.source.state_dir.path.join(STORE_FILE)
    } else {
        place.path.join(format!(".livemode-{STORE_FILE}"))
    }
}

/// A name for the device mapper, which is no other layer's.
fn name(mount: &str, others: &[Layer]) -> String {
    let plain: String = mount
        .trim_matches('/')
        .chars()
        .map(|c| match c {
            '/' => '-',
            c if c.is_ascii_alphanumeric() => c,
            _ => '_',
        })
        .take(NAME_AT_MOST)
        .collect();
    let plain = if plain.is_empty() {
        "root".to_owned()
    } else {
        plain
    };
    let is_taken = |name: &str| {
        ["store", "root"].contains(&name) && mount != "/" || others.iter().any(|layer| layer.name == name)
    };
    let numbered = (2..).map(|number| format!("{plain}_{number}"));
    std::iter::once(plain.clone())
        .chain(numbered)
        .find(|name| !is_taken(name))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_layer_is_named_by_its_mount_point_and_by_no_others_name() {
        let layer = |name: &str| Layer {
            name: name.into(),
            mount: String::new(),
            device: String::new(),
            bytes: 0,
            changes: Region::default(),
        };
        for (mount, others, expected) in [
            ("/", vec![], "root"),
            ("/var/log", vec![], "var-log"),
            ("/root", vec![layer("root")], "root_2"),
            ("/store", vec![], "store_2"),
            ("/srv/a b", vec![], "srv-a_b"),
            ("/srv/a_b", vec![layer("srv-a_b")], "srv-a_b_2"),
        ] {
            assert_eq!(name(mount, &others), expected, "{mount}");
        }
    }

    #[test]
    fn no_layer_is_larger_than_its_device_with_its_mappings() {
        let volume = |mib: u64, incoming: u64| Volume {
            bytes: mib * MIB,
            incoming_bytes: incoming * MIB,
            ..Volume::default()
        };
        // 300 for the packages, 144 for the rest, a sixteenth for the mappings.
        assert_eq!(changes(&volume(8192, 300), "/"), 472 * MIB);
        assert_eq!(changes(&volume(8192, 0), "/home"), 51 * MIB);
        assert_eq!(changes(&volume(32, 300), "/"), 34 * MIB);
    }
}
