//! Machines whose power is cut in the middle of an upgrade, and which then boot what GRUB picks: the old system, whole; or the
//! live system, which waits and resumes; or the new system. What the guest had not yet flushed may be on the disk here, as after
//! a reset rather than a power cut.
#![allow(clippy::unwrap_used)]
use livemode_tests::subject::Subject;
use livemode_tests::testbed::Suite;

/// One with a shell for whoever comes, which starts by itself.
fn subject() -> Subject {
    let config = "livemode:\n  autostart_upgrade_after_reboot: false\n  setup_passwordless_root: true\n";
    let mut subject = Subject::new(Suite::Bookworm, "by-hand", config).unwrap();
    subject.arguments += " upgrade.autostart=1";
    subject
}

/// The power goes when the console shows `moment`, or a little later.
fn cut_at(subject: &Subject, moment: &str) {
    subject.started(|mut running| running.expect(moment)).unwrap();
}

fn boots(subject: &Subject, release: u32) {
    let console = subject.boot_until_it_rests().unwrap();
    assert!(
        console.contains(&format!("report: booted Demo Linux release {release}")),
        "{console}"
    );
}

/// The live system comes back, and waits for somebody; who types `upgrade` there gets the new system.
fn waits_and_resumes(subject: &Subject) {
    assert_eq!(subject.state().unwrap()["state"], "upgrading");
    let console = subject
        .started_until_it_rests(|mut running| {
            running.expect("livemode: THE UPGRADE FAILED: attempt 1 did not complete: ")?;
            running.expect("the RPM transaction has begun: the old system is no longer whole")?;
            running.log_in()?;
            running.type_line("upgrade")?;
            running.wait()
        })
        .unwrap();
    assert!(
        console.contains("report: booted Demo Linux release 2"),
        "{console}"
    );
    let state = subject.state().unwrap();
    assert_eq!(
        (&state["state"], &state["attempt"]),
        (&"succeeded".into(), &2.into()),
        "{state}"
    );
}

#[test]
fn vm_a_cut_in_early_boot() {
    let subject = subject();
    cut_at(&subject, "is mounted as root");
    boots(&subject, 1);
    assert_eq!(subject.state().unwrap()["state"], "booted");
    subject.prep(|prep| prep.arg("arm").run()).unwrap();
    boots(&subject, 2);
}

#[test]
fn vm_a_cut_before_the_transaction() {
    let subject = Subject::new(Suite::Bookworm, "default", "livemode:\n").unwrap();
    cut_at(&subject, "livemode: attempt 1, step 1 of 2");
    // The live system finds that nothing has begun, and gives the old system back.
    boots(&subject, 1);
    let state = subject.state().unwrap();
    assert_eq!(
        (&state["state"], &state["begun"]),
        (&"failed".into(), &false.into()),
        "{state}"
    );
    assert!(
        state["message"]
            .as_str()
            .unwrap()
            .starts_with("attempt 1 did not complete: step 1 of 2"),
        "{state}"
    );
    subject.prep(|prep| prep.arg("arm").run()).unwrap();
    boots(&subject, 2);
}

#[test]
fn vm_a_cut_in_the_transaction() {
    let subject = subject();
    cut_at(&subject, "Running transaction");
    waits_and_resumes(&subject);
}

#[test]
fn vm_a_cut_after_the_transaction() {
    let subject = subject();
    cut_at(&subject, "Complete!");
    waits_and_resumes(&subject);
}

#[test]
fn vm_a_cut_between_the_calls() {
    let subject = subject();
    cut_at(&subject, "livemode: attempt 1, step 2 of 2");
    waits_and_resumes(&subject);
}

#[test]
fn vm_a_cut_while_the_loader_is_handed_over() {
    let subject = subject();
    cut_at(&subject, "livemode: making Demo Linux");
    boots(&subject, 2);
    assert_eq!(subject.state().unwrap()["state"], "succeeded");
}

#[test]
fn vm_a_cut_before_the_reboot() {
    let subject = subject();
    cut_at(&subject, "livemode: the upgrade succeeded");
    boots(&subject, 2);
    assert_eq!(subject.state().unwrap()["state"], "succeeded");
}
