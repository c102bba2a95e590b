//! Packs the image.
use std::path::Path;
use std::time::Duration;

use anyhow::{bail, Context, Result};
use livemode_common::cmd::Cmd;

use super::progress::Progress;
use crate::chroot::Chroot;
use crate::plan::squashfs::{command, Packing, Tool};

/// How often the progress is looked at.
const POLL: Duration = Duration::from_millis(200);

/// Packs the chroot's tree into `output`, a file below its work directory.
pub(crate) fn pack(chroot: &mut Chroot, packing: &Packing, output: &Path, progress: &Progress) -> Result<()> {
    match packing.tool {
        Tool::Host => {
            chroot.close_inside()?;
            run(
                &command(Cmd::new("mksquashfs"), packing, chroot.tree().path(), output),
                progress,
            )
        }
        Tool::Container => {
            // A tmpfs of the chroot, so that the tool does not pack its own output.
            let inside = chroot.tree().path().join("run/livemode-image");
            std::fs::create_dir(&inside).with_context(|| format!("creating {}", inside.display()))?;
            let beside = output.parent().unwrap_or(Path::new("/"));
            chroot.bind(beside, &inside)?;
            let name = output.file_name().unwrap_or_default();
            let there = Path::new("/run/livemode-image").join(name);
            run(
                &command(chroot.cmd("mksquashfs"), packing, Path::new("/"), &there),
                progress,
            )?;
            chroot.close_inside()
        }
    }
}

fn run(command: &Cmd, progress: &Progress) -> Result<()> {
    let (status, said) = command.watch(POLL, |pid| {
        let io = std::fs::read_to_string(format!("/proc/{pid}/io")).unwrap_or_default();
        if let Some(bytes) = read_bytes(&io) {
            progress.at(bytes);
        }
    })?;
    if !status.success() {
        bail!("packing the image: {command}: {status}: {}", said.trim());
    }
    // What it says though it packs on: an attribute that squashfs cannot hold, say.
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
