//! Encrypted volumes, in early boot and in the live system.
use super::*;

#[test]
fn an_encrypted_volume_opens_by_its_key_file_or_is_refused() {
    let lsblk = include_str!("../../../../../tests/fixtures/storage/luks.json");
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
        include_str!("../../../../../tests/fixtures/storage/luks.json"),
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
        include_str!("../../../../../tests/fixtures/storage/luks.json"),
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
fn an_images_volume_that_nothing_opens_is_told_once() {
    let sources = sources(
        include_str!("../../../../../tests/fixtures/storage/luks.json"),
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
        include_str!("../../../../../tests/fixtures/storage/luks.json"),
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
fn early_boot_and_the_live_system_find_a_volume_by_a_name_that_their_udev_gives() {
    let mut sources = sources(
        include_str!("../../../../../tests/fixtures/storage/luks.json"),
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
