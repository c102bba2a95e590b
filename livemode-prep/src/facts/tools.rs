//! Programs of this machine that a build calls.
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use livemode_common::cmd::Cmd;
use serde::{Deserialize, Serialize};

use super::program;

/// What travels into the initramfs and the image.
pub(crate) const OWN_PROGRAMS: [&str; 2] = ["livemode-boot", "livemode-run"];
/// A program that only says what it knows needs no longer than this.
pub(crate) const ASKING: Duration = Duration::from_secs(60);

/// What is here.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Tools {
    pub(crate) mksquashfs: Mksquashfs,
    /// Our own programs by name, or why one was not found.
    pub(crate) own: BTreeMap<String, Result<PathBuf, String>>,
}

/// What a mksquashfs(1) knows; nothing where it is missing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Mksquashfs {
    pub(crate) version: Option<String>,
    pub(crate) compressors: Vec<String>,
    /// Of [`OPTIONS`], those in its help: el8's 4.3 has no `-quiet`.
    pub(crate) options: Vec<String>,
}

/// Options that are used where they are known.
const OPTIONS: [&str; 2] = ["-exit-on-error", "-quiet"];

impl Tools {
    pub(crate) fn look() -> Self {
        Self {
            mksquashfs: Mksquashfs::look(&Cmd::new("mksquashfs")),
            own: OWN_PROGRAMS
                .map(|name| (name.to_owned(), program::find(name).map_err(|e| e.to_string())))
                .into(),
        }
    }
}

impl Mksquashfs {
    /// Asks the one that this command starts.
    pub(crate) fn look(mksquashfs: &Cmd) -> Self {
        let said = |argument: &str| {
            let (_, out, err) = mksquashfs.clone().arg(argument).limit(ASKING).output().ok()?;
            Some(format!("{out}\n{err}"))
        };
        let help = said("-help").unwrap_or_default();
        Self {
            version: said("-version").and_then(|text| version(&text)),
            ..Self::read(&help)
        }
    }

    /// From its help: compressors and options each stand at the beginning of a line.
    fn read(help: &str) -> Self {
        const COMPRESSORS: [&str; 6] = ["gzip", "lzo", "lz4", "xz", "zstd", "lzma"];
        let first_words: Vec<&str> = help
            .lines()
            .filter_map(|line| line.split_whitespace().next())
            .collect();
        let of = |names: &[&str]| {
            let known = names.iter().filter(|name| first_words.contains(name));
            known.map(|&name| name.to_owned()).collect()
        };
        Self {
            version: None,
            compressors: of(&COMPRESSORS),
            options: of(&OPTIONS),
        }
    }
}

/// "mksquashfs version 4.5.1 (2022/03/17)" begins what it says.
fn version(text: &str) -> Option<String> {
    text.split_whitespace().nth(2).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    // mksquashfs 4.5.1 of Debian 12, shortened.
    const HELP: &str = "
-exit-on-error		treat normally ignored errors as fatal
-noappend		do not append to existing filesystem
Compressors available and compressor specific options:
\tgzip (default)
\t  -Xcompression-level <compression-level>
\t\t<compression-level> should be 1 .. 9 (default 9)
\tlzo
\t  -Xalgorithm <algorithm>
\txz
\tzstd
";

    #[test]
    fn what_mksquashfs_knows_is_read_from_its_help() {
        let known = Mksquashfs::read(HELP);
        assert_eq!(known.compressors, ["gzip", "lzo", "xz", "zstd"]);
        assert_eq!(known.options, ["-exit-on-error"]);
        assert_eq!(Mksquashfs::read("mksquashfs: not found"), Mksquashfs::default());
        assert_eq!(
            version("mksquashfs version 4.5.1 (2022/03/17)\ncopyright").as_deref(),
            Some("4.5.1")
        );
    }
}
