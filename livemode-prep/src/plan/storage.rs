//! What the source system's mounts stand on, and what follows from it: what the initramfs must bring up for the image, what
//! the live system must bring up for the source, what cannot work. Pure.
use std::collections::BTreeSet;
use std::path::PathBuf;

use livemode_common::cmdline::Cmdline;
use livemode_common::fstab::Entry;
use livemode_common::mountinfo::Mount;

pub(crate) mod files;
mod mounted;
mod needs;
mod options;
mod types;
mod volumes;

use crate::facts::storage::crypttab::{Key, Volume};
use crate::facts::storage::devices;
use crate::facts::storage::drivers::Driver;
use crate::facts::storage::StorageFacts;
pub(crate) use needs::{Layer, Needs};
use volumes::opened;

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
    /// What the image stands on.
    pub(crate) image: Needs,
    /// What the source's mounts and swaps stand on.
    pub(crate) source: Needs,
    /// Paths of the disks below mounts that are required: without them the upgrade does not start.
    pub(crate) required_disks: BTreeSet<String>,
    /// For the initramfs.
    pub(crate) early_volumes: Vec<Volume>,
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
}

impl Storage {
    pub(crate) fn model(fstab: &[Entry], sources: &StorageFacts, setting: &Setting) -> Self {
        let mut storage = Self::default();
        for entry in fstab {
            storage.mount(entry, fstab, sources, setting);
        }
        storage.as_it_is_now(fstab, sources, setting);
        storage.find_image(sources, setting);
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

    /// Whether something of it comes by the network.
    pub(crate) fn needs_network(&self) -> bool {
        let is_remote = |mount: &LiveMount| is_remote(&mount.entry) || mount.entry.has("_netdev");
        self.mounts.iter().any(is_remote) || self.layers().any(|layer| layer == Layer::Iscsi)
    }

    /// The mounts and what they stand on, a line each, deeper ones further in.
    pub(crate) fn describe(&self) -> &[String] {
        &self.tree
    }

    fn mount(&mut self, entry: &Entry, fstab: &[Entry], sources: &StorageFacts, setting: &Setting) {
        let is_swap = entry.fs_vfstype == "swap";
        let is_automatic = entry.has("x-systemd.automount") || entry.has("comment=systemd.automount");
        let is_ours = is_swap || entry.fs_file.starts_with('/');
        if types::is_virtual(&entry.fs_vfstype) || !is_ours || (entry.has("noauto") && !is_automatic) {
            return;
        }
        let is_required = !is_swap && !entry.has("nofail");
        let mut entry = entry.clone();
        if !is_swap {
            entry.fs_file = sources.real(&entry.fs_file);
        }
        if is_file(&entry.fs_spec) {
            entry.fs_spec = sources.real(&entry.fs_spec);
        }
        if is_bind(&entry) && mounted::is_gone_after_a_reboot(&entry.fs_spec, fstab, setting.mounts) {
            return;
        }
        let name = if is_swap { &entry.fs_spec } else { &entry.fs_file }.clone();
        if !is_swap && mounted::is_of_the_kernel(&entry.fs_file) {
            self.warnings
                .push(format!("{name}: it lies in RAM; the live system goes without it"));
            return;
        }
        match self.live_mount(&entry, is_required, sources, setting) {
            Ok(mount) => {
                if let Some(device) = mount.device {
                    self.source.add(&sources.devices, device);
                    if is_required {
                        self.required_disks.extend(sources.devices.disks_below(device));
                    }
                }
                self.mounts.push(mount);
            }
            Err(why) if is_required => self.faults.push(format!("{name}: {why}")),
            Err(why) => self
                .warnings
                .push(format!("{name}: {why}; the live system goes without it")),
        }
    }

    fn live_mount(
        &mut self,
        entry: &Entry,
        is_required: bool,
        sources: &StorageFacts,
        setting: &Setting,
    ) -> Result<LiveMount, String> {
        if let Some(why) = entry.not_carried() {
            return Err(format!("{why}; mend its line in /etc/fstab"));
        }
        let mut mount = LiveMount {
            spec: entry.fs_spec.clone(),
            is_required,
            device: None,
            entry: entry.clone(),
        };
        self.file_system(entry, setting)?;
        if !is_file(&entry.fs_spec) && !is_remote(entry) {
            self.find(&mut mount, sources)?;
            if let Some(device) = mount.device {
                needs::understood(&sources.devices, device)?;
                if entry.fs_vfstype == "auto" {
                    let fstype = &sources.devices.get(device).fstype;
                    self.file_system(
                        &Entry {
                            fs_vfstype: fstype.clone(),
                            ..entry.clone()
                        },
                        setting,
                    )?;
                }
                self.open_volumes(device, sources, setting)?;
            }
        }
        mount.entry.fs_mntops = self.options(entry, sources)?;
        let live = super::fstab::live(std::slice::from_ref(&mount), &[]);
        match live.iter().find_map(Entry::not_carried) {
            Some(why) => Err(format!("{why}; mend its line in /etc/fstab")),
            None => Ok(mount),
        }
    }

    /// The options that come along, by the table of [`options::MOUNT`].
    fn options(&mut self, entry: &Entry, sources: &StorageFacts) -> Result<String, String> {
        let name = &entry.fs_file;
        let mut kept: Vec<String> = Vec::new();
        for option in entry.options() {
            let value = options::value(option);
            let (rule, reason) =
                options::rule(options::MOUNT, option).unwrap_or((options::Rule::Drop, "it has no rule"));
            let key = options::name(option);
            match rule {
                options::Rule::Carry => kept.push(option.to_owned()),
                options::Rule::Leave => {}
                options::Rule::Bound if options::is_short(value) => kept.push(option.to_owned()),
                options::Rule::Reroot if value.starts_with('/') => {
                    kept.push(format!("{key}={}", super::fstab::below(&sources.real(value))));
                }
                options::Rule::Unit if key == "x-systemd.requires" && is_file(value) => kept.push(format!(
                    "x-systemd.requires-mounts-for={}",
                    super::fstab::below(&sources.real(value))
                )),
                options::Rule::Bound | options::Rule::Reroot | options::Rule::Unit | options::Rule::Drop => {
                    self.warnings.push(format!(
                        "{name}: the live system goes without its option {option} ({reason})"
                    ))
                }
                options::Rule::File if sources.keys.contains(value) => kept.push(option.to_owned()),
                options::Rule::File => {
                    return Err(format!("its option {option} names a file that is not there"));
                }
                options::Rule::Refuse => {
                    return Err(format!(
                        "the live system cannot do its option {key} ({reason}); unmount it and take its line out of \
                         /etc/fstab, or add nofail"
                    ));
                }
            }
        }
        Ok(kept.join(","))
    }

    fn file_system(&mut self, entry: &Entry, setting: &Setting) -> Result<(), String> {
        let fstype = entry.fs_vfstype.as_str();
        if matches!(fstype, "swap" | "auto" | "none" | "bind") || is_bind(entry) {
            return Ok(());
        }
        if types::needs_a_program(fstype) {
            return Err(format!(
                "{fstype} needs a program that the live system does not have; add nofail to its line in /etc/fstab"
            ));
        }
        if !(setting.knows)(fstype) {
            return Err(format!(
                "the target's kernel has no {fstype}; unmount it and take its line out of /etc/fstab, or add nofail"
            ));
        }
        if !types::is_known(fstype) {
            return Err(format!(
                "nothing is known of {fstype} in the live system; unmount it and take its line out of /etc/fstab, or add \
                 nofail"
            ));
        }
        match fstype {
            "nfs" | "nfs4" => self.source.layers.insert(Layer::Nfs),
            "cifs" | "smb3" => self.source.layers.insert(Layer::Cifs),
            _ => false,
        };
        Ok(())
    }

    /// The device of a mount. Of several that answer to one name it is the one that is mounted now.
    fn find(&mut self, mount: &mut LiveMount, sources: &StorageFacts) -> Result<(), String> {
        let spec = &mount.entry.fs_spec.clone();
        let found = sources.named(spec);
        let device = match found.as_slice() {
            [] if sources.is_known() => {
                let gone = format!("{spec} is not there now");
                if sources.is_own && mount.is_required {
                    return Err(format!("{gone}; mend its line in /etc/fstab, or add nofail"));
                }
                if mount.is_required {
                    self.warnings.push(format!("{}: {gone}", mount.entry.fs_file));
                }
                return Ok(());
            }
            [] => {
                mount.spec = devices::plain(spec);
                return Ok(());
            }
            [device] => {
                mount.device = Some(*device);
                return self.rename(mount, sources);
            }
            // Members of one file system.
            [first, ..] if sources.devices.get(*first).is_btrfs() => {
                mount.device = Some(*first);
                self.rename(mount, sources)?;
                return Ok(());
            }
            several => {
                let names: Vec<&str> = several
                    .iter()
                    .map(|&i| sources.devices.get(i).path.as_str())
                    .collect();
                let mounted = sources
                    .mounted
                    .get(&mount.entry.fs_file)
                    .and_then(|path| sources.devices.at(path));
                mounted.filter(|device| several.contains(device)).ok_or_else(|| {
                    format!(
                        "{} all answer to {spec}, and which is meant is not clear; detach all but one, or name it in \
                         /etc/fstab by what only it has",
                        names.join(", ")
                    )
                })?
            }
        };
        if found.len() > 1 {
            mount.spec = sources.only_name(device).ok_or_else(|| {
                let path = &sources.devices.get(device).path;
                format!("other devices than {path} have its UUID too, and nothing else tells it apart; detach them")
            })?;
            self.warnings.push(format!(
                "{}: several devices answer to {spec}; taking {}",
                mount.entry.fs_file, mount.spec
            ));
        }
        mount.device = Some(device);
        Ok(())
    }

    /// By what the live system's udev finds the device too.
    fn rename(&mut self, mount: &mut LiveMount, sources: &StorageFacts) -> Result<(), String> {
        let Some(device) = mount.device else { return Ok(()) };
        let spec = &mount.entry.fs_spec;
        if let Some(tag) = sources.devices.tag(spec, device) {
            mount.spec = tag;
        } else if !devices::is_udevs(spec) && !sources.devices.is_kernel_name(spec, device) {
            mount.spec = sources.lasting_name(device).ok_or_else(|| {
                format!(
                    "{spec} is a name that only the source system's udev rules give, and {} has no UUID; name it by another \
                     in /etc/fstab",
                    sources.devices.get(device).path
                )
            })?;
            self.warnings.push(format!(
                "{}: {spec} is a name of the source system's udev rules; taking {}",
                mount.entry.fs_file, mount.spec
            ));
        }
        Ok(())
    }

    /// Notes what opens the encrypted volumes below a device, or says why nothing does without a keyboard.
    fn open_volumes(
        &mut self,
        device: usize,
        sources: &StorageFacts,
        setting: &Setting,
    ) -> Result<(), String> {
        for index in sources.devices.below(device) {
            if sources.devices.get(index).kind != "crypt" {
                continue;
            }
            if let Some(volume) = opened(index, sources, setting, &mut self.warnings)? {
                if !self.live_volumes.contains(&volume) {
                    self.live_volumes.push(volume);
                }
            }
        }
        Ok(())
    }

    fn find_image(&mut self, sources: &StorageFacts, setting: &Setting) {
        self.image_reference = setting.image_uuid.map(|uuid| format!("UUID={uuid}"));
        let Some(device) = sources.devices.at(setting.image_source) else {
            return;
        };
        self.image.add(&sources.devices, device);
        if sources.devices.is_ambiguous(device) {
            self.image_reference = sources.only_name(device);
            if self.image_reference.is_none() {
                self.faults.push(format!(
                    "squashfs_image_path: it lies on {}, whose UUID other devices have too, and nothing else tells it \
                     apart; detach them",
                    setting.image_source
                ));
            }
        }
        // The image's volumes may be no mount of the fstab's.
        if let Err(why) = self.open_volumes(device, sources, setting) {
            if !self.faults.iter().any(|fault| fault.ends_with(&why)) {
                self.faults.push(format!("squashfs_image_path: {why}"));
            }
        }
    }

    /// The volumes that early boot opens: the image's, and those that the kernel's arguments name.
    fn early(&mut self, sources: &StorageFacts, setting: &Setting) {
        let named: Vec<String> = setting
            .arguments
            .0
            .iter()
            .filter(|word| word.key == "rd.luks.uuid" || word.key == "rd.luks.name")
            .filter_map(|word| {
                let value = word.value.as_deref()?;
                Some(
                    value
                        .split('=')
                        .next()
                        .unwrap_or(value)
                        .trim_start_matches("luks-")
                        .to_ascii_lowercase(),
                )
            })
            .collect();
        for (index, volume) in sources.volumes() {
            let uuid = sources.devices.get(index).uuid.to_ascii_lowercase();
            let is_images = self.image.volumes.contains(&uuid);
            let is_named = named.iter().any(|name| uuid.starts_with(name.as_str()));
            if !is_images && !is_named {
                continue;
            }
            if let Key::File(file) = volume.key() {
                self.warnings.push(format!(
                    "{file}, which opens {}, goes into the initramfs: whoever reads /boot can read it",
                    volume.device
                ));
            }
            self.early_volumes.push(volume.clone());
        }
        for (index, device) in sources
            .devices
            .all()
            .enumerate()
            .filter(|(_, device)| device.kind == "crypt")
        {
            let uuid = device
                .parents
                .first()
                .map_or("", |&lower| sources.devices.get(lower).uuid.as_str());
            let uuid = uuid.to_ascii_lowercase();
            let is_named = named.iter().any(|name| uuid.starts_with(name.as_str()));
            let opened = is_named.then(|| opened(index, sources, setting, &mut Vec::new()));
            if let Some(Err(why)) = opened {
                if !self.faults.iter().any(|fault| fault.ends_with(&why)) {
                    self.faults
                        .push(format!("rd.luks.uuid={uuid} on the kernel's line: {why}"));
                }
            }
        }
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
            let text = format!("{}: {} {REMEDY}", mount.entry.fs_file, mount.spec);
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

    fn draw(&self, sources: &StorageFacts) -> Vec<String> {
        let mut lines = Vec::new();
        for mount in &self.mounts {
            let LiveMount { entry, spec, .. } = mount;
            let kind = match (entry.fs_vfstype.as_str(), mount.is_required) {
                ("swap", _) => "swap",
                (_, true) => "required",
                (_, false) => "nofail",
            };
            lines.push(format!("{}  {spec}  {}  {kind}", entry.fs_file, entry.fs_vfstype));
            if let Some(device) = mount.device {
                draw_below(sources, device, 1, &mut lines);
            }
        }
        if let Some(image) = &self.image_reference {
            let words = self
                .image
                .arguments()
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>()
                .join(" ");
            lines.push(format!("the image  {image}  {words}").trim_end().to_owned());
        }
        lines
    }
}

fn draw_below(sources: &StorageFacts, index: usize, depth: usize, lines: &mut Vec<String>) {
    let device = sources.devices.get(index);
    let line = format!(
        "{}{}  {}  {}",
        "  ".repeat(depth),
        device.path,
        device.kind,
        device.fstype
    );
    lines.push(line.trim_end().to_owned());
    for &parent in &device.parents {
        draw_below(sources, parent, depth + 1, lines);
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
