//! What boots next, changed from early boot: GRUB's environment block on its own file system, or the firmware's variables.
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{bail, Context, Result};
use livemode_common::loader::efivars::{self, Variable};
use livemode_common::loader::grubenv::{Grubenv, NEXT_ENTRY};
use livemode_common::loader::own::Boots;
use livemode_common::loader::store::{Keeper, Store};
use livemode_common::mount::{MountSpec, MountStack};
use livemode_common::records::OwnEntry;

use crate::console::{say, Level};
use crate::device::{self, is_block_device};
use crate::plan::{Block, MountPlan};

/// Between two looks for the device.
const POLL: Duration = Duration::from_millis(100);
/// /boot's device is a disk's own partition mostly, there with the first of udev's events: 20 s.
const TRIES: u32 = 200;

/// Makes `boots` true; gives whether anything had to be changed. Without a block of GRUB's on the line nothing is done to one.
///
/// # Errors
/// When what the loader goes by cannot be reached, read or written.
pub(crate) fn set(plan: &MountPlan, own: &OwnEntry, boots: Boots) -> Result<bool> {
    match &own.keeper {
        Keeper::Grub { .. } => with_block(plan, |block| {
            Grubenv::read_or_mend(&block, &own.former_default)?;
            Store::Grubenv(block).set(&own.id, boots)
        }),
        Keeper::SystemdBoot { .. } => with_variables(|dir| Store::Variables(dir).set(&own.id, boots))
            .context("changing what boots next in the firmware's variables"),
    }
}

/// The entry boots no more by itself, though nothing is known of the build: the variable that GRUB may not have been able
/// to clear goes. systemd-boot clears its own before it boots anything.
///
/// # Errors
/// Those of [`set`].
pub(crate) fn clear_next(plan: &MountPlan) -> Result<bool> {
    with_block(plan, |block| {
        let mut env = Grubenv::read(&block)?;
        if env.get(NEXT_ENTRY).is_none() {
            return Ok(false);
        }
        env.set(NEXT_ENTRY, "");
        env.write_in_place(&block).map(|()| true)
    })
}

fn with_block(plan: &MountPlan, change: impl FnOnce(PathBuf) -> Result<bool> + Send) -> Result<bool> {
    let Some(block) = &plan.grubenv else {
        return Ok(false);
    };
    wait(block)?;
    device::while_mounted(&block.device, &block.mount, || {
        change(block.mount.join(&block.path))
            .with_context(|| format!("changing what boots next in /{}", block.path.display()))
    })
}

/// systemd mounts them in the initramfs already, where the kernel has what that takes by then.
fn with_variables<T>(act: impl FnOnce(PathBuf) -> Result<T>) -> Result<T> {
    let dir = Path::new("/").join(efivars::DIR);
    let mut mounts = MountStack::default();
    let is_empty = std::fs::read_dir(&dir).is_ok_and(|mut names| names.next().is_none());
    if is_empty {
        mounts.mount(&MountSpec::new("efivarfs", &dir, "efivarfs", ""))?;
    }
    let result = act(dir);
    let unmounted = mounts.unmount();
    let result = result?;
    unmounted?;
    Ok(result)
}

/// What the firmware boots; nothing on a machine without UEFI.
///
/// # Errors
/// When its variables cannot be read.
pub(crate) fn boot_options() -> Result<Vec<Variable>> {
    with_variables(|dir| efivars::boot_options(&dir)).context("reading what the firmware boots")
}

/// Makes that what it was.
///
/// # Errors
/// When the firmware does not take it.
pub(crate) fn restore_boot_options(former: &[Variable]) -> Result<bool> {
    if former.is_empty() {
        return Ok(false);
    }
    with_variables(|dir| efivars::restore_boot_options(&dir, former))
        .context("putting back what the firmware boots")
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
