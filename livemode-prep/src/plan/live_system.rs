//! What makes the container a live system: its units, fstab, identity, banner and log-in. Pure.
use livemode_common::config::Config;
use livemode_common::contract::SOURCE_MOUNT;
use livemode_common::fstab::Entry;

use super::edits::Edit;
use super::items::{wanted_by, Content, Item, PACKAGE_UNIT_DIR, SECRET, UNIT_DIR};
use super::live_units;
use super::ssh::listen::Listen;
use super::storage::Storage;
use super::why::Reasoned;
use crate::facts::files::sshd::SSHD_CONFIG;
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
const MASKED: [&str; 8] = [
    "ctrl-alt-del.target",
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
    carried: Reasoned,
    listen: &Listen,
) -> Reasoned {
    const EVERY: &str = "every upgrade";
    let mut items = Reasoned::default();
    items.add(
        "/etc/fstab of this system",
        "its mounts lie below /run/upgrade",
        [live_fstab(mounts)],
    );
    items.add(EVERY, "the live system's own programs and settings", own_files());
    if config.setup_network_manager {
        items.add(
            "setup_network_manager",
            "NetworkManager has this system's profiles, not early boot's",
            network_files(),
        );
    }
    items.0.extend(carried.0);
    items.add(
        "this system's machine-id and hostname",
        "the live system is this one to its network and its admins",
        identity(source),
    );
    items.add(
        EVERY,
        "whoever logs in reads what this is and how to go on",
        banners(config, listen),
    );
    let program = Item::File {
        path: "/usr/bin/livemode-run".into(),
        content: Content::Program("livemode-run"),
        mode: 0o755,
        is_secret: false,
    };
    items.add(EVERY, "the live system's own programs and settings", [program]);
    items.add(
        EVERY,
        "the live system runs only what this plan starts",
        live_units::nothing_of_packages(storage),
    );
    items.add(
        EVERY,
        "it would ask at the first boot, take the log's console, reboot at three keys, or work on disks at shutdown",
        MASKED.map(|unit| Item::Masked { unit }),
    );
    items.add(
        EVERY,
        "a system in RAM, for one upgrade, has no use for it, and starts sooner without",
        live_units::not_needed(),
    );
    items.add(
        EVERY,
        "where the live system boots to, and where an admin logs in",
        places(),
    );
    items.add(
        EVERY,
        "nobody listens, and nothing configures the network, unless an option or the storage asks for it",
        STOPPED.map(|unit| Item::Stopped { unit }),
    );
    items.add(EVERY, "what the upgrade itself needs", own_services());
    if config.watchdog {
        let watchdog = include_bytes!("../../image/watchdog.conf");
        items.add(
            "watchdog",
            "a machine that hangs is reset by its hardware, and boots what the loader then boots",
            [Item::file(
                "/etc/systemd/system.conf.d/livemode-watchdog.conf",
                watchdog,
                0o644,
            )],
        );
    }
    services(config, storage, &mut items);
    log_in(config, listen, &mut items);
    let preset = live_units::preset(&items.items());
    items.add(EVERY, "the live system runs only what this plan starts", [preset]);
    items
}

fn places() -> [Item; 3] {
    let link = |path: String, to: String| Item::Link { path, to };
    [
        link(
            format!("{UNIT_DIR}/default.target"),
            format!("{PACKAGE_UNIT_DIR}/multi-user.target"),
        ),
        link(
            format!("{UNIT_DIR}/getty.target.wants/getty@tty2.service"),
            format!("{PACKAGE_UNIT_DIR}/getty@.service"),
        ),
        link("/sysroot".into(), SOURCE_MOUNT.into()),
    ]
}

fn live_fstab(mounts: &[Entry]) -> Item {
    let fstab: String = mounts.iter().map(|entry| format!("{entry}\n")).collect();
    Item::file(
        "/etc/fstab",
        format!("# The source system, mounted below {SOURCE_MOUNT} for its upgrade.\n{fstab}"),
        0o644,
    )
}

fn own_files() -> Vec<Item> {
    let mut items = vec![
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
        Item::file(
            "/etc/profile.d/livemode.sh",
            include_bytes!("../../image/profile.sh"),
            0o644,
        ),
        Item::file(
            "/etc/systemd/logind.conf.d/livemode.conf",
            include_bytes!("../../image/logind.conf"),
            0o644,
        ),
    ];
    items.extend(UNITS.map(|(name, text)| Item::file(&format!("{UNIT_DIR}/{name}"), text, 0o644)));
    items
}

fn network_files() -> [Item; 2] {
    [
        Item::file(
            "/etc/NetworkManager/conf.d/00-livemode.conf",
            include_bytes!("../../image/NetworkManager.conf"),
            0o644,
        ),
        Item::file(
            "/etc/tmpfiles.d/livemode-network.conf",
            include_bytes!("../../image/network-tmpfiles.conf"),
            0o644,
        ),
    ]
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

fn own_services() -> Vec<Item> {
    let mut items: Vec<Item> = UNITS.iter().map(|(name, _)| own_unit(name)).collect();
    // dbus-broker brings no dbus.service of its own: a preset would make that alias.
    items.push(Item::Alias {
        unit: "dbus.service",
        of: vec!["dbus-broker.service", "dbus-daemon.service"],
    });
    items.push(Item::started("dbus.socket", "sockets.target"));
    items
}

fn services(config: &Config, storage: &Storage, items: &mut Reasoned) {
    if config.setup_network_manager {
        let unit = Item::started("NetworkManager.service", MULTI_USER);
        items.add(
            "setup_network_manager",
            "the live system has this system's network",
            [unit],
        );
    }
    let of_layers = storage.layers().filter(|layer| !layer.services().is_empty());
    let of_layers = of_layers.map(|layer| Item::Started {
        units: layer.services().iter().map(|&unit| unit.to_owned()).collect(),
        by: MULTI_USER,
    });
    items.add(
        "a mount of this system lies on that layer of storage",
        "what brings the layer up runs (docs/storage.md)",
        of_layers.chain(live_units::of_storage(storage)),
    );
    items.add(
        "every upgrade",
        "mounts by the network, and volumes below them, hang on these targets",
        ["remote-cryptsetup.target", "remote-fs.target"].map(|target| Item::started(target, MULTI_USER)),
    );
    if storage.needs_network() && config.setup_network_manager {
        let unit = Item::started("NetworkManager-wait-online.service", "network-online.target");
        items.add(
            "a mount of this system needs the network",
            "it waits until the network is up",
            [unit],
        );
    }
    if !config.setup_opensshd_using_auth_keys.is_empty() {
        // Debian's name is the second.
        let unit = Item::Started {
            units: ["sshd.service", "ssh.service"].map(str::to_owned).to_vec(),
            by: MULTI_USER,
        };
        items.add(
            "setup_opensshd_using_auth_keys",
            "sshd runs in the live system",
            [unit],
        );
    }
}

/// Ours lie beside the links that start them.
fn own_unit(name: &str) -> Item {
    Item::Link {
        path: wanted_by(MULTI_USER, name),
        to: format!("../{name}"),
    }
}

fn log_in(config: &Config, listen: &Listen, items: &mut Reasoned) {
    let edited = |path: &str, edit, mode, is_secret| Item::File {
        path: path.to_owned(),
        content: Content::Edited(edit),
        mode,
        is_secret,
    };
    if !config.setup_opensshd_using_auth_keys.is_empty() {
        let key = "setup_opensshd_using_auth_keys";
        let edit = Edit::OnlyKeysLogIn(listen.lines());
        let sshd = edited(SSHD_CONFIG, edit, SECRET, false);
        items.add(
            format!("{key}, and where this system's sshd listens"),
            "only keys log in, and sshd listens where clients look for it",
            [sshd],
        );
        if !listen.addresses.is_empty() {
            let bind = include_bytes!("../../image/sshd-sysctl.conf");
            items.add(
                "ListenAddress of this system's sshd",
                "sshd may start before its address is there",
                [Item::file("/etc/sysctl.d/90-livemode-sshd.conf", bind, 0o644)],
            );
        }
        let home = Item::Directory {
            path: "/root/.ssh".into(),
            mode: 0o700,
        };
        items.add(
            key,
            "sshd takes keys only from a directory that is root's alone",
            [home],
        );
    }
    if config.setup_passwordless_root {
        items.add(
            "setup_passwordless_root",
            "root logs in on a console without a password",
            [
                edited("/etc/passwd", Edit::EmptyRootPassword, 0o644, false),
                edited("/etc/shadow", Edit::EmptyRootPassword, SECRET, true),
            ],
        );
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_banner_says_how_to_log_in_and_how_the_upgrade_starts() {
        let listen = |ports: &[u16]| Listen {
            ports: ports.to_vec(),
            ..Listen::default()
        };
        for (starts, is_open, keys, ports, lines) in [
            (
                true,
                false,
                "",
                &[][..],
                [
                    "The upgrade starts by itself, unless the boot entry says upgrade.autostart=0",
                    "root's password is the one of the target container",
                    "sshd does not run.",
                ],
            ),
            (
                false,
                true,
                "/root/keys",
                &[],
                [
                    "The upgrade waits: log in and type  upgrade  to start it.",
                    "root logs in on a console without a password.",
                    "ssh takes root's authorized keys, and no password.",
                ],
            ),
            (
                true,
                false,
                "/root/keys",
                &[22, 2222],
                [
                    "The upgrade starts by itself",
                    "root's password is",
                    "ssh takes root's authorized keys on port 22 and 2222, and no password.",
                ],
            ),
        ] {
            let config = Config {
                autostart_upgrade_after_reboot: starts,
                setup_passwordless_root: is_open,
                setup_opensshd_using_auth_keys: keys.into(),
                ..Config::default()
            };
            let text = banner(&config, &listen(ports));
            let told: Vec<&str> = text.lines().collect();
            assert_eq!(told.len(), 5, "{text}");
            assert_eq!(
                told[0],
                "LiveMode upgrade environment. The source system is mounted below /run/upgrade."
            );
            assert_eq!(
                told[4],
                "Progress: livemode-run status, journalctl -f -u livemode-upgrade"
            );
            for (line, start) in told[1..].iter().zip(lines) {
                assert!(line.starts_with(start), "{text}");
            }
        }
    }
}
