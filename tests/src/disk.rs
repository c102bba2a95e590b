//! Disk images: making, copying, and looking inside.
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use livemode_common::cmd::Cmd;

/// A sparse ext4 image of `size_mib` with the content of `tree`; its UUID is the one in the tree's /etc/fstab.
///
/// # Errors
/// When a tool fails.
pub fn make(path: &Path, tree: &Path, size_mib: u64) -> Result<()> {
    let fstab = std::fs::read_to_string(tree.join("etc/fstab")).context("reading the tree's fstab")?;
    let uuid = fstab
        .split_whitespace()
        .find_map(|w| w.strip_prefix("UUID="))
        .context("no UUID in the tree's fstab")?;
    std::fs::File::create(path)?.set_len(size_mib << 20)?;
    Cmd::new("mkfs.ext4")
        .args(["-q", "-F", "-U", uuid, "-d"])
        .arg(tree)
        .arg(path)
        .run()
}

/// A copy that keeps the holes.
///
/// # Errors
/// When there is no space.
pub fn copy(from: &Path, to: &Path) -> Result<()> {
    Cmd::new("cp")
        .args(["--sparse=always", "--reflink=auto"])
        .arg(from)
        .arg(to)
        .run()
}

/// A mounted disk image; unmounted when dropped.
pub struct Mounted {
    // No TempDir: that would empty the disk if it were still mounted.
    dir: PathBuf,
    /// Another image, mounted on a directory of it.
    within: Option<PathBuf>,
}

impl Mounted {
    /// Mounts the image read-write.
    ///
    /// # Errors
    /// When it holds no file system, or there is no loop device.
    pub fn new(image: &Path) -> Result<Self> {
        Self::at_offset(image, 0)
    }

    /// Mounts the file system that begins so many bytes from the image's start.
    ///
    /// # Errors
    /// As [`Mounted::new`].
    pub fn at_offset(image: &Path, offset: u64) -> Result<Self> {
        let dir = tempfile::Builder::new().prefix("livemode-disk-").tempdir()?;
        Cmd::new("mount")
            .arg("-o")
            .arg(format!("loop,offset={offset}"))
            .arg(image)
            .arg(dir.path())
            .run()?;
        Ok(Self {
            dir: dir.keep(),
            within: None,
        })
    }

    /// With another image on one of its directories.
    ///
    /// # Errors
    /// As [`Mounted::new`].
    pub fn with(mut self, path: &str, image: &Path) -> Result<Self> {
        let at = self.at(path);
        Cmd::new("mount").args(["-o", "loop"]).arg(image).arg(&at).run()?;
        self.within = Some(at);
        Ok(self)
    }

    /// Where it is mounted.
    pub fn path(&self) -> &Path {
        &self.dir
    }

    /// A path on it.
    pub fn at(&self, path: &str) -> PathBuf {
        self.dir.join(path)
    }

    /// A file on it as text.
    ///
    /// # Panics
    /// When it cannot be read.
    pub fn read(&self, path: &str) -> String {
        let at = self.at(path);
        String::from_utf8_lossy(
            &std::fs::read(&at).unwrap_or_else(|e| panic!("reading {}: {e}", at.display())),
        )
        .into()
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let within = self.within.iter();
        let unmounted = within
            .chain([&self.dir])
            .try_for_each(|dir| Cmd::new("umount").arg(dir).run());
        if let Err(error) = unmounted.and_then(|()| Ok(std::fs::remove_dir(&self.dir)?)) {
            eprintln!("{error:#}");
        }
    }
}

/// A directory for many copies of one disk, which take only what differs: an XFS that shares blocks, on a sparse file.
pub struct Scratch {
    mounted: Mounted,
    _dir: tempfile::TempDir,
}

impl Scratch {
    /// One of `size_gib` at most.
    ///
    /// # Errors
    /// When it cannot be made or mounted.
    pub fn new(size_gib: u64) -> Result<Self> {
        let dir = tempfile::tempdir()?;
        let image = dir.path().join("scratch.img");
        std::fs::File::create(&image)?.set_len(size_gib << 30)?;
        Cmd::new("mkfs.xfs")
            .args(["-q", "-m", "reflink=1"])
            .arg(&image)
            .run()?;
        Ok(Self {
            mounted: Mounted::new(&image)?,
            _dir: dir,
        })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.mounted.path()
    }
}
