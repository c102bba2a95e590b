//! What is mounted now and what the live system will have, side by side. Pure.
use std::path::Path;

use livemode_common::fstab::Entry;
use livemode_common::mountinfo::{holding, Mount};

use super::{is_bind, is_remote, types, Setting, Storage};
use crate::facts::storage::StorageFacts;

/// Packages and scripts write below these.
const WRITTEN_TO: [&str; 6] = ["/boot", "/usr", "/var", "/etc", "/opt", "/root"];
/// Where the kernel, or nothing but RAM, is; the last two lead to /run on every system since el7.
const OF_THE_KERNEL: [&str; 6] = ["/proc", "/sys", "/dev", "/run", "/var/run", "/var/lock"];
/// A bind mount of a bind mount of a bind mount ... is followed so far.
const DEEPEST: u32 = 8;

/// Whether a path lies where the kernel or RAM is, on every system.
pub(super) fn is_of_the_kernel(path: &str) -> bool {
    OF_THE_KERNEL.iter().any(|top| Path::new(path).starts_with(top))
}

/// Whether a directory's content is the kernel's or RAM's: by what is mounted, or where that is not known by the fstab; and
/// through the fstab's own bind mounts.
pub(super) fn is_gone_after_a_reboot(path: &str, fstab: &[Entry], mounts: &[Mount]) -> bool {
    is_gone(Path::new(path), fstab, mounts, DEEPEST)
}

fn is_gone(path: &Path, fstab: &[Entry], mounts: &[Mount], depth: u32) -> bool {
    if OF_THE_KERNEL.iter().any(|top| path.starts_with(top)) {
        return true;
    }
    let line = fstab
        .iter()
        .filter(|entry| entry.fs_file.len() > 1 && path.starts_with(&entry.fs_file))
        .max_by_key(|entry| entry.fs_file.len());
    let fstype = match holding(mounts, path) {
        Some(mount) if mount.target != Path::new("/") => Some(mount.fstype.as_str()),
        Some(_) => None,
        None => line
            .filter(|entry| !is_bind(entry))
            .map(|entry| entry.fs_vfstype.as_str()),
    };
    if fstype.is_some_and(|fstype| fstype != "autofs" && types::is_virtual(fstype)) {
        return true;
    }
    let Some(bound) = line.filter(|entry| is_bind(entry) && depth > 0) else {
        return false;
    };
    let below = path.strip_prefix(&bound.fs_file).unwrap_or(path);
    is_gone(&Path::new(&bound.fs_spec).join(below), fstab, mounts, depth - 1)
}

impl Storage {
    /// Adds what is mounted now where packages or we write, and what the fstab would not mount: an automatic mount of
    /// systemd's, a unit, one by hand, one with `noauto`.
    pub(super) fn as_it_is_now(&mut self, fstab: &[Entry], sources: &StorageFacts, setting: &Setting) {
        let mounts = setting.mounts;
        if !mounts.iter().any(|mount| mount.target == Path::new("/")) {
            return;
        }
        for (number, mount) in mounts.iter().enumerate() {
            let target = mount.target.display().to_string();
            let is_hidden = mounts[number + 1..]
                .iter()
                .any(|later| later.target == mount.target);
            let matters = WRITTEN_TO.iter().any(|top| mount.target.starts_with(top))
                || setting
                    .places
                    .iter()
                    .any(|place| place.starts_with(&mount.target));
            if target == "/" || is_hidden || !matters || types::is_virtual(&mount.fstype) {
                continue;
            }
            let line = fstab.iter().find(|entry| sources.real(&entry.fs_file) == target);
            let is_mounted = self.mounts.iter().any(|live| live.entry.fs_file == target);
            let is_late = |entry: &Entry| {
                entry.has("noauto")
                    && !entry.has("x-systemd.automount")
                    && !entry.has("comment=systemd.automount")
            };
            if is_mounted || line.is_some_and(|entry| !is_late(entry)) {
                continue;
            }
            if mount.fstype == types::OVERLAY {
                self.overlay(mount);
                continue;
            }
            let entry = match line {
                Some(line) => {
                    let kept = line
                        .options()
                        .filter(|option| !["noauto", "nofail"].contains(option));
                    Some(Entry {
                        fs_file: target.clone(),
                        fs_mntops: kept.collect::<Vec<_>>().join(","),
                        ..line.clone()
                    })
                }
                None => self.entry_of(mount, mounts, sources),
            };
            let Some(entry) = entry else { continue };
            match self.live_mount(&entry, true, sources, setting) {
                Ok(live) => {
                    self.warnings.push(format!(
                        "{target} is mounted now, though not by /etc/fstab; the live system mounts {} there",
                        live.spec
                    ));
                    if let Some(device) = live.device {
                        self.source.add(&sources.devices, device);
                    }
                    self.mounts.push(live);
                }
                Err(why) => self.faults.push(format!(
                    "{target} is mounted now, though not by /etc/fstab, and the live system would not have it: {why}; unmount \
                     it, or add it to /etc/fstab"
                )),
            }
        }
    }

    /// An overlay that no line has: nothing of an upgrade writes into a container's, or into one that is read-only.
    fn overlay(&mut self, mount: &Mount) {
        let target = mount.target.display();
        let upper = mount
            .options
            .iter()
            .find_map(|option| option.strip_prefix("upperdir="));
        // podman(1) and dockerd(8) keep what a container writes beside its root.
        let is_containers = upper.is_some_and(|upper| Path::new(upper).parent() == mount.target.parent());
        match upper {
            Some(_) if is_containers => {}
            Some(_) => self.faults.push(format!(
                "{target} is an overlay now, though not by /etc/fstab, and the live system would not have it; unmount it"
            )),
            None => self.warnings.push(format!(
                "{target} is a read-only overlay now, which the live system goes without: packages are written beneath it"
            )),
        }
    }

    /// The line that would mount it so; none of a directory that is bound onto itself.
    fn entry_of(&self, mount: &Mount, mounts: &[Mount], sources: &StorageFacts) -> Option<Entry> {
        let path = |path: &Path| path.display().to_string();
        let line = |spec: String, fstype: &str, options: Vec<String>| Entry {
            fs_spec: spec,
            fs_file: path(&mount.target),
            fs_vfstype: fstype.to_owned(),
            fs_mntops: options.join(","),
            fs_freq: "0".into(),
            fs_passno: "0".into(),
            line: 0,
        };
        let mut options: Vec<String> = Vec::new();
        for option in ["ro", "nosuid", "nodev", "noexec"] {
            if mount.options.iter().any(|is| is == option) {
                options.push(option.into());
            }
        }
        // A directory of what is mounted elsewhere too.
        let whole = mounts.iter().filter(|other| {
            other.source == mount.source
                && other.fstype == mount.fstype
                && other.target != mount.target
                && mount.root != other.root
                && mount.root.starts_with(&other.root)
        });
        let whole = whole.filter(|other| {
            self.mounts
                .iter()
                .any(|live| Path::new(&live.entry.fs_file) == other.target)
        });
        if let Some(other) = whole.max_by_key(|other| other.root.components().count()) {
            let below = mount.root.strip_prefix(&other.root).unwrap_or(&mount.root);
            let from = other.target.join(below);
            options.insert(0, "bind".into());
            return (from != mount.target).then(|| line(path(&from), "none", options));
        }
        if let Some(file) = sources.backing.get(&mount.source) {
            options.insert(0, "loop".into());
            return Some(line(file.clone(), &mount.fstype, options));
        }
        let mut entry = line(mount.source.clone(), &mount.fstype, Vec::new());
        if mount.fstype == "btrfs" {
            options.push(format!("subvol={}", mount.root.display()));
        }
        if !is_remote(&entry) {
            let device = sources.devices.at(&mount.source);
            entry.fs_spec = device
                .and_then(|device| sources.lasting_name(device))
                .unwrap_or(entry.fs_spec);
        }
        entry.fs_mntops = options.join(",");
        Some(entry)
    }
}

#[cfg(test)]
mod tests {
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
        let start = "/var is mounted now, though not by /etc/fstab, and the live system would not have it: fuse.x needs";
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
}
