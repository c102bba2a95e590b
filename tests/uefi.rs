//! Machines with UEFI: from `build` to the upgraded system, by what the firmware's loader picks.
#![allow(clippy::unwrap_used)]
use std::fs;

use livemode_common::contract::LEAPP_LOG;
use livemode_common::loader::systemd_boot::{DEFAULT, ONE_SHOT};
use livemode_tests::source::differences;
use livemode_tests::uefi::{Loader, Source, Uefi};

const OURS: &str = "abcdef0123456789abcdef0123456789-livemode";

/// The old system, the image and the upgraded system, each by itself; at its end only the upgraded one is left.
fn upgrade(machine: &Uefi) -> String {
    let console = machine.boot_until_it_rests().unwrap();
    assert!(console.contains("livemode: the upgrade succeeded"), "{console}");
    // What early boot would say.
    assert!(!console.contains("changing what boots next"), "{console}");
    assert!(
        console.contains("report: booted Demo Linux release 2"),
        "{console}"
    );
    let told: Vec<&str> = console
        .lines()
        .filter_map(|line| line.split_once("status: ").map(|(_, text)| text.trim_end()))
        .filter(|text| text.starts_with("next boot") || text.starts_with("after that"))
        .collect();
    let [.., next, after] = told[..] else {
        panic!("{told:?}: {console}")
    };
    assert!(
        next.starts_with("next boot  abcdef") && !next.contains(OURS),
        "{next}"
    );
    assert_eq!(next.replace("next boot  ", "after that "), after);
    console
}

#[cfg(feature = "all")]
#[test]
fn vm_grub_on_uefi_whose_stub_leads_to_the_block_beside_the_kernels() {
    let machine = Uefi::new(Loader::GrubStub).unwrap();
    upgrade(&machine);
    let disk = machine.mounted().unwrap();
    assert!(!disk.read("boot/grub2/grubenv").contains("livemode"));
    assert!(!disk.at(&format!("boot/loader/entries/{OURS}.conf")).exists());
}

#[test]
fn vm_grub_on_uefi_whose_block_lies_on_the_efi_system_partition() {
    let machine = Uefi::new(Loader::GrubOnPartition).unwrap();
    let before = machine.on_partition("EFI/redhat/grubenv").unwrap().unwrap();
    assert!(before.contains(&format!("next_entry={OURS}\n")), "{before}");
    upgrade(&machine);
    let after = machine.on_partition("EFI/redhat/grubenv").unwrap().unwrap();
    assert!(
        !after.contains("livemode") && after.contains("saved_entry=abcdef"),
        "{after}"
    );
    assert!(machine.mounted().unwrap().at("boot/grub2/grubenv").is_symlink());
}

#[test]
fn vm_systemd_boot_arms_boots_and_hands_over() {
    let machine = Uefi::new(Loader::SystemdBoot).unwrap();
    let ours = format!("{OURS}.conf");
    let entry = format!("loader/entries/{ours}");
    let text = machine.on_partition(&entry).unwrap().unwrap();
    assert!(text.contains("\nlinux /vmlinuz-livemode.x86_64\n"), "{text}");
    let disk = machine.mounted().unwrap();
    fs::write(disk.at("etc/demo-arm"), "").unwrap();
    // A scriptlet that would tell the loader something.
    let leapp = disk.read("usr/bin/leapp").replace(
        "def main():\n",
        "def main():\n    try:\n        open(\"/sys/firmware/efi/efivars/LoaderEntryX-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f\", \"wb\")\n    \
         except OSError as error:\n        say(\"the loader is told nothing: error %d\" % error.errno)\n",
    );
    fs::write(disk.at("usr/bin/leapp"), leapp).unwrap();
    drop(disk);
    let console = upgrade(&machine);
    let log = machine.mounted().unwrap().read(LEAPP_LOG);
    assert!(log.contains("the loader is told nothing: error 30"), "{log}");
    let armed: Vec<&str> = console.lines().filter(|line| line.contains("armed: ")).collect();
    assert!(
        armed.len() == 2
            && armed[0].contains(&format!("next boot  {ours}, the upgrade"))
            && armed[1].contains("after that abcdef0123456789abcdef0123456789-6."),
        "{armed:?}"
    );
    // The old system, then the upgraded one.
    assert_eq!(
        console
            .matches("status: next boot  abcdef0123456789abcdef0123456789-6.")
            .count(),
        2,
        "{console}"
    );
    assert_eq!(machine.on_partition(&entry).unwrap(), None);
}

/// The power goes while leapp runs, before it has changed anything: early boot finds that, keeps the upgrade as what boots, and the
/// live system gives what boots back.
#[cfg(feature = "all")]
#[test]
fn vm_systemd_boot_comes_back_to_the_old_system_after_a_power_cut() {
    let machine = Uefi::new(Loader::SystemdBoot).unwrap();
    let disk = machine.mounted().unwrap();
    fs::write(disk.at("etc/demo-arm"), "").unwrap();
    fs::write(
        disk.at("usr/bin/leapp"),
        "#!/bin/sh\necho leapp-hangs; sleep 1000\n",
    )
    .unwrap();
    drop(disk);
    let console = machine
        .with(|mut running| {
            running.expect("leapp-hangs")?;
            running.reset()?;
            running.wait()
        })
        .unwrap();
    let after = console.rsplit("leapp-hangs").next().unwrap();
    assert!(after.contains("livemode: the old system boots in "), "{after}");
    assert!(!console.contains("changing what boots next"), "{console}");
    assert!(after.contains("report: booted Demo Linux release 1"), "{after}");
    let old = "status: next boot  abcdef0123456789abcdef0123456789-6.";
    assert!(after.contains(old), "{after}");
}

#[test]
fn root_systemd_boot_is_armed_disarmed_and_all_of_it_is_taken_back() {
    let source = Source::new(Loader::SystemdBoot).unwrap();
    let ours = format!("{OURS}.conf");
    let before = source.partition().unwrap();
    let told = || [ONE_SHOT, DEFAULT].map(|name| source.variable(name).unwrap());
    let call = |command: &str| source.prep().arg(command).read().unwrap();
    // The second build replaces the entry of the first.
    for _ in 0..2 {
        source.build().unwrap().run().unwrap();
        assert_eq!(told(), [Some(ours.clone()), None]);
        assert!(call("status").contains(&format!("next boot  {ours}, the upgrade\n")));
    }
    let text = call("disarm");
    assert!(
        text.starts_with("next boot  abcdef0123456789abcdef0123456789-6."),
        "{text}"
    );
    assert_eq!(told(), [None, None]);
    let text = call("arm");
    assert!(
        text.starts_with(&format!("next boot  {ours}, the upgrade\nafter that abcdef")),
        "{text}"
    );
    // The live system makes it the default; what it was told before was nothing.
    source.set_variable(DEFAULT, Some(&ours)).unwrap();
    for _ in 0..2 {
        call("remove");
    }
    assert_eq!(told(), [None, None]);
    assert_eq!(differences(&before, &source.partition().unwrap()), [""; 0]);
    // What an admin has chosen since stays.
    source.build().unwrap().run().unwrap();
    source.set_variable(DEFAULT, Some("chosen.conf")).unwrap();
    call("remove");
    assert_eq!(told(), [None, Some("chosen.conf".into())]);
}
