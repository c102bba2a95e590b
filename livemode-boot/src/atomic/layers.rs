//! The devices of the device mapper through which the source system is seen: mapped before anything is mounted.
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::{bail, Context, Result};
use livemode_common::dm::Mapped;
use livemode_common::store::{linear, snapshot, Header, Layer, StoreIo, BLOCK, LAYER_PREFIX, STORE_DEVICE};

/// What the name of a layer's kept blocks ends with.
const CHANGES: &str = "-changes";

/// A layer, and the device that it lies on.
#[derive(Debug)]
pub(super) struct Mounted {
    /// What is mounted in place of `origin`.
    pub(super) view: Mapped,
    pub(super) origin: PathBuf,
}

/// Nothing is kept of any device: what was there is forgotten.
pub(super) fn empty(header: &Header, store: &StoreIo) -> Result<()> {
    for layer in &header.layers {
        // A header of zeros is that of a new area (drivers/md/dm-snap-persistent.c).
        store.write(layer.changes.at, &vec![0; usize::try_from(2 * BLOCK)?])?;
    }
    Ok(())
}

/// Maps the store and all layers; with `merge` what is kept moves to the devices.
///
/// # Errors
/// When the kernel refuses, or a device is not the one that it was; what was mapped before is taken away again.
pub(super) fn map(header: &Header, store: &Path, origins: &[PathBuf], merge: bool) -> Result<Vec<Mounted>> {
    let mut mapped: Vec<Mapped> = Vec::new();
    let result = map_all(header, store, origins, merge, &mut mapped);
    if result.is_err() {
        for device in mapped.into_iter().rev() {
            // The first cause is the one to be told.
            let _ = device.remove();
        }
    }
    result
}

fn map_all(
    header: &Header,
    store: &Path,
    origins: &[PathBuf],
    merge: bool,
    mapped: &mut Vec<Mapped>,
) -> Result<Vec<Mounted>> {
    let on = number(store)?;
    let whole = linear(&header.map, 0, header.map.bytes(), &on);
    mapped.push(Mapped::create(STORE_DEVICE, &whole)?);
    let mut layers = Vec::new();
    for (layer, origin) in header.layers.iter().zip(origins) {
        check_size(layer, origin)?;
        let name = format!("{LAYER_PREFIX}{}", layer.name);
        let kept = linear(&header.map, layer.changes.at, layer.changes.bytes, &on);
        let kept = Mapped::create(&format!("{name}{CHANGES}"), &kept)?;
        let table = snapshot(layer.bytes, &number(origin)?, &kept.number(), merge);
        mapped.push(kept);
        let view = Mapped::create(&name, &[table])?;
        mapped.push(view.clone());
        layers.push(Mounted {
            view,
            origin: origin.clone(),
        });
    }
    Ok(layers)
}

fn check_size(layer: &Layer, origin: &Path) -> Result<()> {
    let name = origin.file_name().unwrap_or_default();
    let path = Path::new("/sys/class/block").join(name).join("size");
    let sectors = fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
    let bytes = sectors.trim().parse::<u64>().unwrap_or(0) * 512;
    if bytes != layer.bytes {
        bail!(
            "{} has {bytes} bytes, and had {} when the image was built; build again",
            layer.device,
            layer.bytes
        );
    }
    Ok(())
}

/// `MAJOR:MINOR`.
fn number(node: &Path) -> Result<String> {
    let meta = fs::metadata(node).with_context(|| format!("looking at {}", node.display()))?;
    let (major, minor) = (
        nix::sys::stat::major(meta.rdev()),
        nix::sys::stat::minor(meta.rdev()),
    );
    Ok(format!("{major}:{minor}"))
}
