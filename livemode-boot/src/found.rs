//! What the records of the source system say, read once in early boot.
use anyhow::Result;
use livemode_common::mount::MountStack;
use livemode_common::records::{Manifest, OwnEntry, Records, State};

use crate::console::{say, Level};
use crate::decision::{Seen, Unreadable};
use crate::device;
use crate::plan::MountPlan;

/// What the records say, read once.
pub(crate) struct Found {
    manifest: Option<Manifest>,
    state: Result<Option<State>, Unreadable>,
}

impl Found {
    /// Nothing is known.
    pub(crate) fn nothing() -> Self {
        Self {
            manifest: None,
            state: Ok(None),
        }
    }

    /// What is to be decided by, for an entry of this plan.
    pub(crate) fn seen<'a>(&'a self, plan: &'a MountPlan) -> Seen<'a> {
        Seen {
            build: plan.build.as_deref(),
            has_loader: plan.grubenv.is_some(),
            built: self.manifest.as_ref().map(|manifest| manifest.id.as_str()),
            state: self.state(),
        }
    }

    /// The build's own entry.
    pub(crate) fn own(&self) -> Option<&OwnEntry> {
        self.manifest
            .as_ref()
            .and_then(|manifest| manifest.boot.entry.as_ref())
    }

    /// Where the upgrade stands.
    pub(crate) fn state(&self) -> Result<Option<&State>, Unreadable> {
        self.state.as_ref().map(Option::as_ref).map_err(|error| *error)
    }
}

/// Reads the records where the line says that they lie on the image's file system.
pub(crate) fn look(plan: &MountPlan) -> Result<Found> {
    let (Some(disk), Some(dir)) = (plan.disk(), &plan.state_dir) else {
        return Ok(Found::nothing());
    };
    let device = device::wait(disk)?;
    let mut mounts = MountStack::default();
    device::mount(&device, &disk.mount, &mut mounts)?;
    let records = Records::in_dir(dir);
    let found = Found {
        manifest: records.manifest().ok().flatten(),
        state: records.state().map_err(|error| {
            say(
                Level::Warning,
                &format!("where the upgrade stands cannot be read: {error:#}"),
            );
            Unreadable
        }),
    };
    mounts.unmount()?;
    Ok(found)
}
