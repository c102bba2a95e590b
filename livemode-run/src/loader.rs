//! What boots next, changed from the live system: the upgrade's entry while leapp runs, then the upgraded system, or the
//! old one again. What leapp and the scriptlets set meanwhile is kept aside, and counts only after success.
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{bail, Context, Result};
use livemode_common::contract::{GRUBENV_FILE, STATE_DIR};
use livemode_common::fsio::{atomic_write, sync_dir};
use livemode_common::loader::bls::Entry;
use livemode_common::loader::grubenv::{Grubenv, SAVED_ENTRY};
use livemode_common::loader::menu::Menu;
use livemode_common::loader::next_boots::Grub;
use livemode_common::loader::own::{changed, Boots, Choice};
use livemode_common::loader::store::{Keeper, Store};
use livemode_common::loader::{efivars, files, systemd_boot};
use livemode_common::records::{Manifest, OwnEntry};
use livemode_common::sysroot::SysRoot;

const MODULES: &str = "lib/modules";

/// The loader of the source system, where the entry that was booted is ours.
#[derive(Debug, Clone)]
pub(crate) struct Loader {
    source: SysRoot,
    own: OwnEntry,
    /// Where the firmware's variables are.
    variables: PathBuf,
}

/// A bind mount of the upgrade's container: what of this machine is seen there, and the path that it covers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StandIn {
    pub(crate) file: PathBuf,
    pub(crate) covers: String,
    /// Nothing is written to it there.
    pub(crate) is_read_only: bool,
}

impl Loader {
    /// That of a build; none where somebody else keeps the entry.
    pub(crate) fn of(source: &SysRoot, manifest: &Manifest) -> Option<Self> {
        manifest.boot.entry.clone().map(|own| Self {
            source: source.clone(),
            own,
            variables: Path::new("/").join(efivars::DIR),
        })
    }

    /// From now on the upgrade boots, whatever happens: what it works on may no longer boot.
    ///
    /// # Errors
    /// When what the loader goes by cannot be read or written.
    pub(crate) fn keep_ours(&self) -> Result<()> {
        self.mended()?.set(&self.own.id, Boots::Upgrade).map(|_| ())
    }

    /// The old system boots again.
    ///
    /// # Errors
    /// Those of [`Self::keep_ours`].
    pub(crate) fn give_back(&self) -> Result<()> {
        self.mended()?.set(&self.own.id, self.own.old()).map(|_| ())
    }

    fn store(&self) -> Store {
        self.own.keeper.store(&self.source, &self.variables)
    }

    /// The same to be written to: a block that GRUB cannot read is made anew first, with the old system as what boots.
    fn mended(&self) -> Result<Store> {
        let store = self.store();
        if let Store::Grubenv(block) = &store {
            Grubenv::read_or_mend(block, &self.own.former_default)?;
        }
        Ok(store)
    }

    /// The ids of the entries that boot next and after that, by what the loader is told alone: that it goes by it was judged
    /// before the entry was armed.
    ///
    /// # Errors
    /// When that cannot be read.
    pub(crate) fn boots(&self) -> Result<[String; 2]> {
        let store = self.store();
        let default = store.chosen(Choice::Default)?;
        let default = default.unwrap_or_else(|| self.own.former_default.clone());
        Ok([
            store.chosen(Choice::Once)?.unwrap_or_else(|| default.clone()),
            default,
        ])
    }

    fn kept_aside(&self) -> PathBuf {
        self.source.at(STATE_DIR).join(GRUBENV_FILE)
    }

    /// GRUB's block as leapp and the scriptlets see and change it: as it was before the upgrade. In a run that `resumes` another,
    /// what that one has set goes on to be used. The firmware's variables they only read.
    ///
    /// # Errors
    /// When the block cannot be read, or its copy not written.
    pub(crate) fn stand_in(&self, resumes: bool) -> Result<StandIn> {
        let file = self.kept_aside();
        if let Store::Grubenv(block) = self.mended()? {
            if !resumes || Grubenv::read(&file).is_err() {
                let env = Grubenv::read(&block)?;
                let before = changed(&env, &self.own.id, self.own.old());
                atomic_write(&file, &before.to_bytes()?, 0o600)?;
            }
        }
        Ok(self.planned_stand_in())
    }

    /// The same before it is made.
    pub(crate) fn planned_stand_in(&self) -> StandIn {
        match &self.own.keeper {
            Keeper::Grub { grubenv, .. } => StandIn {
                file: self.kept_aside(),
                covers: grubenv.clone(),
                is_read_only: false,
            },
            Keeper::SystemdBoot { .. } => StandIn {
                file: self.variables.clone(),
                covers: format!("/{}", efivars::DIR),
                is_read_only: true,
            },
        }
    }

    /// The entry of the upgraded system: the one that leapp and the scriptlets made the default, where that can boot; else the
    /// newest that can.
    ///
    /// # Errors
    /// Why no entry can boot: a kernel, an initramfs or the modules of each are missing.
    pub(crate) fn target(&self) -> Result<Entry> {
        let menu = self.menu();
        let default = match &self.own.keeper {
            Keeper::Grub { .. } => Grubenv::read(&self.kept_aside())
                .ok()
                .and_then(|env| env.get(SAVED_ENTRY)),
            Keeper::SystemdBoot { .. } => self.without_ours(&menu).next_boots().ok().map(|boots| boots.next),
        };
        choose(&menu, default.as_deref(), &self.own, &|version| {
            self.source
                .at(MODULES)
                .join(version)
                .join("modules.dep")
                .is_file()
        })
    }

    /// The entries as they are now. GRUB's configuration was judged before the entry was armed.
    fn menu(&self) -> Menu {
        let boot = Path::new(&self.own.boot);
        match &self.own.keeper {
            Keeper::Grub { .. } => {
                let entries = files::entries(&self.source);
                Menu::Grub(Grub {
                    cfg: Err(String::new()),
                    env: Ok(Vec::new()),
                    env_is_fixed: None,
                    missing: files::missing(&self.source, boot, &entries),
                    entries,
                })
            }
            Keeper::SystemdBoot { esp, .. } => Menu::SystemdBoot(systemd_boot::files::look(
                &self.source.at(esp),
                &self.source.at(boot),
                &self.variables,
            )),
        }
    }

    /// The menu as it is without ours, and told what it was told before the upgrade.
    fn without_ours(&self, menu: &Menu) -> Menu {
        let menu = menu.without(&self.own.id).with(Choice::Once, None);
        menu.with(Choice::Default, self.own.former_choice())
    }

    /// The id of our entry.
    pub(crate) fn own_id(&self) -> &str {
        &self.own.id
    }

    /// A path of GRUB's as the source system sees it.
    pub(crate) fn path_of(&self, file: &str) -> String {
        match Path::new(file).strip_prefix(&self.own.boot) {
            Ok(below) => Path::new("/boot").join(below).display().to_string(),
            Err(_) => file.to_owned(),
        }
    }

    /// What leapp and the scriptlets have set counts from now on; but what boots is the upgrade still.
    ///
    /// # Errors
    /// When GRUB's environment block cannot be written.
    pub(crate) fn take_over(&self) -> Result<()> {
        // Its size may be another than that of the real one by now.
        if let (Store::Grubenv(block), Ok(set)) = (self.store(), Grubenv::read(&self.kept_aside())) {
            if changed(&set, &self.own.id, Boots::Upgrade)
                .write_in_place(&block)
                .is_ok()
            {
                return Ok(());
            }
        }
        self.keep_ours()
    }

    /// Makes the upgraded system what boots, with all that leapp and the scriptlets have set; then our entry goes.
    ///
    /// # Errors
    /// When what the loader goes by, or the entry, cannot be changed.
    pub(crate) fn hand_over(&self, target: &str) -> Result<()> {
        let store = self.mended()?;
        match &store {
            Store::Grubenv(block) => self.hand_block_over(block, target)?,
            Store::Variables(_) => {
                let menu = self.menu();
                store.set(&self.own.id, Boots::New(&menu.called(target)))?;
                // Where the loader comes to it by itself, newer kernels are to be the default later on.
                let by_itself = self.without_ours(&menu).next_boots();
                if by_itself.is_ok_and(|boots| boots.next == target) {
                    store.choose_default(self.own.former_choice())?;
                }
            }
        }
        let entry = self.source.at(&self.own.path);
        match fs::remove_file(&entry) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                return Err(e).with_context(|| format!("removing {}", entry.display()))
            }
            _ => {}
        }
        sync_dir(entry.parent().unwrap_or(self.source.path()))
    }

    fn hand_block_over(&self, block: &Path, target: &str) -> Result<()> {
        let real = Grubenv::read(block)?;
        // Its size may be another than that of the real one by now; then only the default is taken over.
        let set = Grubenv::read(&self.kept_aside()).ok();
        let new = |env: &Grubenv| changed(env, &self.own.id, Boots::New(target));
        match set.map(|env| new(&env).write_in_place(block)) {
            Some(Ok(())) => Ok(()),
            _ => new(&real).write_in_place(block),
        }
    }
}

/// The entry of the upgraded system, by what of each entry is there.
fn choose(
    menu: &Menu,
    default: Option<&str>,
    own: &OwnEntry,
    has_modules: &dyn Fn(&str) -> bool,
) -> Result<Entry> {
    let fault = |entry: &Entry| {
        menu.unsound(entry).or_else(|| {
            let version = kernel_version(entry)?;
            (!has_modules(version)).then(|| {
                format!(
                    "the entry {} does not boot: /{MODULES}/{version} is missing",
                    entry.id
                )
            })
        })
    };
    let by_default = default.and_then(|id| menu.entry(id)).into_iter().cloned();
    // An entry with a rescue image is no system that was upgraded.
    let others = menu.in_order().into_iter();
    let others = others.filter(|entry| !entry.id.contains("-0-rescue"));
    let mut faults = Vec::new();
    for entry in by_default.chain(others).filter(|entry| entry.id != own.id) {
        match fault(&entry) {
            None => return Ok(entry),
            Some(why) if !faults.contains(&why) => faults.push(why),
            Some(_) => {}
        }
    }
    if faults.is_empty() {
        bail!("the boot loader has no entry but the upgrade's own");
    }
    bail!("{}", faults.join("; "))
}

/// By the name of its kernel, as kernel-install(8) has it: `/vmlinuz-VERSION`, or `/ID/VERSION/linux`.
fn kernel_version(entry: &Entry) -> Option<&str> {
    let mut names = entry.linux.as_deref()?.rsplit('/');
    match names.next()? {
        "linux" => names.next(),
        name => name.strip_prefix("vmlinuz-"),
    }
}

#[cfg(test)]
mod tests;
