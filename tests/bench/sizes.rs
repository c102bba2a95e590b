//! The binaries of a plain release build, beside their limits.
use anyhow::Result;
use livemode_tests::binaries::binary;

use crate::row::Row;

const MIB: f64 = (1 << 20) as f64;
const LIMITS: [(&str, f64); 3] = [
    ("livemode-boot", MIB),
    ("livemode-prep", 3.0 * MIB),
    ("livemode-run", 3.0 * MIB),
];

pub(crate) fn rows() -> Result<Vec<Row>> {
    let row = |(name, limit): (&str, f64)| -> Result<Row> {
        Ok(Row {
            name: format!("size_{name}"),
            ours: std::fs::metadata(binary(name))?.len() as f64,
            theirs: limit,
            unit: "bytes",
            bar: Some(1.0),
            what: "the binary, beside its limit",
        })
    };
    LIMITS.into_iter().map(row).collect()
}
