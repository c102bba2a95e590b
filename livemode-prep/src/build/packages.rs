//! Getting packages into the container with its own dnf.
use std::path::PathBuf;

use anyhow::{bail, Result};
use livemode_common::failure::precondition;

use crate::chroot::{self, Chroot};
use crate::plan::build_plan::{BuildPlan, Target};
use crate::plan::packages;
use crate::plan::paths::Overlay;

/// The layers that the build stands on, the uppermost first: the container, and over it what was missing.
///
/// # Errors
/// When dnf cannot install it; packages that nobody has are named (exit code 4).
pub(crate) fn layers(plan: &BuildPlan, target: &Target) -> Result<Vec<PathBuf>> {
    let mut layers = vec![target.dir.clone()];
    if !plan.missing_packages.is_empty() {
        let work = plan.paths.overlay(Overlay::Packages);
        install(&Chroot::on_disk(&layers, &work)?, &plan.missing_packages)?;
        layers.insert(0, chroot::changes(&work));
    }
    Ok(layers)
}

fn install(chroot: &Chroot, missing: &[String]) -> Result<()> {
    let dnf = packages::install(chroot.cmd("dnf"), missing);
    let (status, stdout, stderr) = dnf.output()?;
    if status.success() {
        return Ok(());
    }
    let said = format!("{stdout}\n{stderr}");
    let unknown: Vec<&str> = said
        .lines()
        .filter_map(|l| l.trim().strip_prefix("No match for argument: "))
        .map(str::trim)
        .collect();
    if !unknown.is_empty() {
        return Err(precondition(format!(
            "the container's repositories do not have: {}; enable a repository that does, or take it off \
             additional_packages",
            unknown.join(", ")
        )));
    }
    let tail: Vec<&str> = said.lines().map(str::trim).filter(|l| !l.is_empty()).collect();
    bail!(
        "installing {}: {dnf}: {status}: {}",
        missing.join(", "),
        tail[tail.len().saturating_sub(5)..].join("; ")
    )
}
