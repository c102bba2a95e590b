//! What stands against an upgrade on this machine, whatever the container will hold.
use std::path::Path;

use livemode_common::cmd::Cmd;
use livemode_common::config::Config;

use crate::facts::source::Facts;
use crate::plan::storage::{Setting, Storage};

/// Every precondition that is not met.
pub(crate) fn faults(config: &Config, facts: &Facts) -> Vec<String> {
    let mut faults = Vec::new();
    let Facts {
        image_device: device,
        image_dir,
        boot,
        ..
    } = facts;
    let image = &config.squashfs_image_path;
    if facts.fips {
        faults.push("the source system is in FIPS mode, which this version does not support".to_owned());
    }
    match device.fstype.as_str() {
            "tmpfs" | "ramfs" | "overlay" => faults.push(format!(
                "squashfs_image_path: {image} lies on a {}, which the reboot does not survive or cannot find again; \
                 choose a path on a disk",
                device.fstype
            )),
            _ if device.uuid.is_none() => faults.push(format!(
                "squashfs_image_path: {image} lies on {} ({}), which has no UUID to find it by; choose another path",
                device.source, device.fstype
            )),
            "xfs" if !xfs_has_ftype(&image_dir.existing) => faults.push(format!(
                "squashfs_image_path: {image} lies on an xfs without ftype, on which no overlay can be made; choose \
                 another path (xfs_info {} says ftype=0)",
                image_dir.existing.display()
            )),
            _ => {}
        }
    for (place, what) in [(image_dir, "the image's directory"), (boot, "/boot")] {
        if place.read_only {
            faults.push(format!(
                "{what} {} is mounted read-only; remount it rw",
                place.existing.display()
            ));
        }
    }
    if !facts.fstab.iter().any(|entry| entry.fs_file == "/") {
        faults.push("/etc/fstab has no entry for /, so the live system could not mount the source".into());
    }
    faults
}

/// What the source's mounts stand on, and what can be mounted: `knows` says of a type of file system whether the target's
/// kernel has it.
pub(crate) fn storage(config: &Config, facts: &Facts, knows: &dyn Fn(&str) -> bool) -> Storage {
    let has_network = config.setup_network_manager
        || !config.dracut_network.trim().is_empty()
        || facts.arguments.last("ip").is_some();
    let setting = Setting {
        image_source: &facts.image_device.source,
        image_uuid: facts.image_device.uuid.as_deref(),
        has_network,
        arguments: &facts.arguments,
        knows,
    };
    Storage::model(&facts.fstab, &facts.storage, &setting)
}

/// What an admin should know of the configuration, though nothing stands against it.
pub(crate) fn warnings(config: &Config) -> Vec<String> {
    let mut warnings = Vec::new();
    let (sshd, network_manager) = (
        !config.setup_opensshd_using_auth_keys.is_empty(),
        config.setup_network_manager,
    );
    if !config.url_to_load_squashfs_image_from.is_empty() && (sshd || network_manager) {
        warnings.push(
            "the image holds private keys (host keys of sshd, network profiles), and the web server of \
                 url_to_load_squashfs_image_from will serve them to whoever asks"
                .into(),
        );
    }
    if sshd && !network_manager && config.dracut_network.trim().is_empty() {
        warnings.push(
                "setup_opensshd_using_auth_keys without setup_network_manager or dracut_network: nothing brings the \
                 network up for sshd"
                    .into(),
            );
    }
    warnings
}

/// overlayfs needs d_type in directory entries, which an old xfs may not have (xfs(5), `ftype`).
fn xfs_has_ftype(dir: &Path) -> bool {
    Cmd::new("xfs_info")
        .arg(dir)
        .read()
        .map_or(true, |info| !info.contains("ftype=0"))
}
