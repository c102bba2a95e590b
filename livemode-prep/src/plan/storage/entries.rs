//! From a line of the source's fstab to what the live system mounts. Pure.
use livemode_common::fstab::Entry;

use super::{
    is_bind, is_file, is_remote, mounted, needs, options, types, Layer, LiveMount, Setting, Storage,
};
use crate::facts::storage::StorageFacts;
use crate::plan::fstab::{below, live};

impl Storage {
    /// Adds the mount or swap of an entry, or what stands against it; nothing for what has no place in the live system.
    pub(super) fn mount(
        &mut self,
        entry: &Entry,
        fstab: &[Entry],
        sources: &StorageFacts,
        setting: &Setting,
    ) {
        let is_swap = entry.fs_vfstype == "swap";
        let is_automatic = entry.has("x-systemd.automount") || entry.has("comment=systemd.automount");
        let is_ours = is_swap || entry.fs_file.starts_with('/');
        // The type of a bind mount says nothing (mount(8)).
        let is_virtual = types::is_virtual(&entry.fs_vfstype) && !is_bind(entry);
        if is_virtual || !is_ours || (entry.has("noauto") && !is_automatic) {
            return;
        }
        let is_required = !is_swap && !entry.has("nofail");
        let mut entry = entry.clone();
        if !is_swap {
            entry.fs_file = sources.real(&normal(&entry.fs_file));
        }
        if is_file(&entry.fs_spec) {
            entry.fs_spec = sources.real(&entry.fs_spec);
        }
        if entry.has("bind") || entry.has("rbind") {
            entry.fs_vfstype = "none".into();
        }
        if is_bind(&entry) && mounted::is_gone_after_a_reboot(&entry.fs_spec, fstab, setting.mounts) {
            return;
        }
        let name = if is_swap { &entry.fs_spec } else { &entry.fs_file }.clone();
        if !is_swap && mounted::is_of_the_kernel(&entry.fs_file) {
            self.warnings
                .push(format!("{name}: it lies in RAM; the live system goes without it"));
            return;
        }
        match self.live_mount(&entry, is_required, sources, setting) {
            Ok(mount) => {
                if let Some(device) = mount.device {
                    self.source.add(&sources.devices, device);
                    if is_required {
                        self.required_disks.extend(sources.devices.disks_below(device));
                    }
                }
                self.mounts.push(mount);
            }
            Err(why) if is_required => self.faults.push(format!("{}: {why}", with_line(&name, &entry))),
            Err(why) => self.warnings.push(format!(
                "{}: {why}; the live system goes without it",
                with_line(&name, &entry)
            )),
        }
    }

    /// The mount of an entry, and what it stands on.
    ///
    /// # Errors
    /// Why the live system cannot have it.
    pub(super) fn live_mount(
        &mut self,
        entry: &Entry,
        is_required: bool,
        sources: &StorageFacts,
        setting: &Setting,
    ) -> Result<LiveMount, String> {
        if let Some(why) = entry.not_carried() {
            return Err(format!("{why}; mend its line in /etc/fstab"));
        }
        let mut mount = LiveMount {
            spec: entry.fs_spec.clone(),
            is_required,
            device: None,
            entry: entry.clone(),
        };
        self.file_system(entry, setting)?;
        if !is_file(&entry.fs_spec) && !is_remote(entry) {
            self.find(&mut mount, sources)?;
            if let Some(device) = mount.device {
                needs::understood(&sources.devices, device)?;
                if entry.fs_vfstype == "auto" {
                    let fstype = &sources.devices.get(device).fstype;
                    self.file_system(
                        &Entry {
                            fs_vfstype: fstype.clone(),
                            ..entry.clone()
                        },
                        setting,
                    )?;
                }
                self.open_volumes(device, sources, setting)?;
            }
        }
        mount.entry.fs_mntops = self.options(entry, sources)?;
        let live = live(std::slice::from_ref(&mount), &[]);
        match live.iter().find_map(Entry::not_carried) {
            Some(why) => Err(format!("{why}; mend its line in /etc/fstab")),
            None => Ok(mount),
        }
    }

    /// The options that come along, by the table of [`options::MOUNT`].
    fn options(&mut self, entry: &Entry, sources: &StorageFacts) -> Result<String, String> {
        let name = &entry.fs_file;
        let mut kept: Vec<String> = Vec::new();
        for option in entry.options() {
            let value = options::value(option);
            let (rule, reason) =
                options::rule(options::MOUNT, option).unwrap_or((options::Rule::Drop, "it has no rule"));
            let key = options::name(option);
            match rule {
                options::Rule::Carry => kept.push(option.to_owned()),
                options::Rule::Leave => {}
                options::Rule::Bound if options::is_short(value) => kept.push(option.to_owned()),
                options::Rule::Reroot if value.starts_with('/') => {
                    kept.push(format!("{key}={}", below(&sources.real(value))));
                }
                options::Rule::Unit if key == "x-systemd.requires" && is_file(value) => kept.push(format!(
                    "x-systemd.requires-mounts-for={}",
                    below(&sources.real(value))
                )),
                options::Rule::Bound | options::Rule::Reroot | options::Rule::Unit | options::Rule::Drop => {
                    self.warnings.push(format!(
                        "{name}: the live system goes without its option {option} ({reason})"
                    ))
                }
                options::Rule::File if sources.keys.contains(value) => kept.push(option.to_owned()),
                options::Rule::File => {
                    return Err(format!("its option {option} names a file that is not there"));
                }
                options::Rule::Refuse => {
                    return Err(format!(
                        "the live system cannot do its option {key} ({reason}); unmount it and take its line out of \
                         /etc/fstab, or add nofail"
                    ));
                }
            }
        }
        Ok(kept.join(","))
    }

    fn file_system(&mut self, entry: &Entry, setting: &Setting) -> Result<(), String> {
        let fstype = entry.fs_vfstype.as_str();
        if matches!(fstype, "swap" | "auto" | "none" | "bind") || is_bind(entry) {
            return Ok(());
        }
        if fstype == types::OVERLAY {
            return Err("an overlay is made of other directories, which the live system does not put together; unmount it and \
                        take its line out of /etc/fstab, or add nofail"
                .into());
        }
        if types::needs_a_program(fstype) {
            return Err(format!(
                "{fstype} needs a program that the live system does not have; add nofail to its line in /etc/fstab"
            ));
        }
        if !(setting.knows)(fstype) {
            return Err(format!(
                "the target's kernel has no {fstype}; unmount it and take its line out of /etc/fstab, or add nofail"
            ));
        }
        if !types::is_known(fstype) {
            return Err(format!(
                "nothing is known of {fstype} in the live system; unmount it and take its line out of /etc/fstab, or add \
                 nofail"
            ));
        }
        match fstype {
            "nfs" | "nfs4" => self.source.layers.insert(Layer::Nfs),
            "cifs" | "smb3" => self.source.layers.insert(Layer::Cifs),
            _ => false,
        };
        Ok(())
    }
}

/// A path without what does not count in it: `//a/./b/` is `/a/b`.
fn normal(path: &str) -> String {
    let names = path.split('/').filter(|name| !["", "."].contains(name));
    names.fold(String::new(), |path, name| format!("{path}/{name}"))
        + if path.trim_matches('/').is_empty() {
            "/"
        } else {
            ""
        }
}

/// A mount point or device, with the line of /etc/fstab that is meant.
pub(super) fn with_line(name: &str, entry: &Entry) -> String {
    match entry.line {
        0 => name.to_owned(),
        line => format!("{name} (/etc/fstab, line {line})"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::storage::devices::Devices;
    use livemode_common::fstab;

    const LSBLK: &str = r#"{"blockdevices": [
        {"name": "/dev/sda1", "kname": "/dev/sda1", "type": "part", "fstype": "xfs", "uuid": "R"},
        {"name": "/dev/sda2", "kname": "/dev/sda2", "type": "part", "fstype": "reiserfs", "uuid": "V"}]}"#;

    /// /srv leads to /data, and one file of a password is there.
    fn model(fstab: &str) -> Storage {
        let sources = StorageFacts {
            devices: Devices::parse(LSBLK).unwrap(),
            keys: ["/etc/there".to_owned()].into(),
            real: [("/srv".to_owned(), "/data".to_owned())].into(),
            ..StorageFacts::default()
        };
        let setting = Setting {
            knows: &|fstype| fstype != "reiserfs",
            ..Setting::of_test()
        };
        Storage::model(&fstab::parse(fstab).unwrap(), &sources, &setting)
    }

    /// The lines that come along, what stands against the upgrade, and what is warned of.
    fn found(fstab: &str) -> (Vec<String>, Vec<String>, Vec<String>) {
        let storage = model(fstab);
        let lines = storage.mounts.iter().map(|mount| mount.entry.to_string());
        (lines.collect(), storage.faults, storage.warnings)
    }

    #[test]
    fn each_option_has_what_its_rule_says() {
        for (option, kept, warning) in [
            ("noatime", "noatime", ""),
            ("nofail", "defaults", ""),
            ("x-systemd.mount-timeout=30", "x-systemd.mount-timeout=30", ""),
            (
                "x-systemd.mount-timeout=infinity",
                "defaults",
                "(0 and infinity wait for ever)",
            ),
            (
                "x-systemd.requires-mounts-for=/srv",
                "x-systemd.requires-mounts-for=/run/upgrade/data",
                "",
            ),
            (
                "x-systemd.requires-mounts-for=srv",
                "defaults",
                "(a path of the source)",
            ),
            (
                "x-systemd.requires=/srv",
                "x-systemd.requires-mounts-for=/run/upgrade/data",
                "",
            ),
            (
                "x-systemd.requires=a.service",
                "defaults",
                "(a unit of the source",
            ),
            ("x-systemd.after=/srv", "defaults", "(a unit of the source"),
            ("bg", "defaults", "(mount.nfs would try for as long as a week)"),
            ("nosuch=1", "defaults", "(it has no rule)"),
            ("credentials=/etc/there", "credentials=/etc/there", ""),
        ] {
            let (lines, faults, warnings) = found(&format!("UUID=R / xfs {option} 0 1\n"));
            assert_eq!(lines, [format!("UUID=R / xfs {kept} 0 1")]);
            assert_eq!(faults, [""; 0], "{option}");
            let start = format!("/: the live system goes without its option {option} ");
            let is_told = |told: &String| told.starts_with(&start) && told.contains(warning);
            assert_eq!(
                warnings.len(),
                usize::from(!warning.is_empty()),
                "{option}: {warnings:?}"
            );
            assert!(warnings.iter().all(is_told), "{option}: {warnings:?}");
        }
    }

    #[test]
    fn an_option_that_cannot_be_done_stands_against_a_mount_that_is_required() {
        for (option, why) in [
            (
                "credentials=/etc/gone",
                "its option credentials=/etc/gone names a file that is not there",
            ),
            (
                "logdev=/dev/sdb",
                "the live system cannot do its option logdev (another device",
            ),
        ] {
            let (lines, faults, warnings) = found(&format!("UUID=R /a xfs {option} 0 1\n"));
            assert_eq!((lines.len(), faults.len(), warnings.len()), (0, 1, 0), "{option}");
            let told = format!("/a (/etc/fstab, line 1): {why}");
            assert!(faults[0].starts_with(&told), "{faults:?}");
            let (lines, faults, warnings) = found(&format!("UUID=R /a xfs nofail,{option} 0 1\n"));
            assert_eq!((lines.len(), faults.len(), warnings.len()), (0, 0, 1), "{option}");
            assert!(
                warnings[0].ends_with("; the live system goes without it"),
                "{warnings:?}"
            );
        }
    }

    #[test]
    fn what_has_no_place_in_the_live_system_is_left_out() {
        for line in [
            "proc /proc proc defaults 0 0",
            "UUID=R data xfs defaults 0 0",
            "UUID=R none xfs defaults 0 0",
            "UUID=R /a xfs noauto 0 0",
            "/dev/shm /a none bind 0 0",
            "/run/x /a none rbind 0 0",
            "/sys/x /a bind defaults 0 0",
        ] {
            assert_eq!(found(line), (vec![], vec![], vec![]), "{line}");
        }
        let in_ram = found("UUID=R /run/a xfs defaults 0 0");
        assert_eq!(in_ram.0, [""; 0]);
        assert_eq!(
            in_ram.2,
            ["/run/a: it lies in RAM; the live system goes without it"]
        );
    }

    #[test]
    fn links_are_followed_and_automatic_mounts_are_mounted_at_once() {
        for (line, live) in [
            ("UUID=R /srv xfs defaults 0 2", "UUID=R /data xfs defaults 0 2"),
            ("/srv /a none bind 0 0", "/data /a none bind 0 0"),
            ("/srv none swap defaults 0 0", "/data none swap defaults 0 0"),
            ("UUID=R /srv swap defaults 0 0", "UUID=R /srv swap defaults 0 0"),
            (
                "UUID=R /a xfs noauto,x-systemd.automount 0 0",
                "UUID=R /a xfs defaults 0 0",
            ),
            (
                "UUID=R /a xfs noauto,comment=systemd.automount 0 0",
                "UUID=R /a xfs defaults 0 0",
            ),
        ] {
            assert_eq!(found(line), (vec![live.to_owned()], vec![], vec![]), "{line}");
        }
        let is_required = |line: &str| model(line).mounts[0].is_required;
        assert!(is_required("UUID=R /a xfs defaults 0 0"));
        assert!(!is_required("UUID=R /a xfs nofail 0 0") && !is_required("UUID=R none swap defaults 0 0"));
    }

    #[test]
    fn types_that_the_live_system_cannot_mount_are_told_apart() {
        for (line, why) in [
            ("UUID=R /a fuse.x defaults 0 0", "fuse.x needs a program"),
            ("UUID=R /a glusterfs defaults 0 0", "glusterfs needs a program"),
            (
                "UUID=V /a reiserfs defaults 0 0",
                "the target's kernel has no reiserfs",
            ),
            (
                "UUID=V /a auto defaults 0 0",
                "the target's kernel has no reiserfs",
            ),
            ("UUID=R /a newfs defaults 0 0", "nothing is known of newfs"),
            (
                "UUID=R /a\u{FFFD} xfs defaults 0 0",
                "its line has bytes that are no UTF-8, which systemd does not read; mend",
            ),
        ] {
            let (lines, faults, warnings) = found(line);
            assert_eq!((lines.len(), warnings.len()), (0, 0), "{line}: {warnings:?}");
            assert!(
                faults.len() == 1 && faults[0].contains(&format!(": {why}")),
                "{faults:?}"
            );
        }
        for (line, layer) in [
            ("UUID=R /a auto defaults 0 0", None),
            ("/b /a bind defaults 0 0", None),
            ("/b /a newfs bind 0 0", None),
            ("host:/a /a nfs defaults 0 0", Some(Layer::Nfs)),
            ("host:/a /a nfs4 defaults 0 0", Some(Layer::Nfs)),
            ("//host/a /a cifs defaults 0 0", Some(Layer::Cifs)),
            ("//host/a /a smb3 defaults 0 0", Some(Layer::Cifs)),
            ("tag /a virtiofs defaults 0 0", None),
        ] {
            let storage = model(line);
            assert_eq!(
                (storage.mounts.len(), storage.faults.len()),
                (1, 0),
                "{line}: {:?}",
                storage.faults
            );
            assert_eq!(
                storage.layers().collect::<Vec<_>>(),
                layer.into_iter().collect::<Vec<_>>(),
                "{line}"
            );
        }
    }

    #[test]
    fn a_line_that_becomes_too_long_below_run_upgrade_is_told() {
        let line = |length: usize| format!("UUID=R /{} xfs defaults 0 0\n", "a".repeat(length));
        assert_eq!(found(&line(3000)).0.len(), 1);
        let (lines, faults, _) = found(&line(4094 - 30));
        assert_eq!(lines, [""; 0]);
        assert!(
            faults[0].contains("its line is longer than getmntent(3) reads; mend"),
            "{faults:?}"
        );
    }
}
