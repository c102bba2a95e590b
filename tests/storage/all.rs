//! The layouts that take long, for `make check-all`.
use std::fs;
use std::path::Path;

use livemode_common::cmd::Cmd;
use livemode_tests::container::Changed;
use livemode_tests::disk::Mounted;
use livemode_tests::testbed::{self, Suite};
use livemode_tests::vm::Bus;

use super::*;

pub(crate) fn plain(name: &'static str) -> Layout {
    Layout {
        name,
        volumes: &[ROOT],
        make: format!("{PARTITION}partition /dev/vdb ''; put volume0 /dev/vdb1\n").leak(),
        ..Layout::PLAIN
    }
}

#[test]
fn vm_a_swap_file_a_bind_mount_and_a_disk_that_is_gone() {
    let layout = Layout {
        fstab:
            "/swapfile none swap defaults 0 0\n/srv/here /srv/there none bind 0 0\n\
                UUID=6c697665-6d6f-4d6f-8d6f-0000000000ff /gone ext4 nofail,x-systemd.device-timeout=5s 0 0\n",
        arrange: |root| {
            Cmd::new("fallocate")
                .args(["-l", "64M"])
                .arg(root.join("swapfile"))
                .run()?;
            Cmd::new("mkswap").arg("-q").arg(root.join("swapfile")).run()?;
            for dir in ["srv/here", "srv/there", "gone"] {
                fs::create_dir_all(root.join(dir))?;
            }
            Ok(())
        },
        ..plain("ext4")
    };
    let (_, console) = upgrade(&layout);
    assert!(
        console.contains("Adding 65532k swap on /run/upgrade/swapfile"),
        "{console}"
    );
}

#[test]
fn vm_xfs() {
    upgrade(&Layout {
        volumes: &[Volume {
            fstype: "xfs",
            ..ROOT
        }],
        ..plain("xfs")
    });
}

#[test]
fn vm_sectors_of_4_kib() {
    upgrade(&Layout {
        volumes: &[Volume {
            fstype: "xfs",
            ..ROOT
        }],
        sector: 4096,
        ..plain("4k")
    });
}

#[test]
fn vm_an_upgrade_in_layers_on_a_mirror_and_luks_with_sectors_of_4_kib() {
    let make = format!(
        "{PARTITION}{MD}
modprobe dm-crypt
partition /dev/vdb 300M 2400M; partition /dev/vdc 2400M ''
array md0 0030 /dev/vdb2 /dev/vdc1
printf secret >/run/key
cryptsetup luksFormat -q --type luks2 --uuid {LUKS_UUID} --pbkdf pbkdf2 --pbkdf-force-iterations 1000 /dev/vdc2 /run/key
cryptsetup open --key-file /run/key /dev/vdc2 var
put volume0 /dev/md0; put volume1 /dev/vdb1
put volume2 /dev/mapper/var notrunc # zeros too: what was never written is none there
finish() {{ cryptsetup close var; mdadm --stop --quiet /dev/md0; }}
"
    );
    in_layers(&Layout {
        name: "atomic-md-luks-4k",
        disks: &[2900, 4100],
        sector: 4096,
        volumes: &[
            Volume {
                device: "/dev/md0",
                ..ROOT
            },
            Volume {
                device: "/dev/vdb1",
                ..BOOT
            },
            Volume {
                device: "/dev/mapper/var",
                ..VAR
            },
        ],
        make: make.leak(),
        files: luks().files,
        boot_entry: "grub",
        config: "livemode: {atomic: require}\n",
        arrange: with_boot_apart,
        ..Layout::PLAIN
    });
}

#[test]
fn vm_nvme() {
    upgrade(&Layout {
        bus: Bus::Nvme,
        ..plain("nvme")
    });
}

#[test]
fn vm_boot_and_the_esp_on_partitions_of_their_own() {
    upgrade(&Layout {
        disks: &[3200],
        volumes: &[
            Volume {
                device: "/dev/vdb3",
                ..ROOT
            },
            Volume {
                target: "/boot",
                uuid: "6c697665-6d6f-4d6f-8d6f-000000000004",
                device: "/dev/vdb2",
                size_mib: 400,
                ..ROOT
            },
            Volume {
                target: "/boot/efi",
                fstype: "vfat",
                uuid: "6C69-7665",
                device: "/dev/vdb1",
                size_mib: 64,
                options: "umask=0077",
            },
        ],
        make: format!(
            "{PARTITION}partition /dev/vdb 100M 500M ''
put volume0 /dev/vdb3; put volume1 /dev/vdb2; put volume2 /dev/vdb1\n"
        )
        .leak(),
        ..plain("boot-esp")
    });
}

#[test]
fn vm_the_image_on_a_partition_of_its_own() {
    let (assembled, _) = upgrade(&Layout {
        disks: &[4200],
        volumes: &[
            ROOT,
            Volume {
                target: "/srv/images",
                device: "/dev/vdb2",
                ..VAR
            },
        ],
        make: format!(
            "{PARTITION}partition /dev/vdb 2400M ''; put volume0 /dev/vdb1; put volume1 /dev/vdb2\n"
        )
        .leak(),
        config: "livemode: {squashfs_image_path: /srv/images/live.img}\n",
        ..plain("own-partition")
    });
    let arguments = &assembled.manifest.boot.arguments;
    assert!(
        arguments.contains(" rd.live.dir=/ rd.live.squashimg=live.img "),
        "{arguments}"
    );
}

#[test]
fn vm_a_thin_volume() {
    upgrade(&Layout {
        disks: &[2800],
        volumes: &[Volume {
            device: "/dev/mapper/vg1-root",
            ..ROOT
        }],
        make: format!(
            "{PARTITION}{LVM}partition /dev/vdb ''; group vg1 /dev/vdb1
lvcreate -q -y --type thin-pool -L 2600m --poolmetadatasize 8m -n pool vg1 >/dev/null 2>&1
lvcreate -q -y --thin -V 2400m -n root vg1/pool >/dev/null 2>&1; udevadm settle
put volume0 /dev/vg1/root
finish() {{ vgchange -q -an vg1 >/dev/null; }}\n"
        )
        .leak(),
        ..plain("lvm-thin")
    });
}

fn mirror(name: &'static str) -> Layout {
    Layout {
        disks: &[2600, 2600],
        volumes: &[Volume {
            device: "/dev/md0",
            ..ROOT
        }],
        make: format!(
            "{PARTITION}{MD}partition /dev/vdb ''; partition /dev/vdc ''; array md0 0010 /dev/vdb1 /dev/vdc1
put volume0 /dev/md0
finish() {{ mdadm --stop --quiet /dev/md0; }}\n"
        )
        .leak(),
        ..plain(name)
    }
}

#[test]
fn vm_a_mirror() {
    upgrade(&mirror("md"));
}

#[test]
fn vm_a_mirror_with_one_half() {
    upgrade(&Layout {
        damage: |disks| {
            disks.truncate(1);
            Ok(())
        },
        ..mirror("md-degraded")
    });
}

#[test]
fn vm_a_copy_of_the_disk_is_left_alone() {
    let (assembled, _) = upgrade(&Layout {
        disks: &[2600, 2600],
        // Linux names them in this order; the source is the second.
        volumes: &[Volume {
            device: "/dev/vdc1",
            ..ROOT
        }],
        make: format!(
            "{PARTITION}partition /dev/vdb ''; partition /dev/vdc ''; put volume0 /dev/vdb1; put volume0 /dev/vdc1\n"
        )
        .leak(),
        ..plain("copy")
    });
    let arguments = &assembled.manifest.boot.arguments;
    assert!(
        arguments.starts_with("root=livemode:/dev/disk/by-partuuid/6c697665-"),
        "{arguments}"
    );
    let release = |number: usize| first_partition(assembled.disk(number)).read("etc/demo-release");
    assert_eq!(
        [0, 1].map(release),
        ["Demo Linux release 1\n", "Demo Linux release 2\n"]
    );
}

#[test]
fn vm_a_copy_that_comes_after_the_build_is_never_upgraded() {
    let assembled = Assembled::new(&Layout {
        damage: |disks| {
            // The first that Linux sees, and without the image.
            let copy = disks[0].with_file_name("copy");
            livemode_tests::disk::copy(&disks[0], &copy)?;
            fs::remove_file(first_partition(&copy).at("var/lib/leapp/live-upgrade.img"))?;
            disks.insert(0, copy);
            Ok(())
        },
        ..plain("copied-later")
    })
    .unwrap();
    let upgraded = "livemode: the upgrade succeeded";
    let refused = "is a copy of the one that the image lies on";
    let seen = assembled.boot_until(&[upgraded, refused]).unwrap();
    println!(
        "| copied-later | {} | |",
        if seen == upgraded { "upgraded" } else { "refused" }
    );
    let release = |number: usize| first_partition(assembled.disk(number)).read("etc/demo-release");
    assert_eq!(release(0), "Demo Linux release 1\n", "the copy was upgraded");
    assert_eq!(release(1) == "Demo Linux release 2\n", seen == upgraded);
}

/// The file system of the first partition, 1 MiB from the disk's start.
pub(crate) fn first_partition(disk: &Path) -> Mounted {
    Mounted::at_offset(disk, 1 << 20).unwrap()
}

#[test]
fn vm_two_paths_to_one_disk() {
    const CONFIGURATION: &str =
        "defaults {\n    user_friendly_names yes\n    find_multipaths no\n}\nblacklist {\n    devnode \"^(vd|nvme|loop)\"\n}\n";
    let (_, console) = upgrade(&Layout {
        bus: Bus::TwoPaths,
        volumes: &[Volume {
            device: "/dev/mapper/mpatha",
            ..ROOT
        }],
        files: &[
            ("etc/multipath.conf", CONFIGURATION),
            ("etc/multipath/bindings", "mpatha 35000000000000000\n"),
            ("etc/multipath/wwids", "/35000000000000000/\n"),
        ],
        make: format!(
            "modprobe virtio_scsi; modprobe sd_mod; modprobe dm-multipath
for n in 1 2 3 4 5 6 7 8 9; do [ -b /dev/sdb ] || sleep 1; done
printf '%s' '{CONFIGURATION}' >/etc/multipath.conf
udevadm settle; multipath -v1 >/dev/null; udevadm settle
put volume0 /dev/mapper/mpatha
disks=(/dev/sda /dev/sdb)
finish() {{ multipath -F >/dev/null; }}\n"
        )
        .leak(),
        ..plain("multipath")
    });
    assert!(console.contains("/dev/dm-0 is mounted as root"), "{console}");
}

/// The header of the encrypted volume that the image lies on is a file of the root: early boot has neither a UUID nor a header on
/// the disk to go by.
#[test]
fn vm_an_encrypted_volume_whose_header_is_a_file() {
    const FORMAT: &str =
        "luksFormat -q --type luks2 --pbkdf pbkdf2 --pbkdf-force-iterations 1000 --luks2-keyslots-size 512k \
                          --luks2-metadata-size 16k --uuid 6c697665-6d6f-4d6f-8d6f-00000000000a";
    // Before the build there is no header yet, and lsblk says the same with any.
    let make = format!(
        "{PARTITION}
modprobe dm-crypt
partition /dev/vdb 2400M ''
printf secret >/run/key
mkdir /run/source
mount -o ro /dev/disk/by-id/virtio-volume0 /run/source
header=/run/source/etc/keys/var.header
if [ ! -e $header ]; then
    header=/run/header
    cryptsetup {FORMAT} --header $header /dev/vdb2 /run/key
fi
cryptsetup open --header $header --key-file /run/key /dev/vdb2 var
umount /run/source
put volume0 /dev/vdb1
put volume1 /dev/mapper/var notrunc
finish() {{ cryptsetup close var; }}
"
    );
    let layout = Layout {
        name: "luks-header",
        make: make.leak(),
        files: &[
            (
                "etc/crypttab",
                "var PARTUUID=6c697665-6d6f-4d6f-8d6f-0000000001b2 /etc/keys/var.key luks,header=/etc/keys/var.header,timeout=0\n",
            ),
            ("etc/keys/var.key", "secret"),
        ],
        arrange: |root| {
            let container = Changed::of(&testbed::container(Suite::Bookworm)?)?;
            fs::write(container.at("tmp/key"), "secret")?;
            fs::File::create(container.at("tmp/disk"))?.set_len(32 << 20)?;
            let words = FORMAT.split_whitespace();
            container
                .inside("cryptsetup")
                .args(words)
                .args(["--header", "/tmp/header", "/tmp/disk", "/tmp/key"])
                .run()?;
            fs::copy(container.at("tmp/header"), root.join("etc/keys/var.header"))?;
            Ok(())
        },
        ..luks()
    };
    let (assembled, _) = upgrade(&layout);
    let arguments = &assembled.manifest.boot.arguments;
    assert!(!arguments.contains("rd.luks.uuid"), "{arguments}");
}
