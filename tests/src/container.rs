//! The target container with something changed, and a PATH with something else on it.
use std::fs;
use std::os::unix::fs::{symlink, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use livemode_common::cmd::Cmd;

use crate::testbed::{self, Suite};

/// Where [`Changed::with_an_initramfs`] has it: a directory that is not packed into the image.
const READY: &str = "boot/ready-initramfs";

/// An overlay of a container, which itself stays as it is.
pub struct Changed {
    dir: tempfile::TempDir,
}

impl Changed {
    /// An overlay of `container`, to be changed at will.
    ///
    /// # Errors
    /// When it cannot be mounted.
    pub fn of(container: &Path) -> Result<Self> {
        let dir = tempfile::Builder::new().prefix("livemode-container-").tempdir()?;
        for name in ["upper", "work", "root"] {
            fs::create_dir(dir.path().join(name))?;
        }
        let [upper, work] = ["upper", "work"].map(|name| dir.path().join(name));
        Cmd::new("mount")
            .args(["-t", "overlay", "overlay", "-o"])
            .arg(format!(
                "lowerdir={},upperdir={},workdir={}",
                container.display(),
                upper.display(),
                work.display()
            ))
            .arg(dir.path().join("root"))
            .run()?;
        Ok(Self { dir })
    }

    /// An overlay of the container in which dracut gives out at once what the real one has made before: for tests of all that
    /// is done beside it.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn with_an_initramfs() -> Result<Self> {
        let changed = Self::of(&testbed::container(Suite::Bookworm)?)?;
        let ready = testbed::prepared(Suite::Bookworm, "default", "livemode:\n")?.initramfs();
        fs::copy(&ready, changed.at(READY)).with_context(|| format!("copying {}", ready.display()))?;
        let script = format!("for output; do :; done\nexec cp /{READY} \"$output\"");
        changed.program("usr/bin/dracut", &script)?;
        Ok(changed)
    }

    /// Puts a shell script into it, in the place of a program.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn program(&self, path: &str, script: &str) -> Result<()> {
        write_program(&self.at(path), script)
    }

    /// Its root directory.
    pub fn path(&self) -> PathBuf {
        self.dir.path().join("root")
    }

    /// A program of it, with what dracut needs below /dev, /proc and /sys.
    pub fn inside(&self, program: &str) -> Cmd {
        let enter =
            "for d in dev sys; do mount --rbind /$d \"$0/$d\" || exit; done; exec chroot \"$0\" \"$@\"";
        Cmd::new("unshare")
            .args(["--mount", "--pid", "--fork", "--kill-child"])
            .arg(format!("--mount-proc={}", self.at("proc").display()))
            .args(["sh", "-c", enter])
            .arg(self.path())
            .arg(program)
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
    }

    /// A path in it.
    pub fn at(&self, path: &str) -> PathBuf {
        self.path().join(path)
    }
}

impl Drop for Changed {
    fn drop(&mut self) {
        if let Err(error) = Cmd::new("umount").arg(self.path()).run() {
            eprintln!("{error:#}");
        }
    }
}

/// A directory for PATH with every program of this machine but one, which is missing or ours.
pub struct Programs {
    dir: tempfile::TempDir,
}

impl Programs {
    /// All but `name`.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn without(name: &str) -> Result<Self> {
        let dir = tempfile::tempdir()?;
        for bin in ["/usr/bin", "/usr/sbin", "/bin", "/sbin"] {
            for entry in fs::read_dir(bin).with_context(|| format!("reading {bin}"))? {
                let entry = entry?;
                let link = dir.path().join(entry.file_name());
                if entry.file_name() != name && !link.is_symlink() {
                    symlink(entry.path(), link)?;
                }
            }
        }
        Ok(Self { dir })
    }

    /// All, with a shell script in the place of `name`.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn with(name: &str, script: &str) -> Result<Self> {
        let programs = Self::without(name)?;
        write_program(&programs.path().join(name), script)?;
        Ok(programs)
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        self.dir.path()
    }
}

fn write_program(path: &Path, script: &str) -> Result<()> {
    fs::write(path, format!("#!/bin/sh\n{script}\n"))
        .with_context(|| format!("writing {}", path.display()))?;
    Ok(fs::set_permissions(path, fs::Permissions::from_mode(0o755))?)
}
