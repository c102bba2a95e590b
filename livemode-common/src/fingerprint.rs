//! What tells one state of an installed system from another: its packages, dnf's history, its fstab.
use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::cmd::Cmd;
use crate::fsio;
use crate::sysroot::SysRoot;

/// rpm was seen to hang on a damaged database.
const LIMIT: Duration = Duration::from_secs(120);
/// A package is told by its name and by when it was installed; imported keys come and go without a transaction.
const FORMAT: &str = "%{NAME} %{EPOCH}:%{VERSION}-%{RELEASE}.%{ARCH} %{INSTALLTIME}\\n";
const KEYS: &str = "gpg-pubkey ";
/// dnf writes down a transaction before it begins: that of dnf 4, its write-ahead log, and that of dnf 5.
const HISTORY: [&str; 4] = [
    "var/lib/dnf/history.sqlite",
    "var/lib/dnf/history.sqlite-wal",
    "usr/lib/sysimage/libdnf5/transaction_history.sqlite",
    "usr/lib/sysimage/libdnf5/transaction_history.sqlite-wal",
];
const FSTAB: &str = "etc/fstab";

/// Digests (SHA-256, hex) of what an upgrade changes first.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fingerprint {
    /// The list of packages with their times of installation.
    pub packages: String,
    /// dnf's history; empty where there is none.
    pub history: String,
    /// /etc/fstab; empty where there is none.
    pub fstab: String,
}

impl Fingerprint {
    /// That of the system below `root`, asked by its own rpm.
    ///
    /// # Errors
    /// When rpm is not there, or does not answer within two minutes.
    pub fn of(root: &SysRoot) -> Result<Self> {
        let rpm = if root.path() == Path::new("/") {
            Cmd::new("rpm")
        } else {
            Cmd::new("chroot").arg(root.path()).arg("rpm")
        };
        let list = rpm.args(["-qa", "--qf", FORMAT]).limit(LIMIT).read();
        let list = list.context("listing the installed packages")?;
        Ok(Self {
            packages: packages(&list)?,
            history: digest(root, &HISTORY)?,
            fstab: digest(root, &[FSTAB])?,
        })
    }

    /// Whether an RPM transaction has begun since this fingerprint was taken, by the one taken `now`.
    pub fn has_begun(&self, now: &Self) -> bool {
        self.packages != now.packages || self.history != now.history
    }

    /// What has changed until `now`, in words; `None` when nothing has.
    pub fn changed(&self, now: &Self) -> Option<&'static str> {
        match (self.packages != now.packages, self.fstab != now.fstab) {
            (true, true) => Some("installed packages and /etc/fstab"),
            (true, false) => Some("installed packages"),
            (false, true) => Some("/etc/fstab"),
            (false, false) => None,
        }
    }
}

fn packages(list: &str) -> Result<String> {
    let mut lines: Vec<&str> = list.lines().filter(|line| !line.starts_with(KEYS)).collect();
    lines.sort_unstable();
    let (sha256, _) = fsio::sha256(lines.join("\n").as_bytes(), |_| ())?;
    Ok(sha256)
}

fn digest(root: &SysRoot, paths: &[&str]) -> Result<String> {
    let mut content = Vec::new();
    for path in paths {
        match fs::read(root.at(path)) {
            Ok(bytes) => content.extend(bytes),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
            Err(e) => return Err(e).with_context(|| format!("reading {}", root.at(path).display())),
        }
    }
    if content.is_empty() {
        return Ok(String::new());
    }
    let (sha256, _) = fsio::sha256(content.as_slice(), |_| ())?;
    Ok(sha256)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_count_in_any_order_and_imported_keys_do_not() {
        let list = packages("b 0:1-1.noarch 5\na 0:1-1.noarch 5\ngpg-pubkey 0:1-1.(none) 7\n").unwrap();
        assert_eq!(list, packages("a 0:1-1.noarch 5\nb 0:1-1.noarch 5\n").unwrap());
        assert_ne!(list, packages("a 0:1-1.noarch 6\nb 0:1-1.noarch 5\n").unwrap());
    }

    #[test]
    fn a_transaction_is_told_by_packages_or_by_dnfs_history() {
        let dir = tempfile::tempdir().unwrap();
        let root = SysRoot::new(dir.path());
        let taken = || Fingerprint {
            packages: "p".into(),
            history: digest(&root, &HISTORY).unwrap(),
            fstab: digest(&root, &[FSTAB]).unwrap(),
        };
        let before = taken();
        assert_eq!(before.history, "");
        assert!(!before.has_begun(&taken()));
        for (path, begun, changed) in [
            (FSTAB, false, Some("/etc/fstab")),
            (HISTORY[1], true, Some("/etc/fstab")),
        ] {
            fs::create_dir_all(root.at(path).parent().unwrap()).unwrap();
            fs::write(root.at(path), "x").unwrap();
            assert_eq!(before.has_begun(&taken()), begun, "{path}");
            assert_eq!(before.changed(&taken()), changed, "{path}");
        }
        let other = Fingerprint {
            packages: "q".into(),
            ..before.clone()
        };
        assert!(before.has_begun(&other));
        assert_eq!(before.changed(&other), Some("installed packages"));
    }
}
