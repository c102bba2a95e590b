//! systemd-boot's files, on the EFI system partition and on the partition with the kernels, where that is another.
use std::fs;
use std::path::Path;

use super::{Item, SystemdBoot, VARIABLES};
use crate::loader::bls::SUFFIX;
use crate::loader::efivars;

/// Where entries lie on a partition.
pub const ENTRIES: &str = "loader/entries";
const CONF: &str = "loader/loader.conf";
const IMAGES: &str = "EFI/Linux";
/// The keys of loader.conf that say what boots.
const KEYS: [&str; 3] = ["timeout", "default", "preferred"];

/// All that it goes by: `esp` and `boot` are where the two partitions are mounted, `variables` where efivarfs is.
pub fn look(esp: &Path, boot: &Path, variables: &Path) -> SystemdBoot {
    let partitions = [Some(esp), (boot != esp).then_some(boot)];
    let partitions: Vec<&Path> = partitions.into_iter().flatten().collect();
    let set = VARIABLES.into_iter().filter_map(|name| {
        let value = efivars::read(variables, name).ok().flatten()?;
        Some((name.to_owned(), value))
    });
    SystemdBoot {
        conf: conf(&fs::read_to_string(esp.join(CONF)).unwrap_or_default()),
        variables: set.collect(),
        entries: partitions
            .iter()
            .flat_map(|partition| entries(partition))
            .collect(),
        images: partitions
            .iter()
            .flat_map(|partition| images(partition))
            .collect(),
    }
}

fn conf(text: &str) -> Vec<(String, String)> {
    let pairs = text
        .lines()
        .filter_map(|line| line.trim().split_once([' ', '\t']));
    pairs
        .filter(|(key, _)| KEYS.contains(key))
        .map(|(key, value)| (key.to_owned(), value.trim().to_owned()))
        .collect()
}

fn entries(partition: &Path) -> Vec<Item> {
    let dir = partition.join(ENTRIES);
    let mut items: Vec<Item> = names(&dir, SUFFIX)
        .into_iter()
        .filter_map(|name| {
            let text = fs::read(dir.join(&name)).ok()?;
            let item = Item::parse(&name, &String::from_utf8_lossy(&text));
            let mut files = item.entry.linux.iter().chain(&item.entry.initrd);
            let missing = files.find(|file| !partition.join(file.trim_start_matches('/')).is_file());
            let missing = missing.cloned();
            Some(Item { missing, ..item })
        })
        .collect();
    items.sort_by(|one, two| one.name.cmp(&two.name));
    items
}

fn images(partition: &Path) -> Vec<String> {
    let mut images = names(&partition.join(IMAGES), ".efi");
    images.sort();
    images
}

/// Files of a directory that systemd-boot looks at.
fn names(dir: &Path, suffix: &str) -> Vec<String> {
    let files = fs::read_dir(dir).into_iter().flatten().flatten();
    let names = files.map(|file| file.file_name().to_string_lossy().into_owned());
    names
        .filter(|name| {
            let folded = name.to_ascii_lowercase();
            folded.ends_with(suffix) && !folded.starts_with('.') && !folded.starts_with("auto-")
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_partitions_count_and_loader_conf_of_the_esp() {
        let dir = tempfile::tempdir().unwrap();
        let (esp, boot, variables) = (
            dir.path().join("efi"),
            dir.path().join("boot"),
            dir.path().join("vars"),
        );
        for (path, text) in [
            (
                "efi/loader/loader.conf",
                "#timeout 9\ntimeout  3\ndefault\ta*\neditor no\n",
            ),
            ("efi/loader/entries/a.conf", "linux /a/linux\ninitrd /a/initrd\n"),
            ("efi/a/linux", ""),
            ("efi/EFI/Linux/u.efi", ""),
            ("boot/loader/loader.conf", "timeout menu-force\n"),
            ("boot/loader/entries/B.CONF", "linux /b/linux\n"),
            ("boot/loader/entries/auto-c.conf", "linux /b/linux\n"),
            ("boot/loader/entries/.d.conf", "linux /b/linux\n"),
            ("boot/loader/entries/e.txt", "linux /b/linux\n"),
            ("boot/b/linux", ""),
            ("vars/none", ""),
        ] {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        efivars::write(&variables, super::super::DEFAULT, Some("a.conf")).unwrap();
        let found = look(&esp, &boot, &variables);
        let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
        assert_eq!(found.conf, [pair("timeout", "3"), pair("default", "a*")]);
        assert_eq!(found.variables, [pair("LoaderEntryDefault", "a.conf")]);
        assert_eq!(found.images, ["u.efi"]);
        let entries: Vec<_> = found
            .entries
            .iter()
            .map(|item| (item.name.as_str(), item.missing.as_deref()))
            .collect();
        assert_eq!(entries, [("a.conf", Some("/a/initrd")), ("B.CONF", None)]);
        assert_eq!(look(&esp, &esp, &variables).entries.len(), 1);
    }
}
