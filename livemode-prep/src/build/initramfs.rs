//! Makes the initramfs with the container's dracut, and looks into one that is there.
use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context, Result};

use super::items;
use super::together::Together;
use crate::chroot::Chroot;
use crate::facts::leapp::Requested;
use crate::facts::tools::ASKING;
use crate::plan::build_plan::{BuildPlan, Target};
use crate::plan::initramfs::{lsinitrd, MODULE_NAME};
use crate::plan::initramfs_contents::Contents;

/// Makes it in the container.
///
/// # Errors
/// When dracut fails.
pub(crate) fn make(plan: &BuildPlan, target: &Target, chroot: &Chroot, together: &Together) -> Result<()> {
    items::write(&plan.initramfs_items(), &plan.root, &chroot.tree())?;
    let dracut = plan.dracut(chroot.cmd("dracut"), target);
    let said = together.run(&dracut, |_| ());
    said.map(drop).context("making the initramfs")
}

/// What of our module and of what was requested is not in this initramfs.
pub(crate) fn missing(
    chroot: &mut Chroot,
    initramfs: &Path,
    requested: &Requested,
    available: &BTreeSet<String>,
) -> Result<Vec<String>> {
    let inside = Path::new("/run/livemode-boot");
    let shown = chroot.tree().create_dir(inside)?;
    chroot.bind(initramfs.parent().unwrap_or(Path::new("/")), &shown)?;
    let path = inside.join(initramfs.file_name().unwrap_or_default());
    let listing = lsinitrd(chroot.cmd("lsinitrd"), &path)
        .limit(ASKING)
        .read()
        .with_context(|| format!("looking into {}", initramfs.display()))?;
    let mut requested = requested.clone();
    requested.dracut_modules.push(MODULE_NAME.to_owned());
    requested.dracut_modules.sort();
    requested.dracut_modules.dedup();
    Ok(Contents::parse(&listing).missing(&requested, available))
}
