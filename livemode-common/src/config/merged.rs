//! The files put together, key by key, and every fault of their form.
use std::collections::BTreeMap;
use std::fmt;

use super::check;
use super::options::{Atomic, Config, OnFailure, KEYS};
use crate::sysroot::SysRoot;
use crate::yaml11::{self, Node, Value};

/// A file and a line of it, where the parser knows it.
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub(super) file: String,
    line: Option<usize>,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "{}:{line}", self.file),
            None => f.write_str(&self.file),
        }
    }
}

/// What the files say so far, key by key; the later file wins.
#[derive(Debug, Default)]
pub(super) struct Merged {
    pub(super) config: Config,
    /// Where each key that is set was set last.
    pub(super) places: BTreeMap<&'static str, Place>,
    /// The first file with our section.
    first_file: Option<String>,
    pub(super) warnings: Vec<String>,
    pub(super) faults: Vec<String>,
}

impl Merged {
    /// Reads one more file.
    pub(super) fn add(&mut self, file: &str, text: &str) {
        let document = match yaml11::parse(text) {
            Ok(Some(document)) => document.value,
            Ok(None) => Value::Null,
            Err(fault) => return self.faults.push(format!("{file}: {fault}")),
        };
        let top = match document {
            Value::Null => {
                let warning = format!("{file}: the file is empty; leapp's own loader ends there");
                return self.warnings.push(warning);
            }
            Value::Map(top) => top,
            other => {
                let fault = format!("{file}: expected a mapping of sections, found {other}");
                return self.faults.push(fault);
            }
        };
        let mut sections = top
            .iter()
            .filter(|(key, _)| key.value == Value::Text("livemode".into()));
        if let Some((_, section)) = sections.next() {
            self.add_section(file, &section.value);
        }
        for (key, _) in sections {
            let place = place(file, key);
            self.faults
                .push(format!("{place}: the section livemode stands twice in this file"));
        }
    }

    fn add_section(&mut self, file: &str, section: &Value) {
        match &self.first_file {
            Some(first) => self.warnings.push(format!(
                "{file}: the section livemode stands in {first} too; leapp's own loader ends there"
            )),
            None => self.first_file = Some(file.to_owned()),
        }
        let options = match section {
            Value::Null => {
                let warning = format!("{file}: the section livemode is empty; leapp's own loader ends there");
                return self.warnings.push(warning);
            }
            Value::Map(options) => options,
            other => {
                let fault = format!("{file}: livemode: expected a mapping of options, found {other}");
                return self.faults.push(fault);
            }
        };
        let mut seen: Vec<&str> = Vec::new();
        for (key, value) in options {
            let place = place(file, key);
            let Value::Text(name) = &key.value else {
                let fault = format!(
                    "{place}: livemode: expected the name of an option, found {}",
                    key.value
                );
                self.faults.push(fault);
                continue;
            };
            if name.ends_with("__") {
                // leapp's own, reserved.
                continue;
            }
            if seen.contains(&name.as_str()) {
                self.faults
                    .push(format!("{place}: livemode.{name}: stands twice in this file"));
                continue;
            }
            seen.push(name);
            match self.set(name, value) {
                Ok(key) => drop(self.places.insert(key, place)),
                Err(fault) => self
                    .faults
                    .push(format!("{place}: livemode.{}: {fault}", name.escape_debug())),
            }
        }
    }

    fn set(&mut self, name: &str, node: &Node) -> Result<&'static str, String> {
        let Some(key) = KEYS.into_iter().find(|key| *key == name) else {
            return Err(format!(
                "unknown option; the nearest known one is {}",
                nearest(name)
            ));
        };
        let config = &mut self.config;
        match key {
            "squashfs_image_path" => config.squashfs_image_path = string(node)?,
            "additional_packages" => config.additional_packages = strings(node)?,
            "autostart_upgrade_after_reboot" => config.autostart_upgrade_after_reboot = boolean(node)?,
            "setup_network_manager" => config.setup_network_manager = boolean(node)?,
            "dracut_network" => config.dracut_network = string(node)?,
            "url_to_load_squashfs_image_from" => config.url_to_load_squashfs_image_from = string(node)?,
            "setup_passwordless_root" => config.setup_passwordless_root = boolean(node)?,
            "setup_opensshd_using_auth_keys" => config.setup_opensshd_using_auth_keys = string(node)?,
            "capture_strace_info_into" => config.capture_strace_info_into = string(node)?,
            "atomic" => config.atomic = atomic(node)?,
            "on_failure" => config.on_failure = on_failure(node)?,
            "hold_limit" => config.hold_limit = minutes(node)?,
            _ => config.watchdog = boolean(node)?,
        }
        Ok(key)
    }

    /// What is wrong with the values, each with its key and place.
    pub(super) fn value_faults(&self, root: &SysRoot) -> Vec<String> {
        let faults = check::faults(&self.config, root).into_iter();
        let text = |(key, fault): (&str, String)| match self.places.get(key) {
            Some(place) => format!("{place}: livemode.{key}: {fault}"),
            None => format!("livemode.{key} (by default): {fault}"),
        };
        faults.map(text).collect()
    }
}

fn place(file: &str, node: &Node) -> Place {
    Place {
        file: file.to_owned(),
        line: node.line,
    }
}

fn boolean(node: &Node) -> Result<bool, String> {
    match &node.value {
        Value::Bool(value) => Ok(*value),
        other => Err(format!("expected true or false, found {other}")),
    }
}

fn string(node: &Node) -> Result<String, String> {
    match &node.value {
        Value::Text(text) => Ok(text.clone()),
        Value::Bool(_) | Value::Number(_) => Err(format!(
            "expected a string, found {}; put it into quotes",
            node.value
        )),
        other => Err(format!("expected a string, found {other}")),
    }
}

fn strings(node: &Node) -> Result<Vec<String>, String> {
    match &node.value {
        Value::List(items) => items.iter().map(string).collect(),
        other => Err(format!("expected a list of strings, found {other}")),
    }
}

fn on_failure(node: &Node) -> Result<OnFailure, String> {
    match string(node)?.as_str() {
        "return" => Ok(OnFailure::Return),
        "hold" => Ok(OnFailure::Hold),
        other => Err(format!("expected return or hold, found '{other}'")),
    }
}

fn atomic(node: &Node) -> Result<Atomic, String> {
    // YAML 1.1 reads a bare `off` as a boolean.
    if node.value == Value::Bool(false) {
        return Ok(Atomic::Off);
    }
    match string(node)?.as_str() {
        "auto" => Ok(Atomic::Auto),
        "require" => Ok(Atomic::Require),
        "off" => Ok(Atomic::Off),
        other => Err(format!("expected auto, require or off, found '{other}'")),
    }
}

/// More than a year is a mistake.
const MOST_MINUTES: u32 = 366 * 24 * 60;

fn minutes(node: &Node) -> Result<u32, String> {
    let Value::Number(text) = &node.value else {
        return Err(format!("expected a number of minutes, found {}", node.value));
    };
    let minutes = text.parse().ok().filter(|minutes| *minutes <= MOST_MINUTES);
    minutes.ok_or_else(|| format!("expected 0 to {MOST_MINUTES} minutes, found {text}"))
}

/// The known key that needs the fewest letters changed.
fn nearest(key: &str) -> &'static str {
    KEYS.into_iter()
        .min_by_key(|known| strsim::levenshtein(known, key))
        .unwrap_or(KEYS[0])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The files by their text.
    fn read(texts: &[&str]) -> Merged {
        let mut merged = Merged::default();
        for (file, text) in ["a.yaml", "b.yaml", "c.yaml"].iter().zip(texts) {
            merged.add(file, text);
        }
        merged
    }

    #[test]
    fn quotes_decide_what_a_word_is() {
        let merged =
            read(&["livemode: {autostart_upgrade_after_reboot: No, additional_packages: ['yes', \"1\"]}"]);
        assert_eq!(merged.faults, Vec::<String>::new());
        assert!(!merged.config.autostart_upgrade_after_reboot);
        assert_eq!(merged.config.additional_packages, ["yes", "1"]);

        let merged =
            read(&["livemode:\n  autostart_upgrade_after_reboot: 'no'\n  additional_packages: [vim, on]\n"]);
        assert_eq!(
            merged.faults,
            [
                "a.yaml:2: livemode.autostart_upgrade_after_reboot: expected true or false, found the string 'no'",
                "a.yaml:3: livemode.additional_packages: expected a string, found the boolean true; put it into quotes",
            ]
        );
    }

    #[test]
    fn a_later_file_wins_and_leapps_own_limits_are_warned_of() {
        let merged = read(&[
            "livemode: {setup_network_manager: true, setup_passwordless_root: on, x__: 1}",
            "# nothing\n",
            "livemode: {setup_network_manager: false}\nother: {a: 1, a: 2}",
        ]);
        assert_eq!(merged.faults, Vec::<String>::new());
        assert!(!merged.config.setup_network_manager);
        assert!(merged.config.setup_passwordless_root);
        assert_eq!(merged.places["setup_network_manager"].file, "c.yaml");
        assert_eq!(
            merged.warnings,
            [
                "b.yaml: the file is empty; leapp's own loader ends there",
                "c.yaml: the section livemode stands in a.yaml too; leapp's own loader ends there"
            ]
        );
    }

    #[test]
    fn what_leapp_would_read_otherwise_or_not_at_all_is_a_fault() {
        for (text, fault) in [
            (
                "livemode:\n  dracut_network: a\n  dracut_network: b\n",
                "a.yaml:3: livemode.dracut_network: stands twice in this file",
            ),
            (
                "livemode: {}\nlivemode: {}\n",
                "a.yaml:2: the section livemode stands twice in this file",
            ),
            ("livemode: [a]", "a.yaml: livemode: expected a mapping of options, found a list"),
            ("- a", "a.yaml: expected a mapping of sections, found a list"),
            ("word", "a.yaml: expected a mapping of sections, found the string 'word'"),
            (
                "livemode: {1: x}",
                "a.yaml:1: livemode: expected the name of an option, found the number 1",
            ),
            (
                "livemode:\n  squashfs_image_path:\n",
                "a.yaml:2: livemode.squashfs_image_path: expected a string, found nothing (null)",
            ),
            (
                "livemode: {additional_packages: vim}",
                "a.yaml:1: livemode.additional_packages: expected a list of strings, found the string 'vim'",
            ),
            (
                "livemode: {aditional_packages: []}",
                "a.yaml:1: livemode.aditional_packages: unknown option; the nearest known one is additional_packages",
            ),
            (
                "livemode: {dracut_network: 2001-01-01}",
                "a.yaml:1: livemode.dracut_network: expected a string, found the date 2001-01-01; put it into quotes",
            ),
            (
                "livemode: {atomic: never}",
                "a.yaml:1: livemode.atomic: expected auto, require or off, found 'never'",
            ),
            (
                "livemode: {on_failure: stay}",
                "a.yaml:1: livemode.on_failure: expected return or hold, found 'stay'",
            ),
            (
                "livemode: {hold_limit: soon}",
                "a.yaml:1: livemode.hold_limit: expected a number of minutes, found the string 'soon'",
            ),
            (
                "livemode: {hold_limit: -1}",
                "a.yaml:1: livemode.hold_limit: expected 0 to 527040 minutes, found -1",
            ),
            (
                "livemode: {hold_limit: 1.5}",
                "a.yaml:1: livemode.hold_limit: expected 0 to 527040 minutes, found 1.5",
            ),
        ] {
            assert_eq!(read(&[text]).faults, [fault], "{text}");
        }
        assert_eq!(read(&["livemode:\n"]).faults, Vec::<String>::new());
    }

    #[test]
    fn anchors_and_merge_keys_work() {
        let merged = read(&[
            "site: &site {setup_network_manager: yes, setup_passwordless_root: yes}\nlivemode:\n  <<: *site\n  setup_passwordless_root: no\n",
        ]);
        assert_eq!(merged.faults, Vec::<String>::new());
        assert!(merged.config.setup_network_manager && !merged.config.setup_passwordless_root);
    }

    #[test]
    fn each_option_sets_its_own_value() {
        let merged = read(&["\
livemode:
  squashfs_image_path: /srv/live.img
  additional_packages: [vim, tmux]
  autostart_upgrade_after_reboot: false
  setup_network_manager: true
  dracut_network: ip=dhcp
  url_to_load_squashfs_image_from: http://host/live.img
  setup_passwordless_root: true
  setup_opensshd_using_auth_keys: /root/keys
  capture_strace_info_into: /var/log/trace
  atomic: off
  on_failure: hold
  hold_limit: 90
  watchdog: false
"]);
        assert_eq!(merged.faults, Vec::<String>::new());
        assert_eq!(
            merged.config,
            Config {
                squashfs_image_path: "/srv/live.img".into(),
                additional_packages: vec!["vim".into(), "tmux".into()],
                autostart_upgrade_after_reboot: false,
                setup_network_manager: true,
                dracut_network: "ip=dhcp".into(),
                url_to_load_squashfs_image_from: "http://host/live.img".into(),
                setup_passwordless_root: true,
                setup_opensshd_using_auth_keys: "/root/keys".into(),
                capture_strace_info_into: "/var/log/trace".into(),
                atomic: Atomic::Off,
                on_failure: OnFailure::Hold,
                hold_limit: 90,
                watchdog: false,
            }
        );
        assert!(KEYS.iter().all(|key| merged.places.contains_key(key)));
    }

    #[test]
    fn a_fault_of_a_value_names_where_it_was_set_or_that_it_was_not() {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(root.path().join("var/lib/leapp/live-upgrade.img")).unwrap();
        let merged = read(&["livemode:\n\n  dracut_network: quiet\n"]);
        assert_eq!(
            merged.value_faults(&SysRoot::new(root.path())),
            [
                "livemode.squashfs_image_path (by default): '/var/lib/leapp/live-upgrade.img' is a directory; name a file",
                "a.yaml:3: livemode.dracut_network: 'quiet' is no network argument of dracut; see dracut.cmdline(7), Network",
            ]
        );
    }
}
