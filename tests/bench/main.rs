//! `make bench`: each of our steps beside what users would use instead, on one machine in one run, as ratios.
mod boot;
mod build;
mod digest;
mod image;
mod initramfs;
mod layers;
mod pair;
mod ram;
mod row;
mod sizes;
mod start;
mod subject;

use std::fs;
use std::process::ExitCode;

use anyhow::{ensure, Context, Result};
use livemode_tests::binaries::workspace;

use crate::row::Row;
use crate::subject::Subject;

fn main() -> ExitCode {
    livemode_common::failure::report("bench", run())
}

/// How something is measured.
type Measure = fn() -> Result<Vec<Row>>;

/// What is measured: a name, by which it can be asked for alone, and how.
const PARTS: [(&str, Measure); 8] = [
    ("sizes", sizes::rows),
    ("image", || image::rows(&Subject::new()?)),
    ("initramfs", || {
        let both = initramfs::make_both(&Subject::new()?)?;
        Ok([both.rows()?, boot::rows(&both)?].concat())
    }),
    ("digest", digest::rows),
    ("build", build::rows),
    ("start", start::rows),
    ("layers", layers::rows),
    ("ram", ram::rows),
];

fn run() -> Result<()> {
    let wanted: Vec<String> = std::env::args().skip(1).collect();
    let mut rows = Vec::new();
    for (name, measure) in PARTS {
        if wanted.is_empty() || wanted.iter().any(|part| part == name) {
            rows.extend(measure()?);
        }
    }
    ensure!(!rows.is_empty(), "nothing of that name is measured: {wanted:?}");

    println!("{}", Row::HEAD);
    rows.iter().for_each(|row| println!("{row}"));
    let path = workspace().join("target/bench.json");
    let kept = fs::read(&path)
        .ok()
        .and_then(|json| serde_json::from_slice(&json).ok());
    let json = row::merged(kept.unwrap_or_default(), &rows)?;
    fs::write(&path, serde_json::to_vec_pretty(&json)?)
        .with_context(|| format!("writing {}", path.display()))?;
    println!("written to {}", path.display());
    Ok(())
}
