//! The YAML configuration, read as leapp reads it: YAML 1.1's booleans, `*.yaml` in one directory, sorted.
use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use serde_yaml::Value;

use crate::failure::Failure;

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

/// Reads every `*.yaml` of the directory; a directory that is not there holds none.
///
/// # Errors
/// [`Failure::Config`] with all faults of all files; another error when the directory cannot be read.
pub fn load(dir: &Path) -> Result<Loaded> {
    let mut faults = Vec::new();
    let mut texts = Vec::new();
    for path in files(dir)? {
        match std::fs::read(&path).map(String::from_utf8) {
            Ok(Ok(text)) => texts.push((path.display().to_string(), text)),
            Ok(Err(_)) => faults.push(format!("{}: not UTF-8", path.display())),
            Err(e) => faults.push(format!("{}: {e}", path.display())),
        }
    }
    let loaded = merge(&texts, &mut faults);
    if faults.is_empty() {
        return Ok(loaded);
    }
    Err(Failure::Config(faults).into())
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

/// Merges the texts key by key, the later file wins; what is wrong is added to `faults`.
pub fn merge(texts: &[(String, String)], faults: &mut Vec<String>) -> Loaded {
    let mut config = Config::default();
    let mut origins: BTreeMap<String, String> =
        KEYS.iter().map(|k| ((*k).into(), "default".into())).collect();
    let mut warnings = Vec::new();
    let mut first_file: Option<&str> = None;
    for (file, text) in texts {
        let mut fault = |text: String| faults.push(format!("{file}: {text}"));
        let mut value: Value = match serde_yaml::from_str(text) {
            Ok(value) => value,
            Err(e) => {
                fault(e.to_string());
                continue;
            }
        };
        if let Err(e) = value.apply_merge() {
            fault(e.to_string());
            continue;
        }
        let top = match value {
            Value::Null => {
                warnings.push(format!(
                    "{file}: the file is empty; leapp's own loader ends there"
                ));
                continue;
            }
            Value::Mapping(top) => top,
            other => {
                fault(format!("expected a mapping of sections, found {}", kind(&other)));
                continue;
            }
        };
        let Some(section) = top.get("livemode") else {
            continue;
        };
        match first_file {
            Some(first) => warnings.push(format!(
                "{file}: the section livemode stands in {first} too; leapp's own loader ends there"
            )),
            None => first_file = Some(file),
        }
        let section = match section {
            Value::Null => continue,
            Value::Mapping(section) => section,
            other => {
                fault(format!(
                    "livemode: expected a mapping of options, found {}",
                    kind(other)
                ));
                continue;
            }
        };
        for (key, value) in section {
            let Some(key) = key.as_str() else {
                fault(format!(
                    "livemode: expected the name of an option, found {}",
                    kind(key)
                ));
                continue;
            };
            if key.ends_with("__") {
                continue;
            }
            match set(&mut config, key, value) {
                Ok(()) => drop(origins.insert(key.into(), file.clone())),
                Err(e) => fault(format!("livemode.{key}: {e}")),
            }
        }
    }
    faults.extend(
        check(&config)
            .into_iter()
            .map(|(key, text)| format!("{}: livemode.{key}: {text}", origins[key])),
    );
    Loaded {
        config,
        origins,
        warnings,
    }
}

fn set(config: &mut Config, key: &str, value: &Value) -> Result<(), String> {
    match key {
        "squashfs_image_path" => string(value).map(|v| config.squashfs_image_path = v),
        "additional_packages" => strings(value).map(|v| config.additional_packages = v),
        "autostart_upgrade_after_reboot" => boolean(value).map(|v| config.autostart_upgrade_after_reboot = v),
        "setup_network_manager" => boolean(value).map(|v| config.setup_network_manager = v),
        "dracut_network" => string(value).map(|v| config.dracut_network = v),
        "url_to_load_squashfs_image_from" => {
            string(value).map(|v| config.url_to_load_squashfs_image_from = v)
        }
        "setup_passwordless_root" => boolean(value).map(|v| config.setup_passwordless_root = v),
        "setup_opensshd_using_auth_keys" => string(value).map(|v| config.setup_opensshd_using_auth_keys = v),
        "capture_strace_info_into" => string(value).map(|v| config.capture_strace_info_into = v),
        _ => Err(format!(
            "unknown option; the nearest known one is {}",
            nearest(key)
        )),
    }
}

fn boolean(value: &Value) -> Result<bool, String> {
    match value {
        Value::Bool(b) => Ok(*b),
        // YAML 1.1 as PyYAML's safe loader has it; y and n are not among them.
        Value::String(s) if matches!(s.as_str(), "yes" | "Yes" | "YES" | "on" | "On" | "ON") => Ok(true),
        Value::String(s) if matches!(s.as_str(), "no" | "No" | "NO" | "off" | "Off" | "OFF") => Ok(false),
        other => Err(format!("expected true or false, found {}", kind(other))),
    }
}

fn string(value: &Value) -> Result<String, String> {
    match value {
        Value::String(s) => Ok(s.clone()),
        other => Err(format!("expected a string, found {}", kind(other))),
    }
}

fn strings(value: &Value) -> Result<Vec<String>, String> {
    match value {
        Value::Sequence(items) => items.iter().map(string).collect(),
        other => Err(format!("expected a list of strings, found {}", kind(other))),
    }
}

fn kind(value: &Value) -> impl fmt::Display {
    match value {
        Value::Null => "nothing (null)".to_owned(),
        Value::Bool(b) => format!("the boolean {b}"),
        Value::Number(n) => format!("the number {n}"),
        Value::String(s) => format!("the string '{s}'"),
        Value::Sequence(_) => "a list".to_owned(),
        Value::Mapping(_) => "a mapping".to_owned(),
        Value::Tagged(t) => format!("a value tagged {}", t.tag),
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

/// What is wrong with the values themselves: key and fault.
fn check(config: &Config) -> Vec<(&'static str, String)> {
    let mut faults = Vec::new();
    let optional = [
        (
            "setup_opensshd_using_auth_keys",
            &config.setup_opensshd_using_auth_keys,
        ),
        ("capture_strace_info_into", &config.capture_strace_info_into),
    ];
    let paths = optional.into_iter().filter(|(_, path)| !path.is_empty());
    for (key, path) in paths.chain([("squashfs_image_path", &config.squashfs_image_path)]) {
        if let Err(fault) = check_path(path) {
            faults.push((key, fault));
        }
    }
    let trace = &config.capture_strace_info_into;
    if *trace == config.squashfs_image_path {
        faults.push((
            "capture_strace_info_into",
            "is the image's own path; choose another".into(),
        ));
    }
    if ["proc", "sys", "dev", "run", "tmp"]
        .iter()
        .any(|top| Path::new(trace).starts_with(format!("/{top}")))
    {
        faults.push((
            "capture_strace_info_into",
            format!("'{trace}' does not outlive the reboot; choose another"),
        ));
    }
    let url = &config.url_to_load_squashfs_image_from;
    if !url.is_empty() {
        let host = ["http://", "https://", "ftp://"]
            .iter()
            .find_map(|s| url.strip_prefix(s));
        if host.is_none_or(|h| h.is_empty() || h.starts_with('/')) || url.contains(char::is_whitespace) {
            faults.push((
                "url_to_load_squashfs_image_from",
                format!("'{url}' is no URL that the initramfs can load; expected http://, https:// or ftp:// and a host"),
            ));
        }
        if config.dracut_network.trim().is_empty() {
            faults.push((
                "url_to_load_squashfs_image_from",
                "needs dracut_network, which is not set".into(),
            ));
        }
    }
    for package in &config.additional_packages {
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_.+:~^@".contains(c);
        if package.is_empty() || package.starts_with('-') || !package.chars().all(plain) {
            faults.push(("additional_packages", format!("'{package}' is no package name")));
        }
    }
    faults
}

fn check_path(path: &str) -> Result<(), String> {
    if path.chars().any(|c| c.is_control() || c == '"') {
        return Err(format!(
            "{path:?} holds a quote or a control character, which no kernel argument can carry"
        ));
    }
    if !path.starts_with('/') {
        return Err(format!("'{path}' is not absolute"));
    }
    if path == "/"
        || path.ends_with('/')
        || path
            .split('/')
            .skip(1)
            .any(|part| matches!(part, "" | "." | ".."))
    {
        return Err(format!("'{path}' is not a normalised path of a file"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> (Loaded, Vec<String>) {
        let mut faults = Vec::new();
        let loaded = merge(&[("a.yaml".into(), text.into())], &mut faults);
        (loaded, faults)
    }

    #[test]
    fn booleans_are_those_of_yaml_1_1() {
        for (word, value) in [("yes", true), ("Off", false), ("TRUE", true), ("no", false)] {
            let (loaded, faults) = read(&format!("livemode: {{autostart_upgrade_after_reboot: {word}}}"));
            assert_eq!(
                (loaded.config.autostart_upgrade_after_reboot, faults),
                (value, vec![]),
                "{word}"
            );
        }
        let (_, faults) = read("livemode: {setup_passwordless_root: y}");
        assert_eq!(
            faults,
            ["a.yaml: livemode.setup_passwordless_root: expected true or false, found the string 'y'"]
        );
    }

    #[test]
    fn every_fault_is_told_at_once() {
        let (_, faults) = read(
            "livemode:\n  squashfs_image_path: relative\n  aditional_packages: []\n  additional_packages: vim\n  url_to_load_squashfs_image_from: nfs://x\n  capture_strace_info_into: /tmp/x\n",
        );
        assert_eq!(
            faults,
            [
                "a.yaml: livemode.aditional_packages: unknown option; the nearest known one is additional_packages",
                "a.yaml: livemode.additional_packages: expected a list of strings, found the string 'vim'",
                "a.yaml: livemode.squashfs_image_path: 'relative' is not absolute",
                "a.yaml: livemode.capture_strace_info_into: '/tmp/x' does not outlive the reboot; choose another",
                "a.yaml: livemode.url_to_load_squashfs_image_from: 'nfs://x' is no URL that the initramfs can load; expected http://, https:// or ftp:// and a host",
                "a.yaml: livemode.url_to_load_squashfs_image_from: needs dracut_network, which is not set",
            ]
        );
    }

    #[test]
    fn a_later_file_wins_and_leapps_own_limits_are_warned_of() {
        let mut faults = Vec::new();
        let texts = [
            (
                "a.yaml",
                "livemode: {setup_network_manager: true, setup_passwordless_root: on, x__: 1}",
            ),
            ("b.yaml", "# nothing\n"),
            ("c.yaml", "livemode: {setup_network_manager: false}\nother: [1]"),
        ];
        let loaded = merge(&texts.map(|(f, t)| (f.to_owned(), t.to_owned())), &mut faults);
        assert_eq!(faults, Vec::<String>::new());
        assert!(!loaded.config.setup_network_manager);
        assert!(loaded.config.setup_passwordless_root);
        assert_eq!(loaded.origins["setup_network_manager"], "c.yaml");
        assert_eq!(
            loaded.warnings,
            [
                "b.yaml: the file is empty; leapp's own loader ends there",
                "c.yaml: the section livemode stands in a.yaml too; leapp's own loader ends there"
            ]
        );
    }

    #[test]
    fn a_key_twice_and_a_section_that_is_no_mapping_are_faults() {
        assert!(read("livemode:\n  dracut_network: a\n  dracut_network: b\n").1[0].contains("duplicate"));
        assert_eq!(
            read("livemode: [a]").1,
            ["a.yaml: livemode: expected a mapping of options, found a list"]
        );
        assert_eq!(
            read("- a").1,
            ["a.yaml: expected a mapping of sections, found a list"]
        );
        assert_eq!(read("livemode:\n").1, Vec::<String>::new());
    }
}
