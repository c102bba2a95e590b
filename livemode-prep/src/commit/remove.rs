//! Takes back everything that `build` made.
use std::fs;
use std::path::{Component, Path, PathBuf};

use anyhow::{Context, Result};
use livemode_common::contract::{GRUBENV_FILE, MANIFEST, RESULT, STATE, STATE_DIR};
use livemode_common::failure::{precondition, Failure};
use livemode_common::fsio::atomic_write;
use livemode_common::records::{self, to_json, Manifest, Phase, Records};
use livemode_common::sysroot::SysRoot;

use super::boot_entry::is_chosen;
use super::given_up::keep_log;
use super::record::Change;
use super::transaction::{remove_empty, LoaderChange, Transaction};
use crate::args::EntryKeeper;
use crate::facts::source::{read_fstab, MountTable};
use crate::plan::mounts::unmounted;
use crate::plan::paths::staged;

/// A second call is no error. What is not ours in the directory of our records stays, and is told.
pub(crate) fn run(root: &SysRoot) -> Result<()> {
    let state_dir = root.at(STATE_DIR);
    if !state_dir.is_dir() {
        return Ok(());
    }
    let records = Records::of(root);
    let state = records.state().ok().flatten();
    if let Some(why) = state.and_then(|state| state.moves_to_the_disks()) {
        return Err(precondition(why));
    }
    let earlier = records.manifest()?;
    let image_dir = earlier
        .as_ref()
        .and_then(|manifest| root.at(&manifest.image.path).parent().map(Path::to_owned))
        .filter(|dir| dir.is_dir());
    let transaction = Transaction::begin(
        root,
        &image_dir.iter().map(PathBuf::as_path).collect::<Vec<_>>(),
        None,
        &[&root.at(RESULT)],
    )?;

    // What was cut off is settled by now: what is there is what the manifest says now.
    let manifest = records.manifest()?;
    let mut changes: Vec<Change> = Vec::new();
    let mut entry = None;
    let mut directories = Vec::new();
    if let Some(manifest) = &manifest {
        let files = files(root, manifest)?;
        all_mounted(root, &files)?;
        changes.extend(files.into_iter().map(|target| Change::Remove { target }));
        entry = manifest.boot.entry.as_ref();
        directories.extend(manifest.made_directories.iter().map(|dir| root.at(dir)));
    }
    changes.extend(result(root, &records)?);
    let kept_aside = state_dir.join(GRUBENV_FILE);
    changes.extend([kept_aside, root.at(STATE), root.at(MANIFEST)].map(|target| Change::Remove { target }));
    transaction.commit(&changes, entry.map_or(LoaderChange::None, LoaderChange::Disarm))?;

    directories.push(state_dir.clone());
    remove_empty(&directories)?;
    let strange: Vec<String> = fs::read_dir(&state_dir)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    if !strange.is_empty() {
        eprintln!(
            "livemode-prep: {} stays: it holds what no build made: {}",
            state_dir.display(),
            strange.join(", ")
        );
    }
    Ok(())
}

/// What is left of an upgrade that has succeeded goes. leapp removes it itself; and what somebody's own entry boots is left to
/// them. Of one that was given up only the log is kept: it can be tried again.
pub(crate) fn after_success(root: &SysRoot) -> Result<()> {
    let records = Records::of(root);
    let (Some(manifest), Some(state)) = (records.manifest()?, records.state()?) else {
        return Ok(());
    };
    keep_log(root, &manifest, &state)?;
    let own = manifest.boot.entry.as_ref();
    let Some(own) = own.filter(|_| manifest.boot.loader != EntryKeeper::Leapp.name()) else {
        return Ok(());
    };
    if !is_over(state.state, is_chosen(root, own)?) {
        return Ok(());
    }
    if state.state == Phase::Finishing {
        let message = "leapp has finished, and the upgraded system has booted";
        records.record(records::Change::new(Phase::Succeeded, state.attempt, message))?;
    }
    println!("the upgrade has succeeded; what is left of it is removed");
    run(root)
}

/// Whether the upgraded system has taken over, whether or not there was time to record it.
fn is_over(phase: Phase, entry_is_chosen: bool) -> bool {
    match phase {
        Phase::Succeeded => true,
        Phase::Finishing => !entry_is_chosen,
        Phase::Prepared
        | Phase::Booted
        | Phase::Upgrading
        | Phase::Verified
        | Phase::Committing
        | Phase::Failed => false,
    }
}

/// How the upgrade went is kept among the logs; of one that never ran there is nothing to keep.
fn result(root: &SysRoot, records: &Records) -> Result<Option<Change>> {
    let state = records.state().ok().flatten();
    let Some(state) = state.filter(|state| !state.attempts.is_empty()) else {
        return Ok(None);
    };
    let target = root.at(RESULT);
    let dir = target.parent().unwrap_or(root.path());
    fs::create_dir_all(dir).with_context(|| format!("creating {}", dir.display()))?;
    let staged = staged(&target);
    atomic_write(&staged, &to_json(&state)?, 0o600)?;
    Ok(Some(Change::Put { staged, target }))
}

/// The image, the boot files, and the entry with its own names of them.
fn files(root: &SysRoot, manifest: &Manifest) -> Result<Vec<PathBuf>> {
    let artifacts = [&manifest.image, &manifest.initramfs, &manifest.kernel]
        .into_iter()
        .chain(&manifest.hmac)
        .map(|artifact| &artifact.path);
    let entry = manifest.boot.entry.iter();
    let entry = entry.flat_map(|entry| [&entry.path, &entry.kernel, &entry.initramfs]);
    let store = manifest.store.iter().map(|store| &store.path);
    let path = |path: &String| {
        let leads_out = Path::new(path)
            .components()
            .any(|part| part == Component::ParentDir);
        if leads_out {
            return Err(precondition(format!(
                "{}: names {path}",
                root.at(MANIFEST).display()
            )));
        }
        Ok(root.at(path))
    };
    // The entry first: it must not name what is gone.
    let mut files: Vec<PathBuf> = Vec::new();
    for path in entry.chain(artifacts).chain(store).map(path) {
        let path = path?;
        if !files.contains(&path) {
            files.push(path);
        }
    }
    Ok(files)
}

/// Beneath a mount that is missing now nothing of ours is to be found, and the manifest would be lost.
fn all_mounted(root: &SysRoot, files: &[PathBuf]) -> Result<()> {
    let mounts = MountTable::read(root)?.of_the_source();
    let fstab = read_fstab(root).unwrap_or_default();
    let places: Vec<PathBuf> = files.iter().map(|file| root.inside(file)).collect();
    let faults: Vec<String> = unmounted(&fstab, &mounts, &places)
        .into_iter()
        .map(|target| {
            format!(
                "{target} is in /etc/fstab but not mounted, and files of the build lie there; nothing was removed; first: \
                 mount {target}"
            )
        })
        .collect();
    if faults.is_empty() {
        return Ok(());
    }
    Err(Failure::Precondition(faults).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_only_in_the_store_is_not_taken_away() {
        let dir = tempfile::tempdir().unwrap();
        let root = SysRoot::new(dir.path());
        fs::create_dir_all(root.at(STATE_DIR)).unwrap();
        let committing = records::Change::new(Phase::Committing, 1, "whole");
        Records::of(&root).record(committing).unwrap();
        let fault = run(&root).unwrap_err();
        assert!(fault.is::<Failure>(), "{fault:#}");
        assert!(root.at(STATE).exists());
    }

    #[test]
    fn only_an_upgrade_that_is_over_is_cleared_up_after() {
        for (phase, is_chosen, over) in [
            (Phase::Prepared, true, false),
            (Phase::Booted, false, false),
            (Phase::Upgrading, true, false),
            (Phase::Failed, false, false),
            // The power went before the upgraded system was the default.
            (Phase::Finishing, true, false),
            (Phase::Finishing, false, true),
            (Phase::Succeeded, false, true),
        ] {
            assert_eq!(is_over(phase, is_chosen), over, "{phase} {is_chosen}");
        }
    }
}
