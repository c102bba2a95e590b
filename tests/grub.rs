//! A real GRUB boots source systems, and says of any /boot which entry it boots.
#![allow(clippy::unwrap_used)]
use std::fs;
use std::path::PathBuf;

use livemode_tests::disk::Mounted;
use livemode_tests::grub::{environment_block, real_boots, Booted, Layout, INITRAMFS, KERNEL};
use livemode_tests::subject::Subject;
use livemode_tests::testbed::Suite;

const ENTRIES: &str = "boot/loader/entries";
const ENVIRONMENT: &str = "boot/grub2/grubenv";

fn default() -> Subject {
    Subject::new(Suite::Bookworm, "default", "livemode:\n").unwrap()
}

/// The id of the source system's own entry, its only one.
fn own_entry(disk: &Mounted) -> String {
    let mut entries = fs::read_dir(disk.at(ENTRIES)).unwrap();
    let path = entries.next().unwrap().unwrap().path();
    assert!(entries.next().is_none());
    path.file_stem().unwrap().to_str().unwrap().to_owned()
}

/// Adds an entry that is to boot once; the two lines of the environment block afterwards.
fn boot_once(subject: &Subject, id: &str, entry: &str) -> [String; 2] {
    let disk = subject.mounted().unwrap();
    let saved = format!("saved_entry={}", own_entry(&disk));
    assert_eq!(
        fs::read(disk.at(ENVIRONMENT)).unwrap(),
        environment_block(&[&saved])
    );
    fs::write(disk.at(&format!("{ENTRIES}/{id}.conf")), entry).unwrap();
    let next = format!("next_entry={id}");
    fs::write(disk.at(ENVIRONMENT), environment_block(&[&saved, &next])).unwrap();
    [saved, "next_entry=".to_owned()]
}

fn assert_environment(subject: &Subject, lines: &[String; 2]) {
    let block = fs::read(subject.mounted().unwrap().at(ENVIRONMENT)).unwrap();
    let wanted = environment_block(&[&lines[0], &lines[1]]);
    assert_eq!(block, wanted, "{}", String::from_utf8_lossy(&block));
}

/// The titles of the entries that GRUB booted.
fn titles(console: &str) -> Vec<&str> {
    let booted = console.split("Booting `").skip(1);
    booted.map(|rest| rest.split('\'').next().unwrap()).collect()
}

#[test]
fn vm_an_entry_for_once_that_panics_leads_back_to_the_old_system() {
    let subject = default();
    // No init in the initramfs, and no other root.
    let entry = "title Panics\nversion 1\nlinux /boot/vmlinuz-upgrade.x86_64\n\
        initrd /boot/initramfs-upgrade.x86_64.img\noptions console=ttyS0 mitigations=off rdinit=/none panic=1\n";
    let lines = boot_once(&subject, "abcdef-panics", entry);
    let console = subject.boot_by_grub().unwrap();
    assert!(console.contains("Kernel panic"), "{console}");
    let titles = titles(&console);
    assert!(
        matches!(titles[..], ["Panics", old] if old.starts_with("Demo Linux (")),
        "{titles:?}: {console}"
    );
    assert!(
        console.contains("report: booted Demo Linux release 1"),
        "{console}"
    );
    assert_environment(&subject, &lines);
}

#[test]
fn vm_an_entry_for_once_upgrades_and_then_the_upgraded_system_boots() {
    let subject = default();
    let entry = format!(
        "title LiveMode upgrade\nversion 1\nlinux /boot/vmlinuz-upgrade.x86_64\n\
         initrd /boot/initramfs-upgrade.x86_64.img\noptions {}\n",
        subject.arguments
    );
    let lines = boot_once(&subject, "abcdef-livemode", &entry);
    let console = subject.boot_by_grub().unwrap();
    let titles = titles(&console);
    assert!(
        matches!(titles[..], ["LiveMode upgrade", own] if own.starts_with("Demo Linux (")),
        "{titles:?}: {console}"
    );
    assert!(console.contains("livemode: the upgrade succeeded"), "{console}");
    assert!(
        console.contains("report: booted Demo Linux release 2"),
        "{console}"
    );
    assert_eq!(subject.state().unwrap()["state"], "succeeded");
    assert_environment(&subject, &lines);
}

/// A /boot whose entries all have the kernel that tells of its boot.
struct BootTree {
    dir: tempfile::TempDir,
}

/// The head of RHEL's grub.cfg, which boots an entry once.
const HEAD: &str = r#"load_env
if [ "${next_entry}" ]; then
  set default="${next_entry}"
  set next_entry=
  save_env next_entry
  set boot_once=true
else
  set default="${saved_entry}"
fi
function load_video {
  true
}
set timeout=0
"#;

impl BootTree {
    /// With this environment block and these entries: id and options.
    fn new(environment: &[&str], entries: &[(&str, &str)]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let tree = Self { dir };
        for dir in ["grub2", "loader/entries"] {
            fs::create_dir_all(tree.at(dir)).unwrap();
        }
        fs::write(tree.at("grub2/grub.cfg"), format!("{HEAD}blscfg\n")).unwrap();
        fs::write(tree.at("grub2/grubenv"), environment_block(environment)).unwrap();
        for (id, options) in entries {
            let entry = format!(
                "title {id}\nversion {id}\nlinux {KERNEL}\ninitrd {INITRAMFS}\noptions entry={id} {options}\n"
            );
            fs::write(tree.at(&format!("loader/entries/{id}.conf")), entry).unwrap();
        }
        tree
    }

    fn at(&self, path: &str) -> PathBuf {
        self.dir.path().join(path)
    }

    /// What two boots boot.
    fn boots(&self, layout: Layout) -> Vec<Booted> {
        real_boots(self.dir.path(), layout, 2).unwrap()
    }
}

fn entries(booted: &[Booted]) -> Vec<Option<&str>> {
    booted.iter().map(Booted::entry).collect()
}

#[test]
fn vm_next_entry_boots_once_only_where_grub_can_write() {
    let tree = BootTree::new(
        &["saved_entry=a-1", "next_entry=a-0"],
        &[("a-0", ""), ("a-1", ""), ("a-2", "")],
    );
    for (layout, second) in [
        (Layout::Ext4, "a-1"),
        (Layout::Xfs, "a-1"),
        (Layout::Btrfs, "a-0"),
        (Layout::Lvm, "a-0"),
    ] {
        let booted = tree.boots(layout);
        assert_eq!(entries(&booted), [Some("a-0"), Some(second)], "{layout:?}");
    }
}

#[test]
fn vm_options_that_grub_cannot_read_leave_its_menu() {
    let tree = BootTree::new(
        &["saved_entry=a-1", "next_entry=a-2"],
        &[("a-1", "word=a;b last"), ("a-2", "word=it's last")],
    );
    let booted = tree.boots(Layout::Ext4);
    assert_eq!(booted[0], Booted::Waits);
    let Booted::Kernel(line) = &booted[1] else {
        panic!("{booted:?}");
    };
    assert!(line.ends_with(" entry=a-1 word=a"), "{line}");
}
