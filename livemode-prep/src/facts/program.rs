//! Our own programs, which travel into the image and the initramfs.
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use anyhow::{Context, Result};
use livemode_common::failure::precondition;

/// Where packages put what is not on PATH, seen from the directory that is.
const LIBEXEC: &str = "../libexec/livemode";

/// This program's file as it was called at the first question. Later this process has a mount namespace of its own, and there a
/// file that was opened before has the name that the first root of all gives it (path_resolution(7)): another one in a chroot.
static OWN: OnceLock<PathBuf> = OnceLock::new();

/// Beside this program (a build tree), or where packages put it.
///
/// # Errors
/// When it is in neither place.
pub(crate) fn find(name: &str) -> Result<PathBuf> {
    let now = std::env::current_exe().context("finding our own program")?;
    let beside = OWN.get_or_init(|| now).parent().unwrap_or(Path::new("/"));
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
