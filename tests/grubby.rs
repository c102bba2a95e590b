//! The boot entry by grubby, as root. The real one is in no registry: a stand-in on the source's disk keeps entries as it
//! does (tests/testbed/grubby.sh).
#![allow(clippy::unwrap_used)]
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use livemode_common::cmd::Cmd;
use livemode_tests::container::Changed;
use livemode_tests::source::{
    differences, remove, sorted_words, wait_for, SourceDisk, OLD_KERNEL as OLD, WORK,
};
use nix::sys::signal::{killpg, Signal};
use nix::unistd::Pid;

const NOTHING: [String; 0] = [];
const KERNEL: &str = "/boot/vmlinuz-upgrade.x86_64";

fn container() -> Changed {
    Changed::with_an_initramfs().unwrap()
}

fn build(source: &SourceDisk, container: &Changed) -> Cmd {
    source.build(&container.path()).args(["--boot-entry", "grubby"])
}

/// Everything but what the stand-in counts in.
fn listing(source: &SourceDisk) -> BTreeMap<PathBuf, String> {
    let mut all = source.listing().unwrap();
    all.retain(|path, _| !path.starts_with(source.at("run")) && !path.starts_with(source.at("tmp")));
    all
}

/// The loader's files, whose times may change but not their bytes.
fn loader(source: &SourceDisk) -> BTreeMap<PathBuf, String> {
    let mut files = BTreeMap::new();
    for dir in ["boot/loader/entries", "boot/grub2"] {
        for entry in fs::read_dir(source.at(dir)).unwrap() {
            let path = entry.unwrap().path();
            let text = fs::read_to_string(&path).unwrap();
            files.insert(path, text);
        }
    }
    files
}

fn without_loader(source: &SourceDisk) -> BTreeMap<PathBuf, String> {
    let mut all = listing(source);
    all.retain(|path, _| {
        !path.starts_with(source.at("boot/loader")) && !path.starts_with(source.at("boot/grub2"))
    });
    all
}

#[test]
fn root_the_entry_has_exactly_our_arguments_and_remove_restores_the_default() {
    let (source, container) = (SourceDisk::with_grubby().unwrap(), container());
    let config = "livemode: {dracut_network: ip=dhcp nameserver=10.0.0.1 nameserver=10.0.0.2}\n";
    fs::create_dir_all(source.at("etc/leapp/actor_conf.d")).unwrap();
    fs::write(source.at("etc/leapp/actor_conf.d/livemode.yaml"), config).unwrap();
    let (before, loader_before) = (without_loader(&source), loader(&source));
    let plan = source
        .prep()
        .args(["plan", "--boot-entry", "grubby", "--userspace"])
        .arg(container.path())
        .read()
        .unwrap();
    for call in [
        "grubby --add-kernel /boot/vmlinuz-upgrade.x86_64 ",
        "grubby --update-kernel ",
        "--remove-args 'ro ",
        "grubby --set-default ",
    ] {
        assert!(plan.contains(call), "no '{call}' in: {plan}");
    }
    // The second build replaces the entry of the first.
    for _ in 0..2 {
        build(&source, &container).run().unwrap();
        let manifest = source.manifest();
        assert_eq!(manifest.boot.loader, "grubby");
        assert_eq!(manifest.boot.former_default.as_deref(), Some(OLD));
        assert_eq!(
            source.entry_words(),
            sorted_words(&manifest.boot.arguments),
            "repeats and all, and nothing more"
        );
        let arguments = &manifest.boot.arguments;
        assert!(
            arguments.contains("nameserver=10.0.0.1 nameserver=10.0.0.2"),
            "{arguments}"
        );
        assert_eq!(source.default_kernel(), KERNEL);
    }
    // An image without its entry would leave the entry of another one behind.
    let (status, _, stderr) = source.build(&container.path()).output().unwrap();
    assert_eq!(status.code(), Some(4), "{stderr}");
    assert!(stderr.contains("an earlier build has a boot entry"), "{stderr}");
    for _ in 0..2 {
        remove(source.root());
    }
    assert_eq!(source.default_kernel(), OLD);
    assert_eq!(loader(&source), loader_before);
    assert_eq!(differences(&before, &without_loader(&source)), NOTHING);
}

#[test]
fn root_an_entry_that_fails_half_way_leaves_all_as_it_was() {
    let (source, container) = (SourceDisk::with_grubby().unwrap(), container());
    let fails = |call: u32| fs::write(source.at("etc/grubby-fails-at"), call.to_string()).unwrap();
    let attempt = |call: u32| {
        fails(call);
        let _ = fs::remove_file(source.at("run/grubby-calls"));
        let (before, loader_before) = (without_loader(&source), loader(&source));
        let (status, _, stderr) = build(&source, &container).output().unwrap();
        assert_eq!(status.code(), Some(1), "call {call}: {stderr}");
        assert!(
            stderr.contains("making the boot entry: ") && stderr.contains(&format!("call {call} fails")),
            "{stderr}"
        );
        assert_eq!(loader(&source), loader_before, "call {call}");
        assert_eq!(
            differences(&before, &without_loader(&source)),
            NOTHING,
            "call {call}"
        );
    };
    // A first build makes four calls that change something.
    for call in 1..=4 {
        attempt(call);
    }
    fs::remove_file(source.at("etc/grubby-fails-at")).unwrap();
    build(&source, &container).run().unwrap();
    let earlier = source.manifest();
    // A second one disarms the entry and removes it before: six.
    for call in 1..=6 {
        attempt(call);
        assert_eq!(source.manifest(), earlier);
        assert_eq!(source.problems(), serde_json::json!([]));
    }
}

#[test]
fn root_a_kill_in_the_middle_of_the_entry_leaves_all_as_it_was() {
    let (source, container) = (SourceDisk::with_grubby().unwrap(), container());
    for call in 1..=3 {
        fs::write(source.at("etc/grubby-hangs-at"), call.to_string()).unwrap();
        let _ = fs::remove_file(source.at("run/grubby-calls"));
        let (before, loader_before) = (without_loader(&source), loader(&source));
        let started = build(&source, &container).spawn(|command| {
            command.process_group(0);
            command.stdout(Stdio::null()).stderr(Stdio::null());
        });
        let mut build = started.unwrap();
        let calls = source.at("run/grubby-calls");
        wait_for("grubby", || {
            fs::read_to_string(&calls).is_ok_and(|n| n.trim() == call.to_string())
        });
        // What a power cut would leave now: half an entry, and the old system as the default.
        assert_eq!(source.default_kernel(), OLD, "call {call}");
        killpg(Pid::from_raw(build.id().try_into().unwrap()), Signal::SIGKILL).unwrap();
        build.wait().unwrap();
        wait_for("the sweeper", || !source.at(WORK).exists());
        wait_for("the sweeper", || !source.at("var/lib/leapp/livemode").exists());
        assert_eq!(loader(&source), loader_before, "call {call}");
        assert_eq!(
            differences(&before, &without_loader(&source)),
            NOTHING,
            "call {call}"
        );
    }
}

#[test]
fn root_without_grubby_the_entry_is_refused() {
    let (source, container) = (SourceDisk::bare().unwrap(), container());
    let before = source.listing().unwrap();
    let (status, _, stderr) = build(&source, &container).output().unwrap();
    assert_eq!(status.code(), Some(4), "{stderr}");
    assert!(
        stderr.contains("grubby is missing; install it, or give --boot-entry none"),
        "{stderr}"
    );
    assert_eq!(differences(&before, &source.listing().unwrap()), NOTHING);
    assert!(!Path::new(&source.at(WORK)).exists());
}
