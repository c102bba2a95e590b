//! Entries by the Boot Loader Specification, and the order in which GRUB's `blscfg` command shows them.
use std::cmp::Ordering;

use serde::{Deserialize, Serialize};

/// What ends the name of an entry's file.
pub const SUFFIX: &str = ".conf";

/// An entry's file, as GRUB reads it: of a key that stands twice, the first line counts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Name of its file, without `.conf`.
    pub id: String,
    /// What the menu shows.
    pub title: Option<String>,
    /// The kernel, on the file system of the entries; GRUB passes an entry without one over.
    pub linux: Option<String>,
    /// The initramfs files, on the same file system.
    pub initrd: Vec<String>,
    /// The kernel command line, before GRUB makes script text of it.
    pub options: Option<String>,
}

impl Entry {
    /// Reads the file of an entry.
    pub fn parse(id: &str, text: &str) -> Self {
        let value = |key: &str| values(text, key).next().map(str::to_owned);
        Self {
            id: id.to_owned(),
            title: value("title"),
            linux: value("linux"),
            initrd: values(text, "initrd")
                .flat_map(str::split_whitespace)
                .map(str::to_owned)
                .collect(),
            options: value("options"),
        }
    }

    /// What a file with this entry holds; `version` and `machine_id` are what kernel-install(8) and grubby(8) look for.
    pub fn to_text(&self, version: &str, machine_id: Option<&str>) -> String {
        let mut text = String::new();
        let mut line = |key: &str, value: &str| text.push_str(&format!("{key} {value}\n"));
        line("title", self.title.as_deref().unwrap_or(&self.id));
        line("version", version);
        machine_id.into_iter().for_each(|id| line("machine-id", id));
        self.linux.iter().for_each(|kernel| line("linux", kernel));
        self.initrd.iter().for_each(|initrd| line("initrd", initrd));
        self.options.iter().for_each(|options| line("options", options));
        text
    }
}

fn values<'a>(text: &'a str, key: &'a str) -> impl Iterator<Item = &'a str> {
    text.lines().filter_map(move |line| {
        let rest = line.trim_start().strip_prefix(key)?;
        rest.starts_with([' ', '\t']).then(|| rest.trim())
    })
}

/// Entries in the order of GRUB's menu: the newest name first.
pub fn in_menu_order(mut entries: Vec<Entry>) -> Vec<Entry> {
    entries.sort_by(|a, b| compare(&b.id, &a.id));
    entries
}

/// How GRUB compares the names of two entries' files (rhboot/grub2, grub-core/commands/blscfg.c, `bls_cmp`): as packages'
/// names, versions and releases, parted at the last two dashes.
pub fn compare(a: &str, b: &str) -> Ordering {
    let (a, b) = (format!("{a}{SUFFIX}"), format!("{b}{SUFFIX}"));
    let (a, b) = (parts(&a), parts(&b));
    let unequal = a
        .iter()
        .zip(&b)
        .map(|(a, b)| vercmp(a.as_bytes(), b.as_bytes()))
        .find(|order| order.is_ne());
    unequal.unwrap_or(Ordering::Equal)
}

/// Name, version and release; what is missing is empty, from the right.
fn parts(name: &str) -> [&str; 3] {
    match name.rsplitn(3, '-').collect::<Vec<_>>().as_slice() {
        [release, version, name] => [name, version, release],
        [version, name] => [name, version, ""],
        _ => [name, "", ""],
    }
}

/// rpmvercmp, as GRUB has it: `~` is older than anything, `+` newer than the end and older than the rest.
fn vercmp(a: &[u8], b: &[u8]) -> Ordering {
    let (mut a, mut b) = (a, b);
    'segments: loop {
        (a, b) = (at_segment(a), at_segment(b));
        for (mark, is_newer_than_the_end) in [(b'~', false), (b'+', true)] {
            match (a.first() == Some(&mark), b.first() == Some(&mark)) {
                (false, false) => continue,
                (true, true) => {
                    (a, b) = (&a[1..], &b[1..]);
                    continue 'segments;
                }
                (false, true) if is_newer_than_the_end && a.is_empty() => return Ordering::Less,
                (true, false) if is_newer_than_the_end && b.is_empty() => return Ordering::Greater,
                (false, true) => return Ordering::Greater,
                (true, false) => return Ordering::Less,
            }
        }
        if a.is_empty() || b.is_empty() {
            return a.len().cmp(&b.len());
        }
        let digits = a[0].is_ascii_digit();
        let (one, rest_of_a) = segment(a, digits);
        let (two, rest_of_b) = segment(b, digits);
        if two.is_empty() {
            // A number is newer than a word.
            return if digits { Ordering::Greater } else { Ordering::Less };
        }
        let order = if digits {
            let (one, two) = (without_zeros(one), without_zeros(two));
            one.len().cmp(&two.len()).then(one.cmp(two))
        } else {
            one.cmp(two)
        };
        if order.is_ne() {
            return order;
        }
        (a, b) = (rest_of_a, rest_of_b);
    }
}

fn at_segment(text: &[u8]) -> &[u8] {
    let begins = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'~' | b'+');
    &text[text.iter().position(begins).unwrap_or(text.len())..]
}

fn segment(text: &[u8], digits: bool) -> (&[u8], &[u8]) {
    let belongs = |byte: &u8| {
        if digits {
            byte.is_ascii_digit()
        } else {
            byte.is_ascii_alphabetic()
        }
    };
    text.split_at(text.iter().position(|byte| !belongs(byte)).unwrap_or(text.len()))
}

fn without_zeros(digits: &[u8]) -> &[u8] {
    &digits[digits
        .iter()
        .position(|digit| *digit != b'0')
        .unwrap_or(digits.len())..]
}

#[cfg(test)]
mod tests {
    use super::*;

    const MACHINE: &str = "a1b2c3d4e5f60718293a4b5c6d7e8f90";

    #[test]
    fn an_entry_is_read_as_grub_reads_it() {
        let text = "# ours\ntitle  Rocky Linux (5.14) \nversion 5.14\nlinux /vmlinuz-5.14\ninitrd /a.img /b.img\ninitrd \
                    /c.img\noptions\troot=UUID=x  ro\noptions quiet\ngrub_users $grub_users\ntitled no\n";
        let entry = Entry::parse("x", text);
        assert_eq!(
            entry,
            Entry {
                id: "x".into(),
                title: Some("Rocky Linux (5.14)".into()),
                linux: Some("/vmlinuz-5.14".into()),
                initrd: ["/a.img", "/b.img", "/c.img"].map(String::from).to_vec(),
                options: Some("root=UUID=x  ro".into()),
            }
        );
        assert_eq!(
            Entry::parse("x", "title none\n").linux,
            None,
            "GRUB passes it over"
        );
        assert_eq!(Entry::parse("x", &entry.to_text("5.14", None)), entry);
    }

    #[test]
    fn the_menu_has_the_newest_first_and_ours_after_every_kernel_of_this_machine() {
        let ids = [
            "5.14.0-427.el9.x86_64",
            "5.14.0-70.13.1.el9_0.x86_64",
            "0-rescue",
            "livemode",
        ];
        let entries = ids.iter().rev().map(|id| Entry {
            id: format!("{MACHINE}-{id}"),
            ..Entry::default()
        });
        let order: Vec<String> = in_menu_order(entries.collect())
            .into_iter()
            .map(|entry| entry.id)
            .collect();
        assert_eq!(order, ids.map(|id| format!("{MACHINE}-{id}")));
    }

    #[test]
    fn names_are_compared_as_those_of_packages() {
        for (newer, older) in [
            ("a-6.12.0-1", "a-5.14.0-9"),
            ("a-5.14.0-10", "a-5.14.0-9"),
            ("a-5.14.0-010", "a-5.14.0-9"),
            ("b-4.18.0-1", "a-5.14.0-1"),
            ("a-5.14.0-1.el9", "a-5.14.0-1.el9~custom"),
            ("a-5.14.0-1", "a-5.14.0-1+debug"),
            ("a-5.14.0-1", "a-5.14.0-rc"),
            ("a-5.14.0-1.1", "a-5.14.0-1"),
            ("a-5.14+x-1", "a-5.14-1"),
            ("a-b-1-1", "a-1-1"),
            ("x", ""),
        ] {
            assert_eq!(compare(newer, older), Ordering::Greater, "{newer} {older}");
            assert_eq!(compare(older, newer), Ordering::Less, "{newer} {older}");
        }
        assert_eq!(compare("a-1", "a-1"), Ordering::Equal);
    }
}
