//! Inside leapp: our actors run by a stand-in of its framework (tests/testbed/leapp), with the real `livemode-prep` and
//! the messages of a real run. What they produce is golden: tests/fixtures/leapp. With `LIVEMODE_LEAPP`, as `make leapp` sets
//! it, the real framework runs them, and the same must come of it.
#![allow(clippy::unwrap_used)]
use std::fs;
use std::path::PathBuf;

use livemode_common::cmd::Cmd;
use livemode_common::contract::STATE;
use livemode_common::records::BootEntry;
use livemode_tests::binaries::workspace;
use livemode_tests::disk::Mounted;
use livemode_tests::source::{differences, listing, sorted_words, ENTRY, LEAPPS_ENTRY};
use livemode_tests::testbed::DISK_MIB;
use livemode_tests::vm::{Boot, Drive, Machine};
use machine::Leapp;
use serde_json::{json, Value};

#[path = "leapp/faults.rs"]
mod faults;
#[path = "leapp/machine.rs"]
mod machine;

const OURS: &str = "abcdef0123456789abcdef0123456789-livemode";
const LEAPPS: &str = "abcdef0123456789abcdef0123456789-upgrade.x86_64";
const NOTHING: [String; 0] = [];

#[test]
fn every_actor_is_written_for_python_3_6() {
    let script = "import ast, sys\nfor path in sys.argv[1:]: ast.parse(open(path).read(), path, feature_version=(3, 6))";
    let dir = workspace().join("livemode-prep/leapp");
    let sources: Vec<PathBuf> = listing(&dir)
        .unwrap()
        .into_keys()
        .filter(|path| path.extension().is_some_and(|end| end == "py"))
        .collect();
    assert_eq!(sources.len(), 11, "{sources:?}");
    Cmd::new("python3")
        .args(["-c", script])
        .args(&sources)
        .run()
        .unwrap();
}

#[test]
fn the_real_ones_are_tried_only_where_they_are_named() {
    for (target, variable) in [("leapp", "LEAPP_REPOSITORY=DIR"), ("grubby", "GRUBBY=FILE")] {
        // Not with what a make that runs these tests was given.
        let make = Cmd::new("make")
            .arg("-C")
            .arg(workspace())
            .arg(target)
            .env("MAKEFLAGS", "");
        let (status, _, stderr) = make.output().unwrap();
        assert_eq!(status.code(), Some(2), "{stderr}");
        assert!(stderr.contains(variable), "{stderr}");
    }
}

#[test]
fn root_without_the_flag_leapp_is_as_if_we_were_not_there() {
    let leapp = Leapp::new("livemode: {}\n");
    for phase in ["Facts", "Checks", "FirstBoot"] {
        let run = leapp.phase(&[], phase, &[("LEAPP_UNSUPPORTED", "1")]);
        assert_eq!(run.said, json!({}), "{phase}");
    }
    let run = leapp.phase(&[], "InterimPreparation", &[("LEAPP_UNSUPPORTED", "1")]);
    assert!(!run.stopped, "{}", run.said);
    assert_eq!(run.said["complete_livemode_entry"], json!([]));
    assert_eq!(leapp.calls(), "", "livemode-prep was called");
    assert_eq!(
        leapp.source.variable("saved_entry"),
        LEAPPS,
        "leapp's classic entry"
    );
    let entry = leapp.source.read(LEAPPS_ENTRY);
    assert!(!entry.contains("livemode"), "{entry}");
}

#[test]
fn root_without_the_opt_in_nothing_is_said() {
    let leapp = Leapp::new("livemode: {}\n");
    for phase in ["Facts", "Checks", "FirstBoot"] {
        let run = leapp.phase(&["--livemode"], phase, &[]);
        let messages: Vec<&Value> = run.said.as_object().unwrap().values().collect();
        assert!(
            messages.iter().all(|said| **said == json!([])),
            "{phase}: {}",
            run.said
        );
    }
    assert_eq!(leapp.calls(), "");
}

#[test]
fn root_what_stands_against_the_upgrade_inhibits_it_in_the_checks() {
    for (name, config) in [
        (
            "inhibited-by-configuration",
            "livemode:\n  setup_network_manager: maybe\n  dracut_networks: ip=dhcp\n",
        ),
        (
            "inhibited-by-precondition",
            "livemode: {setup_opensshd_using_auth_keys: /root/no-such-file}\n",
        ),
    ] {
        let leapp = Leapp::new(config);
        leapp.livemode("Facts");
        let checks = leapp.livemode("Checks");
        leapp.assert_golden(name, &checks);
        let report = &checks.said["live_mode_reporter"][0][1]["report"];
        assert!(
            report["groups"].as_array().unwrap().contains(&json!("inhibitor")),
            "{report}"
        );
    }
    let leapp = Leapp::new("livemode: {}\n");
    let space = fs::File::create(leapp.source.at("var/lib/fill")).unwrap();
    let most = i64::try_from(DISK_MIB - 1000).unwrap() << 20;
    nix::fcntl::posix_fallocate(&space, 0, most).unwrap();
    leapp.livemode("Facts");
    let checks = leapp.livemode("Checks");
    let summary = checks.said["live_mode_reporter"][0][1]["report"]["summary"]
        .as_str()
        .unwrap();
    assert!(
        summary.contains("not enough space at ") && summary.contains("; free "),
        "{summary}"
    );
}

#[test]
fn vm_the_actors_lead_from_the_configuration_to_the_upgraded_system_and_back() {
    let leapp =
        Leapp::new("livemode: {dracut_network: 'ip=eth7:dhcp nameserver=10.0.0.1 nameserver=10.0.0.2'}\n");
    let source = &leapp.source;
    let before = source.listing().unwrap();
    for phase in ["Facts", "Checks", "InterimPreparation"] {
        let run = leapp.livemode(phase);
        assert!(!run.stopped, "{}", run.said);
        leapp.assert_golden(&phase.to_lowercase(), &run);
    }
    assert!(
        !leapp.has_leapps_initramfs(),
        "it has more than this machine needs"
    );
    let manifest = source.manifest();
    assert_eq!(source.problems(), json!([]));
    let BootEntry {
        loader,
        arguments,
        entry,
    } = manifest.boot;
    let old = entry.unwrap().former_default;
    assert_eq!(loader, "leapp");
    assert_eq!(source.variable("saved_entry"), old, "not leapp's own entry");
    assert_eq!(source.variable("next_entry"), OURS);
    assert!(source.at(LEAPPS_ENTRY).exists(), "leapp removes it itself");
    assert_eq!(
        source.entry_words(),
        sorted_words(&arguments),
        "nothing more and nothing less"
    );
    for words in [
        "root=livemode:UUID=",
        "nameserver=10.0.0.1 nameserver=10.0.0.2 rd.neednet=1",
        "console=tty0 console=ttyS0",
        "net.ifnames=0",
    ] {
        assert!(arguments.contains(words), "no '{words}' in {arguments}");
    }

    let dir = tempfile::tempdir().unwrap();
    let disk = dir.path().join("disk.img");
    source.copy_to(&disk).unwrap();
    // This machine has no eth7 to wait for.
    let copy = Mounted::new(&disk).unwrap();
    let words = |line: &str| -> String {
        let network = ["ip=", "nameserver=", "rd.neednet="];
        let words = line
            .split(' ')
            .filter(|word| !network.iter().any(|key| word.starts_with(key)));
        words.collect::<Vec<_>>().join(" ") + "\n"
    };
    let entry: String = copy.read(ENTRY).lines().map(words).collect();
    fs::write(copy.at(ENTRY), entry).unwrap();
    drop(copy);
    let loader = livemode_tests::grub::loader_disk(livemode_tests::grub::SOURCE_PREFIX).unwrap();
    let disks = [Drive::new(&disk)];
    let machine = Machine {
        reboots: true,
        ..Machine::new(&disks, Boot::Grub(&loader))
    };
    let console = machine.run().unwrap();
    assert!(
        console.contains("report: booted Demo Linux release 2"),
        "{console}"
    );
    let upgraded = Mounted::new(&disk).unwrap();
    let state: Value = serde_json::from_str(&upgraded.read(STATE)).unwrap();
    assert_eq!(state["state"], "succeeded", "{console}");
    drop(upgraded);

    // leapp removes its own entry in the first phase after the reboot.
    Cmd::new("chroot")
        .arg(source.root())
        .args(["grubby", "--remove-kernel", "/boot/vmlinuz-upgrade.x86_64"])
        .run()
        .unwrap();
    let run = leapp.livemode("FirstBoot");
    leapp.assert_golden("firstboot", &run);
    let mut after = source.listing().unwrap();
    let (mut before, own) = (before, ["run", "boot/grub2/grubenv", "boot/loader/entries"]);
    for listing in [&mut before, &mut after] {
        listing.retain(|path, _| !own.iter().any(|name| path.starts_with(source.at(name))));
    }
    assert_eq!(differences(&before, &after), NOTHING);
}

#[test]
fn root_an_initramfs_without_our_module_is_made_again_under_the_same_name() {
    let leapp = Leapp::new("livemode: {}\n");
    leapp.livemode("Facts");
    let run = leapp.phase(
        &["--livemode"],
        "InterimPreparation",
        &[("LEAPP_UNSUPPORTED", "1"), ("FORGETS_TASKS", "1")],
    );
    assert!(!run.stopped, "{}", run.said);
    assert!(!leapp.has_leapps_initramfs());
    let listing = Cmd::new("chroot")
        .arg(leapp.container.path())
        .args(["lsinitrd", "/tmp/initramfs"]);
    fs::copy(
        leapp.source.at("boot/initramfs-upgrade.x86_64.img"),
        leapp.container.at("tmp/initramfs"),
    )
    .unwrap();
    let listing = listing.read().unwrap();
    for name in ["usr/bin/livemode-boot", "raid1.ko", "etc/hostname"] {
        assert!(listing.contains(name), "no {name} in: {listing}");
    }
    assert_eq!(leapp.source.problems(), json!([]));
}

#[test]
fn root_the_entry_has_what_leapp_adds_and_not_what_it_takes_away() {
    let leapp = Leapp::new("livemode: {}\n");
    let luks = json!({"key": "rd.luks.uuid", "value": "luks-1"});
    let mut messages: Value = serde_json::from_str(&fs::read_to_string(leapp.messages()).unwrap()).unwrap();
    for message in messages.as_array_mut().unwrap() {
        if message[0] == "KernelCmdline" {
            let words = message[1]["parameters"].as_array_mut().unwrap();
            words.extend([luks.clone(), json!({"key": "rd.luks.uuid", "value": "luks-2"})]);
        }
    }
    fs::write(leapp.messages(), messages.to_string()).unwrap();
    // As checkluks, checkresumekernelarg and checknvme of leapp's say it.
    leapp.add(
        "UpgradeKernelCmdlineArgTasks",
        &json!({"to_remove": [luks, {"key": "resume", "value": "UUID=0"}]}),
    );
    leapp.add(
        "UpgradeKernelCmdlineArgTasks",
        &json!({"to_add": [{"key": "rd.nvmf.x", "value": "1"}, {"key": "rd.nvmf.x", "value": "2"}]}),
    );
    leapp.livemode("Facts");
    let environment = [
        ("LEAPP_UNSUPPORTED", "1"),
        ("LEAPP_DEBUG", "1"),
        ("LEAPP_DEVEL_INITRAM_NETWORK", "scripts"),
    ];
    let run = leapp.phase(&["--livemode"], "InterimPreparation", &environment);
    assert!(!run.stopped, "{}", run.said);
    let words = leapp.source.entry_words();
    let has = |word: &str| words.iter().any(|known| known == word);
    for word in [
        "rd.luks.uuid=luks-2",
        "rd.nvmf.x=1",
        "rd.nvmf.x=2",
        "debug",
        "ip=dhcp",
        "rd.neednet=1",
        "net.ifnames=0",
    ] {
        assert!(has(word), "no {word} in {words:?}");
    }
    for word in ["rd.luks.uuid=luks-1", "root=live:UUID=0"] {
        assert!(!has(word), "{word} in {words:?}");
    }
    assert_eq!(words.iter().filter(|word| word.starts_with("root=")).count(), 1);
    assert_eq!(
        words,
        sorted_words(&leapp.source.manifest().boot.arguments),
        "what is recorded is what boots"
    );
}
