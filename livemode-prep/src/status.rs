//! What is prepared, and how the last upgrade went.
use anyhow::Result;
use livemode_common::contract::{LEAPP_LOG, SCHEMA};
use livemode_common::records::{Manifest, Records};
use livemode_common::sysroot::SysRoot;
use serde_json::json;

use crate::commit::record::is_unsettled;

pub(crate) fn print(root: &SysRoot, as_json: bool) -> Result<()> {
    let records = Records::of(root);
    let (manifest, state) = (records.manifest()?, records.state()?);
    let problems = manifest.as_ref().map_or(Vec::new(), |m| problems(root, m));
    let unsettled = is_unsettled(root);
    if as_json {
        println!(
            "{}",
            json!({"schema": SCHEMA, "prepared": manifest, "upgrade": state, "problems": problems, "unsettled": unsettled})
        );
        return Ok(());
    }
    match &manifest {
        Some(m) => println!("prepared   {}, kernel {}", m.image.path, m.kernel_version),
        None => println!("prepared   nothing"),
    }
    if let Some(state) = &state {
        println!("upgrade    {}: {}", state.state, state.message);
        println!("attempts   {}", state.attempt);
        println!("log        /{LEAPP_LOG}");
    }
    problems.iter().for_each(|p| println!("problem    {p}"));
    if unsettled {
        println!(
            "cut off    a build or remove is going on or was cut off; the next one undoes or completes it"
        );
    }
    Ok(())
}

/// Files that are no longer as they were built; by size, for a digest takes seconds.
fn problems(root: &SysRoot, manifest: &Manifest) -> Vec<String> {
    let files = [&manifest.image, &manifest.kernel, &manifest.initramfs];
    let mut problems = Vec::new();
    for artifact in files.into_iter().chain(manifest.hmac.as_ref()) {
        match std::fs::metadata(root.at(&artifact.path)) {
            Ok(meta) if meta.len() == artifact.size => {}
            Ok(meta) => {
                problems.push(format!(
                    "{}: {} bytes in place of {}",
                    artifact.path,
                    meta.len(),
                    artifact.size
                ));
            }
            Err(e) => problems.push(format!("{}: {e}", artifact.path)),
        }
    }
    problems
}
