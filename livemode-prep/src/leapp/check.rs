//! What can be said of an upgrade before there is a container: leapp asks in its checks phase.
use anyhow::Result;
use livemode_common::contract::SCHEMA;
use serde_json::json;

use crate::plan::build_plan::BuildPlan;
use crate::plan::space::Budget;

/// Prints what to expect, and fails with all that stands against the upgrade: the same as `plan` would say.
///
/// # Errors
/// When something stands against it: exit code 4.
pub(crate) fn run(plan: &BuildPlan, as_json: bool) -> Result<()> {
    let space = plan.budgets.iter().map(Budget::describe);
    let memory = format!("memory: {}", plan.memory.describe());
    let expectations: Vec<String> = space.clone().chain([memory]).collect();
    let warnings = &plan.findings.warnings;
    if as_json {
        let text = json!({
            "schema": SCHEMA,
            "may_go_on": plan.findings.refusals.is_empty(),
            "refusals": plan.findings.refusals,
            "image": plan.config.squashfs_image_path,
            "space": plan.budgets,
            "memory": plan.memory,
            "expectations": expectations,
            "warnings": warnings,
        });
        println!("{text}");
    } else {
        warnings
            .iter()
            .for_each(|warning| eprintln!("warning: {warning}"));
        println!("image  {}", plan.config.squashfs_image_path);
        space.for_each(|line| println!("space  {line}"));
        println!("memory {}", plan.memory.describe());
    }
    Ok(plan.check()?)
}
