//! The upgrade's own boot entry in GRUB's menu, as root: made, armed, disarmed and taken back on a real file system.
#![allow(clippy::unwrap_used)]
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use livemode_common::cmd::Cmd;
use livemode_tests::container::Changed;
use livemode_tests::source::{differences, remove, sorted_words, SourceDisk, ENTRY, GRUBENV};

const NOTHING: [String; 0] = [];
const OURS: &str = "abcdef0123456789abcdef0123456789-livemode";

fn container() -> Changed {
    Changed::with_an_initramfs().unwrap()
}

fn build(source: &SourceDisk, container: &Changed) -> Cmd {
    source.build(&container.path())
}

/// The loader's files, whose times may change but not their bytes.
fn loader(source: &SourceDisk) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    for dir in ["boot/loader/entries", "boot/grub2"] {
        for entry in fs::read_dir(source.at(dir)).unwrap() {
            let path = entry.unwrap().path();
            let content = fs::read(&path).unwrap();
            files.insert(path, content);
        }
    }
    files
}

fn without_loader(source: &SourceDisk) -> BTreeMap<PathBuf, String> {
    let mut all = source.listing().unwrap();
    all.retain(|path, _| {
        !path.starts_with(source.at("boot/loader")) && !path.starts_with(source.at("boot/grub2"))
    });
    all
}

fn next_boots(source: &SourceDisk) -> [String; 2] {
    let status = source.prep().args(["status", "--json"]).read().unwrap();
    let status: serde_json::Value = serde_json::from_str(&status).unwrap();
    serde_json::from_value(status["next_boots"].clone()).unwrap()
}

/// What a command says, and its calls that rename a file or write into the middle of one, in their order.
fn traced(command: &Cmd) -> (String, Vec<String>) {
    let trace = tempfile::NamedTempFile::new().unwrap();
    let strace = Cmd::new("strace")
        .args(["-y", "-e", "trace=rename,renameat,renameat2,pwrite64", "-o"])
        .arg(trace.path())
        .args(command.words());
    let text = strace.read().unwrap();
    let calls = fs::read_to_string(trace.path()).unwrap();
    (text, calls.lines().map(str::to_owned).collect())
}

#[test]
fn root_the_entry_boots_once_and_remove_takes_all_of_it_back() {
    let (source, container) = (SourceDisk::whole().unwrap(), container());
    let config = "livemode: {dracut_network: ip=dhcp nameserver=10.0.0.1 nameserver=10.0.0.2}\n";
    fs::create_dir_all(source.at("etc/leapp/actor_conf.d")).unwrap();
    fs::write(source.at("etc/leapp/actor_conf.d/livemode.yaml"), config).unwrap();
    let (before, loader_before) = (without_loader(&source), loader(&source));
    let old = source.variable("saved_entry");
    let inode = fs::metadata(source.at(GRUBENV)).unwrap().ino();
    // The second build replaces the entry of the first.
    for _ in 0..2 {
        build(&source, &container).run().unwrap();
        // As the unit does at each boot: before the upgrade it takes nothing back.
        source.prep().args(["remove", "--after-success"]).run().unwrap();
        let manifest = source.manifest();
        let own = manifest.boot.entry.as_ref().unwrap();
        assert_eq!((manifest.boot.loader.as_str(), own.id.as_str()), ("grub", OURS));
        assert_eq!(own.former_default, old);
        assert_eq!(manifest.kernel.path, "/boot/vmlinuz-livemode.x86_64");
        let arguments = &manifest.boot.arguments;
        assert_eq!(
            source.entry_words(),
            sorted_words(arguments),
            "repeats and all, and nothing more"
        );
        assert!(
            arguments.contains("nameserver=10.0.0.1 nameserver=10.0.0.2"),
            "{arguments}"
        );
        assert!(
            arguments.contains(&format!("livemode.build={} ", manifest.id)),
            "{arguments}"
        );
        assert_eq!(
            source.variable("saved_entry"),
            old,
            "the old system stays the default"
        );
        assert_eq!(next_boots(&source), [OURS, &old]);
        let block = fs::metadata(source.at(GRUBENV)).unwrap();
        assert_eq!((block.ino(), block.len()), (inode, 1024), "written in place");
    }
    source.prep().arg("disarm").run().unwrap();
    assert_eq!(next_boots(&source), [&*old, &old]);
    let (text, calls) = traced(&source.prep().arg("arm"));
    // A cut in between must not leave an armed entry that the next call would undo.
    let last = |call: &str| calls.iter().rposition(|line| line.contains(call)).unwrap();
    assert!(last("transaction.json") < last("grubenv"), "{calls:#?}");
    assert_eq!(
        text,
        format!("next boot  {OURS}, the upgrade\nafter that {old}\n")
    );
    assert_eq!(next_boots(&source), [OURS, &old]);
    // An image without its entry would leave the entry of another one behind.
    let (status, _, stderr) = build(&source, &container)
        .args(["--boot-entry", "none"])
        .output()
        .unwrap();
    assert_eq!(status.code(), Some(4), "{stderr}");
    assert!(stderr.contains("an earlier build has a boot entry"), "{stderr}");
    for _ in 0..2 {
        remove(source.root());
    }
    assert_eq!(loader(&source), loader_before);
    assert_eq!(differences(&before, &without_loader(&source)), NOTHING);
}

#[test]
fn root_a_block_that_cannot_be_written_leaves_all_as_it_was() {
    let (source, container) = (SourceDisk::whole().unwrap(), container());
    let (before, loader_before) = (without_loader(&source), loader(&source));
    let chattr = |flag: &str| {
        Cmd::new("chattr")
            .arg(flag)
            .arg(source.at(GRUBENV))
            .run()
            .unwrap()
    };
    chattr("+i");
    let (status, _, stderr) = build(&source, &container).output().unwrap();
    chattr("-i");
    assert_eq!(status.code(), Some(1), "{stderr}");
    assert!(
        stderr.contains("arming the boot entry: ") && stderr.contains("grubenv: Operation not permitted"),
        "{stderr}"
    );
    assert_eq!(loader(&source), loader_before);
    assert_eq!(differences(&before, &without_loader(&source)), NOTHING);

    // An earlier build stays armed.
    build(&source, &container).run().unwrap();
    let earlier = source.manifest();
    fs::create_dir_all(source.at("boot/.livemode-former-vmlinuz-livemode.x86_64/x")).unwrap();
    fs::write(source.at("etc/default/grub"), "changed since\n").unwrap();
    let full = fs::File::create(source.at("boot/initramfs-livemode.x86_64.img.x")).unwrap();
    drop(full);
    let blocked = source.at("var/lib/leapp/livemode/state.json");
    let chattr = |flag: &str| Cmd::new("chattr").arg(flag).arg(&blocked).run().unwrap();
    chattr("+i");
    let (status, _, stderr) = build(&source, &container).output().unwrap();
    chattr("-i");
    assert_eq!(status.code(), Some(1), "{stderr}");
    assert_eq!(source.manifest(), earlier);
    assert_eq!(source.problems(), serde_json::json!([]));
    assert_eq!(next_boots(&source)[0], OURS);
}

#[test]
fn root_what_others_have_set_since_stays_and_a_default_that_is_gone_is_replaced() {
    let (source, container) = (SourceDisk::whole().unwrap(), container());
    let old = source.variable("saved_entry");
    build(&source, &container).run().unwrap();
    // A newer kernel is installed, and made the default; a variable is set; all entries get a word.
    let newer = "abcdef0123456789abcdef0123456789-99.0";
    let text = source.read(&format!("boot/loader/entries/{old}.conf"));
    fs::write(source.at(&format!("boot/loader/entries/{newer}.conf")), &text).unwrap();
    source.set_variable("saved_entry", newer);
    source.set_variable("kernelopts", "quiet");
    let ours = source.read(ENTRY).replace("options ", "options mitigations=off ");
    fs::write(source.at(ENTRY), ours).unwrap();
    remove(source.root());
    assert_eq!(source.variable("saved_entry"), newer);
    assert_eq!(source.variable("kernelopts"), "quiet");
    assert_eq!(source.variable("next_entry"), "");
    assert!(!source.at(ENTRY).exists());

    // In the live system ours became the default, and the old kernel was removed.
    source.set_variable("saved_entry", &old);
    build(&source, &container).run().unwrap();
    source.set_variable("saved_entry", OURS);
    fs::remove_file(source.at(&format!("boot/loader/entries/{old}.conf"))).unwrap();
    let (status, _, stderr) = source.prep().arg("remove").output().unwrap();
    assert!(status.success(), "{stderr}");
    assert!(
        stderr.contains(&format!(
            "{old}, the default before the build, is gone or does not boot; {newer} takes its place"
        )),
        "{stderr}"
    );
    assert_eq!(source.variable("saved_entry"), newer);
}

#[test]
fn root_without_grub_an_entry_is_refused_when_asked_for_and_not_made_otherwise() {
    let (source, container) = (SourceDisk::bare().unwrap(), container());
    let before = source.listing().unwrap();
    let (status, _, stderr) = build(&source, &container)
        .args(["--boot-entry", "grub"])
        .output()
        .unwrap();
    assert_eq!(status.code(), Some(4), "{stderr}");
    assert!(
        stderr.contains("there is no configuration of GRUB (/boot/grub2/grub.cfg); give --boot-entry none"),
        "{stderr}"
    );
    assert_eq!(differences(&before, &source.listing().unwrap()), NOTHING);
    build(&source, &container).run().unwrap();
    let manifest = source.manifest();
    assert_eq!(
        (manifest.boot.loader.as_str(), manifest.boot.entry),
        ("none", None)
    );
    assert_eq!(manifest.kernel.path, "/boot/vmlinuz-upgrade.x86_64");
    let (status, _, stderr) = source.prep().arg("arm").output().unwrap();
    assert_eq!(status.code(), Some(4), "{stderr}");
    assert!(stderr.contains("is kept by none, not by us"), "{stderr}");
}
