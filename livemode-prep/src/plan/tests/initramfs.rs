//! What dracut puts into the initramfs, and whether the target's kernel drives the disks.
use serde_json::{json, Value};

use super::{plan, set};

/// What follows an option of dracut's in the plan's call of it.
fn dracut_words(change: impl FnOnce(&mut Value), option: &str) -> Vec<String> {
    let plan = plan(change);
    let commands = plan.commands();
    let words = commands
        .iter()
        .map(|command| command.words())
        .find(|words| words.iter().any(|word| word == "dracut"))
        .unwrap();
    let at = words.iter().position(|word| word == option);
    let list = at.map(|at| words[at + 1].clone()).unwrap_or_default();
    list.split(' ').map(str::to_owned).collect()
}

/// dracut's modules of a container, and programs in it, that some machines need.
fn with_modules(facts: &mut Value, tools: &[&str]) {
    let modules = json!([
        "base",
        "bash",
        "btrfs",
        "clevis",
        "clevis-pin-tpm2",
        "crypt",
        "drm",
        "i18n",
        "ifcfg",
        "lvm",
        "multipath",
        "network",
        "nfs",
        "nvdimm",
        "nvmf",
        "qemu",
        "tpm2-tss",
        "url-lib"
    ]);
    facts["userspace"]["dracut_modules"] = modules;
    facts["userspace"]["tools"]
        .as_array_mut()
        .unwrap()
        .extend(tools.iter().map(|tool| json!(tool)));
}

#[test]
fn the_initramfs_has_what_this_machine_needs_and_nothing_else() {
    const PLAIN: [&str; 9] = [
        "bash",
        "base",
        "udev-rules",
        "systemd-initrd",
        "dracut-systemd",
        "kernel-modules",
        "kernel-modules-extra",
        "qemu",
        "nvdimm",
    ];
    const NETWORK: [&str; 3] = ["network", "url-lib", "qemu-net"];
    type Change = fn(&mut Value);
    // What it is, the change, programs of the container, and dracut's modules beside the plain ones.
    type Case<'a> = (&'a str, &'a dyn Fn(&mut Value), &'a [&'a str], Vec<&'a str>);
    let luks: Change = |facts| {
        let mut volume = facts["storage"]["devices"][2].clone();
        volume["path"] = json!("/dev/mapper/root");
        volume["kind"] = json!("crypt");
        volume["parents"] = json!([2]);
        facts["storage"]["devices"][2]["fstype"] = json!("crypto_LUKS");
        facts["storage"]["devices"].as_array_mut().unwrap().push(volume);
        set(facts, "source.image_device.source", json!("/dev/mapper/root"));
    };
    let token = |kind: &str| json!({"11111111-0000-4000-8000-000000000001": [kind]});
    let cases: [Case; 10] = [
        ("a plain disk", &|_| (), &[], vec![]),
        (
            "btrfs",
            &|facts| set(facts, "source.image_device.fstype", json!("btrfs")),
            &["btrfs"],
            vec!["btrfs"],
        ),
        (
            "btrfs without its program",
            &|facts| set(facts, "source.image_device.fstype", json!("btrfs")),
            &[],
            vec![],
        ),
        (
            "dracut_network",
            &|facts| set(facts, "config.dracut_network", json!("ip=dhcp")),
            &[],
            NETWORK.into(),
        ),
        (
            "ip= of the source",
            &|facts| set(facts, "source.arguments.3", json!({"key": "ip", "value": "dhcp"})),
            &[],
            NETWORK.into(),
        ),
        (
            "LUKS",
            &luks,
            &["kbd_mode", "loadkeys", "setfont", "tpm2"],
            vec!["crypt", "i18n"],
        ),
        (
            "LUKS and a network with dracut 102 and later",
            &|facts| {
                luks(facts);
                set(facts, "config.dracut_network", json!("ip=dhcp"));
                let modules = facts["userspace"]["dracut_modules"].as_array_mut().unwrap();
                modules.extend(["net-lib", "network-manager", "systemd-cryptsetup"].map(|name| json!(name)));
            },
            &[],
            [
                &["crypt", "systemd-cryptsetup"][..],
                &NETWORK,
                &["network-manager"],
            ]
            .concat(),
        ),
        (
            "LUKS by a TPM",
            &|facts| {
                luks(facts);
                facts["storage"]["tokens"] = token("systemd-tpm2");
            },
            &["tpm2"],
            vec!["crypt", "tpm2-tss"],
        ),
        (
            "LUKS by clevis",
            &|facts| {
                luks(facts);
                facts["storage"]["tokens"] = token("clevis");
            },
            &["tpm2"],
            [&["crypt", "clevis", "clevis-pin-tpm2"][..], &NETWORK].concat(),
        ),
        (
            "NVMe over fabrics",
            &|facts| {
                let driver = json!({"module": "nvme_tcp", "modalias": null, "transport": "tcp"});
                facts["storage"]["drivers"] = json!({"/dev/sda": [driver]});
                facts["userspace"]["kernels"][0]["modules"]
                    .as_array_mut()
                    .unwrap()
                    .push(json!("nvme_tcp"));
            },
            &["nvme"],
            vec!["nvmf"],
        ),
    ];
    for (what, change, tools, more) in cases {
        let found = dracut_words(
            |facts| {
                with_modules(facts, tools);
                change(facts);
            },
            "--modules",
        );
        assert_eq!(found, [&PLAIN[..], &more].concat(), "{what}");
    }
    // Where it is not known what dracut has, only what all have.
    assert_eq!(dracut_words(|_| (), "--modules"), PLAIN[..8]);
}

#[test]
fn the_initramfs_has_the_file_systems_of_the_image_and_of_boot_and_the_tpms_driver_where_it_opens_a_volume() {
    let with = |facts: &mut Value, names: &[&str]| set(facts, "userspace.kernels.0.modules", json!(names));
    let all = ["squashfs", "overlay", "xfs", "vfat"];
    // ext4 is built in.
    assert_eq!(
        dracut_words(|facts| with(facts, &all), "--filesystems"),
        ["squashfs", "overlay", "ext4", "xfs", "vfat"]
    );
    // One that the kernel does not have would keep the others out; ext3 is a matter of ext4's module.
    let ext3 = dracut_words(
        |facts| {
            with(facts, &all[..3]);
            facts["userspace"]["kernels"][0]["file_systems"] = json!({"ext3": "ext4", "ext4": "ext4"});
            set(facts, "source.image_device.fstype", json!("ext3"));
        },
        "--filesystems",
    );
    assert_eq!(ext3, ["squashfs", "overlay", "ext4", "xfs"]);
    let btrfs = dracut_words(
        |facts| set(facts, "source.image_device.fstype", json!("btrfs")),
        "--filesystems",
    );
    assert!(btrfs.contains(&"btrfs".to_owned()), "{btrfs:?}");
    let drivers = |token: &str| {
        dracut_words(
            |facts| {
                with(facts, &["tpm_crb", "dm_crypt"]);
                facts["storage"]["tokens"] = json!({"u": [token]});
                facts["storage"]["crypttab"] =
                    json!([{"name": "root", "device": "/dev/sda2", "key": "none", "options": "luks"}]);
                set(
                    facts,
                    "source.arguments.3",
                    json!({"key": "rd.luks.uuid", "value": "11111111-0000-4000-8000-000000000001"}),
                );
            },
            "--add-drivers",
        )
    };
    assert_eq!(drivers("clevis"), ["tpm_crb"]);
    assert_eq!(drivers("systemd-recovery"), [""]);
}

/// By name: what dracut takes along for any machine need not have it.
#[test]
fn the_initramfs_has_the_drivers_of_the_images_disks() {
    let with = |disk: &'static str| {
        dracut_words(
            move |facts| {
                let driver = json!({"module": "mptsas", "modalias": "pci:sas1068"});
                facts["storage"]["drivers"] = json!({disk: [driver]});
                facts["userspace"]["kernels"][0]["drivers"] = json!({"pci:sas1068": ["mpt3sas"]});
                let modules = json!(["mpt3sas", "mptsas", "squashfs"]);
                set(facts, "userspace.kernels.0.modules", modules);
            },
            "--add-drivers",
        )
    };
    assert_eq!(with("/dev/sda"), ["mpt3sas", "mptsas"]);
    assert_eq!(with("/dev/sdz"), [""]);
}

#[test]
fn a_disk_that_the_targets_kernel_does_not_drive_is_refused() {
    let with = |disk: &'static str, modules: &'static [&'static str]| {
        plan(move |facts| {
            let driver = json!({"module": "mptsas", "modalias": "pci:sas1068"});
            facts["storage"]["drivers"] = json!({disk: [driver]});
            facts["userspace"]["kernels"][0]["drivers"] = json!({"pci:sas1068": modules});
        })
        .findings
        .refusals
    };
    let refused = with("/dev/sda", &[]);
    assert!(
        refused.len() == 1
            && refused[0].starts_with("/dev/sda hangs on mptsas (pci:sas1068), and the target's kernel "),
        "{refused:?}"
    );
    assert_eq!(with("/dev/sda", &["mpt3sas"]), Vec::<String>::new());
    assert_eq!(with("/dev/sdz", &[]), Vec::<String>::new(), "nothing lies on it");
}
