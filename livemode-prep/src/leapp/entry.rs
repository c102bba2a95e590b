//! The boot entry under leapp, which makes it after the build and keeps one value for a key: here it gets exactly the
//! arguments that `build` decided, is read back, and only then boots by default.
use anyhow::Result;
use livemode_common::cmdline::Cmdline;
use livemode_common::contract::{MANIFEST, SCHEMA};
use livemode_common::failure::precondition;
use livemode_common::fsio::atomic_write;
use livemode_common::machine;
use livemode_common::records::{self, to_json, Manifest, Records};
use livemode_common::sysroot::SysRoot;
use serde_json::json;

use crate::args::{EntryKeeper, Json};
use crate::commit::record::Change;
use crate::commit::transaction::{LoaderChange, Transaction};
use crate::facts::leapp::LeappFacts;
use crate::facts::loader;
use crate::plan::boot_entry::GrubbyEntry;
use crate::plan::{arguments, paths};

/// Completes the entry. Until it is as it must be, and on any error, the old system boots by default.
pub(crate) fn run(root: &SysRoot, leapp: &LeappFacts, Json { json }: Json) -> Result<()> {
    let manifest = Records::of(root)
        .manifest()?
        .ok_or_else(|| precondition("nothing is built; first: livemode-prep build --boot-entry leapp"))?;
    if manifest.boot.loader != EntryKeeper::Leapp.name() {
        return Err(precondition(format!(
            "the entry of this build is kept by {}; only one that leapp makes is to be completed",
            manifest.boot.loader
        )));
    }
    let image = root.at(&manifest.image.path);
    let image_dir = image.parent().unwrap_or(root.path());
    let entry = GrubbyEntry::of(root, &machine::arch()?, loader::configs(root), &manifest);
    let path = root.at(MANIFEST);
    let transaction = Transaction::begin(root, &[image_dir], None, &[&path])?;
    // The old system is the default while the entry changes, and stays it on any error: that is not undone.
    entry.disarm()?;
    let decided = Cmdline::parse(&manifest.boot.arguments);
    let arguments = leapp.adjusted(&decided).to_string();
    arguments::check_length(&arguments).map_err(precondition)?;
    let completed = Manifest {
        boot: records::BootEntry {
            arguments: arguments.clone(),
            ..manifest.boot.clone()
        },
        ..manifest
    };
    let staged = paths::staged(&path);
    atomic_write(&staged, &to_json(&completed)?, 0o600)?;
    let change = Change::Put { staged, target: path };
    transaction.commit(&[change], LoaderChange::Complete(&entry, &arguments))?;
    if json {
        println!("{}", json!({"schema": SCHEMA, "arguments": arguments}));
    } else {
        println!("arguments  {arguments}");
    }
    Ok(())
}
