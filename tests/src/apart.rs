//! A source system with /boot on a disk of its own, whose upgrade can be all or nothing.
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use livemode_common::cmd::Cmd;

use crate::disk::Mounted;
use crate::source::prep;
use crate::subject::Subject;
use crate::testbed::Suite;
use crate::vm::Running;

/// Of the file system with /boot.
pub const BOOT_UUID: &str = "6c697665-6d6f-4d6f-8d6f-0000000b0075";
const BOOT_MIB: u64 = 200;
/// Where GRUB finds grub.cfg: the loader's disk comes first, then the root, then /boot.
const PREFIX: &str = "(hd2)/grub2";

/// The subject, with its two disks.
pub struct Apart(Subject);

/// A mount below another.
struct Inner(PathBuf);

impl Drop for Inner {
    fn drop(&mut self) {
        if let Err(error) = Cmd::new("umount").arg(&self.0).run() {
            eprintln!("{error:#}");
        }
    }
}

/// Both file systems.
pub struct Tree {
    // Unmounted before the outer one.
    _boot: Inner,
    root: Mounted,
}

impl Tree {
    /// Where the system lies.
    pub fn path(&self) -> &Path {
        self.root.path()
    }

    /// A file as text.
    ///
    /// # Panics
    /// When it cannot be read.
    pub fn read(&self, path: &str) -> String {
        self.root.read(path)
    }
}

impl Apart {
    /// One that is built with this `livemode` section; `name` is the cache's.
    ///
    /// # Errors
    /// When something cannot be made.
    pub fn new(name: &str, config: &str) -> Result<Self> {
        let code = crate::binaries::workspace().join("tests/src/apart.rs");
        let subject = Subject::arranged(Suite::Bookworm, name, config, &code, |source, second| {
            arrange(source.path(), second)
        })?;
        Ok(Self(subject.booted_by(PREFIX)?))
    }

    /// As [`Subject::boot_until_it_rests`].
    ///
    /// # Errors
    /// As that.
    pub fn boot_until_it_rests(&self) -> Result<String> {
        self.0.boot_until_it_rests()
    }

    /// As [`Subject::started`].
    ///
    /// # Errors
    /// As that.
    pub fn started<T>(&self, act: impl Fn(Running) -> Result<T>) -> Result<T> {
        self.0.started(act)
    }

    /// Both file systems, mounted here; no machine may run meanwhile.
    ///
    /// # Errors
    /// When they cannot be mounted.
    pub fn mounted(&self) -> Result<Tree> {
        let root = self.0.mounted()?;
        let boot = mount(&self.0.second_disk(), &root.at("boot"))?;
        Ok(Tree { _boot: boot, root })
    }

    /// What `livemode-prep status --json` says in the old or the new system.
    ///
    /// # Errors
    /// When it fails.
    pub fn status(&self) -> Result<serde_json::Value> {
        let tree = self.mounted()?;
        let (_, status, complaint) = prep(tree.path()).args(["status", "--json"]).output()?;
        serde_json::from_str(&status).with_context(|| format!("{status}{complaint}"))
    }
}

fn mount(image: &Path, at: &Path) -> Result<Inner> {
    Cmd::new("mount").args(["-o", "loop"]).arg(image).arg(at).run()?;
    Ok(Inner(at.to_owned()))
}

fn arrange(root: &Path, second: &Path) -> Result<Inner> {
    let boot = root.join("boot");
    for dir in ["boot/loader/entries", "boot/grub2"] {
        for file in fs::read_dir(root.join(dir))? {
            let path = file?.path();
            if path.extension().is_some_and(|end| end == "conf" || end == "cfg") {
                let text = fs::read_to_string(&path)?
                    .replace("linux /boot/", "linux /")
                    .replace("initrd /boot/", "initrd /")
                    .replace("--path /boot/loader", "--path /loader")
                    .replace("6c697665-6d6f-4d6f-8d6f-64656d6f3031", BOOT_UUID);
                fs::write(&path, text)?;
            }
        }
    }
    fs::File::create(second)?.set_len(BOOT_MIB << 20)?;
    Cmd::new("mkfs.ext4")
        .args(["-q", "-F", "-U", BOOT_UUID, "-d"])
        .arg(&boot)
        .arg(second)
        .run()?;
    fs::remove_dir_all(&boot)?;
    fs::create_dir(&boot)?;
    let fstab = root.join("etc/fstab");
    let text = fs::read_to_string(&fstab)?;
    fs::write(&fstab, format!("{text}UUID={BOOT_UUID} /boot ext4 defaults 0 2\n"))?;
    mount(second, &boot)
}
