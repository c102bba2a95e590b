//! The loader's files below a system's root.
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use super::bls::{Entry, SUFFIX};
use crate::fsio::sync_dir;
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

/// What an entry's file ends with while the menu must not offer it.
const HIDDEN: &str = ".livemode-hidden";
/// [`ENTRIES`] below the top of /boot.
const ENTRIES_OF_BOOT: &str = "loader/entries";

/// Takes all entries but `own` out of the menu of the file system mounted at `boot`, durably.
///
/// # Errors
/// When an entry cannot be renamed.
pub fn hide_entries(boot: &Path, own: &str) -> Result<()> {
    rename_entries(boot, |name| {
        let id = name.strip_suffix(SUFFIX)?;
        (id != own && !id.starts_with('.')).then(|| format!("{name}{HIDDEN}"))
    })
}

/// Puts them back.
///
/// # Errors
/// When an entry cannot be renamed.
pub fn show_entries(boot: &Path) -> Result<()> {
    rename_entries(boot, |name| name.strip_suffix(HIDDEN).map(str::to_owned))
}

fn rename_entries(boot: &Path, new_name: impl Fn(&str) -> Option<String>) -> Result<()> {
    let dir = boot.join(ENTRIES_OF_BOOT);
    let names = fs::read_dir(&dir).into_iter().flatten().flatten();
    let names: Vec<String> = names
        .map(|file| file.file_name().to_string_lossy().into_owned())
        .collect();
    for name in &names {
        if let Some(new) = new_name(name) {
            fs::rename(dir.join(name), dir.join(&new))
                .with_context(|| format!("renaming {name} to {new}"))?;
        }
    }
    if names.is_empty() {
        Ok(())
    } else {
        sync_dir(&dir)
    }
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
    fn entries_that_are_hidden_come_back() {
        let dir = tempfile::tempdir().unwrap();
        let boot = dir.path().join("boot");
        let at = boot.join(ENTRIES_OF_BOOT);
        fs::create_dir_all(&at).unwrap();
        for name in ["old.conf", "ours.conf", ".x.conf", "note"] {
            fs::write(at.join(name), "linux /vmlinuz\n").unwrap();
        }
        let ids = || {
            let entries = entries(&SysRoot::new(dir.path()));
            entries.into_iter().map(|entry| entry.id).collect::<Vec<_>>()
        };
        assert_eq!(ids(), ["old", "ours"]);
        for _ in 0..2 {
            hide_entries(&boot, "ours").unwrap();
            assert_eq!(ids(), ["ours"]);
        }
        for _ in 0..2 {
            show_entries(&boot).unwrap();
            assert_eq!(ids(), ["old", "ours"]);
        }
        show_entries(Path::new("/nowhere")).unwrap();
    }

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
