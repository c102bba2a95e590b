//! Bad input, as root: each is one line that names it, with the right exit code, and nothing is left behind.
#![allow(clippy::unwrap_used)]
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use livemode_common::cmd::Cmd;
use livemode_tests::binaries::workspace;
use livemode_tests::container::{Changed, Programs};
use livemode_tests::source::{differences, listing, SourceDisk};
use livemode_tests::testbed::{self, Suite};

const NOTHING: [String; 0] = [];

/// `plan` and `build` both refuse with this code and one line that holds `text`; the disk stays as it was.
fn refused_by(source: &SourceDisk, prep: &Cmd, userspace: &Path, code: i32, text: &str) {
    let before = source.listing().unwrap();
    for command in ["plan", "build"] {
        let call = prep
            .clone()
            .args([command, "--json", "--userspace"])
            .arg(userspace);
        let (status, _, stderr) = call.output().unwrap();
        assert_eq!(status.code(), Some(code), "{call}: {stderr}");
        let lines: Vec<&str> = stderr.lines().collect();
        assert_eq!(lines.len(), 1, "{call}: {stderr}");
        assert!(
            lines[0].starts_with("livemode-prep: ") && lines[0].contains(text),
            "{call}: {stderr}"
        );
    }
    assert_eq!(differences(&before, &source.listing().unwrap()), NOTHING);
}

fn refused(source: &SourceDisk, userspace: &Path, text: &str) {
    refused_by(source, &source.prep(), userspace, 4, text);
}

fn container() -> std::path::PathBuf {
    testbed::container(Suite::Bookworm).unwrap()
}

fn changed() -> Changed {
    Changed::of(&container()).unwrap()
}

fn only_entry(dir: &Path) -> String {
    let mut names = fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name());
    names.next().unwrap().into_string().unwrap()
}

#[test]
fn root_no_container_at_the_path_is_refused() {
    let source = SourceDisk::bare().unwrap();
    refused(
        &source,
        Path::new("/nowhere/el9userspace"),
        "/nowhere/el9userspace: no target-system container there",
    );
}

#[test]
fn root_a_container_without_or_with_two_kernels_is_refused() {
    let source = SourceDisk::bare().unwrap();
    let container = changed();
    let modules = container.at("usr/lib/modules");
    let version = only_entry(&modules);
    fs::create_dir(modules.join("6.99.0")).unwrap();
    fs::write(modules.join("6.99.0/vmlinuz"), "").unwrap();
    let both = format!("2 kernels ({version}, 6.99.0)");
    refused(&source, &container.path(), &both);

    fs::remove_dir_all(modules.join("6.99.0")).unwrap();
    fs::remove_file(container.at(&format!("boot/vmlinuz-{version}"))).unwrap();
    refused(
        &source,
        &container.path(),
        "no kernel in /lib/modules; install kernel-core there",
    );
}

#[test]
fn root_missing_tools_are_refused() {
    let source = SourceDisk::bare().unwrap();
    let container = changed();
    let programs = Programs::without("mksquashfs").unwrap();
    fs::remove_file(container.at("usr/bin/mksquashfs")).unwrap();
    refused_by(
        &source,
        &source.prep().env("PATH", programs.path()),
        &container.path(),
        4,
        "mksquashfs is missing here and in the container; install squashfs-tools",
    );
    fs::remove_file(container.at("usr/bin/dracut")).unwrap();
    refused(&source, &container.path(), "dracut is missing");
}

#[test]
fn root_a_container_whose_etc_is_a_link_to_the_root_is_refused() {
    let source = SourceDisk::bare().unwrap();
    let container = changed();
    fs::remove_dir_all(container.at("etc")).unwrap();
    symlink("/", container.at("etc")).unwrap();
    let before = listing(&container.path()).unwrap();
    refused(
        &source,
        &container.path(),
        "etc is no directory, so this is no container",
    );
    assert_eq!(
        differences(&before, &listing(&container.path()).unwrap()),
        NOTHING
    );
}

/// Unmounts when dropped.
struct MountedOver(std::path::PathBuf);

impl MountedOver {
    fn new(arguments: &[&str], target: std::path::PathBuf) -> Self {
        Cmd::new("mount").args(arguments).arg(&target).run().unwrap();
        Self(target)
    }
}

impl Drop for MountedOver {
    fn drop(&mut self) {
        Cmd::new("umount").arg(&self.0).run().unwrap();
    }
}

#[test]
fn root_a_read_only_boot_is_refused() {
    let source = SourceDisk::bare().unwrap();
    let boot = source.at("boot");
    let _bound = MountedOver::new(&["--bind", "-o", "ro", boot.to_str().unwrap()], boot.clone());
    refused(
        &source,
        &container(),
        &format!("/boot {} is mounted read-only; remount it rw", boot.display()),
    );
}

/// It would wait for a keyboard. The machine sees itself: /var is on the volume, as lsblk tells.
#[test]
fn root_a_volume_that_only_a_passphrase_opens_is_refused() {
    let source = SourceDisk::bare().unwrap();
    let lsblk = workspace().join("tests/fixtures/storage/luks.json");
    let programs = Programs::with("lsblk", &format!("cat {}", lsblk.display())).unwrap();
    fs::create_dir_all(source.at("proc/self")).unwrap();
    let mounts = "30 1 0:1 / / rw - ext4 /dev/vdb1 rw\n31 30 0:2 / /var rw - ext4 /dev/mapper/var rw\n";
    fs::write(source.at("proc/self/mountinfo"), mounts).unwrap();
    fs::create_dir_all(source.at("dev/disk/by-uuid")).unwrap();
    fs::create_dir_all(source.at("dev/mapper")).unwrap();
    fs::write(source.at("dev/mapper/var"), "").unwrap();
    symlink("../../mapper/var", source.at("dev/disk/by-uuid/6c69-02")).unwrap();
    fs::write(
        source.at("etc/fstab"),
        source.read("etc/fstab") + "/dev/mapper/var /var ext4 defaults 0 2\n",
    )
    .unwrap();
    let refused_with = |crypttab: &str, message: &str| {
        fs::write(source.at("etc/crypttab"), crypttab).unwrap();
        let prep = source.prep().env("PATH", programs.path());
        refused_by(&source, &prep, &container(), 4, message);
    };
    let uuid = "6c697665-6d6f-4d6f-8d6f-00000000000a";
    refused_with(
        &format!("var UUID={uuid} none luks\n"),
        "is opened by a passphrase only, for which the live system would wait at a keyboard; add a key file to /etc/crypttab",
    );
    refused_with(
        &format!("var UUID={uuid} /etc/keys/gone.key luks\n"),
        "is opened by /etc/keys/gone.key (/etc/crypttab, line 1), which is not there",
    );
}

/// The target's kernel may have dropped a driver, and with it the disk.
#[test]
fn root_a_disk_that_the_targets_kernel_does_not_drive_is_refused() {
    let source = SourceDisk::bare().unwrap();
    let programs = with_a_disk(&source, "ext4.json", "30 1 0:1 / / rw - ext4 /dev/vdb1 rw\n");
    let device = "sys/devices/pci0000:00/0000:00:04.0/virtio1";
    for dir in [
        device,
        "sys/block/vdb",
        "sys/bus/virtio/drivers/virtio_blk",
        "sys/module/virtio_blk",
    ] {
        fs::create_dir_all(source.at(dir)).unwrap();
    }
    symlink(format!("../../../{device}"), source.at("sys/block/vdb/device")).unwrap();
    symlink(
        "../../../../bus/virtio/drivers/virtio_blk",
        source.at(device).join("driver"),
    )
    .unwrap();
    symlink(
        "../../../../module/virtio_blk",
        source.at("sys/bus/virtio/drivers/virtio_blk/module"),
    )
    .unwrap();
    fs::write(source.at(device).join("modalias"), "virtio:d00000002v00001AF4\n").unwrap();
    let prep = source.prep().env("PATH", programs.path());
    let plan = |container: &Path| prep.clone().args(["plan", "--userspace"]).arg(container).read();
    plan(&container()).unwrap();

    let changed = changed();
    let modules = changed.at("usr/lib/modules");
    let version = only_entry(&modules);
    fs::remove_file(modules.join(&version).join("kernel/drivers/block/virtio_blk.ko")).unwrap();
    Cmd::new("chroot")
        .arg(changed.path())
        .args(["depmod", &version])
        .run()
        .unwrap();
    let message = format!(
        "/dev/vdb hangs on virtio_blk (virtio:d00000002v00001AF4), and the target's kernel {version} has no driver for that"
    );
    refused_by(&source, &prep, &changed.path(), 4, &message);
}

/// An image by URL stays in memory; early boot would only find out that it has no room for that.
#[test]
fn root_a_machine_with_too_little_memory_is_refused() {
    let source = SourceDisk::bare().unwrap();
    let memory = |mib: u64| {
        fs::create_dir_all(source.at("proc")).unwrap();
        let text = format!("MemTotal:     {} kB\nMemFree:      1024 kB\n", mib << 10);
        fs::write(source.at("proc/meminfo"), text).unwrap();
    };
    let may_go_on = || {
        let plan = source.prep().args(["plan", "--userspace"]);
        plan.arg(container()).run().unwrap();
    };
    memory(500);
    refused(&source, &container(), "not enough memory: 640 MiB needed (");
    memory(700);
    may_go_on();

    let config = source.at("etc/leapp/actor_conf.d/livemode.yaml");
    fs::create_dir_all(config.parent().unwrap()).unwrap();
    let url = "url_to_load_squashfs_image_from: http://host/live.img, dracut_network: ip=dhcp";
    fs::write(config, format!("livemode: {{{url}}}\n")).unwrap();
    refused(
        &source,
        &container(),
        "the live system 512), 700 MiB there; leave url_to_load_squashfs_image_from away, or give the machine more",
    );
    memory(2000);
    may_go_on();
}

/// A system that sees itself, with these mounts and what lsblk says by a fixture of the storage's tests; the PATH for it.
fn with_a_disk(source: &SourceDisk, fixture: &str, mounts: &str) -> Programs {
    let lsblk = workspace().join("tests/fixtures/storage").join(fixture);
    fs::create_dir_all(source.at("proc/self")).unwrap();
    fs::write(source.at("proc/self/mountinfo"), mounts).unwrap();
    fs::create_dir_all(source.at("dev/disk/by-uuid")).unwrap();
    fs::write(source.at("dev/vdb1"), "").unwrap();
    symlink("../../vdb1", source.at("dev/disk/by-uuid/6c69-01")).unwrap();
    Programs::with("lsblk", &format!("cat {}", lsblk.display())).unwrap()
}

#[test]
fn root_an_image_that_the_reboot_would_lose_is_refused() {
    let source = SourceDisk::bare().unwrap();
    let place = source.at("var/lib/leapp");
    let tmpfs = MountedOver::new(&["-t", "tmpfs", "-o", "size=3g", "tmpfs"], place.clone());
    refused(
        &source,
        &container(),
        "/var/lib/leapp/live-upgrade.img lies on a tmpfs",
    );
    drop(tmpfs);

    let dir = tempfile::tempdir().unwrap();
    let disk = dir.path().join("other.img");
    fs::File::create(&disk).unwrap().set_len(3 << 30).unwrap();
    Cmd::new("mkfs.ext4")
        .args(["-q", "-U", "clear"])
        .arg(&disk)
        .run()
        .unwrap();
    let other = MountedOver::new(&["-o", "loop", disk.to_str().unwrap()], place.clone());
    refused(
        &source,
        &container(),
        "which has no UUID to find it by; choose another path",
    );
    drop(other);

    let disk = dir.path().join("xfs.img");
    fs::File::create(&disk).unwrap().set_len(3 << 30).unwrap();
    Cmd::new("mkfs.xfs").arg("-q").arg(&disk).run().unwrap();
    let _xfs = MountedOver::new(&["-o", "loop", disk.to_str().unwrap()], place);
    // New kernels cannot mount such a file system any more; this is how xfs_info(8) describes one.
    let info = "echo 'naming   =version 2              bsize=4096   ascii-ci=0, ftype=0'";
    let programs = Programs::with("xfs_info", info).unwrap();
    refused_by(
        &source,
        &source.prep().env("PATH", programs.path()),
        &container(),
        4,
        "lies on an xfs without ftype, on which no overlay can be made",
    );
}

#[test]
fn root_a_source_that_cannot_be_understood_is_refused() {
    let source = SourceDisk::bare().unwrap();
    let fstab = source.at("etc/fstab");
    for (text, fault) in [
        ("# nothing\n", "/etc/fstab has no entry for /"),
        (
            "/dev/sda1 /\n",
            "etc/fstab: line 1: expected device, mount point and type",
        ),
    ] {
        fs::write(&fstab, text).unwrap();
        refused(&source, &container(), fault);
    }
    fs::remove_file(&fstab).unwrap();
    refused(&source, &container(), "etc/fstab: No such file or directory");
    fs::create_dir(&fstab).unwrap();
    refused(&source, &container(), "etc/fstab: Is a directory");
}

#[test]
fn root_a_source_that_would_not_come_back_is_refused() {
    let source = SourceDisk::bare().unwrap();
    let cmdline = source.at("etc/kernel/cmdline");
    for (line, fault) in [
        (
            "root=/dev/vda ro fips=1".to_owned(),
            "the source system is in FIPS mode",
        ),
        (
            format!("root=/dev/vda console={}", "y".repeat(2000)),
            "the kernel command line would be 2",
        ),
    ] {
        fs::write(&cmdline, line).unwrap();
        refused(&source, &container(), fault);
    }
}

/// The configuration of the source system.
fn configure(source: &SourceDisk, text: &str) {
    let configs = source.at("etc/leapp/actor_conf.d");
    fs::create_dir_all(&configs).unwrap();
    fs::write(configs.join("livemode.yaml"), text).unwrap();
}

#[test]
fn root_a_wrong_configuration_is_refused() {
    let source = SourceDisk::bare().unwrap();
    for (text, fault) in [
        (
            "livemode: {squashfs_image_path: /}\n",
            "livemode.yaml:1: livemode.squashfs_image_path: '/' is not a normalised path of a file",
        ),
        (
            "livemode: {squashfs_image_path: /var/lib/leapp}\n",
            "livemode.squashfs_image_path: '/var/lib/leapp' is a directory; name a file",
        ),
        (
            "livemode: {dracut_network: ip=dhcp init=/bin/sh}\n",
            "livemode.dracut_network: 'init=/bin/sh' is no network argument of dracut",
        ),
    ] {
        configure(&source, text);
        refused_by(&source, &source.prep(), &container(), 3, fault);
    }
}

#[test]
fn root_sshd_without_a_valid_key_or_host_keys_is_refused() {
    let source = SourceDisk::bare().unwrap();
    configure(
        &source,
        "livemode: {setup_opensshd_using_auth_keys: /root/keys}\n",
    );
    fs::create_dir_all(source.at("etc/ssh")).unwrap();
    fs::create_dir_all(source.at("root")).unwrap();
    fs::write(source.at("etc/ssh/ssh_host_ed25519_key"), "secret").unwrap();
    refused(
        &source,
        &container(),
        "setup_opensshd_using_auth_keys: reading /root/keys: No such file or directory",
    );
    fs::write(source.at("root/keys"), "# none\nssh-ed25519 AAAA cut off\n").unwrap();
    refused(
        &source,
        &container(),
        "setup_opensshd_using_auth_keys: /root/keys holds no valid key",
    );

    fs::copy(
        testbed::source().unwrap().join("root/keys"),
        source.at("root/keys"),
    )
    .unwrap();
    fs::remove_file(source.at("etc/ssh/ssh_host_ed25519_key")).unwrap();
    refused(&source, &container(), "the source system has no host keys");
}

#[test]
fn root_too_little_space_is_refused_with_the_numbers() {
    let source = SourceDisk::bare().unwrap();
    let filler = fs::File::create(source.at("filler")).unwrap();
    nix::fcntl::fallocate(&filler, nix::fcntl::FallocateFlags::empty(), 0, 1900 << 20).unwrap();
    let (status, _, stderr) = source
        .prep()
        .args(["plan", "--userspace"])
        .arg(container())
        .output()
        .unwrap();
    assert_eq!(status.code(), Some(4), "{stderr}");
    assert!(
        stderr.contains("not enough space at ")
            && stderr.contains(" MiB needed (the image ")
            && stderr.contains("; free "),
        "{stderr}"
    );
    refused(&source, &container(), "not enough space at ");
}

#[test]
fn root_a_build_without_the_opt_in_is_refused() {
    let source = SourceDisk::bare().unwrap();
    let call = Cmd::new(livemode_tests::binaries::binary("livemode-prep"))
        .env("LEAPP_UNSUPPORTED", "0")
        .arg("--root")
        .arg(source.root())
        .args(["build", "--userspace"])
        .arg(container());
    let (status, _, stderr) = call.output().unwrap();
    assert_eq!(
        (status.code(), stderr.as_str()),
        (
            Some(4),
            "livemode-prep: LiveMode is not opted in; set LEAPP_UNSUPPORTED=1\n"
        )
    );
}

#[test]
fn root_a_package_that_nobody_has_is_named() {
    let source = SourceDisk::bare().unwrap();
    let configs = source.at("etc/leapp/actor_conf.d");
    fs::create_dir_all(&configs).unwrap();
    fs::write(
        configs.join("livemode.yaml"),
        "livemode: {additional_packages: [/usr/bin/demo-extra, no-such-package]}\n",
    )
    .unwrap();
    let before = source.listing().unwrap();
    let call = source
        .prep()
        .args(["build", "--json", "--userspace"])
        .arg(container());
    let (status, stdout, stderr) = call.output().unwrap();
    assert_eq!(status.code(), Some(4), "{stderr}");
    assert_eq!(stdout, "");
    assert!(
        stderr.contains("the container's repositories do not have: no-such-package;"),
        "{stderr}"
    );
    assert_eq!(differences(&before, &source.listing().unwrap()), NOTHING);
}
