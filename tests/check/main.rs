//! What `make check` runs the tests with: those of a tier, as many at a time as this machine has processors and memory for,
//! the longest first; it tells how long each took.
mod mutants;
mod pool;
mod suite;
mod times;

use std::process::ExitCode;

use anyhow::{bail, ensure, Result};
use livemode_tests::slot;
use livemode_tests::testbed::{self, Suite};

use crate::suite::Tier;

fn main() -> ExitCode {
    livemode_common::failure::report("check", run())
}

fn run() -> Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["trees"] => trees(),
        ["fast"] => tests(&[Tier::Fast, Tier::Golden]),
        ["machines"] => tests(&[Tier::Golden, Tier::Root, Tier::Vm]),
        ["packages"] => tests(&[Tier::Packages]),
        ["times"] => times::finish(),
        ["mutants"] => mutants::run(),
        _ => bail!("give one of: trees, fast, machines, packages, times, mutants"),
    }
}

/// Makes what all tests wait for otherwise, two at a time: the trees come from packages, one processor each.
fn trees() -> Result<()> {
    std::thread::scope(|scope| {
        let source = scope.spawn(testbed::source);
        // The repositories, which both need, are made once.
        let trixie =
            scope.spawn(|| testbed::container(Suite::Bookworm).and(testbed::container(Suite::Trixie)));
        for made in [source, trixie] {
            made.join().expect("making a tree does not panic")?;
        }
        Ok(())
    })
}

fn tests(tiers: &[Tier]) -> Result<()> {
    let known = times::known();
    let binaries = suite::binaries()?;
    let mut jobs = Vec::new();
    for tier in tiers {
        jobs.extend(suite::jobs(&binaries, *tier, &known));
    }
    let outcomes = pool::run(jobs, usize::try_from(slot::count()?)?)?;
    times::add_tests(&outcomes)?;
    let passed: usize = outcomes.iter().map(|outcome| outcome.passed).sum();
    let failed: Vec<&str> = outcomes
        .iter()
        .filter(|outcome| outcome.failed > 0)
        .map(|outcome| outcome.name.as_str())
        .collect();
    let count: usize = outcomes.iter().map(|outcome| outcome.failed).sum();
    println!("{passed} passed, {count} failed");
    ensure!(failed.is_empty(), "failed: {}", failed.join(", "));
    ensure!(passed > 0, "no test was run");
    Ok(())
}
