//! An upgrade that is all or nothing, through a real GRUB: until it is verified the disk is as it was, bit for bit but for the
//! store; from then on the new system comes, wherever the power goes.
#![allow(clippy::unwrap_used)]
use livemode_tests::apart::Apart;

#[test]
fn vm_an_upgrade_in_layers_ends_in_the_new_system_on_the_disks() {
    let subject = Apart::new("apart", "livemode:\n  atomic: require\n").unwrap();
    let console = subject.boot_until_it_rests().unwrap();
    assert!(
        console.contains("livemode: / is on its disk") && console.contains("livemode: the upgrade succeeded"),
        "{console}"
    );
    assert!(
        console.contains("report: booted Demo Linux release 2"),
        "{console}"
    );
    let status = subject.status().unwrap();
    assert_eq!((&status["state"], &status["atomic"]), (&"succeeded".into(), &true.into()), "{status}");
}
