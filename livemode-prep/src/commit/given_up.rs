//! The log of an upgrade that was given up: the files of that run are gone, and the store has it.
use std::fs;
use std::io::Write;

use anyhow::{Context, Result};
use livemode_common::contract::LEAPP_LOG;
use livemode_common::fsio::append;
use livemode_common::records::{Manifest, Phase, State};
use livemode_common::store::{LogRing, StoreIo};
use livemode_common::sysroot::SysRoot;

/// Puts it behind leapp's own, once.
///
/// # Errors
/// When the store cannot be read, or the log not be written.
pub(super) fn keep_log(root: &SysRoot, manifest: &Manifest, state: &State) -> Result<()> {
    let is_given_up = matches!(state.state, Phase::Upgrading | Phase::Verified | Phase::Failed);
    let Some(store) = manifest
        .store
        .as_ref()
        .filter(|_| is_given_up && state.attempt > 0)
    else {
        return Ok(());
    };
    let title = format!(
        "livemode: what attempt {} of the build {} said, before it was given up:\n",
        state.attempt, manifest.id
    );
    let path = root.at(LEAPP_LOG);
    let known = fs::read(&path).unwrap_or_default();
    if String::from_utf8_lossy(&known).contains(&title) {
        return Ok(());
    }
    let (store, _) = StoreIo::of_file(&root.at(&store.path), false)?;
    let said = LogRing::read(&store)?;
    let context = || format!("writing {}", path.display());
    fs::create_dir_all(path.parent().unwrap_or(root.path())).with_context(context)?;
    let mut log = append(&path, 0o600)?;
    log.write_all(&[title.as_bytes(), &said].concat())
        .and_then(|()| log.sync_all())
        .with_context(context)
}
