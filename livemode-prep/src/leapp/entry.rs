//! The boot entry under leapp, which makes one of its own after the build and lets that boot by default. Ours gets what
//! leapp's messages add to and take from the line, is read back, and boots once; the old system stays the default.
use std::path::Path;

use anyhow::Result;
use livemode_common::cmdline::Cmdline;
use livemode_common::contract::{MANIFEST, SCHEMA};
use livemode_common::failure::precondition;
use livemode_common::fsio::atomic_write;
use livemode_common::loader::bls::Entry;
use livemode_common::loader::script;
use livemode_common::records::{self, to_json, Manifest, Records};
use livemode_common::sysroot::SysRoot;
use serde_json::json;

use crate::args::{EntryKeeper, Json, Risk};
use crate::arming;
use crate::commit::boot_entry::take_default_from;
use crate::commit::record::Change;
use crate::commit::transaction::{LoaderChange, Transaction};
use crate::facts::leapp::LeappFacts;
use crate::plan::{arguments, paths};

/// Completes the entry and arms it. On any error the old system boots, and stays the default.
pub(crate) fn run(root: &SysRoot, leapp: &LeappFacts, Json { json }: Json, risk: Risk) -> Result<()> {
    let manifest = Records::of(root)
        .manifest()?
        .ok_or_else(|| precondition("nothing is built; first: livemode-prep build --boot-entry leapp"))?;
    let own = match &manifest.boot.entry {
        Some(own) if manifest.boot.loader == EntryKeeper::Leapp.name() => own.clone(),
        _ => {
            return Err(precondition(format!(
                "the entry of this build is kept by {}; only one under leapp is to be completed",
                manifest.boot.loader
            )))
        }
    };
    let image = root.at(&manifest.image.path);
    let image_dir = image.parent().unwrap_or(root.path());
    let (entry, record) = (root.at(&own.path), root.at(MANIFEST));
    let transaction = Transaction::begin(root, &[image_dir], None, &[&entry, &record])?;
    // leapp has made its own entry the default: from here on, and on any error, the old system is.
    take_default_from(root, &own, &manifest.kernel.path)?;
    let decided = Cmdline::parse(&manifest.boot.arguments);
    let arguments = arguments::adjusted(&decided, &leapp.wanted()).to_string();
    arguments::check_length(&arguments).map_err(precondition)?;
    let text = std::fs::read_to_string(&entry)
        .map_err(|e| precondition(format!("reading {}: {e}; build it again", own.path)))?;
    let completed = Entry {
        options: Some(script::for_grub(&Cmdline::parse(&arguments)).map_err(|word| {
            precondition(format!(
                "GRUB cannot pass on the kernel argument {word}, which leapp wants"
            ))
        })?),
        ..Entry::parse(&own.id, &text)
    };
    let version = &manifest.kernel_version;
    let put = |path: &Path, content: &[u8]| -> Result<Change> {
        let staged = paths::staged(path);
        atomic_write(&staged, content, 0o600)?;
        Ok(Change::Put {
            staged,
            target: path.to_owned(),
        })
    };
    let machine_id = own.id.split('-').next();
    let changes = [
        put(&entry, completed.to_text(version, machine_id).as_bytes())?,
        put(&record, &to_json(&with_arguments(&manifest, &arguments))?)?,
    ];
    let change = LoaderChange::Arm {
        own: &own,
        loop_risk: risk.accept_loop_risk,
    };
    transaction.commit(&changes, change)?;
    if json {
        println!("{}", json!({"schema": SCHEMA, "arguments": arguments}));
    } else {
        println!("arguments  {arguments}");
        arming::print(root, &own);
    }
    Ok(())
}

fn with_arguments(manifest: &Manifest, arguments: &str) -> Manifest {
    Manifest {
        boot: records::BootEntry {
            arguments: arguments.to_owned(),
            ..manifest.boot.clone()
        },
        ..manifest.clone()
    }
}
