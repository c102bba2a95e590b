//! Block devices and what they stand on, as `lsblk --json` tells. Pure.
use std::collections::BTreeMap;

use anyhow::{Context, Result};
use livemode_common::cmd::Cmd;
use serde::{Deserialize, Serialize};

/// What is read of each device; el8's lsblk (util-linux 2.32) knows all of it.
const COLUMNS: &str = "NAME,KNAME,TYPE,FSTYPE,UUID,LABEL,PARTUUID,PARTLABEL,TRAN";

/// The call whose output [`Devices::parse`] reads.
pub(crate) fn lsblk() -> Cmd {
    Cmd::new("lsblk").args(["--json", "--paths", "--output", COLUMNS])
}

/// One block device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct BlockDevice {
    /// As mount(8) shows it: `/dev/mapper/cs-root`, `/dev/md127`.
    pub(crate) path: String,
    /// The kernel's own name of it: `/dev/dm-0`.
    kernel_path: String,
    /// lsblk's TYPE: disk, part, lvm, crypt, raid1, mpath, loop, …
    pub(crate) kind: String,
    pub(crate) fstype: String,
    pub(crate) uuid: String,
    label: String,
    partition_uuid: String,
    partition_label: String,
    /// iscsi, nvme, sata, usb, …
    pub(crate) transport: String,
    /// Those it stands on.
    pub(crate) parents: Vec<usize>,
}

/// All of them; a device is named by its place.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Devices(Vec<BlockDevice>);

#[derive(Deserialize)]
struct Listing {
    blockdevices: Vec<Node>,
}

#[derive(Deserialize)]
struct Node {
    name: String,
    #[serde(default)]
    children: Vec<Node>,
    #[serde(flatten)]
    columns: BTreeMap<String, serde_json::Value>,
}

impl Devices {
    /// # Errors
    /// When the text is not what lsblk writes.
    pub(crate) fn parse(json: &str) -> Result<Self> {
        let listing: Listing = serde_json::from_str(json).context("reading what lsblk says")?;
        let mut devices = Self::default();
        listing
            .blockdevices
            .iter()
            .for_each(|node| devices.add(node, None));
        Ok(devices)
    }

    /// A device that stands on several is listed below each.
    fn add(&mut self, node: &Node, parent: Option<usize>) {
        let index = self
            .0
            .iter()
            .position(|known| known.path == node.name)
            .unwrap_or_else(|| {
                let column = |name: &str| {
                    let value = node.columns.get(name).and_then(serde_json::Value::as_str);
                    value.unwrap_or_default().to_owned()
                };
                self.0.push(BlockDevice {
                    path: node.name.clone(),
                    kernel_path: column("kname"),
                    kind: column("type"),
                    fstype: column("fstype"),
                    uuid: column("uuid"),
                    label: column("label"),
                    partition_uuid: column("partuuid"),
                    partition_label: column("partlabel"),
                    transport: column("tran"),
                    parents: Vec::new(),
                });
                self.0.len() - 1
            });
        self.0[index].parents.extend(parent);
        self.0[index].parents.dedup();
        node.children
            .iter()
            .for_each(|child| self.add(child, Some(index)));
    }

    pub(crate) fn get(&self, index: usize) -> &BlockDevice {
        &self.0[index]
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = &BlockDevice> {
        self.0.iter()
    }

    /// The device of a path; `/dev/VG/LV` is another name of `/dev/mapper/VG-LV`.
    pub(crate) fn at(&self, path: &str) -> Option<usize> {
        let mapped = logical_volume(path);
        self.0.iter().position(|device| {
            device.path == path || device.kernel_path == path || mapped.as_ref() == Some(&device.path)
        })
    }

    /// The devices that fstab(5)'s first field may mean. Of layers that show one superblock, the uppermost only: what
    /// lies below is a member of it. More than one is ambiguous.
    pub(crate) fn named(&self, spec: &str) -> Vec<usize> {
        let (key, value) = spec.split_once('=').unwrap_or(("", spec));
        let value = unquoted(value);
        let field: fn(&BlockDevice) -> &str = match key {
            "UUID" => |device| &device.uuid,
            "LABEL" => |device| &device.label,
            "PARTUUID" => |device| &device.partition_uuid,
            "PARTLABEL" => |device| &device.partition_label,
            _ => return self.at(spec).into_iter().collect(),
        };
        let is_part = key.starts_with("PART");
        let fitting = |fits: &dyn Fn(&str) -> bool| -> Vec<usize> {
            let is_it = |device: &BlockDevice| fits(field(device)) && (is_part || !device.is_member());
            (0..self.0.len()).filter(|&index| is_it(&self.0[index])).collect()
        };
        // Two labels may differ in the case of their letters alone.
        let mut found = fitting(&|is| is == value);
        if found.is_empty() {
            found = fitting(&|is| is.eq_ignore_ascii_case(value));
        }
        let is_below = |lower: usize| {
            found
                .iter()
                .any(|&upper| upper != lower && self.below(upper).contains(&lower))
        };
        found
            .iter()
            .copied()
            .filter(|&index| is_part || !is_below(index))
            .collect()
    }

    /// A `KEY=VALUE` of fstab(5) as udev writes it for its links: without quotes, in the device's own letters.
    pub(crate) fn tag(&self, spec: &str, index: usize) -> Option<String> {
        let device = &self.0[index];
        let (key, _) = spec.split_once('=')?;
        let value = match key {
            "UUID" => &device.uuid,
            "LABEL" => &device.label,
            "PARTUUID" => &device.partition_uuid,
            "PARTLABEL" => &device.partition_label,
            _ => return None,
        };
        Some(format!("{key}={value}"))
    }

    /// Whether a path is the name that the kernel gives the device, or the device mapper's.
    pub(crate) fn is_kernel_name(&self, path: &str, index: usize) -> bool {
        self.at(path) == Some(index)
    }

    /// Whether another device than this shows the same UUID and is no layer of it.
    pub(crate) fn is_ambiguous(&self, index: usize) -> bool {
        let uuid = &self.0[index].uuid;
        !uuid.is_empty()
            && !self.0[index].is_btrfs()
            && self
                .named(&format!("UUID={uuid}"))
                .iter()
                .any(|&other| other != index)
    }

    /// The PARTUUID of a device, where no other has it.
    pub(crate) fn only_partition_uuid(&self, index: usize) -> Option<&str> {
        let uuid = self.0[index].partition_uuid.as_str();
        let same = self
            .0
            .iter()
            .filter(|device| device.partition_uuid == uuid)
            .count();
        (!uuid.is_empty() && same == 1).then_some(uuid)
    }

    /// The device and all that it stands on, from above, each once.
    pub(crate) fn below(&self, index: usize) -> Vec<usize> {
        let mut all = vec![index];
        let mut next = 0;
        while next < all.len() {
            for &parent in &self.0[all[next]].parents {
                if !all.contains(&parent) {
                    all.push(parent);
                }
            }
            next += 1;
        }
        all
    }

    /// The paths of the disks that it stands on.
    pub(crate) fn disks_below(&self, index: usize) -> impl Iterator<Item = String> + '_ {
        let below = self.below(index).into_iter().map(|below| self.get(below));
        below
            .filter(|device| device.kind == "disk")
            .map(|disk| disk.path.clone())
    }
}

impl BlockDevice {
    /// Each device of such a file system has its UUID; a copy is not told from a member, and the kernel mounts it neither.
    pub(crate) fn is_btrfs(&self) -> bool {
        self.fstype == "btrfs"
    }

    /// Part of an array, a volume group or a path to a disk: its content is that of the device above.
    fn is_member(&self) -> bool {
        self.fstype.ends_with("_member")
    }
}

/// Whether the live system's own udev rules give a name, whatever the source's rules say.
pub(crate) fn is_udevs(path: &str) -> bool {
    const DIRS: [&str; 5] = [
        "/dev/disk/by-id/",
        "/dev/disk/by-path/",
        "/dev/disk/by-diskseq/",
        "/dev/mapper/",
        "/dev/md/",
    ];
    is_lasting(path) || DIRS.iter().any(|dir| path.starts_with(dir))
}

/// Whether a name is of what is on the device itself: neither of the order in which it was found, nor of where it is plugged in,
/// nor one that other versions of the rules may write in another way.
pub(crate) fn is_lasting(path: &str) -> bool {
    const DIRS: [&str; 4] = ["uuid", "label", "partuuid", "partlabel"];
    let dir = path
        .strip_prefix("/dev/disk/by-")
        .and_then(|rest| rest.split_once('/'));
    path.contains('=') || dir.is_some_and(|(dir, _)| DIRS.contains(&dir))
}

/// The name of a device that is not there, without quotes; udev writes PARTUUID in small letters.
pub(crate) fn plain(spec: &str) -> String {
    match spec.split_once('=') {
        Some(("PARTUUID", value)) => format!("PARTUUID={}", unquoted(value).to_ascii_lowercase()),
        Some((key @ ("UUID" | "LABEL" | "PARTLABEL"), value)) => format!("{key}={}", unquoted(value)),
        _ => spec.to_owned(),
    }
}

/// util-linux and systemd take a pair of quotes of either kind off the value.
fn unquoted(value: &str) -> &str {
    let off = |quote: char| value.strip_prefix(quote)?.strip_suffix(quote);
    off('"').or_else(|| off('\'')).unwrap_or(value)
}

/// `/dev/mapper/VG-LV` for `/dev/VG/LV`; a hyphen within a name is doubled there (dm(7), lvm(8)).
fn logical_volume(path: &str) -> Option<String> {
    let (group, volume) = path.strip_prefix("/dev/")?.split_once('/')?;
    let double = |name: &str| name.replace('-', "--");
    (!["mapper", "disk", "md"].contains(&group) && !volume.contains('/'))
        .then(|| format!("/dev/mapper/{}-{}", double(group), double(volume)))
}

/// The volume group of `/dev/mapper/VG-LV`.
pub(crate) fn volume_group(path: &str) -> Option<String> {
    let name = path.strip_prefix("/dev/mapper/")?;
    let bytes = name.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        match (bytes[at], bytes.get(at + 1)) {
            (b'-', Some(b'-')) => at += 2,
            (b'-', _) => return Some(name[..at].replace("--", "-")),
            _ => at += 1,
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_logical_volumes_are_taken_apart_and_put_together() {
        assert_eq!(
            logical_volume("/dev/my-vg/root").unwrap(),
            "/dev/mapper/my--vg-root"
        );
        assert_eq!(volume_group("/dev/mapper/my--vg-lv--a").unwrap(), "my-vg");
        assert_eq!(logical_volume("/dev/mapper/x"), None);
        assert_eq!(volume_group("/dev/mapper/luks"), None);
    }

    #[test]
    fn of_layers_with_one_superblock_the_uppermost_is_meant() {
        // A disk by two paths, seen before udev has marked them (lsblk 2.38): all three show the file system.
        let devices = Devices::parse(
            r#"{"blockdevices": [
                {"name": "/dev/sda", "kname": "/dev/sda", "type": "disk", "fstype": "ext4", "uuid": "a", "children": [
                    {"name": "/dev/mapper/mpatha", "kname": "/dev/dm-0", "type": "mpath", "fstype": "ext4", "uuid": "a"}]},
                {"name": "/dev/sdb", "kname": "/dev/sdb", "type": "disk", "fstype": "ext4", "uuid": "a", "children": [
                    {"name": "/dev/mapper/mpatha", "kname": "/dev/dm-0", "type": "mpath", "fstype": "ext4", "uuid": "a"}]},
                {"name": "/dev/sdc", "kname": "/dev/sdc", "type": "disk", "fstype": "ext4", "uuid": "b"},
                {"name": "/dev/sdd", "kname": "/dev/sdd", "type": "disk", "fstype": "ext4", "uuid": "b"}
            ]}"#,
        )
        .unwrap();
        let named = |spec: &str| -> Vec<&str> {
            devices
                .named(spec)
                .into_iter()
                .map(|index| devices.get(index).path.as_str())
                .collect()
        };
        assert_eq!(named("UUID=a"), ["/dev/mapper/mpatha"]);
        assert_eq!(named("UUID=b"), ["/dev/sdc", "/dev/sdd"]);
        assert_eq!(named("/dev/dm-0"), ["/dev/mapper/mpatha"]);
        let below: Vec<&str> = devices
            .below(devices.at("/dev/dm-0").unwrap())
            .into_iter()
            .map(|i| devices.get(i).path.as_str())
            .collect();
        assert_eq!(below, ["/dev/mapper/mpatha", "/dev/sda", "/dev/sdb"]);
    }

    #[test]
    fn devices_are_found_by_each_of_their_names_and_told_from_members_and_copies() {
        let devices = Devices::parse(
            r#"{"blockdevices": [
                {"name": "/dev/sda", "kname": "/dev/sda", "type": "disk", "tran": "sata", "children": [
                    {"name": "/dev/sda1", "kname": "/dev/sda1", "type": "part", "fstype": "linux_raid_member", "uuid": "m",
                     "partuuid": "p-1", "partlabel": "raid", "children": [
                        {"name": "/dev/md127", "kname": "/dev/md127", "type": "raid1", "fstype": "LVM2_member", "uuid": "v",
                         "children": [{"name": "/dev/mapper/my--vg-root", "kname": "/dev/dm-1", "type": "lvm",
                         "fstype": "xfs", "uuid": "F", "label": "Root"}]}]},
                    {"name": "/dev/sda2", "kname": "/dev/sda2", "type": "part", "fstype": "btrfs", "uuid": "b",
                     "partuuid": "p-2"}]},
                {"name": "/dev/sdb", "kname": "/dev/sdb", "type": "disk", "children": [
                    {"name": "/dev/sdb1", "kname": "/dev/sdb1", "type": "part", "fstype": "btrfs", "uuid": "b",
                     "partuuid": "p-2"},
                    {"name": "/dev/sdb2", "kname": "/dev/sdb2", "type": "part", "fstype": "ext4", "uuid": "c"},
                    {"name": "/dev/sdb3", "kname": "/dev/sdb3", "type": "part", "fstype": "ext4", "uuid": "c"}]}
            ]}"#,
        )
        .unwrap();
        let paths = |indices: Vec<usize>| -> Vec<&str> {
            indices
                .into_iter()
                .map(|index| devices.get(index).path.as_str())
                .collect()
        };
        for (spec, found) in [
            ("UUID=f", vec!["/dev/mapper/my--vg-root"]),
            ("UUID=\"F\"", vec!["/dev/mapper/my--vg-root"]),
            ("LABEL=Root", vec!["/dev/mapper/my--vg-root"]),
            ("/dev/my-vg/root", vec!["/dev/mapper/my--vg-root"]),
            ("PARTUUID=p-1", vec!["/dev/sda1"]),
            ("PARTUUID=p-2", vec!["/dev/sda2", "/dev/sdb1"]),
            ("PARTLABEL=raid", vec!["/dev/sda1"]),
            ("UUID=m", vec![]),
            ("UUID=gone", vec![]),
            ("/dev/gone", vec![]),
        ] {
            assert_eq!(paths(devices.named(spec)), found, "{spec}");
        }
        let at = |path: &str| devices.at(path).unwrap();
        assert_eq!(
            paths(devices.below(at("/dev/dm-1"))),
            ["/dev/mapper/my--vg-root", "/dev/md127", "/dev/sda1", "/dev/sda"]
        );
        // Several devices of one btrfs have one UUID; two ext4 have not, and no UUID is none.
        for (path, is_ambiguous) in [
            ("/dev/sda2", false),
            ("/dev/sdb2", true),
            ("/dev/dm-1", false),
            ("/dev/sdb", false),
        ] {
            assert_eq!(devices.is_ambiguous(at(path)), is_ambiguous, "{path}");
        }
        for (path, uuid) in [
            ("/dev/sda1", Some("p-1")),
            ("/dev/sda2", None),
            ("/dev/dm-1", None),
        ] {
            assert_eq!(devices.only_partition_uuid(at(path)), uuid, "{path}");
        }
        assert_eq!(devices.get(at("/dev/sda")).transport, "sata");
        assert_eq!(devices.all().count(), 9);
    }

    #[test]
    fn paths_that_are_no_logical_volumes_have_no_other_name() {
        for path in [
            "/dev/md/root",
            "/dev/disk/by-uuid",
            "/dev/a/b/c",
            "/dev/sda",
            "/srv/a/b",
        ] {
            assert_eq!(logical_volume(path), None, "{path}");
        }
        assert_eq!(volume_group("/dev/vg/lv"), None);
        assert_eq!(volume_group("/dev/mapper/vg-lv").unwrap(), "vg");
        assert_eq!(volume_group("/dev/mapper/a--b--c-lv").unwrap(), "a-b-c");
    }
}
