//! The upgrade's own entry in the loader's menu, and whether it may be armed: it boots once, and then the old system again. Pure.
mod grub;
mod systemd_boot;

use std::path::{Path, PathBuf};

use livemode_common::cmdline::Cmdline;
use livemode_common::loader::bls::{Entry, SUFFIX};
use livemode_common::loader::menu::Menu;
use livemode_common::loader::next_boots::NextBoots;
use livemode_common::loader::own::Choice;
use livemode_common::loader::script;
use livemode_common::loader::store::Keeper;
use livemode_common::records::OwnEntry;
use livemode_common::sysroot::SysRoot;

use super::paths::Paths;
use crate::args::EntryKeeper;
use crate::facts::loader::Loader;
use crate::facts::Facts;

/// Its title, in the menu.
const TITLE: &str = "LiveMode upgrade";
/// What its id ends with. It sorts after the kernels of this machine: a default that is a number still means what it did.
const ID_SUFFIX: &str = "livemode";

/// The entry of this build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct EntryPlan {
    /// As it is recorded in the manifest.
    pub(crate) own: OwnEntry,
    /// The entry's file, but for its options.
    entry: Entry,
    machine_id: String,
    /// What boots once it is armed.
    pub(crate) boots: NextBoots,
}

/// What an admin has chosen of the boot entry.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct EntryChoice {
    /// Who keeps it; by default the loader that boots, where that is GRUB or systemd-boot.
    pub(crate) keeper: Option<EntryKeeper>,
    /// Whether a machine that fails before early boot has cleared next_entry may boot the upgrade's entry again.
    pub(crate) loop_risk: bool,
}

impl EntryChoice {
    /// What leapp's actors will choose, where the machine has a loader that leapp knows.
    pub(crate) fn under_leapp(loader: Option<&Loader>) -> Self {
        let has_grub = loader.is_some_and(|loader| loader.systemd_boot.is_none() && loader.grub.is_some());
        Self {
            keeper: has_grub.then_some(EntryKeeper::Leapp),
            ..Self::default()
        }
    }

    /// Who keeps the entry on a machine with this loader.
    pub(crate) fn keeper(self, loader: Option<&Loader>) -> EntryKeeper {
        let by_default = match loader {
            Some(loader) if loader.systemd_boot.is_some() => EntryKeeper::SystemdBoot,
            Some(loader) if loader.grub.is_some() => EntryKeeper::Grub,
            _ => EntryKeeper::None,
        };
        self.keeper.unwrap_or(by_default)
    }
}

/// The loader that is to have the entry, and where.
struct Home {
    menu: Menu,
    /// The directory of entries.
    entries: PathBuf,
    /// What ids end with.
    suffix: &'static str,
    /// The directory with kernel and initramfs as the source sees it, and as the loader does.
    mounted: PathBuf,
    inside: PathBuf,
    /// As it is recorded.
    boot: PathBuf,
    keeper: Keeper,
}

impl Home {
    /// A file as the loader names it.
    fn named(&self, path: &Path) -> String {
        let below = path.strip_prefix(&self.mounted).unwrap_or(path);
        self.inside.join(below).display().to_string()
    }

    /// The menu as it is when the entry `id` is neither there nor armed.
    fn without(&self, id: &str, known: Option<&OwnEntry>) -> Menu {
        let menu = self.menu.with(Choice::Once, None).without(id);
        match known {
            Some(known) if menu.chosen(Choice::Default) == Some(id) => {
                menu.with(Choice::Default, known.former_choice())
            }
            _ => menu,
        }
    }
}

impl EntryPlan {
    /// The entry of a machine with these facts; `has_block` says whether early boot finds GRUB's environment block.
    ///
    /// # Errors
    /// All that stands against it, each with what to do.
    pub(crate) fn new(
        facts: &Facts,
        choice: EntryChoice,
        paths: &Paths,
        has_block: bool,
    ) -> Result<Self, Vec<String>> {
        let one = |why: String| vec![why];
        let keeper = choice.keeper(facts.loader.as_ref());
        let root = SysRoot::new(&facts.root);
        let (kernel, initramfs) = (root.inside(&paths.own_kernel), root.inside(&paths.own_initramfs));
        let arch = facts.source.arch.as_str();
        if !matches!(arch, "x86_64" | "aarch64") {
            return Err(vec![format!(
                "--boot-entry {} was never tried on {arch}; give --boot-entry none and make the entry yourself",
                keeper.name()
            )]);
        }
        let known = facts
            .earlier
            .as_ref()
            .and_then(|manifest| manifest.boot.entry.as_ref());
        let home = match keeper {
            EntryKeeper::SystemdBoot => systemd_boot::home(facts, known).map_err(one)?,
            _ => grub::home(facts.loader.as_ref(), has_block)?,
        };
        let machine_id = facts.source.machine_id.as_deref().ok_or_else(|| {
            one(
                "there is no /etc/machine-id, by which entries are named; first: systemd-machine-id-setup"
                    .to_owned(),
            )
        })?;
        let file = format!("{machine_id}-{ID_SUFFIX}");
        let id = format!("{file}{}", home.suffix);
        let path = home.entries.join(format!("{file}{SUFFIX}"));
        if home.menu.entry(&id).is_some() && known.is_none_or(|known| known.id != id) {
            return Err(one(format!(
                "{} is there, and no build of this system has made it; remove it",
                path.display()
            )));
        }
        let menu = home.without(&id, known);
        let old = menu.next_boots().map_err(one)?.next;
        let entry = Entry {
            id: id.clone(),
            title: Some(TITLE.to_owned()),
            linux: Some(home.named(&kernel)),
            initrd: vec![home.named(&initramfs)],
            options: None,
        };
        // Its files come with the build.
        let armed = menu.with_entry(&entry).with(Choice::Once, Some(&id));
        let plan = Self {
            own: OwnEntry {
                path: path.display().to_string(),
                kernel: kernel.display().to_string(),
                initramfs: initramfs.display().to_string(),
                keeper: home.keeper,
                boot: home.boot.display().to_string(),
                former_default: old,
                id,
            },
            entry,
            machine_id: machine_id.to_owned(),
            boots: armed.next_boots().map_err(one)?,
        };
        plan.check(&armed, choice.loop_risk).map_err(one)?;
        Ok(plan)
    }

    fn check(&self, menu: &Menu, loop_risk: bool) -> Result<(), String> {
        let NextBoots { next, after } = &self.boots;
        let (ours, old, loader) = (&self.own.id, &self.own.former_default, menu.name());
        if next != ours {
            return Err(format!(
                "{loader} would boot {next} in place of the upgrade's entry"
            ));
        }
        match (menu.cannot_clear(), &self.own.keeper) {
            (Some(why), Keeper::Grub { grubenv, grubenv_on }) => match grubenv_on {
                None => Err(format!(
                    "{grubenv}: {why}, and early boot could not find it to clear next_entry; put /boot on a partition, LVM or software \
                     RAID, with a UUID that nothing else has"
                )),
                Some(_) if loop_risk => Ok(()),
                Some(_) => Err(format!(
                    "{grubenv}: {why}, so only early boot can clear next_entry: a machine that fails before that boots the \
                     upgrade's entry again and again; if you accept that, give --accept-loop-risk"
                )),
            },
            _ if after == old => Ok(()),
            _ => Err(format!(
                "after the upgrade's entry {loader} would boot {after} in place of {old}"
            )),
        }
    }

    /// What the entry's file holds.
    ///
    /// # Errors
    /// The word that GRUB would not pass on.
    pub(crate) fn text(&self, arguments: &str, version: &str) -> Result<String, String> {
        let options = match self.own.keeper {
            Keeper::Grub { .. } => script::for_grub(&Cmdline::parse(arguments)).map_err(|word| {
                format!(
                    "GRUB cannot pass on the kernel argument {word}; take it from the source's own line, or make the entry \
                     yourself (--boot-entry none)"
                )
            })?,
            // systemd-boot passes the line on as it is.
            Keeper::SystemdBoot { .. } => arguments.to_owned(),
        };
        let entry = Entry {
            options: Some(options),
            ..self.entry.clone()
        };
        Ok(entry.to_text(version, Some(&self.machine_id)))
    }
}

#[cfg(test)]
pub(super) mod tests;
