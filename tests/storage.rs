//! Source systems on storage in layers: built for, booted into the image, upgraded. `plan` knows the devices by what lsblk
//! says of the very same layout (tests/fixtures/storage). Beside each, with the feature `all`: does stock dmsquash-live
//! find the image there?
#![allow(clippy::unwrap_used)]
use std::os::unix::fs::FileExt;
use std::path::Path;

use livemode_tests::layout::{Assembled, Layout, Volume};

const ROOT: Volume = Volume {
    target: "/",
    fstype: "ext4",
    uuid: "6c697665-6d6f-4d6f-8d6f-000000000001",
    device: "/dev/vdb1",
    size_mib: 2300,
    options: "",
};
const VAR: Volume = Volume {
    target: "/var",
    uuid: "6c697665-6d6f-4d6f-8d6f-000000000002",
    size_mib: 1500,
    ..ROOT
};
const BOOT_UUID: &str = "6c697665-6d6f-4d6f-8d6f-000000000004";
const BOOT: Volume = Volume {
    target: "/boot",
    uuid: BOOT_UUID,
    size_mib: 256,
    ..ROOT
};
const USR: Volume = Volume {
    target: "/usr",
    uuid: "6c697665-6d6f-4d6f-8d6f-000000000003",
    size_mib: 700,
    ..ROOT
};

/// One partition, or more with the sizes given, in a table whose UUIDs do not change.
const PARTITION: &str = r#"
# partition DISK SIZE...: the last takes the rest
partition() {
    local disk=$1 n=0
    shift
    {
        echo "label: gpt"
        echo "label-id: 6c697665-6d6f-4d6f-8d6f-0000000001${disk: -1}0"
        for size in "$@"; do
            n=$((n + 1))
            echo "${size:+size=$size,} uuid=6c697665-6d6f-4d6f-8d6f-0000000001${disk: -1}$n"
        done
    } | sfdisk --quiet "$disk"
    udevadm settle
}
"#;

const LVM: &str = r#"
modprobe dm-mod; modprobe dm-thin-pool 2>/dev/null
# group NAME DEVICE: a volume group with an identity that does not change
group() {
    pvcreate -q --uuid 6c6976-656d-6f64-6500-0000-0000-00000${1: -1} --norestorefile "$2" >/dev/null
    vgcreate -q "$1" "$2" >/dev/null
}
volume() { lvcreate -q -y -Wn -Zn -n "$2" -L "$3" "$1" >/dev/null; udevadm settle; }
"#;

const MD: &str = r#"
modprobe raid1
array() { # array NAME UUID-END DEVICE...
    local name=$1 uuid=6c697665:6d6f4d6f:8d6f0000:0000$2
    shift 2
    mdadm --create "/dev/$name" --quiet --run --level=1 --raid-devices=$# --metadata=${metadata:-1.2} --assume-clean \
        --uuid="$uuid" --homehost=any "$@" 2>/dev/null
    udevadm settle
}
"#;

/// Boots the layout from `build` to the upgraded system; a row of the table in docs/storage.md.
fn upgrade(layout: &Layout) -> (Assembled, String) {
    let assembled = Assembled::new(layout).unwrap();
    let stock = cfg!(feature = "all").then(|| assembled.does_stock_boot().unwrap());
    let console = assembled.boot().unwrap();
    assert!(console.contains("livemode: the upgrade succeeded"), "{console}");
    if let Some(stock) = stock {
        let found = if stock { "boots" } else { "does not find it" };
        println!("| {} | upgraded | {found} |", layout.name);
    }
    (assembled, console)
}

/// Two volume groups: one with the root, one with /usr and /var.
fn two_groups() -> Layout {
    let make = format!(
        "{PARTITION}{LVM}
partition /dev/vdb ''; partition /dev/vdc ''
group vg1 /dev/vdb1; group vg2 /dev/vdc1
volume vg1 root 2400m; volume vg2 var 1600m; volume vg2 usr 800m
put volume0 /dev/vg1/root; put volume1 /dev/vg2/usr; put volume2 /dev/vg2/var
"
    );
    Layout {
        name: "lvm",
        disks: &[2600, 2600],
        volumes: &[
            Volume {
                device: "/dev/mapper/vg1-root",
                ..ROOT
            },
            Volume {
                device: "/dev/mapper/vg2-usr",
                ..USR
            },
            Volume {
                device: "/dev/mapper/vg2-var",
                ..VAR
            },
        ],
        make: make.leak(),
        // Another would keep the other volumes from being activated.
        arguments: "rd.lvm.lv=vg1/root",
        ..Layout::PLAIN
    }
}

#[test]
fn vm_two_volume_groups_with_var_and_usr_on_their_own() {
    let (assembled, _) = upgrade(&two_groups());
    let arguments = &assembled.manifest.boot.arguments;
    assert!(
        arguments
            .starts_with("root=livemode:UUID=6c697665-6d6f-4d6f-8d6f-000000000002 rd.live.dir=/lib/leapp "),
        "{arguments}"
    );
    assert!(
        arguments.contains(" rd.lvm.vg=vg2") && !arguments.contains("rd.lvm.lv"),
        "{arguments}"
    );
}

/// The image lies on the root, our records in /var: early boot brings up both groups, decides by the records, and writes there.
#[cfg(feature = "all")]
#[test]
fn vm_records_on_another_volume_group_than_the_image() {
    let layout = Layout {
        config: "livemode: {squashfs_image_path: /opt/live.img}\n",
        arrange: |root| Ok(std::fs::create_dir_all(root.join("opt"))?),
        ..two_groups()
    };
    let assembled = Assembled::new(&layout).unwrap();
    let arguments = &assembled.manifest.boot.arguments;
    for words in [
        "root=livemode:UUID=6c697665-6d6f-4d6f-8d6f-000000000001 rd.live.dir=/opt ",
        " livemode.state=UUID=6c697665-6d6f-4d6f-8d6f-000000000002:/lib/leapp/livemode ",
        " rd.lvm.vg=vg1 rd.lvm.vg=vg2",
    ] {
        assert!(arguments.contains(words), "{arguments}");
    }
    let refused =
        arguments.replace(&assembled.manifest.image.sha256, &"0".repeat(64)) + " livemode.countdown=1";
    let console = assembled.boot_with(&refused).unwrap();
    assert!(
        console.contains("has the wrong digest")
            && console.contains("livemode-prep status will tell it there"),
        "{console}"
    );
    let console = assembled.boot().unwrap();
    assert!(console.contains("livemode: the upgrade succeeded"), "{console}");
}

#[test]
fn vm_volumes_on_a_mirror() {
    let make = format!(
        "{PARTITION}{LVM}{MD}
partition /dev/vdb ''; partition /dev/vdc ''
array md0 0010 /dev/vdb1 /dev/vdc1
group vg1 /dev/md0
volume vg1 root 2400m
put volume0 /dev/vg1/root
finish() {{ vgchange -q -an vg1 >/dev/null; mdadm --stop --quiet /dev/md0; }}
"
    );
    let layout = Layout {
        name: "md-lvm",
        disks: &[2600, 2600],
        volumes: &[Volume {
            device: "/dev/mapper/vg1-root",
            ..ROOT
        }],
        make: make.leak(),
        arguments: "rd.md=0 rd.lvm.lv=vg1/root",
        ..Layout::PLAIN
    };
    let (assembled, _) = upgrade(&layout);
    let arguments = &assembled.manifest.boot.arguments;
    assert!(
        arguments.contains(" rd.md.uuid=6c697665:6d6f4d6f:8d6f0000:00000010 rd.lvm.vg=vg1")
            && !arguments.contains("rd.md=0"),
        "{arguments}"
    );
}

/// /boot on a mirror as anaconda makes it, to which GRUB does not write: early boot clears what boots once, and so a machine whose
/// image is refused comes back.
#[test]
fn vm_boot_on_a_mirror_where_grub_cannot_clear_what_boots_once() {
    fn spoil(root: &Path) -> anyhow::Result<()> {
        let image = std::fs::File::options()
            .write(true)
            .open(root.join("var/lib/leapp/live-upgrade.img"))?;
        Ok(image.write_all_at(b"spoilt", 1 << 20)?)
    }
    let make = format!(
        "{PARTITION}{MD}
partition /dev/vdc ''; partition /dev/vdd ''
metadata=1.0 array md0 0020 /dev/vdc1 /dev/vdd1
put volume0 /dev/vdb
put volume1 /dev/md0
finish() {{ mdadm --stop --quiet /dev/md0; }}
"
    );
    let layout = Layout {
        name: "md-boot",
        disks: &[2400, 300, 300],
        volumes: &[
            Volume {
                device: "/dev/vdb",
                ..ROOT
            },
            Volume {
                device: "/dev/md0",
                // The old system of these tests has no mdadm.
                options: "nofail,x-systemd.device-timeout=1",
                ..BOOT
            },
        ],
        make: make.leak(),
        boot_entry: "grub",
        config: "livemode: {}\n",
        arrange: with_boot_apart,
        spoil,
        ..Layout::PLAIN
    };
    let assembled = Assembled::new(&layout).unwrap();
    let arguments = &assembled.manifest.boot.arguments;
    for words in [
        &format!(" livemode.grubenv=UUID={BOOT_UUID}:/grub2/grubenv "),
        " rd.md.uuid=6c697665:6d6f4d6f:8d6f0000:00000020",
    ] {
        assert!(arguments.contains(words), "{arguments}");
    }
    let prefix = "(mduuid/6c6976656d6f4d6f8d6f000000000020)/grub2";
    let console = assembled.boot_by_grub(prefix).unwrap();
    assert!(
        console.contains("diskfilter writes are not supported"),
        "{console}"
    );
    let booted: Vec<&str> = console
        .split("Booting `")
        .skip(1)
        .map(|rest| rest.split('\'').next().unwrap())
        .collect();
    assert!(
        matches!(booted[..], ["LiveMode upgrade", own] if own.starts_with("Demo Linux (")),
        "{booted:?}: {console}"
    );
    assert!(console.contains("has the wrong digest"), "{console}");
    assert!(
        console.contains("report: booted Demo Linux release 1"),
        "{console}"
    );
}

/// What GRUB reads, with /boot on its own.
fn with_boot_apart(root: &Path) -> anyhow::Result<()> {
    let mut files = vec![root.join("boot/grub2/grub.cfg")];
    for entry in std::fs::read_dir(root.join("boot/loader/entries"))? {
        files.push(entry?.path());
    }
    for file in files {
        let text = std::fs::read_to_string(&file)?;
        let text = text.replace(" /boot/", " /");
        let text = text.replace("6c697665-6d6f-4d6f-8d6f-64656d6f3031", BOOT_UUID);
        std::fs::write(file, text)?;
    }
    Ok(())
}

/// Four file systems in layers; the store lies on the roomiest, which is not the root.
#[test]
fn vm_an_upgrade_in_layers_on_lvm_with_xfs_and_var_and_usr_on_their_own() {
    let make = format!(
        "{PARTITION}{LVM}
partition /dev/vdb 300M ''
group vg1 /dev/vdb2
volume vg1 root 2000m; volume vg1 usr 1000m; volume vg1 var 3000m
put volume0 /dev/vg1/root; put volume1 /dev/vdb1; put volume2 /dev/vg1/usr; put volume3 /dev/vg1/var
"
    );
    let layout = Layout {
        name: "atomic-lvm-xfs",
        disks: &[6500],
        volumes: &[
            Volume {
                fstype: "xfs",
                device: "/dev/mapper/vg1-root",
                size_mib: 2000,
                ..ROOT
            },
            Volume {
                device: "/dev/vdb1",
                ..BOOT
            },
            Volume {
                device: "/dev/mapper/vg1-usr",
                size_mib: 1000,
                ..USR
            },
            Volume {
                fstype: "xfs",
                device: "/dev/mapper/vg1-var",
                size_mib: 3000,
                ..VAR
            },
        ],
        make: make.leak(),
        boot_entry: "grub",
        config: "livemode: {atomic: require}\n",
        arrange: with_boot_apart,
        arguments: "rd.lvm.lv=vg1/root",
        ..Layout::PLAIN
    };
    let assembled = in_layers(&layout);
    let store = assembled.manifest.store.as_ref().unwrap();
    assert_eq!(store.path, "/var/lib/leapp/livemode/store");
}

/// An upgrade each of whose mounts, but for /boot, is a layer; then its entry once more.
fn in_layers(layout: &Layout) -> Assembled {
    let assembled = Assembled::new(layout).unwrap();
    let console = assembled.boot().unwrap();
    for volume in layout.volumes.iter().filter(|volume| volume.target != "/boot") {
        let merged = format!("livemode: {} is on its disk", volume.target);
        assert!(console.contains(&merged), "{merged}: {console}");
    }
    assert!(console.contains("livemode: the upgrade succeeded"), "{console}");
    let console = assembled.boot().unwrap();
    assert!(
        console.contains("livemode: the upgrade has succeeded already"),
        "{console}"
    );
    assembled
}

const LUKS_UUID: &str = "6c697665-6d6f-4d6f-8d6f-00000000000a";

fn luks() -> Layout {
    let make = format!(
        "{PARTITION}
modprobe dm-crypt
partition /dev/vdb 2400M ''
printf secret >/run/key
cryptsetup luksFormat -q --type luks2 --uuid {LUKS_UUID} --pbkdf pbkdf2 --pbkdf-force-iterations 1000 /dev/vdb2 /run/key
cryptsetup open --key-file /run/key /dev/vdb2 var
put volume0 /dev/vdb1
put volume1 /dev/mapper/var notrunc # zeros too: what was never written is none there
finish() {{ cryptsetup close var; }}
"
    );
    Layout {
        name: "luks",
        disks: &[4100],
        volumes: &[
            ROOT,
            Volume {
                device: "/dev/mapper/var",
                ..VAR
            },
        ],
        make: make.leak(),
        files: &[
            (
                "etc/crypttab",
                "var UUID=6c697665-6d6f-4d6f-8d6f-00000000000a /etc/keys/var.key luks,discard\n",
            ),
            ("etc/keys/var.key", "secret"),
        ],
        ..Layout::PLAIN
    }
}

#[test]
fn vm_an_encrypted_volume_with_a_key_file() {
    let (assembled, _) = upgrade(&luks());
    let arguments = &assembled.manifest.boot.arguments;
    assert!(
        arguments.contains(&format!(" rd.luks.uuid={LUKS_UUID}")),
        "{arguments}"
    );
}

#[test]
fn vm_subvolumes_of_a_btrfs() {
    let subvolume = |target, options| Volume {
        target,
        fstype: "btrfs",
        options,
        ..ROOT
    };
    let volumes = [
        subvolume("/", "subvol=root"),
        subvolume("/home", "subvol=home"),
        subvolume("/var", "subvol=var"),
    ];
    let layout = Layout {
        name: "btrfs",
        volumes: Vec::from(volumes).leak(),
        make: format!("{PARTITION}partition /dev/vdb ''; put volume0 /dev/vdb1\n").leak(),
        arguments: "rootflags=subvol=root",
        ..Layout::PLAIN
    };
    let (assembled, _) = upgrade(&layout);
    let arguments = &assembled.manifest.boot.arguments;
    assert!(
        arguments.contains(" rd.live.dir=/var/lib/leapp ") && !arguments.contains("rootflags"),
        "{arguments}"
    );
}

#[cfg(feature = "all")]
#[path = "storage/all.rs"]
mod all;
#[cfg(feature = "all")]
#[path = "storage/remote.rs"]
mod remote;
