//! Where a machine rests, and whether that is what it must be. Pure.
use std::collections::BTreeMap;

use livemode_common::records::{Phase, State};
use serde::Serialize;

/// One row of `target/faults.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Row {
    /// What its random choices came from.
    pub seed: u64,
    /// What happened.
    pub fault: String,
    /// When.
    pub moment: String,
    /// The boot loader.
    pub loader: &'static str,
    /// The source system's storage.
    pub layout: &'static str,
    /// Where it rests.
    pub outcome: Outcome,
    /// Whether the system is what it must be: the old one, file by file, or the one that an upgrade without a fault gives; or
    /// one that holds and says so.
    pub identical: bool,
    /// How often it booted by itself or after a cut.
    pub boots: usize,
}

/// Where a machine rests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// In the old system, which is as it was.
    Old,
    /// In the upgraded system, whole.
    New,
    /// In the live system, where somebody can log in and read what happened.
    Holding,
    /// Anywhere else.
    Stranded,
}

impl Outcome {
    const ALL: [Self; 4] = [Self::Old, Self::New, Self::Holding, Self::Stranded];

    /// As a row has it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Old => "old",
            Self::New => "new",
            Self::Holding => "holding",
            Self::Stranded => "stranded",
        }
    }
}

/// How the last life of a machine ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// A system has told what it is, and powered off.
    Off,
    /// The live system stays up; this is what whoever logs in is told by `livemode-run status`.
    Held(String),
    /// It did not come to rest, or nobody could log in.
    Never(String),
}

/// What is found of a machine at rest.
#[derive(Debug, Clone)]
pub struct Found {
    /// How it came there.
    pub end: End,
    /// What the system said that booted last: its release and packages.
    pub report: Vec<String>,
    /// The record on its disk, or why there is none that can be read.
    pub state: Result<State, String>,
    /// What `livemode-prep status` says there, or why it does not.
    pub status: Result<String, String>,
    /// What is not as in the old system.
    pub unlike_old: Vec<String>,
    /// What is not as in the upgraded system.
    pub unlike_new: Vec<String>,
}

/// Where it rests, and what is wrong with that.
pub fn judge(found: &Found, old: &[String], new: &[String]) -> (Outcome, Vec<String>) {
    let mut wrong = Vec::new();
    if let Err(why) = &found.status {
        wrong.push(format!("livemode-prep status: {why}"));
    }
    let state = match &found.state {
        Ok(state) => state,
        Err(why) => return (Outcome::Stranded, vec![format!("no record: {why}")]),
    };
    match &found.end {
        End::Never(why) => return (Outcome::Stranded, vec![why.clone()]),
        End::Held(status) => {
            if !matches!(state.state, Phase::Failed | Phase::Upgrading) || !status.contains("do now") {
                wrong.push(format!("it holds, and is {}: {status}", state.state));
            }
            return (Outcome::Holding, wrong);
        }
        End::Off => {}
    }
    let is = |report: &[String]| !report.is_empty() && found.report == report;
    let outcome = if is(old) {
        wrong.extend(found.unlike_old.iter().cloned());
        let is_given_up = state.atomic && state.state == Phase::Upgrading;
        let is_before = matches!(state.state, Phase::Prepared | Phase::Booted | Phase::Failed);
        if !(is_before || is_given_up) || state.begun {
            wrong.push(format!(
                "the old system runs, and the record says {}",
                state.state
            ));
        }
        Outcome::Old
    } else if is(new) {
        wrong.extend(found.unlike_new.iter().cloned());
        if state.state != Phase::Succeeded {
            wrong.push(format!(
                "the upgraded system runs, and the record says {}",
                state.state
            ));
        }
        Outcome::New
    } else {
        return (
            Outcome::Stranded,
            vec![format!("neither old nor new: {:?}", found.report)],
        );
    };
    (outcome, wrong)
}

/// What became of the machines, as a table for each layout.
pub fn table(rows: &[Row]) -> String {
    let mut counts: BTreeMap<&str, BTreeMap<&str, BTreeMap<Outcome, u32>>> = BTreeMap::new();
    for row in rows {
        let faults = counts.entry(row.layout).or_default();
        let outcomes = faults.entry(&row.fault).or_default();
        *outcomes.entry(row.outcome).or_default() += 1;
    }
    let names = counts
        .iter()
        .flat_map(|(layout, faults)| faults.keys().chain([layout]));
    let width = names.map(|name| name.len()).max().unwrap_or(0);
    let mut text = String::new();
    for (layout, faults) in counts {
        text.push_str(&format!("{layout:<width$}"));
        for outcome in Outcome::ALL {
            text.push_str(&format!("{:>10}", outcome.name()));
        }
        text.push('\n');
        for (fault, counts) in faults {
            text.push_str(&format!("{fault:<width$}"));
            for outcome in Outcome::ALL {
                text.push_str(&format!("{:>10}", counts.get(&outcome).copied().unwrap_or(0)));
            }
            text.push('\n');
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(end: End, report: &str, state: Phase) -> Found {
        Found {
            end,
            report: vec![report.into()],
            state: Ok(State {
                state,
                ..State::default()
            }),
            status: Ok(String::new()),
            unlike_old: Vec::new(),
            unlike_new: Vec::new(),
        }
    }

    fn judged(found: &Found) -> (Outcome, bool) {
        let (outcome, wrong) = judge(found, &["release 1".into()], &["release 2".into()]);
        (outcome, wrong.is_empty())
    }

    #[test]
    fn a_machine_rests_in_the_old_or_the_new_system_or_holds_and_says_so() {
        let held = |status: &str| End::Held(status.into());
        for (end, report, state, outcome, is_right) in [
            (End::Off, "release 1", Phase::Prepared, Outcome::Old, true),
            (End::Off, "release 1", Phase::Failed, Outcome::Old, true),
            (End::Off, "release 1", Phase::Upgrading, Outcome::Old, false),
            (End::Off, "release 1", Phase::Succeeded, Outcome::Old, false),
            (End::Off, "release 2", Phase::Succeeded, Outcome::New, true),
            (End::Off, "release 2", Phase::Finishing, Outcome::New, false),
            (End::Off, "release 3", Phase::Succeeded, Outcome::Stranded, false),
            (
                held("do now  type: upgrade"),
                "",
                Phase::Failed,
                Outcome::Holding,
                true,
            ),
            (
                held("command not found"),
                "",
                Phase::Failed,
                Outcome::Holding,
                false,
            ),
            (
                held("do now  type: upgrade"),
                "",
                Phase::Booted,
                Outcome::Holding,
                false,
            ),
            (
                End::Never("a menu".into()),
                "release 1",
                Phase::Prepared,
                Outcome::Stranded,
                false,
            ),
        ] {
            let found = found(end, report, state);
            assert_eq!(judged(&found), (outcome, is_right), "{found:?}");
        }
    }

    #[test]
    fn a_system_that_is_not_the_same_and_a_record_that_cannot_be_read_are_wrong() {
        let whole = found(End::Off, "release 1", Phase::Failed);
        let begun = State {
            begun: true,
            ..whole.state.clone().unwrap()
        };
        for (found, outcome) in [
            (
                Found {
                    unlike_old: vec!["/etc: it is gone".into()],
                    ..whole.clone()
                },
                Outcome::Old,
            ),
            (
                Found {
                    status: Err("exit 1".into()),
                    ..whole.clone()
                },
                Outcome::Old,
            ),
            (
                Found {
                    state: Ok(begun),
                    ..whole.clone()
                },
                Outcome::Old,
            ),
            (
                Found {
                    state: Err("torn".into()),
                    ..whole.clone()
                },
                Outcome::Stranded,
            ),
        ] {
            assert_eq!(judged(&found), (outcome, false), "{found:?}");
        }
        let other = Found {
            unlike_new: vec!["/etc: it is gone".into()],
            ..whole
        };
        assert_eq!(
            judged(&other),
            (Outcome::Old, true),
            "only its own reference counts"
        );
    }

    #[test]
    fn the_table_counts_by_layout_and_fault() {
        let row = |layout, fault: &str, outcome| Row {
            seed: 1,
            fault: fault.into(),
            moment: String::new(),
            loader: "",
            layout,
            outcome,
            identical: true,
            boots: 1,
        };
        let rows = [
            row("ext4", "power cut", Outcome::Old),
            row("ext4", "power cut", Outcome::New),
            row("xfs", "power cut", Outcome::Old),
            row("ext4", "power cut", Outcome::Old),
        ];
        assert_eq!(
            table(&rows),
            "ext4            old       new   holding  stranded\npower cut         2         1         0         0\n\
             xfs             old       new   holding  stranded\npower cut         1         0         0         0\n"
        );
    }
}
