//! The boot loader as it is now, as grubby(8) tells and as its files show.
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use livemode_common::cmd::{find_program, Cmd};
use livemode_common::sysroot::SysRoot;
use serde::{Deserialize, Serialize};

pub(crate) const GRUBBY: &str = "grubby";
/// grubby may end up in grub2-editenv(1), which was seen to hang.
pub(crate) const LIMIT: Duration = Duration::from_secs(120);
const BIOS_CONFIG: &str = "boot/grub2/grub.cfg";
const EFI: &str = "boot/efi/EFI";

/// What is known of it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Loader {
    pub(crate) has_grubby: bool,
    /// The kernel that boots by default, or why grubby does not tell.
    pub(crate) default_kernel: Result<String, String>,
    /// Whole configurations, where there are two: one for BIOS and one for EFI (cloud images). None otherwise.
    pub(crate) configs: Vec<PathBuf>,
}

impl Loader {
    pub(crate) fn look(root: &SysRoot) -> Self {
        let has_grubby = find_program(root.path(), GRUBBY).is_some();
        let default_kernel = if has_grubby {
            let default = on(root, GRUBBY).arg("--default-kernel").read();
            default
                .map(|kernel| kernel.trim().to_owned())
                .map_err(|e| format!("{e:#}"))
        } else {
            Err("grubby is missing".to_owned())
        };
        Self {
            has_grubby,
            default_kernel,
            configs: configs(root),
        }
    }
}

/// A program of the source system, on that system.
pub(crate) fn on(root: &SysRoot, program: &str) -> Cmd {
    let call = if root.path() == Path::new("/") {
        Cmd::new(program)
    } else {
        Cmd::new("chroot").arg(root.path()).arg(program)
    };
    call.limit(LIMIT)
}

/// Where a machine boots by BIOS and by EFI, the one of EFI is no mere pointer to the other.
pub(crate) fn configs(root: &SysRoot) -> Vec<PathBuf> {
    let is_whole = |path: &Path| {
        let text = fs::read_to_string(root.at(path)).unwrap_or_default();
        text.contains("blscfg") || text.contains("menuentry ")
    };
    let mut configs: Vec<PathBuf> = [PathBuf::from(BIOS_CONFIG)]
        .into_iter()
        .chain(efi_files(root, "grub.cfg"))
        .collect();
    configs.retain(|config| is_whole(config));
    if configs.len() > 1 {
        configs
    } else {
        Vec::new()
    }
}

/// Files of a name in the vendors' directories of the EFI system partition.
pub(crate) fn efi_files(root: &SysRoot, name: &str) -> Vec<PathBuf> {
    let vendors = fs::read_dir(root.at(EFI)).into_iter().flatten().flatten();
    let mut files: Vec<PathBuf> = vendors
        .map(|vendor| Path::new(EFI).join(vendor.file_name()).join(name))
        .collect();
    files.retain(|path| root.at(path).is_file());
    files.sort();
    files
}
