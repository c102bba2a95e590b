//! A kernel of a few bytes, which says its command line and resets the machine: whichever boot entry has it tells that it has
//! booted, and a boot takes hardly more than GRUB does.
use std::fs;
use std::path::PathBuf;

use anyhow::Result;
use livemode_common::cmd::Cmd;

use crate::binaries::workspace;
use crate::cache;

/// What stands before and after the kernel's command line on the console. Without an initramfs, that is said after the line.
pub const BEGIN: &str = "tiny: begin ";
pub const END: &str = " tiny: end";

/// The kernel's file.
///
/// # Errors
/// When it is absent and cannot be made.
pub fn kernel() -> Result<PathBuf> {
    let source = workspace().join("tests/testbed/tiny.S");
    let dir = cache::entry("tiny", &[], &[&source], |out| {
        fs::create_dir_all(out)?;
        let (object, kernel) = (out.join("tiny.o"), out.join("kernel"));
        Cmd::new("as")
            .args(["--32", "-o"])
            .arg(&object)
            .arg(&source)
            .run()?;
        // The file as it lies there, from its first byte.
        Cmd::new("ld")
            .args([
                "-m",
                "elf_i386",
                "--oformat",
                "binary",
                "-Ttext",
                "0",
                "-e",
                "0",
                "-o",
            ])
            .arg(&kernel)
            .arg(&object)
            .run()
    })?;
    Ok(dir.join("kernel"))
}
