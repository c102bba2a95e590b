//! A real kernel boots a real image in QEMU.
#![allow(clippy::unwrap_used)]
use std::path::PathBuf;

use livemode_tests::disk::{self, Mounted};
use livemode_tests::testbed::{self, Prepared, Suite};
use livemode_tests::vm::Machine;

const IMAGE: &str = "var/lib/leapp/live-upgrade.img";

/// A disk of one's own, changed by `change` before the boot; the console and the disk after it.
fn boot(prepared: &Prepared, change: impl FnOnce(&Mounted)) -> (String, Mounted, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let disk: PathBuf = dir.path().join("disk.img");
    disk::copy(&prepared.disk(), &disk).unwrap();
    change(&Mounted::new(&disk).unwrap());
    let (kernel, initramfs) = (prepared.kernel(), prepared.initramfs());
    let arguments = &prepared.manifest.boot.arguments;
    let console = Machine {
        disk: &disk,
        kernel: &kernel,
        initramfs: &initramfs,
        arguments,
    }
    .run()
    .unwrap();
    let mounted = Mounted::new(&disk).unwrap();
    (console, mounted, dir)
}

fn refused(change: impl FnOnce(&Mounted), message: &str) {
    let prepared = testbed::prepared(Suite::Bookworm, "default", "livemode:\n").unwrap();
    let (console, disk, _dir) = boot(&prepared, change);
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
    assert_eq!(disk.read("etc/demo-release"), "Demo Linux release 1\n");
}

#[test]
fn vm_a_bit_flipped_image_is_refused() {
    use std::os::unix::fs::FileExt;
    let flip = |disk: &Mounted| {
        let image = std::fs::OpenOptions::new()
            .read(true)
            .write(true)
            .open(disk.at(IMAGE))
            .unwrap();
        let mut byte = [0];
        image.read_exact_at(&mut byte, 1 << 20).unwrap();
        image.write_all_at(&[byte[0] ^ 1], 1 << 20).unwrap();
    };
    refused(flip, "has the wrong digest");
}

#[test]
fn vm_a_truncated_image_is_refused() {
    let cut = |disk: &Mounted| {
        std::fs::OpenOptions::new()
            .write(true)
            .open(disk.at(IMAGE))
            .unwrap()
            .set_len(1 << 20)
            .unwrap();
    };
    refused(cut, "is too short: 1048576 bytes of ");
}

#[test]
fn vm_a_missing_image_is_refused() {
    refused(|disk| std::fs::remove_file(disk.at(IMAGE)).unwrap(), "is missing");
}

#[test]
fn vm_an_upgrade_is_traced_kept_in_logs_and_boots_upgraded() {
    let config = "livemode:\n  capture_strace_info_into: /var/log/leapp.strace\n";
    let prepared = testbed::prepared(Suite::Bookworm, "strace", config).unwrap();
    let (console, disk, dir) = boot(&prepared, |_| ());
    assert!(console.contains("livemode: the upgrade succeeded"), "{console}");
    let state: serde_json::Value =
        serde_json::from_str(&disk.read("var/lib/leapp/livemode/state.json")).unwrap();
    assert_eq!(
        (&state["state"], &state["attempt"]),
        (&"succeeded".into(), &1.into())
    );
    let trace = disk.read("var/log/leapp.strace");
    assert!(
        trace.lines().any(|l| l.contains("execve(\"/usr/bin/leapp\"")),
        "no execve of leapp"
    );
    assert!(
        trace.lines().any(|l| l.contains("/root/tmp_leapp_py3/leapp3")),
        "no second call"
    );
    let log = disk.read("var/log/leapp/leapp-upgrade.log");
    assert!(
        log.contains("kernel arguments: root=UUID="),
        "leapp did not see the source's arguments:\n{log}"
    );
    assert!(disk
        .read("var/log/leapp/livemode-journal.log")
        .contains("livemode: the upgrade succeeded"));
    drop(disk);

    let image = dir.path().join("disk.img");
    let (kernel, initramfs) = (prepared.source_kernel(), prepared.source_initramfs());
    let arguments = testbed::source_arguments();
    let console = Machine {
        disk: &image,
        kernel: &kernel,
        initramfs: &initramfs,
        arguments: &arguments,
    }
    .run()
    .unwrap();
    assert!(
        console.contains("report: booted Demo Linux release 2"),
        "{console}"
    );
    assert!(console.contains("report: demo-tool-2-1.noarch"), "{console}");
}
