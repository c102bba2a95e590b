//! The initramfs: dracut inside the container, with our module.
use std::path::Path;

use anyhow::{Context, Result};
use livemode_common::cmd::Cmd;
use livemode_common::container::ContainerDir;

use crate::build::programs;
use crate::chroot::Chroot;
use crate::facts::leapp::Requested;
use crate::facts::userspace::Userspace;

use crate::plan::initramfs_contents::Contents;

/// Where dracut puts it, in the container.
pub(crate) const OUTPUT: &str = "/var/tmp/livemode-initramfs.img";
const MODULE_NAME: &str = "livemode";
const MODULE_DIR: &str = "/usr/lib/dracut/modules.d/90livemode";
const MODULE: [(&str, &str, u32); 3] = [
    (
        "module-setup.sh",
        include_str!("../../../livemode-boot/dracut/90livemode/module-setup.sh"),
        0o755,
    ),
    (
        "livemode-cmdline.sh",
        include_str!("../../../livemode-boot/dracut/90livemode/livemode-cmdline.sh"),
        0o755,
    ),
    (
        "livemode-mount.sh",
        include_str!("../../../livemode-boot/dracut/90livemode/livemode-mount.sh"),
        0o755,
    ),
];
/// Where the module takes the binary from.
const BOOT_BINARY: &str = "/usr/libexec/livemode/livemode-boot";

/// Puts our dracut module into the container.
pub(crate) fn add_module(tree: &ContainerDir) -> Result<()> {
    for (name, content, mode) in MODULE {
        tree.write(format!("{MODULE_DIR}/{name}"), content, mode)?;
    }
    let binary = programs::find_binary("livemode-boot")?;
    let content = std::fs::read(&binary).with_context(|| format!("reading {}", binary.display()))?;
    tree.write(BOOT_BINARY, content, 0o755)
}

/// How the initramfs is packed: on all cores with zstd where the target's kernel can unpack it and its userspace
/// can pack it.
pub(crate) fn compressor(userspace: &Userspace) -> &'static str {
    let config = &userspace.kernel.config;
    if userspace.has_zstd && config.has("CONFIG_RD_ZSTD") {
        "zstd -q -T0 -9"
    } else if config.has("CONFIG_RD_XZ") {
        "xz --check=crc32 --lzma2=dict=1MiB -T0"
    } else {
        "gzip"
    }
}

/// dracut's modules that only stand in the way: plymouth's passphrase prompts and theme, and those that would take the
/// image for their own.
const OMITTED: [&str; 7] = [
    "plymouth",
    "dash",
    "resume",
    "ifcfg",
    "earlykdump",
    "dmsquash-live",
    "livenet",
];

/// dracut's arguments, upstream's but for [`OMITTED`]. With a network, what brings it up and curl too; and all that was
/// requested.
pub(crate) fn dracut(
    program: Cmd,
    kernel_version: &str,
    compressor: &str,
    network: bool,
    requested: &Requested,
) -> Cmd {
    let mut modules = if network {
        vec!["livemode", "network", "url-lib"]
    } else {
        vec!["livemode"]
    };
    let wanted = |name: &&str| requested.dracut_modules.iter().any(|module| module == name);
    let omitted: Vec<&str> = OMITTED.into_iter().filter(|name| !wanted(name)).collect();
    modules.extend(
        requested
            .dracut_modules
            .iter()
            .map(String::as_str)
            .filter(|name| *name != MODULE_NAME),
    );
    let list = |option: &str, names: &[String]| match names {
        [] => Vec::new(),
        names => vec![option.to_owned(), names.join(" ")],
    };
    program
        .args([
            "--force",
            "--no-hostonly",
            "--no-hostonly-default-device",
            "--mdadmconf",
            "--lvmconf",
        ])
        .args(["--add", &modules.join(" "), "--omit", &omitted.join(" ")])
        .args(list("--add-drivers", &requested.kernel_modules))
        .args(list("--install", &requested.files))
        .args(["--compress", compressor, "--kver", kernel_version, OUTPUT])
}

/// The call of lsinitrd in the container, for a file that is shown there.
pub(crate) fn lsinitrd(program: Cmd, initramfs: &Path) -> Cmd {
    program.arg(initramfs)
}

/// What of our module and of what was requested is not in this initramfs.
pub(crate) fn missing(
    chroot: &mut Chroot,
    initramfs: &Path,
    requested: &Requested,
    userspace: &Userspace,
) -> Result<Vec<String>> {
    let inside = Path::new("/run/livemode-boot");
    let shown = chroot.tree().create_dir(inside)?;
    chroot.bind(initramfs.parent().unwrap_or(Path::new("/")), &shown)?;
    let path = inside.join(initramfs.file_name().unwrap_or_default());
    let listing = lsinitrd(chroot.cmd("lsinitrd"), &path)
        .read()
        .with_context(|| format!("looking into {}", initramfs.display()))?;
    let mut requested = requested.clone();
    requested.dracut_modules.push(MODULE_NAME.to_owned());
    requested.dracut_modules.sort();
    requested.dracut_modules.dedup();
    Ok(Contents::parse(&listing).missing(&requested, &userspace.kernel_modules()))
}
