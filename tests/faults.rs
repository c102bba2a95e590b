//! `make faults N=200 SEED=1`: a power cut at every boundary of the protocol, then N random faults; each machine boots what GRUB
//! picks until it rests. What became of them is in target/faults.json and shown as a table; exit 1 where one is stranded, or is not
//! what it must be.
use std::process::ExitCode;

use anyhow::{bail, Context, Result};
use livemode_tests::binaries::workspace;
use livemode_tests::faults::{run, table, Fault, Moment, References, Row, BOUNDARIES};

fn main() -> ExitCode {
    livemode_common::failure::report("faults", all())
}

fn all() -> Result<()> {
    let mut numbers = std::env::args().skip(1).map(|text| text.parse::<u64>());
    let mut number = |name: &str| -> Result<u64> {
        numbers
            .next()
            .with_context(|| format!("usage: faults N SEED; no {name}"))?
            .with_context(|| format!("{name} is no number"))
    };
    let (count, seed) = (number("N")?, number("SEED")?);
    println!(
        "{} boundaries, then {count} random faults from seed {seed}",
        BOUNDARIES.len()
    );
    let boundaries = (0..BOUNDARIES.len()).map(|number| (0, Fault::Cuts(vec![Moment::Boundary(number)])));
    let random = (seed..seed + count).map(|seed| (seed, Fault::of_seed(seed)));
    let references = References::make()?;
    let mut rows = Vec::new();
    for (seed, fault) in boundaries.chain(random) {
        let row = run(seed, &fault, &references)?;
        println!(
            "{:>8}  {}  {} at {}  (seed {seed}, {} boots)",
            row.outcome,
            if row.identical {
                "as it must be"
            } else {
                "NOT AS IT MUST BE"
            },
            row.fault,
            row.moment,
            row.boots
        );
        rows.push(row);
        let path = workspace().join("target/faults.json");
        std::fs::write(&path, serde_json::to_vec_pretty(&rows)?)
            .with_context(|| format!("writing {}", path.display()))?;
    }
    print!("\n{}", table(&rows));
    let is_wrong = |row: &&Row| row.outcome == "stranded" || !row.identical;
    match rows.iter().filter(is_wrong).count() {
        0 => Ok(()),
        wrong => bail!("{wrong} of {} machines are not as they must be", rows.len()),
    }
}
