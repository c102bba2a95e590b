//! The layers as they are mapped: what is mounted through them, how full they are, and their merge.
use std::path::Path;
use std::time::Duration;

use anyhow::{bail, Context, Result};
use livemode_common::dm::{self, Mapped};
use livemode_common::mountinfo::Mount;
use livemode_common::store::{fill, Fill, Header, StoreIo, LAYER_PREFIX, STORE_DEVICE};

/// What ends the name of the device with a layer's kept blocks.
const CHANGES: &str = "-changes";
/// Between two looks at a merge.
const LOOK: Duration = Duration::from_millis(500);

/// One layer.
#[derive(Debug, Clone)]
struct Layer {
    mount: String,
    view: Mapped,
    /// Of its device, in bytes.
    bytes: u64,
    origin: String,
    changes: Mapped,
}

/// All of them.
#[derive(Debug, Clone)]
pub(crate) struct Layers(Vec<Layer>);

impl Layers {
    /// Those that early boot has mapped; none of an upgrade in place.
    ///
    /// # Errors
    /// When the store is mapped and a layer is not.
    pub(crate) fn find() -> Result<Option<Self>> {
        if !dm::exists(STORE_DEVICE) {
            return Ok(None);
        }
        let store = StoreIo::view(&Mapped::find(STORE_DEVICE)?.node())?;
        let Header { layers, .. } = store.header()?;
        let layers = layers.into_iter().map(|layer| {
            let name = format!("{LAYER_PREFIX}{}", layer.name);
            let view = Mapped::find(&name)?;
            let table = view.table()?;
            Ok(Layer {
                mount: layer.mount,
                origin: table.split(' ').next().unwrap_or_default().to_owned(),
                changes: Mapped::find(&format!("{name}{CHANGES}"))?,
                bytes: layer.bytes,
                view,
            })
        });
        layers
            .collect::<Result<Vec<Layer>>>()
            .map(|layers| Some(Self(layers)))
    }

    /// The mount points of the source that are mounted past their layers.
    pub(crate) fn past(&self, source: &Path, mounts: &[Mount]) -> Vec<String> {
        let is_past = |layer: &&Layer| {
            let target = source.join(layer.mount.trim_start_matches('/'));
            let mut mounted = mounts.iter().filter(|mount| mount.target == target);
            mounted.any(|mount| Path::new(&mount.source).canonicalize().ok() != Some(layer.view.node()))
        };
        self.0
            .iter()
            .filter(is_past)
            .map(|layer| layer.mount.clone())
            .collect()
    }

    /// What is kept, in bytes.
    pub(crate) fn kept_bytes(&self) -> u64 {
        let fills = self.0.iter().filter_map(|layer| fill(&layer.view.status().ok()?));
        let used = fills.map(|fill| match fill {
            Fill::Used { used, .. } => used,
            _ => 0,
        });
        used.sum()
    }

    /// How full the fullest is, in per cent, and which it is.
    pub(crate) fn fullest(&self) -> Option<(u64, &str)> {
        let fills = self.0.iter().filter_map(|layer| {
            let fill = fill(&layer.view.status().ok()?)?;
            Some((fill.percent(), layer.mount.as_str()))
        });
        fills.max()
    }

    /// The mount point of a layer that has lost something, and how: there was no room for it, or its device failed.
    pub(crate) fn lossy(&self) -> Option<(&str, Fill)> {
        self.0.iter().find_map(|layer| {
            let fill = fill(&layer.view.status().ok()?)?;
            fill.is_lossy().then_some((layer.mount.as_str(), fill))
        })
    }

    /// Moves what is kept to the devices, while they are mounted.
    ///
    /// # Errors
    /// When the device mapper cannot; the next boot tries it again.
    pub(crate) fn merge(&self, say: &mut dyn FnMut(&str)) -> Result<()> {
        for layer in &self.0 {
            let table =
                livemode_common::store::snapshot(layer.bytes, &layer.origin, &layer.changes.number(), true);
            layer
                .view
                .replace(&[table])
                .with_context(|| format!("merging {}", layer.mount))?;
        }
        for layer in &self.0 {
            loop {
                let status = layer.view.status()?;
                match fill(&status) {
                    Some(fill) if fill.is_merged() => break,
                    Some(Fill::Used { .. }) => std::thread::sleep(LOOK),
                    _ => bail!("moving what was kept to {} failed: {status}", layer.mount),
                }
            }
            say(&format!("{} is on its disk", layer.mount));
        }
        Ok(())
    }
}
