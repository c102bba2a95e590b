//! The squashfs image: which mksquashfs, which compressor, and packing.
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{bail, Context, Result};
use livemode_common::cmd::Cmd;
use livemode_common::failure::precondition;

use crate::build::progress::Progress;
use crate::chroot::Chroot;
use crate::facts::userspace::{KernelConfig, Userspace, LEFT_OUT};

/// In order of preference: name, what the kernel must have, arguments. zstd at 3 with 1 MiB blocks packs as well as
/// gzip at 9 for a thirtieth of the time.
const COMPRESSORS: [(&str, &str, &[&str]); 4] = [
    (
        "zstd",
        "CONFIG_SQUASHFS_ZSTD",
        &["-Xcompression-level", "3", "-b", "1M"],
    ),
    ("lz4", "CONFIG_SQUASHFS_LZ4", &["-Xhc", "-b", "1M"]),
    ("gzip", "CONFIG_SQUASHFS_ZLIB", &["-Xcompression-level", "6"]),
    ("xz", "CONFIG_SQUASHFS_XZ", &[]),
];
const POLL: Duration = Duration::from_millis(200);

/// Whose mksquashfs packs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Tool {
    Host,
    Container,
}

/// What was chosen.
#[derive(Debug, Clone, serde::Serialize)]
pub(crate) struct Packing {
    pub(crate) tool: Tool,
    pub(crate) compressor: &'static str,
    pub(crate) arguments: &'static [&'static str],
}

/// The best compressor that a tool and the target's kernel both know; the host's tool where both tools know it.
pub(crate) fn choose(host: &[String], container: &[String], kernel: &KernelConfig) -> Result<Packing> {
    if host.is_empty() && container.is_empty() {
        return Err(precondition(
            "mksquashfs is missing here and in the container; install squashfs-tools",
        ));
    }
    for (compressor, option, arguments) in COMPRESSORS {
        // A kernel that does not tell: every distribution's has zlib.
        let bootable = if kernel.is_known() {
            kernel.has(option)
        } else {
            compressor == "gzip"
        };
        let knows = |tool: &[String]| tool.iter().any(|c| c == compressor);
        let tool = match (knows(host), knows(container)) {
            (true, _) => Tool::Host,
            (_, true) => Tool::Container,
            _ => continue,
        };
        if bootable {
            return Ok(Packing {
                tool,
                compressor,
                arguments,
            });
        }
    }
    Err(precondition(
        "the target's kernel and mksquashfs have no squashfs compressor in common",
    ))
}

/// The compressors of this system's mksquashfs; none when it is not there.
pub(crate) fn known_here() -> Vec<String> {
    Cmd::new("mksquashfs")
        .arg("-help")
        .output()
        .map_or(Vec::new(), |(_, out, err)| known(&format!("{out}\n{err}")))
}

/// The compressors of the container's mksquashfs.
pub(crate) fn known_in(userspace: &Userspace) -> Result<Vec<String>> {
    if !userspace.has_mksquashfs {
        return Ok(Vec::new());
    }
    let chroot = Chroot::in_ram(&userspace.dir)?;
    let (_, out, err) = chroot.cmd("mksquashfs").arg("-help").output()?;
    Ok(known(&format!("{out}\n{err}")))
}

fn known(help: &str) -> Vec<String> {
    let first_words = help.lines().filter_map(|line| line.split_whitespace().next());
    first_words
        .filter(|w| COMPRESSORS.iter().any(|(name, ..)| name == w))
        .map(str::to_owned)
        .collect()
}

/// The call of mksquashfs that packs `tree` into `output`.
pub(crate) fn command(program: Cmd, packing: &Packing, tree: &Path, output: &Path) -> Cmd {
    program
        .arg(tree)
        .arg(output)
        .args(["-noappend", "-no-progress", "-quiet", "-comp", packing.compressor])
        .args(packing.arguments)
        .args(["-wildcards", "-e"])
        .args(LEFT_OUT)
}

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
    let mut child = command.spawn(|c| {
        c.stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
    })?;
    let read_bytes = format!("/proc/{}/io", child.id());
    let status = loop {
        if let Some(status) = child
            .try_wait()
            .with_context(|| format!("waiting for {command}"))?
        {
            break status;
        }
        let io = std::fs::read_to_string(&read_bytes).unwrap_or_default();
        if let Some(bytes) = io
            .lines()
            .find_map(|l| l.strip_prefix("rchar: "))
            .and_then(|n| n.parse().ok())
        {
            progress.at(bytes);
        }
        std::thread::sleep(POLL);
    };
    if status.success() {
        return Ok(());
    }
    let mut said = String::new();
    if let Some(mut stderr) = child.stderr.take() {
        std::io::Read::read_to_string(&mut stderr, &mut said).context("reading mksquashfs's errors")?;
    }
    bail!("packing the image: {command}: {status}: {}", said.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(list: &[&str]) -> Vec<String> {
        list.iter().map(|w| (*w).to_owned()).collect()
    }

    #[test]
    fn the_compressor_is_one_that_tool_and_kernel_know() {
        let kernel = |lines: &str| KernelConfig::from_text(lines);
        let both = kernel("CONFIG_SQUASHFS_ZLIB=y\nCONFIG_SQUASHFS_ZSTD=y\n");
        let zlib = kernel("CONFIG_SQUASHFS_ZLIB=y\n# CONFIG_SQUASHFS_ZSTD is not set\n");
        let (new, old) = (words(&["gzip", "zstd"]), words(&["gzip"]));
        let chosen = |host: &[String], container: &[String], config: &KernelConfig| {
            choose(host, container, config)
                .map(|p| (p.tool, p.compressor))
                .map_err(|e| e.to_string())
        };
        assert_eq!(chosen(&new, &new, &both), Ok((Tool::Host, "zstd")));
        assert_eq!(chosen(&old, &new, &both), Ok((Tool::Container, "zstd")));
        assert_eq!(chosen(&new, &new, &zlib), Ok((Tool::Host, "gzip")));
        assert_eq!(
            chosen(&new, &[], &KernelConfig::default()),
            Ok((Tool::Host, "gzip"))
        );
        assert!(chosen(&[], &[], &both)
            .unwrap_err()
            .starts_with("mksquashfs is missing"));
        assert!(chosen(&new, &new, &kernel("CONFIG_X=y\n"))
            .unwrap_err()
            .contains("no squashfs compressor"));
    }
}
