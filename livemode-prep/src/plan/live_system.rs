//! What makes the container a live system: its units, fstab, identity, banner and log-in. Pure.
use livemode_common::config::Config;
use livemode_common::contract::SOURCE_MOUNT;
use livemode_common::fstab::Entry;

use super::edits::Edit;
use super::items::{wanted_by, Content, Item, PACKAGE_UNIT_DIR, SECRET, UNIT_DIR};
use super::live_units;
use super::ssh::listen::Listen;
use super::storage::Storage;
use crate::facts::files::SSHD_CONFIG;
use crate::facts::source::Source;

const UNITS: [(&str, &str); 3] = [
    (
        "livemode-upgrade.service",
        include_str!("../../../livemode-run/systemd/livemode-upgrade.service"),
    ),
    (
        "livemode-console.service",
        include_str!("../../../livemode-run/systemd/livemode-console.service"),
    ),
    (
        "livemode-journal.service",
        include_str!("../../../livemode-run/systemd/livemode-journal.service"),
    ),
];
/// First-boot questions, tty1's log-in (the log is there), and what would work on disks or the image at shutdown:
/// mdadm's and dracut's run dracut then, for minutes.
const MASKED: [&str; 7] = [
    "systemd-firstboot.service",
    "initial-setup.service",
    "getty@tty1.service",
    "mdadm-shutdown.service",
    "dracut-shutdown.service",
    "kdump.service",
    "sshd-keygen.target",
];

/// What the packages' own scripts and presets may have enabled in the container: nobody listens, and nothing configures the
/// network, unless an option or the source's storage asks for it.
const STOPPED: [&str; 14] = [
    "iscsi.service",
    "iscsid.service",
    "iscsid.socket",
    "iscsi-onboot.service",
    "open-iscsi.service",
    "multipathd.service",
    "multipathd.socket",
    "mdmonitor.service",
    "NetworkManager.service",
    "NetworkManager-wait-online.service",
    "sshd.service",
    "ssh.service",
    "sshd.socket",
    "ssh.socket",
];
const MULTI_USER: &str = "multi-user.target";

/// Everything that is written into the live system, in its order. `carried` is what goes along from the source, `listen`
/// where sshd listens.
pub(crate) fn items(
    config: &Config,
    source: &Source,
    storage: &Storage,
    mounts: &[Entry],
    carried: &[Item],
    listen: &Listen,
) -> Vec<Item> {
    let mut items = own_files(config, mounts);
    items.extend(carried.iter().cloned());
    items.extend(identity(source));
    items.extend(banners(config, listen));
    items.push(Item::File {
        path: "/usr/bin/livemode-run".into(),
        content: Content::Program("livemode-run"),
        mode: 0o755,
        is_secret: false,
    });
    items.extend(live_units::nothing_of_packages());
    items.extend(MASKED.map(|unit| Item::Masked { unit }));
    items.push(Item::Link {
        path: format!("{UNIT_DIR}/default.target"),
        to: format!("{PACKAGE_UNIT_DIR}/multi-user.target"),
    });
    items.push(Item::Link {
        path: format!("{UNIT_DIR}/getty.target.wants/getty@tty2.service"),
        to: format!("{PACKAGE_UNIT_DIR}/getty@.service"),
    });
    items.push(Item::Link {
        path: "/sysroot".into(),
        to: SOURCE_MOUNT.into(),
    });
    items.extend(STOPPED.map(|unit| Item::Stopped { unit }));
    items.extend(services(config, storage));
    items.extend(log_in(config, listen));
    items.push(live_units::preset(&items));
    items
}

fn own_files(config: &Config, mounts: &[Entry]) -> Vec<Item> {
    let fstab: String = mounts.iter().map(|entry| format!("{entry}\n")).collect();
    let mut items = vec![
        Item::file(
            "/etc/fstab",
            format!("# The source system, mounted below {SOURCE_MOUNT} for its upgrade.\n{fstab}"),
            0o644,
        ),
        Item::file("/usr/bin/upgrade", include_bytes!("../../image/upgrade"), 0o755),
        Item::file(
            "/etc/systemd/system.conf.d/livemode.conf",
            include_bytes!("../../image/system.conf"),
            0o644,
        ),
        Item::file(
            "/etc/systemd/journald.conf.d/livemode.conf",
            include_bytes!("../../image/journald.conf"),
            0o644,
        ),
    ];
    items.extend(UNITS.map(|(name, text)| Item::file(&format!("{UNIT_DIR}/{name}"), text, 0o644)));
    if config.setup_network_manager {
        items.push(Item::file(
            "/etc/NetworkManager/conf.d/00-livemode.conf",
            include_bytes!("../../image/NetworkManager.conf"),
            0o644,
        ));
        items.push(Item::file(
            "/etc/tmpfiles.d/livemode-network.conf",
            include_bytes!("../../image/network-tmpfiles.conf"),
            0o644,
        ));
    }
    items
}

/// The live system is the source to its network and to its admins.
fn identity(source: &Source) -> Vec<Item> {
    let id = source.machine_id.iter();
    let id = id.map(|id| Item::file("/etc/machine-id", format!("{id}\n"), 0o444));
    let name = source.hostname.iter();
    id.chain(name.map(|name| Item::file("/etc/hostname", format!("{name}\n"), 0o644)))
        .collect()
}

fn banners(config: &Config, listen: &Listen) -> [Item; 2] {
    let banner = banner(config, listen);
    [
        // agetty(8) reads backslashes in issue as escapes; ours has none.
        Item::file("/etc/issue", format!("{banner}\n"), 0o644),
        Item::file("/etc/motd", banner, 0o644),
    ]
}

fn services(config: &Config, storage: &Storage) -> Vec<Item> {
    let mut items: Vec<Item> = UNITS.iter().map(|(name, _)| own_unit(name)).collect();
    // dbus-broker brings no dbus.service of its own: a preset would make that alias.
    items.push(Item::Alias {
        unit: "dbus.service",
        of: vec!["dbus-broker.service", "dbus-daemon.service"],
    });
    items.push(Item::started("dbus.socket", "sockets.target"));
    if config.setup_network_manager {
        items.push(Item::started("NetworkManager.service", MULTI_USER));
    }
    for layer in storage.layers().filter(|layer| !layer.services().is_empty()) {
        items.push(Item::Started {
            units: layer.services().iter().map(|&unit| unit.to_owned()).collect(),
            by: MULTI_USER,
        });
    }
    items.extend(live_units::of_storage(storage));
    // The targets that mounts by the network, and volumes below them, hang on.
    for target in ["remote-cryptsetup.target", "remote-fs.target"] {
        items.push(Item::started(target, MULTI_USER));
    }
    if storage.needs_network() && config.setup_network_manager {
        items.push(Item::started(
            "NetworkManager-wait-online.service",
            "network-online.target",
        ));
    }
    if !config.setup_opensshd_using_auth_keys.is_empty() {
        // Debian's name is the second.
        items.push(Item::Started {
            units: ["sshd.service", "ssh.service"].map(str::to_owned).to_vec(),
            by: MULTI_USER,
        });
    }
    items
}

/// Ours lie beside the links that start them.
fn own_unit(name: &str) -> Item {
    Item::Link {
        path: wanted_by(MULTI_USER, name),
        to: format!("../{name}"),
    }
}

fn log_in(config: &Config, listen: &Listen) -> Vec<Item> {
    let edited = |path: &str, edit, mode, is_secret| Item::File {
        path: path.to_owned(),
        content: Content::Edited(edit),
        mode,
        is_secret,
    };
    let mut items = Vec::new();
    if !config.setup_opensshd_using_auth_keys.is_empty() {
        let edit = Edit::OnlyKeysLogIn(listen.lines());
        items.push(edited(SSHD_CONFIG, edit, SECRET, false));
        if !listen.addresses.is_empty() {
            items.push(Item::file(
                "/etc/sysctl.d/90-livemode-sshd.conf",
                include_bytes!("../../image/sshd-sysctl.conf"),
                0o644,
            ));
        }
        items.push(Item::Directory {
            path: "/root/.ssh".into(),
            mode: 0o700,
        });
    }
    if config.setup_passwordless_root {
        items.push(edited("/etc/passwd", Edit::EmptyRootPassword, 0o644, false));
        items.push(edited("/etc/shadow", Edit::EmptyRootPassword, SECRET, true));
    }
    items
}

fn banner(config: &Config, listen: &Listen) -> String {
    let start = if config.autostart_upgrade_after_reboot {
        "The upgrade starts by itself, unless the boot entry says upgrade.autostart=0 or an attempt has failed: then type  upgrade"
    } else {
        "The upgrade waits: log in and type  upgrade  to start it."
    };
    let console = if config.setup_passwordless_root {
        "root logs in on a console without a password."
    } else {
        "root's password is the one of the target container, if it has one."
    };
    let ports: Vec<String> = listen.all_ports().iter().map(u16::to_string).collect();
    let ssh = match ports.join(" and ") {
        _ if config.setup_opensshd_using_auth_keys.is_empty() => "sshd does not run.".to_owned(),
        ports if ports == "22" => "ssh takes root's authorized keys, and no password.".to_owned(),
        ports => format!("ssh takes root's authorized keys on port {ports}, and no password."),
    };
    format!(
        "LiveMode upgrade environment. The source system is mounted below {SOURCE_MOUNT}.\n{start}\n{console}\n{ssh}\n\
         Progress: livemode-run status, journalctl -f -u livemode-upgrade\n"
    )
}
