//! A tree of files: copied into the store, and put back file by file.
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::fs::{symlink, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::{bail, Context, Result};
use livemode_common::fsio::{sha256, sync_dir, Sha256Writer};
use livemode_common::store::StoreIo;
use nix::sys::stat::{utimensat, UtimensatFlags};
use nix::sys::time::TimeSpec;
use serde::{Deserialize, Serialize};

const CHUNK: usize = 1 << 20;
/// What is being written has this name until it is whole.
const TEMP: &str = ".livemode-tmp-restore";

/// What one of the file systems held.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Tree {
    pub(super) mount: String,
    nodes: Vec<Node>,
}

/// One directory, file or link.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Node {
    /// Below the file system's top.
    path: PathBuf,
    kind: Kind,
    mode: u32,
    uid: u32,
    gid: u32,
    /// Seconds and nanoseconds.
    modified: (i64, i64),
    attributes: Vec<(OsString, Vec<u8>)>,
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Kind {
    Directory,
    Link(PathBuf),
    /// Our own kernel and initramfs, which boot now: they are left alone.
    Ours,
    File {
        at: u64,
        bytes: u64,
        sha256: String,
    },
}

/// Where a copy is written, and how far it is.
pub(super) struct Copy<'a> {
    pub(super) store: &'a StoreIo,
    pub(super) at: u64,
    pub(super) end: u64,
}

impl Copy<'_> {
    /// All that lies below `top`; of `ours` only that they are there.
    ///
    /// # Errors
    /// When something cannot be read, or the store has no room left.
    pub(super) fn tree(&mut self, mount: &str, top: &Path, ours: &[PathBuf]) -> Result<Tree> {
        let paths = paths(top)?.into_iter();
        let nodes = paths
            .map(|path| self.node(top, path, ours))
            .collect::<Result<_>>();
        Ok(Tree {
            mount: mount.to_owned(),
            nodes: nodes.with_context(|| format!("copying {mount}"))?,
        })
    }

    /// # Errors
    /// When the store has no room left, or its device fails.
    pub(super) fn add(&mut self, bytes: &[u8]) -> Result<()> {
        let next = self.at + bytes.len() as u64;
        if next > self.end {
            bail!("the store has no room for the copy of /boot; build again");
        }
        self.store.write(self.at, bytes)?;
        self.at = next;
        Ok(())
    }

    fn node(&mut self, top: &Path, path: PathBuf, ours: &[PathBuf]) -> Result<Node> {
        let full = top.join(&path);
        let context = || format!("copying {}", path.display());
        let meta = fs::symlink_metadata(&full).with_context(context)?;
        let kind = if ours.contains(&path) {
            Kind::Ours
        } else if meta.is_dir() {
            Kind::Directory
        } else if meta.is_symlink() {
            Kind::Link(fs::read_link(&full).with_context(context)?)
        } else if meta.is_file() {
            self.file(&full).with_context(context)?
        } else {
            bail!("{} is neither a file nor a directory nor a link", path.display());
        };
        Ok(Node {
            attributes: attributes(&full),
            mode: meta.mode() & 0o7777,
            uid: meta.uid(),
            gid: meta.gid(),
            modified: (meta.mtime(), meta.mtime_nsec()),
            kind,
            path,
        })
    }

    fn file(&mut self, path: &Path) -> Result<Kind> {
        let at = self.at;
        let mut file = File::open(path)?;
        let mut chunk = vec![0; CHUNK];
        let mut hasher = Sha256Writer::new(std::io::sink());
        loop {
            let n = file.read(&mut chunk)?;
            if n == 0 {
                break;
            }
            hasher.write_all(&chunk[..n])?;
            self.add(&chunk[..n])?;
        }
        Ok(Kind::File {
            at,
            bytes: self.at - at,
            sha256: hasher.sha256(),
        })
    }
}

/// All paths below a directory, each after the directory that holds it.
fn paths(top: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut open = vec![PathBuf::new()];
    while let Some(dir) = open.pop() {
        let full = top.join(&dir);
        let context = || format!("reading {}", full.display());
        for entry in fs::read_dir(&full).with_context(context)? {
            let entry = entry.with_context(context)?;
            let path = dir.join(entry.file_name());
            if entry.file_type().with_context(context)?.is_dir() {
                open.push(path.clone());
            }
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// Of a file system without extended attributes, none.
fn attributes(path: &Path) -> Vec<(OsString, Vec<u8>)> {
    let names = xattr::list(path).into_iter().flatten();
    let mut all: Vec<_> = names
        .filter_map(|name| Some((name.clone(), xattr::get(path, &name).ok()??)))
        .collect();
    all.sort();
    all
}

/// Makes all below `top` as it was copied; what is so already is not touched.
///
/// # Errors
/// When something cannot be read or written, or its copy is damaged.
pub(super) fn put_back(tree: &Tree, top: &Path, store: &StoreIo) -> Result<()> {
    // First what takes room.
    let known: BTreeSet<&Path> = tree.nodes.iter().map(|node| node.path.as_path()).collect();
    for path in paths(top)?.iter().rev() {
        if known.contains(path.as_path()) {
            continue;
        }
        let full = top.join(path);
        let removed = if fs::symlink_metadata(&full)?.is_dir() {
            fs::remove_dir(&full)
        } else {
            fs::remove_file(&full)
        };
        removed.with_context(|| format!("removing {}", path.display()))?;
    }
    let (of_the_loader, others): (Vec<&Node>, Vec<&Node>) =
        tree.nodes.iter().partition(|node| is_of_the_loader(&node.path));
    for node in others.iter().chain(&of_the_loader) {
        put_node_back(node, top, store).with_context(|| format!("putting {} back", node.path.display()))?;
    }
    // What was written to a directory has changed its time.
    for node in tree
        .nodes
        .iter()
        .rev()
        .filter(|node| node.kind == Kind::Directory)
    {
        settle(&top.join(&node.path), node)?;
    }
    sync_dir(top)
}

/// What GRUB itself reads before it shows a menu, and the menu.
fn is_of_the_loader(path: &Path) -> bool {
    ["grub2", "grub", "loader", "EFI"]
        .iter()
        .any(|dir| path.starts_with(dir))
}

fn put_node_back(node: &Node, top: &Path, store: &StoreIo) -> Result<()> {
    let full = top.join(&node.path);
    let now = fs::symlink_metadata(&full).ok();
    let is_dir = now.as_ref().is_some_and(fs::Metadata::is_dir);
    match &node.kind {
        Kind::Ours => return Ok(()),
        Kind::Directory => {
            if !is_dir {
                if now.is_some() {
                    fs::remove_file(&full)?;
                }
                fs::create_dir(&full)?;
            }
        }
        Kind::Link(to) => {
            if fs::read_link(&full).ok().as_ref() != Some(to) {
                if is_dir {
                    fs::remove_dir_all(&full)?;
                } else if now.is_some() {
                    fs::remove_file(&full)?;
                }
                symlink(to, &full)?;
            }
            return Ok(());
        }
        Kind::File { at, bytes, sha256 } => {
            if !is_same(&full, *bytes, sha256) {
                if is_dir {
                    fs::remove_dir_all(&full)?;
                }
                let temp = full.with_file_name(TEMP);
                write(&temp, *at, *bytes, sha256, store)?;
                settle(&temp, node)?;
                fs::rename(&temp, &full)?;
                sync_dir(full.parent().unwrap_or(top))?;
            }
        }
    }
    settle(&full, node)
}

fn is_same(path: &Path, bytes: u64, sum: &str) -> bool {
    let is_file = fs::symlink_metadata(path).is_ok_and(|meta| meta.is_file() && meta.len() == bytes);
    is_file
        && File::open(path)
            .ok()
            .and_then(|file| sha256(file, |_| ()).ok())
            .is_some_and(|(found, _)| found == sum)
}

fn write(path: &Path, at: u64, bytes: u64, sum: &str, store: &StoreIo) -> Result<()> {
    let mut file = Sha256Writer::new(File::create(path)?);
    let mut done = 0;
    while done < bytes {
        let mut chunk = vec![0; CHUNK.min(usize::try_from(bytes - done)?)];
        store.read(at + done, &mut chunk)?;
        file.write_all(&chunk)?;
        done += chunk.len() as u64;
    }
    file.flush()?;
    File::open(path)?.sync_all()?;
    if file.sha256() != sum {
        bail!("its copy is not what was copied");
    }
    Ok(())
}

/// Owner, mode, attributes and time; those that are as they were are not touched, for not every file system has them.
fn settle(path: &Path, node: &Node) -> Result<()> {
    let meta = fs::symlink_metadata(path)?;
    if (meta.uid(), meta.gid()) != (node.uid, node.gid) {
        std::os::unix::fs::lchown(path, Some(node.uid), Some(node.gid))?;
    }
    if meta.mode() & 0o7777 != node.mode {
        fs::set_permissions(path, fs::Permissions::from_mode(node.mode))?;
    }
    let now = attributes(path);
    for (name, value) in node
        .attributes
        .iter()
        .filter(|attribute| !now.contains(attribute))
    {
        xattr::set(path, name, value)?;
    }
    for (name, _) in &now {
        if !node.attributes.iter().any(|(known, _)| known == name) {
            xattr::remove(path, name)?;
        }
    }
    let meta = fs::symlink_metadata(path)?;
    if (meta.mtime(), meta.mtime_nsec()) != node.modified {
        let time = TimeSpec::new(node.modified.0, node.modified.1);
        utimensat(
            nix::fcntl::AT_FDCWD,
            path,
            &time,
            &time,
            UtimensatFlags::NoFollowSymlink,
        )?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use livemode_common::store::{Extent, Map};

    fn store() -> StoreIo {
        let file = tempfile::tempfile().unwrap();
        file.set_len(8 << 20).unwrap();
        let extent = Extent {
            logical: 0,
            physical: 0,
            bytes: 8 << 20,
            flags: 0,
        };
        StoreIo::in_file(file, Map::new(&[extent], 8 << 20).unwrap())
    }

    fn copied(top: &Path, store: &StoreIo, ours: &[PathBuf]) -> Tree {
        let mut copy = Copy {
            store,
            at: 4 << 20,
            end: 8 << 20,
        };
        copy.tree("/boot", top, ours).unwrap()
    }

    #[test]
    fn whatever_was_done_to_it_boot_is_as_it_was_but_for_our_own_files() {
        let dir = tempfile::tempdir().unwrap();
        let top = dir.path();
        let at = |path: &str| top.join(path);
        fs::create_dir_all(at("grub2/fonts")).unwrap();
        for (path, text) in [
            ("vmlinuz-5", "old kernel"),
            ("ours", "boots now"),
            ("grub2/grub.cfg", "old"),
            ("grub2/fonts/a", "font"),
            ("gone", "comes back"),
        ] {
            fs::write(at(path), text).unwrap();
        }
        fs::set_permissions(at("vmlinuz-5"), fs::Permissions::from_mode(0o755)).unwrap();
        symlink("vmlinuz-5", at("vmlinuz")).unwrap();
        let store = store();
        let ours = [PathBuf::from("ours")];
        let before = copied(top, &store, &ours);

        fs::write(at("vmlinuz-6"), "new kernel").unwrap();
        fs::create_dir_all(at("new/deep")).unwrap();
        fs::write(at("new/deep/file"), "x").unwrap();
        fs::write(at("grub2/grub.cfg"), "new and longer").unwrap();
        fs::write(at("ours"), "changed").unwrap();
        fs::remove_file(at("gone")).unwrap();
        fs::remove_file(at("vmlinuz")).unwrap();
        symlink("vmlinuz-6", at("vmlinuz")).unwrap();
        fs::set_permissions(at("vmlinuz-5"), fs::Permissions::from_mode(0o600)).unwrap();
        fs::remove_dir_all(at("grub2/fonts")).unwrap();
        fs::write(at("grub2/fonts"), "a file in a directory's place").unwrap();
        for _ in 0..2 {
            put_back(&before, top, &store).unwrap();
            assert_eq!(fs::read_to_string(at("ours")).unwrap(), "changed");
            let now = copied(top, &self::store(), &ours);
            let told = |tree: &Tree| -> Vec<String> {
                let nodes = tree.nodes.iter();
                nodes
                    .filter(|node| node.kind != Kind::Ours)
                    .map(|node| match &node.kind {
                        Kind::File { sha256, .. } => format!("{:?} {:o} {sha256}", node.path, node.mode),
                        Kind::Directory => format!("{:?} {:o} {:?}", node.path, node.mode, node.modified),
                        other => format!("{:?} {other:?}", node.path),
                    })
                    .collect()
            };
            assert_eq!(told(&now), told(&before));
        }
    }

    #[test]
    fn a_copy_that_does_not_fit_is_refused_and_a_damaged_one_not_put_back() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("kernel"), vec![7; 1 << 20]).unwrap();
        let store = store();
        let mut copy = Copy {
            store: &store,
            at: 4 << 20,
            end: (4 << 20) + 1000,
        };
        let error = copy.node(dir.path(), "kernel".into(), &[]).unwrap_err();
        assert!(format!("{error:#}").contains("no room for the copy"), "{error:#}");

        let before = copied(dir.path(), &store, &[]);
        store.write((4 << 20) + 5, b"damage").unwrap();
        fs::write(dir.path().join("kernel"), "new").unwrap();
        let error = put_back(&before, dir.path(), &store).unwrap_err();
        assert!(format!("{error:#}").contains("not what was copied"), "{error:#}");
        assert_eq!(fs::read_to_string(dir.path().join("kernel")).unwrap(), "new");
    }
}
