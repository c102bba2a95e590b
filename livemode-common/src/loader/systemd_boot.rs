//! What systemd-boot boots next, and what after that, when nobody touches the machine: its way from loader.conf, the firmware's
//! variables and the entries to one of these, as systemd's src/boot/boot.c takes it. Pure, but for [`files`].
use serde::{Deserialize, Serialize};

use super::bls::Entry;
use super::next_boots::NextBoots;

pub mod files;
mod item;
mod names;

pub use item::Item;
pub(super) use names::with_any_counters;
use names::{counted, matches};

/// The variable that names the entry that boots once. The loader clears it before it boots anything.
pub const ONE_SHOT: &str = "LoaderEntryOneShot";
/// The variable that names the default, before loader.conf does.
pub const DEFAULT: &str = "LoaderEntryDefault";
/// What loader.conf and [`DEFAULT`] call the entry that booted last.
const SAVED: &str = "@saved";
const LAST_BOOTED: &str = "LoaderEntryLastBooted";
/// Newer loaders ask this one before [`DEFAULT`].
const PREFERRED: &str = "LoaderEntryPreferred";
const TIMEOUT: &str = "LoaderConfigTimeout";
const TIMEOUT_ONCE: &str = "LoaderConfigTimeoutOneShot";
/// All that it goes by.
const VARIABLES: [&str; 6] = [ONE_SHOT, DEFAULT, LAST_BOOTED, PREFERRED, TIMEOUT, TIMEOUT_ONCE];

/// All that systemd-boot goes by.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SystemdBoot {
    /// `timeout`, `default` and `preferred` of loader.conf.
    pub conf: Vec<(String, String)>,
    /// Those of the firmware's variables that it reads, and that are set.
    pub variables: Vec<(String, String)>,
    /// The entries of type 1, in any order.
    pub entries: Vec<Item>,
    /// The names of unified kernel images (type 2). Where they stand in the menu is not looked at.
    pub images: Vec<String>,
}

impl SystemdBoot {
    /// A variable that is set.
    pub fn variable(&self, name: &str) -> Option<&str> {
        value(&self.variables, name)
    }

    /// The same, with a variable set or taken away.
    #[must_use]
    pub fn with(&self, name: &str, set: Option<&str>) -> Self {
        let mut other = self.clone();
        other.variables.retain(|(known, _)| known != name);
        let set = set.map(|set| (name.to_owned(), set.to_owned()));
        other.variables.extend(set);
        other
    }

    /// The entry with this id.
    pub fn item(&self, id: &str) -> Option<&Item> {
        self.entries.iter().find(|item| item.entry.id == id)
    }

    /// What a variable must hold so that it means the entry with this id, now and after its tries are counted.
    pub fn pattern(&self, id: &str) -> String {
        let is_counted = self.item(id).is_some_and(|item| item.tries_left.is_some());
        if is_counted || !matches(id, id) {
            with_any_counters(id)
        } else {
            id.to_owned()
        }
    }

    /// Why this entry would not boot, if so.
    pub fn unsound(&self, entry: &Entry) -> Option<String> {
        let id = &entry.id;
        let item = self.item(id);
        let missing = item.and_then(|item| item.missing.as_ref());
        let why = match missing {
            Some(file) => format!("{file} is missing"),
            None if entry.linux.is_none() => "it names no kernel".to_owned(),
            None => return None,
        };
        Some(format!("the entry {id} does not boot: {why}"))
    }

    /// The entries in the menu's order.
    pub fn in_menu_order(&self) -> Vec<Entry> {
        self.menu().into_iter().map(|item| item.entry.clone()).collect()
    }

    fn menu(&self) -> Vec<&Item> {
        let mut menu: Vec<&Item> = self.entries.iter().filter(|item| item.is_shown()).collect();
        menu.sort_by(|one, two| one.order(two));
        menu
    }

    /// What boots next, and what after that.
    ///
    /// # Errors
    /// Why that cannot be said, or why the machine would stop at a menu.
    pub fn next_boots(&self) -> Result<NextBoots, String> {
        let mut now = self.clone();
        let next = now.boot()?;
        let after = now.boot()?;
        Ok(NextBoots { next, after })
    }

    /// One boot; what it changes stands in the variables and entries afterwards.
    fn boot(&mut self) -> Result<String, String> {
        self.waits()?;
        let once = self.variable(ONE_SHOT).map(str::to_owned);
        *self = self.with(ONE_SHOT, None);
        let chosen = match once.as_deref().map(|once| self.find(once)).transpose()?.flatten() {
            Some(id) => id,
            None => {
                let id = self.by_default()?;
                if self.saves() {
                    *self = self.with(LAST_BOOTED, Some(&self.pattern(&id)));
                }
                id
            }
        };
        let entry = self.item(&chosen).map(|item| item.entry.clone());
        if let Some(why) = entry.and_then(|entry| self.unsound(&entry)) {
            return Err(why);
        }
        for item in self.entries.iter_mut().filter(|item| item.entry.id == chosen) {
            item.tries_left = item.tries_left.map(|left| left.saturating_sub(1));
        }
        Ok(chosen)
    }

    fn by_default(&self) -> Result<String, String> {
        if self.variable(PREFERRED).is_some() || value(&self.conf, "preferred").is_some() {
            return Err(
                "systemd-boot is told of an entry that it prefers, which not every version of it asks for; first: bootctl \
                 set-preferred '', and take the line 'preferred' out of loader.conf"
                    .to_owned(),
            );
        }
        for set in [self.variable(DEFAULT), value(&self.conf, "default")]
            .into_iter()
            .flatten()
        {
            let pattern = if set.eq_ignore_ascii_case(SAVED) {
                self.variable(LAST_BOOTED).unwrap_or_default()
            } else {
                set
            };
            if let Some(id) = self.find(pattern)? {
                return Ok(id);
            }
        }
        self.images_are_none()?;
        let first = self.menu().first().map(|item| item.entry.id.clone());
        first.ok_or_else(|| "systemd-boot's menu has no entry".to_owned())
    }

    /// Whether the entry that boots becomes the one that booted last.
    fn saves(&self) -> bool {
        let is_saved = |set: Option<&str>| set.is_some_and(|set| set.eq_ignore_ascii_case(SAVED));
        match self.variable(DEFAULT) {
            Some(set) => is_saved(Some(set)),
            None => is_saved(value(&self.conf, "default")),
        }
    }

    /// The first of the menu that a pattern matches.
    fn find(&self, pattern: &str) -> Result<Option<String>, String> {
        let entry = self.menu().into_iter().find(|item| matches(pattern, &item.name));
        let mut images = self.images.iter().filter(|name| matches(pattern, name));
        match (entry, images.next()) {
            (entry, None) => Ok(entry.map(|item| item.entry.id.clone())),
            (None, Some(image)) if images.next().is_none() => Ok(Some(counted(image).0)),
            _ => self.images_are_none().map(|()| None),
        }
    }

    fn images_are_none(&self) -> Result<(), String> {
        match self.images.first() {
            None => Ok(()),
            Some(image) => Err(format!(
                "where unified kernel images such as {image} stand in systemd-boot's menu is not looked at; first name the default: \
                 bootctl set-default ID"
            )),
        }
    }

    fn waits(&self) -> Result<(), String> {
        let set = [self.variable(TIMEOUT), value(&self.conf, "timeout")];
        let timeout = set.into_iter().flatten().next();
        let once = self.variable(TIMEOUT_ONCE);
        if timeout == Some("menu-force") || matches!(once, Some("0" | "menu-force")) {
            return Err(
                "systemd-boot's menu waits for a keyboard (menu-force); first: bootctl set-timeout 5, bootctl \
                 set-timeout-oneshot ''"
                    .to_owned(),
            );
        }
        Ok(())
    }
}

fn value<'a>(pairs: &'a [(String, String)], name: &str) -> Option<&'a str> {
    let found = pairs.iter().rfind(|(known, _)| known == name);
    found
        .map(|(_, value)| value.as_str())
        .filter(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    const OURS: &str = "a1-livemode.conf";
    const OLD: &str = "a1-5.14.0-1.el9.x86_64.conf";
    const NEWER: &str = "a1-5.14.0-9.el9.x86_64.conf";

    fn item(name: &str) -> Item {
        Item::parse(
            name,
            &format!("title {name}\nlinux /linux-{name}\noptions ro\nmachine-id a1\n"),
        )
    }

    fn with_key(name: &str, key: &str, version: &str) -> Item {
        Item {
            sort_key: Some(key.into()),
            version: version.into(),
            ..item(name)
        }
    }

    fn boot(variables: &[(&str, &str)], conf: &[(&str, &str)]) -> SystemdBoot {
        let pairs = |pairs: &[(&str, &str)]| {
            let pairs = pairs.iter();
            pairs.map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect()
        };
        SystemdBoot {
            conf: pairs(conf),
            variables: pairs(variables),
            entries: [OURS, OLD, NEWER].map(item).to_vec(),
            images: Vec::new(),
        }
    }

    fn boots(loader: &SystemdBoot) -> [String; 2] {
        let NextBoots { next, after } = loader.next_boots().unwrap();
        [next, after]
    }

    #[test]
    fn the_variables_say_what_boots_then_loader_conf_then_the_order() {
        let saved = ("default", "@saved");
        for (variables, conf, next, after) in [
            (vec![], vec![], NEWER, NEWER),
            (vec![(DEFAULT, OLD)], vec![], OLD, OLD),
            (vec![(DEFAULT, OLD), (ONE_SHOT, OURS)], vec![], OURS, OLD),
            (vec![(DEFAULT, OLD)], vec![("default", NEWER)], OLD, OLD),
            (vec![(DEFAULT, "gone.conf")], vec![("default", OLD)], OLD, OLD),
            (vec![], vec![("default", "a1-*-1.el9*")], OLD, OLD),
            (vec![], vec![("default", "A1-5*")], NEWER, NEWER),
            (vec![], vec![("default", "gone*")], NEWER, NEWER),
            (vec![(ONE_SHOT, "gone.conf")], vec![], NEWER, NEWER),
            (vec![(ONE_SHOT, "A1-LIVEMODE.conf")], vec![], OURS, NEWER),
            // One shot is not what booted last.
            (vec![(LAST_BOOTED, OLD), (ONE_SHOT, OURS)], vec![saved], OURS, OLD),
            (vec![(LAST_BOOTED, "gone")], vec![saved], NEWER, NEWER),
            (vec![(DEFAULT, "@saved"), (LAST_BOOTED, OLD)], vec![], OLD, OLD),
        ] {
            let loader = boot(&variables, &conf);
            assert_eq!(boots(&loader), [next, after], "{variables:?} {conf:?}");
        }
    }

    #[test]
    fn the_menu_has_keys_first_then_the_newest_and_used_up_entries_last() {
        let mut loader = boot(&[], &[]);
        let ids = |loader: &SystemdBoot| -> Vec<String> {
            let order = loader.in_menu_order();
            order.into_iter().map(|entry| entry.id).collect()
        };
        assert_eq!(ids(&loader), [NEWER, OLD, OURS]);
        loader.entries = vec![
            item("z.conf"),
            with_key("c.conf", "rhel", "5.9"),
            with_key("b.conf", "rhel", "5.14"),
            with_key("a.conf", "fedora", "1"),
            with_key("d+0-3.conf", "fedora", "9"),
        ];
        assert_eq!(ids(&loader), ["a.conf", "b.conf", "c.conf", "z.conf", "d.conf"]);
        // The kernel of the first is gone: it is not shown.
        loader.entries[3].missing = loader.entries[3].entry.linux.clone();
        assert_eq!(boots(&loader), ["b.conf", "b.conf"]);
    }

    #[test]
    fn tries_are_counted() {
        let mut loader = boot(&[], &[]);
        loader.entries = vec![item("b+1-2.conf"), item("a.conf")];
        assert_eq!(boots(&loader), ["b.conf", "a.conf"]);
        assert_eq!(loader.pattern("b.conf"), "b[+.]*conf");
        assert_eq!(loader.pattern("a.conf"), "a.conf");
        // As it stands it would match another name.
        assert_eq!(loader.pattern("a[1].conf"), "a\\[1][+.]*conf");
        // What has booted is what booted last, also once it has no tries left; without that the order decides.
        for (set, after) in [("@saved", "b.conf"), ("", "a.conf")] {
            assert_eq!(boots(&loader.with(DEFAULT, Some(set))), ["b.conf", after]);
            let conf = vec![("default".to_owned(), set.to_owned())];
            let set_in_file = SystemdBoot {
                conf,
                ..loader.clone()
            };
            assert_eq!(boots(&set_in_file), ["b.conf", after]);
        }
        // The file's name is what is matched.
        let named = |set: &str| boots(&loader.with(DEFAULT, Some(set)));
        assert_eq!(named("b.conf"), ["b.conf", "a.conf"]);
        assert_eq!(named(&loader.pattern("b.conf")), ["b.conf", "b.conf"]);
    }

    #[test]
    fn what_cannot_be_foretold_or_waits_is_told() {
        let with_image = SystemdBoot {
            images: vec!["fedora-6.1+3.efi".into(), "fedora-6.2.efi".into()],
            ..boot(&[], &[])
        };
        let fault = |loader: &SystemdBoot| loader.next_boots().unwrap_err();
        for (loader, why) in [
            (boot(&[], &[("timeout", "menu-force")]), "waits for a keyboard"),
            (
                boot(&[(TIMEOUT, "menu-force")], &[("timeout", "3")]),
                "waits for a keyboard",
            ),
            (boot(&[(TIMEOUT_ONCE, "0")], &[]), "waits for a keyboard"),
            (boot(&[(PREFERRED, OLD)], &[]), "set-preferred"),
            (boot(&[], &[("preferred", OLD)]), "set-preferred"),
            (with_image.clone(), "bootctl set-default ID"),
            (with_image.with(DEFAULT, Some("*")), "bootctl set-default ID"),
            (SystemdBoot::default(), "has no entry"),
        ] {
            assert!(fault(&loader).contains(why), "{}", fault(&loader));
        }
        assert_eq!(
            boots(&boot(&[(TIMEOUT, "5")], &[("timeout", "menu-force")])),
            [NEWER, NEWER]
        );
        assert_eq!(boots(&with_image.with(DEFAULT, Some(OLD))), [OLD, OLD]);
        let image = with_image.with(DEFAULT, Some("fedora-6.1*"));
        assert_eq!(boots(&image), ["fedora-6.1.efi", "fedora-6.1.efi"]);
        // Two images: which of them comes first is not known.
        assert!(fault(&with_image.with(DEFAULT, Some("fedora-*"))).contains("bootctl set-default ID"));
        let mut loader = boot(&[(ONE_SHOT, OURS)], &[]);
        loader.entries[0].missing = Some("/initramfs".into());
        assert!(fault(&loader).contains("a1-livemode.conf does not boot: /initramfs is missing"));
        let nameless = Entry {
            linux: None,
            ..item("a.conf").entry
        };
        assert_eq!(
            loader.unsound(&nameless).as_deref(),
            Some("the entry a.conf does not boot: it names no kernel")
        );
    }
}
