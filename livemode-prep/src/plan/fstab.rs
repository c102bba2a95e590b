//! The live system's fstab: every mount of the source system, below /run/upgrade. Pure.
use livemode_common::contract::SOURCE_MOUNT;
use livemode_common::fstab::Entry;

use crate::plan::storage::{is_file, LiveMount};

/// What the services of the live system wait for; `nofail` alone would let them start before the mounts.
const USERS: [&str; 2] = ["livemode-journal.service", "livemode-upgrade.service"];

/// The entries, in the source's order. Each is `nofail`: a missing disk must not end at an emergency prompt;
/// `livemode-run` checks that what the source requires is there. `image_names` are the names
/// of the file system that the image lies on: it is mounted already, so fsck(8) must not check it.
pub(crate) fn live(mounts: &[LiveMount], image_names: &[String]) -> Vec<Entry> {
    mounts
        .iter()
        .map(|mount| live_entry(mount, image_names))
        .collect()
}

fn live_entry(mount: &LiveMount, image_names: &[String]) -> Entry {
    let entry = &mount.entry;
    let fs_spec = if is_file(&mount.spec) {
        below(&mount.spec)
    } else {
        mount.spec.clone()
    };
    let mut options: Vec<String> = entry.options().map(str::to_owned).collect();
    options.push("nofail".into());
    if entry.fs_vfstype == "swap" {
        return Entry {
            fs_spec,
            fs_mntops: options.join(","),
            ..entry.clone()
        };
    }
    options.extend(USERS.iter().map(|unit| format!("x-systemd.before={unit}")));
    if mount.is_required {
        options.push("x-livemode.required".into());
    }
    let has_the_image = image_names.contains(&entry.fs_spec) || image_names.contains(&mount.spec);
    Entry {
        fs_spec,
        fs_file: below(&entry.fs_file),
        fs_mntops: options.join(","),
        fs_passno: if has_the_image {
            "0".into()
        } else {
            entry.fs_passno.clone()
        },
        ..entry.clone()
    }
}

/// Where a path of the source lies in the live system.
pub(crate) fn below(path: &str) -> String {
    match path {
        "/" => SOURCE_MOUNT.to_owned(),
        path => format!("{SOURCE_MOUNT}{path}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::storage::StorageFacts;
    use crate::plan::storage::{Setting, Storage};
    use livemode_common::fstab::parse;

    #[test]
    fn every_mount_of_the_source_lies_below_run_upgrade() {
        // From a CentOS Stream 8 machine, with a swap file, a bind mount and a data disk added.
        let source = "\
UUID=aa / xfs defaults 0 1
UUID=bb /boot ext4 defaults 1 2
UUID=cc /boot/efi vfat umask=0077,shortname=winnt 0 2
/dev/mapper/cs-swap none swap defaults 0 0
/swapfile none swap sw 0 0
/srv/data /data none bind 0 0
UUID=dd /backup btrfs subvol=b,nofail,x-initrd.mount 0 0
tmpfs /tmp tmpfs size=1g 0 0
UUID=ee /usb vfat noauto 0 0
server:/export /nfs nfs _netdev 0 0
/srv/disk.img /srv/loop ext4 loop,x-systemd.requires-mounts-for=/srv/data 0 0
//server/share /share cifs credentials=/etc/share.secret 0 0
rpc /var/lib/nfs/rpc_pipefs rpc_pipefs defaults 0 0
UUID=ff /efi vfat noauto,x-systemd.automount 0 2
";
        let after = "x-systemd.before=livemode-journal.service,x-systemd.before=livemode-upgrade.service";
        let fstab = parse(source).unwrap();
        let setting = Setting {
            image_source: "/dev/vda2",
            image_uuid: Some("aa"),
            ..Setting::of_test()
        };
        let sources = StorageFacts {
            keys: ["/etc/share.secret".to_owned()].into(),
            ..StorageFacts::default()
        };
        let storage = Storage::model(&fstab, &sources, &setting);
        let lines: Vec<String> = live(&storage.mounts, &["UUID=aa".into()])
            .iter()
            .map(Entry::to_string)
            .collect();
        assert_eq!(
            lines,
            [
                format!("UUID=aa /run/upgrade xfs defaults,nofail,{after},x-livemode.required 0 0"),
                format!("UUID=bb /run/upgrade/boot ext4 defaults,nofail,{after},x-livemode.required 1 2"),
                format!("UUID=cc /run/upgrade/boot/efi vfat umask=0077,shortname=winnt,nofail,{after},x-livemode.required 0 2"),
                "/dev/mapper/cs-swap none swap defaults,nofail 0 0".to_owned(),
                "/run/upgrade/swapfile none swap sw,nofail 0 0".to_owned(),
                format!("/run/upgrade/srv/data /run/upgrade/data none bind,nofail,{after},x-livemode.required 0 0"),
                format!("UUID=dd /run/upgrade/backup btrfs subvol=b,nofail,{after} 0 0"),
                format!("server:/export /run/upgrade/nfs nfs _netdev,nofail,{after},x-livemode.required 0 0"),
                format!(
                    "/run/upgrade/srv/disk.img /run/upgrade/srv/loop ext4 \
                     loop,x-systemd.requires-mounts-for=/run/upgrade/srv/data,nofail,{after},x-livemode.required 0 0"
                ),
                format!(
                    "//server/share /run/upgrade/share cifs credentials=/etc/share.secret,nofail,{after},x-livemode.required \
                     0 0"
                ),
                format!("UUID=ff /run/upgrade/efi vfat nofail,{after},x-livemode.required 0 2"),
            ]
        );
    }

    #[test]
    fn the_images_file_system_is_not_checked_by_whatever_name_it_has() {
        use crate::facts::storage::devices::Devices;
        let lsblk = r#"{"blockdevices": [{"name": "/dev/sda1", "kname": "/dev/sda1", "type": "part", "uuid": "aa"}]}"#;
        let sources = StorageFacts {
            devices: Devices::parse(lsblk).unwrap(),
            links: [("/dev/odd".to_owned(), "/dev/sda1".to_owned())].into(),
            ..StorageFacts::default()
        };
        let fstab = parse("/dev/odd / xfs defaults 0 1\n").unwrap();
        let mounts = Storage::model(&fstab, &sources, &Setting::of_test()).mounts;
        for (name, number) in [("UUID=aa", "0"), ("/dev/odd", "0"), ("UUID=bb", "1")] {
            let live = live(&mounts, &[name.to_owned()]);
            assert_eq!(
                (live[0].fs_spec.as_str(), live[0].fs_passno.as_str()),
                ("UUID=aa", number),
                "{name}"
            );
        }
    }
}
