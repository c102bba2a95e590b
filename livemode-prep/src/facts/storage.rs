//! What is known of the source's block devices, volumes and their names.
pub(crate) mod crypttab;
pub(crate) mod devices;
pub(crate) mod drivers;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use anyhow::Result;
use livemode_common::cmd::Cmd;
use livemode_common::container::ContainerDir;
use livemode_common::fstab::Entry;
use livemode_common::sysroot::SysRoot;
use serde::{Deserialize, Serialize};

use self::crypttab::{line_keys, Key, Volume};
use self::devices::{lsblk, Devices};
use self::drivers::Driver;
use super::files::credentials_file;
use super::source::Source;
use super::tools::ASKING;

const BY_ID: &str = "dev/disk/by-id";

/// All of it.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct StorageFacts {
    pub(crate) devices: Devices,
    pub(crate) crypttab: Vec<Volume>,
    /// Devices by the source's mount points.
    pub(crate) mounted: BTreeMap<String, String>,
    /// The kernel's paths of devices by other names of them: those that the fstab and the crypttab use.
    pub(crate) links: BTreeMap<String, String>,
    /// A name that the hardware gives a device, by the kernel's path.
    pub(crate) by_id: BTreeMap<String, String>,
    /// The files that crypttab and fstab name (keys, headers, credentials) and that are there.
    pub(crate) keys: BTreeSet<String>,
    /// Types of the tokens of LUKS volumes, by UUID.
    pub(crate) tokens: BTreeMap<String, Vec<String>>,
    /// Paths of the fstab that lead elsewhere, and where: links followed inside the source.
    #[serde(default)]
    pub(crate) real: BTreeMap<String, String>,
    /// The files behind loop devices, by the kernel's paths of these.
    #[serde(default)]
    pub(crate) backing: BTreeMap<String, String>,
    /// The kernel's drivers of its disks, by their paths.
    #[serde(default)]
    pub(crate) drivers: BTreeMap<String, Vec<Driver>>,
}

impl StorageFacts {
    /// Where lsblk cannot tell of devices, or would tell of another system's, none are known, and nothing is said against
    /// them. `own_view` is whether the source sees itself: not so in a directory without its /proc.
    pub(crate) fn look(root: &SysRoot, source: &Source, own_view: bool) -> Result<Self> {
        let fstab = source.fstab.as_deref().unwrap_or_default();
        let mounts = &source.mounts;
        let devices = match own_view.then(|| lsblk().limit(ASKING).output()) {
            Some(Ok((status, json, _))) if status.success() => Devices::parse(&json)?,
            _ => Devices::default(),
        };
        // Bytes that are no UTF-8 may stand in a comment.
        let crypttab = fs::read(root.at("etc/crypttab")).unwrap_or_default();
        let crypttab = crypttab::parse(&String::from_utf8_lossy(&crypttab));
        let specs = fstab.iter().map(|entry| &entry.fs_spec);
        let specs = specs.chain(crypttab.iter().map(|volume| &volume.device));
        let system = ContainerDir::new(root.path());
        let node = |path: &str| {
            let inside = system.resolve(path).ok().filter(|at| at.exists());
            let inside = inside.map(|at| root.inside(&at));
            let node = inside.or_else(|| Path::new(path).canonicalize().ok())?;
            Some(node.display().to_string())
        };
        let links = specs
            .filter(|spec| spec.starts_with("/dev/"))
            .filter_map(|spec| Some((spec.clone(), node(spec)?)))
            .collect();
        let keys = crypttab.iter().filter_map(|volume| match volume.key() {
            Key::File(file) => Some(file.to_owned()),
            _ => None,
        });
        let headers = crypttab.iter().filter_map(Volume::header);
        let credentials = fstab.iter().flat_map(Entry::options).filter_map(credentials_file);
        let implied = crypttab.iter().filter_map(Volume::implied_key);
        let of_line = line_keys(&source.arguments).into_iter().map(|key| key.path);
        let named = keys.chain(headers.chain(credentials).map(str::to_owned));
        let named = named.chain(implied).chain(of_line);
        Ok(Self {
            mounted: mounts
                .iter()
                .map(|mount| (mount.target.display().to_string(), mount.source.clone()))
                .collect(),
            links,
            by_id: by_id(root),
            real: real(root, fstab),
            keys: named.filter(|file| root.at(file).is_file()).collect(),
            tokens: tokens(&devices),
            drivers: drivers::look(root, &devices),
            backing: backing(root),
            crypttab,
            devices,
        })
    }

    /// What the hardware of its disks calls itself.
    pub(crate) fn modaliases(&self) -> BTreeSet<String> {
        let drivers = self.drivers.values().flatten();
        drivers.filter_map(|driver| driver.modalias.clone()).collect()
    }

    /// Whether anything is known at all.
    pub(crate) fn is_known(&self) -> bool {
        self.devices.all().next().is_some()
    }

    /// Whether all devices of the source are known: what / is mounted from is among them.
    pub(crate) fn is_complete(&self) -> bool {
        let root = self.mounted.get("/");
        self.is_known() && root.is_none_or(|path| self.devices.at(path).is_some())
    }

    /// The devices that a name may mean, links followed.
    pub(crate) fn named(&self, spec: &str) -> Vec<usize> {
        let found = self.devices.named(spec);
        match (found.is_empty(), self.links.get(spec)) {
            (true, Some(node)) => self.devices.at(node).into_iter().collect(),
            _ => found,
        }
    }

    /// Where a path of the source leads.
    pub(crate) fn real(&self, path: &str) -> String {
        self.real.get(path).cloned().unwrap_or_else(|| path.to_owned())
    }

    /// The name by which a device is found whatever the source's udev rules and its kernel's numbers are; none where its own
    /// is as good.
    ///
    /// # Errors
    /// When only the source's rules give the name, and the device has no other.
    pub(crate) fn lasting(&self, spec: &str, index: usize) -> Result<Option<String>, String> {
        if devices::is_lasting(spec) || self.is_mapped(spec, index) {
            return Ok(None);
        }
        match self.lasting_name(index) {
            None if self.is_of_rules(spec, index) => Err(format!(
                "{spec} is a name that only the source system's udev rules give, and {} has no UUID; name it by another in \
                 /etc/fstab",
                self.devices.get(index).path
            )),
            name => Ok(name),
        }
    }

    /// Whether a name is none that any system's udev or kernel gives.
    pub(crate) fn is_of_rules(&self, spec: &str, index: usize) -> bool {
        !spec.contains('=') && !devices::is_udevs(spec) && !self.devices.is_kernel_name(spec, index)
    }

    /// Whether the kernel gives a name by the order in which it finds devices.
    pub(crate) fn may_be_another(&self, spec: &str) -> bool {
        let device = self.devices.at(spec).map(|index| self.devices.get(index));
        device.is_some_and(|device| ["disk", "part"].contains(&device.kind.as_str()) && device.path == spec)
            && !devices::is_udevs(spec)
    }

    /// Whether it is a name of the device mapper's: those stay, with LVM's other form of them.
    fn is_mapped(&self, spec: &str, index: usize) -> bool {
        let path = &self.devices.get(index).path;
        path.starts_with("/dev/mapper/")
            && self.devices.is_kernel_name(spec, index)
            && !spec.starts_with("/dev/dm-")
    }

    /// A name that does not hang on the source's udev rules: the UUID, or what else only this device has.
    pub(crate) fn lasting_name(&self, index: usize) -> Option<String> {
        let device = self.devices.get(index);
        if device.uuid.is_empty() || self.devices.is_ambiguous(index) {
            return self.only_name(index);
        }
        Some(format!("UUID={}", device.uuid))
    }

    /// A name that only this device has, and has again after a reboot: the device mapper's, a partition's, or the
    /// hardware's.
    pub(crate) fn only_name(&self, index: usize) -> Option<String> {
        let device = self.devices.get(index);
        if device.path.starts_with("/dev/mapper/") {
            return Some(device.path.clone());
        }
        let partition = self.devices.only_partition_uuid(index);
        let partition = partition.map(|uuid| format!("/dev/disk/by-partuuid/{uuid}"));
        partition.or_else(|| self.by_id.get(&device.path).cloned())
    }

    /// The volumes of the crypttab that are there, with the devices they lie on.
    pub(crate) fn volumes(&self) -> Vec<(usize, &Volume)> {
        let device = |volume: &Volume| self.named(&volume.device).first().copied();
        let volumes = self.crypttab.iter();
        volumes
            .filter_map(|volume| Some((device(volume)?, volume)))
            .collect()
    }
}

/// Mount points, sources and paths in options that are, or lie below, symbolic links.
fn real(root: &SysRoot, fstab: &[Entry]) -> BTreeMap<String, String> {
    let source = ContainerDir::new(root.path());
    let values = fstab
        .iter()
        .flat_map(Entry::options)
        .filter_map(|option| option.split_once('='));
    let paths = fstab
        .iter()
        .flat_map(|entry| [entry.fs_file.as_str(), entry.fs_spec.as_str()])
        .chain(values.map(|(_, value)| value))
        .filter(|path| path.starts_with('/') && !path.starts_with("//") && !path.starts_with("/dev/"));
    let leads = |path: &str| {
        let at = source.resolve(path).ok()?;
        Some(root.inside(&at).display().to_string())
    };
    paths
        .filter_map(|path| Some((path.to_owned(), leads(path)?)))
        .filter(|(path, to)| path != to)
        .collect()
}

/// From sysfs (losetup(8) reads it there too).
fn backing(root: &SysRoot) -> BTreeMap<String, String> {
    let devices = fs::read_dir(root.at("sys/block")).into_iter().flatten().flatten();
    let file = |entry: fs::DirEntry| {
        let file = fs::read_to_string(entry.path().join("loop/backing_file")).ok()?;
        let device = Path::new("/dev").join(entry.file_name());
        Some((
            device.display().to_string(),
            file.trim_end_matches('\n').to_owned(),
        ))
    };
    devices.filter_map(file).collect()
}

fn by_id(root: &SysRoot) -> BTreeMap<String, String> {
    let mut names = BTreeMap::new();
    for dir in [root.at(BY_ID), Path::new("/").join(BY_ID)] {
        let mut links: Vec<_> = fs::read_dir(&dir).into_iter().flatten().flatten().collect();
        links.sort_by_key(fs::DirEntry::file_name);
        for link in links {
            // Inside a directory a link may lead to nothing that is there.
            let to = fs::read_link(link.path()).unwrap_or_default();
            let node = Path::new("/dev").join(to.file_name().unwrap_or_default());
            let name = Path::new("/").join(BY_ID).join(link.file_name());
            names
                .entry(node.display().to_string())
                .or_insert_with(|| name.display().to_string());
        }
    }
    names
}

/// Of a header that cannot be read nothing is known: then a passphrase is all there is.
fn tokens(devices: &Devices) -> BTreeMap<String, Vec<String>> {
    let volumes = devices.all().filter(|device| device.fstype == "crypto_LUKS");
    volumes
        .filter_map(|device| {
            let dump = Cmd::new("cryptsetup")
                .args(["luksDump", &device.path])
                .limit(ASKING)
                .read()
                .ok()?;
            Some((device.uuid.clone(), crypttab::tokens(&dump)))
        })
        .collect()
}
