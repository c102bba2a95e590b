//! An entry's file as systemd-boot reads it, and where it stands in the menu. Pure.
use std::cmp::Ordering;

use serde::{Deserialize, Serialize};

use super::names::{compare, counted};
use crate::loader::bls::Entry;

/// An entry's file, as systemd-boot reads it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Item {
    /// Its id is the file's name without counters, as bootctl(1) shows it.
    pub entry: Entry,
    /// The file's name.
    pub name: String,
    /// How often it may still be tried, where that is counted.
    pub tries_left: Option<u32>,
    /// What entries are ordered by first.
    pub sort_key: Option<String>,
    /// The machine that it is of.
    pub machine_id: String,
    /// The kernel's release, mostly.
    pub version: String,
    /// The first of its files that is not there.
    pub missing: Option<String>,
}

impl Item {
    /// Reads the file of an entry: of a key that stands twice the last line counts, but of options and initramfs files, which
    /// all count.
    pub fn parse(name: &str, text: &str) -> Self {
        let (id, tries_left) = counted(name);
        let mut item = Self {
            entry: Entry {
                id,
                ..Entry::default()
            },
            name: name.to_owned(),
            tries_left,
            ..Self::default()
        };
        for line in text.lines().map(str::trim).filter(|line| !line.starts_with('#')) {
            let Some((key, value)) = line.split_once([' ', '\t']) else {
                continue;
            };
            let value = value.trim().to_owned();
            match key {
                "title" => item.entry.title = Some(value),
                "linux" | "efi" => item.entry.linux = Some(value),
                "initrd" => item.entry.initrd.push(value),
                "options" => {
                    let before = item.entry.options.take().map(|before| before + " ");
                    item.entry.options = Some(before.unwrap_or_default() + &value);
                }
                "sort-key" => item.sort_key = Some(value),
                "machine-id" => item.machine_id = value,
                "version" => item.version = value,
                _ => {}
            }
        }
        item
    }

    /// One without a kernel is no entry of the menu.
    pub(super) fn is_shown(&self) -> bool {
        let linux = self.entry.linux.as_ref();
        linux.is_some() && self.missing.as_ref() != linux
    }

    /// Where it stands in the menu.
    pub(super) fn order(&self, other: &Self) -> Ordering {
        let is_used_up = |item: &Self| item.tries_left == Some(0);
        let by_keys = match (&self.sort_key, &other.sort_key) {
            (Some(one), Some(two)) => one
                .cmp(two)
                .then_with(|| self.machine_id.cmp(&other.machine_id))
                .then_with(|| compare(&other.version, &self.version)),
            (one, two) => one.is_none().cmp(&two.is_none()),
        };
        is_used_up(self)
            .cmp(&is_used_up(other))
            .then(by_keys)
            .then_with(|| compare(&other.name.to_ascii_lowercase(), &self.name.to_ascii_lowercase()))
            .then_with(|| other.tries_left.cmp(&self.tries_left))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_read_as_systemd_boot_reads_it() {
        let text = "# a comment\ntitle One\ntitle Two\nlinux /a b\ninitrd /i\ninitrd /j\noptions a\noptions\tb=1\nsort-key fedora\n\
                    machine-id a1\nversion 6.1\narchitecture x64\n";
        let item = Item::parse("x+3.conf", text);
        assert_eq!(
            item,
            Item {
                entry: Entry {
                    id: "x.conf".into(),
                    title: Some("Two".into()),
                    linux: Some("/a b".into()),
                    initrd: vec!["/i".into(), "/j".into()],
                    options: Some("a b=1".into()),
                },
                name: "x+3.conf".into(),
                tries_left: Some(3),
                sort_key: Some("fedora".into()),
                machine_id: "a1".into(),
                version: "6.1".into(),
                missing: None,
            }
        );
    }
}
