//! An upgrade that is all or nothing, in the live system: what it writes goes to layers; once it is verified they are merged.
mod layers;
mod verify;
mod watch;

pub(crate) use layers::Layers;
pub(crate) use verify::verify;
pub(crate) use watch::{leave_if_lossy, Watch};

use anyhow::{Context, Result};
use livemode_common::fsio;
use livemode_common::loader::bls::Entry;
use livemode_common::loader::files;
use livemode_common::records::{Change, Phase, Records};
use livemode_common::sysroot::SysRoot;

use crate::loader::Loader;
use crate::output::Output;

/// For the time of the upgrade: dracut prefers the names of the device mapper, and a new initramfs would wait for ours.
const BY_UUID: &str = "etc/dracut.conf.d/99-livemode.conf";

/// Has dracut name devices by their UUIDs.
pub(crate) fn name_by_uuid(source: &SysRoot) -> Result<()> {
    let path = source.at(BY_UUID);
    if path.parent().is_some_and(std::path::Path::is_dir) {
        fsio::atomic_write(&path, b"persistent_policy=\"by-uuid\"\n", 0o644)?;
    }
    Ok(())
}

fn name_as_before(source: &SysRoot) -> Result<()> {
    let path = source.at(BY_UUID);
    match std::fs::remove_file(&path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
            Err(e).with_context(|| format!("removing {}", path.display()))
        }
        _ => Ok(()),
    }
}

/// The point of no return: what was verified is moved to the disks. Cut off anywhere, the next boot of our entry goes on with it.
pub(crate) fn commit(
    source: &SysRoot,
    attempt: u32,
    layers: &Layers,
    loader: &Loader,
    target: &Entry,
    output: &mut Output,
) -> Result<()> {
    name_as_before(source)?;
    // A menu must not offer a disk that is half merged.
    loader.take_over()?;
    let boot = source.at("boot");
    files::hide_entries(&boot, loader.own_id()).context("taking the other entries out of the menu")?;
    nix::unistd::sync();
    leave_if_lossy(layers, attempt);
    let committing = Change {
        target: Some(target.id.clone()),
        ..Change::new(
            Phase::Committing,
            attempt,
            "the upgraded system is whole; it is being moved to its disks",
        )
    };
    Records::of(source)
        .record(committing)
        .context("recording that the upgrade is whole")?;
    output.line(&format!(
        "the upgraded system is whole; moving {} MiB to its disks: from here there is no way back",
        layers.kept_bytes() >> 20
    ));
    merge(source, layers, output)
}

/// Moves what is kept to the disks, and offers the entries again.
pub(crate) fn merge(source: &SysRoot, layers: &Layers, output: &mut Output) -> Result<()> {
    layers.merge(&mut |text| output.line(text))?;
    files::show_entries(&source.at("boot")).context("putting the entries back into the menu")
}
