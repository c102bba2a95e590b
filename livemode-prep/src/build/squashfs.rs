//! Packs the image.
use std::path::Path;

use anyhow::{Context, Result};
use livemode_common::cmd::Cmd;

use super::progress::Progress;
use super::together::Together;
use crate::chroot::Chroot;
use crate::plan::squashfs::{command, Packing, Tool};

/// Packs the chroot's tree into `output`, a file in the directory of its overlays.
pub(crate) fn pack(
    chroot: &mut Chroot,
    packing: &Packing,
    output: &Path,
    together: &Together,
    progress: &Progress,
) -> Result<()> {
    match packing.tool {
        Tool::Host => {
            chroot.close_inside()?;
            let call = command(Cmd::new("mksquashfs"), packing, chroot.tree().path(), output);
            run(&call, together, progress)
        }
        Tool::Container => {
            // A tmpfs of the chroot, so that the tool does not pack its own output.
            let inside = chroot.tree().path().join("run/livemode-image");
            std::fs::create_dir(&inside).with_context(|| format!("creating {}", inside.display()))?;
            let beside = output.parent().unwrap_or(Path::new("/"));
            chroot.bind(beside, &inside)?;
            let name = output.file_name().unwrap_or_default();
            let there = Path::new("/run/livemode-image").join(name);
            let call = command(chroot.cmd("mksquashfs"), packing, Path::new("/"), &there);
            run(&call, together, progress)?;
            chroot.close_inside()
        }
    }
}

fn run(command: &Cmd, together: &Together, progress: &Progress) -> Result<()> {
    let said = together.run(command, |pid| {
        let io = std::fs::read_to_string(format!("/proc/{pid}/io")).unwrap_or_default();
        if let Some(bytes) = read_bytes(&io) {
            progress.at(bytes);
        }
    });
    // What it says though it packs on: an attribute that squashfs cannot hold, say.
    let said = said.context("packing the image")?;
    let lines = said.lines().map(str::trim).filter(|line| !line.is_empty());
    lines.for_each(|line| eprintln!("mksquashfs: {line}"));
    Ok(())
}

/// What a process has read so far (proc_pid_io(5)).
fn read_bytes(io: &str) -> Option<u64> {
    io.lines()
        .find_map(|line| line.strip_prefix("rchar: "))
        .and_then(|number| number.parse().ok())
}
