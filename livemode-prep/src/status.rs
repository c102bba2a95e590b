//! What is prepared, where the upgrade stands, what boots next, and what to do now: the same words as in the live system.
use anyhow::{bail, Result};
use livemode_common::contract::{LEAPP_LOG, RESULT};
use livemode_common::records::{Phase, Place, Records, Standing, State};
use livemode_common::store::{LogRing, StoreIo};
use livemode_common::sysroot::SysRoot;
use serde_json::json;

use crate::arming::lines;
use crate::commit::boot_entry::next_boots;
use crate::commit::record::is_unsettled;
use crate::facts::built::problems;

/// Lines of the log that are shown.
const SHOWN: usize = 20;

pub(crate) fn print(root: &SysRoot, as_json: bool) -> Result<()> {
    let records = Records::of(root);
    let (manifest, state) = (records.manifest()?, records.state()?);
    let problems = manifest.as_ref().map_or(Vec::new(), |m| problems(root, m));
    let unsettled = is_unsettled(root);
    let own = manifest
        .as_ref()
        .and_then(|manifest| manifest.boot.entry.as_ref());
    let boots = own.map(|own| next_boots(root, own));
    // Once all is taken back, how the last upgrade went is known still.
    let state = match state {
        None => State::load(&root.at(RESULT))?,
        known => known,
    };
    let standing = state.as_ref().map(|state| Standing::of(state, Place::Installed));
    if as_json {
        let boots = boots.and_then(Result::ok).map(|boots| [boots.next, boots.after]);
        let mut json = Standing::to_json(state.as_ref(), Place::Installed, None, boots);
        json["prepared"] = json!(manifest);
        json["problems"] = json!(problems);
        json["unsettled"] = json!(unsettled);
        println!("{json}");
        return given_up(state.as_ref());
    }
    match &manifest {
        Some(m) => println!("prepared   {}, kernel {}", m.image.path, m.kernel_version),
        None => println!("prepared   nothing"),
    }
    if let Some(standing) = &standing {
        standing.lines().iter().for_each(|line| println!("{line}"));
        println!("log        /{LEAPP_LOG}");
    }
    if let Some(store) = manifest.as_ref().and_then(|manifest| manifest.store.as_ref()) {
        last_lines(&root.at(&store.path))
            .iter()
            .for_each(|line| println!("           {line}"));
    }
    if let (Some(own), Some(boots)) = (own, boots) {
        lines(boots, own).iter().for_each(|line| println!("{line}"));
    }
    problems.iter().for_each(|p| println!("problem    {p}"));
    if unsettled {
        println!(
            "cut off    a build or remove is going on or was cut off; the next one undoes or completes it"
        );
    }
    given_up(state.as_ref())
}

/// The end of the log of a run that was given up: the store has it, for the files of that run are gone.
fn last_lines(store: &std::path::Path) -> Vec<String> {
    let log = StoreIo::of_file(store, false).and_then(|(store, _)| LogRing::read(&store));
    let log = log.unwrap_or_default();
    let text = String::from_utf8_lossy(&log);
    let lines: Vec<&str> = text.lines().collect();
    let first = lines.len().saturating_sub(SHOWN);
    lines[first..].iter().map(|line| (*line).to_owned()).collect()
}

/// An upgrade that was given up is told by the exit code, too.
fn given_up(state: Option<&State>) -> Result<()> {
    match state {
        Some(state) if state.atomic && state.state == Phase::Failed => {
            bail!("the upgrade was given up; this system is as it was")
        }
        _ => Ok(()),
    }
}
