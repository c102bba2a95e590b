//! `make mutants`: cargo-mutants puts one fault at a time into the modules that only decide, on a copy of the tree, and runs
//! their unit tests; .cargo/mutants.toml says which modules, and what is excused.
use std::fs;
use std::io::IsTerminal;
use std::path::Path;

use anyhow::{ensure, Context, Result};
use livemode_common::cmd::Cmd;
use livemode_tests::binaries::workspace;
use serde_json::Value;

/// Of a hundred faults so many must be noticed.
const LEAST: f64 = 90.0;
/// cargo-mutants' own words for an end with faults that nothing noticed, and with some that made a test run for ever.
const MISSED: i32 = 2;
const TIMEOUT: i32 = 3;

/// Puts the faults in, and judges.
///
/// # Errors
/// When too many go unnoticed, or the tests fail without any.
pub fn run() -> Result<()> {
    let target = workspace().join("target");
    let jobs = std::thread::available_parallelism()?.to_string();
    let mutants = Cmd::new("cargo")
        .args(["mutants", "--no-shuffle", "--jobs", &jobs, "--colors"])
        .arg(if std::io::stdout().is_terminal() {
            "always"
        } else {
            "never"
        })
        .arg("--dir")
        .arg(workspace())
        .arg("--output")
        .arg(&target);
    let status = mutants.spawn(|_| ())?.wait()?;
    ensure!(
        status.success() || matches!(status.code(), Some(MISSED | TIMEOUT)),
        "{mutants}: {status}"
    );
    let outcomes = target.join("mutants.out/outcomes.json");
    let text = fs::read(&outcomes).with_context(|| format!("reading {}", outcomes.display()))?;
    let share = noticed(&serde_json::from_slice(&text)?)?;
    print!("{}", unnoticed(&target.join("mutants.out/missed.txt")));
    println!("{share:.1} % of the faults are noticed");
    ensure!(
        share >= LEAST,
        "under {LEAST} %: write tests, or excuse in .cargo/mutants.toml what cannot be told apart"
    );
    Ok(())
}

/// How many of a hundred faults that compile made a test fail, or run for ever.
fn noticed(outcomes: &Value) -> Result<f64> {
    let count = |name: &str| -> Result<f64> {
        let number = outcomes[name].as_u64();
        Ok(number.with_context(|| format!("no number '{name}' in outcomes.json"))? as f64)
    };
    let (caught, missed) = (count("caught")? + count("timeout")?, count("missed")?);
    ensure!(caught > 0.0, "no fault was put in, or none was noticed");
    Ok(100.0 * caught / (caught + missed))
}

fn unnoticed(list: &Path) -> String {
    let missed = fs::read_to_string(list).unwrap_or_default();
    missed
        .lines()
        .map(|line| format!("unnoticed: {line}\n"))
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_does_not_compile_counts_for_nothing() {
        let outcomes = json!({"total_mutants": 14, "caught": 8, "missed": 1, "timeout": 1, "unviable": 4});
        assert_eq!(noticed(&outcomes).unwrap(), 90.0);
        assert!(noticed(&json!({"caught": 0, "missed": 0, "timeout": 0})).is_err());
        assert!(noticed(&json!({"missed": 1})).is_err());
    }
}
