//! Where the time went: target/times grows by a line for each part, `SECONDS<tab>PROCESSOR-SECONDS<tab>NAME` (tests/part.sh
//! writes these), and for each test, `SECONDS<tab><tab>BINARY::NAME`; at the end it is shown, and written to target/times.json.
use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::PathBuf;

use anyhow::{bail, Context, Result};
use livemode_tests::binaries::workspace;
use livemode_tests::cache;

use crate::pool::Outcome;

/// Of the tests, so many are shown.
const LONGEST: usize = 12;

fn lines() -> PathBuf {
    workspace().join("target/times")
}

/// By which the next run orders its tests; it outlives the tree.
fn kept() -> PathBuf {
    cache::dir().join("times.json")
}

/// How long each test took in the last run; nothing where there was none.
pub fn known() -> BTreeMap<String, f64> {
    let text = fs::read(kept()).unwrap_or_default();
    serde_json::from_slice(&text).unwrap_or_default()
}

/// Adds the tests, and the sums of their binaries.
///
/// # Errors
/// When the files cannot be written.
pub fn add_tests(outcomes: &[Outcome]) -> Result<()> {
    let mut all = known();
    let mut text = String::new();
    for outcome in outcomes {
        text.push_str(&format!(
            "{:.1}\t\t{}::{}\n",
            outcome.seconds,
            outcome.binary,
            test_of(outcome)
        ));
        all.insert(outcome.name.clone(), outcome.seconds);
    }
    let mut file = fs::File::options()
        .create(true)
        .append(true)
        .open(lines())
        .context("opening target/times")?;
    file.write_all(text.as_bytes())?;
    let kept = kept();
    fs::create_dir_all(cache::dir()).context("creating the cache")?;
    fs::write(&kept, serde_json::to_vec_pretty(&all)?).with_context(|| format!("writing {}", kept.display()))
}

/// What comes after the binary's name.
fn test_of(outcome: &Outcome) -> &str {
    let rest = outcome
        .name
        .strip_prefix(&outcome.binary)
        .unwrap_or(&outcome.name);
    rest.strip_prefix("::").unwrap_or("all fast")
}

/// Shows where the time went, and writes it to target/times.json.
///
/// # Errors
/// When there is nothing to show.
pub fn finish() -> Result<()> {
    let text = fs::read_to_string(lines()).context("reading target/times")?;
    let times = Times::parse(&text)?;
    print!("{}", times.shown());
    let path = workspace().join("target/times.json");
    fs::write(&path, serde_json::to_vec_pretty(&times.all())?)
        .with_context(|| format!("writing {}", path.display()))
}

/// Seconds, each list in the order in which they were written.
#[derive(Debug, Default, PartialEq)]
struct Times {
    /// One after the other: their sum is the whole. By the clock, and of all processors.
    parts: Vec<(String, f64, f64)>,
    /// Of test binaries, the sum over their tests, of which several run at a time.
    binaries: BTreeMap<String, f64>,
    tests: Vec<(String, f64)>,
}

impl Times {
    fn parse(text: &str) -> Result<Self> {
        let mut times = Self::default();
        for line in text.lines() {
            let fields: Vec<&str> = line.split('\t').collect();
            let [seconds, processor, name] = fields[..] else {
                bail!("not three fields: '{line}'");
            };
            let number = |text: &str| text.parse::<f64>().with_context(|| format!("reading '{line}'"));
            match name.split_once("::") {
                Some((binary, _)) => {
                    *times.binaries.entry(format!("tests/{binary}")).or_default() += number(seconds)?;
                    times.tests.push((name.to_owned(), number(seconds)?));
                }
                None => times
                    .parts
                    .push((name.to_owned(), number(seconds)?, number(processor)?)),
            }
        }
        Ok(times)
    }

    fn shown(&self) -> String {
        let part =
            |name: &str, seconds: f64, processor: f64| format!("{seconds:8.1} {processor:9.1}  {name}\n");
        let mut text = String::from("\n seconds processor  of parts\n");
        for (name, seconds, processor) in &self.parts {
            text.push_str(&part(name, *seconds, *processor));
        }
        let sum = |of: fn(&(String, f64, f64)) -> f64| self.parts.iter().map(of).sum();
        text.push_str(&part("in all", sum(|part| part.1), sum(|part| part.2)));
        let line = |name: &str, seconds: f64| format!("{seconds:8.1}  {name}\n");
        text.push_str("\n seconds  of test binaries, whose tests run several at a time\n");
        for (name, seconds) in &self.binaries {
            text.push_str(&line(name, *seconds));
        }
        text.push_str("\n seconds  of the longest tests\n");
        let mut tests: Vec<_> = self.tests.iter().collect();
        tests.sort_by(|a, b| b.1.total_cmp(&a.1));
        for (name, seconds) in tests.into_iter().take(LONGEST) {
            text.push_str(&line(name, *seconds));
        }
        text
    }

    fn all(&self) -> BTreeMap<String, f64> {
        let parts = self.parts.iter().map(|(name, seconds, _)| (name, seconds));
        let rest = self
            .binaries
            .iter()
            .chain(self.tests.iter().map(|(name, seconds)| (name, seconds)));
        parts
            .chain(rest)
            .map(|(name, seconds)| (name.clone(), *seconds))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_add_up_and_tests_are_summed_by_their_binary() {
        let times = Times::parse(
            "1.5\t2.0\tfmt\n10.0\t\tvm::vm_a\n4.0\t\tvm::vm_b\n0.5\t\tcli::all fast\n9.0\t18.0\tmachines\n",
        );
        let times = times.unwrap();
        let parts = [("fmt", 1.5, 2.0), ("machines", 9.0, 18.0)];
        assert_eq!(
            times.parts,
            parts.map(|(name, seconds, processor)| (name.to_owned(), seconds, processor))
        );
        let all = times.all();
        assert_eq!(
            (all["tests/vm"], all["tests/cli"], all["vm::vm_b"], all["fmt"]),
            (14.0, 0.5, 4.0, 1.5)
        );
        let shown = times.shown();
        assert!(shown.contains("    10.5      20.0  in all\n"), "{shown}");
        assert!(shown.find("vm::vm_a") < shown.find("vm::vm_b"), "{shown}");
        assert!(Times::parse("fmt 1.5\n").is_err());
    }
}
