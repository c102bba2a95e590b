//! What boots next, changed where the loader keeps it, and judged again afterwards.
use anyhow::{bail, Context, Result};
use livemode_common::loader::menu::Menu;
use livemode_common::loader::next_boots::NextBoots;
use livemode_common::loader::own::{Boots, Choice};
use livemode_common::loader::store::Store;
use livemode_common::loader::{efivars, files};
use livemode_common::records::OwnEntry;
use livemode_common::sysroot::SysRoot;

use crate::facts::loader::Loader;
use crate::facts::source::MountTable;

/// Lets the upgrade's entry boot once. Whether it may was judged before; here it is asked what the loader will do with what is on
/// the disk now, before and after.
///
/// # Errors
/// When something else would boot next, or after that something else than the old system; the entry is not armed then.
pub(crate) fn arm(root: &SysRoot, own: &OwnEntry, loop_risk: bool) -> Result<NextBoots> {
    let menu = menu(root, own)?;
    let boots = menu.with(Choice::Once, Some(&own.id)).next_boots();
    expect(own, menu.name(), boots.map_err(anyhow::Error::msg)?, loop_risk)?;
    store(root, own).set(&own.id, Boots::UpgradeOnce)?;
    let armed = next_boots(root, own).and_then(|boots| expect(own, menu.name(), boots, loop_risk));
    if armed.is_err() {
        disarm(root, own)?;
    }
    armed
}

fn expect(own: &OwnEntry, loader: &str, boots: NextBoots, loop_risk: bool) -> Result<NextBoots> {
    if boots.next != own.id {
        bail!(
            "the boot entry was made, but {loader} would boot {} next",
            boots.next
        );
    }
    if boots.after != own.former_default && !loop_risk {
        bail!(
            "the boot entry was made, but after it {loader} would boot {} in place of {}",
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
/// When what the loader goes by is there and cannot be read or written.
pub(crate) fn disarm(root: &SysRoot, own: &OwnEntry) -> Result<()> {
    let store = store(root, own);
    if store.is_gone() {
        // The loader was replaced: nothing of it can boot our entry.
        return Ok(());
    }
    let is_default = store.chosen(Choice::Default)?.as_deref() == Some(&own.id);
    let Some(menu) = menu(root, own).ok().filter(|_| is_default) else {
        return store.set(&own.id, own.old()).map(|_| ());
    };
    let back = menu
        .with(Choice::Once, None)
        .with(Choice::Default, own.former_choice());
    if back
        .next_boots()
        .is_ok_and(|boots| boots.next == own.former_default)
    {
        return store.set(&own.id, own.old()).map(|_| ());
    }
    let old = &own.former_default;
    let newest = menu.newest_sound(&own.id);
    let newest = newest
        .with_context(|| format!("{old}, the default before, does not boot, nor does another entry"))?;
    eprintln!(
        "livemode-prep: {old}, the default before the build, is gone or does not boot; {} takes its place",
        newest.id
    );
    let newest = menu.called(&newest.id);
    store.set(&own.id, Boots::Old(Some(&newest))).map(|_| ())
}

/// Makes the old system the default again where the default is an entry of GRUB's that boots this kernel: the one that leapp has
/// made.
///
/// # Errors
/// When the block cannot be read or written.
pub(crate) fn take_default_from(root: &SysRoot, own: &OwnEntry, kernel: &str) -> Result<()> {
    let name = |path: &str| path.rsplit('/').next().map(str::to_owned);
    let store = store(root, own);
    let default = store.chosen(Choice::Default)?;
    let entries = files::entries(root);
    let entry = entries.iter().find(|entry| Some(&entry.id) == default.as_ref());
    match entry.and_then(|entry| entry.linux.as_deref()) {
        Some(linux) if name(linux) == name(kernel) => {
            store.set(&own.id, Boots::New(&own.former_default)).map(|_| ())
        }
        _ => Ok(()),
    }
}

/// Whether the entry is the one that boots once.
pub(crate) fn is_armed(root: &SysRoot, own: &OwnEntry) -> bool {
    let once = store(root, own).chosen(Choice::Once);
    once.is_ok_and(|once| once.as_deref() == Some(&own.id))
}

/// Whether the loader is told of the entry at all.
///
/// # Errors
/// When what the loader goes by cannot be read.
pub(crate) fn is_chosen(root: &SysRoot, own: &OwnEntry) -> Result<bool> {
    let store = store(root, own);
    let is_ours = |choice| -> Result<bool> { Ok(store.chosen(choice)?.as_deref() == Some(&own.id)) };
    Ok(is_ours(Choice::Once)? || is_ours(Choice::Default)?)
}

/// Arms an entry that was armed before, with the files of that time in their places.
///
/// # Errors
/// When what the loader goes by cannot be read or written.
pub(crate) fn arm_again(root: &SysRoot, own: &OwnEntry) -> Result<()> {
    store(root, own).set(&own.id, Boots::UpgradeOnce).map(|_| ())
}

/// What boots next by the loader's files, and what after that.
///
/// # Errors
/// Why that cannot be said.
pub(crate) fn next_boots(root: &SysRoot, own: &OwnEntry) -> Result<NextBoots> {
    menu(root, own)?.next_boots().map_err(anyhow::Error::msg)
}

fn menu(root: &SysRoot, own: &OwnEntry) -> Result<Menu> {
    let loader = Loader::look(root, &MountTable::read(root)?)?;
    loader.menu(&own.keeper).map_err(anyhow::Error::msg)
}

fn store(root: &SysRoot, own: &OwnEntry) -> Store {
    own.keeper.store(root, &root.at(efivars::DIR))
}
