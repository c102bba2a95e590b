//! The entry in systemd-boot's menu.
use std::path::{Path, PathBuf};

use livemode_common::loader::menu::Menu;
use livemode_common::loader::own::Choice;
use livemode_common::loader::store::Keeper;
use livemode_common::loader::systemd_boot::files::ENTRIES;
use livemode_common::records::OwnEntry;

use super::Home;
use crate::facts::Facts;

/// What of systemd-boot the entry needs, or what stands against it; `known` is the entry of an earlier build.
pub(super) fn home(facts: &Facts, known: Option<&OwnEntry>) -> Result<Home, String> {
    let loader = facts.loader.as_ref();
    let files = loader.and_then(|loader| loader.systemd_boot.clone()).ok_or(
        "systemd-boot is not what has booted this system, by its variable LoaderInfo; give --boot-entry grub or none",
    )??;
    let fstab = facts.source.fstab.as_deref().unwrap_or_default();
    let is_listed = |dir: &&Path| fstab.iter().any(|entry| Path::new(&entry.fs_file) == *dir);
    if let Some(dir) = [files.esp.as_path(), &files.boot]
        .into_iter()
        .find(|dir| !is_listed(dir))
    {
        return Err(format!(
            "{} is mounted, and /etc/fstab does not list it, so the live system could not mount it; add it there",
            dir.display()
        ));
    }
    let menu = Menu::SystemdBoot(files.loader);
    let chosen = menu.chosen(Choice::Default);
    let former = known.filter(|known| chosen == Some(&known.id));
    let former_choice = former.map_or(chosen, OwnEntry::former_choice).map(str::to_owned);
    Ok(Home {
        menu,
        entries: files.boot.join(ENTRIES),
        suffix: ".conf",
        mounted: files.boot.clone(),
        inside: PathBuf::from("/"),
        boot: files.boot,
        keeper: Keeper::SystemdBoot {
            esp: files.esp.display().to_string(),
            former_choice,
        },
    })
}
