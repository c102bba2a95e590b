//! The loader's files below a system's root.
use std::fs;
use std::path::Path;

use super::bls::{Entry, SUFFIX};
use crate::sysroot::SysRoot;

/// Entries by the Boot Loader Specification, below the system's root.
pub const ENTRIES: &str = "boot/loader/entries";

/// The entries that GRUB reads, sorted by their ids.
pub fn entries(root: &SysRoot) -> Vec<Entry> {
    let files = fs::read_dir(root.at(ENTRIES)).into_iter().flatten().flatten();
    let mut entries: Vec<Entry> = files
        .filter_map(|file| {
            let name = file.file_name().to_string_lossy().into_owned();
            let id = name.strip_suffix(SUFFIX)?;
            if id.is_empty() || id.starts_with('.') {
                return None;
            }
            let text = fs::read(file.path()).ok()?;
            Some(Entry::parse(id, &String::from_utf8_lossy(&text)))
        })
        .collect();
    entries.sort_by(|a, b| a.id.cmp(&b.id));
    entries
}

/// The files that the entries name and that are not there; `boot` is /boot on its own file system.
pub fn missing(root: &SysRoot, boot: &Path, entries: &[Entry]) -> Vec<String> {
    let named = entries
        .iter()
        .flat_map(|entry| entry.linux.iter().chain(&entry.initrd));
    // $tuned_initrd is GRUB's to expand.
    let mut missing: Vec<String> = named.filter(|file| !file.starts_with('$')).cloned().collect();
    missing.retain(|file| {
        let below = Path::new(file).strip_prefix(boot);
        let at = below.map_or_else(|_| root.at(file), |below| root.at("boot").join(below));
        !at.is_file()
    });
    missing.sort();
    missing.dedup();
    missing
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_files_that_grub_would_read_and_their_missing_files_are_known() {
        let dir = tempfile::tempdir().unwrap();
        let root = SysRoot::new(dir.path());
        fs::create_dir_all(root.at(ENTRIES)).unwrap();
        for (name, text) in [
            ("a.conf", "linux /vmlinuz\ninitrd /initramfs.img $tuned_initrd\n"),
            ("b.conf", "linux /boot/vmlinuz\n"),
            (".c.conf", "linux /x\n"),
            (".conf", "linux /x\n"),
            ("d.conf~", "linux /x\n"),
            ("e", "linux /x\n"),
        ] {
            fs::write(root.at(ENTRIES).join(name), text).unwrap();
        }
        fs::write(root.at("boot/vmlinuz"), "").unwrap();
        let entries = entries(&root);
        let ids: Vec<&str> = entries.iter().map(|entry| entry.id.as_str()).collect();
        assert_eq!(ids, ["a", "b"]);
        assert_eq!(
            missing(&root, Path::new("/"), &entries),
            ["/boot/vmlinuz", "/initramfs.img"]
        );
        assert_eq!(
            missing(&root, Path::new("/boot"), &entries),
            ["/initramfs.img", "/vmlinuz"]
        );
    }
}
