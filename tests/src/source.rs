//! A source system on a mounted disk of its own, for `livemode-prep` to work on.
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use livemode_common::cmd::Cmd;
use livemode_common::contract::{MANIFEST, STATE_DIR};
use livemode_common::loader::grubenv::Grubenv;
use livemode_common::records::Manifest;

use crate::binaries::{binary, workspace};
use crate::disk::{self, Mounted};
use crate::testbed;

const FSTAB: &str = "UUID=6c697665-6d6f-4d6f-8d6f-64656d6f3031 / ext4 defaults 0 1\n";
const ARGUMENTS: &str = "root=UUID=6c697665-6d6f-4d6f-8d6f-64656d6f3031 ro quiet console=ttyS0\n";

/// The upgrade's own entry, below the root.
pub const ENTRY: &str = "boot/loader/entries/abcdef0123456789abcdef0123456789-livemode.conf";
/// The entry that the stand-in of grubby makes for leapp.
pub const LEAPPS_ENTRY: &str = "boot/loader/entries/abcdef0123456789abcdef0123456789-upgrade.x86_64.conf";
/// Names the real script.
const GRUBBY: &str = "LIVEMODE_GRUBBY";
/// GRUB's environment block.
pub const GRUBENV: &str = "boot/grub2/grubenv";

/// The work directory of a build with the default configuration.
pub const WORK: &str = "var/lib/leapp/.livemode-work";
/// For what takes a second or a few, on a machine of any load.
const LIMIT: Duration = Duration::from_secs(600);

/// The disk goes with it.
pub struct SourceDisk {
    mounted: Mounted,
    dir: tempfile::TempDir,
}

impl SourceDisk {
    /// A whole system, as it boots in the tests with a machine, after leapp's checks.
    ///
    /// # Errors
    /// When the disk cannot be made.
    pub fn whole() -> Result<Self> {
        let disk = Self::of(&testbed::source()?)?;
        fs::create_dir_all(disk.at("var/lib/leapp"))?;
        Ok(disk)
    }

    /// A whole system with the stand-in of grubby, or the real script that `make grubby` names, and with stand-ins for what
    /// that calls.
    ///
    /// # Errors
    /// When the disk cannot be made.
    pub fn with_grubby() -> Result<Self> {
        let disk = Self::whole()?;
        fs::create_dir_all(disk.at("usr/libexec/grubby"))?;
        let testbed = workspace().join("tests/testbed");
        let grubby = std::env::var_os(GRUBBY).map_or_else(|| testbed.join("grubby.sh"), PathBuf::from);
        for (file, place) in [
            (grubby, "usr/sbin/grubby"),
            (testbed.join("grub2-editenv.sh"), "usr/bin/grub2-editenv"),
            (testbed.join("rpm-sort.sh"), "usr/libexec/grubby/rpm-sort"),
        ] {
            let place = disk.at(place);
            fs::copy(&file, &place).with_context(|| format!("copying {}", file.display()))?;
            fs::set_permissions(&place, fs::Permissions::from_mode(0o755))?;
        }
        for dir in ["proc", "run"] {
            fs::create_dir_all(disk.at(dir))?;
        }
        Ok(disk)
    }

    /// A variable of GRUB's environment block; empty where it is not set.
    ///
    /// # Panics
    /// When the block cannot be read.
    pub fn variable(&self, name: &str) -> String {
        let env = Grubenv::read(&self.at(GRUBENV)).expect("there is GRUB's environment block");
        env.get(name).unwrap_or_default()
    }

    /// Sets a variable of it.
    ///
    /// # Panics
    /// When the block cannot be read or written.
    pub fn set_variable(&self, name: &str, value: &str) {
        let path = self.at(GRUBENV);
        let mut env = Grubenv::read(&path).expect("there is GRUB's environment block");
        env.set(name, value);
        env.write_in_place(&path).expect("it can be written");
    }

    /// The arguments of the upgrade's own entry, sorted.
    ///
    /// # Panics
    /// When there is no such entry.
    pub fn entry_words(&self) -> Vec<String> {
        let entry = self.read(ENTRY);
        let options = entry.lines().find_map(|line| line.strip_prefix("options "));
        sorted_words(options.expect("an entry has options"))
    }

    /// Only what `plan` and `build` read of a source system.
    ///
    /// # Errors
    /// When the disk cannot be made.
    pub fn bare() -> Result<Self> {
        let tree = tempfile::tempdir()?;
        for dir in ["etc/kernel", "boot", "var/lib/leapp"] {
            fs::create_dir_all(tree.path().join(dir))?;
        }
        fs::write(tree.path().join("etc/fstab"), FSTAB)?;
        fs::write(tree.path().join("etc/kernel/cmdline"), ARGUMENTS)?;
        Self::of(tree.path())
    }

    fn of(tree: &Path) -> Result<Self> {
        let dir = tempfile::tempdir()?;
        let image = dir.path().join("disk.img");
        disk::make(&image, tree, testbed::DISK_MIB)?;
        Ok(Self {
            mounted: Mounted::new(&image)?,
            dir,
        })
    }

    /// Where the system lies.
    pub fn root(&self) -> &Path {
        self.mounted.path()
    }

    /// A path on it.
    pub fn at(&self, path: &str) -> PathBuf {
        self.mounted.at(path)
    }

    /// A file on it as text.
    ///
    /// # Panics
    /// When it cannot be read.
    pub fn read(&self, path: &str) -> String {
        self.mounted.read(path)
    }

    /// The image file under it.
    pub fn image(&self) -> PathBuf {
        self.dir.path().join("disk.img")
    }

    /// A copy of the image file as it is now, while it stays mounted here.
    ///
    /// # Errors
    /// When it cannot be frozen or copied.
    pub fn copy_to(&self, copy: &Path) -> Result<()> {
        let freeze = |how: &str| Cmd::new("fsfreeze").arg(how).arg(self.root()).run();
        freeze("--freeze")?;
        let copied = disk::copy(&self.image(), copy);
        freeze("--unfreeze")?;
        copied
    }

    /// `livemode-prep build` from this container, for a program.
    pub fn build(&self, container: &Path) -> Cmd {
        let build = self.prep().args(["build", "--json", "--userspace"]);
        build.arg(container)
    }

    /// What the last build wrote down.
    ///
    /// # Panics
    /// When it cannot be read.
    pub fn manifest(&self) -> Manifest {
        serde_json::from_str(&self.read(MANIFEST)).expect("what build wrote is a manifest")
    }

    /// What `status` finds wrong with a build.
    ///
    /// # Panics
    /// When there is none.
    pub fn problems(&self) -> serde_json::Value {
        let status = self
            .prep()
            .args(["status", "--json"])
            .read()
            .expect("status works");
        let mut status: serde_json::Value = serde_json::from_str(&status).expect("status gives JSON");
        assert!(!status["prepared"].is_null(), "{status}");
        status["problems"].take()
    }

    /// Waits for the sweeper, which outlives a killed build by a moment.
    pub fn swept(&self) {
        wait_for("the sweeper", || !self.at(WORK).exists());
        let state = self.at(STATE_DIR);
        wait_for("the sweeper", || !state.exists() || self.at(MANIFEST).exists());
    }

    /// `livemode-prep` for this system, opted in; its subcommand is to follow.
    pub fn prep(&self) -> Cmd {
        prep(self.root())
    }

    /// Everything on it.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn listing(&self) -> Result<BTreeMap<PathBuf, String>> {
        listing(self.root())
    }
}

/// `livemode-prep` for a system on a directory, opted in; its subcommand is to follow.
pub fn prep(root: &Path) -> Cmd {
    Cmd::new(binary("livemode-prep"))
        .env("LEAPP_UNSUPPORTED", "1")
        .arg("--root")
        .arg(root)
}

/// The words of a line without quotes, sorted, repeats and all.
pub fn sorted_words(line: &str) -> Vec<String> {
    let mut words: Vec<String> = line.split(' ').map(str::to_owned).collect();
    words.sort();
    words
}

/// Takes back what was built for a system on a directory.
///
/// # Panics
/// When it cannot be.
pub fn remove(root: &Path) {
    prep(root).arg("remove").run().expect("remove works");
}

/// Waits until it is so.
///
/// # Panics
/// When it is not within [`LIMIT`].
pub fn wait_for(what: &str, mut is_so: impl FnMut() -> bool) {
    let started = Instant::now();
    while !is_so() {
        assert!(started.elapsed() < LIMIT, "waited too long for {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Every path below `root` with its type, mode, and a file's size or a link's end.
///
/// # Errors
/// When something cannot be read.
pub fn listing(root: &Path) -> Result<BTreeMap<PathBuf, String>> {
    let mut all = BTreeMap::new();
    let mut todo = vec![root.to_owned()];
    while let Some(dir) = todo.pop() {
        for entry in fs::read_dir(&dir).with_context(|| format!("reading {}", dir.display()))? {
            let path = entry?.path();
            // Every question to rpm touches its database's lock file.
            if path.ends_with("var/lib/rpm/rpmdb.sqlite-shm") {
                continue;
            }
            let meta = fs::symlink_metadata(&path)?;
            let mode = meta.permissions().mode();
            let content = if meta.is_dir() {
                todo.push(path.clone());
                String::new()
            } else if meta.is_symlink() {
                fs::read_link(&path)?.display().to_string()
            } else if path.ends_with(GRUBENV) {
                // It is written in place: what is in it counts.
                String::from_utf8_lossy(&fs::read(&path)?).into_owned()
            } else {
                format!("{} {}.{}", meta.len(), meta.mtime(), meta.mtime_nsec())
            };
            all.insert(path, format!("{mode:o} {content}"));
        }
    }
    Ok(all)
}

/// What is not the same in two listings.
pub fn differences(before: &BTreeMap<PathBuf, String>, after: &BTreeMap<PathBuf, String>) -> Vec<String> {
    let only = |these: &BTreeMap<PathBuf, String>, those: &BTreeMap<PathBuf, String>, sign: char| {
        these
            .iter()
            .filter(|(path, node)| those.get(*path) != Some(node))
            .map(|(path, node)| format!("{sign} {} {node}", path.display()))
            .collect::<Vec<_>>()
    };
    [only(before, after, '-'), only(after, before, '+')].concat()
}
