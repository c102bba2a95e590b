//! The squashfs image: whose mksquashfs packs it, and how. Pure.
use std::path::Path;

use livemode_common::cmd::Cmd;

use crate::facts::tools::Mksquashfs;
use crate::facts::userspace::{KernelConfig, LEFT_OUT};

/// In order of preference: name, what the kernel must have, arguments. zstd at 2 with 256 KiB blocks packs better
/// than gzip at 9 for a thirtieth of the time. At 3 it takes two fifths more for four parts less in a hundred; with blocks of
/// 1 MiB the image has two parts less in a hundred, and the live system takes a ninth more to start: it unpacks whole blocks.
const COMPRESSORS: [(&str, &str, &[&str]); 4] = [
    (
        "zstd",
        "CONFIG_SQUASHFS_ZSTD",
        &["-Xcompression-level", "2", "-b", "256K"],
    ),
    ("lz4", "CONFIG_SQUASHFS_LZ4", &["-Xhc", "-b", "1M"]),
    ("gzip", "CONFIG_SQUASHFS_ZLIB", &["-Xcompression-level", "6"]),
    ("xz", "CONFIG_SQUASHFS_XZ", &[]),
];

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
    pub(crate) arguments: Vec<String>,
}

/// The best compressor that a tool and the target's kernel both know; the host's tool where both tools know it.
pub(crate) fn choose(
    host: &Mksquashfs,
    container: &Mksquashfs,
    kernel: &KernelConfig,
) -> Result<Packing, String> {
    if host.compressors.is_empty() && container.compressors.is_empty() {
        return Err("mksquashfs is missing here and in the container; install squashfs-tools".to_owned());
    }
    for (compressor, option, arguments) in COMPRESSORS {
        // A kernel that does not tell: every distribution's has zlib.
        let bootable = if kernel.is_known() {
            kernel.has(option)
        } else {
            compressor == "gzip"
        };
        let knows = |tool: &Mksquashfs| tool.compressors.iter().any(|c| c == compressor);
        let (tool, program) = match (knows(host), knows(container)) {
            (true, _) => (Tool::Host, host),
            (_, true) => (Tool::Container, container),
            _ => continue,
        };
        if bootable {
            return Ok(Packing {
                tool,
                compressor,
                arguments: program
                    .options
                    .iter()
                    .cloned()
                    .chain(arguments.iter().map(|&word| word.to_owned()))
                    .collect(),
            });
        }
    }
    Err("the target's kernel and mksquashfs have no squashfs compressor in common".to_owned())
}

/// The call of mksquashfs that packs `tree` into `output`.
pub(crate) fn command(program: Cmd, packing: &Packing, tree: &Path, output: &Path) -> Cmd {
    program
        .arg(tree)
        .arg(output)
        .args(["-noappend", "-no-progress", "-comp", packing.compressor])
        .args(&packing.arguments)
        .args(["-wildcards", "-e"])
        .args(LEFT_OUT)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn knowing(compressors: &[&str]) -> Mksquashfs {
        Mksquashfs {
            compressors: compressors.iter().map(|&name| name.to_owned()).collect(),
            options: vec!["-exit-on-error".into()],
            ..Mksquashfs::default()
        }
    }

    #[test]
    fn the_compressor_is_one_that_tool_and_kernel_know() {
        let kernel = |lines: &str| KernelConfig::parse(lines);
        let both = kernel("CONFIG_SQUASHFS_ZLIB=y\nCONFIG_SQUASHFS_ZSTD=y\n");
        let zlib = kernel("CONFIG_SQUASHFS_ZLIB=y\n# CONFIG_SQUASHFS_ZSTD is not set\n");
        let (new, old, none) = (knowing(&["gzip", "zstd"]), knowing(&["gzip"]), knowing(&[]));
        let chosen = |host: &Mksquashfs, container: &Mksquashfs, config: &KernelConfig| {
            choose(host, container, config).map(|p| (p.tool, p.compressor))
        };
        assert_eq!(chosen(&new, &new, &both), Ok((Tool::Host, "zstd")));
        assert_eq!(chosen(&old, &new, &both), Ok((Tool::Container, "zstd")));
        assert_eq!(chosen(&new, &new, &zlib), Ok((Tool::Host, "gzip")));
        assert_eq!(chosen(&none, &old, &zlib), Ok((Tool::Container, "gzip")));
        assert_eq!(
            chosen(&new, &none, &KernelConfig::default()),
            Ok((Tool::Host, "gzip")),
            "a kernel that does not tell"
        );
        let refused = |host, container, config| choose(host, container, config).map(drop).unwrap_err();
        assert!(refused(&none, &none, &both).starts_with("mksquashfs is missing"));
        assert!(refused(&new, &new, &kernel("CONFIG_X=y\n")).contains("no squashfs compressor"));
    }

    #[test]
    fn an_image_is_packed_anew_and_an_unreadable_file_fails_it() {
        let packing = choose(
            &knowing(&["zstd"]),
            &Mksquashfs::default(),
            &KernelConfig::parse("CONFIG_SQUASHFS_ZSTD=y\n"),
        );
        let call = command(
            Cmd::new("mksquashfs"),
            &packing.unwrap(),
            Path::new("/tree"),
            Path::new("/out"),
        );
        let call = call.to_string();
        assert!(
            call.starts_with(
                "mksquashfs /tree /out -noappend -no-progress -comp zstd -exit-on-error -Xcompression-level 2 -b 256K \
                 -wildcards -e 'boot/*' "
            ),
            "{call}"
        );
    }
}
