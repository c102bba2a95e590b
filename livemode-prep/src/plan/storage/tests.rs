//! The model of whole layouts; what lsblk says is of machines that have them (tests/storage.rs boots them).
use super::*;
use crate::facts::storage::crypttab;
use crate::facts::storage::devices::Devices;
use livemode_common::fstab;

mod encrypted;

const ROOT: &str = "6c697665-6d6f-4d6f-8d6f-000000000001";
const VAR: &str = "6c697665-6d6f-4d6f-8d6f-000000000002";
const LUKS: &str = "6c697665-6d6f-4d6f-8d6f-00000000000a";

fn sources(lsblk: &str, crypttab: &str) -> StorageFacts {
    StorageFacts {
        devices: Devices::parse(lsblk).unwrap(),
        crypttab: crypttab::parse(crypttab),
        keys: BTreeSet::from(["/etc/keys/var.key".to_owned()]),
        ..StorageFacts::default()
    }
}

fn model(fstab: &str, sources: &StorageFacts, image: (&str, &str), arguments: &str) -> Storage {
    let setting = Setting {
        image_source: image.0,
        image_uuid: Some(image.1),
        has_network: false,
        has_netroot: Cmdline::parse(arguments).last("netroot").is_some(),
        arguments: &Cmdline::parse(arguments),
        knows: &|fstype| fstype != "reiserfs",
        ..Setting::of_test()
    };
    Storage::model(&fstab::parse(fstab).unwrap(), sources, &setting)
}

fn words(needs: &Needs) -> Vec<String> {
    needs.arguments().iter().map(ToString::to_string).collect()
}

#[test]
fn volumes_on_a_mirror_need_both_layers_and_are_drawn_down_to_the_disks() {
    let sources = sources(include_str!("../../../../tests/fixtures/storage/md-lvm.json"), "");
    let storage = model(
        &format!("UUID={ROOT} / ext4 defaults 0 1\n"),
        &sources,
        ("/dev/mapper/vg1-root", ROOT),
        "",
    );
    assert_eq!(
        (storage.faults.as_slice(), storage.warnings.as_slice()),
        (&[][..], &[][..])
    );
    assert_eq!(
        words(&storage.image),
        ["rd.md.uuid=6c697665:6d6f4d6f:8d6f0000:00000010", "rd.lvm.vg=vg1"]
    );
    assert_eq!(storage.packages(), BTreeSet::from(["lvm2", "mdadm"]));
    assert_eq!(
        storage.describe(),
        [
            "/  UUID=6c697665-6d6f-4d6f-8d6f-000000000001  ext4  required",
            "  /dev/mapper/vg1-root  lvm  ext4",
            "    /dev/md0  raid1  LVM2_member",
            "      /dev/vdb1  part  linux_raid_member",
            "        /dev/vdb  disk",
            "      /dev/vdc1  part  linux_raid_member",
            "        /dev/vdc  disk",
            "the image  UUID=6c697665-6d6f-4d6f-8d6f-000000000001  rd.md.uuid=6c697665:6d6f4d6f:8d6f0000:00000010 rd.lvm.vg=vg1",
        ]
    );
}

#[test]
fn records_and_grubs_block_are_reached_where_no_more_than_lvm_or_md_lies_between() {
    let with_records = |lsblk: &str, image: (&str, &str), records: &str| {
        let setting = Setting {
            image_source: image.0,
            image_uuid: Some(image.1),
            records_source: records,
            records_uuid: Some("R"),
            ..Setting::of_test()
        };
        Storage::model(&[], &sources(lsblk, ""), &setting)
    };
    let lvm = include_str!("../../../../tests/fixtures/storage/lvm.json");
    let storage = with_records(lvm, ("/dev/mapper/vg1-root", ROOT), "/dev/mapper/vg2-var");
    assert_eq!(storage.records_reference.as_deref(), Some("UUID=R"));
    assert_eq!(words(&storage.image), ["rd.lvm.vg=vg1", "rd.lvm.vg=vg2"]);
    assert!(storage.warnings.is_empty(), "{:?}", storage.warnings);
    let beside = with_records(lvm, ("/dev/mapper/vg2-var", VAR), "/dev/mapper/vg2-var");
    assert_eq!(beside.records_reference, None);
    assert_eq!(words(&beside.image), ["rd.lvm.vg=vg2"]);

    // So is GRUB's block.
    let md = include_str!("../../../../tests/fixtures/storage/md-lvm.json");
    let with_block = |lsblk: &str, image: &str, block: Option<&str>| {
        let setting = Setting {
            image_source: image,
            block_source: block,
            ..Setting::of_test()
        };
        Storage::model(&[], &sources(lsblk, ""), &setting)
    };
    let storage = with_block(md, "/dev/vdz1", Some("/dev/md0"));
    assert!(storage.has_block);
    assert_eq!(
        words(&storage.image),
        ["rd.md.uuid=6c697665:6d6f4d6f:8d6f0000:00000010"]
    );
    assert!(with_block(lvm, "/dev/mapper/vg1-root", Some("/dev/not/known")).has_block);
    assert!(!with_block(lvm, "/dev/mapper/vg1-root", None).has_block);

    let luks = include_str!("../../../../tests/fixtures/storage/luks.json");
    assert!(!with_block(luks, "/dev/vdb1", Some("/dev/mapper/var")).has_block);
    let storage = with_records(luks, ("/dev/vdb1", ROOT), "/dev/mapper/var");
    assert_eq!(storage.records_reference, None);
    assert_eq!(words(&storage.image), [""; 0]);
    assert_eq!(
        storage.warnings,
        ["the records of the upgrade lie on /dev/mapper/var, which early boot does not bring up: it mounts the image without looking \
          at them"]
    );
}

#[test]
fn only_what_the_image_stands_on_is_brought_up_early() {
    let sources = sources(include_str!("../../../../tests/fixtures/storage/lvm.json"), "");
    let fstab = format!("/dev/vg1/root / ext4 defaults 0 1\nUUID={VAR} /var ext4 defaults 0 2\n/dev/vg2/usr /usr ext4 defaults 0 2\n");
    let storage = model(&fstab, &sources, ("/dev/mapper/vg2-var", VAR), "");
    assert_eq!(words(&storage.image), ["rd.lvm.vg=vg2"]);
    assert_eq!(words(&storage.source), ["rd.lvm.vg=vg1", "rd.lvm.vg=vg2"]);
    assert!(
        storage.mounts.iter().all(|mount| mount.device.is_some()),
        "{:?}",
        storage.mounts
    );
}

#[test]
fn of_two_disks_with_one_uuid_the_mounted_one_is_taken_by_a_name_of_its_own() {
    let disk = |name: &str, partuuid: &str| {
        format!(
            r#"{{"name": "{name}", "kname": "{name}", "type": "part", "fstype": "xfs", "uuid": "{ROOT}", "partuuid": {partuuid}}}"#
        )
    };
    let listing = |first: &str, second: &str| {
        format!(
            r#"{{"blockdevices": [{}, {}]}}"#,
            disk("/dev/sda1", first),
            disk("/dev/sdb1", second)
        )
    };
    let fstab = format!("UUID={ROOT} / xfs defaults 0 1\n");
    let of = |lsblk: &str, by_id: &[(&str, &str)], is_mounted: bool| {
        let mut sources = sources(lsblk, "");
        let pairs = by_id
            .iter()
            .map(|(node, link)| ((*node).to_owned(), (*link).to_owned()));
        sources.by_id = pairs.collect();
        if is_mounted {
            sources.mounted.insert("/".into(), "/dev/sdb1".into());
        }
        model(&fstab, &sources, ("/dev/sdb1", ROOT), "")
    };
    let by_partition = of(&listing("\"1-1\"", "\"2-2\""), &[], true);
    assert_eq!(by_partition.mounts[0].spec, "/dev/disk/by-partuuid/2-2");
    assert_eq!(
        by_partition.image_reference.as_deref(),
        Some("/dev/disk/by-partuuid/2-2")
    );

    // A copy of the whole disk has the same PARTUUID.
    let copied = listing("\"1-1\"", "\"1-1\"");
    let by_hardware = of(&copied, &[("/dev/sdb1", "/dev/disk/by-id/wwn-0x5-part1")], true);
    assert_eq!(by_hardware.mounts[0].spec, "/dev/disk/by-id/wwn-0x5-part1");
    assert_eq!(
        by_hardware.image_reference.as_deref(),
        Some("/dev/disk/by-id/wwn-0x5-part1")
    );

    let not_to_tell = of(&copied, &[], true);
    assert!(
        not_to_tell.faults[0].contains("nothing else tells it apart"),
        "{:?}",
        not_to_tell.faults
    );
    let not_mounted = of(&copied, &[], false);
    assert!(
        not_mounted.faults[0].starts_with("/ (/etc/fstab, line 1): /dev/sda1, /dev/sdb1 all answer to UUID="),
        "{:?}",
        not_mounted.faults
    );
}

#[test]
fn the_devices_of_one_btrfs_are_no_copies() {
    let disk = |name: &str| {
        format!(
            r#"{{"name": "{name}", "kname": "{name}", "type": "disk", "fstype": "btrfs", "uuid": "{ROOT}"}}"#
        )
    };
    let lsblk = format!(
        r#"{{"blockdevices": [{}, {}]}}"#,
        disk("/dev/sda"),
        disk("/dev/sdb")
    );
    let fstab = format!("UUID={ROOT} / btrfs subvol=root 0 0\n");
    let storage = model(&fstab, &sources(&lsblk, ""), ("/dev/sda", ROOT), "");
    assert_eq!(
        (storage.faults.len(), storage.warnings.len()),
        (0, 0),
        "{storage:?}"
    );
    assert_eq!(storage.image_reference, Some(format!("UUID={ROOT}")));
}

#[test]
fn what_cannot_be_mounted_is_refused_or_left_out() {
    let fstab = "/dev/vda1 / ext4 defaults 0 1\n/dev/vda2 /old reiserfs defaults 0 0\n/dev/vda3 /older reiserfs nofail 0 0\n\
                 host:/e /nfs nfs defaults 0 0\nhost:/f /maybe nfs4 nofail 0 0\nme@host:/ /far fuse.sshfs nofail 0 0\n";
    let storage = model(fstab, &StorageFacts::default(), ("/dev/vda1", ROOT), "");
    assert_eq!(
        storage.faults,
        [
            "/old (/etc/fstab, line 2): the target's kernel has no reiserfs; unmount it and take its line out of /etc/fstab, or add nofail",
            "/nfs (/etc/fstab, line 4): host:/e needs the network in the live system; set setup_network_manager: true",
        ]
    );
    let left: Vec<&str> = storage
        .mounts
        .iter()
        .map(|mount| mount.entry.fs_file.as_str())
        .collect();
    assert_eq!(left, ["/", "/nfs", "/maybe"]);
    assert_eq!(storage.warnings.len(), 3, "{:?}", storage.warnings);
    assert_eq!(storage.packages(), BTreeSet::from(["nfs-utils"]));
}

#[test]
fn a_required_device_that_is_gone_is_refused() {
    let sources = sources(include_str!("../../../../tests/fixtures/storage/btrfs.json"), "");
    let fstab = format!("UUID={ROOT} / btrfs subvol=root 0 0\nUUID=gone /data ext4 defaults 0 0\n");
    let storage = model(&fstab, &sources, ("/dev/vdb1", ROOT), "");
    assert_eq!(
        storage.faults,
        ["/data (/etc/fstab, line 2): UUID=gone is not there now; mend its line in /etc/fstab, or add nofail"]
    );
}

// A disk by iSCSI as lsblk 2.38 shows it, with the image's file system on it.
const ISCSI: &str = r#"{"blockdevices": [{"name": "/dev/sdb", "kname": "/dev/sdb", "type": "disk", "fstype": "xfs", "uuid": "9", "tran": "iscsi"}]}"#;

#[test]
fn an_image_on_iscsi_needs_to_be_found_by_early_boot_whatever_brings_the_network_up() {
    let sources = sources(ISCSI, "");
    let faults = |has_network: bool, arguments: &str| {
        let line = Cmdline::parse(arguments);
        let setting = Setting {
            image_source: "/dev/sdb",
            image_uuid: Some("9"),
            has_network,
            has_netroot: line.last("netroot").is_some(),
            arguments: &line,
            ..Setting::of_test()
        };
        Storage::model(&[], &sources, &setting).faults
    };
    for has_network in [true, false] {
        assert_eq!(
            faults(has_network, "quiet"),
            ["squashfs_image_path: it lies on iSCSI, which needs netroot= and ip= on the kernel's line"]
        );
        assert_eq!(
            faults(has_network, "netroot=iscsi:10.0.0.1::::iqn.x ip=dhcp"),
            Vec::<String>::new()
        );
    }
}

#[test]
fn a_disk_on_iscsi_without_a_network_is_told_once() {
    let remedy = "needs the network in the live system; set setup_network_manager: true";
    let disk = "UUID=9 /srv xfs nofail 0 0\n";
    let found = |fstab: &str, image: &str, arguments: &str| {
        let line = Cmdline::parse(arguments);
        let setting = Setting {
            image_source: image,
            image_uuid: Some("1"),
            has_network: false,
            has_netroot: line.last("netroot").is_some(),
            arguments: &line,
            ..Setting::of_test()
        };
        let storage = Storage::model(&fstab::parse(fstab).unwrap(), &sources(ISCSI, ""), &setting);
        (storage.faults.len(), storage.warnings)
    };
    let told = vec![format!("a disk by iSCSI {remedy}")];
    assert_eq!(found(disk, "/dev/sda1", ""), (0, told.clone()));
    assert_eq!(found(disk, "/dev/sdb", "netroot=iscsi:x"), (0, told));
    assert_eq!(
        found(disk, "/dev/sdb", ""),
        (1, vec![]),
        "the image's fault says it"
    );
    let with_nfs = format!("{disk}server:/a /a nfs defaults 0 0\n");
    assert_eq!(
        found(&with_nfs, "/dev/sda1", ""),
        (1, vec![]),
        "the share's fault says it"
    );
    let optional = "server:/a /a nfs nofail 0 0\n";
    assert_eq!(
        found(optional, "/dev/sda1", ""),
        (0, vec![format!("/a (/etc/fstab, line 1): server:/a {remedy}")])
    );
}

#[test]
fn the_network_is_needed_for_shares_and_disks_that_come_by_it() {
    let lvm = sources(include_str!("../../../../tests/fixtures/storage/lvm.json"), "");
    for (fstab, sources, needs) in [
        ("/dev/vg1/root / ext4 defaults 0 1\n", &lvm, false),
        ("/dev/vg1/root / ext4 _netdev 0 1\n", &lvm, true),
        ("host:/a /a nfs nofail 0 0\n", &lvm, true),
        ("UUID=9 /srv xfs nofail 0 0\n", &self::sources(ISCSI, ""), true),
        ("", &lvm, false),
    ] {
        let storage = model(fstab, sources, ("", ""), "");
        assert_eq!(storage.needs_network(), needs, "{fstab}");
    }
}
