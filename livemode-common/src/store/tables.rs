//! Tables of the device mapper (Documentation/admin-guide/device-mapper/), in sectors of 512 bytes. Pure.
use super::Map;

/// Name of the device that shows the store's address space.
pub const STORE_DEVICE: &str = "livemode-store";
/// How the devices through which the upgrade sees the source system are named, before [`super::Layer::name`].
pub const LAYER_PREFIX: &str = "livemode-";
/// What is kept of a device is kept in chunks of this many sectors: 8 KiB.
const CHUNK: u64 = 16;
const SECTOR: u64 = 512;

/// A target of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Where it begins in its device.
    pub start: u64,
    /// How long it is.
    pub sectors: u64,
    /// Its kind.
    pub kind: &'static str,
    /// What the kind reads.
    pub parameters: String,
}

/// The table of a device that shows a part of the store's address space, `bytes` bytes at `at`, which lies on `device`
/// (`MAJOR:MINOR`).
pub fn linear(map: &Map, at: u64, bytes: u64, device: &str) -> Vec<Target> {
    let mut start = 0;
    map.runs(at, bytes)
        .iter()
        .map(|run| {
            let target = Target {
                start,
                sectors: run.bytes / SECTOR,
                kind: "linear",
                parameters: format!("{device} {}", run.disk / SECTOR),
            };
            start += target.sectors;
            target
        })
        .collect()
}

/// The table of a layer: what is written to it is kept in `changes`, and with `merge` moved to the `origin`. "PO": persistent, and
/// once it is full only writes fail (Documentation/admin-guide/device-mapper/snapshot.rst); without the O reads would fail too,
/// those of the image among them.
pub fn snapshot(bytes: u64, origin: &str, changes: &str, merge: bool) -> Target {
    Target {
        start: 0,
        sectors: bytes / SECTOR,
        kind: if merge { "snapshot-merge" } else { "snapshot" },
        parameters: format!("{origin} {changes} PO {CHUNK}"),
    }
}

/// How full the store of a layer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fill {
    /// In bytes.
    Used {
        /// All that is kept.
        used: u64,
        /// What there is room for.
        total: u64,
        /// How much of it is the device mapper's own; all of it when nothing is left to merge.
        own: u64,
    },
    /// There was no room for a write, which is lost; the layer still reads.
    Full,
    /// Its device failed: the layer no longer reads or writes.
    Invalid,
    /// The merge has failed; it can be tried again.
    MergeFailed,
}

impl Fill {
    /// Whether nothing is left to merge.
    pub fn is_merged(self) -> bool {
        matches!(self, Self::Used { used, own, .. } if used == own)
    }

    /// Whether something that was written is lost.
    pub fn is_lossy(self) -> bool {
        matches!(self, Self::Full | Self::Invalid)
    }

    /// How full, in per cent.
    pub fn percent(self) -> u64 {
        match self {
            Self::Used { used, total, .. } => used.saturating_mul(100) / total.max(1),
            Self::Full | Self::Invalid | Self::MergeFailed => 100,
        }
    }
}

/// The status line of a snapshot: `used/total own`.
pub fn fill(status: &str) -> Option<Fill> {
    match status.trim() {
        "Invalid" => return Some(Fill::Invalid),
        "Overflow" => return Some(Fill::Full),
        "Merge failed" => return Some(Fill::MergeFailed),
        _ => {}
    }
    let (used, rest) = status.trim().split_once('/')?;
    let (total, own) = rest.split_once(' ')?;
    let bytes = |sectors: &str| sectors.trim().parse::<u64>().ok().map(|n| n * SECTOR);
    Some(Fill::Used {
        used: bytes(used)?,
        total: bytes(total)?,
        own: bytes(own)?,
    })
}

#[cfg(test)]
mod tests {
    use super::super::Extent;
    use super::*;

    #[test]
    fn a_part_of_the_store_is_its_runs_one_after_the_other() {
        let extents = [(0, 8 << 20, 4 << 20), (4 << 20, 1 << 20, 2 << 20)].map(
            |(logical, physical, bytes): (u64, u64, u64)| Extent {
                logical,
                physical,
                bytes,
                flags: 0,
            },
        );
        let map = Map::new(&extents, 6 << 20).unwrap();
        let lines: Vec<String> = linear(&map, 2 << 20, 3 << 20, "253:1")
            .iter()
            .map(|t| format!("{} {} {} {}", t.start, t.sectors, t.kind, t.parameters))
            .collect();
        assert_eq!(
            lines,
            ["0 4088 linear 253:1 20488", "4088 2056 linear 253:1 2056"]
        );
    }

    #[test]
    fn a_layer_keeps_or_merges() {
        let table = snapshot(1 << 20, "253:1", "254:0", false);
        assert_eq!(
            (table.kind, table.sectors, table.parameters.as_str()),
            ("snapshot", 2048, "253:1 254:0 PO 16")
        );
        assert_eq!(snapshot(1 << 20, "253:1", "254:0", true).kind, "snapshot-merge");
    }

    #[test]
    fn a_status_says_how_full_it_is() {
        let used = |used: u64, total: u64, own: u64| {
            Some(Fill::Used {
                used: used * 512,
                total: total * 512,
                own: own * 512,
            })
        };
        for (status, expected, percent, merged) in [
            ("32/2048 32", used(32, 2048, 32), 1, true),
            ("2000/2048 16", used(2000, 2048, 16), 97, false),
            ("Invalid", Some(Fill::Invalid), 100, false),
            ("Overflow", Some(Fill::Full), 100, false),
            ("Merge failed", Some(Fill::MergeFailed), 100, false),
        ] {
            let fill = fill(status);
            assert_eq!(fill, expected, "{status}");
            assert_eq!(fill.map(Fill::percent), Some(percent), "{status}");
            assert_eq!(fill.map(Fill::is_merged), Some(merged), "{status}");
            let lossy = ["Invalid", "Overflow"].contains(&status);
            assert_eq!(fill.map(Fill::is_lossy), Some(lossy), "{status}");
        }
        assert_eq!(fill("Unknown"), None);
        assert_eq!(fill("1/x 2"), None);
    }
}
