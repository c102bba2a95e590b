//! A loader's menu and what it is told of it, whichever loader it is: what it boots can be asked, also of what would be. Pure.
use super::bls::{self, Entry};
use super::grubenv::{NEXT_ENTRY, SAVED_ENTRY};
use super::next_boots::{Grub, NextBoots};
use super::own::Choice;
use super::systemd_boot::{Item, SystemdBoot, DEFAULT, ONE_SHOT};

/// All that a loader goes by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Menu {
    /// GRUB.
    Grub(Grub),
    /// systemd-boot.
    SystemdBoot(SystemdBoot),
}

impl Menu {
    /// What messages call it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Grub(_) => "GRUB",
            Self::SystemdBoot(_) => "systemd-boot",
        }
    }

    /// What is chosen now.
    pub fn chosen(&self, choice: Choice) -> Option<&str> {
        match self {
            Self::Grub(grub) => grub.variable(in_block(choice)),
            Self::SystemdBoot(loader) => loader.variable(of_firmware(choice)),
        }
    }

    /// The same, with another choice.
    #[must_use]
    pub fn with(&self, choice: Choice, id: Option<&str>) -> Self {
        match self {
            Self::Grub(grub) => Self::Grub(grub.with(&[(in_block(choice), id.unwrap_or_default())])),
            Self::SystemdBoot(loader) => Self::SystemdBoot(loader.with(of_firmware(choice), id)),
        }
    }

    /// The same without an entry.
    #[must_use]
    pub fn without(&self, id: &str) -> Self {
        let mut menu = self.clone();
        match &mut menu {
            Self::Grub(grub) => grub.entries.retain(|known| known.id != id),
            Self::SystemdBoot(loader) => loader.entries.retain(|known| known.entry.id != id),
        }
        menu
    }

    /// The same with this entry, whose files are there.
    #[must_use]
    pub fn with_entry(&self, entry: &Entry) -> Self {
        let mut menu = self.without(&entry.id);
        match &mut menu {
            Self::Grub(grub) => {
                let ours = |file: &String| entry.linux.iter().chain(&entry.initrd).any(|own| own == file);
                grub.missing.retain(|file| !ours(file));
                grub.entries.push(entry.clone());
            }
            Self::SystemdBoot(loader) => {
                let text = entry.to_text("", None);
                loader.entries.push(Item::parse(&entry.id, &text));
            }
        }
        menu
    }

    /// The entry with this id.
    pub fn entry(&self, id: &str) -> Option<&Entry> {
        match self {
            Self::Grub(grub) => grub.entry(id),
            Self::SystemdBoot(loader) => loader.item(id).map(|item| &item.entry),
        }
    }

    /// Why this entry would not boot, if so.
    pub fn unsound(&self, entry: &Entry) -> Option<String> {
        match self {
            Self::Grub(grub) => grub.unsound(entry),
            Self::SystemdBoot(loader) => loader.unsound(entry),
        }
    }

    /// The entries, in the order in which they are shown.
    pub fn in_order(&self) -> Vec<Entry> {
        match self {
            Self::Grub(grub) => bls::in_menu_order(grub.entries.clone()),
            Self::SystemdBoot(loader) => loader.in_menu_order(),
        }
    }

    /// The first entry that boots, as far as its files tell, and that is not `but`.
    pub fn newest_sound(&self, but: &str) -> Option<Entry> {
        self.in_order()
            .into_iter()
            .find(|entry| entry.id != but && self.unsound(entry).is_none())
    }

    /// What names an entry to the loader.
    pub fn called(&self, id: &str) -> String {
        match self {
            Self::Grub(_) => id.to_owned(),
            Self::SystemdBoot(loader) => loader.pattern(id),
        }
    }

    /// What boots next, and what after that.
    ///
    /// # Errors
    /// Why that cannot be said, or why the machine would stop at a menu.
    pub fn next_boots(&self) -> Result<NextBoots, String> {
        match self {
            Self::Grub(grub) => grub.next_boots(),
            Self::SystemdBoot(loader) => loader.next_boots(),
        }
    }

    /// Why the loader cannot take back what boots once, if so.
    pub fn cannot_clear(&self) -> Option<&str> {
        match self {
            Self::Grub(grub) => grub.env_is_fixed.as_deref(),
            Self::SystemdBoot(_) => None,
        }
    }
}

fn in_block(choice: Choice) -> &'static str {
    match choice {
        Choice::Once => NEXT_ENTRY,
        Choice::Default => SAVED_ENTRY,
    }
}

fn of_firmware(choice: Choice) -> &'static str {
    match choice {
        Choice::Once => ONE_SHOT,
        Choice::Default => DEFAULT,
    }
}

#[cfg(test)]
mod tests {
    use super::super::grub_cfg::tests::RHEL;
    use super::super::grub_cfg::GrubCfg;
    use super::*;

    fn entry(id: &str) -> Entry {
        Entry {
            id: id.to_owned(),
            title: Some(id.to_owned()),
            linux: Some(format!("/vmlinuz-{id}")),
            ..Entry::default()
        }
    }

    fn menus() -> [Menu; 2] {
        let grub = Grub {
            cfg: Ok(GrubCfg::parse(RHEL)),
            env: Ok(Vec::new()),
            env_is_fixed: None,
            entries: Vec::new(),
            missing: ["/vmlinuz-a1-livemode.conf", "/vmlinuz-another"]
                .map(str::to_owned)
                .into(),
        };
        let menus = [Menu::Grub(grub), Menu::SystemdBoot(SystemdBoot::default())];
        menus.map(|menu| {
            menu.with_entry(&entry("a1-5.conf"))
                .with_entry(&entry("a1-6.conf"))
        })
    }

    #[test]
    fn an_entrys_own_files_are_there_and_a_block_that_is_fixed_clears_nothing() {
        let [grub, systemd_boot] = menus();
        let Menu::Grub(mut grub) = grub.with_entry(&entry("a1-livemode.conf")) else {
            panic!("it is GRUB's");
        };
        assert_eq!(grub.missing, ["/vmlinuz-another"]);
        assert_eq!(Menu::Grub(grub.clone()).cannot_clear(), None);
        grub.env_is_fixed = Some("it lies on LVM".into());
        assert_eq!(Menu::Grub(grub).cannot_clear(), Some("it lies on LVM"));
        assert_eq!(systemd_boot.cannot_clear(), None);
    }

    #[test]
    fn both_loaders_answer_alike() {
        for menu in menus() {
            let boots = |menu: &Menu| menu.next_boots().map(|boots| (boots.next, boots.after)).unwrap();
            let is = |next: &str, after: &str| (next.to_owned(), after.to_owned());
            assert_eq!(boots(&menu), is("a1-6.conf", "a1-6.conf"));
            let pinned = menu.with(Choice::Default, Some("a1-5.conf"));
            assert_eq!(boots(&pinned), is("a1-5.conf", "a1-5.conf"));
            assert_eq!(pinned.chosen(Choice::Default), Some("a1-5.conf"));
            assert_eq!(pinned.with(Choice::Default, None).chosen(Choice::Default), None);
            let ours = entry("a1-livemode.conf");
            let armed = pinned.with_entry(&ours).with(Choice::Once, Some(&ours.id));
            assert_eq!(boots(&armed), is("a1-livemode.conf", "a1-5.conf"));
            assert_eq!(
                boots(&armed.without("a1-5.conf")),
                is("a1-livemode.conf", "a1-6.conf")
            );
            let order: Vec<String> = armed.in_order().into_iter().map(|entry| entry.id).collect();
            assert_eq!(order, ["a1-6.conf", "a1-5.conf", "a1-livemode.conf"]);
            let newest = |menu: &Menu, but: &str| menu.newest_sound(but).map(|entry| entry.id);
            assert_eq!(newest(&armed, "a1-6.conf").as_deref(), Some("a1-5.conf"));
            let broken = Entry {
                linux: None,
                ..entry("a1-6.conf")
            };
            let broken = armed.with_entry(&broken).without("a1-5.conf");
            assert_eq!(newest(&broken, "").as_deref(), Some("a1-livemode.conf"));
            assert_eq!(newest(&broken, "a1-livemode.conf"), None);
            assert_eq!(armed.entry("a1-livemode.conf"), Some(&ours));
            assert_eq!(armed.called("a1-5.conf"), "a1-5.conf");
        }
    }
}
