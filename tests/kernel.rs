//! On the kernel of this machine, as root: real squashfs, loop devices, overlays.
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use livemode_common::cmd::Cmd;
use livemode_tests::disk::{self, Mounted};
use livemode_tests::testbed::{self, Suite};

/// Every path below `root`, sorted.
fn paths(root: &Path) -> Vec<PathBuf> {
    let mut all = Vec::new();
    let mut todo = vec![root.to_owned()];
    while let Some(dir) = todo.pop() {
        for entry in std::fs::read_dir(dir).unwrap() {
            let entry = entry.unwrap();
            if entry.file_type().unwrap().is_dir() {
                todo.push(entry.path());
            }
            all.push(entry.path());
        }
    }
    all.sort();
    all
}

fn source_disk(dir: &Path) -> Mounted {
    let image = dir.join("disk.img");
    disk::make(&image, &testbed::source().unwrap(), testbed::DISK_MIB).unwrap();
    let mounted = Mounted::new(&image).unwrap();
    std::fs::create_dir_all(mounted.at("var/lib/leapp")).unwrap();
    mounted
}

fn mounts() -> String {
    let text = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    text.lines().filter(|l| l.contains(".livemode-work")).collect()
}

#[test]
fn root_kill_nine_at_any_moment_leaves_nothing() {
    let container = testbed::container(Suite::Bookworm).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let source = source_disk(dir.path());
    let before = paths(source.path());
    let work = source.at("var/lib/leapp/.livemode-work");
    for seconds in [0.3, 3.0, 8.0, 10.0] {
        let mut build = testbed::build(source.path(), &container)
            .arg("--json")
            .spawn(|c| {
                c.stdout(Stdio::null());
            })
            .unwrap();
        // From the moment at which there is something to leave.
        while !work.exists() && build.try_wait().unwrap().is_none() {
            std::thread::sleep(Duration::from_millis(10));
        }
        std::thread::sleep(Duration::from_secs_f32(seconds));
        build.kill().unwrap();
        let killed = !build.wait().unwrap().success();
        // The sweeper ends when it has the directory to itself: bounded by its own tries.
        for _ in 0..300 {
            if !work.exists() && !source.at("var/lib/leapp/livemode").exists() {
                break;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        assert_eq!(mounts(), "");
        if killed {
            assert_eq!(paths(source.path()), before, "killed {seconds} s into its work");
        } else {
            // A fast machine was done by then; it must be so that remove takes it all back.
            let prep = livemode_tests::binaries::binary("livemode-prep");
            Cmd::new(prep)
                .arg("--root")
                .arg(source.path())
                .arg("remove")
                .run()
                .unwrap();
        }
    }
}

#[test]
fn root_a_second_build_works_and_remove_takes_all_back() {
    let container = testbed::container(Suite::Bookworm).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let source = source_disk(dir.path());
    let (before, container_before) = (paths(source.path()), paths(&container));
    for _ in 0..2 {
        testbed::build(source.path(), &container)
            .arg("--json")
            .run()
            .unwrap();
    }
    assert_eq!(
        paths(&container),
        container_before,
        "the container stays as it was"
    );
    let prep = livemode_tests::binaries::binary("livemode-prep");
    for _ in 0..2 {
        Cmd::new(&prep)
            .arg("--root")
            .arg(source.path())
            .arg("remove")
            .run()
            .unwrap();
    }
    assert_eq!(paths(source.path()), before);
}
