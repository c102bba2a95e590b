//! Every way in which a transaction can end, on a directory.
use std::collections::BTreeMap;

use livemode_common::loader::store::Keeper;

use super::*;

/// A source system with an image and records of an earlier build; the new files lie beside them.
struct Source {
    dir: tempfile::TempDir,
    root: SysRoot,
}

impl Source {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let root = SysRoot::new(dir.path());
        for place in [STATE_DIR, "boot", "var/lib/leapp/work"] {
            fs::create_dir_all(dir.path().join(place)).unwrap();
        }
        let source = Self { dir, root };
        for (path, text) in [
            ("boot/kernel", "old kernel"),
            ("boot/hmac", "old hmac"),
            ("var/lib/leapp/livemode/manifest.json", "old manifest"),
            ("boot/.livemode-new-kernel", "new kernel"),
            ("var/lib/leapp/work/image", "new image"),
            (
                "var/lib/leapp/livemode/.livemode-new-manifest.json",
                "new manifest",
            ),
        ] {
            fs::write(source.at(path), text).unwrap();
        }
        source
    }

    fn at(&self, path: &str) -> PathBuf {
        self.dir.path().join(path)
    }

    fn changes(&self) -> Vec<Change> {
        let put = |staged: &str, target: &str| Change::Put {
            staged: self.at(staged),
            target: self.at(target),
        };
        vec![
            put("var/lib/leapp/work/image", "var/lib/leapp/image"),
            put("boot/.livemode-new-kernel", "boot/kernel"),
            Change::Remove {
                target: self.at("boot/hmac"),
            },
            put(
                "var/lib/leapp/livemode/.livemode-new-manifest.json",
                "var/lib/leapp/livemode/manifest.json",
            ),
        ]
    }

    fn record(&self, stage: Stage) -> Record {
        let record = Record {
            schema: SCHEMA,
            stage,
            work: Some("/var/lib/leapp/work".into()),
            changes: self
                .changes()
                .iter()
                .map(|change| recorded(&self.root, change).unwrap())
                .collect(),
            entry: None,
            was_armed: false,
        };
        record.write(&self.root).unwrap();
        record
    }

    fn files(&self) -> BTreeMap<String, String> {
        let mut found = BTreeMap::new();
        let mut todo = vec![self.dir.path().to_owned()];
        while let Some(dir) = todo.pop() {
            for entry in fs::read_dir(dir).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    todo.push(path);
                } else {
                    let name = path.strip_prefix(self.dir.path()).unwrap();
                    found.insert(name.display().to_string(), fs::read_to_string(&path).unwrap());
                }
            }
        }
        found
    }
}

fn files(list: &[(&str, &str)]) -> BTreeMap<String, String> {
    list.iter()
        .map(|(path, text)| ((*path).to_owned(), (*text).to_owned()))
        .collect()
}

fn old() -> BTreeMap<String, String> {
    files(&[
        ("boot/kernel", "old kernel"),
        ("boot/hmac", "old hmac"),
        ("var/lib/leapp/livemode/manifest.json", "old manifest"),
    ])
}

fn new() -> BTreeMap<String, String> {
    files(&[
        ("boot/kernel", "new kernel"),
        ("var/lib/leapp/image", "new image"),
        ("var/lib/leapp/livemode/manifest.json", "new manifest"),
    ])
}

#[test]
fn cut_off_before_anything_counts_it_leaves_nothing() {
    let source = Source::new();
    let record = source.record(Stage::Staging);
    // Cut while the former files get their second names.
    for change in &record.changes[..2] {
        keep(&source.root, change).unwrap();
    }
    settle(&source.root).unwrap();
    assert_eq!(source.files(), old());
    settle(&source.root).unwrap();
    assert_eq!(source.files(), old());
}

#[test]
fn cut_off_after_each_change_all_is_as_it_was() {
    for with_links in [true, false] {
        for done in 0..=4 {
            let source = Source::new();
            let record = source.record(Stage::Committing);
            if with_links {
                for change in &record.changes {
                    keep(&source.root, change).unwrap();
                }
            }
            for change in &record.changes[..done] {
                apply(&source.root, change).unwrap();
            }
            settle(&source.root).unwrap();
            assert_eq!(source.files(), old(), "{done} changes done, links: {with_links}");
        }
    }
}

#[test]
fn cut_off_in_the_middle_of_undoing_the_next_call_goes_on() {
    for put_back_again in 0..=4 {
        let source = Source::new();
        let record = source.record(Stage::Committing);
        for change in &record.changes {
            keep(&source.root, change).unwrap();
            apply(&source.root, change).unwrap();
        }
        for change in record.changes.iter().rev().take(put_back_again) {
            put_back(&source.root, change).unwrap();
        }
        settle(&source.root).unwrap();
        assert_eq!(source.files(), old(), "{put_back_again} put back before the cut");
    }
}

#[test]
fn cut_off_once_it_counts_it_is_completed() {
    let source = Source::new();
    let record = source.record(Stage::Committed);
    for change in &record.changes {
        keep(&source.root, change).unwrap();
        apply(&source.root, change).unwrap();
    }
    fs::remove_file(former(&source.at("boot/kernel"))).unwrap();
    settle(&source.root).unwrap();
    assert_eq!(source.files(), new());
}

fn counting(source: &Source) -> Record {
    let mut record = source.record(Stage::Committing);
    for change in &record.changes {
        keep(&source.root, change).unwrap();
        apply(&source.root, change).unwrap();
    }
    record.end_commit(&source.root).unwrap();
    record
}

/// Arming comes after that, and may fail.
#[test]
fn what_counts_can_be_taken_back_by_the_call_that_made_it_count() {
    let source = Source::new();
    counting(&source).undo(&source.root, true).unwrap();
    assert_eq!(source.files(), old());
}

#[test]
fn taking_back_that_is_cut_off_is_gone_on_with() {
    let source = Source::new();
    let mut record = counting(&source);
    // What boots cannot be given back: nothing is put back yet.
    fs::write(source.at("boot/grubenv"), "torn").unwrap();
    record.entry = Some(OwnEntry {
        id: "a-livemode".into(),
        path: "/boot/loader/entries/a-livemode.conf".into(),
        kernel: "/boot/kernel".into(),
        initramfs: "/boot/initramfs".into(),
        keeper: Keeper::Grub {
            grubenv: "/boot/grubenv".into(),
            grubenv_on: None,
        },
        boot: "/".into(),
        former_default: "a-5".into(),
    });
    assert!(record.undo(&source.root, true).is_err());
    fs::remove_file(source.at("boot/grubenv")).unwrap();
    settle(&source.root).unwrap();
    assert_eq!(source.files(), old());
}

#[test]
fn a_record_of_another_version_is_not_guessed_at() {
    let source = Source::new();
    let mut record = source.record(Stage::Committing);
    record.schema = SCHEMA + 1;
    record.write(&source.root).unwrap();
    let before = source.files();
    let refused = settle(&source.root).unwrap_err().to_string();
    assert!(
        refused.contains("transaction.json: schema 2 is of another version"),
        "{refused}"
    );
    assert_eq!(source.files(), before);
}

#[test]
fn a_directory_where_a_file_must_be_is_named_before_anything_changes() {
    let source = Source::new();
    fs::remove_file(source.at("boot/kernel")).unwrap();
    fs::create_dir_all(source.at("boot/kernel/x")).unwrap();
    let refused = recorded(&source.root, &source.changes()[1])
        .unwrap_err()
        .to_string();
    assert_eq!(
        refused,
        format!(
            "{} is a directory, where a file must be; remove it",
            source.at("boot/kernel").display()
        )
    );
}
