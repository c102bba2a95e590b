//! Plans of a machine whose facts were written with `livemode-prep facts` (an el8 with one xfs disk, /boot beside it, a
//! static network, and a Debian 12 container), each with something changed: what is found, and what is done about it.
use serde_json::Value;

use super::boot_entry::EntryChoice;
use super::build_plan::BuildPlan;
use crate::facts::Facts;

mod anew;
mod atomic;
mod commands;
mod findings;
mod initramfs;
mod live_system;
mod secrets;
mod summary;

const FACTS: &str = include_str!("../../fixtures/facts.json");

fn facts(change: impl FnOnce(&mut Value)) -> Facts {
    let mut facts: Value = serde_json::from_str(FACTS).unwrap();
    change(&mut facts);
    serde_json::from_value(facts).unwrap()
}

fn plan(change: impl FnOnce(&mut Value)) -> BuildPlan {
    BuildPlan::make(facts(change), EntryChoice::default())
}

/// The path to a value, with dots, gets another one.
fn set(facts: &mut Value, path: &str, value: Value) {
    let pointer = format!("/{}", path.replace('.', "/"));
    *facts.pointer_mut(&pointer).unwrap_or_else(|| panic!("no {path}")) = value;
}

fn refusals(path: &str, value: Value) -> Vec<String> {
    plan(|facts| set(facts, path, value)).findings.refusals
}
