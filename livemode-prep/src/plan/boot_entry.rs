//! The boot entry as grubby(8) is to make it, as calls. Pure; `commit` makes them and reads back what they did.
use std::path::{Path, PathBuf};

use livemode_common::cmd::Cmd;
use livemode_common::cmdline::Cmdline;
use livemode_common::contract::karg;
use livemode_common::records::Manifest;
use livemode_common::sysroot::SysRoot;

use super::arguments::TAKEN_AWAY;
use crate::facts::loader::{on, GRUBBY};
use crate::facts::Facts;

const TITLE: &str = "LiveMode upgrade";

/// The upgrade's entry.
#[derive(Debug, Clone)]
pub(crate) struct GrubbyEntry {
    pub(crate) root: SysRoot,
    arch: String,
    /// As the source sees them.
    pub(crate) kernel: String,
    pub(crate) initramfs: String,
    /// Of a machine that boots by BIOS and by EFI (cloud images), each its own; none otherwise.
    configs: Vec<PathBuf>,
    /// The kernel that boots by default now, unless it is that of an earlier build.
    pub(crate) former_default: Option<String>,
}

impl GrubbyEntry {
    /// The entry to be made.
    ///
    /// # Errors
    /// Why grubby cannot make it.
    pub(crate) fn planned(facts: &Facts, kernel: String, initramfs: String) -> Result<Self, String> {
        let loader =
            facts.loader.as_ref().filter(|loader| loader.has_grubby).ok_or(
                "grubby is missing; install it, or give --boot-entry none and make the entry yourself",
            )?;
        let default = loader.default_kernel.clone()?;
        let earlier = facts.earlier.as_ref();
        Ok(Self {
            root: SysRoot::new(&facts.root),
            arch: facts.source.arch.clone(),
            former_default: if default == kernel {
                earlier.and_then(|manifest| manifest.boot.former_default.clone())
            } else {
                Some(default)
            },
            kernel,
            initramfs,
            configs: loader.configs.clone(),
        })
    }

    /// The entry of a finished build.
    pub(crate) fn of(root: &SysRoot, arch: &str, configs: Vec<PathBuf>, manifest: &Manifest) -> Self {
        Self {
            root: root.clone(),
            arch: arch.to_owned(),
            kernel: manifest.kernel.path.clone(),
            initramfs: manifest.initramfs.path.clone(),
            configs,
            former_default: manifest.boot.former_default.clone(),
        }
    }

    pub(crate) fn grubby(&self) -> Cmd {
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
    pub(crate) fn entry_calls(&self, arguments: &str) -> Vec<Cmd> {
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
    pub(crate) fn update_calls(&self, arguments: &str) -> Vec<Cmd> {
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
        let removals: Vec<&str> = TAKEN_AWAY.into_iter().filter(|key| *key != karg::ROOT).collect();
        vec![
            update().arg("--args").arg(format!("{}={root}", karg::ROOT)),
            update().args(["--remove-args", &removals.join(" ")]),
        ]
    }

    /// The calls that make a kernel the default one.
    pub(crate) fn default_calls(&self, kernel: &str) -> Vec<Cmd> {
        let grubbies = self.each_grubby().into_iter();
        grubbies
            .map(|grubby| grubby.args(["--set-default", kernel]))
            .chain(self.zipl())
            .collect()
    }

    /// s390x boots what zipl(8) has written down last.
    pub(crate) fn zipl(&self) -> Option<Cmd> {
        (self.arch == "s390x").then(|| on(&self.root, "zipl"))
    }
}

/// The value of root=, which grubby takes for a property of the entry, and the rest of the line.
fn root_and_others(arguments: &str) -> (String, String) {
    let line = Cmdline::parse(arguments);
    let root = line.last(karg::ROOT).unwrap_or_default().to_owned();
    let others = line.0.into_iter().filter(|word| word.key != karg::ROOT).collect();
    (root, Cmdline(others).to_string())
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
