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
mod tests {
    use super::*;

    const OURS: &str = "a1-livemode";

    fn own() -> OwnEntry {
        OwnEntry {
            id: OURS.into(),
            path: format!("/boot/loader/entries/{OURS}.conf"),
            kernel: "/boot/vmlinuz-livemode.x86_64".into(),
            initramfs: "/boot/initramfs-livemode.x86_64.img".into(),
            keeper: Keeper::Grub {
                grubenv: "/boot/grub2/grubenv".into(),
                grubenv_on: None,
            },
            boot: "/".into(),
            former_default: "a1-5".into(),
        }
    }

    /// A source system on which the upgrade has installed a kernel `6` beside the old `5`.
    fn source() -> (tempfile::TempDir, Loader) {
        let dir = tempfile::tempdir().unwrap();
        let source = SysRoot::new(dir.path());
        for place in [files::ENTRIES, "boot/grub2", STATE_DIR] {
            fs::create_dir_all(source.at(place)).unwrap();
        }
        for (id, version) in [
            ("a1-5", "5"),
            ("a1-6", "6"),
            ("a1-0-rescue", "0-rescue"),
            (OURS, "livemode.x86_64"),
        ] {
            let text = format!(
                "title {id}\nlinux /vmlinuz-{version}\ninitrd /initramfs-{version}.img\noptions ro\n"
            );
            fs::write(source.at(files::ENTRIES).join(format!("{id}.conf")), text).unwrap();
            fs::write(source.at(format!("boot/vmlinuz-{version}")), "").unwrap();
            fs::write(source.at(format!("boot/initramfs-{version}.img")), "").unwrap();
            let modules = source.at(MODULES).join(version);
            fs::create_dir_all(&modules).unwrap();
            fs::write(modules.join("modules.dep"), "").unwrap();
        }
        let mut env = Grubenv::default();
        env.set(SAVED_ENTRY, "a1-5");
        fs::write(source.at("boot/grub2/grubenv"), env.to_bytes().unwrap()).unwrap();
        let loader = Loader {
            source,
            own: own(),
            variables: PathBuf::new(),
        };
        (dir, loader)
    }

    fn block(loader: &Loader) -> PathBuf {
        loader.source.at("boot/grub2/grubenv")
    }

    fn variables(path: &Path) -> Vec<(String, String)> {
        Grub::variables(&Grubenv::read(path).unwrap())
    }

    fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs
            .iter()
            .map(|(a, b)| ((*a).to_owned(), (*b).to_owned()))
            .collect()
    }

    #[test]
    fn what_is_set_while_leapp_runs_counts_after_success_only() {
        let (_dir, loader) = source();
        loader.keep_ours().unwrap();
        assert_eq!(
            variables(&block(&loader)),
            pairs(&[("saved_entry", OURS), ("next_entry", OURS)])
        );
        assert_eq!(loader.boots().unwrap(), [OURS, OURS]);
        let stand_in = loader.stand_in(false).unwrap();
        assert_eq!(stand_in.covers, "/boot/grub2/grubenv");
        assert_eq!(variables(&stand_in.file), pairs(&[("saved_entry", "a1-5")]));
        let mut set = Grubenv::read(&stand_in.file).unwrap();
        set.set(SAVED_ENTRY, "a1-6");
        set.set("kernelopts", "ro");
        set.write_in_place(&stand_in.file).unwrap();
        // A run that resumes this one goes on with it.
        assert_eq!(loader.stand_in(true).unwrap(), stand_in);
        assert_eq!(loader.target().unwrap().id, "a1-6");
        assert_eq!(variables(&block(&loader))[0].1, OURS);

        loader.hand_over("a1-6").unwrap();
        assert_eq!(
            variables(&block(&loader)),
            pairs(&[("saved_entry", "a1-6"), ("kernelopts", "ro")])
        );
        assert!(!loader.source.at(&loader.own.path).exists());
        loader.hand_over("a1-6").unwrap();
    }

    #[test]
    fn what_a_run_has_set_that_came_to_nothing_is_forgotten() {
        let (_dir, loader) = source();
        let stand_in = loader.stand_in(false).unwrap();
        let mut set = Grubenv::read(&stand_in.file).unwrap();
        set.set(SAVED_ENTRY, "a1-6");
        set.write_in_place(&stand_in.file).unwrap();
        // Back in the old system somebody sets a variable, and the upgrade is tried again.
        let mut env = Grubenv::read(&block(&loader)).unwrap();
        env.set("kernelopts", "quiet");
        env.write_in_place(&block(&loader)).unwrap();
        loader.stand_in(false).unwrap();
        assert_eq!(
            variables(&stand_in.file),
            pairs(&[("saved_entry", "a1-5"), ("kernelopts", "quiet")])
        );
    }

    #[test]
    fn a_failure_gives_the_old_default_back_and_keeps_what_somebody_has_chosen() {
        let (_dir, loader) = source();
        loader.keep_ours().unwrap();
        loader.give_back().unwrap();
        assert_eq!(variables(&block(&loader)), pairs(&[("saved_entry", "a1-5")]));
        assert_eq!(loader.boots().unwrap(), ["a1-5", "a1-5"]);
    }

    /// The same source system, whose loader is systemd-boot; 6 has its tries counted.
    fn with_systemd_boot() -> (tempfile::TempDir, Loader) {
        let (dir, mut loader) = source();
        let entries = loader.source.at("efi/loader/entries");
        fs::create_dir_all(&entries).unwrap();
        for (name, version) in [("a1-5", "5"), ("a1-6+3", "6"), (OURS, "livemode")] {
            let kernel = format!("a1/{version}/linux");
            let text = format!("title {name}\nlinux /{kernel}\nsort-key demo\nversion {version}\n");
            fs::write(entries.join(format!("{name}.conf")), text).unwrap();
            let kernel = loader.source.at("efi").join(kernel);
            fs::create_dir_all(kernel.parent().unwrap()).unwrap();
            fs::write(kernel, "").unwrap();
        }
        loader.variables = dir.path().join("variables");
        fs::create_dir(&loader.variables).unwrap();
        efivars::write(&loader.variables, efivars::LOADER_INFO, Some("systemd-boot 257")).unwrap();
        loader.own = OwnEntry {
            id: format!("{OURS}.conf"),
            path: format!("/efi/loader/entries/{OURS}.conf"),
            keeper: Keeper::SystemdBoot {
                esp: "/efi".into(),
                former_choice: None,
            },
            boot: "/efi".into(),
            former_default: "a1-5.conf".into(),
            ..own()
        };
        (dir, loader)
    }

    #[test]
    fn systemd_boot_is_told_of_ours_and_then_of_nothing_where_it_comes_to_the_target_by_itself() {
        let (_dir, loader) = with_systemd_boot();
        let told = || {
            [systemd_boot::ONE_SHOT, systemd_boot::DEFAULT]
                .map(|name| efivars::read(&loader.variables, name).unwrap())
        };
        let ours = Some(format!("{OURS}.conf"));
        loader.keep_ours().unwrap();
        assert_eq!(told(), [ours.clone(), ours]);
        let stand_in = loader.stand_in(false).unwrap();
        assert!(stand_in.is_read_only && stand_in.covers == "/sys/firmware/efi/efivars");
        loader.give_back().unwrap();
        assert_eq!(told(), [None, None]);
        assert_eq!(loader.boots().unwrap(), ["a1-5.conf", "a1-5.conf"]);
        loader.keep_ours().unwrap();
        assert_eq!(loader.target().unwrap().id, "a1-6.conf");
        // Another one than it would come to stays chosen, whatever its counters are.
        loader.hand_over("a1-5.conf").unwrap();
        assert_eq!(told(), [None, Some("a1-5.conf".into())]);
        loader.hand_over("a1-6.conf").unwrap();
        assert_eq!(told(), [None, None]);
        assert!(!loader.source.at(&loader.own.path).exists());
        // Without its modules it is none.
        fs::remove_file(loader.source.at("lib/modules/6/modules.dep")).unwrap();
        assert_eq!(loader.target().unwrap().id, "a1-5.conf");
    }

    #[test]
    fn an_upgraded_system_without_a_kernel_is_never_what_boots() {
        let (_dir, loader) = source();
        let remove = |path: &str| fs::remove_file(loader.source.at(path)).unwrap();
        assert_eq!(
            loader.target().unwrap().id,
            "a1-6",
            "the newest where nothing was set"
        );
        remove("boot/initramfs-6.img");
        assert_eq!(loader.target().unwrap().id, "a1-5");
        remove("lib/modules/5/modules.dep");
        let why = loader.target().unwrap_err().to_string();
        assert!(
            why.contains("/initramfs-6.img is missing") && why.contains("/lib/modules/5 is missing"),
            "{why}"
        );
        for id in ["a1-5", "a1-6"] {
            remove(&format!("{}/{id}.conf", files::ENTRIES));
        }
        let why = loader.target().unwrap_err().to_string();
        assert_eq!(why, "the boot loader has no entry but the upgrade's own");
    }
}
