//! What the live system has.
use crate::plan::build_plan::Made;
use serde_json::{json, Value};

use super::{plan, set};
use crate::plan::items::Item;

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
    for early in ["systemd-random-seed.service", "sys-kernel-debug.mount"] {
        assert!(items.contains(&format!("masked     {early}")), "{early}");
    }
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
    assert!(!plan.arguments(&Made::default()).contains("rd.auto"));
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
