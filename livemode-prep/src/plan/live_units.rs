//! Which units run in the live system: those of one list, and nothing that packages have enabled for themselves. Pure.
use super::items::{Item, UNIT_DIR};
use super::storage::{Layer, Storage};

/// A preset goes before all others by its name (systemd.preset(5)).
const PRESET: &str = "/etc/systemd/system-preset/00-livemode.preset";
/// The targets that start services, listeners and timers; what the others want is systemd's own early work.
const TARGETS: [&str; 3] = ["multi-user.target", "sockets.target", "timers.target"];
/// What packages have wanted by those targets, and the live system needs: log-ins, the bus, the journal, udev. One that ends
/// in `*` stands for all that begin so: newer versions of systemd split such sockets.
const ALLOWED: [&str; 10] = [
    "dbus.service",
    "dbus.socket",
    "dbus-broker.service",
    "getty.target",
    "systemd-ask-password-*",
    "systemd-initctl.socket",
    "systemd-journald*",
    "systemd-logind*",
    "systemd-udevd*",
    "systemd-user-sessions.service",
];
/// Programs of packages that make units at boot, which the live system needs: those of its fstab, its log-ins, and the words
/// on its kernel's line that an admin may add. Others would start what is not ours: init scripts and rc.local of packages,
/// sshd on a virtual machine's socket, partitions by their types, a relabelling of SELinux's.
const GENERATORS: [&str; 3] = [
    "systemd-debug-generator",
    "systemd-fstab-generator",
    "systemd-getty-generator",
];
/// systemd's own early work that a system in RAM has no use for, which runs for one upgrade. What it would do is done at the
/// build, by the packages' own scripts (users, the caches of ld.so, hwdb and the journal's messages), or kept nowhere (the random
/// seed, wtmp), or serves programs that do not run here (foreign binaries, FUSE, tracing, huge pages). Each is a process or
/// two before the upgrade may start.
const NOT_NEEDED: [&str; 22] = [
    "dev-hugepages.mount",
    "dev-mqueue.mount",
    "ldconfig.service",
    "modprobe@configfs.service",
    "modprobe@drm.service",
    "modprobe@fuse.service",
    "proc-sys-fs-binfmt_misc.automount",
    "sys-fs-fuse-connections.mount",
    "sys-kernel-config.mount",
    "sys-kernel-debug.mount",
    "sys-kernel-tracing.mount",
    "systemd-binfmt.service",
    "systemd-hwdb-update.service",
    "systemd-journal-catalog-update.service",
    "systemd-journal-flush.service",
    "systemd-random-seed.service",
    "systemd-remount-fs.service",
    "systemd-repart.service",
    "systemd-sysusers.service",
    "systemd-update-done.service",
    "systemd-update-utmp-runlevel.service",
    "systemd-update-utmp.service",
];

/// What takes away all that packages have enabled. Stands before everything that starts a unit.
pub(crate) fn nothing_of_packages(storage: &Storage) -> [Item; 3] {
    [
        Item::Cleared,
        Item::Only {
            targets: &TARGETS,
            allowed: &ALLOWED,
        },
        Item::Generators {
            allowed: generators(storage),
        },
    ]
}

fn generators(storage: &Storage) -> Vec<&'static str> {
    let has = |layer: Layer| storage.layers().any(|of_storage| of_storage == layer);
    let opens_volumes = has(Layer::Luks) || !storage.live_volumes.is_empty();
    let of_storage = [
        opens_volumes.then_some("systemd-cryptsetup-generator"),
        has(Layer::Nfs).then_some("rpc-pipefs-generator"),
    ];
    GENERATORS
        .into_iter()
        .chain(of_storage.into_iter().flatten())
        .collect()
}

/// What of systemd's own cannot be started.
pub(crate) fn not_needed() -> [Item; 22] {
    NOT_NEEDED.map(|unit| Item::Masked { unit })
}

/// What a layer of the source's storage needs beside its service, where the container has it: LVM's monitoring, and what
/// Kerberos and locks of NFS need. rpc-statd and rpcbind are started by mount.nfs(8), for version 3 only.
pub(crate) fn of_storage(storage: &Storage) -> Vec<Item> {
    let units = |layer: Layer| -> &'static [(&'static str, &'static str)] {
        match layer {
            Layer::Lvm => &[
                ("dm-event.socket", "sockets.target"),
                ("lvm2-lvmpolld.socket", "sysinit.target"),
                ("lvm2-monitor.service", "sysinit.target"),
            ],
            Layer::Nfs => &[("nfs-client.target", "remote-fs.target")],
            _ => &[],
        }
    };
    let units = storage.layers().flat_map(units);
    units.map(|&(unit, by)| Item::Offered { unit, by }).collect()
}

/// systemd applies presets where it takes a boot for the first one: then too nothing but `items` starts.
pub(crate) fn preset(items: &[Item]) -> Item {
    let mut lines = String::from("# What the live system starts, and nothing else.\n");
    for item in items {
        match item {
            Item::Started { units, .. } => units
                .iter()
                .for_each(|unit| lines.push_str(&format!("enable {unit}\n"))),
            Item::Offered { unit, .. } => lines.push_str(&format!("enable {unit}\n")),
            Item::Link { path, .. } => {
                let below = path
                    .strip_prefix(UNIT_DIR)
                    .and_then(|path| path.split_once(".wants/"));
                if let Some((_, unit)) = below {
                    lines.push_str(&preset_line(unit));
                }
            }
            _ => {}
        }
    }
    lines.push_str("disable *\n");
    Item::file(PRESET, lines, 0o644)
}

/// An instance of a template stands behind the template's name.
fn preset_line(unit: &str) -> String {
    match unit
        .split_once('@')
        .and_then(|(name, rest)| Some((name, rest.rsplit_once('.')?)))
    {
        Some((name, (instance, kind))) => format!("enable {name}@.{kind} {instance}\n"),
        None => format!("enable {unit}\n"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::items::Content;

    #[test]
    fn the_preset_enables_what_is_started_and_nothing_else() {
        let link = |path: &str| Item::Link {
            path: path.into(),
            to: "x".into(),
        };
        let preset = preset(&[
            Item::started("a.service", "b.target"),
            Item::Started {
                units: vec!["sshd.service".into(), "ssh.service".into()],
                by: "b.target",
            },
            Item::Offered {
                unit: "c.socket",
                by: "sockets.target",
            },
            link("/etc/systemd/system/getty.target.wants/getty@tty2.service"),
            link("/etc/systemd/system/default.target"),
            link("/sysroot"),
            Item::Masked { unit: "d.service" },
        ]);
        let Item::File {
            content: Content::Text(text),
            path,
            ..
        } = preset
        else {
            panic!("{preset:?}")
        };
        assert_eq!(path, "/etc/systemd/system-preset/00-livemode.preset");
        assert_eq!(
            String::from_utf8(text).unwrap(),
            "# What the live system starts, and nothing else.\nenable a.service\nenable sshd.service\nenable ssh.service\n\
             enable c.socket\nenable getty@.service tty2\ndisable *\n"
        );
    }

    #[test]
    fn only_generators_that_the_storage_needs_run() {
        let line = |layers: &[Layer]| {
            let mut storage = Storage::default();
            storage.source.layers.extend(layers);
            let [_, _, generators] = nothing_of_packages(&storage);
            generators.to_string()
        };
        let plain =
            "masked     all generators of units, but systemd-debug-generator, systemd-fstab-generator, \
                     systemd-getty-generator";
        assert_eq!(line(&[Layer::Lvm]), plain);
        assert_eq!(line(&[Layer::Nfs]), format!("{plain}, rpc-pipefs-generator"));
        assert_eq!(
            line(&[Layer::Luks]),
            format!("{plain}, systemd-cryptsetup-generator")
        );
    }

    #[test]
    fn a_layer_of_storage_has_its_units_where_the_container_has_them() {
        let units = |layers: &[Layer]| -> Vec<String> {
            let mut storage = Storage::default();
            storage.source.layers.extend(layers);
            of_storage(&storage).iter().map(Item::to_string).collect()
        };
        assert_eq!(
            units(&[Layer::Nfs, Layer::Lvm, Layer::Md]),
            [
                "started    dm-event.socket by sockets.target, if it is there",
                "started    lvm2-lvmpolld.socket by sysinit.target, if it is there",
                "started    lvm2-monitor.service by sysinit.target, if it is there",
                "started    nfs-client.target by remote-fs.target, if it is there",
            ]
        );
        assert_eq!(units(&[Layer::Md, Layer::Luks, Layer::Cifs]), [""; 0]);
    }
}
