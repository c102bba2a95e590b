//! What the records of the source system say, read once in early boot.
use anyhow::Result;
use livemode_common::loader::store::Keeper;
use livemode_common::records::{OwnEntry, Records, State};

use crate::console::{say, Level};
use crate::decision::{Seen, Unreadable};
use crate::device;
use crate::plan::MountPlan;
use crate::store::Store;

/// What the records say, read once.
pub(crate) struct Found {
    /// The build that lies on the disk.
    built: Option<String>,
    own: Option<OwnEntry>,
    state: Result<Option<State>, Unreadable>,
}

impl Found {
    /// Nothing is known.
    pub(crate) fn nothing() -> Self {
        Self {
            built: None,
            own: None,
            state: Ok(None),
        }
    }

    /// What is to be decided by, for an entry of this plan.
    pub(crate) fn seen<'a>(&'a self, plan: &'a MountPlan) -> Seen<'a> {
        Seen {
            build: plan.build.as_deref(),
            has_loader: plan.grubenv.is_some() || self.has_systemd_boot(),
            built: self.built.as_deref(),
            state: self.state(),
        }
    }

    /// Its variables are reached wherever the line says nothing of a loader.
    fn has_systemd_boot(&self) -> bool {
        let keeper = self.own().map(|own| &own.keeper);
        matches!(keeper, Some(Keeper::SystemdBoot { .. }))
    }

    /// The build's own entry.
    pub(crate) fn own(&self) -> Option<&OwnEntry> {
        self.own.as_ref()
    }

    /// Where the upgrade stands.
    pub(crate) fn state(&self) -> Result<Option<&State>, Unreadable> {
        self.state.as_ref().map(Option::as_ref).map_err(|error| *error)
    }
}

/// Reads the records where the line says that they lie: in the store, or on which device.
pub(crate) fn look(plan: &MountPlan) -> Result<Found> {
    if let Some(place) = &plan.store {
        let store = Store::open(plan, place)?;
        return Ok(Found {
            state: state(&store.records()?),
            built: Some(store.header.id),
            own: store.header.entry,
        });
    }
    let (Some((device, mount)), Some(dir)) = (plan.records(), &plan.state_dir) else {
        return Ok(Found::nothing());
    };
    device::wait(device, &device.display().to_string(), plan.deadline_s)?;
    device::while_mounted(device, mount, || {
        let records = Records::in_dir(dir);
        let manifest = records.manifest().ok().flatten();
        Ok(Found {
            state: state(&records),
            built: manifest.as_ref().map(|manifest| manifest.id.clone()),
            own: manifest.and_then(|manifest| manifest.boot.entry),
        })
    })
}

fn state(records: &Records) -> Result<Option<State>, Unreadable> {
    records.state().map_err(|error| {
        say(
            Level::Warning,
            &format!("where the upgrade stands cannot be read: {error:#}"),
        );
        Unreadable
    })
}
