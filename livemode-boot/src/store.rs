//! The store of an upgrade that is all or nothing, as early boot finds it: by where it begins on its device.
use std::path::{Path, PathBuf};

use anyhow::{anyhow, bail, Context, Result};
use livemode_common::image_ref::ImageRef;
use livemode_common::mount::MountStack;
use livemode_common::records::{OwnEntry, Records};
use livemode_common::store::{Header, StoreIo};

use crate::device;
use crate::plan::{MountPlan, StorePlace};

/// The store that this boot's entry names, once its device is there.
pub(crate) struct Store {
    pub(crate) header: Header,
    /// The device that it lies on.
    pub(crate) node: PathBuf,
    at: u64,
}

impl Store {
    /// # Errors
    /// When its device does not appear, or no store of this build begins there.
    pub(crate) fn open(plan: &MountPlan, place: &StorePlace) -> Result<Self> {
        let device = device::wait(&place.device, &place.reference, plan.deadline_s)?;
        let mut fault = None;
        for node in device::with_the_same_name(&place.reference, device) {
            match StoreIo::on_disk(&node, place.at) {
                Ok((_, header)) if plan.build.as_ref() == Some(&header.id) => {
                    return Ok(Self {
                        header,
                        node,
                        at: place.at,
                    })
                }
                Ok(_) => {
                    fault = fault.or(Some(anyhow!(
                        "the store is of another build than this boot entry"
                    )))
                }
                Err(error) => fault = fault.or(Some(error)),
            }
        }
        Err(fault.unwrap_or_else(|| anyhow!("{} is gone", place.reference)))
    }

    /// Whether its file still has the blocks that the header names: one that was removed leaves its blocks, markers and all, to
    /// other files. Its file system is mounted for as long as that takes, read-only; the kernel then completes what a power cut has
    /// left in its journal, as it would for the old system.
    ///
    /// # Errors
    /// When it is gone, or lies elsewhere.
    pub(crate) fn check_file(&self, mount: &Path) -> Result<()> {
        let mut mounts = MountStack::default();
        device::mount_to_read(&self.node, mount, &mut mounts)?;
        // Closed before it is unmounted.
        let header = StoreIo::of_file(&mount.join(&self.header.file), false).map(|(_, header)| header);
        let unmounted = mounts.unmount();
        let header = header.context("the store is no longer what was built")?;
        unmounted?;
        if header != self.header {
            bail!("the store's file is of another build");
        }
        Ok(())
    }

    /// To be read and written to.
    pub(crate) fn io(&self) -> Result<StoreIo> {
        Ok(StoreIo::on_disk(&self.node, self.at)?.0)
    }

    /// Its recorder.
    pub(crate) fn records(&self) -> Result<Records> {
        Ok(Records::of_store(self.io()?))
    }

    /// The entry of the build.
    pub(crate) fn own(&self) -> Option<&OwnEntry> {
        self.header.entry.as_ref()
    }

    /// The devices of the layers, once they are there.
    pub(crate) fn origins(&self, plan: &MountPlan) -> Result<Vec<PathBuf>> {
        let layers = self.header.layers.iter();
        layers.map(|layer| node(&layer.device, plan.deadline_s)).collect()
    }

    /// The devices of what is copied, once they are there.
    pub(crate) fn kept(&self, plan: &MountPlan) -> Result<Vec<PathBuf>> {
        let kept = self.header.kept.iter();
        kept.map(|kept| node(&kept.device, plan.deadline_s)).collect()
    }
}

/// The node that a name of the header's leads to.
fn path(name: &str) -> Option<PathBuf> {
    ImageRef::parse(name)?.device()
}

/// The same, once it is there: of several devices with that name the uppermost.
fn node(name: &str, deadline_s: u64) -> Result<PathBuf> {
    let path = path(name).with_context(|| format!("{name} names no device"))?;
    let node = device::wait(&path, name, deadline_s)?;
    let mut all = device::with_the_same_name(name, node);
    Ok(all.remove(0))
}

/// Whether all devices are there that the store names.
pub(crate) fn is_settled(place: &StorePlace) -> bool {
    let Ok((_, header)) = StoreIo::on_disk(&place.device, place.at) else {
        return false;
    };
    let layers = header.layers.iter().map(|layer| layer.device.as_str());
    let kept = header.kept.iter().map(|kept| kept.device.as_str());
    layers
        .chain(kept)
        .all(|name| path(name).is_some_and(|path| device::is_block_device(&path)))
}
