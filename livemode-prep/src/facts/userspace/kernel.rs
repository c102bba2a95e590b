//! The kernels of a container: their images, modules, what those are for, and what rules ask of a configuration.
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use livemode_common::container::ContainerDir;
use serde::{Deserialize, Serialize};

use super::bytes_below;

/// Options of a kernel's configuration that a rule asks for begin with these.
const OPTIONS: [&str; 2] = ["CONFIG_SQUASHFS_", "CONFIG_RD_"];

/// A kernel of the container.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Kernel {
    pub(crate) version: String,
    /// In the container, from its root.
    pub(crate) image: PathBuf,
    pub(crate) image_bytes: u64,
    pub(crate) hmac: Option<PathBuf>,
    pub(crate) config: KernelConfig,
    /// Regular files below its modules, in bytes.
    pub(crate) module_bytes: u64,
    /// Its modules that are files, by the name modprobe(8) has for them; none where depmod(8) has not run.
    pub(crate) modules: BTreeSet<String>,
    /// Its modules that are built in, named likewise.
    pub(crate) builtin: BTreeSet<String>,
    /// Types of file systems and the modules for them, as the modules say themselves (`alias fs-iso9660 isofs`).
    #[serde(default)]
    pub(crate) file_systems: BTreeMap<String, String>,
    /// Of the hardware that was asked for, as it calls itself, the modules that say they drive it (modules.alias).
    #[serde(default)]
    pub(crate) drivers: BTreeMap<String, BTreeSet<String>>,
}

/// The `CONFIG_…` of a kernel that rules ask for, built in or a module; nothing when the container does not have the file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct KernelConfig(Option<BTreeSet<String>>);

impl KernelConfig {
    pub(crate) fn parse(text: &str) -> Self {
        let set = text
            .lines()
            .filter_map(|line| line.strip_suffix("=y").or_else(|| line.strip_suffix("=m")));
        let asked = set.filter(|option| OPTIONS.iter().any(|prefix| option.starts_with(prefix)));
        Self(Some(asked.map(str::to_owned).collect()))
    }

    /// Whether the option is built in or a module.
    pub(crate) fn has(&self, option: &str) -> bool {
        self.0.as_ref().is_some_and(|options| options.contains(option))
    }

    pub(crate) fn is_known(&self) -> bool {
        self.0.is_some()
    }
}

impl Kernel {
    /// Whether it has a module, as a file or built in; one that does not tell what it has is taken to have all.
    pub(crate) fn has(&self, module: &str) -> bool {
        let name = plain(module);
        (self.modules.is_empty() && self.builtin.is_empty())
            || self.modules.contains(&name)
            || self.builtin.contains(&name)
    }

    /// Whether it can mount a type of file system; one that does not tell what it has is taken to know all.
    pub(crate) fn knows_file_system(&self, fstype: &str) -> bool {
        self.has(self.file_systems.get(fstype).map_or(fstype, String::as_str))
    }
}

pub(super) fn kernels(container: &ContainerDir, modaliases: &BTreeSet<String>) -> Result<Vec<Kernel>> {
    let modules = container.resolve("/lib/modules")?;
    let mut kernels = Vec::new();
    for entry in fs::read_dir(&modules).into_iter().flatten() {
        let version = entry?.file_name().to_string_lossy().into_owned();
        let places = [
            format!("/lib/modules/{version}/vmlinuz"),
            format!("/boot/vmlinuz-{version}"),
        ];
        if let Some(image) = places.into_iter().find(|p| container.exists(p)) {
            kernels.push(kernel(container, version, &image, modaliases)?);
        }
    }
    kernels.sort_by(|one, other| one.version.cmp(&other.version));
    Ok(kernels)
}

fn kernel(
    container: &ContainerDir,
    version: String,
    image: &str,
    modaliases: &BTreeSet<String>,
) -> Result<Kernel> {
    let first = |places: [String; 2]| places.into_iter().find(|p| container.exists(p));
    let config = first([
        format!("/lib/modules/{version}/config"),
        format!("/boot/config-{version}"),
    ]);
    let hmac = first([
        format!("/lib/modules/{version}/.vmlinuz.hmac"),
        format!("/boot/.vmlinuz-{version}.hmac"),
    ]);
    // Each list has a path at the beginning of a line: "PATH: DEPENDENCIES", "PATH".
    let names = |list: &str| -> BTreeSet<String> {
        let list = container.read(format!("/lib/modules/{version}/{list}"));
        let list = list.unwrap_or_default();
        let paths = list.lines().filter_map(|line| line.split(':').next());
        paths.filter_map(module_name).collect()
    };
    let dir = container.resolve(Path::new("/lib/modules").join(&version))?;
    let aliases = aliases(container, &version);
    Ok(Kernel {
        image_bytes: fs::metadata(container.resolve(image)?)
            .context("looking at the kernel")?
            .len(),
        image: image.into(),
        hmac: hmac.map(PathBuf::from),
        config: match config {
            Some(path) => KernelConfig::parse(&container.read(path)?),
            None => KernelConfig::default(),
        },
        module_bytes: bytes_below(&dir, container.path(), &mut HashSet::new())?,
        modules: names("modules.dep"),
        builtin: names("modules.builtin"),
        file_systems: of_file_systems(&aliases),
        drivers: drivers(&aliases, modaliases),
        version,
    })
}

/// What modules say they are for, and their names: from depmod(8)'s list, and of what is built in from its modinfo
/// (`MODULE.alias=fs-TYPE`, parted by NUL).
fn aliases(container: &ContainerDir, version: &str) -> Vec<(String, String)> {
    let read = |list: &str| {
        container
            .read(format!("/lib/modules/{version}/{list}"))
            .unwrap_or_default()
    };
    let (aliases, builtin) = (read("modules.alias"), read("modules.builtin.modinfo"));
    let files = aliases
        .lines()
        .filter_map(|line| line.strip_prefix("alias ")?.split_once(' '));
    let inside = builtin.split('\0').filter_map(|field| {
        let (module, alias) = field.split_once(".alias=")?;
        Some((alias, module))
    });
    files
        .chain(inside)
        .map(|(alias, module)| (alias.to_owned(), plain(module.trim())))
        .collect()
}

fn of_file_systems(aliases: &[(String, String)]) -> BTreeMap<String, String> {
    let of =
        |(alias, module): &(String, String)| Some((alias.strip_prefix("fs-")?.to_owned(), module.clone()));
    aliases.iter().filter_map(of).collect()
}

fn drivers(
    aliases: &[(String, String)],
    modaliases: &BTreeSet<String>,
) -> BTreeMap<String, BTreeSet<String>> {
    let of = |modalias: &String| {
        let claiming = aliases
            .iter()
            .filter(|(pattern, _)| matches(pattern.as_bytes(), modalias.as_bytes()));
        (
            modalias.clone(),
            claiming.map(|(_, module)| module.clone()).collect(),
        )
    };
    modaliases.iter().map(of).collect()
}

/// Whether a pattern of modules.alias fits, as fnmatch(3) has it: `*`, `?`, and `[…]` with ranges.
fn matches(pattern: &[u8], text: &[u8]) -> bool {
    match (pattern, text) {
        ([], _) => text.is_empty(),
        ([b'*', rest @ ..], _) => (0..=text.len()).any(|skipped| matches(rest, &text[skipped..])),
        ([b'[', rest @ ..], [first, after @ ..]) => {
            let Some(end) = rest.iter().position(|&byte| byte == b']') else {
                return false;
            };
            let (set, rest) = (&rest[..end], &rest[end + 1..]);
            is_in(set, *first) && matches(rest, after)
        }
        ([b'?', rest @ ..], [_, after @ ..]) => matches(rest, after),
        ([byte, rest @ ..], [first, after @ ..]) => byte == first && matches(rest, after),
        (_, []) => false,
    }
}

fn is_in(set: &[u8], byte: u8) -> bool {
    match set {
        [from, b'-', to, rest @ ..] => (*from..=*to).contains(&byte) || is_in(rest, byte),
        [one, rest @ ..] => *one == byte || is_in(rest, byte),
        [] => false,
    }
}

/// The name under which modprobe(8) knows a module, from its path.
pub(crate) fn module_name(path: &str) -> Option<String> {
    let (name, _) = path.rsplit('/').next()?.split_once(".ko")?;
    Some(plain(name))
}

/// modprobe(8) takes `-` and `_` for the same.
pub(crate) fn plain(name: &str) -> String {
    name.replace('-', "_")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kernel_mounts_what_it_has_a_module_for() {
        let kernel = Kernel {
            modules: ["ext4", "vfat", "nfs", "btrfs"].map(str::to_owned).into(),
            builtin: ["xfs"].map(str::to_owned).into(),
            file_systems: [
                ("ext3", "ext4"),
                ("ext2", "ext4"),
                ("msdos", "vfat"),
                ("nfs4", "nfs"),
                ("smb3", "cifs"),
                ("xfs", "xfs"),
            ]
            .map(|(fstype, module)| (fstype.to_owned(), module.to_owned()))
            .into(),
            ..Kernel::default()
        };
        for (fstype, known) in [
            ("ext3", true),
            ("ext2", true),
            ("ext4", true),
            ("xfs", true),
            ("msdos", true),
            ("nfs4", true),
            ("smb3", false),
            ("reiserfs", false),
        ] {
            assert_eq!(kernel.knows_file_system(fstype), known, "{fstype}");
        }
        assert!(
            Kernel::default().knows_file_system("reiserfs"),
            "it does not tell"
        );
        let only_modules = Kernel {
            modules: ["ext4"].map(str::to_owned).into(),
            ..Kernel::default()
        };
        assert!(!only_modules.knows_file_system("xfs"));
    }

    #[test]
    fn hardware_is_driven_by_the_modules_that_name_it() {
        // Lines of Debian's 6.1.
        let aliases: Vec<(String, String)> = [
            ("pci:v*d*sv*sd*bc01sc06i01*", "ahci"),
            ("pci:v00001AF4d*sv*sd*bc*sc*i*", "virtio_pci"),
            ("virtio:d00000002v*", "virtio_blk"),
            ("virtio:d00000008v*", "virtio_scsi"),
            ("usb:v05ACp12[9a-c]?d*", "usb_storage"),
            ("fs-ext3", "ext4"),
        ]
        .map(|(alias, module)| (alias.to_owned(), module.to_owned()))
        .into();
        for (modalias, modules) in [
            (
                "pci:v00008086d00002922sv00001AF4sd00001100bc01sc06i01",
                vec!["ahci"],
            ),
            (
                "pci:v00001AF4d00001042sv00001AF4sd00001100bc01sc80i00",
                vec!["virtio_pci"],
            ),
            ("virtio:d00000002v00001AF4", vec!["virtio_blk"]),
            ("virtio:d00000020v00001AF4", vec![]),
            ("usb:v05ACp12b5d0001", vec!["usb_storage"]),
            ("usb:v05ACp12d5d0001", vec![]),
            ("pci:v00001000d00000054", vec![]),
        ] {
            let found = drivers(&aliases, &[modalias.to_owned()].into());
            let modules: BTreeSet<String> = modules.into_iter().map(str::to_owned).collect();
            assert_eq!(found[modalias], modules, "{modalias}");
        }
        assert_eq!(of_file_systems(&aliases)["ext3"], "ext4");
    }

    #[test]
    fn only_what_is_set_in_a_configuration_counts() {
        // Lines of Debian's 6.1.
        let config = KernelConfig::parse(
            "CONFIG_SQUASHFS_ZSTD=y\n# CONFIG_SQUASHFS_LZ4 is not set\nCONFIG_RD_XZ=m\nCONFIG_NET=y\n",
        );
        assert!(config.is_known() && config.has("CONFIG_SQUASHFS_ZSTD") && config.has("CONFIG_RD_XZ"));
        assert!(!config.has("CONFIG_SQUASHFS_LZ4"));
        assert!(!KernelConfig::default().is_known() && !KernelConfig::default().has("CONFIG_SQUASHFS_ZSTD"));
    }

    #[test]
    fn a_module_has_one_name_however_it_is_written() {
        assert_eq!(
            module_name("kernel/drivers/md/dm-raid.ko.xz").as_deref(),
            Some("dm_raid")
        );
        assert_eq!(module_name("kernel/fs/ext4/ext4.ko").as_deref(), Some("ext4"));
        assert_eq!(module_name("modules.order"), None);
    }
}
