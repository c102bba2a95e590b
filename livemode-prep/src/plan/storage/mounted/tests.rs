//! What is mounted now beside what the live system will have, by tables of mountinfo.
use super::*;
use crate::facts::storage::devices::Devices;
use livemode_common::{fstab, mountinfo};

const LSBLK: &str = r#"{"blockdevices": [
    {"name": "/dev/sda1", "kname": "/dev/sda1", "type": "part", "fstype": "xfs", "uuid": "R"},
    {"name": "/dev/sda2", "kname": "/dev/sda2", "type": "part", "fstype": "xfs", "uuid": "V"},
    {"name": "/dev/sda3", "kname": "/dev/sda3", "type": "part", "fstype": "btrfs", "uuid": "B"},
    {"name": "/dev/mapper/vg-opt", "kname": "/dev/dm-0", "type": "lvm", "fstype": "xfs", "uuid": "O"}]}"#;
const ROOT: &str = "UUID=R / xfs defaults 0 1\n";

/// Lines of mountinfo, of `ROOT TARGET TYPE SOURCE OPTIONS` each.
fn mounts(lines: &[&str]) -> Vec<Mount> {
    let line = |line: &&str| {
        let words: Vec<&str> = line.split(' ').collect();
        format!(
            "1 1 8:1 {} {} {} - {} {} rw\n",
            words[0], words[1], words[4], words[2], words[3]
        )
    };
    mountinfo::parse(&lines.iter().map(line).collect::<String>())
}

fn model(fstab: &str, mounts: &[Mount]) -> Storage {
    let sources = StorageFacts {
        devices: Devices::parse(LSBLK).unwrap(),
        real: [("/log".to_owned(), "/var/log".to_owned())].into(),
        ..StorageFacts::default()
    };
    let setting = Setting {
        image_source: "/dev/sda1",
        image_uuid: Some("R"),
        mounts,
        places: &["/srv/images/live.img".into()],
        ..Setting::of_test()
    };
    Storage::model(&fstab::parse(fstab).unwrap(), &sources, &setting)
}

/// What comes along besides `/`.
fn more(fstab: &str, lines: &[&str]) -> (Vec<String>, Storage) {
    let mut storage = model(&format!("{ROOT}{fstab}"), &mounts(lines));
    assert_eq!(storage.mounts.remove(0).entry.fs_file, "/");
    let lines = storage.mounts.iter().map(|mount| mount.entry.to_string());
    (lines.collect(), storage)
}

#[test]
fn what_is_mounted_but_not_by_the_fstab_comes_along_where_packages_or_we_write() {
    let root = "/ / xfs /dev/sda1 rw";
    for (mounted, line) in [
        (
            "/ /var xfs /dev/sda2 rw,nosuid,relatime",
            Some("UUID=V /var xfs nosuid 0 0"),
        ),
        (
            "/ /usr/local xfs /dev/sda2 ro,nodev,noexec",
            Some("UUID=V /usr/local xfs ro,nodev,noexec 0 0"),
        ),
        ("/ /srv xfs /dev/sda2 rw", Some("UUID=V /srv xfs defaults 0 0")),
        (
            "/ /srv/images xfs /dev/sda2 rw",
            Some("UUID=V /srv/images xfs defaults 0 0"),
        ),
        (
            "/opt /opt btrfs /dev/sda3 rw",
            Some("UUID=B /opt btrfs subvol=/opt 0 0"),
        ),
        ("/ /var nfs host:/var rw", Some("host:/var /var nfs defaults 0 0")),
        // A directory of the root file system.
        (
            "/srv/opt /opt xfs /dev/sda1 rw",
            Some("/srv/opt /opt none bind 0 0"),
        ),
        (
            "/srv/opt /opt xfs /dev/sda1 ro",
            Some("/srv/opt /opt none bind,ro 0 0"),
        ),
        ("/opt /opt xfs /dev/sda1 rw", None),
        // All of it once more.
        ("/ /opt xfs /dev/sda1 rw", Some("UUID=R /opt xfs defaults 0 0")),
        ("/ /srv/other xfs /dev/sda2 rw", None),
        ("/ /home xfs /dev/sda2 rw", None),
        ("/ /var tmpfs tmpfs rw", None),
    ] {
        let (lines, storage) = more("", &[root, mounted]);
        assert_eq!(
            lines,
            line.map(str::to_owned).into_iter().collect::<Vec<_>>(),
            "{mounted}"
        );
        assert_eq!(storage.faults, [""; 0], "{mounted}");
        assert_eq!(storage.warnings.len(), lines.len(), "{mounted}");
        assert!(storage.mounts.iter().all(|mount| mount.is_required), "{mounted}");
    }
    let (lines, storage) = more("", &[root, "/ /opt xfs /dev/mapper/vg-opt rw"]);
    assert_eq!(lines, ["UUID=O /opt xfs defaults 0 0"]);
    let words: Vec<String> = storage
        .source
        .arguments()
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(words, ["rd.lvm.vg=vg"]);
    assert_eq!(
        storage.warnings,
        ["/opt is mounted now, though not by /etc/fstab; the live system mounts UUID=O there"]
    );
}

#[test]
fn what_the_live_system_would_not_have_stands_against_the_upgrade() {
    let (lines, storage) = more("", &["/ / xfs /dev/sda1 rw", "/ /var fuse.x x rw"]);
    assert_eq!(lines, [""; 0]);
    assert_eq!(storage.faults.len(), 1, "{:?}", storage.faults);
    let start =
        "/var is mounted now, though not by /etc/fstab, and the live system would not have it: fuse.x needs";
    assert!(storage.faults[0].starts_with(start), "{:?}", storage.faults);
}

#[test]
fn a_line_of_the_fstab_counts_for_what_it_would_not_mount_at_boot() {
    let root = "/ / xfs /dev/sda1 rw";
    let var = "/ /var xfs /dev/sda2 rw";
    for (line, found, warnings) in [
        (
            "UUID=V /var xfs noauto,nofail,nosuid 0 2",
            vec!["UUID=V /var xfs nosuid 0 2"],
            1,
        ),
        (
            "UUID=V /var xfs nosuid 0 2",
            vec!["UUID=V /var xfs nosuid 0 2"],
            0,
        ),
        (
            "UUID=V /var xfs noauto,x-systemd.automount 0 2",
            vec!["UUID=V /var xfs defaults 0 2"],
            0,
        ),
        (
            "UUID=V /var xfs noauto,comment=systemd.automount 0 2",
            vec!["UUID=V /var xfs defaults 0 2"],
            0,
        ),
        // Said once, by its own line.
        ("x /var fuse.x nofail 0 0", vec![], 1),
        ("x /var fuse.x nofail,noauto,x-systemd.automount 0 0", vec![], 1),
        (
            "x /var fuse.x nofail,noauto,comment=systemd.automount 0 0",
            vec![],
            1,
        ),
    ] {
        let (lines, storage) = more(&format!("{line}\n"), &[root, var]);
        assert_eq!(lines, found, "{line}");
        assert_eq!(
            (storage.faults.len(), storage.warnings.len()),
            (0, warnings),
            "{line}: {:?}",
            storage.warnings
        );
    }
}

#[test]
fn a_line_of_the_fstab_is_found_through_a_link() {
    let (lines, storage) = more(
        "UUID=V /log xfs noauto,nosuid 0 2\n",
        &["/ / xfs /dev/sda1 rw", "/ /var/log xfs /dev/sda2 rw"],
    );
    assert_eq!(lines, ["UUID=V /var/log xfs nosuid 0 2"]);
    assert_eq!(storage.warnings.len(), 1, "{:?}", storage.warnings);
}

#[test]
fn of_mounts_upon_each_other_the_last_counts_and_without_a_root_none() {
    let (lines, _) = more(
        "",
        &[
            "/ / xfs /dev/sda1 rw",
            "/ /var xfs /dev/sda2 rw",
            "/ /var xfs /dev/mapper/vg-opt rw",
        ],
    );
    assert_eq!(lines, ["UUID=O /var xfs defaults 0 0"]);
    let (lines, _) = more("", &["/ /var xfs /dev/sda2 rw"]);
    assert_eq!(lines, [""; 0]);
}

#[test]
fn a_directory_is_bound_from_the_nearest_mount_that_the_live_system_has() {
    let bound = "/srv/a/opt /opt xfs /dev/sda1 rw";
    for (fstab, others, line) in [
        // A mount by hand, where nobody writes, does not come along.
        (
            "",
            vec!["/srv /data xfs /dev/sda1 rw"],
            "/srv/a/opt /opt none bind 0 0",
        ),
        (
            "/srv /data none bind 0 0\n",
            vec!["/srv /data xfs /dev/sda1 rw"],
            "/data/a/opt /opt none bind 0 0",
        ),
        (
            "UUID=V /data xfs defaults 0 0\n",
            vec!["/srv /data xfs /dev/sda2 rw"],
            "/srv/a/opt /opt none bind 0 0",
        ),
        (
            "/srv /data none bind 0 0\n",
            vec!["/srv /data ext4 /dev/sda1 rw"],
            "/srv/a/opt /opt none bind 0 0",
        ),
        (
            "/srv/b /data none bind 0 0\n",
            vec!["/srv/b /data xfs /dev/sda1 rw"],
            "/srv/a/opt /opt none bind 0 0",
        ),
    ] {
        let root = "/ / xfs /dev/sda1 rw";
        let all: Vec<&str> = [root].into_iter().chain(others).chain([bound]).collect();
        let (lines, _) = more(fstab, &all);
        assert_eq!(lines.last().map(String::as_str), Some(line), "{fstab}{all:?}");
    }
}

#[test]
fn what_the_kernel_or_ram_has_is_gone_after_a_reboot() {
    let mounted = mounts(&[
        "/ / tmpfs tmpfs rw",
        "/ /tmp tmpfs tmpfs rw",
        "/ /tmp/disk xfs /dev/sda2 rw",
        "/ /misc autofs autofs rw",
    ]);
    let fstab =
        "none / tmpfs defaults 0 0\nnone /tmp tmpfs defaults 0 0\nUUID=V /tmp/disk xfs defaults 0 0\n\
                 UUID=V /srv xfs defaults 0 0\nnone /misc autofs defaults 0 0\n";
    let fstab = fstab::parse(fstab).unwrap();
    for (path, is_gone) in [
        ("/proc/self", true),
        ("/dev/shm", true),
        ("/run", true),
        ("/sys/x", true),
        ("/runner", false),
        ("/tmp/a", true),
        ("/tmp", true),
        ("/tmp/disk/a", false),
        ("/misc/a", false),
        ("/srv/a", false),
        ("/home", false),
    ] {
        assert_eq!(is_gone_after_a_reboot(path, &[], &mounted), is_gone, "{path}");
        assert_eq!(
            is_gone_after_a_reboot(path, &fstab, &[]),
            is_gone,
            "{path} by the fstab"
        );
    }
}

#[test]
fn overlays_count_by_who_writes_to_them() {
    let root = "/ / xfs /dev/sda1 rw";
    let of_container = "rw,lowerdir=/l,upperdir=/var/lib/containers/storage/overlay/a/diff,workdir=/w";
    for (target, options, faults, warnings) in [
        ("/var/lib/containers/storage/overlay/a/merged", of_container, 0, 0),
        ("/opt", "rw,lowerdir=/l,upperdir=/srv/diff,workdir=/w", 1, 0),
        ("/usr", "ro,lowerdir=/l:/usr", 0, 1),
        ("/home", "rw,lowerdir=/l,upperdir=/srv/diff,workdir=/w", 0, 0),
    ] {
        let (lines, storage) = more("", &[root, &format!("/ {target} overlay overlay {options}")]);
        assert_eq!(lines, [""; 0], "{target}");
        let found = (storage.faults.len(), storage.warnings.len());
        assert_eq!(found, (faults, warnings), "{target}: {storage:?}");
    }
}

#[test]
fn a_loop_device_is_mounted_by_its_file() {
    let mut sources = StorageFacts {
        devices: Devices::parse(LSBLK).unwrap(),
        ..StorageFacts::default()
    };
    sources.backing.insert("/dev/loop0".into(), "/srv/a.iso".into());
    let mounts = mounts(&["/ / xfs /dev/sda1 rw", "/ /var/iso iso9660 /dev/loop0 ro"]);
    let setting = Setting {
        mounts: &mounts,
        ..Setting::of_test()
    };
    let storage = Storage::model(&fstab::parse(ROOT).unwrap(), &sources, &setting);
    let lines: Vec<String> = storage
        .mounts
        .iter()
        .map(|mount| mount.entry.to_string())
        .collect();
    assert_eq!(lines[1..], ["/srv/a.iso /var/iso iso9660 loop,ro 0 0"]);
    assert_eq!(storage.faults, [""; 0]);
}

#[test]
fn a_bind_mount_of_a_bind_mount_is_followed() {
    let fstab = fstab::parse(
        "UUID=R / xfs defaults 0 1\n/proc /a none bind 0 0\n/a/x /b none rbind 0 0\n/srv /c none bind 0 0\n/d /e none bind 0 0\n\
         /e /d none bind 0 0\n",
    )
    .unwrap();
    for (path, is_gone) in [
        ("/b/y", true),
        ("/c", false),
        ("/d", false),
        ("/var/run/x", true),
        ("/var/lock", true),
        ("/var/runs", false),
    ] {
        assert_eq!(is_gone_after_a_reboot(path, &fstab, &[]), is_gone, "{path}");
    }
}
