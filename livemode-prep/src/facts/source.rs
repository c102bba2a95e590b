//! What is known of the source system: read from it, or taken from what leapp says.
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use livemode_common::cmd::Cmd;
use livemode_common::cmdline::Cmdline;
use livemode_common::container::ContainerDir;
use livemode_common::contract::STATE_DIR;
use livemode_common::fstab::{self, Entry};
use livemode_common::machine;
use livemode_common::mountinfo::{self, Mount};
use livemode_common::sysroot::SysRoot;
use nix::sys::statvfs::{statvfs, FsFlags};
use serde::{Deserialize, Serialize};

use super::leapp::LeappFacts;
use super::tools::ASKING;

/// A directory that will be written to.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Place {
    /// On this machine, links followed; may not exist yet.
    pub(crate) path: PathBuf,
    /// Its nearest directory that does.
    pub(crate) existing: PathBuf,
    /// st_dev of the file system.
    pub(crate) device_number: u64,
    /// What an unprivileged user could still write, in bytes: root's reserve stays untouched.
    pub(crate) free_bytes: u64,
    pub(crate) read_only: bool,
}

impl Place {
    pub(crate) fn look(path: PathBuf) -> Result<Self> {
        let existing = path
            .ancestors()
            .find(|p| p.is_dir())
            .with_context(|| format!("{} has no existing parent", path.display()))?
            .to_owned();
        let context = || format!("looking at {}", existing.display());
        let stat = statvfs(&existing).with_context(context)?;
        Ok(Self {
            device_number: fs::metadata(&existing).with_context(context)?.dev(),
            free_bytes: stat.blocks_available() as u64 * stat.fragment_size() as u64,
            read_only: stat.flags().contains(FsFlags::ST_RDONLY),
            existing,
            path,
        })
    }
}

/// The file system under a directory, as the initramfs will have to find it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FileSystem {
    pub(crate) fstype: String,
    pub(crate) source: String,
    pub(crate) uuid: Option<String>,
    /// The directory on that file system.
    pub(crate) dir: PathBuf,
    /// Of an xfs: whether its directories know their entries' types (xfs(5), `ftype`).
    pub(crate) xfs_has_ftype: bool,
}

/// The source system.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Source {
    /// PRETTY_NAME of os-release(5).
    pub(crate) release: Option<String>,
    /// The entries, or why they cannot be read.
    pub(crate) fstab: Result<Vec<Entry>, String>,
    pub(crate) arguments: Cmdline,
    pub(crate) fips: bool,
    pub(crate) arch: String,
    pub(crate) machine_id: Option<String>,
    pub(crate) hostname: Option<String>,
    /// Where the image is put.
    pub(crate) image_dir: Place,
    pub(crate) image_device: FileSystem,
    pub(crate) boot: Place,
    pub(crate) state_dir: Place,
    pub(crate) state_device: FileSystem,
    /// Its mounts, with mount points as it sees them.
    pub(crate) mounts: Vec<Mount>,
    /// What Linux has of its memory, in bytes (MemTotal of proc_meminfo(5)); a system on a directory has none.
    #[serde(default)]
    pub(crate) memory_bytes: Option<u64>,
}

impl Source {
    pub(crate) fn look(root: &SysRoot, leapp: &LeappFacts, image: &str, table: &MountTable) -> Result<Self> {
        let source = ContainerDir::new(root.path());
        let image_parent = Path::new(image).parent().unwrap_or(Path::new("/"));
        let image_dir = Place::look(source.resolve(image_parent)?)?;
        let state_dir = Place::look(source.resolve(STATE_DIR)?)?;
        let arguments = match leapp.arguments() {
            Some(arguments) => arguments,
            None => kernel_arguments(root)?,
        };
        let fips_enabled = fs::read_to_string(root.at("proc/sys/crypto/fips_enabled"));
        Ok(Self {
            release: release(&source),
            fstab: match leapp.fstab() {
                // leapp splits the lines and leaves the fields as they are written.
                Some(fstab) => Ok(numbered(fstab.iter().map(Entry::decoded), root)),
                None => read_fstab(root),
            },
            fips: arguments.last("fips").is_some_and(|v| v != "0")
                || fips_enabled.is_ok_and(|t| t.trim() == "1"),
            arguments,
            arch: machine::arch()?,
            // "uninitialized" until the first boot is over (machine-id(5)).
            machine_id: read_line(&root.at("etc/machine-id")).filter(|id| id != "uninitialized"),
            hostname: read_line(&root.at("etc/hostname")),
            image_device: table.file_system_under(&image_dir)?,
            image_dir,
            boot: Place::look(source.resolve("/boot")?)?,
            state_device: table.file_system_under(&state_dir)?,
            state_dir,
            mounts: table.of_the_source(),
            memory_bytes: fs::read_to_string(root.at("proc/meminfo"))
                .ok()
                .and_then(|text| memory_bytes(&text)),
        })
    }
}

/// "MemTotal:        1500000 kB"
fn memory_bytes(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = line.trim().strip_suffix(" kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

/// PRETTY_NAME of a system's os-release(5).
pub(crate) fn release(system: &ContainerDir) -> Option<String> {
    let text = ["/etc/os-release", "/usr/lib/os-release"]
        .iter()
        .find_map(|path| system.read(path).ok())?;
    pretty_name(&text)
}

fn pretty_name(os_release: &str) -> Option<String> {
    let value = os_release
        .lines()
        .find_map(|line| line.trim().strip_prefix("PRETTY_NAME="))?;
    Some(value.trim_matches(['"', '\'']).to_owned()).filter(|name| !name.is_empty())
}

/// Of the running system; of a system on a directory, its own record of them (kernel-install(8)).
fn kernel_arguments(root: &SysRoot) -> Result<Cmdline> {
    for path in ["proc/cmdline", "etc/kernel/cmdline"].map(|p| root.at(p)) {
        match fs::read(&path) {
            // A word with bytes that are no UTF-8 stays behind.
            Ok(text) => return Ok(Cmdline::parse(&String::from_utf8_lossy(&text))),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
            Err(e) => return Err(e).with_context(|| format!("reading {}", path.display())),
        }
    }
    Ok(Cmdline::default())
}

pub(crate) fn read_fstab(root: &SysRoot) -> Result<Vec<Entry>, String> {
    let path = root.at("etc/fstab");
    let text = fs::read(&path).map_err(|e| format!("reading {}: {e}", path.display()))?;
    fstab::parse(text).map_err(|e| format!("{}: {e}", path.display()))
}

/// Entries that come without the numbers of their lines, with those that they have in the file.
fn numbered(entries: impl Iterator<Item = Entry>, root: &SysRoot) -> Vec<Entry> {
    let file = read_fstab(root).unwrap_or_default();
    let line = |entry: &Entry| file.iter().find(|known| *known == entry).map(|known| known.line);
    entries
        .map(|entry| Entry {
            line: line(&entry).unwrap_or_default(),
            ..entry
        })
        .collect()
}

fn read_line(path: &Path) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    text.lines()
        .next()
        .map(|l| l.trim().to_owned())
        .filter(|l| !l.is_empty())
}

/// The system's own view where it has one; else it is a directory of the system that runs.
pub(crate) struct MountTable<'a> {
    root: &'a SysRoot,
    path: PathBuf,
    /// Whether it is the source's own view.
    pub(crate) is_own: bool,
    mounts: Vec<Mount>,
}

impl<'a> MountTable<'a> {
    pub(crate) fn read(root: &'a SysRoot) -> Result<Self> {
        let own = root.at("proc/self/mountinfo");
        let is_own = own.is_file();
        let path = if is_own {
            own
        } else {
            "/proc/self/mountinfo".into()
        };
        let text = fs::read(&path).with_context(|| format!("reading {}", path.display()))?;
        let text = String::from_utf8_lossy(&text);
        Ok(Self {
            root,
            is_own,
            mounts: mountinfo::parse(&text),
            path,
        })
    }

    /// Those of the source system, with mount points as it sees them.
    pub(crate) fn of_the_source(&self) -> Vec<Mount> {
        if self.is_own {
            return self.mounts.clone();
        }
        let below = self
            .mounts
            .iter()
            .filter(|mount| mount.target.starts_with(self.root.path()));
        below
            .map(|mount| Mount {
                target: self.root.inside(&mount.target),
                ..mount.clone()
            })
            .collect()
    }

    /// The file system that a place lies on.
    pub(crate) fn file_system_under(&self, dir: &Place) -> Result<FileSystem> {
        let (existing, wanted) = if self.is_own {
            (self.root.inside(&dir.existing), self.root.inside(&dir.path))
        } else {
            (dir.existing.clone(), dir.path.clone())
        };
        let mount = mountinfo::holding(&self.mounts, &existing)
            .with_context(|| format!("{}: no mount holds {}", self.path.display(), existing.display()))?;
        let is_device = mount.source.starts_with('/');
        Ok(FileSystem {
            fstype: mount.fstype.clone(),
            source: mount.source.clone(),
            uuid: is_device.then(|| uuid(self.root, &mount.source)).flatten(),
            dir: mount.on_device(&wanted),
            xfs_has_ftype: mount.fstype == "xfs" && xfs_has_ftype(&dir.existing),
        })
    }
}

/// overlayfs needs d_type in directory entries, which an old xfs may not have.
fn xfs_has_ftype(dir: &Path) -> bool {
    let info = Cmd::new("xfs_info").arg(dir).limit(ASKING).read();
    info.map_or(true, |info| !info.contains("ftype=0"))
}

/// From udev's links, or where there are none (a container, a test) from the superblock.
fn uuid(root: &SysRoot, device: &str) -> Option<String> {
    let node = root
        .at(device)
        .canonicalize()
        .or_else(|_| Path::new(device).canonicalize())
        .ok()?;
    for entry in fs::read_dir(root.at("dev/disk/by-uuid"))
        .into_iter()
        .flatten()
        .flatten()
    {
        if entry.path().canonicalize().is_ok_and(|to| to == node) {
            return Some(entry.file_name().to_string_lossy().into_owned());
        }
    }
    let found = Cmd::new("blkid")
        .args(["-p", "-s", "UUID", "-o", "value"])
        .arg(&node)
        .limit(ASKING)
        .read()
        .ok()?;
    Some(found.trim().to_owned()).filter(|uuid| !uuid.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_release_is_named_as_os_release_has_it() {
        // CentOS Stream 8's and Debian 12's lines.
        for (text, name) in [
            (
                "NAME=\"CentOS Stream\"\nPRETTY_NAME=\"CentOS Stream 8\"\n",
                Some("CentOS Stream 8"),
            ),
            (
                "PRETTY_NAME='Debian GNU/Linux 12 (bookworm)'\n",
                Some("Debian GNU/Linux 12 (bookworm)"),
            ),
            ("PRETTY_NAME=\n", None),
            ("NAME=x\n", None),
        ] {
            assert_eq!(pretty_name(text).as_deref(), name, "{text}");
        }
    }
}
