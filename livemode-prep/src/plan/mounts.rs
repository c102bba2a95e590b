//! What the source's fstab says should be mounted, beside what is. Pure.
use std::path::{Path, PathBuf};

use livemode_common::fstab::Entry;
use livemode_common::mountinfo::Mount;

/// The mount points of the fstab that hold one of `places` and are not mounted now. Paths are as the source sees them. Of a
/// system in a plain directory, whose mounts cannot be seen, none.
pub(crate) fn unmounted(fstab: &[Entry], mounts: &[Mount], places: &[PathBuf]) -> Vec<String> {
    let is_mounted = |target: &str| mounts.iter().any(|mount| mount.target == Path::new(target));
    if !is_mounted("/") {
        return Vec::new();
    }
    let targets = fstab.iter().map(|entry| entry.fs_file.as_str());
    targets
        .filter(|target| target.starts_with('/') && places.iter().any(|place| place.starts_with(target)))
        .filter(|target| !is_mounted(target))
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use livemode_common::{fstab, mountinfo};

    #[test]
    fn only_what_should_hold_our_files_is_missed() {
        let fstab = fstab::parse(
            "UUID=1 / xfs defaults 0 0\nUUID=2 /boot ext4 noauto 0 0\nUUID=3 /srv ext4 defaults 0 0\n\
             /dev/sda3 none swap sw 0 0\nUUID=4 /bo ext4 defaults 0 0\n",
        )
        .unwrap();
        let places = ["/boot/vmlinuz", "/var/lib/leapp"].map(PathBuf::from);
        let root = "30 1 8:1 / / rw - xfs /dev/sda1 rw\n";
        let missed = |mounts: &str| unmounted(&fstab, &mountinfo::parse(mounts), &places);
        assert_eq!(missed(root), ["/boot"]);
        let boot = "31 30 8:2 / /boot rw - ext4 /dev/sda2 rw\n";
        assert_eq!(missed(&format!("{root}{boot}")), Vec::<String>::new());
        assert_eq!(
            missed(boot),
            Vec::<String>::new(),
            "a system in a plain directory"
        );
        assert_eq!(missed(""), Vec::<String>::new());
    }
}
