//! A kernel with a tiny initramfs, which says its command line and reboots: whichever boot entry has them tells that it has
//! booted, within seconds.
use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};
use livemode_common::cmd::Cmd;

use super::unpacked;
use crate::cache;
use crate::testbed;

/// What stands before and after the kernel's command line on the console.
pub const BEGIN: &str = "tiny: begin ";
pub const END: &str = " tiny: end";

/// The kernel opens the console that the command line names: here it may name none, or be cut off.
const INIT: &str = r#"#!/busybox sh
/busybox mkdir /proc /dev
/busybox mount -t proc proc /proc
/busybox mount -t devtmpfs dev /dev
echo "tiny: begin $(/busybox cat /proc/cmdline) tiny: end" >/dev/ttyS0
/busybox reboot -f
"#;

/// The two files.
#[derive(Debug)]
pub struct Tiny {
    pub kernel: PathBuf,
    pub initramfs: PathBuf,
}

impl Tiny {
    /// The kernel is the source system's.
    ///
    /// # Errors
    /// When something is absent and cannot be made.
    pub fn new() -> Result<Self> {
        let busybox = unpacked("bookworm", "busybox-static")?.join("bin/busybox");
        let key = busybox.display().to_string();
        let dir = cache::entry("tiny", &[&key, INIT], &[], |out| {
            let content = out.join("content");
            fs::create_dir_all(&content)?;
            fs::copy(&busybox, content.join("busybox")).context("copying busybox")?;
            fs::write(content.join("init"), INIT)?;
            let pack = r#"cd "$0" && chmod 755 init && find . | ./busybox cpio -o -H newc >../initramfs"#;
            Cmd::new("sh").args(["-c", pack]).arg(&content).run()
        })?;
        Ok(Self {
            kernel: testbed::source_kernel(&testbed::source()?)?,
            initramfs: dir.join("initramfs"),
        })
    }
}
