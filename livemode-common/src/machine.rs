//! What machine this is.
use anyhow::{Context, Result};

/// Its architecture as uname(2) gives it: `x86_64`, `aarch64`.
///
/// # Errors
/// When the kernel does not tell.
pub fn arch() -> Result<String> {
    let name = nix::sys::utsname::uname().context("asking the kernel what machine this is")?;
    Ok(name.machine().to_string_lossy().into_owned())
}
