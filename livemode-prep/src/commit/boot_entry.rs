//! Makes the boot entry by grubby(8), as leapp's own actors call it, and reads back what it left: what counts is what the
//! loader will do.
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{bail, Context, Result};
use livemode_common::cmd::Cmd;
use livemode_common::cmdline::Cmdline;
use livemode_common::contract::karg;
use livemode_common::failure::precondition;
use livemode_common::fsio::{atomic_write, sync_dir};
use livemode_common::sysroot::SysRoot;
use serde::{Deserialize, Serialize};

use crate::facts::loader::efi_files;
use crate::plan::boot_entry::GrubbyEntry;

/// Entries by the Boot Loader Specification; grubby of el8 and newer keeps them.
const ENTRIES: &str = "boot/loader/entries";
/// Everything else that grubby and zipl write.
const FILES: [&str; 5] = [
    "boot/grub2/grubenv",
    "boot/grub2/grub.cfg",
    "etc/kernel/cmdline",
    "etc/default/grub",
    "etc/zipl.conf",
];

impl GrubbyEntry {
    /// Makes sure that the old system boots while the files of the upgrade change.
    pub(crate) fn disarm(&self) -> Result<()> {
        match &self.former_default {
            Some(former) if self.default()? == self.kernel => self.set_default(former),
            _ => Ok(()),
        }
    }

    /// Makes the entry, reads it back, and only then makes it the default one.
    pub(crate) fn set(&self, arguments: &str) -> Result<()> {
        if self.exists()? {
            self.grubby().args(["--remove-kernel", &self.kernel]).run()?;
        }
        self.entry_calls(arguments).iter().try_for_each(Cmd::run)?;
        self.settle(arguments)?;
        self.arm()
    }

    /// Gives the entry that leapp has made exactly these arguments, and reads it back. It is not the default one then:
    /// see [`Self::arm`].
    pub(crate) fn complete(&self, arguments: &str) -> Result<()> {
        if !self.exists()? {
            return Err(precondition(format!(
                "there is no boot entry for {}, which leapp makes after the build",
                self.kernel
            )));
        }
        self.disarm()?;
        self.update_calls(arguments).iter().try_for_each(Cmd::run)?;
        self.settle(arguments)
    }

    /// Makes sure that the entry has exactly these arguments.
    fn settle(&self, arguments: &str) -> Result<()> {
        if self.words()? != words(arguments) {
            // grubby keeps one value for each key, and the copied entry has words of its own.
            self.rewrite(arguments)?;
        }
        let (found, wanted) = (self.words()?, words(arguments));
        if found != wanted {
            let only = |these: &[String], those: &[String]| {
                let only: Vec<&str> = these
                    .iter()
                    .filter(|w| !those.contains(w))
                    .map(String::as_str)
                    .collect();
                only.join(" ")
            };
            bail!(
                "the boot entry is not as it must be: missing '{}', too much '{}'",
                only(&wanted, &found),
                only(&found, &wanted)
            );
        }
        Ok(())
    }

    /// Makes the entry the one that boots next.
    pub(crate) fn arm(&self) -> Result<()> {
        self.set_default(&self.kernel)?;
        let default = self.default()?;
        if default != self.kernel {
            bail!("the boot entry was made, but {default} boots by default");
        }
        Ok(())
    }

    /// Puts the arguments into the entry's own file.
    fn rewrite(&self, arguments: &str) -> Result<()> {
        let dir = self.root.at(ENTRIES);
        let name = Path::new(&self.kernel)
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        for path in files_in(&dir)? {
            let text = fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
            let boots_ours = |line: &str| {
                line.strip_prefix("linux")
                    .is_some_and(|kernel| kernel.trim().rsplit('/').next() == Some(&name))
            };
            if !text.lines().any(boots_ours) {
                continue;
            }
            let line = |line: &str| match line.split_whitespace().next() {
                Some("options") => format!("options {arguments}\n"),
                _ => format!("{line}\n"),
            };
            let mode = fs::metadata(&path).map_or(0o600, |meta| meta.permissions().mode() & 0o777);
            let text: String = text.lines().map(line).collect();
            atomic_write(&path, text.as_bytes(), mode)?;
        }
        Ok(())
    }

    fn default(&self) -> Result<String> {
        Ok(self.grubby().arg("--default-kernel").read()?.trim().to_owned())
    }

    fn set_default(&self, kernel: &str) -> Result<()> {
        self.default_calls(kernel).iter().try_for_each(Cmd::run)
    }

    fn info(&self) -> Result<Option<String>> {
        let (status, info, _) = self.grubby().args(["--info", &self.kernel]).output()?;
        Ok(Some(info).filter(|info| status.success() && info.contains("kernel=")))
    }

    fn exists(&self) -> Result<bool> {
        Ok(self.info()?.is_some())
    }

    /// The words that the entry boots with, sorted.
    fn words(&self) -> Result<Vec<String>> {
        let info = self
            .info()?
            .context("grubby does not know the entry it has made")?;
        let value = |key: &str| {
            let line = info
                .lines()
                .find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
            line.map(|value| {
                value
                    .strip_prefix('"')
                    .and_then(|v| v.strip_suffix('"'))
                    .unwrap_or(value)
                    .to_owned()
            })
        };
        let root = value("root")
            .map(|root| format!("{}={root}", karg::ROOT))
            .unwrap_or_default();
        Ok(words(&format!("{root} {}", value("args").unwrap_or_default())))
    }
}

/// Takes the entry of a build back: the former default boots again.
pub(crate) fn take_back(entry: &GrubbyEntry) -> Result<()> {
    if !entry.exists()? {
        // leapp removes it in the first phase after the reboot.
        return Ok(());
    }
    entry.disarm()?;
    entry.grubby().args(["--remove-kernel", &entry.kernel]).run()?;
    entry.zipl().iter().try_for_each(Cmd::run)
}

fn words(line: &str) -> Vec<String> {
    let mut words: Vec<String> = Cmdline::parse(line).0.iter().map(ToString::to_string).collect();
    words.sort();
    words
}

fn files_in(dir: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir).into_iter().flatten() {
        let path = entry
            .with_context(|| format!("reading {}", dir.display()))?
            .path();
        if path.is_file() {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// The loader's files as they were, kept on the disk until the new entry stands.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Saved {
    /// Each file, and where its copy lies, as the source system sees them.
    files: Vec<(PathBuf, PathBuf)>,
}

impl Saved {
    /// Copies the loader's files into `dir`, which is made.
    pub(crate) fn save(root: &SysRoot, dir: &Path) -> Result<Self> {
        fs::create_dir_all(dir).with_context(|| format!("creating {}", dir.display()))?;
        let names = FILES.iter().map(PathBuf::from);
        let efi = ["grub.cfg", "grubenv"]
            .iter()
            .flat_map(|name| efi_files(root, name));
        let mut paths: Vec<PathBuf> = names.chain(efi).filter(|path| root.at(path).is_file()).collect();
        paths.extend(files_in(&root.at(ENTRIES))?.iter().map(|path| root.inside(path)));
        let mut files = Vec::new();
        for (number, path) in paths.into_iter().enumerate() {
            let copy = dir.join(number.to_string());
            let from = root.at(&path);
            let content = fs::read(&from).with_context(|| format!("reading {}", from.display()))?;
            atomic_write(&copy, &content, 0o600)?;
            files.push((path, root.inside(&copy)));
        }
        Ok(Self { files })
    }

    /// Puts every file back that is not as it was, and removes entries that were not there.
    pub(crate) fn restore(&self, root: &SysRoot) -> Result<()> {
        for (path, copy) in &self.files {
            // grubenv may be a link to the one on the EFI partition.
            let at = root.at(path);
            let at = fs::canonicalize(&at).unwrap_or(at);
            let copy = root.at(copy);
            let content = fs::read(&copy).with_context(|| format!("reading {}", copy.display()))?;
            if fs::read(&at).is_ok_and(|now| now == content) {
                continue;
            }
            let mode = fs::metadata(&at).map_or(0o600, |meta| meta.permissions().mode() & 0o777);
            atomic_write(&at, &content, mode)?;
        }
        for path in files_in(&root.at(ENTRIES))? {
            if !self.files.iter().any(|(saved, _)| root.at(saved) == path) {
                fs::remove_file(&path).with_context(|| format!("removing {}", path.display()))?;
                sync_dir(path.parent().unwrap_or(root.path()))?;
            }
        }
        Ok(())
    }
}
