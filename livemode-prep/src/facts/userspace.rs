//! What is in the target-system container: its kernels, its tools, its packages, its size. Files are read from outside, links
//! followed inside; its programs are asked in a throw-away overlay in RAM.
use std::collections::{BTreeSet, HashSet};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::{bail, Context, Result};
use livemode_common::cmd::find_program;
use livemode_common::container::ContainerDir;
use serde::{Deserialize, Serialize};

use super::source::release;
use super::tools::{Mksquashfs, ASKING};
use crate::chroot::Chroot;

mod kernel;

use kernel::kernels;
pub(crate) use kernel::{module_name, plain, Kernel, KernelConfig};

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

/// Directories that a container must have itself: a link in their place would lead out of it.
const DIRECTORIES: [&str; 3] = ["etc", "usr", "var"];
/// Programs that a build needs or uses, and those without which a module of dracut's refuses to be put in.
const TOOLS: [&str; 11] = [
    "btrfs",
    "dmsetup",
    "dracut",
    "kbd_mode",
    "loadkeys",
    "mksquashfs",
    "nvme",
    "rpm",
    "setfont",
    "tpm2",
    "zstd",
];
/// Where dracut's modules lie, each in a directory `NNNAME`.
const DRACUT_MODULES: &str = "/usr/lib/dracut/modules.d";
/// Where NetworkManager's plugins lie, in a directory with its version for a name.
const NM_PLUGINS: [&str; 2] = ["/usr/lib64/NetworkManager", "/usr/lib/NetworkManager"];
/// Its presence says that NetworkManager still reads ifcfg files.
const IFCFG_PLUGIN: &str = "libnm-settings-plugin-ifcfg-rh.so";
/// The container.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Userspace {
    /// As it was named, or where that leads.
    pub(crate) dir: PathBuf,
    pub(crate) is_directory: bool,
    /// Of etc, usr and var, those that are no directories of its own. With any, nothing more was looked at.
    pub(crate) no_directories: Vec<String>,
    /// PRETTY_NAME of os-release(5).
    pub(crate) release: Option<String>,
    /// Sorted by version.
    pub(crate) kernels: Vec<Kernel>,
    /// Those of the programs that matter here.
    pub(crate) tools: BTreeSet<String>,
    /// Regular files that go into the image, in bytes; hard links once.
    pub(crate) image_bytes: u64,
    pub(crate) mksquashfs: Mksquashfs,
    /// Of the packages that were asked for, those that something installed provides.
    pub(crate) provided: BTreeSet<String>,
    /// What multipathd(8) loads at run time; Debian's dracut module looks for it elsewhere.
    pub(crate) multipath_plugins: Vec<String>,
    /// Whether its NetworkManager reads ifcfg files.
    pub(crate) reads_ifcfg: bool,
    /// dracut's modules, by their names.
    #[serde(default)]
    pub(crate) dracut_modules: BTreeSet<String>,
}

/// What is asked of a container.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asked<'a> {
    /// Packages that it may need.
    pub(crate) packages: &'a [String],
    /// Hardware that its kernel is to drive, as it calls itself.
    pub(crate) modaliases: &'a BTreeSet<String>,
}

impl Userspace {
    /// Looks into the container at `dir`, and asks its rpm and its kernel.
    ///
    /// # Errors
    /// When something of it cannot be read, its programs cannot be run, or we are not root.
    pub(crate) fn look(dir: &Path, asked: Asked) -> Result<Self> {
        let mut userspace = Self {
            dir: dir.to_owned(),
            is_directory: dir.is_dir(),
            ..Self::default()
        };
        if !userspace.is_directory {
            return Ok(userspace);
        }
        let is_own = |name: &&str| fs::symlink_metadata(dir.join(name)).is_ok_and(|meta| meta.is_dir());
        let missing = DIRECTORIES.iter().filter(|name| !is_own(name));
        userspace.no_directories = missing.map(|&name| name.to_owned()).collect();
        if !userspace.no_directories.is_empty() {
            return Ok(userspace);
        }
        let dir = dir
            .canonicalize()
            .with_context(|| format!("following {}", dir.display()))?;
        let container = ContainerDir::new(&dir);
        let tools = TOOLS.iter().filter(|tool| find_program(&dir, tool).is_some());
        userspace.tools = tools.map(|&tool| tool.to_owned()).collect();
        userspace.release = release(&container);
        userspace.kernels = kernels(&container, asked.modaliases)?;
        userspace.dracut_modules = dracut_modules(&container);
        userspace.image_bytes = bytes_below(&dir, &dir, &mut HashSet::new())?;
        userspace.multipath_plugins = multipath_plugins(&container);
        userspace.reads_ifcfg = reads_ifcfg(&container);
        if ["rpm", "mksquashfs"].iter().any(|tool| userspace.has(tool)) {
            let chroot = Chroot::in_ram(&dir)?;
            if userspace.has("rpm") {
                userspace.provided = provided(&chroot, asked.packages)?;
            }
            if userspace.has("mksquashfs") {
                userspace.mksquashfs = Mksquashfs::look(&chroot.cmd("mksquashfs"));
            }
        }
        userspace.dir = dir;
        Ok(userspace)
    }

    /// Whether it has a program.
    pub(crate) fn has(&self, tool: &str) -> bool {
        self.tools.contains(tool)
    }

    /// Its kernel, where it has exactly one.
    pub(crate) fn kernel(&self) -> Option<&Kernel> {
        match self.kernels.as_slice() {
            [kernel] => Some(kernel),
            _ => None,
        }
    }
}

/// The packages that the container's rpm finds provided. Even a query writes lock and shared memory files, into the overlay.
pub(crate) fn provided(chroot: &Chroot, packages: &[String]) -> Result<BTreeSet<String>> {
    if packages.is_empty() {
        return Ok(BTreeSet::new());
    }
    let query = chroot
        .cmd("rpm")
        .args(["-q", "--whatprovides"])
        .args(packages)
        .limit(ASKING);
    let (_, stdout, stderr) = query.output()?;
    if stdout.trim().is_empty() {
        bail!("asking the container's rpm: {}", stderr.trim());
    }
    let said: Vec<&str> = stdout.lines().chain(stderr.lines()).collect();
    Ok(packages
        .iter()
        .filter(|package| !is_missing(package, &said))
        .cloned()
        .collect())
}

/// Whether rpm has said of a package, or of a file that a package is to bring, that it is not there. Only dnf knows of
/// groups.
fn is_missing(package: &str, said: &[&str]) -> bool {
    let not_there = [
        format!("no package provides {package}"),
        format!("package {package} is not installed"),
        format!("file {package} is not owned by any package"),
        format!("error: file {package}: No such file or directory"),
    ];
    package.starts_with('@') || said.iter().any(|line| not_there.iter().any(|text| line == text))
}

fn multipath_plugins(container: &ContainerDir) -> Vec<String> {
    let dirs = ["/usr/lib64/multipath", "/usr/lib/multipath"];
    let plugins = dirs.iter().flat_map(|dir| {
        let names = container.dir_names(dir).unwrap_or_default().into_iter();
        names.map(move |name| format!("{dir}/{name}"))
    });
    let mut plugins: Vec<String> = plugins.filter(|path| path.ends_with(".so")).collect();
    plugins.sort();
    plugins
}

fn reads_ifcfg(container: &ContainerDir) -> bool {
    NM_PLUGINS.iter().any(|dir| {
        let versions = container.dir_names(dir).unwrap_or_default();
        let below = versions
            .iter()
            .map(|version| format!("{dir}/{version}/{IFCFG_PLUGIN}"));
        [format!("{dir}/{IFCFG_PLUGIN}")]
            .into_iter()
            .chain(below)
            .any(|path| container.exists(path))
    })
}

fn dracut_modules(container: &ContainerDir) -> BTreeSet<String> {
    let names = container.dir_names(DRACUT_MODULES).unwrap_or_default();
    let named = |dir: &String| Some(dir.trim_start_matches(|c: char| c.is_ascii_digit()).to_owned());
    names.iter().filter_map(named).collect()
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

    #[test]
    fn what_rpm_says_of_packages_and_files_is_understood() {
        // rpm 4.18 and 4.20 on Debian.
        let said = [
            "bash-5.2-1.x86_64",
            "no package provides vim",
            "error: file /usr/bin/vim: No such file or directory",
            "file /usr/bin/nano is not owned by any package",
        ];
        for (package, missing) in [
            ("bash", false),
            ("vim", true),
            ("vi", false),
            ("/usr/bin/vim", true),
            ("/usr/bin/nano", true),
            ("@core", true),
        ] {
            assert_eq!(is_missing(package, &said), missing, "{package}");
        }
    }
}
