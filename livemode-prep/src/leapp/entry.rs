//! The boot entry under leapp, which makes it after the build and keeps one value for a key: here it gets exactly the
//! arguments that `build` decided, is read back, and only then boots by default.
use anyhow::{Context, Result};
use livemode_common::cmdline::Cmdline;
use livemode_common::contract::{MANIFEST, SCHEMA};
use livemode_common::failure::precondition;
use livemode_common::fsio::atomic_write;
use livemode_common::records::{to_json, Manifest, Records};
use livemode_common::sysroot::SysRoot;
use serde_json::json;

use crate::args::{Json, Loader};
use crate::commit::boot_entry::GrubbyEntry;
use crate::commit::scratch;
use crate::facts::leapp::LeappFacts;
use crate::plan::arguments;

/// Completes the entry. Until it is as it must be, and on any error, the old system boots by default.
pub(crate) fn run(root: &SysRoot, leapp: Option<&LeappFacts>, Json { json }: Json) -> Result<()> {
    let manifest = Records::of(root)
        .manifest()?
        .ok_or_else(|| precondition("nothing is built; first: livemode-prep build --boot-entry leapp"))?;
    if manifest.boot.loader != Loader::Leapp.name() {
        return Err(precondition(format!(
            "the entry of this build is kept by {}; only one that leapp makes is to be completed",
            manifest.boot.loader
        )));
    }
    let image = root.at(&manifest.image.path);
    let _lock = scratch::lock(image.parent().unwrap_or(root.path()))?;
    let decided = Cmdline::parse(&manifest.boot.arguments);
    let arguments = leapp
        .map_or_else(|| decided.clone(), |leapp| leapp.adjusted(&decided))
        .to_string();
    arguments::check_length(&arguments).map_err(precondition)?;

    let arch = nix::sys::utsname::uname()?
        .machine()
        .to_string_lossy()
        .into_owned();
    let entry = GrubbyEntry::of(root, &arch, &manifest);
    entry.complete(&arguments).context("completing the boot entry")?;
    if arguments != manifest.boot.arguments {
        let mut manifest: Manifest = manifest;
        manifest.boot.arguments.clone_from(&arguments);
        atomic_write(&root.at(MANIFEST), &to_json(&manifest)?, 0o600)?;
    }
    entry.arm().context("making the boot entry the default one")?;
    if json {
        println!("{}", json!({"schema": SCHEMA, "arguments": arguments}));
    } else {
        println!("arguments  {arguments}");
    }
    Ok(())
}
