//! The initramfs: what dracut is called with, and what is put into the container for it. Pure.
use std::path::Path;

use livemode_common::cmd::Cmd;

use super::items::{Content, Item};
use crate::facts::leapp::Requested;
use crate::facts::userspace::KernelConfig;

/// Where dracut puts it, in the container.
pub(crate) const OUTPUT: &str = "/var/tmp/livemode-initramfs.img";
pub(crate) const MODULE_NAME: &str = "livemode";
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

/// Our dracut module and its program, in the container.
pub(crate) fn module() -> Vec<Item> {
    let mut items: Vec<Item> = MODULE
        .iter()
        .map(|(name, text, mode)| Item::file(&format!("{MODULE_DIR}/{name}"), *text, *mode))
        .collect();
    items.push(Item::File {
        path: BOOT_BINARY.into(),
        content: Content::Program("livemode-boot"),
        mode: 0o755,
        is_secret: false,
    });
    items
}

/// How the initramfs is packed: on all cores with zstd where the target's kernel can unpack it and its userspace
/// can pack it.
pub(crate) fn compressor(has_zstd: bool, config: &KernelConfig) -> &'static str {
    if has_zstd && config.has("CONFIG_RD_ZSTD") {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn words(network: bool, requested: &Requested) -> String {
        dracut(Cmd::new("dracut"), "6.1", "gzip", network, requested).to_string()
    }

    #[test]
    fn dracut_gets_what_the_image_needs_and_what_others_request() {
        assert_eq!(
            words(false, &Requested::default()),
            "dracut --force --no-hostonly --no-hostonly-default-device --mdadmconf --lvmconf --add livemode \
             --omit 'plymouth dash resume ifcfg earlykdump dmsquash-live livenet' --compress gzip --kver 6.1 \
             /var/tmp/livemode-initramfs.img"
        );
        let requested = Requested {
            dracut_modules: vec!["livemode".into(), "livenet".into(), "lvm".into()],
            kernel_modules: vec!["dm-mod".into(), "raid1".into()],
            files: vec!["/etc/lvm/lvm.conf".into()],
        };
        let words = words(true, &requested);
        assert!(
            words.contains("--add 'livemode network url-lib livenet lvm' --omit 'plymouth dash resume ifcfg earlykdump dmsquash-live' \
                            --add-drivers 'dm-mod raid1' --install /etc/lvm/lvm.conf --compress"),
            "{words}"
        );
    }

    #[test]
    fn the_initramfs_is_packed_as_kernel_and_container_can() {
        let kernel = |text: &str| KernelConfig::parse(text);
        for (has_zstd, config, packed) in [
            (true, "CONFIG_RD_ZSTD=y\nCONFIG_RD_XZ=y\n", "zstd"),
            (false, "CONFIG_RD_ZSTD=y\nCONFIG_RD_XZ=y\n", "xz"),
            (true, "CONFIG_RD_XZ=y\n", "xz"),
            (true, "", "gzip"),
        ] {
            let compressor = compressor(has_zstd, &kernel(config));
            assert_eq!(compressor.split(' ').next(), Some(packed), "{has_zstd} {config}");
        }
    }
}
