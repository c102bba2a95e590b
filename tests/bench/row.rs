//! One comparison, and how it is measured.
use std::fmt;

use anyhow::Result;
use livemode_common::cmd::Cmd;
use nix::sys::resource::{getrusage, UsageWho};
use serde::ser::{Serialize, SerializeStruct, Serializer};
use serde_json::Value;

/// Ours beside theirs.
#[derive(Clone)]
pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) ours: f64,
    pub(crate) theirs: f64,
    pub(crate) unit: &'static str,
    /// What the ratio is not to exceed.
    pub(crate) bar: Option<f64>,
    /// What is compared, for a person.
    pub(crate) what: &'static str,
}

impl Row {
    pub(crate) const HEAD: &str = "name                      ours       theirs  unit    ratio    bar  what";

    fn ratio(&self) -> f64 {
        self.ours / self.theirs
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = |n: f64| {
            if n < 1000.0 {
                format!("{n:.2}")
            } else {
                format!("{n:.0}")
            }
        };
        let ratio = self.ratio();
        let bar = self.bar.map_or("-".to_owned(), |bar| format!("{bar:.3}"));
        let missed = if self.bar.is_some_and(|bar| ratio > bar) {
            "  MISSED"
        } else {
            ""
        };
        write!(
            f,
            "{:<18} {:>11} {:>12}  {:<6} {ratio:>6.3} {bar:>6}  {}{missed}",
            self.name,
            number(self.ours),
            number(self.theirs),
            self.unit,
            self.what
        )
    }
}

impl Serialize for Row {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut row = serializer.serialize_struct("Row", 5)?;
        row.serialize_field("name", &self.name)?;
        row.serialize_field("ours", &self.ours)?;
        row.serialize_field("theirs", &self.theirs)?;
        row.serialize_field("unit", self.unit)?;
        row.serialize_field("ratio", &self.ratio())?;
        row.end()
    }
}

/// The rows of earlier runs, as JSON, with these in the place of those of the same name.
pub(crate) fn merged(mut all: Vec<Value>, rows: &[Row]) -> Result<Vec<Value>> {
    for row in rows {
        all.retain(|known| known["name"] != row.name.as_str());
        all.push(serde_json::to_value(row)?);
    }
    Ok(all)
}

/// Runs it and gives the processor time of it and all it started, in seconds.
pub(crate) fn cpu_s(command: &Cmd) -> Result<f64> {
    processor_s(|| command.run())
}

/// Processor time of this program and of all programs that it starts meanwhile and waits for, in seconds (getrusage(2)).
pub(crate) fn processor_s(act: impl FnOnce() -> Result<()>) -> Result<f64> {
    let used = || -> Result<f64> {
        let seconds = |t: nix::sys::time::TimeVal| t.tv_sec() as f64 + t.tv_usec() as f64 / 1e6;
        let mut all = 0.0;
        for who in [UsageWho::RUSAGE_SELF, UsageWho::RUSAGE_CHILDREN] {
            let usage = getrusage(who)?;
            all += seconds(usage.user_time()) + seconds(usage.system_time());
        }
        Ok(all)
    };
    let before = used()?;
    act()?;
    Ok(used()? - before)
}

/// The middle one.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
