//! What stands against an upgrade of this machine, and what an admin should know of it: one list for every command. Pure.
use livemode_common::cmdline::Cmdline;
use livemode_common::config::Config;
use livemode_common::sysroot::SysRoot;

use super::findings::Findings;
use super::mounts::unmounted;
use super::storage::{Setting, Storage};
use crate::args::EntryKeeper;
use crate::facts::actors::Found;
use crate::facts::source::Source;
use crate::facts::userspace::Userspace;
use crate::facts::Facts;

/// What can be said of the source, the configuration and this machine's programs, whatever the container will hold.
pub(crate) fn of_source(facts: &Facts, findings: &mut Findings) {
    for warning in &facts.config_warnings {
        findings.warn(warning);
    }
    of_configuration(&facts.config, findings);
    let Facts { source, config, .. } = facts;
    if source.fips {
        findings.refuse("the source system is in FIPS mode, which this version does not support");
    }
    of_image_file_system(&config.squashfs_image_path, source, findings);
    let places = [
        (&source.image_dir, "the image's directory"),
        (&source.boot, "/boot"),
        (&source.state_dir, "the directory of our records"),
    ];
    for (place, what) in places {
        if place.read_only && !findings.refusals.iter().any(|said| said.contains("read-only")) {
            findings.refuse(format!(
                "{what} {} is mounted read-only; remount it rw",
                place.existing.display()
            ));
        }
    }
    match &source.fstab {
        Err(why) => findings.refuse(why),
        Ok(fstab) if !fstab.iter().any(|entry| entry.fs_file == "/") => {
            findings.refuse("/etc/fstab has no entry for /, so the live system could not mount the source");
        }
        Ok(_) => {}
    }
    not_mounted(facts, findings);
    if facts.actors == Found::Both {
        findings.refuse(facts.actors.describe());
    }
    for why in facts.tools.own.values().filter_map(|found| found.as_ref().err()) {
        findings.refuse(why);
    }
}

/// What leapp's own way to boot the upgrade's entry stands against.
pub(super) fn of_leapp(facts: &Facts, keeper: EntryKeeper, findings: &mut Findings) {
    // modify_our_grubenv_to_have_separate_blsdir in addupgradebootentry.py of leapp-repository: there the firmware boots
    // leapp's own loader next, whose menu has leapp's entry alone.
    if keeper == EntryKeeper::Leapp && facts.source.arch == "aarch64" {
        findings.refuse(
            "this machine is aarch64, where leapp makes the firmware boot a loader and a menu of its own next, which have no \
             entry of LiveMode's: an upgrade with leapp's actors is not possible there; without the flag, leapp upgrades it \
             in its own way",
        );
    }
}

fn of_image_file_system(image: &str, source: &Source, findings: &mut Findings) {
    let device = &source.image_device;
    match device.fstype.as_str() {
        "tmpfs" | "ramfs" | "overlay" => findings.refuse(format!(
            "squashfs_image_path: {image} lies on {} {}, which the reboot does not survive or cannot find again; choose a \
             path on a disk",
            if device.fstype == "overlay" { "an" } else { "a" },
            device.fstype
        )),
        _ if device.uuid.is_none() => findings.refuse(format!(
            "squashfs_image_path: {image} lies on {} ({}), which has no UUID to find it by; choose another path",
            device.source, device.fstype
        )),
        "xfs" if !device.xfs_has_ftype => findings.refuse(format!(
            "squashfs_image_path: {image} lies on an xfs without ftype, on which no overlay can be made; choose another path \
             (xfs_info {} says ftype=0)",
            source.image_dir.existing.display()
        )),
        _ => {}
    }
}

/// Where GRUB's environment block lies.
fn block_source(facts: &Facts) -> Option<&str> {
    let grub = facts.loader.as_ref()?.grub.as_ref()?;
    Some(&grub.env_device.source)
}

/// What is written beneath a mount that is missing now would be hidden by it after the reboot.
fn not_mounted(facts: &Facts, findings: &mut Findings) {
    let source = &facts.source;
    let root = SysRoot::new(&facts.root);
    let places = [&source.boot, &source.image_dir, &source.state_dir].map(|place| root.inside(&place.path));
    for target in unmounted(
        source.fstab.as_deref().unwrap_or_default(),
        &source.mounts,
        &places,
    ) {
        findings.refuse(format!(
            "{target} is in /etc/fstab but not mounted: what is written there would lie beneath it after the reboot; first: \
             mount {target}"
        ));
    }
}

/// What makes a container unfit.
pub(crate) fn of_container(userspace: &Userspace, findings: &mut Findings) {
    let shown = userspace.dir.display();
    if !userspace.is_directory {
        findings.refuse(format!("{shown}: no target-system container there"));
        return;
    }
    if let Some(name) = userspace.no_directories.first() {
        findings.refuse(format!(
            "{shown}: {name} is no directory, so this is no container"
        ));
        return;
    }
    for (tool, why) in [
        ("dracut", "makes the initramfs"),
        ("rpm", "says which packages are there"),
    ] {
        if !userspace.has(tool) {
            findings.refuse(format!("{shown}: {tool} is missing; it {why}; install it there"));
        }
    }
    match userspace.kernels.as_slice() {
        [_] => {}
        [] => findings.refuse(format!(
            "{shown}: no kernel in /lib/modules; install kernel-core there"
        )),
        several => {
            let versions: Vec<&str> = several.iter().map(|kernel| kernel.version.as_str()).collect();
            findings.refuse(format!(
                "{shown}: {} kernels ({}); which to boot is not clear, remove all but one",
                several.len(),
                versions.join(", ")
            ));
        }
    }
}

/// What the source's mounts stand on, and what can be mounted: `knows` says of a type of file system whether the target's
/// kernel has it.
pub(crate) fn storage(facts: &Facts, knows: &dyn Fn(&str) -> bool, all_early: bool) -> Storage {
    let (config, source) = (&facts.config, &facts.source);
    let has_network = config.setup_network_manager
        || !config.dracut_network.trim().is_empty()
        || source.arguments.last("ip").is_some();
    let network = Cmdline::parse(&config.dracut_network);
    let root = SysRoot::new(&facts.root);
    let places = [&source.boot, &source.image_dir, &source.state_dir].map(|place| root.inside(&place.path));
    let setting = Setting {
        mounts: &source.mounts,
        all_early,
        places: &places,
        has_netroot: [&source.arguments, &network]
            .iter()
            .any(|line| line.last("netroot").is_some()),
        image_source: &source.image_device.source,
        image_uuid: source.image_device.uuid.as_deref(),
        records_source: &source.state_device.source,
        records_uuid: source.state_device.uuid.as_deref(),
        block_source: block_source(facts),
        has_network,
        arguments: &source.arguments,
        knows,
    };
    let fstab = source.fstab.as_deref().unwrap_or_default();
    Storage::model(fstab, &facts.storage, &setting)
}

/// What an admin should know of the configuration, though nothing stands against it.
fn of_configuration(config: &Config, findings: &mut Findings) {
    let (sshd, network_manager) = (
        !config.setup_opensshd_using_auth_keys.is_empty(),
        config.setup_network_manager,
    );
    if !config.url_to_load_squashfs_image_from.is_empty() && (sshd || network_manager) {
        findings.warn(
            "the image holds private keys (host keys of sshd, network profiles), and the web server of \
                 url_to_load_squashfs_image_from will serve them to whoever asks",
        );
    }
    if sshd && !network_manager && config.dracut_network.trim().is_empty() {
        findings.warn(
                "setup_opensshd_using_auth_keys without setup_network_manager or dracut_network: nothing brings the \
                 network up for sshd",
            );
    }
}
