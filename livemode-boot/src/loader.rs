//! What boots next, changed from early boot: GRUB's environment block on its own file system.
use std::path::Path;
use std::time::Duration;

use anyhow::{bail, Context, Result};
use livemode_common::loader::grubenv::{Grubenv, NEXT_ENTRY};
use livemode_common::loader::own::{changed, Boots};
use livemode_common::mount::MountStack;
use livemode_common::records::OwnEntry;

use crate::console::{say, Level};
use crate::device::{self, is_block_device};
use crate::plan::{Block, MountPlan};

/// Between two looks for the device.
const POLL: Duration = Duration::from_millis(100);
/// /boot's device is a disk's own partition mostly, there with the first of udev's events: 20 s.
const TRIES: u32 = 200;

/// Makes `boots` true; gives whether the block was changed. Without a block on the line nothing is done.
///
/// # Errors
/// When the block cannot be reached, read or written.
pub(crate) fn set(plan: &MountPlan, own: &OwnEntry, boots: Boots) -> Result<bool> {
    with_block(
        plan,
        |path| Grubenv::read_or_mend(path, &own.former_default),
        |env| changed(env, &own.id, boots),
    )
}

/// The entry boots no more by itself, though nothing is known of the build: the variable that GRUB may not have been able
/// to clear goes.
///
/// # Errors
/// Those of [`set`].
pub(crate) fn clear_next(plan: &MountPlan) -> Result<bool> {
    with_block(plan, Grubenv::read, |env| {
        let mut env = env.clone();
        if env.get(NEXT_ENTRY).is_some() {
            env.set(NEXT_ENTRY, "");
        }
        env
    })
}

fn with_block(
    plan: &MountPlan,
    read: impl FnOnce(&Path) -> Result<Grubenv>,
    change: impl FnOnce(&Grubenv) -> Grubenv,
) -> Result<bool> {
    let Some(block) = &plan.grubenv else {
        return Ok(false);
    };
    wait(block)?;
    let mut mounts = MountStack::default();
    device::mount(&block.device, &block.mount, &mut mounts)?;
    let path = block.mount.join(&block.path);
    let result = read(&path).and_then(|env| rewrite(&path, &env, change));
    mounts.unmount()?;
    result.with_context(|| format!("changing what boots next in /{}", block.path.display()))
}

fn rewrite(path: &Path, env: &Grubenv, change: impl FnOnce(&Grubenv) -> Grubenv) -> Result<bool> {
    let new = change(env);
    if new == *env {
        return Ok(false);
    }
    new.write_in_place(path).map(|()| true)
}

fn wait(block: &Block) -> Result<()> {
    for _ in 0..TRIES {
        if is_block_device(&block.device) {
            return Ok(());
        }
        std::thread::sleep(POLL);
    }
    bail!(
        "{}, which holds GRUB's environment block, is not there",
        block.device.display()
    )
}

/// Says what went wrong, where that stops nothing: the live system looks again.
pub(crate) fn tell(result: Result<bool>) {
    if let Err(error) = result {
        say(Level::Warning, &format!("{error:#}"));
    }
}
