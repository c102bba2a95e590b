//! The device that a line of the source's fstab means, and by what the live system finds it. Pure.
use super::{LiveMount, Storage};
use crate::facts::storage::{devices, StorageFacts};

impl Storage {
    /// The device of a mount. Of several that answer to one name it is the one that is mounted now.
    pub(super) fn find(&mut self, mount: &mut LiveMount, sources: &StorageFacts) -> Result<(), String> {
        let spec = &mount.entry.fs_spec.clone();
        let found = sources.named(spec);
        let device = match found.as_slice() {
            [] if sources.is_known() => {
                let gone = format!("{spec} is not there now");
                // What is mounted now is there, whatever lsblk calls it.
                let is_mounted = sources.mounted.contains_key(&mount.entry.fs_file);
                if mount.is_required && sources.is_complete() && !is_mounted {
                    return Err(format!("{gone}; mend its line in /etc/fstab, or add nofail"));
                }
                if mount.is_required {
                    self.warnings.push(format!("{}: {gone}", mount.entry.fs_file));
                }
                mount.spec = devices::plain(spec);
                return Ok(());
            }
            [] => {
                mount.spec = devices::plain(spec);
                return Ok(());
            }
            [device] => {
                mount.device = Some(*device);
                return self.rename(mount, sources);
            }
            // Members of one file system.
            [first, ..] if sources.devices.get(*first).is_btrfs() => {
                mount.device = Some(*first);
                self.rename(mount, sources)?;
                return Ok(());
            }
            several => {
                let names: Vec<&str> = several
                    .iter()
                    .map(|&i| sources.devices.get(i).path.as_str())
                    .collect();
                let mounted = sources
                    .mounted
                    .get(&mount.entry.fs_file)
                    .and_then(|path| sources.devices.at(path));
                mounted.filter(|device| several.contains(device)).ok_or_else(|| {
                    format!(
                        "{} all answer to {spec}, and which is meant is not clear; detach all but one, or name it in \
                         /etc/fstab by what only it has",
                        names.join(", ")
                    )
                })?
            }
        };
        if found.len() > 1 {
            mount.spec = sources.only_name(device).ok_or_else(|| {
                let path = &sources.devices.get(device).path;
                format!("other devices than {path} have its UUID too, and nothing else tells it apart; detach them")
            })?;
            self.warnings.push(format!(
                "{}: several devices answer to {spec}; taking {}",
                mount.entry.fs_file, mount.spec
            ));
        }
        mount.device = Some(device);
        Ok(())
    }

    /// By what the live system's udev finds the device too, on a kernel that may number disks anew.
    fn rename(&mut self, mount: &mut LiveMount, sources: &StorageFacts) -> Result<(), String> {
        let Some(device) = mount.device else { return Ok(()) };
        let spec = mount.entry.fs_spec.clone();
        let name = match sources.devices.tag(&spec, device) {
            Some(tag) => Some(tag),
            None => sources.lasting(&spec, device)?,
        };
        if let Some(name) = name {
            mount.spec = name;
        }
        if sources.is_of_rules(&spec, device) {
            self.warnings.push(format!(
                "{}: {spec} is a name of the source system's udev rules; taking {}",
                mount.entry.fs_file, mount.spec
            ));
        } else if sources.may_be_another(&mount.spec) {
            self.warnings.push(format!(
                "{}: {spec} has no UUID, and the kernel may give its name to another device at the next boot; name it by \
                 what only it has (blkid) in /etc/fstab",
                mount.entry.fs_file
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::storage::devices::Devices;
    use crate::plan::storage::Setting;
    use livemode_common::fstab;

    const LSBLK: &str = r#"{"blockdevices": [
        {"name": "/dev/sda1", "kname": "/dev/sda1", "type": "part", "fstype": "xfs", "uuid": "R", "label": "Root", "partuuid": "p1", "partlabel": "Slot"},
        {"name": "/dev/sda2", "kname": "/dev/sda2", "type": "part", "fstype": "swap", "uuid": "", "partuuid": "p2"},
        {"name": "/dev/sda3", "kname": "/dev/sda3", "type": "part", "fstype": "swap", "uuid": ""},
        {"name": "/dev/sda4", "kname": "/dev/sda4", "type": "part", "fstype": "ext4", "uuid": "1", "label": "data", "partuuid": "p4"},
        {"name": "/dev/sda5", "kname": "/dev/sda5", "type": "part", "fstype": "ext4", "uuid": "2", "label": "data", "partuuid": "p5"},
        {"name": "/dev/sdb", "kname": "/dev/sdb", "type": "disk", "fstype": "btrfs", "uuid": "B"},
        {"name": "/dev/sdc", "kname": "/dev/sdc", "type": "disk", "fstype": "btrfs", "uuid": "B"}]}"#;

    /// By what the mounts and swaps are found, what stands against them, and what is warned of. /data is sda5 now.
    fn found(lsblk: &str, fstab: &str) -> (Vec<String>, Vec<String>, Vec<String>) {
        let (sources, setting) = (sources(lsblk), Setting::of_test());
        let storage = Storage::model(&fstab::parse(fstab).unwrap(), &sources, &setting);
        let specs = storage.mounts.iter().map(|mount| mount.spec.clone());
        (specs.collect(), storage.faults, storage.warnings)
    }

    fn sources(lsblk: &str) -> StorageFacts {
        let pair = |from: &str, to: &str| (from.to_owned(), to.to_owned());
        StorageFacts {
            devices: Devices::parse(lsblk).unwrap(),
            mounted: [pair("/data", "/dev/sda5"), pair("/other", "/dev/sda1")].into(),
            links: [
                pair("/dev/root", "/dev/sda1"),
                pair("/dev/bare", "/dev/sda2"),
                pair("/dev/nameless", "/dev/sda3"),
                pair("/dev/disk/by-path/p1", "/dev/sda1"),
                pair("/dev/disk/by-label/Root", "/dev/sda1"),
            ]
            .into(),
            ..StorageFacts::default()
        }
    }

    #[test]
    fn a_device_is_found_by_a_name_that_the_live_systems_udev_gives() {
        for (spec, name, warning) in [
            ("UUID=\"r\"", "UUID=R", None),
            ("LABEL=root", "LABEL=Root", None),
            ("PARTUUID='P1'", "PARTUUID=p1", None),
            ("PARTLABEL=slot", "PARTLABEL=Slot", None),
            // The kernel numbers disks as it finds them, and links to buses and hardware may be others on a new release.
            ("/dev/sda1", "UUID=R", None),
            ("/dev/disk/by-path/p1", "UUID=R", None),
            ("/dev/disk/by-label/Root", "/dev/disk/by-label/Root", None),
            ("/dev/sda2", "/dev/disk/by-partuuid/p2", None),
            (
                "/dev/sda3",
                "/dev/sda3",
                Some("/a: /dev/sda3 has no UUID, and the kernel may give its name to another device at the next boot; name it by \
                      what only it has (blkid) in /etc/fstab"),
            ),
            ("/dev/root", "UUID=R", Some("/a: /dev/root is a name of the source system's udev rules; taking UUID=R")),
            (
                "/dev/bare",
                "/dev/disk/by-partuuid/p2",
                Some("/a: /dev/bare is a name of the source system's udev rules; taking /dev/disk/by-partuuid/p2"),
            ),
        ] {
            let warnings: Vec<String> = warning.map(str::to_owned).into_iter().collect();
            let line = format!("{spec} /a xfs defaults 0 0\n");
            assert_eq!(found(LSBLK, &line), (vec![name.to_owned()], vec![], warnings), "{spec}");
        }
        let (specs, faults, _) = found(LSBLK, "/dev/nameless /a xfs defaults 0 0\n");
        assert_eq!(specs, [""; 0]);
        assert_eq!(
            faults,
            ["/a (/etc/fstab, line 1): /dev/nameless is a name that only the source system's udev rules give, and /dev/sda3 has no UUID; name it \
              by another in /etc/fstab"]
        );
    }

    #[test]
    fn of_several_with_one_name_the_mounted_one_is_taken() {
        let (specs, faults, warnings) = found(LSBLK, "LABEL=data /data ext4 defaults 0 0\n");
        assert_eq!(
            (specs, faults),
            (vec!["/dev/disk/by-partuuid/p5".to_owned()], vec![])
        );
        assert_eq!(
            warnings,
            ["/data: several devices answer to LABEL=data; taking /dev/disk/by-partuuid/p5"]
        );
        // What is mounted at the other place is another device.
        for place in ["/other", "/new"] {
            let (specs, faults, _) = found(LSBLK, &format!("LABEL=data {place} ext4 defaults 0 0\n"));
            assert_eq!(specs, [""; 0]);
            let start = format!(
                "{place} (/etc/fstab, line 1): /dev/sda4, /dev/sda5 all answer to LABEL=data, and which is meant is not clear"
            );
            assert!(faults.len() == 1 && faults[0].starts_with(&start), "{faults:?}");
        }
        assert_eq!(
            found(LSBLK, "UUID=b /b btrfs defaults 0 0\n"),
            (vec!["UUID=B".to_owned()], vec![], vec![])
        );
    }

    #[test]
    fn a_device_that_is_not_there_is_told_where_devices_are_known() {
        let told =
            "/a (/etc/fstab, line 1): UUID=gone is not there now; mend its line in /etc/fstab, or add nofail";
        let required = found(LSBLK, "UUID=gone /a xfs defaults 0 0\n");
        assert_eq!(required, (vec![], vec![told.to_owned()], vec![]));
        // /data is mounted.
        let (specs, faults, warnings) = found(LSBLK, "UUID=gone /data xfs defaults 0 0\n");
        assert_eq!((specs, faults), (vec!["UUID=gone".to_owned()], vec![]));
        assert_eq!(warnings, ["/data: UUID=gone is not there now"]);
        // Where not even the root's device is known, another may be, too.
        let mut sources = sources(LSBLK);
        for (root, is_complete) in [("/dev/sda1", true), ("/dev/loop0", false)] {
            sources.mounted.insert("/".into(), root.into());
            assert_eq!(sources.is_complete(), is_complete, "{root}");
        }
        for spec in ["UUID=gone", "UUID='gone'", "/dev/gone"] {
            let kept = vec![spec.replace('\'', "")];
            let line = format!("{spec} /a xfs nofail 0 0\n");
            assert_eq!(found(LSBLK, &line), (kept, vec![], vec![]), "{spec}");
        }
        let nothing = r#"{"blockdevices": []}"#;
        let (specs, faults, warnings) = found(
            nothing,
            "PARTUUID='AB' /a xfs defaults 0 0\nLABEL=\"Data\" /b xfs defaults 0 0\n",
        );
        assert_eq!((faults.len(), warnings.len()), (0, 0), "{faults:?} {warnings:?}");
        assert_eq!(specs, ["PARTUUID=ab", "LABEL=Data"]);
    }
}
