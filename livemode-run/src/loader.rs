//! What boots next, changed from the live system: the upgrade's entry while leapp runs, then the upgraded system, or the
//! old one again. What leapp and the scriptlets set meanwhile is kept aside, and counts only after success.
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{bail, Context, Result};
use livemode_common::contract::{GRUBENV_FILE, STATE_DIR};
use livemode_common::fsio::{atomic_write, sync_dir};
use livemode_common::loader::bls::{in_menu_order, Entry};
use livemode_common::loader::files;
use livemode_common::loader::grubenv::{Grubenv, NEXT_ENTRY, SAVED_ENTRY};
use livemode_common::loader::next_boots::Grub;
use livemode_common::loader::own::{changed, Boots};
use livemode_common::records::{Manifest, OwnEntry};
use livemode_common::sysroot::SysRoot;

const MODULES: &str = "lib/modules";

/// The loader of the source system, where the entry that was booted is ours.
#[derive(Debug, Clone)]
pub(crate) struct Loader {
    source: SysRoot,
    own: OwnEntry,
}

/// A bind mount of the upgrade's container: a file of this machine, and the path that it covers there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StandIn {
    pub(crate) file: PathBuf,
    pub(crate) covers: String,
}

impl Loader {
    /// That of a build; none where somebody else keeps the entry.
    pub(crate) fn of(source: &SysRoot, manifest: &Manifest) -> Option<Self> {
        manifest.boot.entry.clone().map(|own| Self {
            source: source.clone(),
            own,
        })
    }

    /// From now on the upgrade boots, whatever happens: what it works on may no longer boot.
    ///
    /// # Errors
    /// When GRUB's environment block cannot be read or written.
    pub(crate) fn keep_ours(&self) -> Result<()> {
        self.rewrite(Boots::Upgrade)
    }

    /// The old system boots again.
    ///
    /// # Errors
    /// Those of [`Self::keep_ours`].
    pub(crate) fn give_back(&self) -> Result<()> {
        self.rewrite(Boots::Old(&self.own.former_default))
    }

    fn rewrite(&self, boots: Boots) -> Result<()> {
        let path = self.block();
        let env = Grubenv::read(&path)?;
        changed(&env, &self.own.id, boots).write_in_place(&path)
    }

    /// The ids of the entries that boot next and after that, by the block alone: that GRUB goes by it was judged before the
    /// entry was armed.
    ///
    /// # Errors
    /// When the block cannot be read.
    pub(crate) fn boots(&self) -> Result<[String; 2]> {
        let env = Grubenv::read(&self.block())?;
        let default = env.get(SAVED_ENTRY).unwrap_or_default();
        Ok([env.get(NEXT_ENTRY).unwrap_or_else(|| default.clone()), default])
    }

    fn block(&self) -> PathBuf {
        self.source.at(&self.own.grubenv)
    }

    fn kept_aside(&self) -> PathBuf {
        self.source.at(STATE_DIR).join(GRUBENV_FILE)
    }

    /// The block that leapp and the scriptlets see and change: as it was before the upgrade. In a run that `resumes` another, what
    /// that one has set goes on to be used.
    ///
    /// # Errors
    /// When the block cannot be read, or its copy not written.
    pub(crate) fn stand_in(&self, resumes: bool) -> Result<StandIn> {
        let file = self.kept_aside();
        if !resumes || Grubenv::read(&file).is_err() {
            let env = Grubenv::read(&self.block())?;
            let before = changed(&env, &self.own.id, Boots::Old(&self.own.former_default));
            atomic_write(&file, &before.to_bytes()?, 0o600)?;
        }
        Ok(self.planned_stand_in())
    }

    /// The same before it is made.
    pub(crate) fn planned_stand_in(&self) -> StandIn {
        StandIn {
            file: self.kept_aside(),
            covers: self.own.grubenv.clone(),
        }
    }

    /// The entry of the upgraded system: the one that leapp and the scriptlets made the default, where that can boot; else the
    /// newest that can.
    ///
    /// # Errors
    /// Why no entry can boot: a kernel, an initramfs or the modules of each are missing.
    pub(crate) fn target(&self) -> Result<Entry> {
        let entries = files::entries(&self.source);
        let missing = files::missing(&self.source, Path::new(&self.own.boot), &entries);
        let default = Grubenv::read(&self.kept_aside())
            .ok()
            .and_then(|env| env.get(SAVED_ENTRY));
        let grub = Grub {
            cfg: Err(String::new()),
            env: Ok(Vec::new()),
            env_is_fixed: None,
            entries,
            missing,
        };
        choose(&grub, default.as_deref(), &self.own, &|version| {
            self.source
                .at(MODULES)
                .join(version)
                .join("modules.dep")
                .is_file()
        })
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
        let path = self.block();
        // Its size may be another than that of the real one by now.
        if let Ok(set) = Grubenv::read(&self.kept_aside()) {
            if changed(&set, &self.own.id, Boots::Upgrade)
                .write_in_place(&path)
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
    /// When the block or the entry cannot be changed.
    pub(crate) fn hand_over(&self, target: &str) -> Result<()> {
        let path = self.block();
        let real = Grubenv::read(&path)?;
        // Its size may be another than that of the real one by now; then only the default is taken over.
        let set = Grubenv::read(&self.kept_aside()).ok();
        let new = |env: &Grubenv| changed(env, &self.own.id, Boots::New(target));
        let taken_over = set.map(|env| new(&env).write_in_place(&path));
        if !matches!(taken_over, Some(Ok(()))) {
            new(&real).write_in_place(&path)?;
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
}

/// The entry of the upgraded system, by what of each entry is there.
fn choose(
    grub: &Grub,
    default: Option<&str>,
    own: &OwnEntry,
    has_modules: &dyn Fn(&str) -> bool,
) -> Result<Entry> {
    let fault = |entry: &Entry| {
        grub.unsound(entry).or_else(|| {
            let version = kernel_version(entry)?;
            (!has_modules(version)).then(|| {
                format!(
                    "the entry {} does not boot: /{MODULES}/{version} is missing",
                    entry.id
                )
            })
        })
    };
    let by_default = default.and_then(|id| grub.entry(id)).into_iter().cloned();
    let others = in_menu_order(grub.entries.clone());
    // An entry with a rescue image is no system that was upgraded.
    let others = others.into_iter().filter(|entry| !entry.id.contains("-0-rescue"));
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

/// By the name of its kernel, as kernel-install(8) has it: `/vmlinuz-VERSION`.
fn kernel_version(entry: &Entry) -> Option<&str> {
    let name = entry.linux.as_deref()?.rsplit('/').next()?;
    name.strip_prefix("vmlinuz-")
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
            grubenv: "/boot/grub2/grubenv".into(),
            grubenv_on: None,
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
        (dir, Loader { source, own: own() })
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
            variables(&loader.block()),
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
        assert_eq!(variables(&loader.block())[0].1, OURS);

        loader.hand_over("a1-6").unwrap();
        assert_eq!(
            variables(&loader.block()),
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
        let mut env = Grubenv::read(&loader.block()).unwrap();
        env.set("kernelopts", "quiet");
        env.write_in_place(&loader.block()).unwrap();
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
        assert_eq!(variables(&loader.block()), pairs(&[("saved_entry", "a1-5")]));
        assert_eq!(loader.boots().unwrap(), ["a1-5", "a1-5"]);
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
