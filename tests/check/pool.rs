//! Runs tests side by side, each in a process of its own whose output is kept in target/check.
use std::collections::VecDeque;
use std::fs::{self, File};
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Mutex;
use std::time::Instant;

use anyhow::{Context, Result};
use livemode_common::cmd::Cmd;
use livemode_tests::binaries::workspace;

/// One process.
#[derive(Debug)]
pub struct Job {
    /// BINARY::TEST, or the binary's alone.
    pub name: String,
    /// The test binary's name.
    pub binary: String,
    /// Its file.
    pub executable: PathBuf,
    /// Where it is started.
    pub package: PathBuf,
    /// Its tests to run.
    pub tests: Vec<String>,
    /// How long it took the last time.
    pub seconds: Option<f64>,
}

/// How a job went.
#[derive(Debug)]
pub struct Outcome {
    /// As the job's.
    pub name: String,
    /// As the job's.
    pub binary: String,
    /// Of the clock.
    pub seconds: f64,
    /// Tests.
    pub passed: usize,
    /// Tests, those that did not come to an end included.
    pub failed: usize,
}

/// Runs them in their order, `width` at a time, all of them; a failed one's output is shown at once.
///
/// # Errors
/// When a process cannot be started or its output not be kept.
pub fn run(jobs: Vec<Job>, width: usize) -> Result<Vec<Outcome>> {
    let logs = workspace().join("target/check");
    fs::create_dir_all(&logs).with_context(|| format!("creating {}", logs.display()))?;
    let (queue, outcomes) = (Mutex::new(VecDeque::from(jobs)), Mutex::new(Vec::new()));
    let work = || -> Result<()> {
        let next = || queue.lock().expect("no worker panics").pop_front();
        while let Some(job) = next() {
            let log = logs.join(format!("{}.log", job.name.replace("::", ".")));
            let outcome = one(&job, &log)?;
            let word = if outcome.failed == 0 { "ok" } else { "FAILED" };
            println!("{:7.1} s  {word}  {}", outcome.seconds, outcome.name);
            if outcome.failed > 0 {
                println!("{}", fs::read_to_string(&log).unwrap_or_default());
            }
            outcomes.lock().expect("no worker panics").push(outcome);
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..width).map(|_| scope.spawn(work)).collect();
        workers
            .into_iter()
            .try_for_each(|worker| worker.join().expect("no worker panics"))
    })?;
    Ok(outcomes.into_inner().expect("no worker panics"))
}

fn one(job: &Job, log: &PathBuf) -> Result<Outcome> {
    let started = Instant::now();
    let output = File::create(log).with_context(|| format!("creating {}", log.display()))?;
    let errors = output.try_clone()?;
    let test = Cmd::new(&job.executable).arg("--exact").args(&job.tests);
    let mut child = test.spawn(|command| {
        command.current_dir(&job.package).stdin(Stdio::null());
        command.stdout(output).stderr(errors);
    })?;
    child.wait()?;
    let said = String::from_utf8_lossy(&fs::read(log).unwrap_or_default()).into_owned();
    let passed = passed(&said).unwrap_or(0).min(job.tests.len());
    Ok(Outcome {
        name: job.name.clone(),
        binary: job.binary.clone(),
        seconds: started.elapsed().as_secs_f64(),
        passed,
        failed: job.tests.len() - passed,
    })
}

/// How many passed, by the last line of a test binary.
fn passed(said: &str) -> Option<usize> {
    let line = said
        .lines()
        .rev()
        .find(|line| line.starts_with("test result: "))?;
    let (_, counts) = line.split_once(". ")?;
    counts.split_once(" passed")?.0.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_test_binary_says_at_its_end_counts() {
        for (said, count) in [
            ("running 2 tests\n\ntest result: ok. 2 passed; 0 failed; 0 ignored; 0 measured; 1 filtered out\n\n", Some(2)),
            ("test result: FAILED. 1 passed; 1 failed; 0 ignored\n", Some(1)),
            ("running 2 tests\ntest a ... ok\n", None),
            ("", None),
        ] {
            assert_eq!(passed(said), count, "{said}");
        }
    }
}
