//! `explain`: why something is in the plan as it is, or is not in it. From the plan alone: what it decided it can tell. Pure.
use livemode_common::cmdline::{Cmdline, Word};
use livemode_common::config::KEYS;
use livemode_common::contract::SOURCE_MOUNT;
use serde_json::{json, Value};

use super::build_plan::BuildPlan;
use super::items::{is_allowed, Content, Item};
use super::why::Why;
use super::words::{self, Fate};
use super::{initramfs, packages};

/// What a fact is called that holds for every machine.
const ALWAYS: &str = "every upgrade";

/// One answer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    /// What it is in the plan.
    pub(crate) is: String,
    pub(crate) why: Why,
}

impl Answer {
    fn new(is: impl Into<String>, fact: impl Into<String>, rule: &'static str) -> Self {
        Self {
            is: is.into(),
            why: Why::new(fact, rule),
        }
    }

    /// As a person reads it.
    pub(crate) fn describe(&self) -> String {
        format!(
            "{}\n  from  {}\n  rule  {}\n",
            self.is, self.why.fact, self.why.rule
        )
    }

    /// As a program does.
    pub(crate) fn to_json(&self) -> Value {
        json!({"is": self.is, "fact": self.why.fact, "rule": self.why.rule})
    }
}

impl BuildPlan {
    /// All that the plan knows of a key of the configuration, a kernel argument, a package, a unit or a path; nothing where
    /// it knows none of that name.
    pub(crate) fn explain(&self, what: &str) -> Vec<Answer> {
        let mut answers = self.of_key(what);
        answers.extend(self.of_word(what));
        answers.extend(self.of_package(what));
        answers.extend(self.of_mount(what));
        answers.extend(self.of_items(what));
        answers.extend(self.of_output(what));
        let told = [&self.findings.refusals, &self.findings.warnings];
        for (said, rule) in told
            .into_iter()
            .zip(["it stands against the upgrade", "an admin should know it"])
        {
            // A short word, such as a runlevel, stands in many a sentence.
            let about = said.iter().filter(|text| what.len() > 3 && names(text, what));
            answers.extend(about.map(|text| Answer::new(text.as_str(), "what check and plan found", rule)));
        }
        answers
    }

    fn of_key(&self, what: &str) -> Vec<Answer> {
        if !KEYS.contains(&what) {
            return Vec::new();
        }
        let config = serde_json::to_value(&self.config).unwrap_or_default();
        let shown = match what {
            "url_to_load_squashfs_image_from" => "as livemode-prep config shows it".to_owned(),
            _ => config[what].to_string(),
        };
        let mut answers = vec![Answer::new(
            format!("{what}: {shown}"),
            "the configuration, or the key's default",
            "livemode.yaml(5) says what it does; what it brought into this plan follows",
        )];
        answers.extend(
            self.reasons()
                .filter(|(_, why)| why.fact.contains(what))
                .map(|(item, why)| Answer {
                    is: item.to_string(),
                    why: why.clone(),
                }),
        );
        answers
    }

    fn of_word(&self, what: &str) -> Vec<Answer> {
        let asked = Cmdline::parse(what).0;
        let [asked] = asked.as_slice() else {
            return Vec::new();
        };
        let is_asked =
            |word: &&Word| word.key == asked.key && (asked.value.is_none() || word.value == asked.value);
        let line = Cmdline::parse(&self.shown_arguments());
        let mut answers: Vec<Answer> = line
            .0
            .iter()
            .filter(is_asked)
            .map(|word| {
                let (fact, rule) = self.why_on_the_line(word);
                Answer::new(format!("kernel argument {word}"), fact, rule)
            })
            .collect();
        let knows = |module: &str| self.has_module(module);
        for (word, fate) in words::fates(&self.source.arguments, &knows).filter(|(word, _)| is_asked(word)) {
            if line.0.contains(word) {
                continue;
            }
            let rule = match fate {
                Fate::Replaced => "our own words stand for it, or it is of one boot of this system only",
                Fate::Dropped => {
                    "it is not on the list of words that are right in the live system (docs/options.md)"
                }
                Fate::Carried { .. } => {
                    "our own word, or one that brings up the image's storage, stands in its place"
                }
            };
            let fact = "this system's kernel command line has it";
            answers.push(Answer::new(format!("no kernel argument {word}"), fact, rule));
        }
        answers
    }

    fn why_on_the_line(&self, word: &Word) -> (String, &'static str) {
        if self.storage.image.arguments().contains(word) {
            return (
                "the image lies on it".to_owned(),
                "early boot brings up only what is named (dracut.cmdline(7))",
            );
        }
        if Cmdline::parse(&self.config.dracut_network).0.contains(word) || word.key == "rd.neednet" {
            return ("dracut_network".to_owned(), "early boot has this network");
        }
        let knows = |module: &str| self.has_module(module);
        let of_source = words::fates(&self.source.arguments, &knows).find(|(known, _)| *known == word);
        match of_source {
            Some((_, Fate::Carried { group, why })) => (
                format!("this system's kernel command line has it; group {group}"),
                why,
            ),
            _ => (ALWAYS.to_owned(), rule_of_our_word(&word.key)),
        }
    }

    fn of_package(&self, what: &str) -> Vec<Answer> {
        if !self.required_packages.iter().any(|package| package == what) {
            return Vec::new();
        }
        let place = match (
            &self.target,
            self.missing_packages.iter().any(|package| package == what),
        ) {
            (None, _) => "",
            (_, true) => ", which dnf installs",
            (_, false) => ", which the container has",
        };
        let is = format!("package {what}{place}");
        let reasons = packages::reasons(&self.config, what, &self.storage);
        reasons
            .into_iter()
            .map(|why| Answer { is: is.clone(), why })
            .collect()
    }

    fn of_mount(&self, what: &str) -> Vec<Answer> {
        let below = |path: &str| match path {
            "/" => SOURCE_MOUNT.to_owned(),
            path => format!("{SOURCE_MOUNT}{path}"),
        };
        let live = self
            .mounts
            .iter()
            .find(|entry| entry.fs_file == what || entry.fs_file == below(what));
        let own = self.source.fstab.iter().flatten().find(|entry| {
            entry.fs_file == what
                || below(&entry.fs_file) == what
                || (entry.fs_vfstype == "swap" && entry.fs_spec == what)
        });
        match (live, own) {
            (Some(live), Some(own)) => {
                let rule = if live.options().any(|option| option == "x-livemode.required") {
                    "a line of the fstab is mounted below the source's new place, and the upgrade waits for it"
                } else {
                    "a line of the fstab is mounted below the source's new place; nofail: the upgrade does not wait for it"
                };
                vec![Answer::new(format!("mount {live}"), format!("/etc/fstab: {own}"), rule)]
            }
            (Some(live), None) => vec![Answer::new(
                format!("mount {live}"),
                "it is mounted now, or the live system needs it",
                "what packages write to is mounted as it is now",
            )],
            (None, Some(own)) => vec![Answer::new(
                format!("no mount of {}", own.fs_file),
                format!("/etc/fstab: {own}"),
                "noauto, the kernel's or RAM's own, or one that the live system cannot have; a warning or refusal says more",
            )],
            (None, None) => Vec::new(),
        }
    }

    fn of_items(&self, what: &str) -> Vec<Answer> {
        let mut answers: Vec<Answer> = self
            .reasons()
            .filter(|(item, _)| is_of(item, what))
            .map(|(item, why)| {
                let fact = match item {
                    Item::File {
                        content: Content::OfSource(path),
                        ..
                    } => format!("{}; this system has {path}", why.fact),
                    _ => why.fact.clone(),
                };
                Answer::new(item.to_string(), fact, why.rule)
            })
            .collect();
        let module = initramfs::module().into_iter().filter(|item| is_of(item, what));
        answers.extend(module.map(|item| {
            Answer::new(
                item.to_string(),
                "an initramfs is made",
                "early boot is this module of dracut's",
            )
        }));
        let is_unit = [".service", ".socket", ".timer", ".target", ".path"]
            .iter()
            .any(|end| what.ends_with(end));
        if is_unit && answers.is_empty() {
            answers.push(Answer::new(
                format!("nothing of ours starts {what}"),
                ALWAYS,
                "the live system runs what the plan lists; what packages have enabled is cleared or masked",
            ));
        }
        answers
    }

    /// A file on this system that the build makes.
    fn of_output(&self, what: &str) -> Vec<Answer> {
        let made = self.files().into_iter().filter(|path| path.as_os_str() == what);
        made.map(|path| {
            let is = format!("file on this system {}", path.display());
            Answer::new(is, ALWAYS, "build makes it, and remove takes it back")
        })
        .collect()
    }

    fn reasons(&self) -> impl Iterator<Item = &(Item, Why)> {
        self.early_reasons.0.iter().chain(&self.live_reasons.0)
    }
}

/// Whether a text has a word, and not only a part of one.
fn names(text: &str, what: &str) -> bool {
    let is_part = |c: char| c.is_alphanumeric() || "-_./".contains(c);
    text.match_indices(what).any(|(at, _)| {
        let before = text[..at].chars().next_back();
        let after = text[at + what.len()..].chars().next();
        !before.is_some_and(is_part) && !after.is_some_and(|c| c.is_alphanumeric() || "-_/".contains(c))
    })
}

fn is_of(item: &Item, what: &str) -> bool {
    let unit = match item {
        Item::Started { units, .. } => units.iter().any(|unit| unit == what),
        Item::Stopped { unit }
        | Item::Masked { unit }
        | Item::Alias { unit, .. }
        | Item::Offered { unit, .. } => *unit == what,
        Item::Link { path, .. } => path.contains(".wants/") && path.rsplit('/').next() == Some(what),
        Item::Only { allowed, .. } => is_allowed(allowed, what),
        Item::Generators { allowed } => is_allowed(allowed, what),
        Item::File {
            content: Content::OfSource(path),
            ..
        } => path == what,
        _ => false,
    };
    unit || item.path() == what
}

/// Why a word of our own is on every line.
fn rule_of_our_word(key: &str) -> &'static str {
    match key {
        "root" | "livemode.local" | "rd.live.dir" | "rd.live.squashimg" => "early boot finds the image by it",
        "livemode.digest" | "livemode.size" => "early boot boots no image but this one",
        "livemode.build" => "early boot knows by it which build the entry is of",
        "livemode.grubenv" => "early boot clears and sets there what boots next",
        "livemode.state" => {
            "early boot reads there where the upgrade stands, and writes down why it refused an image"
        }
        "upgrade.autostart" => "autostart_upgrade_after_reboot",
        "upgrade.strace" => "capture_strace_info_into",
        "rw" => "the live system writes into RAM",
        "enforcing" => "the live system has no labels to enforce SELinux by",
        "rd.plymouth" | "plymouth.enable" => "the console shows what happens",
        "systemd.watchdog_sec" => "watchdog: a machine that hangs is reset by its hardware",
        "rd.shell" | "rd.emergency" | "panic" | "systemd.firstboot" => "nothing waits for a keyboard",
        _ => "",
    }
}

#[cfg(test)]
mod tests;
