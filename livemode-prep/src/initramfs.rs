//! The initramfs: dracut inside the container, with our module.
use anyhow::{Context, Result};
use livemode_common::cmd::Cmd;
use livemode_common::container::ContainerDir;

use crate::artifacts;
use crate::userspace::Userspace;

/// Where dracut puts it, in the container.
pub(crate) const OUTPUT: &str = "/var/tmp/livemode-initramfs.img";
const MODULE_DIR: &str = "/usr/lib/dracut/modules.d/90livemode";
const MODULE: [(&str, &str, u32); 3] = [
    (
        "module-setup.sh",
        include_str!("../../livemode-boot/dracut/90livemode/module-setup.sh"),
        0o755,
    ),
    (
        "livemode-cmdline.sh",
        include_str!("../../livemode-boot/dracut/90livemode/livemode-cmdline.sh"),
        0o755,
    ),
    (
        "livemode-mount.sh",
        include_str!("../../livemode-boot/dracut/90livemode/livemode-mount.sh"),
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
    let binary = artifacts::find_binary("livemode-boot")?;
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

/// dracut's arguments; upstream's, without the passphrase prompts and theme of plymouth. With a network, what brings
/// it up and curl too.
pub(crate) fn dracut(program: Cmd, kernel_version: &str, compressor: &str, network: bool) -> Cmd {
    let modules = if network {
        "livemode network url-lib"
    } else {
        "livemode"
    };
    program
        .args([
            "--force",
            "--no-hostonly",
            "--no-hostonly-default-device",
            "--mdadmconf",
            "--lvmconf",
        ])
        .args([
            "--add",
            modules,
            "--omit",
            "plymouth dash resume ifcfg earlykdump dmsquash-live livenet",
        ])
        .args(["--compress", compressor, "--kver", kernel_version, OUTPUT])
}
