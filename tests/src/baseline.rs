//! What users have without us: leapp's own call of dracut, with dmsquash-live.
use std::fs;
use std::os::unix::fs::{symlink, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use livemode_common::cmd::Cmd;
use livemode_common::fstab::Entry;

use crate::binaries::workspace;
use crate::cache;
use crate::container::Changed;
use crate::testbed::{self, Suite};

/// upgrade_initramfs_generator of leapp-repository, for LiveMode.
pub const UPSTREAM: [&str; 13] = [
    "--verbose",
    "--compress",
    "xz",
    "--no-hostonly",
    "--no-hostonly-default-device",
    "-o",
    "plymouth dash resume ifcfg earlykdump",
    "--lvmconf",
    "--mdadmconf",
    "--add",
    "livenet",
    "--add",
    "dmsquash-live",
];
/// The dracut module that says when the image's device is there and when the root is mounted.
pub const WATCHER: &str = "benchwatch";

/// The units, links and files with which prepare_live_image makes the container a live system, in the shape of its own.
const LIVE_FILES: [(&str, &str); 5] = [
    (
        "usr/lib/systemd/system/upgrade.service",
        "[Unit]\nAfter=basic.target\n[Service]\nType=oneshot\nExecStart=/usr/bin/upgrade\nKillMode=process\n",
    ),
    (
        "usr/lib/systemd/system/console.service",
        "[Unit]\nAfter=basic.target\n[Service]\nExecStart=/usr/bin/tail -F /sysroot/var/log/leapp/leapp-upgrade.log\n\
         StandardOutput=tty\nTTYPath=/dev/tty1\nRestart=always\nRestartSec=5s\n",
    ),
    (
        "usr/bin/upgrade",
        "#!/bin/bash\nexec systemd-nspawn --capability=all --bind=/dev --bind=/proc --bind=/run/udev --bind=/run/lock \
         --bind=/sys:/hostsys --console=pipe --keep-unit --register=no --timezone=off --resolv-conf=off -D /run/upgrade \
         /usr/bin/bash -c 'mount -a || : ; /usr/bin/leapp upgrade --resume'\n",
    ),
    ("etc/issue", "The upgrade is under way.\n"),
    ("etc/motd", "The upgrade is under way.\n"),
];
/// What its container does not have: packages of this testbed's container that enable themselves.
const NOT_IN_ITS_CONTAINER: [&str; 12] = [
    "dpkg-db-backup.timer",
    "e2scrub_all.timer",
    "e2scrub_reap.service",
    "iscsid.socket",
    "mdadm-shutdown.service",
    "multipathd.service",
    "multipathd.socket",
    "nfs-client.target",
    "open-iscsi.service",
    "rpcbind.service",
    "rpcbind.socket",
    "ssh.service",
];

/// The image that leapp would make of the container for a source whose root has this fstab, with gzip as its mksquashfs does.
///
/// # Errors
/// When it cannot be made.
pub fn image(root: &Entry) -> Result<PathBuf> {
    let container = testbed::container(Suite::Bookworm)?;
    let fstab = format!("{} /run/upgrade {} defaults 0 0\n", root.fs_spec, root.fs_vfstype);
    let (key, files) = (container.display().to_string(), format!("{LIVE_FILES:?}"));
    let dir = cache::entry("baseline-image", &[&key, &fstab, &files], &[], |out| {
        fs::create_dir_all(out)?;
        let changed = Changed::of(&container)?;
        for (path, text) in LIVE_FILES.into_iter().chain([("etc/fstab", fstab.as_str())]) {
            fs::write(changed.at(path), text).with_context(|| format!("writing {path}"))?;
        }
        fs::set_permissions(changed.at("usr/bin/upgrade"), fs::Permissions::from_mode(0o755))?;
        symlink("/run/upgrade", changed.at("sysroot"))?;
        let units = "etc/systemd/system";
        for unit in ["upgrade.service", "console.service"] {
            let link = changed.at(&format!("{units}/multi-user.target.wants/{unit}"));
            symlink(format!("/usr/lib/systemd/system/{unit}"), link)?;
        }
        for target in fs::read_dir(changed.at(units))?.flatten() {
            for unit in NOT_IN_ITS_CONTAINER {
                // Each is in one or two of these directories.
                let _ = fs::remove_file(target.path().join(unit));
            }
        }
        let link = changed.at(&format!("{units}/default.target"));
        symlink("/usr/lib/systemd/system/multi-user.target", link)?;
        Cmd::new("mksquashfs")
            .arg(changed.path())
            .arg(out.join("image"))
            .args(["-quiet", "-no-progress", "-e"])
            .arg(changed.at("var/cache/dnf"))
            .run()
    })?;
    Ok(dir.join("image"))
}

/// Our arguments as upstream's boot entry would have them.
pub fn arguments(ours: &str) -> String {
    ours.replacen("root=livemode:", "rd.live.image root=live:", 1)
}

/// Puts a dracut module into a container.
///
/// # Errors
/// When it cannot be copied.
pub fn add_module(from: &Path, container: &Changed) -> Result<()> {
    let modules = container.at("usr/lib/dracut/modules.d");
    Cmd::new("cp").arg("-r").arg(from).arg(modules).run()
}

/// Puts [`WATCHER`] into a container.
///
/// # Errors
/// When it cannot be copied.
pub fn add_watcher(container: &Changed) -> Result<()> {
    add_module(&workspace().join("tests/bench/95benchwatch"), container)
}

/// The initramfs that leapp would make, with the watcher; packed with zstd, for the emulator's sake.
///
/// # Errors
/// When it cannot be made.
pub fn initramfs() -> Result<PathBuf> {
    let container = testbed::container(Suite::Bookworm)?;
    let text = container.display().to_string();
    let watcher = workspace().join("tests/bench/95benchwatch/watch.sh");
    let dir = cache::entry("baseline", &[&text, &UPSTREAM.join(" ")], &[&watcher], |out| {
        fs::create_dir_all(out)?;
        let changed = Changed::of(&container)?;
        add_watcher(&changed)?;
        let versions = fs::read_dir(changed.at("usr/lib/modules"))?;
        let version = versions
            .flatten()
            .next()
            .context("a container without a kernel")?
            .file_name();
        let output = "var/tmp/baseline";
        let dracut =
            changed
                .inside("dracut")
                .args(UPSTREAM.map(|word| if word == "xz" { "zstd -T0 -9" } else { word }));
        let dracut = dracut.args(["--add", WATCHER, "--kver"]).arg(version);
        dracut.arg("-f").arg(format!("/{output}")).run()?;
        fs::copy(changed.at(output), out.join("initramfs")).context("copying the initramfs")?;
        Ok(())
    })?;
    Ok(dir.join("initramfs"))
}
