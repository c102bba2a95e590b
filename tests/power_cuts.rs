//! Machines whose power is cut in the middle of an upgrade, and which boot into the image again: it is resumed and ends
//! well. What the guest had not yet flushed may be on the disk here, as after a reset rather than a power cut.
#![allow(clippy::unwrap_used)]
use livemode_tests::subject::Subject;
use livemode_tests::testbed::Suite;

/// The power goes when the console shows `moment`, or a little later.
fn an_upgrade_survives_a_cut_at(moment: &str) {
    let subject = Subject::new(Suite::Bookworm, "default", "livemode:\n").unwrap();
    subject.started(|mut running| running.expect(moment)).unwrap();

    let state = subject.state().unwrap();
    assert!(state["attempt"].as_u64().unwrap() <= 1, "{state}");
    let console = subject.boot().unwrap();
    let end = if state["state"] == "succeeded" {
        "livemode: the upgrade has succeeded already"
    } else {
        "livemode: the upgrade succeeded"
    };
    assert!(console.contains(end), "no '{end}' after {state}:\n{console}");
    assert_eq!(subject.state().unwrap()["state"], "succeeded");
    let console = subject.boot_source().unwrap();
    assert!(
        console.contains("report: booted Demo Linux release 2"),
        "{console}"
    );
}

#[test]
fn vm_a_cut_in_early_boot() {
    an_upgrade_survives_a_cut_at("is mounted as root");
}

#[test]
fn vm_a_cut_before_leapp() {
    an_upgrade_survives_a_cut_at("livemode: attempt 1, step 1 of 2");
}

#[test]
fn vm_a_cut_in_the_transaction() {
    an_upgrade_survives_a_cut_at("Running transaction");
}

#[test]
fn vm_a_cut_after_the_transaction() {
    an_upgrade_survives_a_cut_at("Complete!");
}

#[test]
fn vm_a_cut_between_the_calls() {
    an_upgrade_survives_a_cut_at("livemode: attempt 1, step 2 of 2");
}

#[test]
fn vm_a_cut_before_the_reboot() {
    an_upgrade_survives_a_cut_at("livemode: the upgrade succeeded");
}
