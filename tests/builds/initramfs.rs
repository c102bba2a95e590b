//! What the initramfs holds.
use super::*;

/// What lsinitrd says of the initramfs of a source on a plain disk.
fn listing_of_an_initramfs(suite: Suite) -> String {
    let made = testbed::prepared(suite, "default", "livemode:\n")
        .unwrap()
        .initramfs();
    let container = Changed::of(&testbed::container(suite).unwrap()).unwrap();
    fs::copy(made, container.at("initramfs")).unwrap();
    let listing = Cmd::new("chroot").arg(container.path());
    listing.args(["lsinitrd", "/initramfs"]).read().unwrap()
}

#[test]
fn root_the_initramfs_holds_what_a_machine_with_a_plain_disk_needs_and_nothing_else() {
    for suite in [Suite::Bookworm, Suite::Trixie] {
        let listing = listing_of_an_initramfs(suite);
        let driver = |name: &str| listing.contains(&format!("/{name}.ko"));
        for name in [
            "virtio_blk",
            "virtio_scsi",
            "mpi3mr",
            "ata_piix",
            "squashfs",
            "overlay",
            "xfs",
            "vfat",
            "softdog",
        ] {
            assert!(driver(name), "{suite:?}: no {name} in {listing}");
        }
        for name in [
            "virtio_net",
            "drm",
            "snd",
            "btrfs",
            "nfs",
            "ocfs2",
            "dm-crypt",
            "raid1",
            "iscsi_tcp",
        ] {
            assert!(!driver(name), "{suite:?}: {name} in {listing}");
        }
        for file in [
            "usr/bin/livemode-boot",
            "hooks/initqueue/settled/10-livemode-settled.sh",
            "etc/modules-load.d/livemode.conf",
            "etc/systemd/system/systemd-udev-trigger.service.d/livemode.conf",
            "lib/systemd/systemd-modules-load",
        ] {
            assert!(listing.contains(file), "{suite:?}: no {file} in {listing}");
        }
        for program in [
            "NetworkManager",
            "multipathd",
            "sbin/lvm",
            "mdadm",
            "iscsid",
            "cryptsetup",
            "rpc.statd",
        ] {
            assert!(
                !listing.contains(&format!("/{program}\n")),
                "{suite:?}: {program} in {listing}"
            );
        }
    }
}

/// What dracut takes along where the image lies on LUKS and comes by the network, in each container: of a choice that does not
/// suit its version it puts in too little, or nothing. Without the kernel's modules, which take time.
#[test]
fn root_dracut_of_each_version_opens_volumes_and_brings_the_network_up_by_our_choice() {
    let source = SourceDisk::bare().unwrap();
    let lsblk = workspace().join("tests/fixtures/storage/luks.json");
    let programs = Programs::with("lsblk", &format!("cat {}", lsblk.display())).unwrap();
    for dir in [
        "proc/self",
        "dev/disk/by-uuid",
        "dev/mapper",
        "etc/keys",
        "etc/leapp/actor_conf.d",
    ] {
        fs::create_dir_all(source.at(dir)).unwrap();
    }
    for (path, text) in [
        (
            "proc/self/mountinfo",
            "30 1 0:1 / / rw - ext4 /dev/mapper/var rw\n",
        ),
        ("dev/mapper/var", ""),
        ("etc/keys/var.key", "secret"),
        (
            "etc/crypttab",
            "var UUID=6c697665-6d6f-4d6f-8d6f-00000000000a /etc/keys/var.key luks\n",
        ),
        (
            "etc/leapp/actor_conf.d/livemode.yaml",
            "livemode: {dracut_network: ip=dhcp}\n",
        ),
    ] {
        fs::write(source.at(path), text).unwrap();
    }
    symlink("../../mapper/var", source.at("dev/disk/by-uuid/6c69-02")).unwrap();
    for suite in [Suite::Bookworm, Suite::Trixie] {
        let container = Changed::of(&testbed::container(suite).unwrap()).unwrap();
        let plan = source.prep().env("PATH", programs.path());
        let plan = plan.args(["plan", "--json", "--userspace"]).arg(container.path());
        let plan: serde_json::Value = serde_json::from_str(&plan.read().unwrap()).unwrap();
        let commands = plan["commands"].as_array().unwrap().iter();
        let words = commands.map(|words| {
            words
                .as_array()
                .unwrap()
                .iter()
                .map(|word| word.as_str().unwrap())
        });
        let mut words = words.map(Iterator::collect::<Vec<_>>);
        let dracut = words.find(|words| words.contains(&"dracut")).unwrap();
        let at = dracut.iter().position(|&word| word == "dracut").unwrap();

        baseline::add_module(&workspace().join("livemode-boot/dracut/90livemode"), &container).unwrap();
        for (path, from) in [
            ("usr/libexec/livemode/livemode-boot", binary("livemode-boot")),
            ("etc/crypttab", source.at("etc/crypttab")),
            ("etc/keys/var.key", source.at("etc/keys/var.key")),
        ] {
            fs::create_dir_all(container.at(path).parent().unwrap()).unwrap();
            fs::copy(from, container.at(path)).unwrap();
        }
        let made = container
            .inside("dracut")
            .arg("--no-kernel")
            .args(&dracut[at + 1..]);
        made.run().unwrap();
        let listing = container
            .inside("lsinitrd")
            .arg(dracut.last().unwrap())
            .read()
            .unwrap();
        for name in [
            "systemd/systemd-cryptsetup",
            "system-generators/systemd-cryptsetup-generator",
            "etc/keys/var.key",
            "sbin/NetworkManager",
            "bin/curl",
            "bin/livemode-boot",
        ] {
            assert!(listing.contains(name), "{suite:?}: no {name} in {listing}");
        }
    }
}
