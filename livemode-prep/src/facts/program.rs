//! Our own programs, which travel into the image and the initramfs.
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use anyhow::{Context, Result};
use livemode_common::failure::precondition;

/// Where packages put what is not on PATH, seen from the directory that is.
const LIBEXEC: &str = "../libexec/livemode";

/// This program's file, as /proc/self/exe names it at the first question. That must come before this process gets a mount namespace
/// of its own: afterwards the link can lead to a path outside of the process's root, as was seen in a chroot of a mounted disk.
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
