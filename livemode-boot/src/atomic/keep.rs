//! The copy of what the boot loader reads, in the store: /boot, the EFI system partition, the boot code of the disks. It is taken
//! before leapp starts, and put back when the upgrade is given up.
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{symlink, FileExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::{bail, Context, Result};
use livemode_common::fsio::{sha256, sync_dir};
use livemode_common::mount::MountStack;
use livemode_common::store::{Header, Sectors, StoreIo, BLOCK};
use nix::sys::stat::{utimensat, UtimensatFlags};
use nix::sys::time::TimeSpec;
use serde::{Deserialize, Serialize};

use crate::device;

const MAGIC: &[u8] = b"LIVEMODE COPY\n";
const CHUNK: usize = 1 << 20;
/// What is being written has this name until it is whole.
const TEMP: &str = ".livemode-tmp-restore";

/// What one of the file systems held.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Tree {
    mount: String,
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

/// Everything that was copied, and where it lies in the store.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Index {
    /// The build it was taken for.
    id: String,
    trees: Vec<Tree>,
    /// For each of the header's sectors, where they lie.
    code: Vec<u64>,
}

/// Takes the copy. Until this has returned there is none.
pub(super) fn take(header: &Header, store: &StoreIo, devices: &[PathBuf], mount: &Path) -> Result<()> {
    forget(header, store)?;
    let end = header.copy.at + header.copy.bytes;
    let mut copy = Copy {
        store,
        at: header.copy.at + BLOCK,
        end,
    };
    let mut index = Index {
        id: header.id.clone(),
        ..Index::default()
    };
    for (kept, device) in header.kept.iter().zip(devices) {
        let mut mounts = MountStack::default();
        device::mount(device, mount, &mut mounts)?;
        let ours = ours(header, &kept.mount);
        let nodes = tree(mount).and_then(|paths| {
            paths
                .into_iter()
                .map(|path| copy.node(mount, path, &ours))
                .collect::<Result<Vec<Node>>>()
        });
        mounts.unmount()?;
        index.trees.push(Tree {
            mount: kept.mount.clone(),
            nodes: nodes.with_context(|| format!("copying {}", kept.mount))?,
        });
    }
    for sectors in &header.sectors {
        index.code.push(copy.at);
        let disk = disk_of(sectors)?;
        let mut bytes = vec![0; usize::try_from(sectors.bytes)?];
        File::open(&disk)
            .and_then(|file| file.read_exact_at(&mut bytes, sectors.at))
            .with_context(|| format!("reading the boot code of {}", disk.display()))?;
        copy.add(&bytes)?;
    }
    let json = serde_json::to_vec(&index).context("writing JSON")?;
    let at = copy.at;
    copy.add(&json)?;
    let (sum, _) = sha256(json.as_slice(), |_| ())?;
    let mut head = MAGIC.to_vec();
    head.extend(format!("{at} {} {sum}\n", json.len()).into_bytes());
    head.resize(usize::try_from(BLOCK)?, 0);
    store.write(header.copy.at, &head)
}

/// From now on there is no copy.
pub(super) fn forget(header: &Header, store: &StoreIo) -> Result<()> {
    store.write(header.copy.at, &vec![0; usize::try_from(BLOCK)?])
}

/// Puts everything back that is no longer as it was copied; nothing where there is no copy. The loader's own parts come last, so
/// that it finds what it needs for as long as it can.
pub(super) fn restore(header: &Header, store: &StoreIo, devices: &[PathBuf], mount: &Path) -> Result<()> {
    let Some(index) = index(header, store)? else {
        return Ok(());
    };
    for ((tree, kept), device) in index.trees.iter().zip(&header.kept).zip(devices) {
        let mut mounts = MountStack::default();
        device::mount(device, mount, &mut mounts)?;
        let restored = put_back(tree, mount, store);
        mounts.unmount()?;
        restored.with_context(|| format!("putting {} back", kept.mount))?;
    }
    for (sectors, at) in header.sectors.iter().zip(&index.code) {
        let mut kept = vec![0; usize::try_from(sectors.bytes)?];
        store.read(*at, &mut kept)?;
        let disk = disk_of(sectors)?;
        let write = || -> std::io::Result<()> {
            let file = OpenOptions::new().read(true).write(true).open(&disk)?;
            let mut now = vec![0; kept.len()];
            file.read_exact_at(&mut now, sectors.at)?;
            if now != kept {
                file.write_all_at(&kept, sectors.at)?;
                file.sync_all()?;
            }
            Ok(())
        };
        write().with_context(|| format!("putting the boot code of {} back", disk.display()))?;
    }
    Ok(())
}

fn index(header: &Header, store: &StoreIo) -> Result<Option<Index>> {
    let mut head = vec![0; usize::try_from(BLOCK)?];
    store.read(header.copy.at, &mut head)?;
    let Some(rest) = head.strip_prefix(MAGIC) else {
        return Ok(None);
    };
    let line = rest.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let line = String::from_utf8_lossy(line);
    let fields: Vec<&str> = line.split(' ').collect();
    let [at, bytes, sum] = fields[..] else {
        bail!("the copy of /boot is torn");
    };
    let mut json = vec![0; bytes.parse::<usize>()?.min(usize::try_from(header.copy.bytes)?)];
    store.read(at.parse()?, &mut json)?;
    let (found, _) = sha256(json.as_slice(), |_| ())?;
    if found != sum {
        bail!("the copy of /boot is torn");
    }
    let index: Index = serde_json::from_slice(&json)?;
    Ok((index.id == header.id).then_some(index))
}

/// The disk that a partition lies on.
fn disk_of(sectors: &Sectors) -> Result<PathBuf> {
    let context = || format!("looking for the disk of {}", sectors.beside);
    let node = Path::new(&sectors.beside).canonicalize().with_context(context)?;
    let sys = Path::new("/sys/class/block").join(node.file_name().unwrap_or_default());
    let sys = sys.canonicalize().with_context(context)?;
    let disk = sys.parent().and_then(Path::file_name).with_context(context)?;
    Ok(Path::new("/dev").join(disk))
}

/// Where a copy is written, and how far it is.
struct Copy<'a> {
    store: &'a StoreIo,
    at: u64,
    end: u64,
}

impl Copy<'_> {
    fn add(&mut self, bytes: &[u8]) -> Result<()> {
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
        let mut hasher = livemode_common::fsio::Sha256Writer::new(std::io::sink());
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

/// Our own kernel and initramfs, below the mount point that they lie on.
fn ours(header: &Header, mount: &str) -> Vec<PathBuf> {
    let own = header.entry.iter().flat_map(|own| [&own.kernel, &own.initramfs]);
    own.filter_map(|path| Some(Path::new(path).strip_prefix(mount).ok()?.to_owned()))
        .collect()
}

/// All paths below a directory, each after the directory that holds it.
fn tree(top: &Path) -> Result<Vec<PathBuf>> {
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

fn put_back(tree: &Tree, top: &Path, store: &StoreIo) -> Result<()> {
    // First what takes room.
    let known: BTreeSet<&Path> = tree.nodes.iter().map(|node| node.path.as_path()).collect();
    for path in self::tree(top)?.iter().rev() {
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
    let mut file = livemode_common::fsio::Sha256Writer::new(File::create(path)?);
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
        let nodes = tree(top).unwrap().into_iter();
        Tree {
            mount: "/boot".into(),
            nodes: nodes.map(|path| copy.node(top, path, ours).unwrap()).collect(),
        }
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
