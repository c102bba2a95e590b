//! As root: whatever cuts a build off, the system is as it was, or the build is whole.
#![allow(clippy::unwrap_used)]
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::Duration;

use livemode_common::cmd::Cmd;
use livemode_common::contract::MANIFEST;
use livemode_tests::container::{Changed, Programs};
use livemode_tests::disk::{self, Mounted};
use livemode_tests::source::{differences, listing, prep, remove, wait_for, SourceDisk, WORK};
use livemode_tests::testbed::{self, Suite};
use nix::sys::signal::{killpg, Signal};
use nix::unistd::Pid;

const NOTHING: [String; 0] = [];

fn container() -> PathBuf {
    testbed::container(Suite::Bookworm).unwrap()
}

#[test]
fn root_kill_nine_at_any_moment_leaves_nothing() {
    let source = SourceDisk::whole().unwrap();
    let before = source.listing().unwrap();
    for seconds in [0.3, 2.0, 4.0, 6.0, 8.0] {
        let mut build = started(&source.build(&container()));
        // From the moment at which there is something to leave.
        wait_for("the build's work", || {
            source.at(WORK).exists() || build.try_wait().unwrap().is_some()
        });
        std::thread::sleep(Duration::from_secs_f32(seconds));
        build.kill().unwrap();
        build.wait().unwrap();
        source.swept();
        assert_eq!(mounts_left(), "");
        if source.at(MANIFEST).exists() {
            // It was done by then, or its commit was and the sweeper completed it: a whole build, to be taken back.
            assert_eq!(
                source.problems(),
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
    // A shell in the background, and nohup, have it ignored by all that they start.
    let heeding = Cmd::new("env").arg("--default-signal=INT");
    let heeding = heeding.args(source.build(&container()).words());
    let mut build = started(&heeding.env("LEAPP_UNSUPPORTED", "1"));
    let work = source.at(WORK);
    wait_for("dracut and mksquashfs", || {
        let are_at_work = work.join("early/upper/var/tmp").exists() && work.join("image").exists();
        are_at_work || build.try_wait().unwrap().is_some()
    });
    let group = Pid::from_raw(build.id().try_into().unwrap());
    killpg(group, Signal::SIGINT).unwrap();
    assert!(!build.wait().unwrap().success());
    source.swept();
    assert_eq!(mounts_left(), "");
    assert_eq!(differences(&before, &source.listing().unwrap()), NOTHING);
}

/// They are made at the same time: neither goes on for nothing.
#[test]
fn root_when_initramfs_or_image_fails_the_other_is_ended() {
    let source = SourceDisk::whole().unwrap();
    let before = source.listing().unwrap();
    let (fails, goes_on) = ("echo no such luck >&2; exit 3", "exec sleep 600");
    for (dracut, mksquashfs, fault) in [
        (fails, goes_on, "making the initramfs: "),
        (goes_on, fails, "packing the image: "),
    ] {
        let changed = Changed::of(&container()).unwrap();
        changed.program("usr/bin/dracut", dracut).unwrap();
        // plan asks it what it can do.
        let mksquashfs = format!("[ -d \"$1\" ] || exec /usr/bin/mksquashfs \"$@\"; {mksquashfs}");
        let programs = Programs::with("mksquashfs", &mksquashfs).unwrap();
        let build = source.build(&changed.path()).env("PATH", programs.path());
        let (status, _, stderr) = build.limit(Duration::from_secs(300)).output().unwrap();
        assert_eq!(status.code(), Some(1), "{stderr}");
        let last = stderr.lines().last().unwrap();
        assert!(
            last.contains(fault) && last.ends_with("exit status: 3: no such luck"),
            "{stderr}"
        );
        assert_eq!(mounts_left(), "");
        assert_eq!(differences(&before, &source.listing().unwrap()), NOTHING);
    }
}

#[test]
fn root_a_full_disk_in_the_middle_keeps_the_earlier_build() {
    let (source, container) = (
        SourceDisk::whole().unwrap(),
        Changed::with_an_initramfs().unwrap(),
    );
    source.build(&container.path()).run().unwrap();
    let before = source.listing().unwrap();
    let earlier = source.manifest();

    let mut second = started(&source.build(&container.path()));
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
    assert_eq!(source.manifest(), earlier);
    let image = fs::File::open(source.at("var/lib/leapp/live-upgrade.img")).unwrap();
    let (digest, _) = livemode_common::fsio::sha256(image, |_| ()).unwrap();
    assert_eq!(digest, earlier.image.sha256);
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
    let (source, container) = (
        SourceDisk::whole().unwrap(),
        Changed::with_an_initramfs().unwrap(),
    );
    let before = inside(source.root());
    Cmd::new("sync").arg("-f").arg(source.root()).run().unwrap();
    let traced = Cmd::new("strace")
        .args(["-q", "-o", "/dev/null", "-e", "trace=/^rename"])
        .args(["-e", "inject=/^rename:signal=SIGSTOP"])
        .args(source.build(&container.path()).words())
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

/// In a process group of its own, as a shell starts it.
fn started(build: &Cmd) -> Child {
    build
        .spawn(|command| {
            command.process_group(0);
            command.stdout(Stdio::null()).stderr(Stdio::piped());
        })
        .unwrap()
}

fn mounts_left() -> String {
    let text = fs::read_to_string("/proc/self/mountinfo").unwrap();
    text.lines().filter(|l| l.contains(".livemode-work")).collect()
}
