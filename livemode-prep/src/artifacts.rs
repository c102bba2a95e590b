//! Our own programs, which travel into the image and the initramfs.
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use livemode_common::failure::precondition;

/// Where packages put what is not on PATH.
const LIBEXEC: &str = "/usr/libexec/livemode";

/// Beside this program (a build tree), or where packages put it.
pub(crate) fn find_binary(name: &str) -> Result<PathBuf> {
    let own = std::env::current_exe().context("finding our own program")?;
    let beside = own.parent().unwrap_or(Path::new("/"));
    let mut candidates = [beside, Path::new(LIBEXEC)].into_iter().map(|dir| dir.join(name));
    candidates.find(|path| path.is_file()).ok_or_else(|| {
        precondition(format!(
            "{name} is neither in {} nor in {LIBEXEC}",
            beside.display()
        ))
    })
}
