//! What makes the container a live system: its units, fstab, identity, banner and log-in. Decided here, then written.
use std::path::Path;

use anyhow::{Context, Result};
use livemode_common::container::ContainerDir;
use livemode_common::contract::SOURCE_MOUNT;
use livemode_common::fstab::Entry;

use crate::build::programs;
use crate::plan::build_plan::BuildPlan;

const UNIT_DIR: &str = "/etc/systemd/system";
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

/// One change to the tree.
enum Item {
    File(String, Vec<u8>, u32),
    Link(String, String),
}

fn items(plan: &BuildPlan) -> Vec<Item> {
    let mut items = Vec::new();
    let mut file =
        |path: &str, content: Vec<u8>, mode| items.push(Item::File(path.to_owned(), content, mode));
    let fstab: String = plan.live_fstab.iter().map(|e: &Entry| format!("{e}\n")).collect();
    file(
        "/etc/fstab",
        format!("# The source system, mounted below {SOURCE_MOUNT} for its upgrade.\n{fstab}").into(),
        0o644,
    );
    file(
        "/usr/bin/upgrade",
        include_bytes!("../../image/upgrade").to_vec(),
        0o755,
    );
    file(
        "/etc/systemd/system.conf.d/livemode.conf",
        include_bytes!("../../image/system.conf").to_vec(),
        0o644,
    );
    file(
        "/etc/systemd/journald.conf.d/livemode.conf",
        include_bytes!("../../image/journald.conf").to_vec(),
        0o644,
    );
    for (name, content) in UNITS {
        file(&format!("{UNIT_DIR}/{name}"), content.into(), 0o644);
    }
    if plan.config.setup_network_manager {
        file(
            "/etc/NetworkManager/conf.d/00-livemode.conf",
            include_bytes!("../../image/NetworkManager.conf").to_vec(),
            0o644,
        );
        file(
            "/etc/tmpfiles.d/livemode-network.conf",
            include_bytes!("../../image/network-tmpfiles.conf").to_vec(),
            0o644,
        );
    }
    for carried in &plan.carried.files {
        file(&carried.path, carried.content.clone(), carried.mode);
    }
    if let Some(id) = &plan.facts.machine_id {
        file("/etc/machine-id", format!("{id}\n").into(), 0o444);
    }
    if let Some(name) = &plan.facts.hostname {
        file("/etc/hostname", format!("{name}\n").into(), 0o644);
    }
    let banner = banner(plan);
    // agetty(8) reads backslashes in issue as escapes; ours has none.
    file("/etc/issue", format!("{banner}\n").into(), 0o644);
    file("/etc/motd", banner.into(), 0o644);
    for (name, _) in UNITS {
        items.push(Item::Link(
            format!("../{name}"),
            format!("{UNIT_DIR}/multi-user.target.wants/{name}"),
        ));
    }
    for unit in MASKED {
        items.push(Item::Link("/dev/null".into(), format!("{UNIT_DIR}/{unit}")));
    }
    let system = "/usr/lib/systemd/system";
    items.push(Item::Link(
        format!("{system}/multi-user.target"),
        format!("{UNIT_DIR}/default.target"),
    ));
    items.push(Item::Link(
        format!("{system}/getty@.service"),
        format!("{UNIT_DIR}/getty.target.wants/getty@tty2.service"),
    ));
    items.push(Item::Link(SOURCE_MOUNT.into(), "/sysroot".into()));
    items
}

/// The paths that will be written, for `plan`.
pub(crate) fn paths(plan: &BuildPlan) -> Vec<String> {
    let path = |item| match item {
        Item::File(path, ..) | Item::Link(_, path) => path,
    };
    items(plan)
        .into_iter()
        .map(path)
        .chain(["/usr/bin/livemode-run".to_owned()])
        .collect()
}

fn banner(plan: &BuildPlan) -> String {
    let start = if plan.config.autostart_upgrade_after_reboot {
        "The upgrade starts by itself, unless the boot entry says upgrade.autostart=0; then type  upgrade"
    } else {
        "The upgrade waits: log in and type  upgrade  to start it."
    };
    let console = if plan.config.setup_passwordless_root {
        "root logs in on a console without a password."
    } else {
        "root's password is the one of the target container, if it has one."
    };
    let ssh = if plan.config.setup_opensshd_using_auth_keys.is_empty() {
        "sshd does not run."
    } else {
        "ssh takes root's authorized keys, and no password."
    };
    format!(
        "LiveMode upgrade environment. The source system is mounted below {SOURCE_MOUNT}.\n{start}\n{console}\n{ssh}\n\
         Progress: livemode-run status, journalctl -f -u livemode-upgrade\n"
    )
}

/// Writes the live system into the tree.
pub(crate) fn write(plan: &BuildPlan, tree: &ContainerDir) -> Result<()> {
    for item in items(plan) {
        match item {
            Item::File(path, content, mode) => tree.write(path, content, mode)?,
            Item::Link(to, path) => tree.symlink(to, path)?,
        }
    }
    let binary = programs::find_binary("livemode-run")?;
    let content = std::fs::read(&binary).with_context(|| format!("reading {}", binary.display()))?;
    tree.write("/usr/bin/livemode-run", content, 0o755)?;
    set_up_dbus(tree)?;
    disable_services(tree)?;
    if plan.config.setup_network_manager {
        enable(tree, &["NetworkManager.service"])?;
    }
    bring_up_storage(plan, tree)?;
    if !plan.config.setup_opensshd_using_auth_keys.is_empty() {
        // Debian's name is the second.
        let main = "/etc/ssh/sshd_config";
        tree.write(main, crate::plan::sshd::config(&tree.read(main)?), 0o600)?;
        tree.set_mode("/root/.ssh", 0o700)?;
        enable(tree, &["sshd.service", "ssh.service"])?;
    }
    if plan.config.setup_passwordless_root {
        empty_root_password(tree, "/etc/passwd", 0o644)?;
        empty_root_password(tree, "/etc/shadow", 0o600)?;
    }
    Ok(())
}

/// What the packages' own scripts and presets may have enabled in the container: nobody listens, and nothing
/// configures the network, unless an option or the source's storage asks for it.
fn disable_services(tree: &ContainerDir) -> Result<()> {
    const OPTIONAL: [&str; 14] = [
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
    for dir in tree
        .dir_names(UNIT_DIR)?
        .into_iter()
        .filter(|name| name.ends_with(".wants"))
    {
        for unit in OPTIONAL {
            tree.remove_file(format!("{UNIT_DIR}/{dir}/{unit}"))?;
        }
    }
    Ok(())
}

/// The services behind the layers of the source's storage, and the targets that their mounts hang on.
fn bring_up_storage(plan: &BuildPlan, tree: &ContainerDir) -> Result<()> {
    for layer in plan.storage.layers() {
        if !layer.services().is_empty() {
            enable(tree, layer.services())?;
        }
    }
    for target in ["remote-cryptsetup.target", "remote-fs.target"] {
        enable(tree, &[target])?;
    }
    if plan.storage.needs_network() && plan.config.setup_network_manager {
        let unit = "NetworkManager-wait-online.service";
        let wants = format!("{UNIT_DIR}/network-online.target.wants/{unit}");
        tree.symlink(format!("/usr/lib/systemd/system/{unit}"), wants)?;
    }
    Ok(())
}

/// Lets multi-user.target start the first of these units that the container has.
fn enable(tree: &ContainerDir, names: &[&str]) -> Result<()> {
    let unit = |name: &str| format!("/usr/lib/systemd/system/{name}");
    let name = names.iter().find(|name| tree.exists(unit(name)));
    let name =
        name.with_context(|| format!("the container has no {}; install its package there", names[0]))?;
    tree.symlink(unit(name), format!("{UNIT_DIR}/multi-user.target.wants/{name}"))
}

/// dbus-broker brings no dbus.service of its own: it is an alias that a preset would make.
fn set_up_dbus(tree: &ContainerDir) -> Result<()> {
    let unit = |name: &str| Path::new("/usr/lib/systemd/system").join(name);
    let implementations = ["dbus-broker.service", "dbus-daemon.service"];
    let alias = format!("{UNIT_DIR}/dbus.service");
    if !tree.exists(unit("dbus.service")) && !tree.exists(&alias) {
        if let Some(name) = implementations.iter().find(|name| tree.exists(unit(name))) {
            tree.symlink(unit(name), alias)?;
        }
    }
    if tree.exists(unit("dbus.socket")) {
        tree.symlink(
            unit("dbus.socket"),
            format!("{UNIT_DIR}/sockets.target.wants/dbus.socket"),
        )?;
    }
    Ok(())
}

const SHADOW_FIELDS: usize = 9;

/// The second field of root's line becomes empty, as passwd(5) and shadow(5) have it; no line is an error.
fn empty_root_password(tree: &ContainerDir, path: &str, mode: u32) -> Result<()> {
    let text = tree.read(path)?;
    tree.write(
        path,
        without_root_password(&text).with_context(|| format!("{path}: no line for root"))?,
        mode,
    )
}

fn without_root_password(text: &str) -> Option<String> {
    let mut found = false;
    let mut out = String::new();
    for line in text.lines() {
        let mut fields: Vec<&str> = line.split(':').collect();
        if fields[0] == "root" && fields.len() > 1 {
            fields[1] = "";
            // shadow(5): 0 asks for a new password at the first log-in, before which nobody types `upgrade`.
            if fields.len() == SHADOW_FIELDS && fields[2] == "0" {
                fields[2] = "";
            }
            found = true;
        }
        out.push_str(&fields.join(":"));
        out.push('\n');
    }
    found.then_some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_roots_password_becomes_empty() {
        assert_eq!(
            without_root_password("root:*:19000:0:99999:7:::\nbin:!:1::\n").unwrap(),
            "root::19000:0:99999:7:::\nbin:!:1::\n"
        );
        assert_eq!(
            without_root_password("root:!:0:0:99999:7:::\n").unwrap(),
            "root:::0:99999:7:::\n"
        );
        assert_eq!(
            without_root_password("root:x:0:0:root:/root:/bin/bash\n").unwrap(),
            "root::0:0:root:/root:/bin/bash\n"
        );
        assert_eq!(without_root_password("bin:!:1::\n"), None);
    }
}
