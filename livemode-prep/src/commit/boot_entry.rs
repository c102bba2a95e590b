//! The boot entry, kept by grubby(8) as leapp's own actors call it; what it left is read back, for what counts is what
//! the loader will do.
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{bail, Context, Result};
use livemode_common::cmd::{find_program, Cmd};
use livemode_common::cmdline::Cmdline;
use livemode_common::contract::karg;
use livemode_common::failure::precondition;
use livemode_common::fsio::{atomic_write, sync_dir};
use livemode_common::records::Manifest;
use livemode_common::sysroot::SysRoot;
use serde::{Deserialize, Serialize};

use crate::plan::arguments;

const GRUBBY: &str = "grubby";
const TITLE: &str = "LiveMode upgrade";
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
const EFI: &str = "boot/efi/EFI";
const BIOS_CONFIG: &str = "boot/grub2/grub.cfg";

/// The entry to be made.
#[derive(Debug, Clone)]
pub(crate) struct GrubbyEntry {
    root: SysRoot,
    arch: String,
    kernel: String,
    initramfs: String,
    /// Of a machine that boots by BIOS and by EFI (cloud images), each its own; none otherwise.
    configs: Vec<PathBuf>,
    /// The kernel that boots by default now, unless it is that of an earlier build.
    pub(crate) former_default: Option<String>,
}

impl GrubbyEntry {
    /// Looks at what the loader has now. `earlier` is what was built before.
    pub(crate) fn look(
        root: &SysRoot,
        arch: &str,
        kernel: &str,
        initramfs: &str,
        earlier: Option<&Manifest>,
    ) -> Result<Self> {
        if find_program(root.path(), GRUBBY).is_none() {
            return Err(precondition(
                "grubby is missing; install it, or give --boot-entry none and make the entry yourself",
            ));
        }
        let mut entry = Self {
            root: root.clone(),
            arch: arch.to_owned(),
            kernel: kernel.to_owned(),
            initramfs: initramfs.to_owned(),
            configs: configs(root),
            former_default: None,
        };
        let default = entry.default()?;
        entry.former_default = if default == kernel {
            earlier.and_then(|manifest| manifest.boot.former_default.clone())
        } else {
            Some(default)
        };
        Ok(entry)
    }

    /// The entry of a finished build.
    pub(crate) fn of(root: &SysRoot, arch: &str, manifest: &Manifest) -> Self {
        Self {
            root: root.clone(),
            arch: arch.to_owned(),
            kernel: manifest.kernel.path.clone(),
            initramfs: manifest.initramfs.path.clone(),
            configs: configs(root),
            former_default: manifest.boot.former_default.clone(),
        }
    }

    fn grubby(&self) -> Cmd {
        on(&self.root, GRUBBY)
    }

    /// grubby for each configuration.
    fn each_grubby(&self) -> Vec<Cmd> {
        match self.configs.as_slice() {
            [] => vec![self.grubby()],
            configs => configs
                .iter()
                .map(|config| self.grubby().arg("-c").arg(Path::new("/").join(config)))
                .collect(),
        }
    }

    /// All the calls.
    pub(crate) fn calls(&self, arguments: &str) -> Vec<Cmd> {
        [self.entry_calls(arguments), self.default_calls(&self.kernel)].concat()
    }

    /// The calls that make the entry, as leapp has them: with root= in a call of its own, for grubby takes it for a
    /// property of the entry, and removals in a third. But not the default one yet: half of it must never boot.
    fn entry_calls(&self, arguments: &str) -> Vec<Cmd> {
        let (_, others) = root_and_others(arguments);
        let calls = self.each_grubby().into_iter().flat_map(|grubby| {
            let add = grubby
                .clone()
                .args(["--add-kernel", &self.kernel, "--initrd", &self.initramfs]);
            let add = add.args(["--title", TITLE, "--copy-default", "--args", &others]);
            [vec![add], self.root_and_removals(&grubby, arguments)].concat()
        });
        calls.collect()
    }

    /// The calls that give an entry which is there these arguments.
    fn update_calls(&self, arguments: &str) -> Vec<Cmd> {
        let (_, others) = root_and_others(arguments);
        let calls = self.each_grubby().into_iter().flat_map(|grubby| {
            let update = grubby
                .clone()
                .args(["--update-kernel", &self.kernel, "--args", &others]);
            [vec![update], self.root_and_removals(&grubby, arguments)].concat()
        });
        calls.collect()
    }

    fn root_and_removals(&self, grubby: &Cmd, arguments: &str) -> Vec<Cmd> {
        let (root, _) = root_and_others(arguments);
        let update = || grubby.clone().args(["--update-kernel", &self.kernel]);
        let removals: Vec<&str> = arguments::TAKEN_AWAY
            .into_iter()
            .filter(|key| *key != karg::ROOT)
            .collect();
        vec![
            update().arg("--args").arg(format!("{}={root}", karg::ROOT)),
            update().args(["--remove-args", &removals.join(" ")]),
        ]
    }

    /// The calls that make a kernel the default one.
    fn default_calls(&self, kernel: &str) -> Vec<Cmd> {
        let grubbies = self.each_grubby().into_iter();
        grubbies
            .map(|grubby| grubby.args(["--set-default", kernel]))
            .chain(self.zipl())
            .collect()
    }

    /// s390x boots what zipl(8) has written down last.
    fn zipl(&self) -> Option<Cmd> {
        (self.arch == "s390x").then(|| on(&self.root, "zipl"))
    }

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
pub(crate) fn take_back(root: &SysRoot, arch: &str, manifest: &Manifest) -> Result<()> {
    let entry = GrubbyEntry::of(root, arch, manifest);
    if !entry.exists()? {
        // leapp removes it in the first phase after the reboot.
        return Ok(());
    }
    entry.disarm()?;
    entry.grubby().args(["--remove-kernel", &entry.kernel]).run()?;
    entry.zipl().iter().try_for_each(Cmd::run)
}

/// The value of root=, which grubby takes for a property of the entry, and the rest of the line.
fn root_and_others(arguments: &str) -> (String, String) {
    let line = Cmdline::parse(arguments);
    let root = line.last(karg::ROOT).unwrap_or_default().to_owned();
    let others = line.0.into_iter().filter(|word| word.key != karg::ROOT).collect();
    (root, Cmdline(others).to_string())
}

fn words(line: &str) -> Vec<String> {
    let mut words: Vec<String> = Cmdline::parse(line).0.iter().map(ToString::to_string).collect();
    words.sort();
    words
}

/// A program of the source system, on that system.
fn on(root: &SysRoot, program: &str) -> Cmd {
    if root.path() == Path::new("/") {
        return Cmd::new(program);
    }
    Cmd::new("chroot").arg(root.path()).arg(program)
}

/// Two whole configurations, one for each firmware: the one of EFI is then no mere pointer to the other.
fn configs(root: &SysRoot) -> Vec<PathBuf> {
    let is_whole = |path: &Path| {
        let text = fs::read_to_string(root.at(path)).unwrap_or_default();
        text.contains("blscfg") || text.contains("menuentry ")
    };
    let mut configs: Vec<PathBuf> = [PathBuf::from(BIOS_CONFIG)]
        .into_iter()
        .chain(efi_files(root, "grub.cfg"))
        .collect();
    configs.retain(|config| is_whole(config));
    if configs.len() > 1 {
        configs
    } else {
        Vec::new()
    }
}

fn efi_files(root: &SysRoot, name: &str) -> Vec<PathBuf> {
    let vendors = fs::read_dir(root.at(EFI)).into_iter().flatten().flatten();
    let mut files: Vec<PathBuf> = vendors
        .map(|vendor| Path::new(EFI).join(vendor.file_name()).join(name))
        .collect();
    files.retain(|path| root.at(path).is_file());
    files.sort();
    files
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
        let inside = |path: &Path| path.strip_prefix(root.path()).unwrap_or(path).to_owned();
        let names = FILES.iter().map(PathBuf::from);
        let efi = ["grub.cfg", "grubenv"]
            .iter()
            .flat_map(|name| efi_files(root, name));
        let mut paths: Vec<PathBuf> = names.chain(efi).filter(|path| root.at(path).is_file()).collect();
        paths.extend(files_in(&root.at(ENTRIES))?.iter().map(|path| inside(path)));
        let mut files = Vec::new();
        for (number, path) in paths.into_iter().enumerate() {
            let copy = dir.join(number.to_string());
            let from = root.at(&path);
            let content = fs::read(&from).with_context(|| format!("reading {}", from.display()))?;
            atomic_write(&copy, &content, 0o600)?;
            files.push((path, inside(&copy)));
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_calls_are_leapps_with_root_and_removals_apart() {
        let entry = GrubbyEntry {
            root: SysRoot::new("/"),
            arch: "s390x".into(),
            kernel: "/boot/vmlinuz-upgrade.s390x".into(),
            initramfs: "/boot/initramfs-upgrade.s390x.img".into(),
            configs: Vec::new(),
            former_default: None,
        };
        let calls: Vec<String> = entry
            .calls("root=livemode:UUID=1 rd.live.dir=\"/a b\" nameserver=1 nameserver=2")
            .iter()
            .map(Cmd::to_string)
            .collect();
        assert_eq!(
            calls[..2],
            [
                "grubby --add-kernel /boot/vmlinuz-upgrade.s390x --initrd /boot/initramfs-upgrade.s390x.img --title \
                 'LiveMode upgrade' --copy-default --args 'rd.live.dir=\"/a b\" nameserver=1 nameserver=2'",
                "grubby --update-kernel /boot/vmlinuz-upgrade.s390x --args root=livemode:UUID=1",
            ]
        );
        assert!(calls[2].starts_with(
            "grubby --update-kernel /boot/vmlinuz-upgrade.s390x --remove-args 'ro rhgb quiet rd.lvm.lv "
        ));
        assert_eq!(
            calls[3..],
            ["grubby --set-default /boot/vmlinuz-upgrade.s390x", "zipl"]
        );
    }
}
