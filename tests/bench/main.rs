//! `make bench`: each of our steps beside what users would use instead, on one machine in one run, as ratios.
mod boot;
mod image;
mod initramfs;
mod row;
mod sizes;
mod subject;

use std::process::ExitCode;

use anyhow::{Context, Result};
use livemode_tests::binaries::workspace;

use crate::row::Row;
use crate::subject::Subject;

fn main() -> ExitCode {
    livemode_common::failure::report("bench", run())
}

fn run() -> Result<()> {
    let subject = Subject::new()?;
    let mut rows = sizes::rows()?;
    rows.extend(image::rows(&subject)?);
    let initramfs = initramfs::make_both(&subject)?;
    rows.extend(initramfs.rows()?);
    rows.extend(boot::rows(&initramfs)?);

    println!("{}", Row::HEAD);
    rows.iter().for_each(|row| println!("{row}"));
    let path = workspace().join("target/bench.json");
    std::fs::write(&path, serde_json::to_vec_pretty(&rows)?)
        .with_context(|| format!("writing {}", path.display()))?;
    println!("written to {}", path.display());
    Ok(())
}
