//! Which entry boots next: shown, and changed by itself once a build is there.
use anyhow::{Context, Result};
use livemode_common::contract::SCHEMA;
use livemode_common::failure::precondition;
use livemode_common::fingerprint::Fingerprint;
use livemode_common::fsio::sha256;
use livemode_common::loader::next_boots::NextBoots;
use livemode_common::records::{Change, Manifest, OwnEntry, Phase, Records, State};
use livemode_common::sysroot::SysRoot;
use serde_json::json;

use crate::args::{Json, Risk};
use crate::commit::boot_entry::next_boots;
use crate::commit::transaction::{LoaderChange, Transaction};
use crate::facts::built::problems;

/// Lets the upgrade's entry boot once.
pub(crate) fn arm(root: &SysRoot, Json { json }: Json, risk: Risk) -> Result<()> {
    let (manifest, own) = built(root)?;
    let records = Records::of(root);
    let state = records.state()?;
    let again = state.as_ref().and_then(again);
    if let Some(state) = state.filter(|_| again.is_none()) {
        if state.state == Phase::Upgrading && !state.has_begun(Fingerprint::of(root).ok().as_ref()) {
            // The power went after the record and before leapp changed anything: this system is as it was.
            let message = format!("attempt {} did not complete: {}", state.attempt, state.message);
            records.record(Change::new(Phase::Failed, state.attempt, message))?;
        } else {
            may_be_armed(&state).map_err(precondition)?;
        }
    }
    let faults = problems(root, &manifest);
    if !faults.is_empty() {
        return Err(precondition(format!(
            "what was built is no longer as it was: {}; build it again",
            faults.join("; ")
        )));
    }
    if let Some(change) = again {
        // Early boot gives up what is not recorded as a new beginning.
        records.record(change)?;
    }
    let change = LoaderChange::Arm {
        own: &own,
        loop_risk: risk.accept_loop_risk,
    };
    Transaction::begin(root, &[], None, &[])?.commit(&[], change)?;
    show(root, &own, json)
}

/// Tries an upgrade again that was given up, where neither this system nor what was built has changed since.
pub(crate) fn retry(root: &SysRoot, output: Json, risk: Risk) -> Result<()> {
    let (manifest, _) = built(root)?;
    let state = Records::of(root).state()?;
    if manifest.store.is_none() || state.as_ref().and_then(again).is_none() {
        return Err(precondition(
            "there is no upgrade that was given up and can be tried again; livemode-prep status says what there is, and \
             livemode-prep arm lets the upgrade's entry boot once",
        ));
    }
    let now = Fingerprint::of(root)?;
    if let Some(what) = manifest.source.as_ref().and_then(|built| built.changed(&now)) {
        return Err(precondition(format!(
            "this system has changed since the image was built ({what}); build it again"
        )));
    }
    let image = root.at(&manifest.image.path);
    let file = std::fs::File::open(&image).with_context(|| format!("opening {}", image.display()))?;
    let (sha256, _) = sha256(file, |_| ()).with_context(|| format!("reading {}", image.display()))?;
    if sha256 != manifest.image.sha256 {
        return Err(precondition(format!(
            "{} is not what was built (its SHA-256 differs); build it again",
            manifest.image.path
        )));
    }
    arm(root, output, risk)
}

/// The new beginning of an upgrade that was given up, and has left this system as it was.
fn again(state: &State) -> Option<Change> {
    let is_given_up = matches!(
        state.state,
        Phase::Booted | Phase::Upgrading | Phase::Verified | Phase::Failed
    );
    (state.atomic && is_given_up).then(|| {
        let message = format!(
            "attempt {} was given up; the next one starts with the next boot of the upgrade's entry",
            state.attempt
        );
        Change::new(Phase::Prepared, state.attempt, message)
    })
}

/// Lets the old system boot.
pub(crate) fn disarm(root: &SysRoot, Json { json }: Json) -> Result<()> {
    let (_, own) = built(root)?;
    Transaction::begin(root, &[], None, &[])?.commit(&[], LoaderChange::Disarm(&own))?;
    show(root, &own, json)
}

fn built(root: &SysRoot) -> Result<(Manifest, OwnEntry)> {
    let manifest = Records::of(root)
        .manifest()?
        .ok_or_else(|| precondition("nothing is built; first: livemode-prep build"))?;
    let own = manifest.boot.entry.clone().ok_or_else(|| {
        precondition(format!(
            "the entry of this build is kept by {}, not by us; build it again with --boot-entry grub or systemd-boot",
            manifest.boot.loader
        ))
    })?;
    Ok((manifest, own))
}

/// What stands against a boot into the image, by where the upgrade stands.
fn may_be_armed(state: &State) -> Result<(), String> {
    if let Some(why) = state.moves_to_the_disks() {
        return Err(why.to_owned());
    }
    match state.state {
        Phase::Committing | Phase::Finishing | Phase::Succeeded => {
            Err("the upgrade has succeeded already; livemode-prep remove takes back what is left".to_owned())
        }
        // The live system has made its entry the default, and resumes.
        Phase::Upgrading => {
            Err("an upgrade is under way; the upgrade's entry is the default until it has ended".to_owned())
        }
        Phase::Prepared | Phase::Booted | Phase::Verified | Phase::Failed => Ok(()),
    }
}

fn show(root: &SysRoot, own: &OwnEntry, json: bool) -> Result<()> {
    if json {
        let boots = next_boots(root, own)?;
        println!(
            "{}",
            json!({"schema": SCHEMA, "next_boots": [boots.next, boots.after]})
        );
    } else {
        print(root, own);
    }
    Ok(())
}

/// Two lines: what boots next, and after that.
pub(crate) fn print(root: &SysRoot, own: &OwnEntry) {
    lines(next_boots(root, own), own)
        .iter()
        .for_each(|line| println!("{line}"));
}

pub(crate) fn lines(boots: Result<NextBoots>, own: &OwnEntry) -> Vec<String> {
    let named = |id: &str| {
        if id == own.id {
            format!("{id}, the upgrade")
        } else {
            id.to_owned()
        }
    };
    match boots {
        Ok(boots) => vec![
            format!("next boot  {}", named(&boots.next)),
            format!("after that {}", named(&boots.after)),
        ],
        Err(error) => vec![format!("next boot  cannot be told: {error:#}")],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_has_not_begun_is_armed() {
        for (phase, may_be) in [
            (Phase::Prepared, true),
            (Phase::Booted, true),
            (Phase::Failed, true),
            (Phase::Upgrading, false),
            (Phase::Committing, false),
            (Phase::Finishing, false),
            (Phase::Succeeded, false),
        ] {
            let state = State {
                state: phase,
                ..State::default()
            };
            assert_eq!(may_be_armed(&state).is_ok(), may_be, "{phase}");
        }
    }
}
