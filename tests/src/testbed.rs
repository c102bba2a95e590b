//! The trees of the demo and the tests, and a source disk on which `livemode-prep build` has run.
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use livemode_common::cmd::Cmd;
use livemode_common::contract::MANIFEST;
use livemode_common::records::Manifest;

use crate::binaries::{binary, workspace};
use crate::{cache, disk};

/// Large enough for the source, the image and what `build` wants free.
pub const DISK_MIB: u64 = 3072;

const SECOND: &str = "second.img";

/// Debian's releases near to the targets of an upgrade.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Suite {
    /// Debian 12, near el9: dracut 059, systemd 252, kernel 6.1.
    Bookworm,
    /// Debian 13, near el10: dracut 106, systemd 257, kernel 6.12.
    Trixie,
}

impl Suite {
    fn name(self) -> &'static str {
        match self {
            Self::Bookworm => "bookworm",
            Self::Trixie => "trixie",
        }
    }
}

fn script(name: &str) -> PathBuf {
    workspace().join("tests/testbed").join(name)
}

fn repositories() -> Result<PathBuf> {
    let script = script("repository.sh");
    cache::entry("repositories", &[], &[&script], |out| {
        Cmd::new(&script).arg(out).run()
    })
}

fn tree(kind: &str, suite: Suite) -> Result<PathBuf> {
    let repositories = repositories()?;
    let (tree, packages) = (script("tree.sh"), script("repository.sh"));
    let (loader, source) = (script("loader.sh"), script("source"));
    let name = format!("{kind}-{}", suite.name());
    let mut inputs: Vec<&Path> = vec![&tree, &packages];
    if kind == "source" {
        inputs.extend([loader.as_path(), &source]);
    }
    cache::entry(&name, &[], &inputs, |out| {
        Cmd::new(&tree)
            .args([kind, suite.name()])
            .arg(&repositories)
            .arg(out)
            .run()
    })
}

/// A target-system container.
///
/// # Errors
/// When it is absent and cannot be made.
pub fn container(suite: Suite) -> Result<PathBuf> {
    tree("container", suite)
}

/// A source system, always of Debian 12.
///
/// # Errors
/// When it is absent and cannot be made.
pub fn source() -> Result<PathBuf> {
    tree("source", Suite::Bookworm)
}

/// What goes into QEMU, in one directory.
#[derive(Debug, Clone)]
pub struct Prepared {
    dir: PathBuf,
    /// What `build` wrote.
    pub manifest: Manifest,
}

impl Prepared {
    fn read(dir: PathBuf) -> Result<Self> {
        let manifest = fs::read(dir.join("manifest.json")).context("reading the manifest")?;
        Ok(Self {
            manifest: serde_json::from_slice(&manifest)?,
            dir,
        })
    }

    /// The source disk after the build.
    pub fn disk(&self) -> PathBuf {
        self.dir.join("disk.img")
    }
    /// The second disk, where there is one.
    pub fn second_disk(&self) -> Option<PathBuf> {
        Some(self.dir.join(SECOND)).filter(|disk| disk.exists())
    }
    /// The kernel that `build` put into /boot.
    pub fn kernel(&self) -> PathBuf {
        self.dir.join("kernel")
    }
    /// The initramfs that `build` put into /boot.
    pub fn initramfs(&self) -> PathBuf {
        self.dir.join("initramfs")
    }
}

/// A source disk on which `build` has run with this `livemode` section (YAML), cached by all that goes into it.
///
/// # Errors
/// When something cannot be made; `build`'s own error is in it.
pub fn prepared(suite: Suite, name: &str, config: &str) -> Result<Prepared> {
    arranged(suite, name, config, None, |_, _| Ok(()))
}

/// The same of a source system that `arrange`, a function of the file `code`, makes ready before the build, and a second disk
/// with it where the path it is given says; what it gives (mounts, say) is dropped after that.
///
/// # Errors
/// As [`prepared`], and those of `arrange`.
pub fn arranged<T>(
    suite: Suite,
    name: &str,
    config: &str,
    code: Option<&Path>,
    arrange: impl FnOnce(&disk::Mounted, &Path) -> Result<T>,
) -> Result<Prepared> {
    let (source, container) = (source()?, container(suite)?);
    let binaries = ["livemode-prep", "livemode-boot", "livemode-run"].map(binary);
    let inputs: Vec<&Path> = binaries.iter().map(PathBuf::as_path).chain(code).collect();
    let trees = [&source, &container].map(|t| t.to_string_lossy().into_owned());
    let texts = [trees[0].as_str(), trees[1].as_str(), config];
    let name = format!("prepared-{}-{name}", suite.name());
    let dir = cache::entry(&name, &texts, &inputs, |out| {
        prepare(out, &source, &container, config, arrange)
    })?;
    Prepared::read(dir)
}

fn prepare<T>(
    out: &Path,
    source: &Path,
    container: &Path,
    config: &str,
    arrange: impl FnOnce(&disk::Mounted, &Path) -> Result<T>,
) -> Result<()> {
    if out.exists() {
        fs::remove_dir_all(out)?;
    }
    fs::create_dir_all(out)?;
    let image = out.join("disk.img");
    disk::make(&image, source, DISK_MIB)?;
    let mounted = disk::Mounted::new(&image)?;
    let configs = mounted.at("etc/leapp/actor_conf.d");
    fs::create_dir_all(&configs)?;
    fs::write(configs.join("livemode.yaml"), config)?;
    let arrangement = arrange(&mounted, &out.join(SECOND))?;
    build(mounted.path(), container).run()?;
    let manifest: Manifest = serde_json::from_str(&mounted.read(MANIFEST)).context("reading the manifest")?;
    for (from, to) in [
        (manifest.kernel.path.as_str(), "kernel"),
        (&manifest.initramfs.path, "initramfs"),
        (MANIFEST, "manifest.json"),
    ] {
        let from = from.trim_start_matches('/');
        fs::copy(mounted.at(from), out.join(to)).with_context(|| format!("copying {from}"))?;
    }
    drop(arrangement);
    Ok(())
}

/// `livemode-prep build` for a source system on a directory.
pub fn build(root: &Path, container: &Path) -> Cmd {
    Cmd::new(binary("livemode-prep"))
        .env("LEAPP_UNSUPPORTED", "1")
        .arg("--root")
        .arg(root)
        .arg("build")
        .arg("--userspace")
        .arg(container)
}

/// The source's own kernel.
///
/// # Errors
/// When it has none.
pub fn source_kernel(root: &Path) -> Result<PathBuf> {
    for entry in fs::read_dir(root.join("boot"))? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.starts_with("vmlinuz-") && !name.contains("upgrade") && !name.contains("livemode") {
            return Ok(path);
        }
    }
    anyhow::bail!("the source has no kernel of its own")
}
