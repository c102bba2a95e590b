//! Which units an image starts that has shares by NFS and disks by iSCSI and multipath: those that mounts need, and no other that
//! the packages bring; also where systemd takes the boot for the first one and applies presets.
use std::collections::BTreeSet;
use std::path::Path;

use livemode_common::cmd::Cmd;
use livemode_tests::container::Changed;
use livemode_tests::described::{lsblk, Described};

/// What the live system always starts by itself, wherever its lists say so (tests/options.rs asks a booted one).
const OURS: [&str; 4] = [
    "livemode-console.service",
    "livemode-journal.service",
    "livemode-upgrade.service",
    "getty@",
];

/// The links below /etc that pull units in.
fn wanted(root: &Path) -> BTreeSet<String> {
    let find = Cmd::new("find").arg(root.join("etc/systemd/system"));
    let find = find.args([
        "-path",
        "*.wants/*",
        "-printf",
        "%P %l\n",
        "-o",
        "-path",
        "*.requires/*",
        "-printf",
        "%P %l\n",
    ]);
    let found = find.read().unwrap();
    let lines = found.lines().filter_map(|line| line.split_once(' '));
    lines
        .filter(|(_, to)| *to != "/dev/null")
        .map(|(link, _)| link.to_owned())
        .collect()
}

#[test]
fn root_of_nfs_iscsi_and_multipath_only_what_mounts_need_starts() {
    let devices = lsblk(
        "/dev/sda disk\n /dev/sda1 part xfs 11111111-0000-4000-8000-000000000002\n \
         /dev/sda2 part xfs 11111111-0000-4000-8000-000000000001\n/dev/sdb disk xfs 3 tran=iscsi\n\
         /dev/sdc disk mpath_member\n /dev/mapper/mpatha mpath xfs 4\n",
    );
    let fstab = b"UUID=11111111-0000-4000-8000-000000000001 / xfs defaults 0 0\n\
        UUID=11111111-0000-4000-8000-000000000002 /boot xfs defaults 0 0\nnas:/a /srv/a nfs vers=3 0 0\n\
        nas:/b /srv/b nfs4 sec=krb5 0 0\nUUID=3 /srv/c xfs _netdev 0 0\nUUID=4 /srv/d xfs defaults 0 0\n";
    let machine = Described::new(fstab, &devices, "/ /dev/sda2 xfs\n/boot /dev/sda1 xfs\n").unwrap();
    machine
        .put(
            "etc/leapp/actor_conf.d/livemode.yaml",
            b"livemode: {setup_network_manager: true}\n",
        )
        .unwrap();
    let container = Changed::with_an_initramfs().unwrap();
    let build = machine.prep().env("LEAPP_UNSUPPORTED", "1");
    let build = build.args(["build", "--json", "--boot-entry", "none", "--userspace"]);
    build.arg(container.path()).run().unwrap();

    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("root");
    let unpack = Cmd::new("unsquashfs").args(["-q", "-n", "-d"]).arg(&root);
    unpack
        .arg(machine.root().join("var/lib/leapp/live-upgrade.img"))
        .run()
        .unwrap();
    let started = wanted(&root);
    let by_mounts: BTreeSet<&str> = started
        .iter()
        .map(|link| link.rsplit('/').next().unwrap())
        .filter(|unit| !OURS.iter().any(|ours| unit.starts_with(ours)))
        .collect();
    assert_eq!(
        by_mounts,
        BTreeSet::from([
            "NetworkManager-wait-online.service",
            "NetworkManager.service",
            "dbus.socket",
            "multipathd.service",
            "nfs-client.target",
            "open-iscsi.service",
            // Of these two, what is wanted is listed here too.
            "remote-cryptsetup.target",
            "remote-fs.target",
        ])
    );
    // What the packages' own presets and links would have started.
    for unit in [
        "rpcbind.socket",
        "rpcbind.service",
        "iscsid.socket",
        "multipathd.socket",
        "fstrim.timer",
    ] {
        assert!(
            root.join("usr/lib/systemd/system").join(unit).exists(),
            "{unit} is of no package"
        );
    }
    Cmd::new("systemctl")
        .arg("--root")
        .arg(&root)
        .arg("preset-all")
        .run()
        .unwrap();
    // Units that are needed get all links of their own then, and multipathd's its socket (Also=).
    let others = wanted(&root)
        .into_iter()
        .filter(|link| !started.contains(link))
        .map(|link| link.rsplit('/').next().unwrap_or_default().to_owned())
        .filter(|unit| !by_mounts.contains(unit.as_str()) && unit != "multipathd.socket");
    assert_eq!(others.collect::<Vec<_>>(), [""; 0]);
}
