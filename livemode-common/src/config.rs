//! The YAML configuration, read as leapp reads it: `*.yaml` in one directory, sorted, each a YAML 1.1 document.
use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::failure::Failure;
use crate::sysroot::SysRoot;
use crate::yaml11::{self, Node, Value};

mod check;
mod network;

/// The nine options of the `livemode` section.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Config {
    /// Where the squashfs image is put.
    pub squashfs_image_path: String,
    /// More packages to install into the image.
    pub additional_packages: Vec<String>,
    /// Start the upgrade by itself after the reboot.
    pub autostart_upgrade_after_reboot: bool,
    /// Enable NetworkManager in the image with the source's profiles.
    pub setup_network_manager: bool,
    /// dracut's network arguments.
    pub dracut_network: String,
    /// URL to load the image from.
    pub url_to_load_squashfs_image_from: String,
    /// Root in the image has an empty password.
    pub setup_passwordless_root: bool,
    /// The authorized_keys file for sshd in the image.
    pub setup_opensshd_using_auth_keys: String,
    /// File on the source system for leapp's strace.
    pub capture_strace_info_into: String,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            squashfs_image_path: "/var/lib/leapp/live-upgrade.img".into(),
            additional_packages: Vec::new(),
            autostart_upgrade_after_reboot: true,
            setup_network_manager: false,
            dracut_network: String::new(),
            url_to_load_squashfs_image_from: String::new(),
            setup_passwordless_root: false,
            setup_opensshd_using_auth_keys: String::new(),
            capture_strace_info_into: String::new(),
        }
    }
}

/// The keys, in the order of the documentation.
pub const KEYS: [&str; 9] = [
    "squashfs_image_path",
    "additional_packages",
    "autostart_upgrade_after_reboot",
    "setup_network_manager",
    "dracut_network",
    "url_to_load_squashfs_image_from",
    "setup_passwordless_root",
    "setup_opensshd_using_auth_keys",
    "capture_strace_info_into",
];

/// A configuration and where it came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loaded {
    /// The values.
    pub config: Config,
    /// For each key the file that set it, or `default`.
    pub origins: BTreeMap<String, String>,
    /// What leapp's own loader would not like.
    pub warnings: Vec<String>,
}

/// A file and a line of it, where the parser knows it.
#[derive(Debug, Clone)]
struct Place {
    file: String,
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

/// Reads every `*.yaml` of the directory; a directory that is not there holds none. Paths of the values are looked at
/// below `root`, for no more than whether they are directories.
///
/// # Errors
/// [`Failure::Config`] with all faults of all files; another error when the directory cannot be read.
pub fn load(dir: &Path, root: &SysRoot) -> Result<Loaded> {
    let mut texts = Vec::new();
    let mut faults = Vec::new();
    for path in files(dir)? {
        if path.exists() && !path.is_file() {
            // Reading a FIFO would wait for ever.
            faults.push(format!("{}: no regular file", path.display()));
            continue;
        }
        match std::fs::read(&path).map(String::from_utf8) {
            Ok(Ok(text)) => texts.push((path.display().to_string(), text)),
            Ok(Err(e)) => {
                let line = e.as_bytes()[..e.utf8_error().valid_up_to()]
                    .split(|b| *b == b'\n')
                    .count();
                faults.push(format!("{}:{line}: not UTF-8", path.display()));
            }
            Err(e) => faults.push(format!("{}: {e}", path.display())),
        }
    }
    match merge(&texts, root) {
        Ok(loaded) if faults.is_empty() => Ok(loaded),
        Ok(_) => Err(Failure::Config(faults).into()),
        Err(more) => {
            faults.extend(more);
            Err(Failure::Config(faults).into())
        }
    }
}

/// Merges files, each by its name and text, key by key: the later one wins.
///
/// # Errors
/// All faults of all files.
pub fn merge(texts: &[(String, String)], root: &SysRoot) -> Result<Loaded, Vec<String>> {
    let mut merged = Merged::default();
    for (file, text) in texts {
        merged.add(file, text);
    }
    let mut faults = std::mem::take(&mut merged.faults);
    faults.extend(merged.value_faults(root));
    if !faults.is_empty() {
        return Err(faults);
    }
    let origin = |key: &&str| {
        merged
            .places
            .get(*key)
            .map_or("default".to_owned(), |place| place.file.clone())
    };
    Ok(Loaded {
        origins: KEYS.iter().map(|key| ((*key).to_owned(), origin(key))).collect(),
        config: merged.config,
        warnings: merged.warnings,
    })
}

fn files(dir: &Path) -> Result<Vec<PathBuf>> {
    let context = || format!("reading {}", dir.display());
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(e).with_context(context),
    };
    let mut files = Vec::new();
    for entry in entries {
        let path = entry.with_context(context)?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.ends_with(".yaml") && !name.starts_with('.') && !path.is_dir() {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// What the files say so far, key by key; the later file wins.
#[derive(Debug, Default)]
struct Merged {
    config: Config,
    /// Where each key that is set was set last.
    places: BTreeMap<&'static str, Place>,
    /// The first file with our section.
    first_file: Option<String>,
    warnings: Vec<String>,
    faults: Vec<String>,
}

impl Merged {
    fn add(&mut self, file: &str, text: &str) {
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
            Value::Null => return,
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
            _ => config.capture_strace_info_into = string(node)?,
        }
        Ok(key)
    }

    fn value_faults(&self, root: &SysRoot) -> Vec<String> {
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

fn nearest(key: &str) -> &'static str {
    KEYS.into_iter()
        .min_by_key(|known| distance(known, key))
        .unwrap_or(KEYS[0])
}

/// Levenshtein's.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, ca) in a.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, cb) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(ca != *cb);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
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
}
