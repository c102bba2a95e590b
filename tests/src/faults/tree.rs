//! Whole systems, file by file, to be compared.
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::Result;
use livemode_common::fsio::sha256;

/// What every boot changes, and what tells of the upgrade.
const CHANGING: [&str; 12] = [
    "boot/grub2/grubenv",
    "etc/.updated",
    "root/tmp_leapp_py3",
    "run",
    "tmp",
    "var/.updated",
    "var/cache",
    "var/lib/dnf",
    "var/lib/leapp/livemode",
    "var/lib/rpm",
    "var/lib/systemd",
    "var/log",
];

/// Each file's mode, owner, extended attributes and content, each link's end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tree(BTreeMap<PathBuf, String>);

impl Tree {
    /// That of the system below `root`.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn of(root: &Path) -> Result<Self> {
        let mut tree = BTreeMap::new();
        let mut todo = vec![PathBuf::new()];
        while let Some(dir) = todo.pop() {
            for entry in fs::read_dir(root.join(&dir))? {
                let name = dir.join(entry?.file_name());
                if CHANGING.iter().any(|path| Path::new(path) == name) {
                    continue;
                }
                let path = root.join(&name);
                let meta = fs::symlink_metadata(&path)?;
                let mode = meta.permissions().mode();
                let what = if meta.is_dir() {
                    todo.push(name.clone());
                    String::new()
                } else if meta.is_symlink() {
                    fs::read_link(&path)?.display().to_string()
                } else if meta.is_file() {
                    sha256(File::open(&path)?, |_| ())?.0
                } else {
                    String::new()
                };
                let mut attributes: Vec<_> = xattr::list(&path)?
                    .filter_map(|name| Some((name.clone(), xattr::get(&path, &name).ok()??)))
                    .collect();
                attributes.sort();
                let owner = (meta.uid(), meta.gid());
                tree.insert(name, format!("{mode:o} {owner:?} {attributes:?} {what}"));
            }
        }
        Ok(Self(tree))
    }

    /// What is not as in `other`, but for these paths.
    pub fn differences(&self, other: &Self, but: &[&str]) -> Vec<String> {
        let counts = |path: &Path| !but.iter().any(|but| Path::new(but) == path);
        let changed = self
            .0
            .iter()
            .filter(|(path, what)| other.0.get(*path) != Some(*what));
        let changed = changed.map(|(path, _)| (path, "it is another one"));
        let gone = other.0.keys().filter(|path| !self.0.contains_key(*path));
        let gone = gone.map(|path| (path, "it is gone"));
        changed
            .chain(gone)
            .filter(|(path, _)| counts(path))
            .map(|(path, what)| format!("/{}: {what}", path.display()))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_new_gone_or_another_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| fs::write(dir.path().join(path), text).unwrap();
        fs::create_dir_all(dir.path().join("var/log")).unwrap();
        ["kept", "changed", "gone"]
            .iter()
            .for_each(|path| write(path, "old"));
        let before = Tree::of(dir.path()).unwrap();
        write("changed", "new");
        write("more", "new");
        write("var/log/messages", "new");
        fs::remove_file(dir.path().join("gone")).unwrap();
        let after = Tree::of(dir.path()).unwrap();
        assert_eq!(
            after.differences(&before, &["more"]),
            ["/changed: it is another one", "/gone: it is gone"]
        );
        assert_eq!(before.differences(&before, &[]), [""; 0]);
    }
}
