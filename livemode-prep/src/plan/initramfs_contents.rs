//! What is in an initramfs, from what lsinitrd(1) says of it. Pure.
use std::collections::BTreeSet;

use crate::facts::leapp::Requested;
use crate::facts::userspace::{module_name, plain};

/// dracut's modules and all files, these without the leading slash and below usr/ where a merged /usr has them.
pub(crate) struct Contents {
    modules: BTreeSet<String>,
    files: BTreeSet<String>,
}

impl Contents {
    /// Reads the modules between "dracut modules:" and the rule that follows, and the files in `ls -l` format.
    pub(crate) fn parse(listing: &str) -> Self {
        let mut contents = Self {
            modules: BTreeSet::new(),
            files: BTreeSet::new(),
        };
        let mut in_modules = false;
        for line in listing.lines() {
            if line.starts_with("====") {
                in_modules = false;
            } else if line == "dracut modules:" {
                in_modules = true;
            } else if in_modules {
                contents.modules.insert(line.trim().to_owned());
            } else if let Some(path) = listed_path(line) {
                contents.files.insert(merged(path));
            }
        }
        contents
    }

    /// What was requested and is not there. A kernel module counts where the target has it for a file: `available`, by
    /// name.
    pub(crate) fn missing(&self, requested: &Requested, available: &BTreeSet<String>) -> Vec<String> {
        let modules = requested
            .dracut_modules
            .iter()
            .filter(|name| !self.modules.contains(*name))
            .map(|name| format!("dracut's module {name}"));
        let drivers: BTreeSet<String> = self.files.iter().filter_map(|path| module_name(path)).collect();
        let kernel_modules = requested
            .kernel_modules
            .iter()
            .filter(|name| available.contains(&plain(name)) && !drivers.contains(&plain(name)))
            .map(|name| format!("the kernel's module {name}"));
        let files = requested
            .files
            .iter()
            .filter(|path| !self.files.contains(&merged(path)))
            .cloned();
        modules.chain(kernel_modules).chain(files).collect()
    }
}

fn listed_path(line: &str) -> Option<&str> {
    let mode = line.split_whitespace().next()?;
    let is_entry = mode.len() >= 10 && "-dlcbps".contains(&mode[..1]) && mode[1..].starts_with(['r', '-']);
    // Mode, links, owner, group, size (of a device two numbers), and a date of three words.
    let path = is_entry.then(|| line.split(" -> ").next())??;
    path.rsplit(' ').next()
}

fn merged(path: &str) -> String {
    let path = path.trim_start_matches('/');
    match path.split('/').next() {
        Some("bin" | "sbin" | "lib" | "lib64") => format!("usr/{path}"),
        _ => path.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // lsinitrd of dracut 059.
    const LISTING: &str = "Image: /boot/initramfs-upgrade.x86_64.img: 27M
========================================================================
Early CPIO image
========================================================================
drwxr-xr-x   3 root     root            0 Nov 24 11:34 .
Version: dracut-059-4

Arguments: --force --no-hostonly

dracut modules:
bash
livemode
base
========================================================================
drwxr-xr-x  12 root     root            0 Nov 24 11:34 .
crw-r--r--   1 root     root       5,   1 Nov 24 11:34 dev/console
lrwxrwxrwx   1 root     root            7 Nov 24 11:34 bin -> usr/bin
-rwxr-xr-x   1 root     root       860160 Nov 24 11:34 usr/bin/livemode-boot
-rw-r--r--   1 root     root        47123 Nov 24 11:34 usr/lib/modules/6.1.0/kernel/drivers/md/dm-raid.ko.xz
========================================================================
";

    #[test]
    fn what_was_requested_is_found_or_named() {
        let list = |words: &[&str]| words.iter().map(|w| (*w).to_owned()).collect::<Vec<_>>();
        let requested = Requested {
            dracut_modules: list(&["livemode", "mdraid"]),
            kernel_modules: list(&["dm_raid", "raid1", "no_such_module"]),
            files: list(&["/bin/livemode-boot", "/etc/multipath.conf"]),
        };
        let available = ["dm_raid", "raid1"].map(str::to_owned).into();
        assert_eq!(
            Contents::parse(LISTING).missing(&requested, &available),
            [
                "dracut's module mdraid",
                "the kernel's module raid1",
                "/etc/multipath.conf"
            ]
        );
    }

    #[test]
    fn only_lines_of_files_have_a_path() {
        for (line, path) in [
            (
                "drwxr-xr-x   3 root     root            0 Nov 24 11:34 etc",
                Some("etc"),
            ),
            (
                "lrwxrwxrwx   1 root     root            7 Nov 24 11:34 bin -> usr/bin",
                Some("bin"),
            ),
            (
                "crw-r--r--   1 root     root       5,   1 Nov 24 11:34 dev/console",
                Some("dev/console"),
            ),
            (
                "----------   1 root     root            0 Nov 24 11:34 etc/shadow",
                Some("etc/shadow"),
            ),
            ("Image: /boot/initramfs.img: 27M", None),
            ("drwx x y", None),
            ("dxwxr-xr-x x y", None),
            ("xrwxr-xr-x x y", None),
            ("", None),
        ] {
            assert_eq!(listed_path(line), path, "{line}");
        }
        assert_eq!(
            ["/lib64/x", "sbin/x", "etc/x"].map(merged),
            ["usr/lib64/x", "usr/sbin/x", "etc/x"]
        );
    }
}
