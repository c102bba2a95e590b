//! What GRUB's generated configuration (grub2-mkconfig(8)) makes of the environment block and the entries: read from its
//! text, by the lines that its templates write (rhboot/grub2, util/grub.d). Pure.
use serde::{Deserialize, Serialize};

/// Which entry boots when none is asked for once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Default {
    /// `GRUB_DEFAULT=saved`: the one that the block's saved_entry names.
    Saved,
    /// This id, title or number.
    Fixed(String),
}

/// A menu entry that stands in the configuration itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MenuEntry {
    /// What the menu shows.
    pub title: String,
    /// Its id, where it has one.
    pub id: Option<String>,
}

/// What is known of a configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GrubCfg {
    /// It reads the environment block.
    pub loads_env: bool,
    /// It boots next_entry, and clears it before.
    pub boots_once: bool,
    /// What boots otherwise; without it the first entry.
    pub default: Option<Default>,
    /// It shows the entries of the Boot Loader Specification.
    pub shows_entries: bool,
    /// It counts boots (`boot_counter`), and takes the second entry when they are used up.
    pub counts: bool,
    /// Entries of its own, in the menu before those of the specification.
    pub before: Vec<MenuEntry>,
    /// Entries of its own, after them.
    pub after: Vec<MenuEntry>,
    /// The menu waits for a keyboard.
    pub waits: bool,
    /// Lines that choose the default in another way than the templates do.
    pub strange: Vec<String>,
}

impl GrubCfg {
    /// Reads a configuration's text.
    pub fn parse(text: &str) -> Self {
        let mut cfg = Self {
            loads_env: false,
            boots_once: false,
            default: None,
            shows_entries: false,
            counts: false,
            before: Vec::new(),
            after: Vec::new(),
            waits: false,
            strange: Vec::new(),
        };
        let (mut asks_for_next, mut depth) = (false, 0_usize);
        for line in text.lines().map(str::trim) {
            let mut words = line.split_whitespace();
            match words.next().unwrap_or_default() {
                "load_env" => cfg.loads_env = true,
                "blscfg" => cfg.shows_entries = true,
                "save_env" if words.any(|word| word == "next_entry") => cfg.boots_once |= asks_for_next,
                "decrement" if words.next() == Some("boot_counter") => cfg.counts = true,
                "menuentry" | "submenu" => {
                    // What stands inside a submenu is no entry of the menu itself.
                    if depth == 0 {
                        let entries = if cfg.shows_entries {
                            &mut cfg.after
                        } else {
                            &mut cfg.before
                        };
                        entries.push(menu_entry(line));
                    }
                    depth += 1;
                }
                "}" if depth > 0 => depth -= 1,
                "set" if depth == 0 => {
                    let (name, value) = line["set".len()..].trim().split_once('=').unwrap_or_default();
                    let value = value.trim_matches(['"', '\'']);
                    match (name, value) {
                        ("default", "${next_entry}") => asks_for_next = true,
                        // 08_fallback_counting, once its boots are used up.
                        ("default", "1") if text.contains("boot_counter") && cfg.default.is_some() => {}
                        ("default", value) => cfg.chooses(value, line),
                        ("timeout", "-1") => cfg.waits = true,
                        _ => {}
                    }
                }
                _ => {}
            }
        }
        if asks_for_next && !cfg.boots_once {
            cfg.strange
                .push("set default=\"${next_entry}\", and no save_env next_entry".to_owned());
        }
        cfg
    }

    fn chooses(&mut self, value: &str, line: &str) {
        let default = match value {
            "${saved_entry}" => Default::Saved,
            _ => Default::Fixed(value.to_owned()),
        };
        match &self.default {
            None => self.default = Some(default),
            Some(known) if *known == default => {}
            Some(_) => self.strange.push(line.to_owned()),
        }
    }
}

/// `menuentry 'Title' --class x $menuentry_id_option 'id' {`, or `--id=id`.
fn menu_entry(line: &str) -> MenuEntry {
    let words = quoted_words(line);
    let id = words
        .iter()
        .enumerate()
        .find_map(|(at, word)| match word.as_str() {
            "--id" | "$menuentry_id_option" | "${menuentry_id_option}" => words.get(at + 1).cloned(),
            word => word.strip_prefix("--id=").map(str::to_owned),
        });
    MenuEntry {
        title: words.get(1).cloned().unwrap_or_default(),
        id,
    }
}

fn quoted_words(line: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut quote = None;
    for c in line.chars() {
        match quote {
            Some(open) if c == open => quote = None,
            None if matches!(c, '\'' | '"') => quote = Some(c),
            None if c.is_whitespace() => words.push(String::new()),
            _ => {
                if let Some(word) = words.last_mut() {
                    word.push(c);
                }
            }
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// The head of what grub2-mkconfig of el9 writes, and its entries.
    pub(crate) const RHEL: &str = "\
set pager=1

if [ -f ${config_directory}/grubenv ]; then
  load_env -f ${config_directory}/grubenv
elif [ -s $prefix/grubenv ]; then
  load_env
fi
if [ \"${next_entry}\" ] ; then
   set default=\"${next_entry}\"
   set next_entry=
   save_env next_entry
   set boot_once=true
else
   set default=\"${saved_entry}\"
fi
if [ x$feature_timeout_style = xy ] ; then
  set timeout_style=menu
  set timeout=5
fi
insmod blscfg
blscfg
menuentry 'UEFI Firmware Settings' $menuentry_id_option 'uefi-firmware' {
  fwsetup
}
submenu 'Old ones' {
  menuentry 'inside' --id=inside {
    true
  }
}
";

    #[test]
    fn rhels_own_boots_once_and_then_what_is_saved() {
        let cfg = GrubCfg::parse(RHEL);
        let entry = |title: &str, id: Option<&str>| MenuEntry {
            title: title.into(),
            id: id.map(str::to_owned),
        };
        assert_eq!(
            cfg,
            GrubCfg {
                loads_env: true,
                boots_once: true,
                default: Some(Default::Saved),
                shows_entries: true,
                counts: false,
                before: vec![],
                after: vec![
                    entry("UEFI Firmware Settings", Some("uefi-firmware")),
                    entry("Old ones", None)
                ],
                waits: false,
                strange: vec![],
            }
        );
    }

    #[test]
    fn what_deviates_is_seen() {
        let with = |from: &str, to: &str| GrubCfg::parse(&RHEL.replace(from, to));
        assert_eq!(
            with("${saved_entry}", "0").default,
            Some(Default::Fixed("0".into()))
        );
        let never_cleared = with("   save_env next_entry\n", "");
        assert!(!never_cleared.boots_once && never_cleared.strange.len() == 1);
        assert!(!with("   set default=\"${next_entry}\"\n", "").boots_once);
        assert!(!with("\nblscfg\n", "\n").shows_entries);
        assert!(!with("load_env", "true").loads_env);
        assert!(with("timeout=5", "timeout=-1").waits);
        assert_eq!(
            with("insmod blscfg", "set default=\"2\"").strange,
            ["set default=\"2\""]
        );
        let first = with("insmod blscfg", "menuentry \"My own\" --id=mine {\n}");
        assert_eq!(first.before[0].id.as_deref(), Some("mine"));
        let counting =
            "if [ \"${boot_counter}\" = \"0\" ]; then\n  set default=1\nelse\n  decrement boot_counter\nfi";
        let counting = with("insmod blscfg", counting);
        assert!(counting.counts && counting.strange.is_empty());
        assert_eq!(GrubCfg::parse("").default, None);
    }

    #[test]
    fn what_only_looks_like_it_is_not_taken_for_it() {
        let with = |from: &str, to: &str| GrubCfg::parse(&RHEL.replace(from, to));
        let another_saved = with("save_env next_entry", "save_env boot_success");
        assert!(!another_saved.boots_once);
        assert!(!with("insmod blscfg", "decrement tries").counts);
        // A brace too many closes nothing, and what is set inside an entry counts when that boots.
        let odd = "}\nmenuentry 'a' {\n  set default=3\n  set timeout=-1\n}\nmenuentry 'b' {\n}\n";
        let odd = GrubCfg::parse(odd);
        assert_eq!((odd.default, odd.waits, odd.before.len()), (None, false, 2));
        // Without a counter of boots the second entry is a choice as any other; and so it is while nothing else is chosen.
        let second = with("insmod blscfg", "set default=1");
        assert_eq!(second.strange, ["set default=1"]);
        let counted = GrubCfg::parse("set default=1\ndecrement boot_counter\n");
        assert_eq!(counted.default, Some(Default::Fixed("1".into())));
        let twice = with("insmod blscfg", "set default=\"${saved_entry}\"");
        assert_eq!(twice.strange, [""; 0]);
    }
}
