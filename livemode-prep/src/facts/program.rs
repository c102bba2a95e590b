//! Our own programs, which travel into the image and the initramfs.
use std::path::PathBuf;

use anyhow::{Context, Result};
use livemode_common::failure::precondition;

/// Where packages put what is not on PATH, seen from the directory that is.
const LIBEXEC: &str = "../libexec/livemode";

/// Beside this program (a build tree), or where packages put it.
///
/// # Errors
/// When it is in neither place.
pub(crate) fn find(name: &str) -> Result<PathBuf> {
    let own = std::env::current_exe().context("finding our own program")?;
    let beside = own.parent().unwrap_or(std::path::Path::new("/"));
    let mut candidates = [beside.to_owned(), beside.join(LIBEXEC)]
        .into_iter()
        .map(|dir| dir.join(name));
    candidates.find(|path| path.is_file()).ok_or_else(|| {
        let dir = beside.display();
        precondition(format!(
            "{name} is neither in {dir} nor in {dir}/{LIBEXEC}; install livemode whole"
        ))
    })
}
