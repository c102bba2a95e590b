//! What stands against an upgrade, and what an admin is warned of.
use serde_json::{json, Value};

use super::{plan, refusals, set};

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
        ("source.image_device.fstype", json!("overlay"), "lies on an overlay"),
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
            "source.fstab.Ok.0.fs_file",
            json!("/other"),
            "/etc/fstab has no entry for /, so",
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
    for (url, network, keys, is_told) in [
        ("http://host/i", true, "", true),
        ("http://host/i", false, "/root/keys", true),
        ("http://host/i", false, "", false),
        ("", true, "/root/keys", false),
    ] {
        let plan = plan(|facts| {
            set(facts, "config.url_to_load_squashfs_image_from", json!(url));
            set(facts, "config.dracut_network", json!("ip=dhcp"));
            set(facts, "config.setup_network_manager", json!(network));
            set(facts, "config.setup_opensshd_using_auth_keys", json!(keys));
        });
        let told = plan
            .findings
            .warnings
            .iter()
            .any(|what| what.starts_with("the image holds private keys"));
        assert_eq!(told, is_told, "{url} {network} {keys}");
    }
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

/// NetworkManager, or early boot by either line of kernel arguments.
#[test]
fn any_of_three_brings_the_network_up_for_a_share_and_the_names_of_machines() {
    for (network_manager, dracut_network, argument, has_network) in [
        (true, "", "console", true),
        (false, "ip=dhcp", "console", true),
        (false, "", "ip", true),
        (false, " ", "console", false),
    ] {
        let plan = plan(|facts| {
            set(facts, "config.setup_network_manager", json!(network_manager));
            set(facts, "config.dracut_network", json!(dracut_network));
            set(
                facts,
                "source.arguments.3",
                json!({"key": argument, "value": "dhcp"}),
            );
            facts["files"]["found"]["/etc/hosts"] = json!({"mode": 0o644, "text": "192.0.2.77 filer01\n"});
            let share = json!({"fs_spec": "filer01:/a", "fs_file": "/a", "fs_vfstype": "nfs", "fs_mntops": "defaults"});
            facts["source"]["fstab"]["Ok"].as_array_mut().unwrap().push(share);
        });
        let found = &plan.findings.refusals;
        let expected: &[&str] = if has_network {
            &[]
        } else {
            &["/a: filer01:/a needs the network in the live system; set setup_network_manager: true"]
        };
        assert_eq!(found, expected, "{network_manager} {dracut_network} {argument}");
        let has_hosts = plan.live_items.iter().any(|item| item.path() == "/etc/hosts");
        assert_eq!(
            has_hosts, has_network,
            "{network_manager} {dracut_network} {argument}"
        );
    }
}
