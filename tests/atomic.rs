//! An upgrade that is all or nothing, through a real GRUB: until it is verified the disk is as it was, bit for bit but for the
//! store; from then on the new system comes, wherever the power goes.
#![allow(clippy::unwrap_used)]
use livemode_common::contract::LEAPP_LOG;
use livemode_tests::apart::Before;
use livemode_tests::subject::Subject;
#[cfg(feature = "all")]
use livemode_tests::testbed::Suite;
use livemode_tests::vm::Running;

const NOTHING: [&str; 0] = [];

fn subject_with(name: &str, more: &str) -> Subject {
    let config = format!("livemode:\n  atomic: require\n{more}");
    Subject::apart(&std::env::temp_dir(), name, &config).unwrap()
}

fn subject() -> Subject {
    subject_with("apart", "")
}

/// The power goes when the console shows `moment`.
fn cut_at(subject: &Subject, moment: &str) {
    subject.started(|mut running| running.expect(moment)).unwrap();
}

fn comes_back_with(subject: &Subject, release: u32) -> String {
    let console = subject.boot_until_it_rests().unwrap();
    assert!(
        console.contains(&format!("report: booted Demo Linux release {release}")),
        "{console}"
    );
    console
}

/// What `livemode-prep status --json` says in the system on the disks.
fn told(subject: &Subject) -> serde_json::Value {
    let status = subject.prep(|prep| prep.args(["status", "--json"]).output());
    serde_json::from_str(&status.unwrap().1).unwrap()
}

/// Debian 13 stands near el10.
#[cfg(feature = "all")]
#[test]
fn vm_debian_13_upgrades_in_layers() {
    let config = "livemode:\n  atomic: require\n";
    let subject =
        Subject::apart_with(&std::env::temp_dir(), Suite::Trixie, "apart", config, |_| Ok(())).unwrap();
    let console = comes_back_with(&subject, 2);
    assert!(console.contains("livemode: / is on its disk"), "{console}");
    assert_eq!(told(&subject)["state"], "succeeded");
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
    assert_eq!(before.changed_files(&subject).unwrap(), NOTHING);
    let status = told(&subject);
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

    // As the unit does at the first boot.
    for _ in 0..2 {
        subject
            .prep(|prep| prep.args(["remove", "--after-success"]).run())
            .unwrap();
    }
    let log = subject.mounted().unwrap().read(LEAPP_LOG);
    assert_eq!(log.matches("before it was given up:").count(), 1, "{log}");
    assert!(log.contains("attempt 1, step 2 of 2"), "{log}");

    subject.prep(|prep| prep.arg("retry").run()).unwrap();
    let console = comes_back_with(&subject, 2);
    for said in [
        "attempt 2, step 2 of 2",
        "livemode: / is on its disk",
        "livemode: the upgrade succeeded",
    ] {
        assert!(console.contains(said), "no {said} in {console}");
    }
    let status = told(&subject);
    assert_eq!(
        (&status["state"], &status["atomic"]),
        (&"succeeded".into(), &true.into()),
        "{status}"
    );
    assert!(
        status["next_boots"][0].as_str().unwrap().ends_with("-7.0"),
        "{status}"
    );
    subject
        .prep(|prep| prep.args(["remove", "--after-success"]).run())
        .unwrap();
    let disk = subject.mounted().unwrap();
    for gone in [
        "var/lib/leapp/livemode",
        "var/lib/leapp/live-upgrade.img",
        "boot/vmlinuz-livemode.x86_64",
    ] {
        assert!(!disk.at(gone).exists(), "{gone}");
    }
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
    let status = told(&subject);
    assert_eq!(status["state"], "succeeded", "{status}");
    let names: Vec<String> = std::fs::read_dir(subject.mounted().unwrap().path().join("boot/loader/entries"))
        .unwrap()
        .map(|file| file.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    assert!(names.iter().all(|name| name.ends_with(".conf")), "{names:?}");
}

/// Through its layer the half-moved system is whole: somebody can look, try again, and mend the disk.
#[cfg(feature = "all")]
#[test]
fn vm_a_disk_that_fails_in_the_merge_is_told_and_once_mended_gets_the_new_system() {
    let mut subject = subject_with("apart-with-a-shell", "  setup_passwordless_root: true\n");
    // Of the ext4's superblock (ext4(5)), which each mount changes: through the layer, and so in the merge.
    subject.bad_sector = Some(2);
    let told = subject
        .started_until_it_rests(|mut running| {
            running.expect("this live system stays up, with the upgraded system in /run/upgrade")?;
            running.log_in()?;
            running.type_line("livemode-run status; cat /run/upgrade/etc/demo-release")?;
            running.expect("Demo Linux release 2")?;
            running.type_line("livemode-run commit # once more")?;
            running.expect_after("# once more", "when the disk is mended: livemode-run commit")?;
            running.type_line("systemctl is-active livemode-hold-limit.timer | sed s/^/again-/")?;
            running.expect("again-active")?;
            Ok(running.console())
        })
        .unwrap();
    assert!(
        told.contains("moving what was kept to / failed")
            && told.contains("mend it, then type: livemode-run commit"),
        "{told}"
    );
    subject.bad_sector = None;
    let console = comes_back_with(&subject, 2);
    assert!(
        console.contains("the upgraded system is moved to its disks"),
        "{console}"
    );
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
    let before = Before::of(&subject).unwrap();
    let console = comes_back_with(&subject, 1);
    assert!(
        console.contains("livemode: THE UPGRADE FAILED: step 1 of 2: leapp ended with exit status: 9"),
        "{console}"
    );
    assert_eq!(before.changed_files(&subject).unwrap(), NOTHING);
    let status = told(&subject);
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
fn kept() -> Subject {
    let by_hand = "  autostart_upgrade_after_reboot: false\n  setup_passwordless_root: true\n";
    subject_with("apart-by-hand", by_hand)
}

fn up_to_a_word(running: &mut Running) -> anyhow::Result<()> {
    running.log_in()?;
    running.type_line("livemode-run upgrade --keep")?;
    running.expect("the upgraded system is whole, and kept apart")?;
    running.expect("root@demo-source:~#")
}

#[test]
fn vm_an_upgrade_that_is_kept_waits_for_a_word_and_goes_on() {
    let console = kept()
        .started_until_it_rests(|mut running| {
            up_to_a_word(&mut running)?;
            running.type_line("cat /run/upgrade/etc/demo-release; livemode-run status")?;
            running.expect("Demo Linux release 2")?;
            running.expect("livemode-run commit, or to give it up")?;
            running.type_line("livemode-run commit")?;
            running.wait()
        })
        .unwrap();
    assert!(
        console.contains("report: booted Demo Linux release 2"),
        "{console}"
    );
}

#[cfg(feature = "all")]
#[test]
fn vm_an_upgrade_that_is_kept_can_be_given_up() {
    let subject = kept();
    let before = Before::of(&subject).unwrap();
    subject
        .started_until_it_rests(|mut running| {
            up_to_a_word(&mut running)?;
            running.type_line("livemode-run discard")?;
            running.wait()
        })
        .unwrap();
    assert_eq!(before.changed_files(&subject).unwrap(), NOTHING);
    let status = told(&subject);
    assert!(
        status["error"].as_str().unwrap().contains("discarded"),
        "{status}"
    );
}
