//! What the source system's mounts stand on, and what follows from it: what the initramfs must bring up for the image, what
//! the live system must bring up for the source, what cannot work. Pure.
use std::collections::BTreeSet;
use std::path::PathBuf;

use livemode_common::cmdline::Cmdline;
use livemode_common::fstab::Entry;
use livemode_common::mountinfo::Mount;

mod early;
mod entries;
pub(crate) mod files;
mod found;
mod mounted;
mod needs;
mod options;
mod tree;
mod types;
mod volumes;

use crate::facts::storage::crypttab::Volume;
use crate::facts::storage::drivers::Driver;
use crate::facts::storage::StorageFacts;
pub(crate) use needs::{Layer, Needs};
pub(crate) use options::of_line;

/// What becomes of a mount option, for a test.
#[cfg(test)]
pub(crate) fn rule_of(option: &str) -> String {
    options::rule(options::MOUNT, option).map_or("none".into(), |(rule, _)| format!("{rule:?}"))
}

/// What the live system makes of one entry of the source's fstab.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LiveMount {
    pub(crate) entry: Entry,
    /// By what the live system finds it; the entry's own, unless several devices answer to that.
    pub(crate) spec: String,
    /// Without it the upgrade does not start.
    pub(crate) is_required: bool,
    /// Its place in the list of devices.
    device: Option<usize>,
}

/// The whole of it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Storage {
    /// In the order of the fstab, without what has no place in the live system.
    pub(crate) mounts: Vec<LiveMount>,
    /// By what early boot finds the image's file system: `UUID=…`, or a path that only it has.
    pub(crate) image_reference: Option<String>,
    /// By what early boot finds the file system of our records, where that is not the image's: `UUID=…`. Without it, it decides
    /// without them.
    pub(crate) records_reference: Option<String>,
    /// Whether early boot finds GRUB's environment block.
    pub(crate) has_block: bool,
    /// What the image stands on, and those two.
    pub(crate) image: Needs,
    /// What the source's mounts and swaps stand on.
    pub(crate) source: Needs,
    /// Paths of the disks below mounts that are required: without them the upgrade does not start.
    pub(crate) required_disks: BTreeSet<String>,
    /// For the initramfs.
    pub(crate) early_volumes: Vec<Volume>,
    /// Files of keys that the kernel's line names, for the initramfs.
    pub(crate) line_keys: Vec<String>,
    /// For the live system.
    pub(crate) live_volumes: Vec<Volume>,
    pub(crate) faults: Vec<String>,
    pub(crate) warnings: Vec<String>,
    tree: Vec<String>,
}

/// Where the image lies, and what brings the network up.
pub(crate) struct Setting<'a> {
    pub(crate) image_source: &'a str,
    pub(crate) image_uuid: Option<&'a str>,
    /// Where our records lie.
    pub(crate) records_source: &'a str,
    pub(crate) records_uuid: Option<&'a str>,
    /// Where GRUB's environment block lies.
    pub(crate) block_source: Option<&'a str>,
    pub(crate) has_network: bool,
    /// Whether early boot is told where the image's disk is in the network (dracut.cmdline(7), netroot=).
    pub(crate) has_netroot: bool,
    pub(crate) arguments: &'a Cmdline,
    /// Whether the target's kernel can mount a type of file system.
    pub(crate) knows: &'a dyn Fn(&str) -> bool,
    /// What is mounted now.
    pub(crate) mounts: &'a [Mount],
    /// Where we keep something ourselves, as the source sees it.
    pub(crate) places: &'a [PathBuf],
    /// Whether early boot brings up all that the source's mounts stand on, and not only what the image does.
    pub(crate) all_early: bool,
}

#[cfg(test)]
impl Setting<'static> {
    /// For a test: no image, a network, and a kernel that mounts everything.
    pub(crate) fn of_test() -> Self {
        static NOTHING: Cmdline = Cmdline(Vec::new());
        Self {
            image_source: "",
            image_uuid: None,
            records_source: "",
            records_uuid: None,
            block_source: None,
            has_network: true,
            has_netroot: false,
            arguments: &NOTHING,
            knows: &|_| true,
            mounts: &[],
            places: &[],
            all_early: false,
        }
    }
}

impl Storage {
    pub(crate) fn model(fstab: &[Entry], sources: &StorageFacts, setting: &Setting) -> Self {
        let mut storage = Self::default();
        for entry in fstab {
            storage.mount(entry, fstab, sources, setting);
        }
        storage.as_it_is_now(fstab, sources, setting);
        storage.find_image(sources, setting);
        storage.find_records(sources, setting);
        storage.has_block = setting
            .block_source
            .is_some_and(|source| storage.takes_along(source, sources));
        storage.early(sources, setting);
        storage.tree = storage.draw(sources);
        storage.check_network(setting);
        storage
    }

    /// What the layers, and the file systems, need of packages in the container, by their names on el8 to el10.
    pub(crate) fn packages(&self) -> BTreeSet<&'static str> {
        self.layers().filter_map(Layer::package).collect()
    }

    /// All layers.
    pub(crate) fn layers(&self) -> impl Iterator<Item = Layer> + '_ {
        let both = self.source.layers.union(&self.image.layers);
        both.copied()
    }

    /// The drivers of the disks below the image.
    pub(crate) fn image_drivers<'a>(&'a self, sources: &'a StorageFacts) -> impl Iterator<Item = &'a Driver> {
        let disks = self.image.disks.iter();
        disks.filter_map(|disk| sources.drivers.get(disk)).flatten()
    }

    /// The mounts that lie on devices of this machine, each with a name that only its device has, where there is one; no swap.
    pub(crate) fn on_devices<'a>(
        &'a self,
        sources: &'a StorageFacts,
    ) -> impl Iterator<Item = (&'a LiveMount, Option<String>)> {
        let mounts = self
            .mounts
            .iter()
            .filter(|mount| mount.entry.fs_vfstype != "swap");
        mounts.filter_map(|mount| match mount.device {
            Some(index) => Some((mount, sources.lasting_name(index))),
            // Of a system in a directory no devices are known; a UUID is enough.
            None => {
                let uuid = Some(mount.spec.clone()).filter(|spec| spec.starts_with("UUID="));
                uuid.map(|uuid| (mount, Some(uuid)))
            }
        })
    }

    /// The mount points that another machine's disks are behind.
    pub(crate) fn remote(&self) -> impl Iterator<Item = &str> {
        let mounts = self.mounts.iter().filter(|mount| is_remote(&mount.entry));
        mounts.map(|mount| mount.entry.fs_file.as_str())
    }

    /// Has the live system mount another device in place of a mount point's own, where `device` gives one.
    pub(crate) fn through(&mut self, device: impl Fn(&str) -> Option<String>) {
        for mount in &mut self.mounts {
            if let Some(device) = device(&mount.entry.fs_file) {
                mount.spec = device;
            }
        }
    }

    /// Whether something of it comes by the network.
    pub(crate) fn needs_network(&self) -> bool {
        let is_remote = |mount: &LiveMount| is_remote(&mount.entry) || mount.entry.has("_netdev");
        self.mounts.iter().any(is_remote) || self.layers().any(|layer| layer == Layer::Iscsi)
    }

    /// The mounts and what they stand on, a line each, deeper ones further in.
    pub(crate) fn describe(&self) -> &[String] {
        &self.tree
    }

    fn check_network(&mut self, setting: &Setting) {
        let image_by_iscsi = self.image.layers.contains(&Layer::Iscsi);
        if image_by_iscsi && !setting.has_netroot {
            self.faults.push(
                "squashfs_image_path: it lies on iSCSI, which needs netroot= and ip= on the kernel's line"
                    .into(),
            );
        }
        if setting.has_network {
            return;
        }
        const REMEDY: &str = "needs the network in the live system; set setup_network_manager: true";
        let is_remote = |mount: &LiveMount| is_remote(&mount.entry) || mount.entry.has("_netdev");
        for mount in self.mounts.iter().filter(|mount| is_remote(mount)) {
            let name = entries::with_line(&mount.entry.fs_file, &mount.entry);
            let text = format!("{name}: {} {REMEDY}", mount.spec);
            if mount.is_required {
                self.faults.push(text);
            } else {
                self.warnings.push(text);
            }
        }
        let is_told = image_by_iscsi && !setting.has_netroot;
        if self.source.layers.contains(&Layer::Iscsi)
            && !is_told
            && !self.faults.iter().any(|f| f.ends_with(REMEDY))
        {
            self.warnings.push(format!("a disk by iSCSI {REMEDY}"));
        }
    }
}

/// A swap file, a file system in a file, a directory that is bound elsewhere.
pub(crate) fn is_file(spec: &str) -> bool {
    // //SERVER/SHARE is none (mount.cifs(8)).
    spec.starts_with('/') && !spec.starts_with("//") && !spec.starts_with("/dev/")
}

fn is_remote(entry: &Entry) -> bool {
    types::is_remote(&entry.fs_vfstype)
}

fn is_bind(entry: &Entry) -> bool {
    entry.has("bind") || entry.has("rbind") || entry.fs_vfstype == "bind"
}

#[cfg(test)]
mod tests;
