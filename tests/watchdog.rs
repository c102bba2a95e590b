//! A machine whose PID 1 stands still: its hardware resets it, and it comes back.
#![allow(clippy::unwrap_used)]
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use livemode_common::cmd::Cmd;
use livemode_common::records::{Phase, Records};
use livemode_common::sysroot::SysRoot;
use livemode_tests::container::Changed;
use livemode_tests::disk::{self, Mounted};
use livemode_tests::grub::{loader_disk, unpacked, SOURCE_PREFIX};
use livemode_tests::source::SourceDisk;
use livemode_tests::testbed::{self, Suite};
use livemode_tests::vm::{Boot, Drive, Machine, Running};

/// The watchdog of the hardware that QEMU has a model of. Its driver is not in the kernel for clouds.
const HARDWARE: [&str; 4] = ["-device", "i6300esb", "-action", "watchdog=reset"];
const DRIVER: &str = "kernel/drivers/watchdog/i6300esb.ko";
/// Most of the other kernel's drivers are for other machines, and only make the image large.
const NOT_HERE: [&str; 9] = [
    "sound",
    "drivers/net",
    "drivers/gpu",
    "drivers/media",
    "drivers/infiniband",
    "drivers/staging",
    "drivers/usb",
    "drivers/iio",
    "drivers/hid",
];

/// leapp in the old system, which changes nothing.
const WAITS: &str = "#!/bin/sh\nexec sleep infinity\n";
const FREEZE: &str = "echo 1 >/sys/fs/cgroup/init.scope/cgroup.freeze";

/// The target with the kernel for all machines in place of the one for clouds.
fn container() -> Changed {
    let container = Changed::of(&testbed::container(Suite::Bookworm).unwrap()).unwrap();
    let modules = container.at("lib/modules");
    let cloud = fs::read_dir(&modules)
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .file_name();
    let cloud = cloud.into_string().unwrap();
    let version = cloud.replace("-cloud", "");
    let package = unpacked("bookworm", &[&format!("linux-image-{version}")]).unwrap();
    fs::remove_dir_all(modules.join(&cloud)).unwrap();
    fs::remove_file(container.at(&format!("boot/vmlinuz-{cloud}"))).unwrap();
    let copy = |from: &Path, to: &Path| Cmd::new("cp").arg("-r").arg(from).arg(to).run().unwrap();
    copy(&package.join("lib/modules").join(&version), &modules);
    copy(
        &package.join(format!("boot/vmlinuz-{version}")),
        &container.at("boot"),
    );
    for dir in NOT_HERE {
        fs::remove_dir_all(modules.join(&version).join("kernel").join(dir)).unwrap();
    }
    assert!(modules.join(&version).join(DRIVER).exists());
    let depmod = Cmd::new("chroot")
        .arg(container.path())
        .args(["depmod", &version]);
    depmod.run().unwrap();
    container
}

#[test]
fn vm_a_frozen_pid_1_is_reset_by_the_watchdog_and_the_old_system_comes_back() {
    let source = SourceDisk::whole().unwrap();
    let configs = source.at("etc/leapp/actor_conf.d");
    fs::create_dir_all(&configs).unwrap();
    let config = "livemode:\n  setup_passwordless_root: true\n";
    fs::write(configs.join("livemode.yaml"), config).unwrap();
    source.build(&container().path()).run().unwrap();
    let leapp = source.at("usr/bin/leapp");
    fs::write(&leapp, WAITS).unwrap();
    fs::set_permissions(&leapp, fs::Permissions::from_mode(0o755)).unwrap();
    Cmd::new("sync").arg("-f").arg(source.root()).run().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let drives = [Drive::new(dir.path().join("disk.img"))];
    disk::copy(&source.image(), &drives[0].file).unwrap();
    drop(source);

    let loader = loader_disk(SOURCE_PREFIX).unwrap();
    let machine = Machine {
        reboots: true,
        more: &HARDWARE,
        ..Machine::new(&drives, Boot::Grub(&loader))
    };
    let frozen = |mut running: Running| {
        running.expect("livemode: attempt 1, step 1 of 2")?;
        running.log_in()?;
        running.type_line(FREEZE)?;
        running.wait()
    };
    let console = machine.with(frozen).unwrap();
    for text in [
        "THE UPGRADE FAILED: attempt 1 did not complete: step 1 of 2; the machine went down",
        "report: booted Demo Linux release 1",
    ] {
        assert!(console.contains(text), "no '{text}':\n{console}");
    }
    let disk = Mounted::new(&drives[0].file).unwrap();
    let state = Records::of(&SysRoot::new(disk.path())).state().unwrap().unwrap();
    assert_eq!((state.state, state.begun), (Phase::Failed, false), "{state:?}");
}
