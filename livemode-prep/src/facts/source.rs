//! What is known of the source system: read from it, or taken from what leapp says.
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use livemode_common::cmd::Cmd;
use livemode_common::cmdline::Cmdline;
use livemode_common::container::ContainerDir;
use livemode_common::contract::STATE_DIR;
use livemode_common::failure::precondition;
use livemode_common::fstab::{self, Entry};
use livemode_common::mountinfo::{self, Mount};
use livemode_common::sysroot::SysRoot;
use nix::sys::statvfs::{statvfs, FsFlags};

use crate::facts::leapp::LeappFacts;
use crate::facts::storage::Sources;

/// A directory that will be written to.
#[derive(Debug, Clone)]
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
    fn look(path: PathBuf) -> Result<Self> {
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

/// The device under a directory, as the initramfs will have to find it.
#[derive(Debug, Clone)]
pub(crate) struct Device {
    pub(crate) fstype: String,
    pub(crate) source: String,
    pub(crate) uuid: Option<String>,
    /// The directory on that file system.
    pub(crate) dir: PathBuf,
}

#[derive(Debug, Clone)]
pub(crate) struct Facts {
    pub(crate) fstab: Vec<Entry>,
    pub(crate) arguments: Cmdline,
    pub(crate) fips: bool,
    pub(crate) arch: String,
    pub(crate) machine_id: Option<String>,
    pub(crate) hostname: Option<String>,
    pub(crate) image_dir: Place,
    pub(crate) image_device: Device,
    pub(crate) boot: Place,
    pub(crate) state_dir: Place,
    pub(crate) state_device: Device,
    pub(crate) storage: Sources,
}

impl Facts {
    pub(crate) fn gather(root: &SysRoot, leapp: Option<&LeappFacts>, image: &str) -> Result<Self> {
        let source = ContainerDir::new(root.path());
        let image_parent = Path::new(image).parent().unwrap_or(Path::new("/"));
        let image_dir = Place::look(source.resolve(image_parent)?)?;
        let state_dir = Place::look(source.resolve(STATE_DIR)?)?;
        let arguments = match leapp.and_then(LeappFacts::arguments) {
            Some(arguments) => arguments,
            None => kernel_arguments(root)?,
        };
        let fips_enabled = fs::read_to_string(root.at("proc/sys/crypto/fips_enabled"));
        let fstab = match leapp.and_then(LeappFacts::fstab) {
            Some(fstab) => fstab.to_vec(),
            None => read_fstab(root)?,
        };
        let table = MountTable::read(root)?;
        Ok(Self {
            storage: Sources::look(root, &fstab, &table.of_the_source(), table.is_own)?,
            fstab,
            fips: arguments.last("fips").is_some_and(|v| v != "0")
                || fips_enabled.is_ok_and(|t| t.trim() == "1"),
            arguments,
            arch: nix::sys::utsname::uname()?
                .machine()
                .to_string_lossy()
                .into_owned(),
            // "uninitialized" until the first boot is over (machine-id(5)).
            machine_id: read_line(&root.at("etc/machine-id")).filter(|id| id != "uninitialized"),
            hostname: read_line(&root.at("etc/hostname")),
            image_device: table.device_under(&image_dir)?,
            image_dir,
            boot: Place::look(source.resolve("/boot")?)?,
            state_device: table.device_under(&state_dir)?,
            state_dir,
        })
    }
}

/// Of the running system; of a system on a directory, its own record of them (kernel-install(8)).
fn kernel_arguments(root: &SysRoot) -> Result<Cmdline> {
    for path in ["proc/cmdline", "etc/kernel/cmdline"].map(|p| root.at(p)) {
        match fs::read_to_string(&path) {
            Ok(text) => return Ok(Cmdline::parse(&text)),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
            Err(e) => return Err(e).with_context(|| format!("reading {}", path.display())),
        }
    }
    Ok(Cmdline::default())
}

fn read_fstab(root: &SysRoot) -> Result<Vec<Entry>> {
    let path = root.at("etc/fstab");
    let text =
        fs::read_to_string(&path).map_err(|e| precondition(format!("reading {}: {e}", path.display())))?;
    fstab::parse(&text).map_err(|e| precondition(format!("{}: {e}", path.display())))
}

fn read_line(path: &Path) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    text.lines()
        .next()
        .map(|l| l.trim().to_owned())
        .filter(|l| !l.is_empty())
}

/// The system's own view where it has one; else it is a directory of the system that runs.
struct MountTable<'a> {
    root: &'a SysRoot,
    path: PathBuf,
    is_own: bool,
    mounts: Vec<Mount>,
}

impl<'a> MountTable<'a> {
    fn read(root: &'a SysRoot) -> Result<Self> {
        let own = root.at("proc/self/mountinfo");
        let is_own = own.is_file();
        let path = if is_own {
            own
        } else {
            "/proc/self/mountinfo".into()
        };
        let text = fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
        Ok(Self {
            root,
            is_own,
            mounts: mountinfo::parse(&text),
            path,
        })
    }

    fn inside(&self, path: &Path) -> PathBuf {
        Path::new("/").join(path.strip_prefix(self.root.path()).unwrap_or(path))
    }

    /// Those of the source system, with mount points as it sees them.
    fn of_the_source(&self) -> Vec<Mount> {
        if self.is_own {
            return self.mounts.clone();
        }
        let below = self
            .mounts
            .iter()
            .filter(|mount| mount.target.starts_with(self.root.path()));
        below
            .map(|mount| Mount {
                target: self.inside(&mount.target),
                ..mount.clone()
            })
            .collect()
    }

    fn device_under(&self, dir: &Place) -> Result<Device> {
        let (existing, wanted) = if self.is_own {
            (self.inside(&dir.existing), self.inside(&dir.path))
        } else {
            (dir.existing.clone(), dir.path.clone())
        };
        let mount = mountinfo::holding(&self.mounts, &existing)
            .with_context(|| format!("{}: no mount holds {}", self.path.display(), existing.display()))?;
        Ok(Device {
            fstype: mount.fstype.clone(),
            source: mount.source.clone(),
            uuid: mount
                .source
                .starts_with('/')
                .then(|| uuid(self.root, &mount.source))
                .flatten(),
            dir: mount.on_device(&wanted),
        })
    }
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
        .read()
        .ok()?;
    Some(found.trim().to_owned()).filter(|uuid| !uuid.is_empty())
}
