//! What boots next, and what after that, when nobody touches the machine. Pure: GRUB's way from its environment block and
//! configuration to an entry, as its scripts and grub-core/normal/menu.c take it.
use serde::{Deserialize, Serialize};

use super::bls::{in_menu_order, Entry};
use super::grub_cfg::{Default, GrubCfg};
use super::grubenv::{Grubenv, NEXT_ENTRY, SAVED_ENTRY};
use super::script;

/// All that GRUB goes by.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grub {
    /// The configuration that the firmware's stub leads to, or why it is not known.
    pub cfg: Result<GrubCfg, String>,
    /// The environment block's variables, or why GRUB boots without any.
    pub env: Result<Vec<(String, String)>, String>,
    /// Why GRUB cannot write to the block's file, if it cannot.
    pub env_is_fixed: Option<String>,
    /// The entries, in any order.
    pub entries: Vec<Entry>,
    /// The kernels and initramfs files that the entries name and that are not there.
    pub missing: Vec<String>,
}

/// The ids of the entries that boot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NextBoots {
    /// At the next boot.
    pub next: String,
    /// At the one after it, if the next one changes nothing.
    pub after: String,
}

/// An entry of the menu.
struct Choice<'a> {
    id: &'a str,
    title: &'a str,
    entry: Option<&'a Entry>,
}

/// The variables as one boot leaves them to the next.
#[derive(Debug, Clone)]
struct Variables(Vec<(String, String)>);

impl Variables {
    fn get(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(known, _)| known == name);
        found
            .map(|(_, value)| value.as_str())
            .filter(|value| !value.is_empty())
    }

    fn set(&mut self, name: &str, value: &str) {
        self.0.retain(|(known, _)| known != name);
        self.0.push((name.to_owned(), value.to_owned()));
    }
}

impl Grub {
    /// The variables of a block.
    pub fn variables(env: &Grubenv) -> Vec<(String, String)> {
        env.names()
            .filter_map(|name| Some((name.to_owned(), env.get(name)?)))
            .collect()
    }

    /// The value of a variable of the block.
    pub fn variable(&self, name: &str) -> Option<&str> {
        let env = self.env.as_ref().ok()?;
        let found = env.iter().find(|(known, _)| known == name);
        found
            .map(|(_, value)| value.as_str())
            .filter(|value| !value.is_empty())
    }

    /// The entry with this id.
    pub fn entry(&self, id: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.id == id)
    }

    /// Why this entry would not boot, if so.
    pub fn unsound(&self, entry: &Entry) -> Option<String> {
        let id = &entry.id;
        let files = entry.linux.iter().chain(&entry.initrd);
        let gone = files.into_iter().find(|file| self.missing.contains(file));
        let why = gone
            .map(|file| format!("{file} is missing"))
            .or_else(|| entry.linux.is_none().then(|| "it names no kernel".to_owned()))
            .or_else(|| script::fault(entry.options.as_deref().unwrap_or_default()));
        why.map(|why| format!("the entry {id} does not boot: {why}"))
    }

    /// The same, with these variables set.
    #[must_use]
    pub fn with(&self, variables: &[(&str, &str)]) -> Self {
        let mut grub = self.clone();
        if let Ok(env) = &mut grub.env {
            let mut changed = Variables(std::mem::take(env));
            for (name, value) in variables {
                changed.set(name, value);
            }
            *env = changed.0;
        }
        grub
    }

    /// What boots next, and what after that.
    ///
    /// # Errors
    /// Why that cannot be said, or why the machine would stop at a menu.
    pub fn next_boots(&self) -> Result<NextBoots, String> {
        let cfg = self.cfg.as_ref().map_err(Clone::clone)?;
        if cfg.waits {
            return Err("GRUB's menu waits for a keyboard (GRUB_TIMEOUT=-1)".to_owned());
        }
        if let Some(line) = cfg.strange.first() {
            return Err(format!(
                "GRUB's configuration chooses what boots in a way of its own: {line}"
            ));
        }
        let mut variables = Variables(match &self.env {
            Ok(env) if cfg.loads_env => env.clone(),
            _ => Vec::new(),
        });
        let entries = in_menu_order(self.entries.clone());
        let menu = menu(cfg, &entries);
        let next = self.boot(cfg, &menu, &mut variables)?;
        let after = self.boot(cfg, &menu, &mut variables)?;
        Ok(NextBoots { next, after })
    }

    /// One boot. What it saves stands in the variables afterwards, if GRUB can write them.
    fn boot(&self, cfg: &GrubCfg, menu: &[Choice], variables: &mut Variables) -> Result<String, String> {
        let mut saved = variables.clone();
        let once = variables.get(NEXT_ENTRY).filter(|_| cfg.boots_once);
        let mut default = match (once, &cfg.default) {
            (Some(once), _) => {
                saved.set(NEXT_ENTRY, "");
                once.to_owned()
            }
            (None, Some(Default::Saved)) => variables.get(SAVED_ENTRY).unwrap_or_default().to_owned(),
            (None, Some(Default::Fixed(entry))) => entry.clone(),
            (None, None) => String::new(),
        };
        if let Some(previous) = variables.get("prev_saved_entry") {
            saved.set(SAVED_ENTRY, previous);
            saved.set("prev_saved_entry", "");
        }
        if let (true, Some(counter), Some("0")) = (
            cfg.counts,
            variables.get("boot_counter"),
            variables.get("boot_success"),
        ) {
            let left: i64 = counter.parse().unwrap_or(0);
            if left == 0 || left == -1 {
                default = "1".to_owned();
                saved.set("boot_counter", "-1");
            } else {
                saved.set("boot_counter", &(left - 1).to_string());
            }
        }
        let chosen = choose(menu, &default).ok_or("GRUB's menu has no entry")?;
        if let Some(why) = chosen.entry.and_then(|entry| self.unsound(entry)) {
            return Err(why);
        }
        if self.env_is_fixed.is_none() {
            *variables = saved;
        }
        Ok(chosen.id.to_owned())
    }
}

fn menu<'a>(cfg: &'a GrubCfg, entries: &'a [Entry]) -> Vec<Choice<'a>> {
    let own = |entry: &'a super::grub_cfg::MenuEntry| Choice {
        id: entry.id.as_deref().unwrap_or(&entry.title),
        title: &entry.title,
        entry: None,
    };
    let shown = entries
        .iter()
        .filter(|entry| cfg.shows_entries && entry.linux.is_some());
    let shown = shown.map(|entry| Choice {
        id: &entry.id,
        title: entry
            .title
            .as_deref()
            .or(entry.linux.as_deref())
            .unwrap_or_default(),
        entry: Some(entry),
    });
    let before = cfg.before.iter().map(own);
    before.chain(shown).chain(cfg.after.iter().map(own)).collect()
}

/// By id, by title, by number; and what is none of them is the first (grub-core/normal/menu.c, `get_entry_number`).
fn choose<'a>(menu: &'a [Choice<'a>], default: &str) -> Option<&'a Choice<'a>> {
    let is_named = |choice: &&Choice| !default.is_empty() && choice.id == default;
    let is_titled = |choice: &&Choice| !default.is_empty() && choice.title == default;
    let number = default.trim().parse::<usize>().ok();
    menu.iter()
        .find(is_named)
        .or_else(|| menu.iter().find(is_titled))
        .or_else(|| menu.get(number?))
        .or_else(|| menu.first())
}

#[cfg(test)]
mod tests {
    use super::super::grub_cfg::tests::RHEL;
    use super::*;

    const OURS: &str = "a1-livemode";
    const OLD: &str = "a1-5.14.0-1.el9.x86_64";
    const NEWER: &str = "a1-5.14.0-9.el9.x86_64";

    fn entry(id: &str) -> Entry {
        Entry {
            id: id.to_owned(),
            title: Some(format!("Title of {id}")),
            linux: Some(format!("/vmlinuz-{id}")),
            initrd: vec![format!("/initramfs-{id}.img")],
            options: Some("root=UUID=x ro".to_owned()),
        }
    }

    fn grub(env: &[(&str, &str)]) -> Grub {
        Grub {
            cfg: Ok(GrubCfg::parse(RHEL)),
            env: Ok(env
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect()),
            env_is_fixed: None,
            entries: [OURS, OLD, NEWER].map(entry).to_vec(),
            missing: Vec::new(),
        }
    }

    fn boots(grub: &Grub) -> (String, String) {
        let NextBoots { next, after } = grub.next_boots().unwrap();
        (next, after)
    }

    #[test]
    fn the_block_says_what_boots() {
        for (env, next, after) in [
            (vec![("saved_entry", OLD)], OLD, OLD),
            (vec![("saved_entry", OLD), ("next_entry", OURS)], OURS, OLD),
            (vec![("saved_entry", OLD), ("next_entry", "gone")], NEWER, OLD),
            (vec![("saved_entry", "gone")], NEWER, NEWER),
            (vec![("saved_entry", "1")], OLD, OLD),
            (vec![("saved_entry", "9")], NEWER, NEWER),
            (vec![("saved_entry", "Title of a1-livemode")], OURS, OURS),
            (
                vec![("saved_entry", "UEFI Firmware Settings")],
                "uefi-firmware",
                "uefi-firmware",
            ),
            (vec![("saved_entry", "Old ones")], "Old ones", "Old ones"),
            (vec![], NEWER, NEWER),
            (vec![("next_entry", OURS)], OURS, NEWER),
            (vec![("saved_entry", OURS), ("prev_saved_entry", OLD)], OURS, OLD),
        ] {
            assert_eq!(boots(&grub(&env)), (next.into(), after.into()), "{env:?}");
        }
    }

    #[test]
    fn a_block_that_grub_cannot_write_boots_the_same_entry_for_ever() {
        let armed = Grub {
            env_is_fixed: Some("it lies on LVM".into()),
            ..grub(&[("saved_entry", OLD), ("next_entry", OURS)])
        };
        assert_eq!(boots(&armed), (OURS.into(), OURS.into()));
        let unreadable = Grub {
            env: Err("torn".into()),
            ..grub(&[])
        };
        assert_eq!(boots(&unreadable), (NEWER.into(), NEWER.into()));
    }

    #[test]
    fn a_configuration_that_deviates_is_followed() {
        let armed = grub(&[("saved_entry", OLD), ("next_entry", OURS)]);
        for (from, to, next, after) in [
            ("${saved_entry}", "0", OURS, NEWER),
            ("${saved_entry}", OURS, OURS, OURS),
            ("load_env", "true", NEWER, NEWER),
            ("\nblscfg\n", "\n", "uefi-firmware", "uefi-firmware"),
            ("insmod blscfg", "menuentry 'Mine' --id=mine {\n}", OURS, OLD),
        ] {
            let grub = Grub {
                cfg: Ok(GrubCfg::parse(&RHEL.replace(from, to))),
                ..armed.clone()
            };
            assert_eq!(boots(&grub), (next.into(), after.into()), "{from} {to}");
        }
    }

    #[test]
    fn used_up_boots_take_the_second_entry() {
        let counting = "if [ \"${boot_counter}\" = \"0\" ]; then\n  set default=1\nelse\n  decrement boot_counter\nfi\nblscfg";
        let cfg = Ok(GrubCfg::parse(&RHEL.replace("insmod blscfg\nblscfg", counting)));
        for (counter, success, next, after) in [
            ("1", "0", NEWER, OLD),
            ("0", "0", OLD, OLD),
            ("-1", "0", OLD, OLD),
            ("0", "1", NEWER, NEWER),
            ("5", "0", NEWER, NEWER),
        ] {
            let env = [
                ("saved_entry", NEWER),
                ("boot_counter", counter),
                ("boot_success", success),
            ];
            let grub = Grub {
                cfg: cfg.clone(),
                ..grub(&env)
            };
            assert_eq!(boots(&grub), (next.into(), after.into()), "{counter} {success}");
        }
    }

    #[test]
    fn where_the_machine_would_stop_is_said() {
        let armed = grub(&[("saved_entry", OLD), ("next_entry", OURS)]);
        let with_cfg = |from: &str, to: &str| Grub {
            cfg: Ok(GrubCfg::parse(&RHEL.replace(from, to))),
            ..armed.clone()
        };
        let with_options = |options: &str| {
            let mut grub = armed.clone();
            grub.entries[1].options = Some(options.to_owned());
            grub
        };
        let without = |file: &str| Grub {
            missing: vec![file.to_owned()],
            ..armed.clone()
        };
        let empty = Grub {
            entries: Vec::new(),
            cfg: Ok(GrubCfg::parse("load_env\nblscfg\n")),
            ..armed.clone()
        };
        let unknown = Grub {
            cfg: Err("two configurations".into()),
            ..armed.clone()
        };
        for (grub, why) in [
            (with_cfg("timeout=5", "timeout=-1"), "waits for a keyboard"),
            (
                with_cfg("insmod blscfg", "set default=7"),
                "a way of its own: set default=7",
            ),
            (
                with_cfg("   save_env next_entry\n", ""),
                "and no save_env next_entry",
            ),
            (
                with_options("a&b"),
                "the entry a1-5.14.0-1.el9.x86_64 does not boot: its options hold &",
            ),
            (
                without("/vmlinuz-a1-livemode"),
                "the entry a1-livemode does not boot: /vmlinuz-a1-livemode is missing",
            ),
            (without("/initramfs-a1-5.14.0-1.el9.x86_64.img"), "is missing"),
            (empty, "has no entry"),
            (unknown, "two configurations"),
        ] {
            let fault = grub.next_boots().unwrap_err();
            assert!(fault.contains(why), "{fault}");
        }
    }

    #[test]
    fn with_tells_what_other_variables_would_do() {
        let disarmed = grub(&[("saved_entry", OLD)]);
        assert_eq!(
            boots(&disarmed.with(&[("next_entry", OURS)])),
            (OURS.into(), OLD.into())
        );
        assert_eq!(disarmed.variable("saved_entry"), Some(OLD));
        assert_eq!(disarmed.variable("next_entry"), None);
        let mut env = Grubenv::default();
        env.set("saved_entry", OLD);
        assert_eq!(Some(Grub::variables(&env)), disarmed.env.ok());
    }
}
