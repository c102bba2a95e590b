//! A real kernel boots a real image in QEMU.
#![allow(clippy::unwrap_used)]
use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;

use livemode_common::contract::{JOURNAL_LOG, LEAPP_LOG, STATE_DIR};
use livemode_tests::binaries::{binary, workspace};
use livemode_tests::subject::Subject;
use livemode_tests::testbed::Suite;

const IMAGE: &str = "var/lib/leapp/live-upgrade.img";

/// The image is refused with this message, and the old system boots by itself; nothing has changed.
fn assert_refused(subject: &Subject, message: &str) {
    let console = subject.boot_until_it_rests().unwrap();
    let refusal = console.find("livemode: the upgrade image is refused: ");
    assert!(
        refusal.is_some_and(|at| console[at..].lines().next().unwrap().contains(message)),
        "{console}"
    );
    assert!(
        console.contains("livemode: rebooting in 3 s"),
        "no countdown:\n{console}"
    );
    // What dracut's and systemd's emergency shells print; the command line itself has rd.emergency=.
    for prompt in [
        "emergency mode",
        "emergency shell",
        "Press Enter",
        "Give root password",
    ] {
        assert!(!console.contains(prompt), "a prompt ({prompt}):\n{console}");
    }
    assert!(
        console.contains("report: booted Demo Linux release 1"),
        "{console}"
    );
    let disk = subject.mounted().unwrap();
    assert_eq!(disk.read("etc/demo-release"), "Demo Linux release 1\n");
}

/// As [`assert_refused`], and the source's disk tells it.
fn assert_refused_and_recorded(subject: &Subject, message: &str) {
    assert_refused(subject, message);
    let state = subject.state().unwrap();
    let told = state["message"].as_str().unwrap();
    assert!(
        state["state"] == "failed"
            && told.starts_with("the image was refused in early boot: ")
            && told.contains(message),
        "{state}"
    );
}

/// Where the upgrade waits for somebody, who needs no password.
fn by_hand() -> Subject {
    let config = "livemode:\n  autostart_upgrade_after_reboot: false\n  setup_passwordless_root: true\n";
    Subject::new(Suite::Bookworm, "by-hand", config).unwrap()
}

fn default() -> Subject {
    Subject::new(Suite::Bookworm, "default", "livemode:\n").unwrap()
}

/// Changes bytes of the image.
fn patch(subject: &Subject, offset: u64, change: impl FnOnce(&mut [u8; 2])) {
    let disk = subject.mounted().unwrap();
    let mut options = OpenOptions::new();
    let image = options.read(true).write(true).open(disk.at(IMAGE)).unwrap();
    let mut bytes = [0; 2];
    image.read_exact_at(&mut bytes, offset).unwrap();
    change(&mut bytes);
    image.write_all_at(&bytes, offset).unwrap();
    drop((image, disk));
}

#[test]
fn vm_a_bit_flipped_image_is_refused() {
    let subject = default();
    patch(&subject, 1 << 20, |bytes| bytes[0] ^= 1);
    assert_refused_and_recorded(&subject, "has the wrong digest");
}

#[test]
fn vm_a_truncated_image_is_refused() {
    let subject = default();
    let disk = subject.mounted().unwrap();
    let image = OpenOptions::new().write(true).open(disk.at(IMAGE)).unwrap();
    image.set_len(1 << 20).unwrap();
    drop((image, disk));
    assert_refused_and_recorded(&subject, "is too short: 1048576 bytes of ");
}

#[test]
fn vm_a_missing_image_is_refused() {
    let subject = default();
    std::fs::remove_file(subject.mounted().unwrap().at(IMAGE)).unwrap();
    assert_refused_and_recorded(&subject, "is missing");
}

#[test]
fn vm_a_compressor_that_the_kernel_does_not_know_is_refused() {
    let mut subject = default();
    // The superblock's compression id (Documentation/filesystems/squashfs.rst), with a digest that matches.
    patch(&subject, 20, |id| *id = 9u16.to_le_bytes());
    let disk = subject.mounted().unwrap();
    let image = std::fs::File::open(disk.at(IMAGE)).unwrap();
    let (digest, _) = livemode_common::fsio::sha256(image, |_| ()).unwrap();
    drop(disk);
    subject.arguments = subject
        .arguments
        .replace(&subject.prepared.manifest.image.sha256, &digest);
    assert_refused_and_recorded(&subject, "it is compressed with the unknown compressor 9");
}

#[test]
fn vm_a_missing_device_is_refused_at_its_deadline() {
    let mut subject = default();
    let uuid = "6c697665-6d6f-4d6f-8d6f-000000000000";
    subject.arguments = subject
        .arguments
        .replacen("6c697665-6d6f-4d6f-8d6f-64656d6f3031", uuid, 1)
        + " livemode.timeout=15";
    assert_refused(
        &subject,
        &format!("the device UUID={uuid} did not appear within 15 s of boot"),
    );
}

/// Which entries GRUB has booted, by their titles.
fn titles(console: &str) -> Vec<&str> {
    let booted = console.split("Booting `").skip(1);
    booted.map(|rest| rest.split('\'').next().unwrap()).collect()
}

#[test]
fn vm_an_upgrade_is_traced_kept_in_logs_and_boots_upgraded() {
    let config = "livemode:\n  capture_strace_info_into: /var/log/leapp.strace\n";
    let subject = Subject::new(Suite::Bookworm, "strace", config).unwrap();
    let [next, after] = subject.next_boots().unwrap();
    assert!(
        next.ends_with("-livemode") && !after.ends_with("-livemode"),
        "{next} {after}"
    );
    let console = subject.boot_until_it_rests().unwrap();
    assert!(console.contains("livemode: the upgrade succeeded"), "{console}");
    assert!(
        matches!(titles(&console)[..], ["LiveMode upgrade", own] if own.starts_with("Demo Linux (")),
        "{console}"
    );
    assert!(
        console.contains("report: booted Demo Linux release 2"),
        "{console}"
    );
    assert!(console.contains("report: demo-tool-2-1.noarch"), "{console}");
    let state = subject.state().unwrap();
    assert_eq!(
        (&state["state"], &state["attempt"], &state["target"]),
        (&"succeeded".into(), &1.into(), &after.as_str().into())
    );
    let disk = subject.mounted().unwrap();
    let trace = disk.read("var/log/leapp.strace");
    assert!(
        trace.lines().any(|l| l.contains("execve(\"/usr/bin/leapp\"")),
        "no execve of leapp"
    );
    assert!(
        trace.lines().any(|l| l.contains("/root/tmp_leapp_py3/leapp3")),
        "no second call"
    );
    let log = disk.read(LEAPP_LOG);
    assert!(
        log.contains("kernel arguments: root=UUID="),
        "leapp did not see the source's arguments:\n{log}"
    );
    assert!(disk.read(JOURNAL_LOG).contains("livemode: the upgrade succeeded"));
    // Nothing of ours boots any more, and what is left goes with `remove`.
    assert!(!disk.at(&format!("boot/loader/entries/{next}.conf")).exists());
    drop(disk);
    assert_eq!(subject.next_boots().unwrap(), [after.clone(), after]);
    subject.prep(|prep| prep.arg("remove").run()).unwrap();
    let disk = subject.mounted().unwrap();
    assert!(!disk.at(IMAGE).exists() && !disk.at(STATE_DIR).exists());
    drop(disk);
    let status = subject.prep(|prep| prep.arg("status").read()).unwrap();
    assert!(
        status.contains("prepared   nothing\nupgrade    succeeded: "),
        "{status}"
    );
}

#[test]
fn vm_a_target_of_debian_13_upgrades_too() {
    let subject = Subject::new(Suite::Trixie, "default", "livemode:\n").unwrap();
    let console = subject.boot_until_it_rests().unwrap();
    assert!(console.contains("livemode: the upgrade succeeded"), "{console}");
    assert_eq!(subject.state().unwrap()["state"], "succeeded");
    assert!(
        console.contains("report: booted Demo Linux release 2"),
        "{console}"
    );
}

/// The source system with the package's unit that clears up.
fn with_cleanup() -> Subject {
    const UNIT: &str = "livemode-cleanup.service";
    let subject = default();
    let disk = subject.mounted().unwrap();
    let units = disk.at("usr/lib/systemd/system");
    let unit = workspace().join("livemode-prep/systemd").join(UNIT);
    std::fs::copy(unit, units.join(UNIT)).unwrap();
    // The source of these tests boots to its report, which stands for multi-user.target, and powers off.
    let wants = disk.at("etc/systemd/system/demo-report.service.d");
    std::fs::create_dir_all(&wants).unwrap();
    std::fs::write(
        wants.join("after.conf"),
        format!("[Unit]\nWants={UNIT}\nAfter={UNIT}\n"),
    )
    .unwrap();
    std::fs::copy(binary("livemode-prep"), disk.at("usr/sbin/livemode-prep")).unwrap();
    drop(disk);
    subject
}

/// leapp fails before the transaction: the machine comes back by itself, says why, and can try again. What is left goes at the
/// first boot of the upgraded system, and not before.
#[test]
fn vm_an_upgrade_that_fails_early_leads_back_to_the_old_system_and_can_be_tried_again() {
    let subject = with_cleanup();
    std::fs::write(subject.mounted().unwrap().at("etc/leapp-standin-fails"), "").unwrap();
    let [ours, old] = subject.next_boots().unwrap();
    let console = subject.boot_until_it_rests().unwrap();
    assert!(
        console.contains("livemode: THE UPGRADE FAILED: step 1 of 2: leapp ended with exit status: 7"),
        "{console}"
    );
    assert!(
        console.contains("livemode: the old system boots in 3 s; to stay here: log in"),
        "{console}"
    );
    assert!(
        console.contains("report: booted Demo Linux release 1"),
        "{console}"
    );
    let state = subject.state().unwrap();
    assert_eq!(
        (&state["state"], &state["begun"]),
        (&"failed".into(), &false.into()),
        "{state}"
    );
    assert_eq!(
        state["attempts"][0]["outcome"],
        "step 1 of 2: leapp ended with exit status: 7"
    );
    assert_eq!(subject.next_boots().unwrap(), [old.clone(), old.clone()]);
    let status = subject.prep(|prep| prep.arg("status").read()).unwrap();
    assert!(status.contains("do now     this system is as it was"), "{status}");

    std::fs::remove_file(subject.mounted().unwrap().at("etc/leapp-standin-fails")).unwrap();
    subject.prep(|prep| prep.arg("arm").run()).unwrap();
    assert_eq!(subject.next_boots().unwrap(), [ours.clone(), old.clone()]);
    let console = subject.boot_until_it_rests().unwrap();
    assert!(console.contains("attempt 2, step 2 of 2"), "{console}");
    assert!(
        console.contains("report: booted Demo Linux release 2"),
        "{console}"
    );
    let status = subject.prep(|prep| prep.arg("status").read()).unwrap();
    assert!(
        status.contains("prepared   nothing\nupgrade    succeeded: "),
        "{status}"
    );
    let disk = subject.mounted().unwrap();
    for path in [
        IMAGE,
        STATE_DIR,
        "boot/vmlinuz-livemode.x86_64",
        "boot/initramfs-livemode.x86_64.img",
    ] {
        assert!(!disk.at(path).exists(), "{path}");
    }
    assert!(!disk.at(&format!("boot/loader/entries/{ours}.conf")).exists());
    assert!(disk
        .read("boot/grub2/grubenv")
        .contains(&format!("saved_entry={old}\n")));
}

/// Booted by an entry as upstream's actors write it; the power is cut when the failure has been told.
#[test]
fn vm_a_failed_upgrade_is_recorded_and_logged_on_the_source() {
    let mut subject = by_hand();
    std::fs::write(subject.mounted().unwrap().at("etc/leapp-standin-fails"), "").unwrap();
    let ours = ["root=livemode:", "livemode.", "upgrade.autostart="];
    let kept = subject
        .arguments
        .split(' ')
        .filter(|word| !ours.iter().any(|o| word.starts_with(o)));
    subject.arguments =
        ["root=live:UUID=6c697665-6d6f-4d6f-8d6f-64656d6f3031 rd.live.image upgrade.autostart=1"]
            .into_iter()
            .chain(kept)
            .collect::<Vec<_>>()
            .join(" ");
    let console = subject
        .started(|mut running| {
            running.expect("to try again: upgrade    to leave: systemctl reboot")?;
            // Reachable: a log-in that waits for whoever comes.
            running.expect("demo-source login:")?;
            // The journal follows on the disk by itself, as if the power went after that.
            while !subject.journal_on_a_copy()?.contains("THE UPGRADE FAILED") {
                assert!(running.is_up()?, "the machine went down");
            }
            Ok(running.console())
        })
        .unwrap();
    assert!(
        console.contains("livemode: THE UPGRADE FAILED: step 1 of 2: leapp ended with exit status: 7"),
        "{console}"
    );
    assert!(
        console.contains("no livemode.digest=: the image is used unchecked"),
        "no warning:\n{console}"
    );
    let state = subject.state().unwrap();
    assert_eq!(
        (&state["state"], &state["exit_code"], &state["attempt"]),
        (&"failed".into(), &7.into(), &1.into())
    );
    let disk = subject.mounted().unwrap();
    for log in [LEAPP_LOG, JOURNAL_LOG] {
        let text = disk.read(log);
        assert!(
            text.contains("an actor raised an error") && text.contains("THE UPGRADE FAILED"),
            "{log}:\n{text}"
        );
    }
    assert!(disk.at("root/tmp_leapp_py3/.leapp_upgrade_failed").exists());
    assert_eq!(disk.read("etc/demo-release"), "Demo Linux release 1\n");
}

#[test]
fn vm_without_autostart_nothing_runs_until_upgrade_is_typed() {
    let subject = by_hand();
    std::fs::write(subject.mounted().unwrap().at("etc/leapp-standin-fails"), "").unwrap();
    let console = subject
        .started(|mut running| {
            running.expect("The upgrade waits: log in and type  upgrade  to start it.")?;
            running.log_in()?;
            running.type_line(
                "systemctl is-active livemode-upgrade; livemode-run status; echo looked-$((40+2))",
            )?;
            running.expect("looked-42")?;
            assert!(
                running
                    .console()
                    .contains("upgrade    booted: the live system is up"),
                "{}",
                running.console()
            );
            assert!(!running.console().contains("attempt 1"), "{}", running.console());

            running.type_line("upgrade; echo ended-$?")?;
            running.expect("ended-1")?;
            running.type_line("rm /run/upgrade/etc/leapp-standin-fails; upgrade")?;
            running.wait()
        })
        .unwrap();
    assert!(console.contains("attempt 1, step 1 of 2"), "{console}");
    assert!(console.contains("attempt 2, step 2 of 2"), "{console}");
    let state = subject.state().unwrap();
    assert_eq!(
        (&state["state"], &state["attempt"]),
        (&"succeeded".into(), &2.into())
    );
    assert_eq!(
        subject.mounted().unwrap().read("etc/demo-release"),
        "Demo Linux release 2\n"
    );
}
