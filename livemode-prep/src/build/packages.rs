//! Getting packages into the container with its own dnf.
use anyhow::{bail, Result};
use livemode_common::failure::precondition;

use crate::chroot::Chroot;
use crate::plan::packages;

/// Installs packages into the chroot's overlay.
///
/// # Errors
/// When dnf cannot; packages that nobody has are named (exit code 4).
pub(crate) fn install(chroot: &Chroot, missing: &[String]) -> Result<()> {
    if missing.is_empty() {
        return Ok(());
    }
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
