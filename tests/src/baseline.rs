//! What users have without us: leapp's own call of dracut, with dmsquash-live.
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use livemode_common::cmd::Cmd;

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
