//! What is in the target-system container: its kernel, its tools, its size. Read from outside, links followed inside.
use std::collections::{BTreeSet, HashSet};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use livemode_common::cmd::find_program;
use livemode_common::container::ContainerDir;
use livemode_common::failure::precondition;

use crate::plan::initramfs_contents::module_name;

/// What never goes into the image, as mksquashfs's wildcards: caches, what only the initramfs needs, and what is
/// mounted over.
pub(crate) const LEFT_OUT: [&str; 13] = [
    "boot/*",
    "artifacts",
    "dev/*",
    "proc/*",
    "sys/*",
    "run/*",
    "tmp/*",
    "var/tmp/*",
    "var/cache/dnf",
    "var/cache/yum",
    "var/cache/apt",
    "var/lib/apt/lists",
    "var/log/*",
];

#[derive(Debug, Clone)]
pub(crate) struct Userspace {
    pub(crate) dir: PathBuf,
    pub(crate) kernel: Kernel,
    /// Regular files that go into the image, in bytes; hard links once.
    pub(crate) image_bytes: u64,
    /// Those of them under the kernel's modules.
    pub(crate) module_bytes: u64,
    pub(crate) has_mksquashfs: bool,
    pub(crate) has_zstd: bool,
}

#[derive(Debug, Clone)]
pub(crate) struct Kernel {
    pub(crate) version: String,
    /// In the container, from its root.
    pub(crate) image: PathBuf,
    pub(crate) image_bytes: u64,
    pub(crate) hmac: Option<PathBuf>,
    pub(crate) config: KernelConfig,
}

/// The `CONFIG_…` of a kernel; empty when the container does not have it.
#[derive(Debug, Clone, Default)]
pub(crate) struct KernelConfig(String);

impl KernelConfig {
    pub(crate) fn from_text(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Whether the option is built in or a module.
    pub(crate) fn has(&self, option: &str) -> bool {
        self.0
            .lines()
            .any(|l| l == format!("{option}=y") || l == format!("{option}=m"))
    }

    pub(crate) fn is_known(&self) -> bool {
        !self.0.is_empty()
    }
}

impl Userspace {
    pub(crate) fn inspect(dir: &Path) -> Result<Self> {
        let shown = dir.display();
        if !dir.is_dir() {
            return Err(precondition(format!("{shown}: no target-system container there")));
        }
        let dir = dir.canonicalize().with_context(|| format!("following {shown}"))?;
        let container = ContainerDir::new(&dir);
        for top in ["etc", "usr", "var"] {
            if !fs::symlink_metadata(dir.join(top)).is_ok_and(|m| m.is_dir()) {
                return Err(precondition(format!(
                    "{shown}: {top} is no directory, so this is no container"
                )));
            }
        }
        for (tool, why) in [
            ("dracut", "makes the initramfs"),
            ("rpm", "says which packages are there"),
        ] {
            if find_program(&dir, tool).is_none() {
                return Err(precondition(format!(
                    "{shown}: {tool} is missing; it {why}; install it there"
                )));
            }
        }
        let kernel = find_kernel(&container)?;
        let modules = container.resolve(Path::new("/lib/modules").join(&kernel.version))?;
        let mut seen = HashSet::new();
        Ok(Self {
            image_bytes: bytes_below(&dir, &dir, &mut seen)?,
            module_bytes: bytes_below(&modules, &dir, &mut HashSet::new())?,
            has_mksquashfs: find_program(&dir, "mksquashfs").is_some(),
            has_zstd: find_program(&dir, "zstd").is_some(),
            kernel,
            dir,
        })
    }

    /// What multipathd(8) loads at run time; Debian's dracut module looks for it elsewhere.
    pub(crate) fn multipath_plugins(&self) -> Vec<String> {
        let container = ContainerDir::new(&self.dir);
        let dirs = ["/usr/lib64/multipath", "/usr/lib/multipath"];
        let plugins = dirs.iter().flat_map(|dir| {
            let names = container.dir_names(dir).unwrap_or_default().into_iter();
            names.map(move |name| format!("{dir}/{name}"))
        });
        plugins.filter(|path| path.ends_with(".so")).collect()
    }

    /// Whether the kernel can mount a type of file system; one that does not tell what it has is taken to know all.
    pub(crate) fn knows_file_system(&self, fstype: &str) -> bool {
        let module = match fstype {
            "ext2" | "ext3" => "ext4",
            "msdos" => "vfat",
            "nfs4" => "nfs",
            "smb3" => "cifs",
            other => other,
        };
        let container = ContainerDir::new(&self.dir);
        let lists = ["modules.dep", "modules.builtin"].map(|name| {
            let list = container.read(format!("/lib/modules/{}/{name}", self.kernel.version));
            list.unwrap_or_default()
        });
        let paths = lists.iter().flat_map(|list| list.lines());
        let mut names = paths.filter_map(|line| module_name(line.split(':').next()?));
        lists.iter().all(String::is_empty) || names.any(|name| name == module.replace('-', "_"))
    }

    /// The kernel's modules that are files, by the name modprobe(8) has for them; none where depmod(8) has not run.
    pub(crate) fn kernel_modules(&self) -> BTreeSet<String> {
        let container = ContainerDir::new(&self.dir);
        // It lists them all: "PATH: DEPENDENCIES".
        let list = container.read(format!("/lib/modules/{}/modules.dep", self.kernel.version));
        let list = list.unwrap_or_default();
        let paths = list.lines().filter_map(|line| line.split(':').next());
        paths.filter_map(module_name).collect()
    }
}

fn find_kernel(container: &ContainerDir) -> Result<Kernel> {
    let shown = container.path().display();
    let modules = container.resolve("/lib/modules")?;
    let mut found = Vec::new();
    for entry in fs::read_dir(&modules).into_iter().flatten() {
        let version = entry?.file_name().to_string_lossy().into_owned();
        let places = [
            format!("/lib/modules/{version}/vmlinuz"),
            format!("/boot/vmlinuz-{version}"),
        ];
        if let Some(image) = places.into_iter().find(|p| container.exists(p)) {
            found.push((version, image));
        }
    }
    found.sort();
    let (version, image) = match found.len() {
        1 => found.remove(0),
        0 => {
            return Err(precondition(format!(
                "{shown}: no kernel in /lib/modules; install kernel-core there"
            )))
        }
        n => {
            let versions: Vec<String> = found.into_iter().map(|(version, _)| version).collect();
            return Err(precondition(format!(
                "{shown}: {n} kernels ({}); which to boot is not clear, remove all but one",
                versions.join(", ")
            )));
        }
    };
    let first = |places: [String; 2]| places.into_iter().find(|p| container.exists(p));
    let config = first([
        format!("/lib/modules/{version}/config"),
        format!("/boot/config-{version}"),
    ]);
    let hmac = first([
        format!("/lib/modules/{version}/.vmlinuz.hmac"),
        format!("/boot/.vmlinuz-{version}.hmac"),
    ]);
    Ok(Kernel {
        image_bytes: fs::metadata(container.resolve(&image)?)
            .context("looking at the kernel")?
            .len(),
        image: image.into(),
        hmac: hmac.map(PathBuf::from),
        config: KernelConfig::from_text(config.map(|c| container.read(c)).transpose()?.unwrap_or_default()),
        version,
    })
}

fn bytes_below(dir: &Path, root: &Path, seen: &mut HashSet<(u64, u64)>) -> Result<u64> {
    let mut sum = 0;
    for entry in fs::read_dir(dir).with_context(|| format!("reading {}", dir.display()))? {
        let entry = entry.with_context(|| format!("reading {}", dir.display()))?;
        let path = entry.path();
        if is_left_out(path.strip_prefix(root).unwrap_or(&path)) {
            continue;
        }
        let meta = entry
            .metadata()
            .with_context(|| format!("looking at {}", path.display()))?;
        if meta.is_dir() {
            sum += bytes_below(&path, root, seen)?;
        } else if meta.is_file() && seen.insert((meta.dev(), meta.ino())) {
            sum += meta.len();
        }
    }
    Ok(sum)
}

fn is_left_out(path: &Path) -> bool {
    LEFT_OUT.iter().any(|pattern| match pattern.strip_suffix("/*") {
        Some(dir) => path != Path::new(dir) && path.starts_with(dir),
        None => path.starts_with(pattern),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn left_out_directories_stay_as_empty_ones() {
        assert!(is_left_out(Path::new("boot/vmlinuz")));
        assert!(!is_left_out(Path::new("boot")));
        assert!(is_left_out(Path::new("var/cache/dnf/x")));
        assert!(!is_left_out(Path::new("var/cache/other")));
    }
}
