//! What boots next, changed on the disk: GRUB's environment block, written in place and judged again afterwards.
use anyhow::{bail, Context, Result};
use livemode_common::loader::files;
use livemode_common::loader::grubenv::{Grubenv, NEXT_ENTRY, SAVED_ENTRY};
use livemode_common::loader::next_boots::{Grub, NextBoots};
use livemode_common::loader::own::{changed, Boots};
use livemode_common::records::OwnEntry;
use livemode_common::sysroot::SysRoot;

use crate::facts::loader::Loader;
use crate::facts::source::MountTable;

/// Lets the upgrade's entry boot once. Whether it may was judged before; here it is asked what GRUB will do with what is on
/// the disk now, before and after.
///
/// # Errors
/// When something else would boot next, or after that something else than the old system; the entry is not armed then.
pub(crate) fn arm(root: &SysRoot, own: &OwnEntry, loop_risk: bool) -> Result<NextBoots> {
    let boots = judge(root)?.with(&[(NEXT_ENTRY, &own.id)]).next_boots();
    expect(own, boots.map_err(anyhow::Error::msg)?, loop_risk)?;
    rewrite(root, own, Boots::UpgradeOnce)?;
    let armed = next_boots(root).and_then(|boots| expect(own, boots, loop_risk));
    if armed.is_err() {
        disarm(root, own)?;
    }
    armed
}

fn expect(own: &OwnEntry, boots: NextBoots, loop_risk: bool) -> Result<NextBoots> {
    if boots.next != own.id {
        bail!("the boot entry was made, but GRUB would boot {} next", boots.next);
    }
    if boots.after != own.former_default && !loop_risk {
        bail!(
            "the boot entry was made, but after it GRUB would boot {} in place of {}",
            boots.after,
            own.former_default
        );
    }
    Ok(boots)
}

/// Gives what boots back to the old system, where it is still the upgrade's. A default that is gone in the meantime is
/// replaced by the newest entry that boots, and that is said.
///
/// # Errors
/// When the block is there and cannot be read or written.
pub(crate) fn disarm(root: &SysRoot, own: &OwnEntry) -> Result<()> {
    if !root.at(&own.grubenv).exists() {
        // The loader was replaced: nothing of it can boot our entry.
        return Ok(());
    }
    let old = &own.former_default;
    let is_default = read(root, own)?.get(SAVED_ENTRY).as_deref() == Some(&own.id);
    let Some(grub) = judge(root).ok().filter(|_| is_default) else {
        return rewrite(root, own, Boots::Old(old));
    };
    let back = grub.with(&[(NEXT_ENTRY, ""), (SAVED_ENTRY, old)]).next_boots();
    if back.is_ok_and(|boots| boots.next == *old) {
        return rewrite(root, own, Boots::Old(old));
    }
    let newest = grub.newest_sound(&own.id);
    let newest = newest
        .with_context(|| format!("{old}, the default before, does not boot, nor does another entry"))?;
    eprintln!(
        "livemode-prep: {old}, the default before the build, is gone or does not boot; {} takes its place",
        newest.id
    );
    rewrite(root, own, Boots::Old(&newest.id))
}

/// Makes the old system the default again where the default is an entry that boots this kernel: the one that leapp has made.
///
/// # Errors
/// When the block cannot be read or written.
pub(crate) fn take_default_from(root: &SysRoot, own: &OwnEntry, kernel: &str) -> Result<()> {
    let name = |path: &str| path.rsplit('/').next().map(str::to_owned);
    let default = read(root, own)?.get(SAVED_ENTRY);
    let entries = files::entries(root);
    let entry = entries.iter().find(|entry| Some(&entry.id) == default.as_ref());
    match entry.and_then(|entry| entry.linux.as_deref()) {
        Some(linux) if name(linux) == name(kernel) => rewrite(root, own, Boots::New(&own.former_default)),
        _ => Ok(()),
    }
}

fn read(root: &SysRoot, own: &OwnEntry) -> Result<Grubenv> {
    Grubenv::read(&root.at(&own.grubenv))
}

fn rewrite(root: &SysRoot, own: &OwnEntry, boots: Boots) -> Result<()> {
    let env = read(root, own)?;
    let new = changed(&env, &own.id, boots);
    if new == env {
        return Ok(());
    }
    new.write_in_place(&root.at(&own.grubenv))
}

/// Whether the entry is the one that boots once.
pub(crate) fn is_armed(root: &SysRoot, own: &OwnEntry) -> bool {
    read(root, own).is_ok_and(|env| env.get(NEXT_ENTRY).as_deref() == Some(&own.id))
}

/// Arms an entry that was armed before, with the files of that time in their places.
///
/// # Errors
/// When the block cannot be read or written.
pub(crate) fn arm_again(root: &SysRoot, own: &OwnEntry) -> Result<()> {
    rewrite(root, own, Boots::UpgradeOnce)
}

/// What boots next by the loader's files, and what after that.
///
/// # Errors
/// Why that cannot be said.
pub(crate) fn next_boots(root: &SysRoot) -> Result<NextBoots> {
    judge(root)?.next_boots().map_err(anyhow::Error::msg)
}

fn judge(root: &SysRoot) -> Result<Grub> {
    let loader = Loader::look(root, &MountTable::read(root)?)?;
    let files = loader.grub.context("there is no configuration of GRUB")?;
    Ok(files.grub)
}
