//! A real GRUB boots source systems, and says of any /boot which entry it boots.
#![allow(clippy::unwrap_used)]
use std::fs;
use std::path::PathBuf;

use livemode_common::loader::grubenv::Grubenv;
use livemode_tests::grub::{environment_block, real_boots, Booted, Layout, INITRAMFS, KERNEL};
use livemode_tests::subject::Subject;
use livemode_tests::testbed::Suite;

/// The titles of the entries that GRUB booted.
fn titles(console: &str) -> Vec<&str> {
    let booted = console.split("Booting `").skip(1);
    booted.map(|rest| rest.split('\'').next().unwrap()).collect()
}

#[test]
fn vm_a_panic_before_early_boot_leads_back_to_the_old_system() {
    let mut subject = Subject::new(Suite::Bookworm, "default", "livemode:\n").unwrap();
    // No init in the initramfs, and no other root.
    subject.arguments = "console=ttyS0 mitigations=off rdinit=/none panic=1".to_owned();
    let console = subject.boot_until_it_rests().unwrap();
    assert!(console.contains("Kernel panic"), "{console}");
    let titles = titles(&console);
    assert!(
        matches!(titles[..], ["LiveMode upgrade", old] if old.starts_with("Demo Linux (")),
        "{titles:?}: {console}"
    );
    assert!(
        console.contains("report: booted Demo Linux release 1"),
        "{console}"
    );
    let env = Grubenv::read(&subject.mounted().unwrap().at("boot/grub2/grubenv")).unwrap();
    assert_eq!(env.get("next_entry"), None);
    assert_eq!(subject.state().unwrap()["state"], "prepared");
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
