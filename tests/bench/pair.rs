//! The same source system twice: with our image, and with upstream's LiveMode in its place.
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use anyhow::{Context, Result};
use livemode_common::fstab;
use livemode_tests::baseline;
use livemode_tests::disk::{self, Mounted};
use livemode_tests::testbed::{self, Suite};
use livemode_tests::vm::{Boot, Drive, Machine};

/// Where a script that stands in leapp's place finds the testbed's leapp.
pub(crate) const LEAPP: &str = "/usr/bin/leapp.testbed";

/// Both, each with its disk, which no boot changes. Both start their kernel without a boot loader.
pub(crate) struct Pair {
    pub(crate) ours: Side,
    pub(crate) theirs: Side,
    _dir: tempfile::TempDir,
}

/// One of them.
#[derive(Clone)]
pub(crate) struct Side {
    disk: PathBuf,
    kernel: PathBuf,
    initramfs: PathBuf,
    arguments: String,
}

impl Pair {
    /// With `script` in leapp's place on the source system.
    pub(crate) fn new(script: &str) -> Result<Self> {
        let prepared = testbed::prepared(Suite::Bookworm, "default", "livemode:\n")?;
        let dir = tempfile::tempdir()?;
        let [ours, theirs] = ["ours.img", "theirs.img"].map(|name| dir.path().join(name));
        for image in [&ours, &theirs] {
            disk::copy(&prepared.disk(), image)?;
            let source = Mounted::new(image)?;
            let leapp = source.at("usr/bin/leapp");
            fs::rename(&leapp, source.at(&LEAPP[1..])).context("moving the testbed's leapp")?;
            fs::write(&leapp, script)?;
            fs::set_permissions(&leapp, fs::Permissions::from_mode(0o755))?;
        }
        {
            let source = Mounted::new(&theirs)?;
            let fstab = fstab::parse(source.read("etc/fstab"))?;
            let root = fstab.iter().find(|entry| entry.fs_file == "/");
            let image = baseline::image(root.context("no root in the source's fstab")?)?;
            let path = prepared.manifest.image.path.trim_start_matches('/');
            fs::copy(image, source.at(path)).context("copying upstream's image")?;
        }
        let arguments = &prepared.manifest.boot.arguments;
        Ok(Self {
            ours: Side {
                disk: ours,
                kernel: prepared.kernel(),
                initramfs: prepared.initramfs(),
                arguments: arguments.clone(),
            },
            theirs: Side {
                disk: theirs,
                kernel: prepared.kernel(),
                initramfs: baseline::initramfs()?,
                arguments: baseline::arguments(arguments),
            },
            _dir: dir,
        })
    }
}

impl Side {
    /// The same without a check of the image.
    pub(crate) fn unchecked(&self) -> Result<Self> {
        let digest = self
            .arguments
            .split(' ')
            .find(|word| word.starts_with("livemode.digest="));
        let digest = digest.context("no digest in the arguments")?;
        Ok(Self {
            arguments: self.arguments.replace(digest, "livemode.digest=none"),
            ..self.clone()
        })
    }

    /// Calls `act` with a machine that has a copy of the disk, and `more` in QEMU's words.
    pub(crate) fn with<T>(&self, more: &[&str], act: impl FnOnce(Machine) -> Result<T>) -> Result<T> {
        let dir = tempfile::tempdir()?;
        let disk = dir.path().join("disk.img");
        disk::copy(&self.disk, &disk)?;
        let drives = [Drive::new(&disk)];
        let boot = Boot::Kernel {
            kernel: &self.kernel,
            initramfs: &self.initramfs,
            arguments: &self.arguments,
        };
        act(Machine {
            more,
            ..Machine::new(&drives, boot)
        })
    }
}
