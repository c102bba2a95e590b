//! As root: `build`, `arm`, `disarm` and `remove` are killed (kill -9) before each of their changes of the disk, and at random
//! moments. What boots and what is there is then as before, or all done; and a second call completes.
#![allow(clippy::unwrap_used)]
use std::collections::BTreeMap;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use livemode_common::cmd::Cmd;
use livemode_common::contract::{MANIFEST, STATE_DIR};
use livemode_common::loader::grubenv::{Grubenv, NEXT_ENTRY, SAVED_ENTRY};
use livemode_tests::disk::Scratch;
use livemode_tests::random::Random;
use livemode_tests::source::{listing, prep, wait_for, GRUBENV, WORK};
use livemode_tests::subject::Subject;
use livemode_tests::testbed::Suite;

/// System calls that change a disk, or make durable what was changed. strace counts each by itself.
const CALLS: [&str; 8] = [
    "/^rename",
    "/^unlink",
    "/^rmdir",
    "/^mkdir",
    "/^link",
    "/^f(data)?sync$",
    "/^pwrite",
    "/^ftruncate",
];
/// More changes than any of the commands makes.
const MOST: u32 = 500;
/// Random moments for each command.
const MOMENTS: u64 = 12;

/// Where all that they change lies.
const TOUCHED: [&str; 3] = ["boot", "var/lib/leapp", "var/log"];

/// What boots next and after that: an entry's id begins with the machine's, and ours ends so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Boots {
    Upgrade,
    Old,
}

/// A machine at a moment: what boots, whether a build is there and whole, and all files but the records of the commands.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Seen {
    boots: Boots,
    is_built: bool,
    files: BTreeMap<PathBuf, String>,
}

fn see(root: &Path) -> Seen {
    let status = prep(root).args(["status", "--json"]).read().unwrap();
    let status: serde_json::Value = serde_json::from_str(&status).unwrap();
    let env = Grubenv::read(&root.join(GRUBENV)).unwrap();
    let is_ours = |name| env.get(name).is_some_and(|id| id.ends_with("-livemode"));
    assert!(!is_ours(SAVED_ENTRY), "the upgrade boots for ever: {status}");
    let is_built = !status["prepared"].is_null();
    if is_built {
        assert_eq!(status["problems"], serde_json::json!([]), "{status}");
    }
    let is_record = |path: &PathBuf| path.starts_with(root.join(STATE_DIR)) && !path.ends_with(MANIFEST);
    let dirs = TOUCHED.iter().map(|dir| root.join(dir));
    let files = dirs
        .filter(|dir| dir.is_dir())
        .flat_map(|dir| listing(&dir).unwrap());
    Seen {
        boots: if is_ours(NEXT_ENTRY) {
            Boots::Upgrade
        } else {
            Boots::Old
        },
        is_built,
        files: files
            .filter(|(path, _)| !is_record(path))
            .map(|(path, what)| (path.strip_prefix(root).unwrap().to_owned(), without_times(&what)))
            .collect(),
    }
}

/// A file that a second call has put back, or made again, has another time.
fn without_times(what: &str) -> String {
    what.rsplit_once(' ')
        .map_or(what, |(kept, time)| if time.contains('.') { kept } else { what })
        .to_owned()
}

/// Runs the command, and kills it at its call of these with this number; whether it ended before that.
fn killed_at(command: &Cmd, calls: &str, number: u32) -> bool {
    let strace = Cmd::new("strace")
        .args(["-q", "-o", "/dev/null", "-e", &format!("trace={calls}"), "-e"])
        .arg(format!("inject={calls}:signal=SIGKILL:when={number}"))
        .args(command.words())
        .env("LEAPP_UNSUPPORTED", "1");
    strace.output().unwrap().0.success()
}

/// Lets `kill` kill at each of these calls in turn: it says whether the command ended before that.
fn at_each_step(calls: &[&str], mut kill: impl FnMut(&str, u32) -> bool) -> u32 {
    let mut steps = 0;
    for calls in calls {
        for number in 1..MOST {
            if kill(calls, number) {
                break;
            }
            steps += 1;
        }
    }
    steps
}

/// Runs the command, and kills it after so long.
fn killed_after(command: &Cmd, time: Duration) {
    let mut child = command
        .spawn(|command| {
            command.process_group(0);
            command.stdout(Stdio::null()).stderr(Stdio::null());
        })
        .unwrap();
    std::thread::sleep(time);
    child.kill().unwrap();
    child.wait().unwrap();
}

/// Waits until what outlives a killed call has done its work.
fn settled(root: &Path) {
    let transaction = root.join(STATE_DIR).join("transaction.json");
    wait_for("the sweeper", || {
        !root.join(WORK).exists() && !transaction.exists()
    });
}

/// Machines with a build, as many as are asked for.
struct Machines {
    built: Subject,
    _scratch: Scratch,
}

impl Machines {
    fn new() -> Self {
        let scratch = Scratch::new(8).unwrap();
        Self {
            built: Subject::within(scratch.path(), Suite::Bookworm, "default", "livemode:\n").unwrap(),
            _scratch: scratch,
        }
    }

    /// Kills `command`, on a machine on which `before` has run, at each of its changes and at random moments.
    fn kill(&self, before: Option<&str>, command: &str) {
        let fresh = || {
            let machine = self.built.fork().unwrap();
            if let Some(before) = before {
                machine.prep(|prep| prep.arg(before).run()).unwrap();
            }
            machine
        };
        let machine = fresh();
        let disk = machine.mounted().unwrap();
        let old = see(disk.path());
        let start = Instant::now();
        prep(disk.path()).arg(command).run().unwrap();
        let whole = start.elapsed();
        let new = see(disk.path());
        drop(disk);
        assert_ne!(old, new, "{command} does nothing");

        let judge = |root: &Path, moment: &str| {
            settled(root);
            let seen = see(root);
            assert!(
                seen.files == old.files || seen.files == new.files,
                "{command} {moment}: {:?}",
                differ(&seen, &old)
            );
            assert!(
                seen.boots == old.boots || seen.boots == new.boots,
                "{command} {moment}: {:?}",
                seen.boots
            );
            prep(root).arg(command).run().unwrap();
            let seen = see(root);
            assert!(
                seen == new,
                "{command} {moment}, then again: {:?}",
                differ(&seen, &new)
            );
        };
        let steps = at_each_step(&CALLS, |calls, number| {
            let machine = fresh();
            let disk = machine.mounted().unwrap();
            let ended = killed_at(&prep(disk.path()).arg(command), calls, number);
            if !ended {
                judge(disk.path(), &format!("at {calls} {number}"));
            }
            ended
        });
        assert!(steps > 3, "{command} changed the disk {steps} times only");
        let mut random = Random(1);
        for _ in 0..MOMENTS {
            let machine = fresh();
            let disk = machine.mounted().unwrap();
            let time = Duration::from_micros(random.below(u64::try_from(whole.as_micros()).unwrap()));
            killed_after(&prep(disk.path()).arg(command), time);
            judge(disk.path(), &format!("after {time:?}"));
        }
    }
}

fn differ(seen: &Seen, other: &Seen) -> Vec<String> {
    livemode_tests::source::differences(&other.files, &seen.files)
}

#[test]
fn root_arm_is_killed_at_each_step() {
    Machines::new().kill(Some("disarm"), "arm");
}

#[test]
fn root_disarm_is_killed_at_each_step() {
    Machines::new().kill(None, "disarm");
}

#[test]
fn root_remove_is_killed_at_each_step() {
    Machines::new().kill(None, "remove");
}

#[cfg(feature = "all")]
#[path = "kills/build.rs"]
mod build;
