//! What can be said of an upgrade before there is a container: leapp asks in its checks phase.
use anyhow::Result;
use livemode_common::config::Loaded;
use livemode_common::contract::SCHEMA;
use livemode_common::failure::Failure;
use livemode_common::sysroot::SysRoot;
use serde_json::json;

use crate::args::Json;
use crate::facts::leapp::LeappFacts;
use crate::facts::source::Facts;
use crate::leapp::actors;
use crate::plan::carried;
use crate::plan::refusals;
use crate::plan::space::{self, Budget};
use crate::plan::squashfs;

/// Prints what to expect, and fails with every precondition that is not met.
pub(crate) fn run(
    root: &SysRoot,
    loaded: Loaded,
    leapp: Option<&LeappFacts>,
    Json { json }: Json,
) -> Result<()> {
    let Loaded { config, warnings, .. } = loaded;
    let facts = Facts::gather(root, leapp, &config.squashfs_image_path)?;
    let storage = refusals::storage(&config, &facts, &|_| true);
    let carried = carried::gather(root, &config, &storage, None)?;
    let budgets = space::expected(&facts.image_dir, &facts.boot);
    let warnings = [
        warnings,
        storage.warnings,
        carried.warnings,
        refusals::warnings(&config),
    ]
    .concat();
    let mut faults = refusals::faults(&config, &facts);
    if squashfs::known_here().is_empty() {
        faults.push("mksquashfs is missing; install squashfs-tools".to_owned());
    }
    faults.extend(actors::fault(root));
    faults.extend(storage.faults);
    faults.extend(carried.faults);
    faults.extend(budgets.iter().filter_map(Budget::fault));

    let expectations: Vec<String> = budgets.iter().map(Budget::describe).collect();
    if json {
        let text = json!({
            "schema": SCHEMA,
            "image": config.squashfs_image_path,
            "space": budgets,
            "expectations": expectations,
            "warnings": warnings,
        });
        println!("{text}");
    } else {
        warnings
            .iter()
            .for_each(|warning| eprintln!("warning: {warning}"));
        println!("image  {}", config.squashfs_image_path);
        expectations.iter().for_each(|line| println!("space  {line}"));
    }
    if faults.is_empty() {
        return Ok(());
    }
    Err(Failure::Precondition(faults).into())
}
