//! Running the container's own programs in a throw-away overlay of it. Everything is mounted in this process's
//! private namespace: nothing is left mounted, whatever kills it.
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use livemode_common::cmd::Cmd;
use livemode_common::container::ContainerDir;
use livemode_common::failure::precondition;
use livemode_common::mount::{enter_private_namespace, MountSpec, MountStack};
use sys_mount::MountFlags;

/// A container with /dev, /proc, /sys and /run of its own.
pub(crate) struct Chroot {
    root: PathBuf,
    // Dropped in this order: what is mounted inside, then the overlay.
    resolver: MountStack,
    inside: MountStack,
    _overlay: MountStack,
    _ram: Option<RamDir>,
}

/// Where the changes go, below an overlay's work directory.
const UPPER: &str = "upper";

/// The changes of an overlay that is no longer mounted: a layer for others.
pub(crate) fn changes(work: &Path) -> PathBuf {
    work.join(UPPER)
}

/// A directory with a tmpfs of this namespace on it.
struct RamDir(PathBuf);

impl Drop for RamDir {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir(&self.0) {
            eprintln!("livemode-prep: removing {}: {error}", self.0.display());
        }
    }
}

impl Chroot {
    /// An overlay of the directories `layers`, the uppermost first, whose changes go below `work`, which it makes.
    pub(crate) fn on_disk(layers: &[PathBuf], work: &Path) -> Result<Self> {
        private_namespace()?;
        fs::create_dir(work).with_context(|| format!("creating {}", work.display()))?;
        Self::overlay(layers, work, MountStack::default(), None)
    }

    /// An overlay of `container` whose changes go to RAM.
    pub(crate) fn in_ram(container: &Path) -> Result<Self> {
        private_namespace()?;
        let dir = PathBuf::from(format!("/run/livemode-prep.{}", std::process::id()));
        fs::create_dir(&dir).with_context(|| format!("creating {}", dir.display()))?;
        let ram = RamDir(dir.clone());
        let mut mounts = MountStack::default();
        mounts.mount(&MountSpec::new("livemode", &dir, "tmpfs", "mode=0700"))?;
        Self::overlay(&[container.to_owned()], &dir, mounts, Some(ram))
    }

    fn overlay(
        layers: &[PathBuf],
        work: &Path,
        mut overlay: MountStack,
        ram: Option<RamDir>,
    ) -> Result<Self> {
        let [root, upper, overlay_work] = ["root", UPPER, "work"].map(|name| work.join(name));
        for dir in [&root, &upper, &overlay_work] {
            fs::create_dir(dir).with_context(|| format!("creating {}", dir.display()))?;
        }
        let lower: Vec<String> = layers.iter().map(|layer| escape(layer)).collect();
        let lower = lower.join(":");
        let [upper, overlay_work] = [upper, overlay_work].map(|dir| escape(&dir));
        let options = format!("lowerdir={lower},upperdir={upper},workdir={overlay_work}");
        overlay.mount(&MountSpec::new("livemode", &root, "overlay", &options))?;

        let tree = ContainerDir::new(&root);
        let [dev, proc, sys, run] = ["/dev", "/proc", "/sys", "/run"].map(|dir| tree.create_dir(dir));
        proc?;
        let mut inside = MountStack::default();
        inside.mount(&MountSpec::bind("/dev", dev?))?;
        inside.mount(&MountSpec::bind("/sys", sys?))?;
        inside.mount(&MountSpec::new("livemode", run?, "tmpfs", "mode=0755"))?;
        // dnf needs names; the container's own file is only covered.
        let mut resolver = MountStack::default();
        let resolv = tree.resolve("/etc/resolv.conf")?;
        if resolv.is_file() && Path::new("/etc/resolv.conf").is_file() {
            resolver.mount(&MountSpec::new("/etc/resolv.conf", resolv, "", "").flags(MountFlags::BIND))?;
        }
        Ok(Self {
            root,
            resolver,
            inside,
            _overlay: overlay,
            _ram: ram,
        })
    }

    /// The container's root directory on this machine.
    pub(crate) fn tree(&self) -> ContainerDir {
        ContainerDir::new(&self.root)
    }

    /// A program of the container, in PID and mount namespaces of its own: it dies with us, and so does all it
    /// starts (unshare(1), --kill-child).
    pub(crate) fn cmd(&self, program: &str) -> Cmd {
        Cmd::new("unshare")
            .args(["--mount", "--pid", "--fork", "--kill-child"])
            .arg(format!("--mount-proc={}", self.root.join("proc").display()))
            .arg("chroot")
            .arg(&self.root)
            .arg(program)
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .env("LC_ALL", "C")
            .env("HOME", "/root")
    }

    /// Shows one more directory inside.
    pub(crate) fn bind(&mut self, source: &Path, target: &Path) -> Result<()> {
        self.inside.mount(&MountSpec::bind(source, target))
    }

    /// Takes away this machine's resolv.conf, so that the container may get one of its own.
    pub(crate) fn close_resolver(&mut self) -> Result<()> {
        std::mem::take(&mut self.resolver).unmount()
    }

    /// Takes away what is mounted inside, so that the tree can be read as it will be packed.
    pub(crate) fn close_inside(&mut self) -> Result<()> {
        self.close_resolver()?;
        std::mem::take(&mut self.inside).unmount()
    }
}

fn private_namespace() -> Result<()> {
    if !nix::unistd::geteuid().is_root() {
        return Err(precondition(
            "only root can look into the container and build from it",
        ));
    }
    enter_private_namespace()
}

/// A colon would start another lower directory, a comma another option (kernel: Documentation/filesystems/overlayfs).
fn escape(path: &Path) -> String {
    path.display()
        .to_string()
        .replace('\\', r"\\")
        .replace(':', r"\:")
        .replace(',', r"\,")
}
