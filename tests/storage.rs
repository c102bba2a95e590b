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

/// Boots the layout from `build` to the upgraded system.
fn upgrade(layout: &Layout) -> (Assembled, String) {
    let assembled = Assembled::new(layout).unwrap();
    let console = assembled.boot().unwrap();
    assert!(console.contains("livemode: the upgrade succeeded"), "{console}");
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
