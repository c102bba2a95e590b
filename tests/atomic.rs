//! An upgrade that is all or nothing, through a real GRUB: until it is verified the disk is as it was, bit for bit but for the
//! store; from then on the new system comes, wherever the power goes.
#![allow(clippy::unwrap_used)]
use std::collections::BTreeMap;

use livemode_tests::apart::{tree, Apart, Before};
use livemode_tests::vm::Running;

fn subject() -> Apart {
    Apart::new("apart", "livemode:\n  atomic: require\n").unwrap()
}

/// The power goes when the console shows `moment`.
fn cut_at(subject: &Apart, moment: &str) {
    subject.started(|mut running| running.expect(moment)).unwrap();
}

fn comes_back_with(subject: &Apart, release: u32) -> String {
    let console = subject.boot_until_it_rests().unwrap();
    assert!(
        console.contains(&format!("report: booted Demo Linux release {release}")),
        "{console}"
    );
    console
}

fn files(subject: &Apart) -> BTreeMap<String, String> {
    tree(subject.mounted().unwrap().path()).unwrap()
}

/// What differs, by the paths of both.
fn difference(before: &BTreeMap<String, String>, now: &BTreeMap<String, String>) -> Vec<String> {
    let paths = before.keys().chain(now.keys());
    let mut paths: Vec<String> = paths
        .filter(|path| before.get(*path) != now.get(*path))
        .cloned()
        .collect();
    paths.sort();
    paths.dedup();
    paths
}

#[test]
fn vm_an_upgrade_in_layers_ends_in_the_new_system_on_the_disks() {
    let subject = subject();
    let console = comes_back_with(&subject, 2);
    assert!(
        console.contains("livemode: / is on its disk") && console.contains("livemode: the upgrade succeeded"),
        "{console}"
    );
    let status = subject.status().unwrap();
    assert_eq!(
        (&status["state"], &status["atomic"]),
        (&"succeeded".into(), &true.into()),
        "{status}"
    );
    assert!(
        status["next_boots"][0].as_str().unwrap().ends_with("-7.0"),
        "{status}"
    );
}

#[test]
fn vm_a_cut_before_the_commit_leaves_the_disk_as_it_was_and_the_upgrade_can_be_tried_again() {
    let subject = subject();
    let before = Before::of(&subject).unwrap();

    cut_at(&subject, "attempt 1, step 2 of 2");
    assert_eq!(
        before.changed_blocks(&subject.disk()).unwrap(),
        [0; 0],
        "blocks that were written"
    );
    assert!(subject
        .mounted()
        .unwrap()
        .path()
        .join("boot/vmlinuz-7.0")
        .exists());

    let console = comes_back_with(&subject, 1);
    assert!(
        console.contains("livemode: the upgrade is given up: it was cut off"),
        "{console}"
    );
    assert_eq!(difference(&before.files, &files(&subject)), [""; 0]);
    let status = subject.status().unwrap();
    assert_eq!(status["state"], "failed", "{status}");
    assert!(
        status["error"]
            .as_str()
            .unwrap()
            .contains("attempt 1 did not complete: step 2 of 2"),
        "{status}"
    );
    let (code, text, _) = subject.prep(|prep| prep.arg("status").output()).unwrap();
    assert_eq!(code.code(), Some(1));
    assert!(
        text.contains("livemode-prep retry") && text.contains("attempt 1, step 2 of 2"),
        "{text}"
    );

    subject.prep(|prep| prep.arg("retry").run()).unwrap();
    let console = comes_back_with(&subject, 2);
    assert!(console.contains("attempt 2, step 2 of 2"), "{console}");
    assert_eq!(subject.status().unwrap()["state"], "succeeded");
}

#[test]
fn vm_a_cut_in_the_merge_ends_in_the_new_system() {
    let subject = subject();
    cut_at(&subject, "from here there is no way back");
    let console = comes_back_with(&subject, 2);
    assert!(
        console.contains("the upgrade has succeeded already")
            || console.contains("the upgraded system is moved to its disks"),
        "{console}"
    );
    let status = subject.status().unwrap();
    assert_eq!(status["state"], "succeeded", "{status}");
    let names: Vec<String> = std::fs::read_dir(subject.mounted().unwrap().path().join("boot/loader/entries"))
        .unwrap()
        .map(|file| file.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    assert!(names.iter().all(|name| name.ends_with(".conf")), "{names:?}");
}

/// /boot has a kernel of the new system by then, and grub.cfg is another.
#[test]
fn vm_a_failure_in_layers_leads_back_by_itself() {
    let subject = subject();
    std::fs::write(
        subject
            .mounted()
            .unwrap()
            .path()
            .join("etc/leapp-standin-fails-late"),
        "",
    )
    .unwrap();
    let old = files(&subject);
    let console = comes_back_with(&subject, 1);
    assert!(
        console.contains("livemode: THE UPGRADE FAILED: step 1 of 2: leapp ended with exit status: 9"),
        "{console}"
    );
    assert_eq!(difference(&old, &files(&subject)), [""; 0]);
    let status = subject.status().unwrap();
    assert_eq!(
        (&status["state"], &status["error"]),
        (
            &"failed".into(),
            &"step 1 of 2: leapp ended with exit status: 9".into()
        ),
        "{status}"
    );
}

/// Somebody wants to look before anything reaches the disks.
#[test]
fn vm_an_upgrade_that_is_kept_waits_for_a_word_and_goes_on_or_back() {
    let config = "livemode:\n  atomic: require\n  autostart_upgrade_after_reboot: false\n  setup_passwordless_root: true\n";
    let subject = Apart::new("apart-by-hand", config).unwrap();
    let before = Before::of(&subject).unwrap();
    let up_to_a_shell = |running: &mut Running| {
        running.expect("demo-source login:")?;
        running.type_line("root")?;
        running.expect("root@demo-source:~#")?;
        running.type_line("livemode-run upgrade --keep")?;
        running.expect("the upgraded system is whole, and kept apart")?;
        running.expect("root@demo-source:~#")
    };
    subject
        .started_until_it_rests(|mut running| {
            up_to_a_shell(&mut running)?;
            running.type_line("cat /run/upgrade/etc/demo-release; livemode-run status")?;
            running.expect("Demo Linux release 2")?;
            running.expect("livemode-run commit, or to give it up")?;
            running.type_line("livemode-run discard")?;
            running.wait()
        })
        .unwrap();
    assert_eq!(difference(&before.files, &files(&subject)), [""; 0]);
    let status = subject.status().unwrap();
    assert!(
        status["error"].as_str().unwrap().contains("discarded"),
        "{status}"
    );

    subject.prep(|prep| prep.arg("retry").run()).unwrap();
    let console = subject
        .started_until_it_rests(|mut running| {
            up_to_a_shell(&mut running)?;
            running.type_line("livemode-run commit")?;
            running.wait()
        })
        .unwrap();
    assert!(
        console.contains("report: booted Demo Linux release 2"),
        "{console}"
    );
}
