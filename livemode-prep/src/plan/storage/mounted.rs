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
                    "{target} is mounted now, though not by /etc/fstab, and the live system would not have it: {}; unmount it, or \
                     add it to /etc/fstab",
                    // What may be done to a line of the fstab does not fit.
                    why.split(';').next().unwrap_or(&why)
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
mod tests;
