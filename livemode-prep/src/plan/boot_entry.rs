//! The upgrade's own entry in GRUB's menu, and whether it may be armed: it boots once, and then the old system again. Pure.
use std::path::{Path, PathBuf};

use livemode_common::cmdline::Cmdline;
use livemode_common::loader::bls::{self, Entry};
use livemode_common::loader::grub_cfg::Default;
use livemode_common::loader::grubenv::{NEXT_ENTRY, SAVED_ENTRY};
use livemode_common::loader::next_boots::{Grub, NextBoots};
use livemode_common::loader::script;
use livemode_common::records::OwnEntry;

use crate::args::EntryKeeper;
use crate::facts::loader::{GrubFiles, Loader};
use crate::facts::Facts;

/// Its title, in the menu.
const TITLE: &str = "LiveMode upgrade";
/// What its id ends with. It sorts after the kernels of this machine: a default that is a number still means what it did.
const ID_SUFFIX: &str = "livemode";
/// What GRUB's way of writing entries is told to be by (grub2-switch-to-blscfg(8)).
const TO_BLS: &str = "grub2-switch-to-blscfg";

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
#[derive(Debug, Clone, Copy, std::default::Default, PartialEq, Eq)]
pub(crate) struct EntryChoice {
    /// Who keeps it; by default GRUB, where that is what boots.
    pub(crate) keeper: Option<EntryKeeper>,
    /// Whether a machine that fails before early boot has cleared next_entry may boot the upgrade's entry again.
    pub(crate) loop_risk: bool,
}

impl EntryChoice {
    /// Who keeps the entry on a machine with this loader.
    pub(crate) fn keeper(self, loader: Option<&Loader>) -> EntryKeeper {
        let has_grub = loader.is_some_and(|loader| loader.grub.is_some());
        self.keeper.unwrap_or(if has_grub {
            EntryKeeper::Grub
        } else {
            EntryKeeper::None
        })
    }
}

impl EntryPlan {
    /// The entry of a machine with these facts; `kernel` and `initramfs` as the source sees them.
    ///
    /// # Errors
    /// All that stands against it, each with what to do.
    pub(crate) fn new(
        facts: &Facts,
        kernel: &Path,
        initramfs: &Path,
        loop_risk: bool,
    ) -> Result<Self, Vec<String>> {
        let one = |why: &str| vec![why.to_owned()];
        let arch = facts.source.arch.as_str();
        if !matches!(arch, "x86_64" | "aarch64") {
            return Err(vec![format!(
                "--boot-entry grub was never tried on {arch}; give --boot-entry none and make the entry yourself"
            )]);
        }
        let loader = facts.loader.as_ref();
        let files = loader.and_then(|loader| loader.grub.as_ref()).ok_or_else(|| {
            one("there is no configuration of GRUB (/boot/grub2/grub.cfg); give --boot-entry none and make the entry yourself")
        })?;
        let machine_id = facts.source.machine_id.as_deref().ok_or_else(|| {
            one("there is no /etc/machine-id, by which entries are named; first: systemd-machine-id-setup")
        })?;
        let id = format!("{machine_id}-{ID_SUFFIX}");
        let known = facts
            .earlier
            .as_ref()
            .and_then(|manifest| manifest.boot.entry.as_ref());
        refuse_what_is_not_ours(files, &id, known)?;
        usable(files)?;

        let old = Self::old(&files.grub, &id, known).map_err(|why| vec![why])?;
        let entry = Entry {
            id: id.clone(),
            title: Some(TITLE.to_owned()),
            linux: Some(in_grub(files, kernel)),
            initrd: vec![in_grub(files, initramfs)],
            options: None,
        };
        let boots = armed(&files.grub, &entry, &old).map_err(|why| vec![why])?;
        let path = files.entries.join(format!("{id}{}", bls::SUFFIX));
        let plan = Self {
            own: OwnEntry {
                path: path.display().to_string(),
                kernel: kernel.display().to_string(),
                initramfs: initramfs.display().to_string(),
                boot: files.boot.display().to_string(),
                grubenv: files.env.display().to_string(),
                grubenv_on: on_device(files),
                former_default: old,
                id,
            },
            entry,
            machine_id: machine_id.to_owned(),
            boots,
        };
        plan.check(&files.grub, loop_risk)?;
        Ok(plan)
    }

    /// The entry that boots when ours is not armed.
    fn old(grub: &Grub, id: &str, known: Option<&OwnEntry>) -> Result<String, String> {
        let mut disarmed = grub.with(&[(NEXT_ENTRY, "")]);
        if let (Some(known), true) = (known, grub.variable(SAVED_ENTRY) == Some(id)) {
            disarmed = disarmed.with(&[(SAVED_ENTRY, &known.former_default)]);
        }
        disarmed.entries.retain(|entry| entry.id != id);
        Ok(disarmed.next_boots()?.next)
    }

    fn check(&self, grub: &Grub, loop_risk: bool) -> Result<(), Vec<String>> {
        let NextBoots { next, after } = &self.boots;
        let (ours, old) = (&self.own.id, &self.own.former_default);
        if next != ours {
            return Err(vec![format!(
                "GRUB would boot {next} in place of the upgrade's entry"
            )]);
        }
        let fixed = grub.env_is_fixed.as_deref();
        match fixed {
            None if after == old => Ok(()),
            None => Err(vec![format!("after the upgrade's entry GRUB would boot {after} in place of {old}")]),
            Some(_) if loop_risk && self.own.grubenv_on.is_some() => Ok(()),
            Some(why) if self.own.grubenv_on.is_none() => Err(vec![format!(
                "{}: {why}, and early boot could not find it to clear next_entry; put /boot on a partition with ext4 or xfs",
                self.own.grubenv
            )]),
            Some(why) => Err(vec![format!(
                "{}: {why}, so only early boot can clear next_entry: a machine that fails before that boots the upgrade's entry \
                 again and again; if you accept that, give --accept-loop-risk",
                self.own.grubenv
            )]),
        }
    }

    /// What the entry's file holds.
    ///
    /// # Errors
    /// The word that GRUB would not pass on.
    pub(crate) fn text(&self, arguments: &str, version: &str) -> Result<String, String> {
        let options = script::for_grub(&Cmdline::parse(arguments)).map_err(|word| {
            format!(
                "GRUB cannot pass on the kernel argument {word}; take it from the source's own line, or make the entry yourself \
                 (--boot-entry none)"
            )
        })?;
        let entry = Entry {
            options: Some(options),
            ..self.entry.clone()
        };
        Ok(entry.to_text(version, Some(&self.machine_id)))
    }
}

/// What boots once `entry` is there and armed.
fn armed(grub: &Grub, entry: &Entry, old: &str) -> Result<NextBoots, String> {
    let mut armed = grub.with(&[(NEXT_ENTRY, &entry.id)]);
    if grub.variable(SAVED_ENTRY) == Some(&entry.id) {
        armed = armed.with(&[(SAVED_ENTRY, old)]);
    }
    // Its files come with the build.
    let coming = |file: &String| entry.linux.iter().chain(&entry.initrd).any(|ours| ours == file);
    armed.missing.retain(|file| !coming(file));
    armed.entries.retain(|known| known.id != entry.id);
    armed.entries.push(entry.clone());
    armed.next_boots()
}

fn refuse_what_is_not_ours(files: &GrubFiles, id: &str, known: Option<&OwnEntry>) -> Result<(), Vec<String>> {
    let is_there = files.grub.entry(id).is_some();
    if is_there && known.is_none_or(|known| known.id != id) {
        return Err(vec![format!(
            "{}/{id}{} is there, and no build of this system has made it; remove it",
            files.entries.display(),
            bls::SUFFIX
        )]);
    }
    Ok(())
}

/// What of GRUB's configuration would make the entry, or arming it, mean nothing.
fn usable(files: &GrubFiles) -> Result<(), Vec<String>> {
    let mut faults = Vec::new();
    let shown = files.cfg.display();
    let anew = format!("grub2-mkconfig -o {shown}");
    match &files.grub.cfg {
        Err(why) => faults.push(why.clone()),
        Ok(cfg) => {
            if !cfg.shows_entries {
                faults.push(format!(
                    "{shown} does not show the entries in {} (GRUB_ENABLE_BLSCFG=false, or a configuration of its own); first: \
                     {TO_BLS}",
                    files.entries.display()
                ));
            }
            if !cfg.loads_env || !cfg.boots_once {
                faults.push(format!("{shown} does not boot next_entry once; first: {anew}"));
            }
            if let Some(Default::Fixed(entry)) = &cfg.default {
                faults.push(format!(
                    "{shown} boots '{entry}' whatever the saved default is; first: set GRUB_DEFAULT=saved in /etc/default/grub, \
                     then: {anew}"
                ));
            }
            if cfg.waits {
                faults.push(format!(
                    "{shown} waits for a keyboard; first: set GRUB_TIMEOUT=5 in /etc/default/grub, then: {anew}"
                ));
            }
            if let Some(line) = cfg.strange.first() {
                faults.push(format!(
                    "{shown} chooses what boots in a way of its own ({line}); take that line away, or give --boot-entry none"
                ));
            }
        }
    }
    if let Err(why) = &files.grub.env {
        faults.push(why.clone());
    }
    if faults.is_empty() {
        Ok(())
    } else {
        Err(faults)
    }
}

/// A file of /boot as GRUB names it.
fn in_grub(files: &GrubFiles, path: &Path) -> String {
    let below = path.strip_prefix("/boot").unwrap_or(path);
    files.boot.join(below).display().to_string()
}

/// Where early boot finds the block: its file system and the path there.
fn on_device(files: &GrubFiles) -> Option<String> {
    let device = &files.env_device;
    let name = files.env.file_name()?;
    let path: PathBuf = device.dir.join(name);
    device
        .uuid
        .as_ref()
        .map(|uuid| format!("UUID={uuid}:{}", path.display()))
}

#[cfg(test)]
pub(super) mod tests;
