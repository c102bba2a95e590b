//! The model of whole layouts; what lsblk says is of machines that have them (tests/storage.rs boots them).
use super::*;
use crate::facts::storage::crypttab;
use crate::facts::storage::devices::Devices;
use livemode_common::fstab;

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
fn an_encrypted_volume_opens_by_its_key_file_or_is_refused() {
    let lsblk = include_str!("../../../../tests/fixtures/storage/luks.json");
    let of = |crypttab: &str, options: &str, tokens: &[&str]| {
        let mut sources = sources(lsblk, crypttab);
        sources
            .tokens
            .insert(LUKS.into(), tokens.iter().map(|t| (*t).to_owned()).collect());
        let fstab = format!("UUID={ROOT} / ext4 defaults 0 1\n/dev/mapper/var /var ext4 {options} 0 2\n");
        model(&fstab, &sources, ("/dev/vdb1", ROOT), "")
    };
    let good = of(
        &format!("var UUID={LUKS} /etc/keys/var.key luks\n"),
        "defaults",
        &[],
    );
    assert_eq!(good.faults, [""; 0]);
    assert_eq!(good.live_volumes.len(), 1);
    assert_eq!(good.early_volumes, [], "the image does not lie there");

    let typed = of(&format!("var UUID={LUKS} none luks\n"), "defaults", &[]);
    assert_eq!(
        typed.faults,
        [format!(
            "/var (/etc/fstab, line 2): /dev/mapper/var (LUKS {LUKS}) is opened by a passphrase only, for which the live system would wait at a \
             keyboard; add a key file to /etc/crypttab (cryptsetup luksAddKey), or bind it to the TPM (systemd-cryptenroll) \
             or to clevis"
        )]
    );
    let without = of("", "nofail", &[]);
    assert_eq!((without.faults.len(), without.mounts.len()), (0, 1));
    assert!(
        without.warnings[0].ends_with("the live system goes without it"),
        "{:?}",
        without.warnings
    );

    let gone = of(
        &format!("var UUID={LUKS} /etc/keys/other.key luks\n"),
        "defaults",
        &[],
    );
    assert_eq!(
        gone.faults,
        ["/var (/etc/fstab, line 2): /dev/mapper/var is opened by /etc/keys/other.key (/etc/crypttab, line 1), which is not there"]
    );

    let bound = of(&format!("var UUID={LUKS} none luks\n"), "defaults", &["clevis"]);
    assert_eq!(bound.faults, [""; 0]);
    assert!(
        bound.warnings[0].contains("by its token (clevis), which was not tested"),
        "{:?}",
        bound.warnings
    );
}

#[test]
fn a_volume_that_the_kernels_line_names_must_open_by_itself_too() {
    let sources = sources(
        include_str!("../../../../tests/fixtures/storage/luks.json"),
        &format!("var UUID={LUKS} none luks\n"),
    );
    let fstab = format!("UUID={ROOT} / ext4 defaults 0 1\n/dev/mapper/var none swap defaults 0 0\n");
    let line = format!("rd.luks.uuid=luks-{LUKS}");
    let storage = model(&fstab, &sources, ("/dev/vdb1", ROOT), &line);
    assert_eq!(storage.faults.len(), 1, "{:?}", storage.faults);
    let start = format!("rd.luks.uuid={LUKS} on the kernel's line: /dev/mapper/var (LUKS {LUKS}) is opened by a passphrase only");
    assert!(storage.faults[0].starts_with(&start), "{:?}", storage.faults);
    assert_eq!(model(&fstab, &sources, ("/dev/vdb1", ROOT), "").faults, [""; 0]);
}

#[test]
fn the_key_of_the_images_volume_goes_into_the_initramfs_and_that_is_said() {
    let sources = sources(
        include_str!("../../../../tests/fixtures/storage/luks.json"),
        &format!("var UUID={LUKS} /etc/keys/var.key luks\n"),
    );
    let fstab = format!("UUID={ROOT} / ext4 defaults 0 1\nUUID={VAR} /var ext4 defaults 0 2\n");
    let storage = model(&fstab, &sources, ("/dev/mapper/var", VAR), "");
    assert_eq!(words(&storage.image), [format!("rd.luks.uuid={LUKS}")]);
    assert_eq!(storage.early_volumes.len(), 1);
    assert!(
        storage.warnings[0].contains("whoever reads /boot can read it"),
        "{:?}",
        storage.warnings
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
fn an_images_volume_that_nothing_opens_is_told_once() {
    let sources = sources(
        include_str!("../../../../tests/fixtures/storage/luks.json"),
        &format!("var UUID={LUKS} none luks\n"),
    );
    let root = format!("UUID={ROOT} / ext4 defaults 0 1\n");
    for (line, start) in [
        ("", "squashfs_image_path: /dev/mapper/var (LUKS "),
        (
            "/dev/mapper/var /var ext4 defaults 0 2\n",
            "/var (/etc/fstab, line 2): /dev/mapper/var (LUKS ",
        ),
    ] {
        let storage = model(&format!("{root}{line}"), &sources, ("/dev/mapper/var", VAR), "");
        assert_eq!(storage.faults.len(), 1, "{:?}", storage.faults);
        assert!(storage.faults[0].starts_with(start), "{:?}", storage.faults);
    }
}

#[test]
fn early_boot_opens_the_volumes_that_the_kernels_line_names() {
    let sources = sources(
        include_str!("../../../../tests/fixtures/storage/luks.json"),
        &format!("var UUID={LUKS} /etc/keys/var.key luks\n"),
    );
    let fstab = format!("UUID={ROOT} / ext4 defaults 0 1\n");
    let upper = LUKS.to_ascii_uppercase();
    for (line, opens) in [
        (format!("rd.luks.uuid={LUKS}"), true),
        (format!("rd.luks.uuid=luks-{upper}"), true),
        (format!("rd.luks.uuid={}", &LUKS[..8]), true),
        (format!("rd.luks.name={LUKS}=var"), true),
        (format!("rd.luks.key={LUKS}"), false),
        ("rd.luks.uuid=other".to_owned(), false),
        ("rd.luks.uuid".to_owned(), false),
    ] {
        let storage = model(&fstab, &sources, ("/dev/vdb1", ROOT), &line);
        assert_eq!(storage.early_volumes.len(), usize::from(opens), "{line}");
        assert_eq!(storage.faults, [""; 0], "{line}");
    }
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

#[test]
fn early_boot_and_the_live_system_find_a_volume_by_a_name_that_their_udev_gives() {
    let mut sources = sources(
        include_str!("../../../../tests/fixtures/storage/luks.json"),
        "var /dev/mine /etc/keys/var.key luks\n",
    );
    sources.links.insert("/dev/mine".into(), "/dev/vdb2".into());
    let fstab = format!("UUID={ROOT} / ext4 defaults 0 1\n");
    let storage = model(&fstab, &sources, ("/dev/mapper/var", VAR), "");
    assert_eq!(storage.faults, [""; 0]);
    for volumes in [&storage.early_volumes, &storage.live_volumes] {
        let devices: Vec<&str> = volumes.iter().map(|volume| volume.device.as_str()).collect();
        assert_eq!(devices, [format!("UUID={LUKS}")]);
    }
}

#[test]
fn without_a_uuid_early_boot_goes_by_its_crypttab_alone() {
    // /var on a volume with its header elsewhere, which lies with another below one LVM group.
    let lsblk = r#"{"blockdevices": [
        {"name": "/dev/sda", "kname": "/dev/sda", "type": "disk", "children": [
            {"name": "/dev/mapper/a", "kname": "/dev/dm-0", "type": "crypt", "fstype": "LVM2_member", "children": [
                {"name": "/dev/mapper/vg-var", "kname": "/dev/dm-2", "type": "lvm", "fstype": "ext4", "uuid": "V"}]}]},
        {"name": "/dev/sdb", "kname": "/dev/sdb", "type": "disk", "fstype": "crypto_LUKS", "uuid": "L", "children": [
            {"name": "/dev/mapper/b", "kname": "/dev/dm-1", "type": "crypt", "fstype": "LVM2_member", "children": [
                {"name": "/dev/mapper/vg-var", "kname": "/dev/dm-2", "type": "lvm", "fstype": "ext4", "uuid": "V"}]}]}]}"#;
    let mut sources = sources(
        lsblk,
        "a /dev/disk/by-id/x /etc/keys/var.key header=/h,timeout=0\n",
    );
    sources
        .links
        .insert("/dev/disk/by-id/x".into(), "/dev/sda".into());
    sources.keys.insert("/h".into());
    sources.tokens.insert("L".into(), vec!["clevis".into()]);
    let fstab = "UUID=V / ext4 defaults 0 1\n";
    let storage = model(fstab, &sources, ("/dev/mapper/vg-var", "V"), "");
    assert_eq!(storage.faults, [""; 0]);
    let lines: Vec<String> = storage.early_volumes.iter().map(ToString::to_string).collect();
    assert_eq!(
        lines,
        [
            "a /dev/disk/by-id/x /etc/keys/var.key header=/h,headless=true,nofail",
            "b UUID=L none timeout=300s,tries=1,nofail",
        ]
    );
    assert_eq!(words(&storage.image), ["rd.lvm.vg=vg"]);
    assert!(storage.image.hidden_by().contains(&"rd.luks.uuid"));
    assert!(Needs::default().hidden_by().is_empty());
}

#[test]
fn a_volume_that_is_named_but_closed_is_opened_early_all_the_same() {
    let lsblk = r#"{"blockdevices": [{"name": "/dev/sda", "kname": "/dev/sda", "type": "disk", "fstype": "crypto_LUKS", "uuid": "L"}]}"#;
    let sources = sources(lsblk, "x UUID=L /etc/keys/var.key timeout=0,discard\n");
    let storage = model("", &sources, ("", ""), "rd.luks.uuid=l");
    let lines: Vec<String> = storage.early_volumes.iter().map(ToString::to_string).collect();
    assert_eq!(lines, ["x UUID=L /etc/keys/var.key discard,headless=true,nofail"]);
}
