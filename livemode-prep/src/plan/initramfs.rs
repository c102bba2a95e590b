//! The initramfs: what dracut is called with, and what is put into the container for it. Pure.
use std::path::Path;

use livemode_common::cmd::Cmd;

use super::drivers::of_image;
use super::items::{Content, Item};
use super::storage::{Layer, Storage};
use crate::facts::leapp::Requested;
use crate::facts::userspace::{plain, Kernel, KernelConfig, Userspace};
use crate::facts::Facts;

/// Where dracut puts it, in the container.
pub(crate) const OUTPUT: &str = "/var/tmp/livemode-initramfs.img";
pub(crate) const MODULE_NAME: &str = "livemode";
const MODULE_DIR: &str = "/usr/lib/dracut/modules.d/90livemode";
const MODULE: [(&str, &str, u32); 4] = [
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
        "livemode-settled.sh",
        include_str!("../../../livemode-boot/dracut/90livemode/livemode-settled.sh"),
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
        "zstd -q -T0 -5"
    } else if config.has("CONFIG_RD_XZ") {
        "xz --check=crc32 --lzma2=dict=1MiB -T0"
    } else {
        "gzip"
    }
}

/// dracut's modules without which nothing boots: its own units, udev, the drivers of all disks, their controllers and
/// buses, of keyboards and consoles, and those from elsewhere (depmod.d(5)). dracut 049 to 106 have all of them.
const ALWAYS: [&str; 8] = [
    "bash",
    "base",
    "udev-rules",
    "systemd-initrd",
    "dracut-systemd",
    "kernel-modules",
    "kernel-modules-extra",
    "qemu",
];
/// With a network: what brings it up, curl, and the drivers of network cards.
const NETWORK: [&str; 3] = ["network", "url-lib", "qemu-net"];
/// Words of the source's by which early boot brings the network up without `dracut_network` (dracut.cmdline(7)).
const NETWORK_WORDS: [&str; 6] = [
    "ip",
    "netroot",
    "rd.neednet",
    "iscsi_firmware",
    "rd.iscsi.firmware",
    "rd.nvmf.discover",
];
/// Drivers of a TPM, where they are modules.
const TPM: [&str; 3] = ["tpm_crb", "tpm_tis", "tpm_tis_spi"];
/// What keeps what the upgrade writes apart.
const LAYERS: [&str; 2] = ["dm_mod", "dm_snapshot"];
/// File systems that are always there: those of the live system, and what /boot and the ESP mostly have.
const FILE_SYSTEMS: [&str; 5] = ["squashfs", "overlay", "ext4", "xfs", "vfat"];
/// dracut's modules that the container's /etc/dracut.conf.d may add, and that only stand in the way: plymouth's passphrase
/// prompts and theme, and those that would take the image for their own.
const OMITTED: [&str; 7] = [
    "plymouth",
    "dash",
    "resume",
    "ifcfg",
    "earlykdump",
    "dmsquash-live",
    "livenet",
];

/// What goes into the initramfs beside our module and what was requested: what this machine needs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Choice {
    /// dracut's modules; it puts in those that they depend on.
    dracut_modules: Vec<String>,
    /// The kernel's modules.
    drivers: Vec<String>,
    /// The kernel's modules for file systems; dracut puts in no other.
    file_systems: Vec<String>,
}

impl Choice {
    /// By the layers below the image, by what opens its volumes, and by whether early boot needs the network. A module of
    /// dracut's that the container does not have, or whose programs it lacks, would make dracut fail: optional ones are left
    /// out then.
    ///
    /// With layers, which are mapped before anything is mounted, it has what the device mapper needs.
    pub(crate) fn of(facts: &Facts, storage: &Storage, has_layers: bool) -> Self {
        let nothing = Userspace::default();
        let userspace = facts.userspace.as_ref().unwrap_or(&nothing);
        let has_module = |name: &str| userspace.dracut_modules.contains(name);
        let mut choice = Self::default();
        let mut add = |name: &str, is_fit: bool| {
            if is_fit && !choice.dracut_modules.iter().any(|known| known == name) {
                choice.dracut_modules.push(name.to_owned());
            }
        };
        ALWAYS.iter().for_each(|name| add(name, true));
        add("nvdimm", has_module("nvdimm"));
        add("dm", has_layers);

        let mut transports = storage
            .image_drivers(&facts.storage)
            .filter_map(|driver| driver.transport.as_deref());
        let is_by_fabrics = transports.any(|transport| ["fc", "tcp", "rdma"].contains(&transport));
        add(
            "nvmf",
            is_by_fabrics && has_module("nvmf") && userspace.has("nvme"),
        );
        let image_type = facts.source.image_device.fstype.as_str();
        add(
            "btrfs",
            image_type == "btrfs" && has_module("btrfs") && userspace.has("btrfs"),
        );

        let is_encrypted = storage.image.layers.contains(&Layer::Luks) || !storage.early_volumes.is_empty();
        let tokens = || facts.storage.tokens.values().flatten().filter(|_| is_encrypted);
        let has_token = |kind: &str| tokens().any(|token| token == kind);
        let is_by_tpm = has_token("systemd-tpm2")
            || storage
                .early_volumes
                .iter()
                .any(|volume| volume.has("tpm2-device"));
        let is_by_clevis = has_token("clevis");
        add("crypt", is_encrypted);
        // Since dracut 102 it has the programs, and is taken along with `crypt` only where every module may come.
        add(
            "systemd-cryptsetup",
            is_encrypted && has_module("systemd-cryptsetup"),
        );
        // A passphrase beside the token is typed by the keys that the words of the kernel's line name.
        let has_keymaps = ["kbd_mode", "loadkeys", "setfont"]
            .iter()
            .all(|tool| userspace.has(tool));
        add("i18n", is_encrypted && has_module("i18n") && has_keymaps);
        add(
            "tpm2-tss",
            is_by_tpm && has_module("tpm2-tss") && userspace.has("tpm2"),
        );
        for name in userspace
            .dracut_modules
            .iter()
            .filter(|name| name.starts_with("clevis"))
        {
            add(name, is_by_clevis);
        }

        // clevis may ask a server (tang).
        let words = &facts.source.arguments;
        let network = !facts.config.dracut_network.trim().is_empty()
            || is_by_clevis
            || storage.image.layers.contains(&Layer::Iscsi)
            || NETWORK_WORDS.iter().any(|word| words.last(word).is_some());
        NETWORK.iter().for_each(|name| add(name, network));
        // Likewise what `network` brings the network up with. Before dracut 102, which has no net-lib, it chooses by itself.
        let is_to_name = has_module("net-lib") && has_module("network-manager");
        add("network-manager", network && is_to_name);

        let kernel = userspace.kernel();
        let has_file = |name: &&str| kernel.is_some_and(|kernel| kernel.modules.contains(*name));
        let mut drivers = |names: &[&str], is_fit: bool| {
            let names = names.iter().filter(|name| is_fit && has_file(name));
            choice.drivers.extend(names.map(|&name| name.to_owned()));
        };
        drivers(&TPM, is_by_tpm || is_by_clevis);
        drivers(&LAYERS, has_layers);
        // dracut takes the drivers of all disks along by what they call in the kernel, which changes from one to the next.
        let of_image = kernel.map(|kernel| of_image(storage, &facts.storage, kernel));
        let of_image = of_image.unwrap_or_default();
        drivers(&of_image.iter().map(String::as_str).collect::<Vec<_>>(), true);
        let of_type = |fstype: &str| {
            let module = kernel.and_then(|kernel| kernel.file_systems.get(fstype));
            module.map_or(fstype, String::as_str).to_owned()
        };
        let types = FILE_SYSTEMS.iter().copied().chain([image_type]);
        let is_known = |fstype: &&str| kernel.is_none_or(|kernel| kernel.knows_file_system(fstype));
        for module in types
            .filter(|fstype| !fstype.is_empty())
            .filter(is_known)
            .map(of_type)
        {
            if !choice.file_systems.contains(&module) {
                choice.file_systems.push(module);
            }
        }
        choice
    }
}

/// dracut's arguments: upstream's, but for what is chosen. With all that was requested.
pub(crate) fn dracut(
    program: Cmd,
    kernel: &Kernel,
    compressor: &str,
    choice: &Choice,
    requested: &Requested,
) -> Cmd {
    let wanted = |name: &&str| requested.dracut_modules.iter().any(|module| module == name);
    let omitted: Vec<&str> = OMITTED.into_iter().filter(|name| !wanted(name)).collect();
    let is_new = |name: &&String| *name != MODULE_NAME && !choice.dracut_modules.contains(name);
    let ours = [MODULE_NAME.to_owned()];
    let added: Vec<String> = ours
        .iter()
        .chain(requested.dracut_modules.iter().filter(is_new))
        .cloned()
        .collect();
    // One that is no file of the kernel's would keep those behind it out (dracut 059).
    let has_file = |name: &str| kernel.modules.is_empty() || kernel.modules.contains(&plain(name));
    let is_new = |name: &&String| !choice.drivers.contains(name) && has_file(name);
    let drivers: Vec<String> = choice
        .drivers
        .iter()
        .chain(requested.kernel_modules.iter().filter(is_new))
        .cloned()
        .collect();
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
        .args(["--modules", &choice.dracut_modules.join(" ")])
        .args(["--add", &added.join(" "), "--omit", &omitted.join(" ")])
        .args(list("--add-drivers", &drivers))
        .args(list("--filesystems", &choice.file_systems))
        .args(list("--install", &requested.files))
        .args(["--compress", compressor, "--kver", &kernel.version, OUTPUT])
}

/// The call of lsinitrd in the container, for a file that is shown there.
pub(crate) fn lsinitrd(program: Cmd, initramfs: &Path) -> Cmd {
    program.arg(initramfs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dracut_gets_what_was_chosen_and_what_others_request() {
        let list = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect::<Vec<_>>();
        let choice = Choice {
            dracut_modules: list(&["base", "crypt"]),
            drivers: list(&["tpm_crb"]),
            file_systems: list(&["squashfs", "ext4"]),
        };
        let kernel = Kernel {
            version: "6.1".into(),
            modules: ["dm_mod", "raid1", "tpm_crb"].map(str::to_owned).into(),
            ..Kernel::default()
        };
        let words = |choice: &Choice, requested: &Requested| {
            dracut(Cmd::new("dracut"), &kernel, "gzip", choice, requested).to_string()
        };
        let plain = Choice {
            drivers: Vec::new(),
            ..choice.clone()
        };
        assert_eq!(
            words(&plain, &Requested::default()),
            "dracut --force --no-hostonly --no-hostonly-default-device --mdadmconf --lvmconf --modules 'base crypt' \
             --add livemode --omit 'plymouth dash resume ifcfg earlykdump dmsquash-live livenet' \
             --filesystems 'squashfs ext4' --compress gzip --kver 6.1 /var/tmp/livemode-initramfs.img"
        );
        let requested = Requested {
            dracut_modules: list(&["crypt", "livemode", "livenet", "lvm"]),
            kernel_modules: list(&["dm-mod", "not_in_this_kernel", "raid1", "tpm_crb"]),
            files: list(&["/etc/lvm/lvm.conf"]),
        };
        let words = words(&choice, &requested);
        assert!(
            words.contains(
                "--add 'livemode livenet lvm' --omit 'plymouth dash resume ifcfg earlykdump dmsquash-live' \
                 --add-drivers 'tpm_crb dm-mod raid1' --filesystems 'squashfs ext4' --install /etc/lvm/lvm.conf --compress"
            ),
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
