//! Plans of a machine whose facts were written with `livemode-prep facts` (an el8 with one xfs disk, /boot beside it, a
//! static network, and a Debian 12 container), each with something changed: what is found, and what is done about it.
use serde_json::{json, Value};

use super::build_plan::BuildPlan;
use super::items::Item;
use crate::args::EntryKeeper;
use crate::facts::Facts;

const FACTS: &str = include_str!("../../fixtures/facts.json");

fn facts(change: impl FnOnce(&mut Value)) -> Facts {
    let mut facts: Value = serde_json::from_str(FACTS).unwrap();
    change(&mut facts);
    serde_json::from_value(facts).unwrap()
}

fn plan(change: impl FnOnce(&mut Value)) -> BuildPlan {
    BuildPlan::make(facts(change), EntryKeeper::None)
}

/// The path to a value, with dots, gets another one.
fn set(facts: &mut Value, path: &str, value: Value) {
    let pointer = format!("/{}", path.replace('.', "/"));
    *facts.pointer_mut(&pointer).unwrap_or_else(|| panic!("no {path}")) = value;
}

fn refusals(path: &str, value: Value) -> Vec<String> {
    plan(|facts| set(facts, path, value)).findings.refusals
}

#[test]
fn nothing_stands_against_a_machine_that_is_fit() {
    let plan = plan(|_| ());
    assert_eq!(plan.findings.refusals, Vec::<String>::new());
    assert_eq!(plan.findings.warnings, Vec::<String>::new());
    plan.check().unwrap();
}

#[test]
fn each_fault_is_found_and_named() {
    for (path, value, fault) in [
        ("source.fips", json!(true), "the source system is in FIPS mode"),
        (
            "source.image_device.fstype",
            json!("tmpfs"),
            "/var/lib/leapp/live-upgrade.img lies on a tmpfs",
        ),
        ("source.image_device.fstype", json!("overlay"), "lies on a overlay"),
        (
            "source.image_device.uuid",
            json!(null),
            "lies on /dev/sda2 (xfs), which has no UUID to find it by; choose another path",
        ),
        (
            "source.image_device.xfs_has_ftype",
            json!(false),
            "lies on an xfs without ftype",
        ),
        (
            "source.image_dir.read_only",
            json!(true),
            "the image's directory /var/lib/leapp is mounted read-only; remount it rw",
        ),
        (
            "source.boot.read_only",
            json!(true),
            "/boot /boot is mounted read-only; remount it rw",
        ),
        (
            "source.fstab",
            json!({"Err": "reading /etc/fstab: No such file or directory"}),
            "reading /etc/fstab: No such file",
        ),
        (
            "source.fstab",
            json!({"Ok": []}),
            "/etc/fstab has no entry for /, so the live system could not mount the source",
        ),
        (
            "source.mounts.1.target",
            json!("/other"),
            "/boot is in /etc/fstab but not mounted",
        ),
        (
            "source.boot.free_bytes",
            json!(1 << 20),
            "not enough space at /boot: 98 MiB needed (the kernel 14 MiB, the initramfs 84 MiB), 1 MiB free; free 97 MiB there",
        ),
        ("actors", json!("both"), "brought its own livemode actors back"),
        (
            "tools.own.livemode-run",
            json!({"Err": "livemode-run is neither here nor there"}),
            "livemode-run is neither here nor there",
        ),
        (
            "userspace.is_directory",
            json!(false),
            "/var/lib/leapp/el9userspace: no target-system container there",
        ),
        (
            "userspace.no_directories",
            json!(["etc"]),
            "etc is no directory, so this is no container",
        ),
        (
            "userspace.kernels",
            json!([]),
            "no kernel in /lib/modules; install kernel-core there",
        ),
        (
            "userspace.kernels.0.config",
            json!(["CONFIG_SQUASHFS_LZO"]),
            "have no squashfs compressor in common",
        ),
        (
            "config.setup_opensshd_using_auth_keys",
            json!("/root/other"),
            "setup_opensshd_using_auth_keys: reading /root/other: it is no file",
        ),
        (
            "source.arguments.0.value",
            json!("x".repeat(3000)),
            "", // That word is of the loader, and does not come along.
        ),
        (
            "source.arguments.3.value",
            json!("x".repeat(3000)),
            "the kernel command line would be 3",
        ),
    ] {
        let found = refusals(path, value);
        let expected = usize::from(!fault.is_empty());
        assert_eq!(found.len(), expected, "{path}: {found:?}");
        assert!(found.iter().all(|why| why.contains(fault)), "{path}: {found:?}");
    }
}

#[test]
fn tools_that_are_missing_are_named_one_by_one() {
    let plan = plan(|facts| {
        set(facts, "userspace.tools", json!([]));
        set(facts, "userspace.mksquashfs.compressors", json!([]));
        set(facts, "tools.mksquashfs.compressors", json!([]));
    });
    let found = plan.findings.refusals.clone();
    assert_eq!(found.len(), 3, "{found:?}");
    for (why, fault) in found.iter().zip([
        "dracut is missing; it makes the initramfs; install it there",
        "rpm is missing; it says which packages are there; install it there",
        "mksquashfs is missing here and in the container; install squashfs-tools",
    ]) {
        assert!(why.ends_with(fault), "{why}");
    }
    assert!(plan.target.is_none());
    let error = plan.check().unwrap_err().to_string();
    assert_eq!(error, found.join("\n"));
}

#[test]
fn of_two_kernels_none_is_taken() {
    let plan = plan(|facts| {
        let mut other = facts["userspace"]["kernels"][0].clone();
        other["version"] = json!("6.99");
        facts["userspace"]["kernels"].as_array_mut().unwrap().push(other);
    });
    let found = &plan.findings.refusals;
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(
        found[0].contains("2 kernels (6.1.0-56-cloud-amd64, 6.99)"),
        "{found:?}"
    );
}

#[test]
fn an_admin_is_warned_of_what_may_surprise() {
    for (changes, warning) in [
        (
            vec![("setup_network_manager", json!(false))],
            "setup_opensshd_using_auth_keys without setup_network_manager or dracut_network: nothing brings the network up",
        ),
        (
            vec![
                ("url_to_load_squashfs_image_from", json!("http://host/i")),
                ("dracut_network", json!("ip=dhcp")),
            ],
            "the image holds private keys",
        ),
    ] {
        let plan = plan(|facts| {
            for (key, value) in changes {
                set(facts, &format!("config.{key}"), value);
            }
        });
        let warnings = &plan.findings.warnings;
        assert_eq!(warnings.len(), 1, "{warnings:?}");
        assert!(warnings[0].contains(warning), "{warnings:?}");
    }
    let quiet = plan(|facts| {
        set(facts, "config.setup_network_manager", json!(false));
        set(facts, "config.dracut_network", json!("ip=dhcp"));
    });
    assert_eq!(quiet.findings.warnings, Vec::<String>::new());
    let told = plan(|facts| set(facts, "config_warnings", json!(["leapp would stop here"])));
    assert_eq!(told.findings.warnings, ["leapp would stop here"]);
}

/// One list, whoever asks: without a container nothing else is said of the same machine.
#[test]
fn before_there_is_a_container_the_same_is_found() {
    let change = |facts: &mut Value| {
        set(facts, "source.fips", json!(true));
        set(facts, "config.setup_network_manager", json!(false));
    };
    let with = plan(change);
    let without = plan(|facts| {
        change(facts);
        set(facts, "userspace", json!(null));
    });
    assert_eq!(with.findings, without.findings);
    assert_eq!(without.commands().len(), 0);
    let budgets: Vec<u64> = without
        .budgets
        .iter()
        .map(|budget| budget.needed_bytes >> 20)
        .collect();
    assert_eq!(budgets, [1100, 115], "what a minimal system is expected to take");
}

#[test]
fn what_is_missing_is_brought_by_dnf_but_under_leapp_it_is_a_fault() {
    let own = plan(|_| ());
    assert!(own.missing_packages.contains(&"vim".to_owned()));
    let commands: Vec<String> = own.commands().iter().map(ToString::to_string).collect();
    assert!(
        commands[0].contains(" dnf -y --setopt=install_weak_deps=False install "),
        "{commands:?}"
    );
    let given = json!({"kernel_path": "/boot/vmlinuz-upgrade.x86_64", "initram_path": "/boot/initramfs-upgrade.x86_64.img",
                       "kernel_hmac_path": null});
    let under_leapp = |provided: Value| {
        plan(|facts| {
            set(facts, "leapp.BootContent", given.clone());
            set(facts, "userspace.provided", provided);
        })
    };
    let short = under_leapp(json!([])).findings.refusals;
    assert_eq!(short.len(), 1, "{short:?}");
    assert!(
        short[0].starts_with("/var/lib/leapp/el9userspace: leapp has not installed NetworkManager, "),
        "{short:?}"
    );
    let whole = under_leapp(json!(own.required_packages));
    assert_eq!(whole.findings.refusals, Vec::<String>::new());
    let commands: Vec<String> = whole.commands().iter().map(ToString::to_string).collect();
    assert!(
        commands[0].ends_with(" lsinitrd /boot/initramfs-upgrade.x86_64.img"),
        "{commands:?}"
    );
    // leapp's initramfs is looked into, and ours is made, which may be smaller.
    assert!(commands[1].contains(" dracut --force "), "{commands:?}");
    assert_eq!(commands.len(), 3);
    // Neither kernel nor initramfs takes new space in /boot.
    assert_eq!(whole.budgets.len(), 1);
}

/// What an earlier build has written down.
fn earlier(loader: &str) -> Value {
    let artifact = json!({"path": "/x", "size": 1, "sha256": ""});
    json!({"schema": 1, "image": artifact, "kernel": artifact, "hmac": null, "initramfs": artifact,
           "kernel_version": "6", "compressor": "zstd", "source_arguments": "", "versions": {}, "created": 1,
           "config": facts(|_| ()).config,
           "boot": {"loader": loader, "arguments": "", "former_default": "/boot/vmlinuz-old"}})
}

#[test]
fn an_earlier_builds_entry_needs_another_one() {
    let found = refusals("earlier", earlier("grubby"));
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(
        found[0].starts_with("an earlier build has a boot entry"),
        "{found:?}"
    );
    assert_eq!(refusals("earlier", earlier("none")), Vec::<String>::new());
    // Before there is a container nobody is asked who keeps the entry.
    let check = plan(|facts| {
        set(facts, "earlier", earlier("leapp"));
        set(facts, "userspace", json!(null));
    });
    assert_eq!(check.findings.refusals, Vec::<String>::new());

    let with_grubby = |loader: Value| {
        let facts = facts(|facts| {
            set(facts, "earlier", earlier("grubby"));
            set(facts, "loader", loader);
        });
        BuildPlan::make(facts, EntryKeeper::Grubby)
    };
    let grubby =
        |default: &str| json!({"has_grubby": true, "default_kernel": {"Ok": default}, "configs": []});
    // Its own kernel is the default now: what was it before is known from the earlier build.
    for (default, former) in [
        ("/boot/vmlinuz-upgrade.x86_64", "/boot/vmlinuz-old"),
        ("/boot/vmlinuz-4.18", "/boot/vmlinuz-4.18"),
    ] {
        let plan = with_grubby(grubby(default));
        assert_eq!(plan.findings.refusals, Vec::<String>::new());
        assert_eq!(
            plan.entry.as_ref().unwrap().former_default.as_deref(),
            Some(former)
        );
        let text = plan.summary();
        assert!(
            text.contains(&format!("until livemode-prep remove makes {former} the default")),
            "{text}"
        );
    }
    let failing = json!({"has_grubby": true, "default_kernel": {"Err": "grubby: it hung"}, "configs": []});
    assert_eq!(with_grubby(failing).findings.refusals, ["grubby: it hung"]);
    let missing = json!({"has_grubby": false, "default_kernel": {"Err": ""}, "configs": []});
    assert!(with_grubby(missing).findings.refusals[0].starts_with("grubby is missing; install it"));
}

#[test]
fn a_password_is_shown_nowhere() {
    let plan = plan(|facts| {
        set(
            facts,
            "config.url_to_load_squashfs_image_from",
            json!("ftp://me:hunter2@host/i"),
        );
        set(facts, "config.dracut_network", json!("ip=dhcp"));
    });
    for text in [plan.describe(true), plan.to_json().to_string()] {
        assert!(!text.contains("hunter2"), "{text}");
        assert!(text.contains("root=livemode:ftp://host/i"), "{text}");
    }
    assert!(plan
        .arguments("0", 1)
        .contains("livemode:ftp://me:hunter2@host/i "));
}

#[test]
fn the_live_system_has_all_that_its_options_ask_for_and_nothing_listens_otherwise() {
    let lines = |change: fn(&mut Value)| -> Vec<String> {
        plan(change).live_items.iter().map(Item::to_string).collect()
    };
    let all = lines(|facts| set(facts, "config.setup_passwordless_root", json!(true)));
    for line in [
        "file       0600 root:root /etc/ssh/sshd_config (the container's own, with only keys to log in by)",
        "file       0644 root:root /etc/passwd (the container's own, with an empty password of root's)",
        "file       0600 root:root /etc/shadow (the container's own, with an empty password of root's, secret)",
        "directory  0700 root:root /root/.ssh",
        "started    sshd.service or ssh.service by multi-user.target",
        "started    NetworkManager.service by multi-user.target",
        "started    dbus.socket by sockets.target",
        "alias      dbus.service for dbus-broker.service or dbus-daemon.service",
        "stopped    sshd.service",
        "file       0444 root:root /etc/machine-id (made)",
        "file       0644 root:root /etc/hostname (made)",
        "file       0755 root:root /usr/bin/livemode-run (the program livemode-run)",
    ] {
        assert!(all.iter().any(|item| item == line), "no '{line}' in {all:#?}");
    }
    let none = lines(|facts| {
        set(facts, "config.setup_network_manager", json!(false));
        set(facts, "config.setup_opensshd_using_auth_keys", json!(""));
        set(facts, "source.machine_id", json!(null));
    });
    for word in [
        "sshd_config",
        "started    sshd",
        "started    NetworkManager",
        ".ssh",
        "passwd",
        "machine-id",
    ] {
        assert!(
            !none.iter().any(|item| item.contains(word)),
            "{word} in {none:#?}"
        );
    }
    // What is stopped stands before what is started: an option wins.
    let position = |text: &str| all.iter().position(|item| item.starts_with(text)).unwrap();
    assert!(position("stopped    sshd.service") < position("started    sshd.service"));
    assert!(position("stopped    NetworkManager.service") < position("started    NetworkManager.service"));
}

#[test]
fn what_packages_enabled_goes_before_anything_is_started() {
    let items: Vec<String> = plan(|_| ()).live_items.iter().map(Item::to_string).collect();
    let position = |text: &str| items.iter().position(|item| item.starts_with(text)).unwrap();
    let first = position("started ").min(position("link       /etc/systemd/system/"));
    assert!(
        position("cleared ") < first && position("masked     all that packages") < first,
        "{items:#?}"
    );
    assert!(items
        .iter()
        .any(|item| item.contains("systemd-ssh-generator to /dev/null")));
    assert!(items
        .last()
        .unwrap()
        .contains("/etc/systemd/system-preset/00-livemode.preset"));
}

#[test]
fn names_addresses_and_ports_are_those_of_the_source() {
    let plan = plan(|facts| {
        let file = |text: &str| json!({"mode": 0o644, "text": text});
        facts["files"]["found"]["/etc/hosts"] = file("192.0.2.77 filer01\n");
        facts["files"]["found"]["/etc/ssh/sshd_config"] = file("Port 2222\nListenAddress 192.0.2.10\n");
        facts["nics"] = json!([{"name": "lan0", "address": "52:54:00:00:00:10", "driver": "virtio_net"}]);
        set(facts, "config.dracut_network", json!("ip=dhcp"));
        set(
            facts,
            "source.arguments.3",
            json!({"key": "rd.auto", "value": "1"}),
        );
    });
    assert_eq!(
        plan.findings.warnings,
        [
            "sshd of the live system listens on port 2222, as this system's does",
            "kernel arguments of this system that the live system does not get: rd.auto=1; docs/options.md says which it gets",
        ]
    );
    let pin = "file       0644 root:root /etc/systemd/network/71-livemode-lan0.link (made)";
    let lines = |items: &[Item]| items.iter().map(Item::to_string).collect::<Vec<_>>();
    let live = lines(&plan.live_items);
    for line in [
        pin,
        "file       0644 root:root /etc/hosts (the source's /etc/hosts)",
        "file       0644 root:root /etc/sysctl.d/90-livemode-sshd.conf (made)",
    ] {
        assert!(live.iter().any(|item| item == line), "no '{line}' in {live:#?}");
    }
    assert!(lines(&plan.early_items).iter().any(|item| item == pin));
    assert!(plan
        .requested
        .files
        .contains(&"/etc/systemd/network/71-livemode-lan0.link".to_owned()));
    assert!(!plan.arguments("", 0).contains("rd.auto"));
}

#[test]
fn the_records_directory_is_named_where_it_lies_beside_the_image() {
    let line = |change: fn(&mut Value)| plan(change).arguments("ab", 7);
    assert!(line(|_| ()).contains(" livemode.state=/var/lib/leapp/livemode "));
    let apart = line(|facts| set(facts, "source.state_device.source", json!("/dev/sdb1")));
    assert!(!apart.contains("livemode.state="), "{apart}");
}

#[test]
fn facts_for_others_show_no_password_of_this_build_or_an_earlier_one() {
    let url = "http://me:hunter2@host/i";
    let facts = facts(|facts| {
        set(facts, "config.url_to_load_squashfs_image_from", json!(url));
        let mut before = earlier("none");
        before["config"]["url_to_load_squashfs_image_from"] = json!(url);
        before["boot"]["arguments"] = json!(format!("root=livemode:{url} rw"));
        set(facts, "earlier", before);
    });
    let json = facts.to_json().unwrap();
    assert!(!json.contains("hunter2"), "{json}");
    let masked: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(
        masked["earlier"]["boot"]["arguments"],
        "root=livemode:http://host/i rw"
    );
    assert_eq!(
        masked["config"]["url_to_load_squashfs_image_from"],
        "http://host/i"
    );
}

#[test]
fn the_live_system_has_our_own_files_and_the_services_of_its_storage() {
    let lines = |change: &dyn Fn(&mut Value)| -> Vec<String> {
        plan(|facts| change(facts))
            .live_items
            .iter()
            .map(Item::to_string)
            .collect()
    };
    let plain = lines(&|_| ());
    for path in [
        "/etc/fstab",
        "/usr/bin/upgrade",
        "/etc/systemd/system/livemode-upgrade.service",
        "/etc/systemd/system.conf.d/livemode.conf",
        "/etc/systemd/journald.conf.d/livemode.conf",
        "/etc/NetworkManager/conf.d/00-livemode.conf",
    ] {
        assert!(
            plain.iter().any(|item| item.contains(&format!(" {path} "))),
            "no {path} in {plain:#?}"
        );
    }
    let has = |items: &[String], text: &str| {
        items
            .iter()
            .any(|item| item.starts_with(&format!("started    {text}")))
    };
    assert!(
        !has(&plain, "multipathd") && !has(&plain, "iscsi") && !has(&plain, "NetworkManager-wait-online")
    );
    let multipath = lines(&|facts| set(facts, "storage.devices.0.kind", json!("mpath")));
    assert!(
        has(&multipath, "multipathd.service by multi-user.target"),
        "{multipath:#?}"
    );
    let share = |network: bool| {
        lines(&move |facts| {
            let entry = json!({"fs_spec": "server:/a", "fs_file": "/a", "fs_vfstype": "nfs", "fs_mntops": "nofail",
                               "fs_freq": "0", "fs_passno": "0"});
            facts["source"]["fstab"]["Ok"].as_array_mut().unwrap().push(entry);
            set(facts, "config.setup_network_manager", json!(network));
        })
    };
    let online = "NetworkManager-wait-online.service by network-online.target";
    assert!(has(&share(true), online), "{:#?}", share(true));
    assert!(!has(&share(false), online));
}

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
    let cases: [Case; 9] = [
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
