//! What must be there for a device to appear. Pure.
use std::collections::BTreeSet;

use livemode_common::cmdline::Word;

use crate::facts::storage::devices::{volume_group, Devices};

/// A layer below a file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Layer {
    Lvm,
    Md,
    Luks,
    Multipath,
    Iscsi,
    Nfs,
    Cifs,
}

impl Layer {
    pub(crate) const ALL: [Self; 7] = [
        Self::Lvm,
        Self::Md,
        Self::Luks,
        Self::Multipath,
        Self::Iscsi,
        Self::Nfs,
        Self::Cifs,
    ];

    /// The package of the target that brings its programs, by its name on el8 to el10.
    pub(crate) fn package(self) -> Option<&'static str> {
        Some(match self {
            Self::Lvm => "lvm2",
            Self::Md => "mdadm",
            Self::Luks => "cryptsetup",
            Self::Multipath => "device-mapper-multipath",
            Self::Iscsi => "iscsi-initiator-utils",
            Self::Nfs => "nfs-utils",
            Self::Cifs => "cifs-utils",
        })
    }

    /// dracut's module for it.
    pub(crate) fn dracut_module(self) -> Option<&'static str> {
        match self {
            Self::Lvm => Some("lvm"),
            Self::Md => Some("mdraid"),
            Self::Luks => Some("crypt"),
            Self::Multipath => Some("multipath"),
            Self::Iscsi => Some("iscsi"),
            Self::Nfs | Self::Cifs => None,
        }
    }

    /// The kernel's modules for it, where they are modules.
    pub(crate) fn kernel_modules(self) -> &'static [&'static str] {
        match self {
            Self::Lvm => &[
                "dm-mod",
                "dm-snapshot",
                "dm-thin-pool",
                "dm-raid",
                "dm-mirror",
                "dm-cache",
            ],
            Self::Md => &["raid0", "raid1", "raid10", "raid456", "linear"],
            Self::Luks => &["dm-crypt"],
            Self::Multipath => &["dm-multipath", "dm-round-robin", "dm-service-time"],
            Self::Iscsi => &["iscsi_tcp"],
            Self::Nfs | Self::Cifs => &[],
        }
    }

    /// Its configuration on the source, which the live system needs too: files, and directories with all below.
    pub(crate) fn configuration(self) -> &'static [&'static str] {
        match self {
            Self::Lvm => &["/etc/lvm/lvm.conf", "/etc/lvm/lvmlocal.conf", "/etc/lvm/devices"],
            Self::Md => &["/etc/mdadm.conf", "/etc/mdadm.conf.d", "/etc/mdadm/mdadm.conf"],
            Self::Luks => &[],
            Self::Multipath => &["/etc/multipath.conf", "/etc/multipath"],
            Self::Iscsi => &["/etc/iscsi", "/var/lib/iscsi"],
            Self::Nfs => &[
                "/etc/nfs.conf",
                "/etc/nfsmount.conf",
                "/etc/idmapd.conf",
                "/etc/krb5.conf",
                "/etc/krb5.keytab",
            ],
            Self::Cifs => &["/etc/request-key.d", "/etc/krb5.conf", "/etc/krb5.keytab"],
        }
    }

    /// What of it early boot cannot do without. Not LVM's list of devices nor mdadm.conf: the arguments name group and
    /// array, and such a list would hide what has another name by then.
    pub(crate) fn early_configuration(self) -> &'static [&'static str] {
        match self {
            Self::Lvm => &["/etc/lvm/lvm.conf", "/etc/lvm/lvmlocal.conf"],
            Self::Multipath | Self::Iscsi => self.configuration(),
            Self::Md | Self::Luks | Self::Nfs | Self::Cifs => &[],
        }
    }

    /// The service of the live system that brings it up, where udev does not; Debian's name after el's.
    pub(crate) fn services(self) -> &'static [&'static str] {
        match self {
            Self::Multipath => &["multipathd.service"],
            Self::Iscsi => &["iscsi.service", "open-iscsi.service"],
            Self::Lvm | Self::Md | Self::Luks | Self::Nfs | Self::Cifs => &[],
        }
    }
}

/// lsblk's TYPE of devices that hold data themselves or that a rule brings up; RAID levels begin with `raid`.
const KINDS: [&str; 9] = [
    "disk", "part", "rom", "loop", "lvm", "crypt", "mpath", "md", "linear",
];
/// How the kernel names disks that its drivers bring up by themselves (Documentation/admin-guide/devices.txt). Others wait for
/// somebody: drbd, rbd, nbd, zvols, zram, bcache, the pseudo devices of multipath drivers such as emcpower.
const DISKS: [&str; 14] = [
    "sd", "hd", "vd", "xvd", "nvme", "mmcblk", "dasd", "pmem", "scm", "cciss/", "ida/", "rssd", "sr", "fd",
];
/// What may lie on a device below another: a member of a layer that has a rule. mdadm(8) brings up the two of firmware.
const MEMBERS: [&str; 7] = [
    "",
    "LVM2_member",
    "crypto_LUKS",
    "linux_raid_member",
    "isw_raid_member",
    "ddf_raid_member",
    "mpath_member",
];
/// How LVM names what its volumes are made of, where the live system cannot bring the volume up: VDO's and
/// dm-writecache's, dm-integrity's. Thin pools, caches, mirrors and RAID need what `Layer::Lvm` has.
const NOT_OF_LVM: [(&str, &str); 5] = [
    ("_vdata", "VDO"),
    ("-vpool", "VDO"),
    ("_wcorig", "writecache"),
    ("_imeta", "integrity"),
    ("_iorig", "integrity"),
];

/// Whether every layer below a device has a rule.
///
/// # Errors
/// The sentence that names the one that has not.
pub(crate) fn understood(devices: &Devices, index: usize) -> Result<(), String> {
    let top = devices.get(index);
    let why = |path: &str, what: &str| {
        Err(format!(
            "it lies on {path} ({what}), which the live system cannot bring up; unmount it and take its line out of \
             /etc/fstab, or add nofail"
        ))
    };
    for below in devices.below(index) {
        let device = devices.get(below);
        let kind = device.kind.as_str();
        if !KINDS.contains(&kind) && !kind.starts_with("raid") {
            return why(&device.path, kind);
        }
        let lvm = NOT_OF_LVM
            .iter()
            .find(|(end, _)| kind == "lvm" && device.path.ends_with(end));
        if let Some((_, what)) = lvm {
            return why(&device.path, &format!("LVM {what}"));
        }
        // Layers without a superblock of their own show that of the device above.
        let fstype = device.fstype.as_str();
        if below != index && !MEMBERS.contains(&fstype) && fstype != top.fstype {
            return why(&device.path, fstype);
        }
    }
    for below in devices.below(index) {
        let device = devices.get(below);
        let is_on = |kinds: &[&str]| {
            let lower = device
                .parents
                .iter()
                .map(|&lower| devices.get(lower).kind.as_str());
            lower.into_iter().any(|kind| kinds.contains(&kind))
        };
        match device.kind.as_str() {
            "disk" if !is_brought_up(&device.path) => {
                return why(&device.path, "no disk that the kernel brings up by itself");
            }
            "loop" => {
                return why(
                    &device.path,
                    "a file, which something of this system makes a device of",
                );
            }
            "part" if is_on(&["lvm", "crypt", "dm"]) => {
                return why(&device.path, "a partition within a volume, by kpartx");
            }
            _ if device.transport == "fcoe" => return why(&device.path, "FCoE"),
            _ => {}
        }
    }
    Ok(())
}

fn is_brought_up(path: &str) -> bool {
    let name = path.strip_prefix("/dev/").unwrap_or(path);
    DISKS.iter().any(|disk| {
        let rest = name.strip_prefix(disk);
        rest.is_some_and(|rest| {
            let of_kernel = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
            !rest.is_empty() && rest.chars().all(of_kernel)
        })
    })
}

/// What one or more devices stand on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Needs {
    pub(crate) layers: BTreeSet<Layer>,
    /// Paths of the disks.
    pub(crate) disks: BTreeSet<String>,
    /// UUIDs of LUKS volumes, in lower case; one whose header lies elsewhere has none.
    pub(crate) volumes: BTreeSet<String>,
    /// Paths of the devices that are encrypted.
    pub(crate) encrypted: BTreeSet<String>,
    /// Whether early boot must find the encrypted volumes by its crypttab: one has no UUID.
    pub(crate) by_crypttab_alone: bool,
    /// UUIDs of MD arrays, as mdadm(8) writes them.
    arrays: BTreeSet<String>,
    /// LVM's volume groups.
    groups: BTreeSet<String>,
}

impl Needs {
    /// Adds what a device stands on.
    pub(crate) fn add(&mut self, devices: &Devices, index: usize) {
        self.disks.extend(devices.disks_below(index));
        for index in devices.below(index) {
            let device = devices.get(index);
            let uuids = device
                .parents
                .iter()
                .map(|&lower| devices.get(lower).uuid.as_str());
            match device.kind.as_str() {
                "lvm" => {
                    self.layers.insert(Layer::Lvm);
                    self.groups.extend(volume_group(&device.path));
                }
                "crypt" => {
                    self.layers.insert(Layer::Luks);
                    let uuids = uuids.filter(|uuid| !uuid.is_empty());
                    self.volumes.extend(uuids.map(str::to_ascii_lowercase));
                    let on = device
                        .parents
                        .iter()
                        .map(|&lower| devices.get(lower).path.clone());
                    self.encrypted.extend(on);
                }
                "mpath" => {
                    self.layers.insert(Layer::Multipath);
                }
                kind if kind.starts_with("raid") || kind == "md" || kind == "linear" => {
                    self.layers.insert(Layer::Md);
                    self.arrays.extend(uuids.filter_map(array_uuid));
                }
                _ => {}
            }
            if device.transport == "iscsi" {
                self.layers.insert(Layer::Iscsi);
            }
        }
    }

    /// What dracut is to bring up (dracut.cmdline(7)): without these words it leaves LVM and MD alone. rd.auto would do
    /// too, and would ask for every passphrase there is.
    pub(crate) fn arguments(&self) -> Vec<Word> {
        let none = BTreeSet::new();
        let words = |key: &'static str, values: &BTreeSet<String>| {
            values
                .iter()
                .map(|value| Word::pair(key, value))
                .collect::<Vec<_>>()
        };
        [
            words("rd.md.uuid", &self.arrays),
            words(
                "rd.luks.uuid",
                if self.by_crypttab_alone {
                    &none
                } else {
                    &self.volumes
                },
            ),
            words("rd.lvm.vg", &self.groups),
        ]
        .concat()
    }

    /// Words of the source's that would hide volumes of the crypttab.
    pub(crate) fn hidden_by(&self) -> &'static [&'static str] {
        if self.by_crypttab_alone {
            &[
                "rd.luks.uuid",
                "rd.luks.name",
                "luks.uuid",
                "luks.name",
                "rd.luks.partuuid",
                "rd.luks.serial",
            ]
        } else {
            &[]
        }
    }

    /// Words of the source's that would keep dracut from it: their value 0 turns a layer off.
    pub(crate) fn hindered_by(&self) -> Vec<&'static str> {
        let words = self.layers.iter().flat_map(|layer| match layer {
            Layer::Lvm => &["rd.lvm", "rd.dm"][..],
            Layer::Md => &["rd.md", "rd.md.conf", "rd.md.imsm", "rd.md.ddf"],
            Layer::Luks => &["rd.luks", "rd.luks.crypttab", "rd.dm"],
            Layer::Multipath => &["rd.multipath", "multipath"],
            Layer::Iscsi | Layer::Nfs | Layer::Cifs => &[],
        });
        words.copied().collect()
    }
}

/// blkid's `01234567-89ab-…` as mdadm's `01234567:89abcdef:…`.
fn array_uuid(uuid: &str) -> Option<String> {
    let digits: String = uuid.chars().filter(char::is_ascii_hexdigit).collect();
    let part = |n: usize| digits.get(8 * n..8 * n + 8);
    (digits.len() == 32).then(|| Some(format!("{}:{}:{}:{}", part(0)?, part(1)?, part(2)?, part(3)?)))?
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::files::is_looked_at;

    #[test]
    fn all_that_a_layer_carries_is_looked_at() {
        for layer in Layer::ALL {
            let early = layer.early_configuration();
            for path in layer.configuration().iter().chain(early) {
                assert!(is_looked_at(path), "{path}");
            }
        }
    }

    /// A device of a kind on one that shows a type of file system, on a disk.
    fn devices(top: (&str, &str, &str), member: (&str, &str)) -> Devices {
        let (path, kind, fstype) = top;
        Devices::parse(&format!(
            r#"{{"blockdevices": [{{"name": "/dev/sda", "kname": "/dev/sda", "type": "disk", "tran": "iscsi", "children": [
                {{"name": "/dev/sda1", "kname": "/dev/sda1", "type": "{}", "fstype": "{}",
                  "uuid": "8D7F6B3C-1a2b-3c4d-5e6f-708192a3b4c5", "children": [
                {{"name": "{path}", "kname": "/dev/dm-0", "type": "{kind}", "fstype": "{fstype}"}}]}}]}}]}}"#,
            member.0, member.1
        ))
        .unwrap()
    }

    #[test]
    fn each_layer_is_known_by_what_lsblk_says() {
        const UUID: &str = "8d7f6b3c-1a2b-3c4d-5e6f-708192a3b4c5";
        let array = "rd.md.uuid=8D7F6B3C:1a2b3c4d:5e6f7081:92a3b4c5";
        for (kind, layer, words) in [
            ("part", None, String::new()),
            ("lvm", Some(Layer::Lvm), "rd.lvm.vg=vg".into()),
            ("crypt", Some(Layer::Luks), format!("rd.luks.uuid={UUID}")),
            ("mpath", Some(Layer::Multipath), String::new()),
            ("raid5", Some(Layer::Md), array.into()),
            ("md", Some(Layer::Md), array.into()),
            ("linear", Some(Layer::Md), array.into()),
        ] {
            let devices = devices(("/dev/mapper/vg-lv", kind, "xfs"), ("part", ""));
            let mut needs = Needs::default();
            needs.add(&devices, devices.at("/dev/dm-0").unwrap());
            let layers: BTreeSet<Layer> = layer.into_iter().chain([Layer::Iscsi]).collect();
            assert_eq!(needs.layers, layers, "{kind}");
            let found: Vec<String> = needs.arguments().iter().map(ToString::to_string).collect();
            assert_eq!(found.join(" "), words, "{kind}");
        }
    }

    #[test]
    fn what_the_live_system_cannot_bring_up_is_named() {
        let lv = ("/dev/mapper/vg-lv", "lvm", "xfs");
        for (top, member, why) in [
            (lv, ("part", "LVM2_member"), None),
            (lv, ("raid6", ""), None),
            // Without a superblock of its own it shows that of the device above.
            (lv, ("part", "xfs"), None),
            (lv, ("part", "ext4"), Some("/dev/sda1 (ext4)")),
            (lv, ("part", "bcache"), Some("/dev/sda1 (bcache)")),
            (lv, ("bcache", ""), Some("/dev/sda1 (bcache)")),
            (("/dev/x", "dmraid", "xfs"), ("part", ""), Some("/dev/x (dmraid)")),
            (
                ("/dev/mapper/vg-a_vdata", "lvm", "xfs"),
                ("part", ""),
                Some("/dev/mapper/vg-a_vdata (LVM VDO)"),
            ),
            (
                ("/dev/mapper/vg-a_imeta", "lvm", "xfs"),
                ("part", ""),
                Some("/dev/mapper/vg-a_imeta (LVM integrity)"),
            ),
            (("/dev/mapper/vg-a_vdata", "crypt", "xfs"), ("part", ""), None),
        ] {
            let devices = devices(top, member);
            let judged = understood(&devices, devices.at("/dev/dm-0").unwrap());
            let told = why.map(|why| {
                format!(
                    "it lies on {why}, which the live system cannot bring up; unmount it and take its line out of \
                     /etc/fstab, or add nofail"
                )
            });
            assert_eq!(judged.err(), told, "{top:?} {member:?}");
        }
    }

    #[test]
    fn words_that_turn_a_layer_off_are_those_of_the_layers_that_are_needed() {
        let hindered_by = |layers: &[Layer]| {
            let needs = Needs {
                layers: layers.iter().copied().collect(),
                ..Needs::default()
            };
            needs.hindered_by().join(" ")
        };
        assert_eq!(hindered_by(&[Layer::Lvm]), "rd.lvm rd.dm");
        assert_eq!(hindered_by(&[Layer::Md]), "rd.md rd.md.conf rd.md.imsm rd.md.ddf");
        assert_eq!(
            hindered_by(&[Layer::Luks, Layer::Multipath]),
            "rd.luks rd.luks.crypttab rd.dm rd.multipath multipath"
        );
        assert_eq!(hindered_by(&[Layer::Iscsi, Layer::Nfs, Layer::Cifs]), "");
    }

    #[test]
    fn an_arrays_uuid_is_written_as_mdadm_does() {
        assert_eq!(
            array_uuid("8d7f6b3c-1a2b-3c4d-5e6f-708192a3b4c5").unwrap(),
            "8d7f6b3c:1a2b3c4d:5e6f7081:92a3b4c5"
        );
        assert_eq!(array_uuid(""), None);
    }
}
