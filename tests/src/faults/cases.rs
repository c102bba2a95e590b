//! What happens to a machine, but for power cuts: each by its name.
use std::fs::{self, OpenOptions};
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::PathBuf;

use anyhow::{Context, Result};
use livemode_common::cmd::Cmd;
use livemode_common::contract::{JOURNAL_LOG, LEAPP_LOG, SOURCE_MOUNT, STATE_DIR, STORE_FILE};
use livemode_common::store::protect;

use super::row::Outcome;
use super::Layout;
use crate::disk::Mounted;
use crate::source::{ENTRY, GRUBENV};
use crate::subject::Subject;

const IMAGE: &str = "var/lib/leapp/live-upgrade.img";
const LEAPP: &str = "usr/bin/leapp";
const WHOLE_LEAPP: &str = "usr/bin/leapp-whole";
const FILLER: &str = "filler";
/// leapp waits for this file of the source system.
const GO: &str = "go";
/// The second call of leapp runs the same file by its own name, with Python.
const LEAPP_WITH: &str = r#"#!/usr/bin/python3 -B
import os, subprocess, sys
if os.path.basename(sys.argv[0]) == "leapp":
    subprocess.call(["/bin/sh", "-c", r'''SCRIPT'''])
exec(open("/usr/bin/leapp-whole").read())
"#;
/// In the store's file, behind the marker: the header, twice, and the two slots of the recorder (livemode-common/src/store.rs).
const HEADER_AT: u64 = 4 << 10;
const RECORDER_AT: u64 = (4 + 256) << 10;
/// All that a case changes of the system itself.
const TOUCHED: [&str; 10] = [
    GO,
    IMAGE,
    ENTRY,
    LEAPP,
    WHOLE_LEAPP,
    FILLER,
    "etc/leapp-standin-fails",
    "etc/livemode",
    "etc/livemode/verify.d",
    "etc/livemode/verify.d/10-no",
];

/// Fills a file system to its last block, by a file there.
macro_rules! fill {
    ($file:literal) => {
        concat!(
            "dd if=/dev/zero of=",
            $file,
            " bs=1M; dd if=/dev/zero of=",
            $file,
            " bs=1k oflag=append conv=notrunc"
        )
    };
}

/// What happens.
pub struct Case {
    /// Its name in a row.
    pub name: &'static str,
    /// How.
    what: What,
    /// More words on the boot line.
    words: &'static str,
    /// Where the machine may rest, of an upgrade in place; nowhere where it has no such case.
    in_place: &'static [Outcome],
    /// The same of an upgrade in layers.
    in_layers: &'static [Outcome],
    /// What its console says.
    pub says: &'static [&'static str],
    /// Paths that are not as they were, because of the case itself.
    pub touches: &'static [&'static str],
}

enum What {
    /// What the words do.
    Words,
    /// Something of the disk, before the machine starts.
    Disk(fn(&Mounted) -> Result<()>),
    /// What a shell does in leapp's place, before leapp itself, in its container.
    Leapp(&'static str),
    /// What root does in the live system, who is gone before it happens, while leapp waits for [`GO`].
    Console(&'static str),
}

const OLD: &[Outcome] = &[Outcome::Old];
/// GRUB boots the first entry of its menu: RHEL's has that of the old system there, 2.14 the upgrade's.
const FIRST: &[Outcome] = &[Outcome::Old, Outcome::New];
const HOLDING: &[Outcome] = &[Outcome::Holding];
const NEW: &[Outcome] = &[Outcome::New];
const NOT_HERE: &[Outcome] = &[];

/// One that ends alike in place and in layers.
const fn case(
    name: &'static str,
    what: What,
    outcomes: &'static [Outcome],
    says: &'static [&'static str],
) -> Case {
    Case {
        name,
        what,
        words: "",
        in_place: outcomes,
        in_layers: outcomes,
        says,
        touches: &TOUCHED,
    }
}

/// One that only an upgrade in layers has.
const fn in_layers(
    name: &'static str,
    what: What,
    outcomes: &'static [Outcome],
    says: &'static [&'static str],
) -> Case {
    Case {
        in_place: NOT_HERE,
        ..case(name, what, outcomes, says)
    }
}

/// All of them.
pub const CASES: [Case; 28] = [
    case("image flipped", What::Disk(flip), OLD, &["has the wrong digest"]),
    case("image short", What::Disk(shorten), OLD, &["is too short"]),
    case("image swapped", What::Disk(swap), OLD, &["has the wrong digest"]),
    case("image missing", What::Disk(remove), OLD, &["is missing"]),
    case("grubenv zeros", What::Disk(|disk| tear(disk, &[0; 1024])), FIRST, &[]),
    case("grubenv short", What::Disk(|disk| tear(disk, b"# GRUB Environment Bl")), FIRST, &[]),
    case("disk full before the boot", What::Disk(fill), OLD, &["No space left on device"]),
    Case {
        in_place: &[Outcome::Old, Outcome::Holding],
        ..case(
            "disk full while leapp runs",
            What::Leapp(fill!("/filler")),
            OLD,
            &["THE UPGRADE FAILED"],
        )
    },
    in_layers(
        "/boot full while leapp runs",
        What::Leapp(fill!("/boot/filler")),
        OLD,
        &["THE UPGRADE FAILED"],
    ),
    case("log full", What::Disk(full_log), &[Outcome::Old, Outcome::New], &["is not complete"]),
    case("overlay full", What::Console("dd if=/dev/zero of=/filler bs=1M"), NEW, &[]),
    Case {
        in_place: HOLDING,
        ..case(
            "source read-only",
            What::Console("echo u >/proc/sysrq-trigger"),
            OLD,
            &["THE UPGRADE FAILED"],
        )
    },
    case(
        "leapp fails",
        What::Disk(|disk| Ok(fs::write(disk.at("etc/leapp-standin-fails"), "")?)),
        OLD,
        &["THE UPGRADE FAILED: step 1 of 2: leapp ended with exit status: 7"],
    ),
    case(
        "leapp killed",
        What::Leapp("kill -9 $PPID"),
        OLD,
        &["THE UPGRADE FAILED: step 1 of 2: leapp ended with "],
    ),
    Case {
        words: "livemode.silence=10",
        ..case("leapp hangs", What::Leapp("exec sleep infinity"), OLD, &["THE UPGRADE FAILED: step 1 of 2: leapp has said nothing for 10 s"])
    },
    case(
        "service killed",
        What::Console("systemctl kill --signal=KILL livemode-upgrade"),
        OLD,
        &["THE UPGRADE FAILED: attempt 1 did not complete: step 1 of 2; the service that ran it was killed"],
    ),
    case(
        "service out of memory",
        What::Console(
            "cd /sys/fs/cgroup/system.slice/livemode-upgrade.service; echo 1 >memory.oom.group; echo 1M >memory.max",
        ),
        OLD,
        &["THE UPGRADE FAILED: attempt 1 did not complete: step 1 of 2; the service that ran it was killed"],
    ),
    Case {
        words: "panic=1",
        ..case("panic while leapp runs", What::Console("echo c >/proc/sysrq-trigger"), OLD, &["the machine went down"])
    },
    Case {
        // No init in the initramfs, and no other root.
        words: "rdinit=/none panic=1",
        ..case("panic before early boot", What::Words, OLD, &["Kernel panic"])
    },
    in_layers(
        "verification fails",
        What::Disk(|disk| {
            fs::create_dir_all(disk.at("etc/livemode/verify.d"))?;
            let check = disk.at("etc/livemode/verify.d/10-no");
            fs::write(&check, "#!/bin/sh\nexit 3\n")?;
            Ok(fs::set_permissions(check, fs::Permissions::from_mode(0o755))?)
        }),
        OLD,
        &["THE UPGRADE FAILED: verification failed: /etc/livemode/verify.d/10-no"],
    ),
    in_layers(
        "store full",
        What::Leapp("dd if=/dev/zero of=/filler bs=1M"),
        OLD,
        // It is ended in time, or what is still on its way to the disk is too much, and the machine is reset.
        &["the store is full: "],
    ),
    in_layers(
        "store overrun",
        // Nothing that the upgrade has started, and so nothing that it can end.
        What::Console("dd if=/dev/zero of=/run/upgrade/filler bs=1M; sync"),
        OLD,
        &["the store is full: there was no room for what was written to /; ", "resetting this machine"],
    ),
    in_layers("store gone", What::Disk(|disk| take_store(disk).map(|_| ())), OLD, &["the store is no longer what was built"]),
    in_layers("store moved", What::Disk(move_store), OLD, &["the store is no longer what was built", "has been moved on its disk"]),
    in_layers("store's header torn once", What::Disk(|disk| tear_store(disk, HEADER_AT, 1)), NEW, &[]),
    in_layers("store's header torn twice", What::Disk(|disk| tear_store(disk, HEADER_AT, 33)), OLD, &["reading the store's header"]),
    in_layers("store's recorder torn", What::Disk(|disk| tear_store(disk, RECORDER_AT, 32)), OLD, &["nothing says where the upgrade stands"]),
    in_layers("store's marker gone", What::Disk(|disk| tear_store(disk, 0, 1)), OLD, &["the store has been moved since the build"]),
];

impl std::fmt::Debug for Case {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

impl Case {
    /// The one of this name.
    ///
    /// # Panics
    /// When there is none.
    pub fn named(name: &str) -> &'static Self {
        CASES
            .iter()
            .find(|case| case.name == name)
            .expect("there is such a case")
    }

    /// Where the machine may rest; `None` where this layout has no such case.
    pub fn outcomes(&self, layout: Layout) -> Option<&'static [Outcome]> {
        let outcomes = match layout {
            Layout::InPlace => self.in_place,
            Layout::InLayers => self.in_layers,
        };
        Some(outcomes).filter(|outcomes| !outcomes.is_empty())
    }

    /// Lets it happen to this machine, which has not started yet.
    ///
    /// # Errors
    /// When the disk cannot be changed.
    pub fn arrange(&self, subject: &mut Subject) -> Result<()> {
        if !self.words.is_empty() {
            subject.arguments += " ";
            subject.arguments += self.words;
        }
        match self.what {
            What::Words => Ok(()),
            What::Disk(change) => change(&subject.mounted()?),
            What::Leapp(script) => before_leapp(&subject.mounted()?, script),
            What::Console(_) => before_leapp(
                &subject.mounted()?,
                &format!("until [ -e /{GO} ]; do sleep 1; done"),
            ),
        }
    }

    /// What somebody types on the console, who leaves at once; the machine goes on without.
    pub fn typed(&self) -> Option<String> {
        match self.what {
            What::Console(command) => Some(format!(
                "systemd-run --quiet sh -c '{command}; touch {SOURCE_MOUNT}/{GO}'; exit"
            )),
            _ => None,
        }
    }
}

fn before_leapp(disk: &Mounted, script: &str) -> Result<()> {
    let leapp = disk.at(LEAPP);
    fs::rename(&leapp, disk.at(WHOLE_LEAPP))?;
    fs::write(&leapp, LEAPP_WITH.replace("SCRIPT", script))?;
    Ok(fs::set_permissions(&leapp, fs::Permissions::from_mode(0o755))?)
}

fn flip(disk: &Mounted) -> Result<()> {
    let file = OpenOptions::new().read(true).write(true).open(disk.at(IMAGE))?;
    let mut byte = [0];
    file.read_exact_at(&mut byte, 1 << 20)?;
    Ok(file.write_all_at(&[byte[0] ^ 1], 1 << 20)?)
}

fn shorten(disk: &Mounted) -> Result<()> {
    Ok(OpenOptions::new()
        .write(true)
        .open(disk.at(IMAGE))?
        .set_len(1 << 20)?)
}

/// A whole image, of the same size, but another one.
fn swap(disk: &Mounted) -> Result<()> {
    let image = disk.at(IMAGE);
    let size = fs::metadata(&image)?.len();
    fs::remove_file(&image)?;
    let make = Cmd::new("mksquashfs").arg(disk.at("etc")).arg(&image);
    make.args(["-quiet", "-no-progress"]).run()?;
    Ok(OpenOptions::new().write(true).open(&image)?.set_len(size)?)
}

fn remove(disk: &Mounted) -> Result<()> {
    Ok(fs::remove_file(disk.at(IMAGE))?)
}

fn tear(disk: &Mounted, block: &[u8]) -> Result<()> {
    fs::write(disk.at(GRUBENV), block).context("tearing GRUB's environment block")
}

/// Logs that take nothing.
fn full_log(disk: &Mounted) -> Result<()> {
    for log in [LEAPP_LOG, JOURNAL_LOG] {
        let path = disk.at(log);
        fs::create_dir_all(path.parent().context("a path in a directory")?)?;
        let node = Cmd::new("mknod").arg(path);
        // That of /dev/full, full(4).
        node.args(["c", "1", "7"]).run()?;
    }
    Ok(())
}

fn store(disk: &Mounted) -> PathBuf {
    disk.at(STATE_DIR).join(STORE_FILE)
}

/// What the store holds, whose blocks are others' from now on.
fn take_store(disk: &Mounted) -> Result<Vec<u8>> {
    protect(&store(disk), false)?;
    let content = fs::read(store(disk))?;
    fs::remove_file(store(disk))?;
    Ok(content)
}

/// As a restore from a backup leaves it, while the old blocks still hold what they held.
fn move_store(disk: &Mounted) -> Result<()> {
    protect(&store(disk), false)?;
    let former = store(disk).with_extension("former");
    fs::rename(store(disk), &former)?;
    fs::copy(&former, store(disk))?;
    fs::remove_file(former)?;
    protect(&store(disk), true)
}

/// So many blocks of the store's file are torn.
fn tear_store(disk: &Mounted, at: u64, blocks: usize) -> Result<()> {
    protect(&store(disk), false)?;
    let file = OpenOptions::new().write(true).open(store(disk))?;
    file.write_all_at(&vec![0xa5; blocks << 12], at)?;
    file.sync_all()?;
    protect(&store(disk), true)
}

/// Takes all that is free, root's reserve too.
fn fill(disk: &Mounted) -> Result<()> {
    for size in ["1M", "1k"] {
        let filler = format!("of={}", disk.at(FILLER).display());
        let fill = Cmd::new("dd").arg("if=/dev/zero").arg(filler);
        // It ends when nothing is left, with an error.
        fill.args([&format!("bs={size}"), "oflag=append", "conv=notrunc"])
            .output()?;
    }
    Ok(())
}
