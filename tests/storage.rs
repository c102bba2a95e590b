//! Source systems on storage in layers: built for, booted into the image, upgraded. `plan` knows the devices by what lsblk
//! says of the very same layout (tests/fixtures/storage). Beside each, with the feature `all`: does stock dmsquash-live
//! find the image there?
#![allow(clippy::unwrap_used)]
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
    mdadm --create "/dev/$name" --quiet --run --level=1 --raid-devices=$# --metadata=1.2 --assume-clean \
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

#[test]
fn vm_two_volume_groups_with_var_and_usr_on_their_own() {
    let make = format!(
        "{PARTITION}{LVM}
partition /dev/vdb ''; partition /dev/vdc ''
group vg1 /dev/vdb1; group vg2 /dev/vdc1
volume vg1 root 2400m; volume vg2 var 1600m; volume vg2 usr 800m
put volume0 /dev/vg1/root; put volume1 /dev/vg2/usr; put volume2 /dev/vg2/var
"
    );
    let layout = Layout {
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
    };
    let (assembled, _) = upgrade(&layout);
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
dd if=$by-volume1 of=/dev/mapper/var bs=1M status=none
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

/// What takes long: `make check-all`.
#[cfg(feature = "all")]
mod all {
    use std::fs;

    use livemode_common::cmd::Cmd;
    use livemode_tests::disk::Mounted;
    use livemode_tests::vm::Bus;

    use super::*;

    fn plain(name: &'static str) -> Layout {
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
            fstab: "/swapfile none swap defaults 0 0\n/srv/here /srv/there none bind 0 0\n\
                    UUID=6c697665-6d6f-4d6f-8d6f-0000000000ff /gone ext4 nofail,x-systemd.device-timeout=5s 0 0\n",
            arrange: |root| {
                Cmd::new("fallocate").args(["-l", "64M"]).arg(root.join("swapfile")).run()?;
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
        let release = |number: usize| {
            let partition = tempfile::NamedTempFile::new().unwrap();
            let dd = Cmd::new("dd").arg(format!("if={}", assembled.disk(number).display()));
            let dd = dd.arg(format!("of={}", partition.path().display()));
            dd.args(["bs=1M", "skip=1", "conv=sparse", "status=none"])
                .run()
                .unwrap();
            Mounted::new(partition.path()).unwrap().read("etc/demo-release")
        };
        assert_eq!(
            [0, 1].map(release),
            ["Demo Linux release 1\n", "Demo Linux release 2\n"]
        );
    }
}
