//! A real GRUB boots source systems, and says of any /boot which entry it boots.
#![allow(clippy::unwrap_used)]
use std::fs;
use std::path::{Path, PathBuf};

use livemode_common::loader::bls::in_menu_order;
use livemode_common::loader::files;
use livemode_common::loader::grub_cfg::GrubCfg;
use livemode_common::loader::grubenv::Grubenv;
use livemode_common::loader::next_boots::{Grub, NextBoots};
use livemode_common::sysroot::SysRoot;
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
    subject.arguments = "console=ttyS0 mitigations=off no_timer_check rdinit=/none panic=1".to_owned();
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

/// The head of RHEL's grub.cfg: reading the block, booting an entry once, and the rest.
const LOADS: &str = "if [ -s $prefix/grubenv ]; then\n  load_env\nfi\n";
/// See [`LOADS`].
const ONCE: &str = r#"if [ "${next_entry}" ] ; then
   set default="${next_entry}"
   set next_entry=
   save_env next_entry
   set boot_once=true
else
   set default="${saved_entry}"
fi
"#;
/// See [`LOADS`].
const REST: &str = r#"if [ "${prev_saved_entry}" ]; then
  set saved_entry="${prev_saved_entry}"
  save_env saved_entry
  set prev_saved_entry=
  save_env prev_saved_entry
  set boot_once=true
fi
function load_video {
  true
}
set timeout=0
"#;

/// Stands at the end of all options: what does not arrive with it was cut off.
const LAST: &str = "last";

impl BootTree {
    /// With this environment block and these entries: id and options.
    fn new(environment: &[&str], entries: &[(&str, &str)]) -> Self {
        let tree = Self {
            dir: tempfile::tempdir().unwrap(),
        };
        for dir in ["grub2", "loader/entries"] {
            fs::create_dir_all(tree.at(dir)).unwrap();
        }
        // For who looks here: a machine gets the real ones.
        for file in [KERNEL, INITRAMFS] {
            fs::write(tree.at(file.trim_start_matches('/')), "").unwrap();
        }
        fs::write(tree.at("grub2/grub.cfg"), format!("{LOADS}{ONCE}{REST}blscfg\n")).unwrap();
        fs::write(tree.at("grub2/grubenv"), environment_block(environment)).unwrap();
        for (id, options) in entries {
            let entry = format!(
                "title Title of {id}\nversion {id}\nlinux {KERNEL}\ninitrd {INITRAMFS}\n\
                 options entry={id} {options} {LAST}\n"
            );
            fs::write(tree.at(&format!("loader/entries/{id}.conf")), entry).unwrap();
        }
        tree
    }

    /// A kernel, an older one which is saved, and the upgrade, which is to boot once.
    fn armed() -> Self {
        Self::new(&ARMED, &ENTRIES)
    }

    /// With another grub.cfg.
    fn configured(self, change: impl FnOnce(&str) -> String) -> Self {
        let path = self.at("grub2/grub.cfg");
        let text = change(&fs::read_to_string(&path).unwrap());
        fs::write(path, text).unwrap();
        self
    }

    /// Each boot takes the next of these as its default.
    fn in_turn(self, defaults: &[&str]) -> Self {
        let mut cfg = String::from("load_env\nset timeout=0\n");
        for (turn, default) in defaults.iter().enumerate() {
            let word = if turn == 0 { "if" } else { "elif" };
            let (before, next) = ("x".repeat(turn), "x".repeat(turn + 1));
            cfg.push_str(&format!(
                "{word} [ \"${{turn}}\" = \"{before}\" ]; then\n  set default=\"{default}\"\n  set turn={next}\n"
            ));
        }
        cfg.push_str("fi\nsave_env turn\nblscfg\n");
        self.configured(|_| cfg)
    }

    fn at(&self, path: &str) -> PathBuf {
        self.dir.path().join("boot").join(path)
    }

    /// All that GRUB goes by, as the source system's own programs see it.
    fn facts(&self, layout: Layout) -> Grub {
        let root = SysRoot::new(self.dir.path());
        let entries = files::entries(&root);
        let cfg = fs::read_to_string(self.at("grub2/grub.cfg")).unwrap();
        let env = Grubenv::read(&self.at("grub2/grubenv"));
        Grub {
            cfg: Ok(GrubCfg::parse(&cfg)),
            env: env.map(|env| Grub::variables(&env)).map_err(|e| format!("{e:#}")),
            env_is_fixed: matches!(layout, Layout::Btrfs | Layout::Lvm).then(|| format!("{layout:?}")),
            missing: files::missing(&root, Path::new("/"), &entries),
            entries,
        }
    }

    /// What so many boots boot.
    fn boots(&self, layout: Layout, boots: usize) -> Vec<Booted> {
        real_boots(&self.at(""), layout, boots).unwrap()
    }

    /// What is not so: that two boots boot these entries, and that we know it beforehand. [`WAITS`] is a machine that stops.
    fn disagreement(&self, name: &str, layout: Layout, entries: [&str; 2]) -> Option<String> {
        let booted = self.boots(layout, 2);
        let known = self.facts(layout).next_boots();
        let real = booted.iter().map(|booted| booted.entry().unwrap_or(WAITS));
        let is_known = match &known {
            Ok(NextBoots { next, after }) => [next.as_str(), after] == entries,
            Err(_) => entries.contains(&WAITS),
        };
        let agrees = real.eq(entries) && is_known;
        (!agrees).then(|| format!("{name}: GRUB: {booted:?}; ours: {known:?}; in this test: {entries:?}"))
    }
}

const NONE: [String; 0] = [];
const WAITS: &str = "GRUB waits";
const OURS: &str = "a1-0-livemode";
const OLD: &str = "a1-5.14.0-1.el9.x86_64";
const NEW: &str = "a1-5.14.0-9.el9.x86_64";
const ENTRIES: [(&str, &str); 3] = [(OLD, ""), (NEW, ""), (OURS, "")];
const ARMED: [&str; 2] = ["saved_entry=a1-5.14.0-1.el9.x86_64", "next_entry=a1-0-livemode"];

#[test]
fn vm_next_entry_boots_once_only_where_grub_can_write() {
    let mut wrong = Vec::new();
    for (layout, after) in [
        (Layout::Ext4, OLD),
        (Layout::Xfs, OLD),
        (Layout::Btrfs, OURS),
        (Layout::Lvm, OURS),
    ] {
        let tree = BootTree::armed();
        wrong.extend(tree.disagreement(&format!("{layout:?}"), layout, [OURS, after]));
    }
    assert_eq!(wrong, NONE);
}

#[test]
fn vm_the_environment_block_says_what_boots() {
    let (saved, next) = (ARMED[0], ARMED[1]);
    let mut wrong = Vec::new();
    for (environment, boots) in [
        (vec![saved], [OLD, OLD]),
        (vec![], [NEW, NEW]),
        (vec![next], [OURS, NEW]),
        (vec!["saved_entry=1"], [OLD, OLD]),
        (vec!["saved_entry=9"], [NEW, NEW]),
        (vec!["saved_entry=a1-gone"], [NEW, NEW]),
        (vec![saved, "next_entry=a1-gone"], [NEW, OLD]),
        (vec![saved, "next_entry=2"], [OURS, OLD]),
        (vec!["saved_entry=Title of a1-0-livemode"], [OURS, OURS]),
        (
            vec![
                "saved_entry=a1-0-livemode",
                "prev_saved_entry=a1-5.14.0-1.el9.x86_64",
            ],
            [OURS, OLD],
        ),
    ] {
        let tree = BootTree::new(&environment, &ENTRIES);
        wrong.extend(tree.disagreement(&environment.join(" "), Layout::Ext4, boots));
    }
    assert_eq!(wrong, NONE);
}

#[test]
fn vm_the_configuration_says_what_boots() {
    const OWN: &str =
        "menuentry 'My own' --id=mine {\n  linux /vmlinuz entry=mine\n  initrd /initramfs.img\n}\n";
    let mut wrong = Vec::new();
    for (from, to, boots) in [
        ("${saved_entry}\"\nfi", "0\"\nfi", [OURS, NEW]),
        ("${saved_entry}\"\nfi", "a1-0-livemode\"\nfi", [OURS, OURS]),
        (ONCE, "set default=\"${saved_entry}\"\n", [OLD, OLD]),
        ("  load_env", "  true", [NEW, NEW]),
        ("blscfg\n", OWN, ["mine", "mine"]),
        ("blscfg\n", &format!("{OWN}blscfg\n"), [OURS, OLD]),
        ("timeout=0", "timeout=-1", [WAITS, WAITS]),
    ] {
        let tree = BootTree::armed().configured(|text| {
            assert!(text.contains(from), "{from}");
            text.replace(from, to)
        });
        wrong.extend(tree.disagreement(to, Layout::Ext4, boots));
    }
    assert_eq!(wrong, NONE);
}

#[test]
fn vm_what_is_never_cleared_boots_for_ever_and_is_not_foretold() {
    let tree = BootTree::armed().configured(|text| text.replace("   save_env next_entry\n", ""));
    let booted = tree.boots(Layout::Ext4, 2);
    let real: Vec<Option<&str>> = booted.iter().map(Booted::entry).collect();
    assert_eq!(real, [Some(OURS), Some(OURS)]);
    let why = tree.facts(Layout::Ext4).next_boots().unwrap_err();
    assert!(why.contains("no save_env next_entry"), "{why}");
}

#[test]
fn vm_a_block_that_is_none_counts_for_nothing() {
    let whole = environment_block(&ARMED);
    let sized = |bytes: usize| {
        let mut block = whole.clone();
        block.resize(bytes, b'#');
        block
    };
    let mut wrong = Vec::new();
    for (name, block, boots) in [
        ("missing", None, [NEW, NEW]),
        ("empty", Some(Vec::new()), [NEW, NEW]),
        ("zeros", Some(vec![0; whole.len()]), [NEW, NEW]),
        ("half", Some(sized(512)), [OURS, OLD]),
        ("twice", Some(sized(2048)), [OURS, OLD]),
        (
            "torn",
            Some(sized(whole.iter().position(|byte| *byte == b'=').unwrap() + 4)),
            [NEW, NEW],
        ),
    ] {
        let tree = BootTree::armed();
        let path = tree.at("grub2/grubenv");
        match block {
            Some(block) => fs::write(path, block).unwrap(),
            None => fs::remove_file(path).unwrap(),
        }
        wrong.extend(tree.disagreement(name, Layout::Ext4, boots));
    }
    assert_eq!(wrong, NONE);
}

#[test]
fn vm_a_kernel_that_is_missing_leaves_grubs_menu() {
    let tree = BootTree::armed();
    let path = tree.at("loader/entries/a1-0-livemode.conf");
    let entry = fs::read_to_string(&path).unwrap();
    fs::write(&path, entry.replace(KERNEL, "/gone")).unwrap();
    assert_eq!(tree.disagreement("gone", Layout::Ext4, [WAITS, OLD]), None);
}

#[test]
fn vm_the_menu_is_in_the_order_we_know() {
    // Not where numbers stand beside words: RHEL has the numbers first, and 2.14 the words.
    let ids = [
        "a1b2c3d4e5f60718293a4b5c6d7e8f90-0-rescue",
        "a1b2c3d4e5f60718293a4b5c6d7e8f90-5.14.0-427.el9.x86_64",
        "a1b2c3d4e5f60718293a4b5c6d7e8f90-5.14.0-427.el9.x86_64~custom",
        "a1b2c3d4e5f60718293a4b5c6d7e8f90-5.14.0-70.13.1.el9_0.x86_64",
        "a1b2c3d4e5f60718293a4b5c6d7e8f90-6.12.0-9.el10.x86_64",
        // As boom(1) names them.
        "a1b2c3d4e5f60718293a4b5c6d7e8f90-9a2b3c4-5.14.0-427.el9.x86_64",
        "b1b2c3d4e5f60718293a4b5c6d7e8f90-4.18.0-1.el8.x86_64",
        "custom",
    ];
    let numbers: Vec<String> = (0..ids.len()).map(|number| number.to_string()).collect();
    let numbers: Vec<&str> = numbers.iter().map(String::as_str).collect();
    let tree = BootTree::new(&[], &ids.map(|id| (id, ""))).in_turn(&numbers);
    let booted = tree.boots(Layout::Ext4, ids.len());
    let real: Vec<&str> = booted
        .iter()
        .map(|booted| booted.entry().unwrap_or(WAITS))
        .collect();
    let known = in_menu_order(tree.facts(Layout::Ext4).entries);
    let known: Vec<&str> = known.iter().map(|entry| entry.id.as_str()).collect();
    assert_eq!(real, known);
}

#[test]
fn vm_options_arrive_or_are_known_not_to() {
    // What is written, and what arrives, if that is so.
    let options = [
        ("word", Some("word")),
        ("'a=b&c;d|e<f>g{h}i#j'", Some("a=b&c;d|e<f>g{h}i#j")),
        ("a=b#c", Some("a=b#c")),
        ("$tuned_params", Some("")),
        ("a=b&c", None),
        ("a;b", None),
        ("it's", None),
        ("a={b}", None),
        ("{", None),
        ("a|b", None),
        ("a<b", None),
        ("a=\"b", None),
        ("#a", None),
    ];
    let ids: Vec<String> = (0..options.len()).map(|number| format!("a-{number}")).collect();
    let entries: Vec<(&str, &str)> = ids
        .iter()
        .zip(options)
        .map(|(id, (options, _))| (id.as_str(), options))
        .collect();
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    let tree = BootTree::new(&[], &entries).in_turn(&ids);
    let booted = tree.boots(Layout::Ext4, ids.len());
    let facts = tree.facts(Layout::Ext4);
    let mut wrong = Vec::new();
    for ((id, (options, arrives)), booted) in ids.iter().zip(options).zip(booted) {
        let line = arrives.map(|words| format!("entry={id} {words} {LAST}").replace("  ", " "));
        let has_arrived = match (&booted, line) {
            (Booted::Kernel(real), Some(line)) => real.ends_with(&line),
            _ => false,
        };
        let fault = facts.unsound(facts.entry(id).unwrap());
        if has_arrived != arrives.is_some() || fault.is_some() == arrives.is_some() {
            wrong.push(format!("{options}: {booted:?}; {fault:?}"));
        }
    }
    assert_eq!(wrong, NONE);
}

#[test]
fn vm_options_of_any_length_arrive() {
    // What is too short by a byte shows at one length in 16.
    let lengths: Vec<String> = (0..16).map(|length| "x".repeat(length)).collect();
    let ids: Vec<String> = (0..16).map(|number| format!("a-{number:02}")).collect();
    for ends in ["", " $set"] {
        let options: Vec<String> = lengths.iter().map(|word| format!("word={word}{ends}")).collect();
        let entries: Vec<(&str, &str)> = ids
            .iter()
            .map(String::as_str)
            .zip(options.iter().map(String::as_str))
            .collect();
        let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
        let tree = BootTree::new(&[], &entries).in_turn(&ids);
        let tree = tree.configured(|text| format!("set set=\"\"\n{text}"));
        let booted = tree.boots(Layout::Ext4, 16);
        for ((booted, id), word) in booted.iter().zip(ids).zip(&lengths) {
            let wanted = format!("entry={id} word={word} {LAST}");
            assert!(
                matches!(booted, Booted::Kernel(line) if line.split_whitespace().collect::<Vec<_>>().join(" ").ends_with(&wanted)),
                "{booted:?}: {wanted}"
            );
        }
    }
}
