//! On the kernel of this machine, as root: real squashfs, loop devices, overlays, and what cuts a build off.
#![allow(clippy::unwrap_used)]
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{symlink, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use livemode_common::cmd::Cmd;
use livemode_common::contract::Manifest;
use livemode_tests::binaries::workspace;
use livemode_tests::container::{Changed, Programs};
use livemode_tests::disk::{self, Mounted};
use livemode_tests::golden;
use livemode_tests::source::{differences, listing, prep, SourceDisk};
use livemode_tests::testbed::{self, Suite};
use nix::sys::signal::{killpg, Signal};
use nix::unistd::Pid;

const NOTHING: [String; 0] = [];
const WORK: &str = "var/lib/leapp/.livemode-work";
const MANIFEST: &str = "var/lib/leapp/livemode/manifest.json";
/// For what takes a second or a few, on a machine of any load.
const LIMIT: Duration = Duration::from_secs(120);

fn container() -> PathBuf {
    testbed::container(Suite::Bookworm).unwrap()
}

fn build(source: &SourceDisk, container: &Path) -> Cmd {
    let build = source.prep().args(["build", "--json", "--userspace"]);
    build.arg(container)
}

/// In a process group of its own, as a shell starts it.
fn started(build: &Cmd) -> Child {
    build
        .spawn(|command| {
            command.process_group(0);
            command.stdout(Stdio::null()).stderr(Stdio::piped());
        })
        .unwrap()
}

fn wait_for(what: &str, mut is_so: impl FnMut() -> bool) {
    let started = Instant::now();
    while !is_so() {
        assert!(started.elapsed() < LIMIT, "waited too long for {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// The sweeper outlives a killed build by a moment.
fn swept(source: &SourceDisk) {
    wait_for("the sweeper", || !source.at(WORK).exists());
    wait_for("the sweeper", || {
        let state = source.at("var/lib/leapp/livemode");
        !state.exists() || state.join("manifest.json").exists()
    });
}

fn mounts_left() -> String {
    let text = fs::read_to_string("/proc/self/mountinfo").unwrap();
    text.lines().filter(|l| l.contains(".livemode-work")).collect()
}

fn remove(root: &Path) {
    prep(root).arg("remove").run().unwrap();
}

/// What `status` finds wrong with a build.
fn problems(source: &SourceDisk) -> serde_json::Value {
    let status = source.prep().args(["status", "--json"]).read().unwrap();
    let mut status: serde_json::Value = serde_json::from_str(&status).unwrap();
    assert!(!status["prepared"].is_null(), "{status}");
    status["problems"].take()
}

fn manifest(source: &SourceDisk) -> Manifest {
    serde_json::from_str(&source.read(MANIFEST)).unwrap()
}

/// Everything that `build` will do, with what differs from machine to machine made the same.
#[test]
fn root_plan_shows_everything_and_writes_nothing() {
    let source = SourceDisk::bare().unwrap();
    fs::create_dir_all(source.at("etc/leapp/actor_conf.d")).unwrap();
    let config =
        "livemode: {additional_packages: [demo-extra], capture_strace_info_into: /var/log/leapp.strace}\n";
    fs::write(source.at("etc/leapp/actor_conf.d/livemode.yaml"), config).unwrap();
    let before = source.listing().unwrap();
    let plan = |arguments: &[&str]| {
        let call = source.prep().arg("plan").args(arguments).arg("--userspace");
        call.arg(container()).read().unwrap()
    };
    let (text, json) = (plan(&[]), plan(&["--json"]));
    assert_eq!(differences(&before, &source.listing().unwrap()), NOTHING);

    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(
        (
            &json["schema"],
            &json["packages"]["missing"].as_array().unwrap().len()
        ),
        (&1.into(), &12)
    );
    let version = json["kernel_version"].as_str().unwrap();
    let shown = text
        .replace(source.root().to_str().unwrap(), "")
        .replace(version, "KERNEL")
        .lines()
        .map(|line| match line.split_once(" needed (") {
            // The numbers are the container's.
            Some(_) => format!(
                "{}\n",
                line.chars().filter(|c| !c.is_ascii_digit()).collect::<String>()
            ),
            None => format!("{line}\n"),
        })
        .collect::<String>();
    let golden = workspace().join("tests/fixtures/plan.txt");
    assert_eq!(golden::compare(&golden, &shown).unwrap(), None);
}

#[test]
fn root_leapps_facts_stand_in_for_those_of_the_system() {
    let source = SourceDisk::bare().unwrap();
    let facts = source.at("facts.json");
    let text = serde_json::json!({
        "StorageInfo": {"fstab": [
            {"fs_spec": "/dev/mapper/cs-root", "fs_file": "/", "fs_vfstype": "xfs", "fs_mntops": "defaults",
             "fs_freq": "0", "fs_passno": "0"},
            {"fs_spec": "UUID=2", "fs_file": "/srv", "fs_vfstype": "ext4", "fs_mntops": "nofail",
             "fs_freq": "1", "fs_passno": "2"}], "partitions": []},
        "KernelCmdline": {"parameters": [{"key": "console", "value": "ttyS1"}, {"key": "nosmt", "value": null}]},
        "FirmwareFacts": {"firmware": "efi"},
        "TargetUserSpaceInfo": {"path": container(), "scratch": "/s", "mounts": "/m"},
    });
    fs::write(&facts, text.to_string()).unwrap();
    let plan = source
        .prep()
        .arg("--leapp-facts")
        .arg(&facts)
        .args(["plan", "--json"]);
    let plan: serde_json::Value = serde_json::from_str(&plan.read().unwrap()).unwrap();
    assert_eq!(plan["userspace"], container().to_str().unwrap());
    assert!(
        plan["arguments"]
            .as_str()
            .unwrap()
            .ends_with(" console=ttyS1 nosmt"),
        "{plan}"
    );
    let mounts: Vec<&str> = plan["mounts"]
        .as_array()
        .unwrap()
        .iter()
        .map(|m| m.as_str().unwrap())
        .collect();
    assert!(
        mounts[0].starts_with("/dev/mapper/cs-root /run/upgrade xfs defaults,nofail,"),
        "{mounts:?}"
    );
    assert!(
        mounts[1].starts_with("UUID=2 /run/upgrade/srv ext4 nofail,"),
        "{mounts:?}"
    );

    fs::write(&facts, "{\"StorageInfo\": 1}").unwrap();
    let (status, _, stderr) = source
        .prep()
        .arg("--leapp-facts")
        .arg(&facts)
        .arg("plan")
        .output()
        .unwrap();
    assert_eq!(status.code(), Some(4), "{stderr}");
    assert!(stderr.contains("facts.json: invalid type"), "{stderr}");
}

#[test]
fn root_private_keys_on_a_web_server_are_warned_of() {
    let source = SourceDisk::whole().unwrap();
    let configs = source.at("etc/leapp/actor_conf.d");
    fs::create_dir_all(&configs).unwrap();
    let url = "url_to_load_squashfs_image_from: http://host/live.img, dracut_network: ip=dhcp";
    let warnings = |more: &str| {
        fs::write(
            configs.join("livemode.yaml"),
            format!("livemode: {{{url}{more}}}\n"),
        )
        .unwrap();
        let plan = source
            .prep()
            .args(["plan", "--json", "--userspace"])
            .arg(container())
            .read()
            .unwrap();
        let plan: serde_json::Value = serde_json::from_str(&plan).unwrap();
        plan["warnings"].to_string()
    };
    assert_eq!(warnings(""), "[]");
    for option in [
        "setup_network_manager: true",
        "setup_opensshd_using_auth_keys: /root/keys",
    ] {
        let warnings = warnings(&format!(", {option}"));
        assert!(
            warnings.contains("the image holds private keys"),
            "{option}: {warnings}"
        );
    }
    let (status, stdout, stderr) = build(&source, &container()).output().unwrap();
    assert!(status.success(), "{stderr}");
    assert!(
        stderr.starts_with("warning: the image holds private keys"),
        "{stderr}"
    );
    let manifest: Manifest = serde_json::from_str(&stdout).unwrap();
    assert!(manifest
        .boot
        .arguments
        .starts_with("root=livemode:http://host/live.img livemode.local=UUID="));
    // Only root sees what is in it, while it is made too.
    assert_eq!(
        fs::metadata(source.at("var/lib/leapp/live-upgrade.img"))
            .unwrap()
            .permissions()
            .mode()
            & 0o777,
        0o600
    );
}

#[test]
fn root_the_kernels_checksum_goes_along_and_goes_again() {
    let source = SourceDisk::whole().unwrap();
    let container = Changed::of(&container()).unwrap();
    let modules = fs::read_dir(container.at("usr/lib/modules")).unwrap();
    let version = modules
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .next()
        .unwrap();
    let hmac = container.at(&format!("boot/.vmlinuz-{version}.hmac"));
    fs::write(&hmac, format!("0123abcd  vmlinuz-{version}\n")).unwrap();
    build(&source, &container.path()).run().unwrap();
    assert_eq!(
        source.read("boot/.vmlinuz-upgrade.x86_64.hmac"),
        "0123abcd  vmlinuz-upgrade.x86_64\n"
    );
    fs::remove_file(&hmac).unwrap();
    build(&source, &container.path()).run().unwrap();
    assert!(!source.at("boot/.vmlinuz-upgrade.x86_64.hmac").exists());
    assert_eq!(problems(&source), serde_json::json!([]));
}

#[test]
fn root_kill_nine_at_any_moment_leaves_nothing() {
    let source = SourceDisk::whole().unwrap();
    let before = source.listing().unwrap();
    for seconds in [0.3, 2.0, 4.0, 6.0, 8.0] {
        let mut build = started(&build(&source, &container()));
        // From the moment at which there is something to leave.
        wait_for("the build's work", || {
            source.at(WORK).exists() || build.try_wait().unwrap().is_some()
        });
        std::thread::sleep(Duration::from_secs_f32(seconds));
        build.kill().unwrap();
        build.wait().unwrap();
        swept(&source);
        assert_eq!(mounts_left(), "");
        if source.at(MANIFEST).exists() {
            // It was done by then, or its commit was and the sweeper completed it: a whole build, to be taken back.
            assert_eq!(
                problems(&source),
                serde_json::json!([]),
                "killed {seconds} s into its work"
            );
            remove(source.root());
        }
        let left = differences(&before, &source.listing().unwrap());
        assert_eq!(left, NOTHING, "killed {seconds} s into its work");
    }
}

#[test]
fn root_an_interrupt_leaves_nothing() {
    let source = SourceDisk::whole().unwrap();
    let before = source.listing().unwrap();
    let mut build = started(&build(&source, &container()));
    wait_for("dracut", || {
        source.at(WORK).join("upper/var/tmp").exists() || build.try_wait().unwrap().is_some()
    });
    let group = Pid::from_raw(build.id().try_into().unwrap());
    killpg(group, Signal::SIGINT).unwrap();
    assert!(!build.wait().unwrap().success());
    swept(&source);
    assert_eq!(mounts_left(), "");
    assert_eq!(differences(&before, &source.listing().unwrap()), NOTHING);
}

#[test]
fn root_a_second_build_works_and_remove_takes_all_back() {
    let source = SourceDisk::whole().unwrap();
    let container = container();
    let (before, container_before) = (source.listing().unwrap(), listing(&container).unwrap());
    for _ in 0..2 {
        build(&source, &container).run().unwrap();
    }
    let left = differences(&container_before, &listing(&container).unwrap());
    assert_eq!(left, NOTHING, "the container stays as it was");
    for _ in 0..2 {
        remove(source.root());
    }
    assert_eq!(differences(&before, &source.listing().unwrap()), NOTHING);
}

#[test]
fn root_a_full_disk_in_the_middle_keeps_the_earlier_build() {
    let source = SourceDisk::whole().unwrap();
    build(&source, &container()).run().unwrap();
    let before = source.listing().unwrap();
    let earlier = manifest(&source);

    let mut second = started(&build(&source, &container()));
    let image = source.at(WORK).join("image");
    wait_for("the image", || {
        image.exists() || second.try_wait().unwrap().is_some()
    });
    let filler = source.at("filler");
    fill(&filler);
    let status = second.wait().unwrap();
    let mut stderr = String::new();
    std::io::Read::read_to_string(&mut second.stderr.take().unwrap(), &mut stderr).unwrap();
    assert_eq!(status.code(), Some(1), "{stderr}");
    assert!(stderr.contains("No space left on device"), "{stderr}");
    assert_eq!(stderr.lines().count(), 1, "{stderr}");

    fs::remove_file(&filler).unwrap();
    assert_eq!(differences(&before, &source.listing().unwrap()), NOTHING);
    assert_eq!(manifest(&source), earlier);
    let image = fs::File::open(source.at("var/lib/leapp/live-upgrade.img")).unwrap();
    let (digest, _) = livemode_common::fsio::sha256(image, |_| ()).unwrap();
    assert_eq!(digest, earlier.image.sha256);
}

#[test]
fn root_links_in_the_container_lead_no_write_outside() {
    let outside = tempfile::tempdir().unwrap();
    for name in ["file", "etc/kept", "units/kept", "modules/kept"] {
        let path = outside.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, name).unwrap();
    }
    let before = listing(outside.path()).unwrap();
    let container = Changed::of(&container()).unwrap();
    for (link, to) in [
        ("etc/fstab", "file"),
        ("etc/machine-id", "file"),
        ("etc/issue", "file"),
        ("usr/bin/upgrade", "file"),
        ("sysroot", "etc"),
        ("etc/systemd/system", "units"),
        ("etc/systemd/journald.conf.d", "etc"),
        ("usr/lib/dracut/modules.d/90livemode", "modules"),
        ("usr/libexec/livemode", "etc"),
    ] {
        let link = container.at(link);
        if link.is_dir() {
            fs::remove_dir_all(&link).unwrap();
        } else if link.symlink_metadata().is_ok() {
            fs::remove_file(&link).unwrap();
        }
        fs::create_dir_all(link.parent().unwrap()).unwrap();
        symlink(outside.path().join(to), &link).unwrap();
    }
    let source = SourceDisk::whole().unwrap();
    // Whether such a container can be built from is its own affair.
    let (_, _, stderr) = build(&source, &container.path()).output().unwrap();
    assert_eq!(
        differences(&before, &listing(outside.path()).unwrap()),
        NOTHING,
        "{stderr}"
    );
    assert_eq!(fs::read_to_string(outside.path().join("file")).unwrap(), "file");
    swept(&source);
}

#[test]
fn root_the_containers_mksquashfs_packs_where_it_knows_more() {
    let source = SourceDisk::whole().unwrap();
    let old = Programs::with("mksquashfs", "echo '  gzip (default)'; exit 1").unwrap();
    let build = build(&source, &container()).env("PATH", old.path());
    build.run().unwrap();
    let manifest = manifest(&source);
    assert_eq!(manifest.compressor, "zstd");

    let unpacked = tempfile::tempdir().unwrap();
    let image = source.at("var/lib/leapp/live-upgrade.img");
    let unpack = Cmd::new("unsquashfs").args(["-q", "-n", "-f", "-d"]);
    unpack.arg(unpacked.path()).arg(&image).run().unwrap();
    let names = |dir: &str| fs::read_dir(unpacked.path().join(dir)).unwrap().count();
    assert_eq!(
        ["run", "boot", "proc", "var/tmp"].map(names),
        [0; 4],
        "what is mounted or left out is not in it"
    );
    let fstab = fs::read_to_string(unpacked.path().join("etc/fstab")).unwrap();
    assert!(fstab.contains(" /run/upgrade ext4 "), "{fstab}");
    assert_eq!(
        fs::read_link(unpacked.path().join("sysroot")).unwrap(),
        Path::new("/run/upgrade")
    );
}

/// Takes all that is free at once, root's reserve too.
fn fill(path: &Path) {
    let file = fs::File::create(path).unwrap();
    let stat = nix::sys::statvfs::fstatvfs(&file).unwrap();
    let block = i64::try_from(stat.fragment_size()).unwrap();
    let mut blocks = i64::try_from(stat.blocks_free()).unwrap();
    while nix::fcntl::fallocate(&file, nix::fcntl::FallocateFlags::empty(), 0, blocks * block).is_err() {
        // Some of it goes into the file's own extents.
        blocks -= 16;
    }
}

/// Stopped after each rename of the program itself: what the disk holds then is what a power cut leaves.
#[test]
fn root_a_power_cut_at_any_rename_can_be_taken_back() {
    let source = SourceDisk::whole().unwrap();
    let before = inside(source.root());
    Cmd::new("sync").arg("-f").arg(source.root()).run().unwrap();
    let traced = Cmd::new("strace")
        .args(["-q", "-o", "/dev/null", "-e", "trace=/^rename"])
        .args(["-e", "inject=/^rename:signal=SIGSTOP"])
        .args(build(&source, &container()).words())
        .env("LEAPP_UNSUPPORTED", "1");
    let mut strace = started(&traced);
    let cuts = tempfile::tempdir().unwrap();
    let mut images = Vec::new();
    while strace.try_wait().unwrap().is_none() {
        let Some(stopped) = stopped_child(strace.id()) else {
            continue;
        };
        let cut = cuts.path().join(format!("{}.img", images.len()));
        disk::copy(&source.image(), &cut).unwrap();
        images.push(cut);
        nix::sys::signal::kill(stopped, Signal::SIGCONT).unwrap();
    }
    assert!(strace.wait().unwrap().success());
    // What is reported as done stays so.
    let done = cuts.path().join("done.img");
    disk::copy(&source.image(), &done).unwrap();
    images.push(done);
    // The records, the commit, and each of its files.
    assert!(images.len() >= 9, "{} renames", images.len());

    let mut prepared = Vec::new();
    for image in &images {
        let after = Mounted::new(image).unwrap();
        let status = prep(after.path()).args(["status", "--json"]).read().unwrap();
        let status: serde_json::Value = serde_json::from_str(&status).unwrap();
        prepared.push(!status["prepared"].is_null());
        if !status["prepared"].is_null() {
            assert_eq!(
                status["problems"],
                serde_json::json!([]),
                "a manifest without its files"
            );
        }
        remove(after.path());
        let (left, image) = (inside(after.path()), image.display());
        let missing: Vec<_> = before.difference(&left).collect();
        let more: Vec<_> = left.difference(&before).collect();
        assert!(
            missing.is_empty() && more.is_empty(),
            "{image}: - {missing:?} + {more:?}"
        );
    }
    assert_eq!(
        (prepared.first(), prepared.last()),
        (Some(&false), Some(&true)),
        "the commit was not among the cuts"
    );
}

/// Every path below `root`, as the system there sees it.
fn inside(root: &Path) -> BTreeSet<PathBuf> {
    let all = listing(root).unwrap();
    all.keys()
        .map(|p| p.strip_prefix(root).unwrap().to_owned())
        .collect()
}

/// The traced child, when it stands still: each system call stops it too, but for less than this looks.
fn stopped_child(parent: u32) -> Option<Pid> {
    let children = fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).ok()?;
    let child = children.split_whitespace().next()?;
    for _ in 0..10 {
        let stat = fs::read_to_string(format!("/proc/{child}/stat")).ok()?;
        let state = stat.rsplit(')').next()?.trim_start().chars().next()?;
        std::thread::sleep(Duration::from_millis(20));
        if !matches!(state, 't' | 'T') {
            return None;
        }
    }
    child.parse().ok().map(Pid::from_raw)
}
