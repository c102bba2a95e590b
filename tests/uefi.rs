//! Machines with UEFI: from `build` to the upgraded system, by what the firmware's loader picks.
#![allow(clippy::unwrap_used)]
use livemode_tests::uefi::{Loader, Uefi};

const OURS: &str = "abcdef0123456789abcdef0123456789-livemode";

/// The old system, the image and the upgraded system, each by itself; at its end only the upgraded one is left.
fn upgrade(machine: &Uefi) -> String {
    let console = machine.boot_until_it_rests().unwrap();
    assert!(console.contains("livemode: the upgrade succeeded"), "{console}");
    assert!(
        console.contains("report: booted Demo Linux release 2"),
        "{console}"
    );
    let told: Vec<&str> = console
        .lines()
        .filter_map(|line| line.split_once("status: ").map(|(_, text)| text.trim_end()))
        .filter(|text| text.starts_with("next boot") || text.starts_with("after that"))
        .collect();
    let [next, after] = told[..] else {
        panic!("{told:?}: {console}")
    };
    assert!(
        next.starts_with("next boot  abcdef") && !next.contains(OURS),
        "{next}"
    );
    assert_eq!(next.replace("next boot  ", "after that "), after);
    console
}

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
