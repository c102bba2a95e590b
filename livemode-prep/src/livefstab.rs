//! The live system's fstab: every mount of the source system, below /run/upgrade. Pure.
use livemode_common::contract::SOURCE_MOUNT;
use livemode_common::fstab::Entry;

/// Kernel interfaces and RAM: the upgrade's container brings its own.
const VIRTUAL: [&str; 18] = [
    "proc",
    "sysfs",
    "tmpfs",
    "devtmpfs",
    "devpts",
    "cgroup",
    "cgroup2",
    "mqueue",
    "hugetlbfs",
    "debugfs",
    "tracefs",
    "securityfs",
    "configfs",
    "efivarfs",
    "pstore",
    "bpf",
    "ramfs",
    "overlay",
];
/// What the services of the live system wait for; `nofail` alone would let them start before the mounts.
const USERS: [&str; 2] = ["livemode-journal.service", "livemode-upgrade.service"];

/// The entries, in the source's order. Each is `nofail`: a missing disk must not end at an emergency prompt;
/// `livemode-run` checks that what the source requires is there. `held` is the file system the image lies on
/// (`UUID=…` or its device): mounted already, so never checked by fsck(8).
pub(crate) fn live(source: &[Entry], held: &[String]) -> Vec<Entry> {
    source
        .iter()
        .filter_map(|entry| live_entry(entry, held))
        .collect()
}

fn live_entry(entry: &Entry, held: &[String]) -> Option<Entry> {
    if VIRTUAL.contains(&entry.fs_vfstype.as_str()) || entry.has("noauto") {
        return None;
    }
    let below = |path: &str| match path {
        "/" => SOURCE_MOUNT.to_owned(),
        path => format!("{SOURCE_MOUNT}{path}"),
    };
    let is_file = entry.fs_spec.starts_with('/') && !entry.fs_spec.starts_with("/dev/");
    let fs_spec = if is_file {
        below(&entry.fs_spec)
    } else {
        entry.fs_spec.clone()
    };
    let mut options: Vec<String> = entry
        .options()
        .filter(|o| !matches!(*o, "nofail" | "x-initrd.mount"))
        .map(str::to_owned)
        .collect();
    options.push("nofail".into());
    if entry.fs_vfstype == "swap" {
        return Some(Entry {
            fs_spec,
            fs_mntops: options.join(","),
            ..entry.clone()
        });
    }
    if !entry.fs_file.starts_with('/') {
        return None;
    }
    options.extend(USERS.iter().map(|unit| format!("x-systemd.before={unit}")));
    if !entry.has("nofail") {
        options.push("x-livemode.required".into());
    }
    let held = held.contains(&entry.fs_spec);
    Some(Entry {
        fs_spec,
        fs_file: below(&entry.fs_file),
        fs_mntops: options.join(","),
        fs_passno: if held { "0".into() } else { entry.fs_passno.clone() },
        ..entry.clone()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
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
";
        let after = "x-systemd.before=livemode-journal.service,x-systemd.before=livemode-upgrade.service";
        let lines: Vec<String> = live(&parse(source).unwrap(), &["UUID=aa".into()])
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
            ]
        );
    }
}
