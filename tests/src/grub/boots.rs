//! What a real GRUB boots of a directory /boot, boot after boot.
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use livemode_common::cmd::Cmd;

use super::loader_disk;
use super::tiny;
use crate::cache;
use crate::container::Changed;
use crate::disk::Mounted;
use crate::testbed::{self, Suite};
use crate::vm::{Boot, Drive, Machine, Running};

/// The paths of a kernel that tells of its boot, and of its initramfs, as boot entries have them. An entry with others is
/// one whose kernel is missing.
pub const KERNEL: &str = "/vmlinuz";
/// See [`KERNEL`].
pub const INITRAMFS: &str = "/initramfs.img";

/// GRUB that says nothing for so long, of its own processor's time, waits for a key: it looks for one all the time.
const QUIET: Duration = Duration::from_secs(3);
/// Of these the last that it says then is one: its menu, its prompt (`grub>`) and that without its modules.
const WAITING: [&str; 3] = [
    "keys to select which entry is highlighted",
    "grub> ",
    "grub rescue> ",
];
/// After a message of an error it waits too, for 10 seconds, and goes on by itself.
const ANY_KEY: &str = "Press any key to continue";
/// No key of its menu.
const IDLE_KEY: &str = "x";
/// What it says when it boots an entry.
const BOOTS: &str = "Booting `";

/// What the file system with /boot lies on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// ext4 on a whole disk.
    Ext4,
    /// xfs on a whole disk.
    Xfs,
    /// btrfs on a whole disk, where GRUB does not write.
    Btrfs,
    /// ext4 on a logical volume, where GRUB does not write.
    Lvm,
}

/// What became of a boot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Booted {
    /// A kernel, with this command line.
    Kernel(String),
    /// None: GRUB waits at its menu or prompt for somebody who presses a key.
    Waits,
}

impl Booted {
    /// Which entry it was, by the word `entry=` that each has among its options.
    pub fn entry(&self) -> Option<&str> {
        match self {
            Self::Kernel(line) => line.split(' ').find_map(|word| word.strip_prefix("entry=")),
            Self::Waits => None,
        }
    }
}

/// Boots a machine so many times from a disk with this /boot: grub2/grub.cfg, grub2/grubenv, loader/entries and whatever
/// else is in it, with [`KERNEL`] and [`INITRAMFS`] put beside. Where GRUB waits for a key the machine is reset, for the next
/// boot.
///
/// # Errors
/// When the disk cannot be made, or a boot neither tells of itself nor waits.
pub fn real_boots(boot_tree: &Path, layout: Layout, boots: usize) -> Result<Vec<Booted>> {
    let dir = tempfile::Builder::new().prefix("livemode-boots-").tempdir()?;
    let tree = dir.path().join("boot");
    Cmd::new("cp").arg("-a").arg(boot_tree).arg(&tree).run()?;
    let kernel = tiny::kernel()?;
    fs::copy(&kernel, tree.join(KERNEL.trim_start_matches('/')))
        .with_context(|| format!("copying {}", kernel.display()))?;
    // The kernel only looks whether it has one.
    fs::write(tree.join(INITRAMFS.trim_start_matches('/')), "an initramfs")?;
    let disk = dir.path().join("disk.img");
    layout.make(&tree, &disk)?;
    let loader = loader_disk(layout.prefix())?;
    let disks = [Drive::new(&disk)];
    let machine = Machine {
        reboots: true,
        resets_in_place: true,
        ..Machine::new(&disks, Boot::Grub(&loader))
    };
    machine.with(|running| watch(running, boots))
}

fn watch(mut running: Running, boots: usize) -> Result<Vec<Booted>> {
    let (mut seen, mut from, mut keys) = (Vec::new(), 0, 0);
    while seen.len() < boots {
        let (mut found, mut asks) = (None, false);
        let (mut length, mut since) = (0, Duration::ZERO);
        let what = format!("boot {} of {boots}", seen.len() + 1);
        let console = running.until_both(
            |running, console| {
                let now = running.processor_time().unwrap_or_default();
                if console.len() != length {
                    (length, since) = (console.len(), now);
                }
                asks = console.matches(ANY_KEY).count() > keys;
                found = told(
                    console.get(from..).unwrap_or_default(),
                    now.saturating_sub(since) > QUIET,
                );
                found.is_some() || asks
            },
            &what,
        )?;
        if found.is_none() {
            keys += 1;
            running.type_keys(IDLE_KEY)?;
            continue;
        }
        from = console.len();
        if found == Some(Booted::Waits) {
            running.reset()?;
        }
        seen.extend(found);
    }
    Ok(seen)
}

/// What the console says of a boot so far.
fn told(console: &str, is_quiet: bool) -> Option<Booted> {
    let line = console
        .split_once(tiny::BEGIN)
        .and_then(|(_, rest)| rest.split_once(tiny::END));
    if let Some((line, _)) = line {
        return Some(Booted::Kernel(line.to_owned()));
    }
    let last = console.rsplit(BOOTS).next().unwrap_or_default();
    (is_quiet && WAITING.iter().any(|text| last.contains(text))).then_some(Booted::Waits)
}

impl Layout {
    /// The directory grub2 as GRUB names it.
    fn prefix(self) -> &'static str {
        match self {
            Self::Ext4 | Self::Xfs | Self::Btrfs => "(hd1)/grub2",
            Self::Lvm => "(lvm/vg0-boot)/grub2",
        }
    }

    /// Makes a disk with the content of `tree`.
    fn make(self, tree: &Path, disk: &Path) -> Result<()> {
        let blank = |mib: u64| -> Result<()> { Ok(fs::File::create(disk)?.set_len(mib << 20)?) };
        match self {
            Self::Ext4 => {
                blank(64)?;
                Cmd::new("mkfs.ext4")
                    .args(["-q", "-F", "-d"])
                    .arg(tree)
                    .arg(disk)
                    .run()
            }
            Self::Xfs => {
                // No less is one to mkfs.
                blank(300)?;
                Cmd::new("mkfs.xfs").arg("-q").arg(disk).run()?;
                let mounted = Mounted::new(disk)?;
                Cmd::new("cp")
                    .args(["-a", "--no-target-directory"])
                    .arg(tree)
                    .arg(mounted.path())
                    .run()
            }
            Self::Btrfs => {
                blank(256)?;
                Cmd::new("mkfs.btrfs")
                    .args(["-q", "--rootdir"])
                    .arg(tree)
                    .arg(disk)
                    .run()
            }
            Self::Lvm => {
                crate::disk::copy(&volume_group()?, disk)?;
                let volume = disk.with_extension("volume");
                fs::File::create(&volume)?.set_len(VOLUME_MIB << 20)?;
                Cmd::new("mkfs.ext4")
                    .args(["-q", "-F", "-d"])
                    .arg(tree)
                    .arg(&volume)
                    .run()?;
                Cmd::new("dd")
                    .args(["bs=1M", "conv=notrunc,sparse", "seek=1", "status=none"])
                    .arg(format!("if={}", volume.display()))
                    .arg(format!("of={}", disk.display()))
                    .run()
            }
        }
    }
}

/// MiB of the logical volume.
const VOLUME_MIB: u64 = 64;

/// A disk that is the physical volume of a group `vg0` with a volume `boot`, which begins at 1 MiB. LVM writes down where
/// that lies without the kernel's device mapper, which not every machine here has.
fn volume_group() -> Result<PathBuf> {
    let container = testbed::container(Suite::Bookworm)?;
    let key = container.display().to_string();
    let dir = cache::entry("volume-group", &[&key, VOLUME_GROUP], &[], |out| {
        fs::create_dir_all(out)?;
        let disk = out.join("disk.img");
        fs::File::create(&disk)?.set_len((VOLUME_MIB + 8) << 20)?;
        let changed = Changed::of(&container)?;
        let attach = Cmd::new("losetup").args(["--find", "--show"]).arg(&disk).read()?;
        let device = attach.trim();
        let made = changed.inside("sh").args(["-euc", VOLUME_GROUP, device]).run();
        Cmd::new("losetup").args(["--detach", device]).run()?;
        made
    })?;
    Ok(dir.join("disk.img"))
}

/// Its only argument is the device.
const VOLUME_GROUP: &str = r#"
lvm() { command lvm "$@" --driverloaded n --config "devices { filter = [ \"a|^$device$|\", \"r|.*|\" ] }"; }
device=$0
lvm pvcreate "$device"
lvm vgcreate vg0 "$device"
lvm lvcreate -an -Zn -Wn -n boot -L 64m vg0
"#;
