//! The entry in GRUB's menu.
use std::path::PathBuf;

use livemode_common::loader::grub_cfg::Default;
use livemode_common::loader::menu::Menu;
use livemode_common::loader::store::Keeper;

use super::Home;
use crate::facts::loader::{GrubFiles, Loader};

/// What GRUB's way of writing entries is told to be by (grub2-switch-to-blscfg(8)).
const TO_BLS: &str = "grub2-switch-to-blscfg";

/// What of GRUB the entry needs, or all that stands against it; `has_block` says whether early boot finds the block.
pub(super) fn home(loader: Option<&Loader>, has_block: bool) -> Result<Home, Vec<String>> {
    let files = loader.and_then(|loader| loader.grub.as_ref()).ok_or_else(|| {
        vec![
            "there is no configuration of GRUB (/boot/grub2/grub.cfg); give --boot-entry none and make the entry yourself"
                .to_owned(),
        ]
    })?;
    usable(files)?;
    Ok(Home {
        menu: Menu::Grub(files.grub.clone()),
        entries: files.entries.clone(),
        suffix: "",
        mounted: PathBuf::from("/boot"),
        inside: files.boot.clone(),
        boot: files.boot.clone(),
        keeper: Keeper::Grub {
            grubenv: files.env.display().to_string(),
            grubenv_on: on_device(files).filter(|_| has_block),
        },
    })
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
