//! One life of a machine, from its start to its end or the next cut, told from its console.
use std::time::Duration;

use anyhow::Result;

use super::row::End;
use super::{Moment, BOUNDARIES, BOUNDARIES_IN_LAYERS, MERGE_BEGINS};
use crate::subject::Subject;
use crate::vm::{Running, Stalled};

/// What a boot shows that waits for somebody, and that somebody can log in.
const STAYS: &str = "livemode: this live system stays up";
const LOG_IN: &str = "login:";
const LEAPP_RUNS: &str = "livemode: attempt 1, step 1 of 2";
const PROMPT: &str = "root@demo-source:~#";
/// The last, or only, file system of the source is.
const MERGED: &str = "livemode: / is on its disk";

/// How far a machine has come.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Progress {
    /// What it has taken the processor.
    pub(super) spent: Duration,
    /// The same when the merge began, and when it was over.
    merge_began: Option<Duration>,
    merged: Option<Duration>,
}

impl Progress {
    pub(super) fn look(&mut self, running: &Running, console: &str) {
        self.spent = running.processor_time().unwrap_or_default().max(self.spent);
        for (shown, seen) in [(MERGE_BEGINS, &mut self.merge_began), (MERGED, &mut self.merged)] {
            if seen.is_none() && console.contains(shown) {
                *seen = Some(self.spent);
            }
        }
    }

    pub(super) fn merge(self) -> Duration {
        let ends = self.merge_began.zip(self.merged);
        ends.map_or(Duration::ZERO, |(began, over)| over.saturating_sub(began))
    }
}

/// How it went.
pub(super) struct Life {
    pub(super) end: Option<End>,
    pub(super) moment: String,
    pub(super) console: String,
}

impl Life {
    pub(super) fn boots(&self) -> usize {
        self.console.matches("Booting `").count()
    }
}

impl Moment {
    /// `merge` is what a whole merge takes the processor.
    pub(super) fn has_come(&self, progress: Progress, merge: Duration, console: &str) -> bool {
        match self {
            Self::Boundary(shown) => console.contains(shown),
            Self::Time(time) => progress.spent >= *time,
            Self::Merge(percent) => progress
                .merge_began
                .is_some_and(|began| progress.spent >= began + merge * *percent / 100),
        }
    }
}

/// How far the machine is that shows this, in words.
pub(super) fn described(running: &Running, console: &str) -> String {
    let shown = BOUNDARIES.iter().chain(&BOUNDARIES_IN_LAYERS);
    let last = shown
        .filter_map(|(name, text)| Some((console.rfind(text)?, (name, text))))
        .max()
        .map(|(_, boundary)| boundary);
    let seconds = running.processor_time().unwrap_or_default().as_secs_f32();
    let after = last.map_or("the loader's start", |(name, _)| name);
    format!("{seconds:.1} s, after: {after}")
}

/// One life of the machine: until it is cut, is held, or rests.
pub(super) fn life(subject: &Subject, cut: Option<&Moment>, typed: Option<&str>) -> Result<Life> {
    let lived = subject.started_until_it_rests(|mut running| {
        let mut moment = String::new();
        let mut progress = Progress::default();
        if let Some(typed) = typed {
            running.until(
                |console| console.contains(LEAPP_RUNS) && console.contains(LOG_IN),
                "leapp",
            )?;
            running.type_line("root")?;
            running.expect(PROMPT)?;
            running.type_line(typed)?;
        }
        let seen = running.until_both(
            |running, console| {
                progress.look(running, console);
                let is_over = cut.is_some_and(|cut| cut.has_come(progress, Duration::ZERO, console));
                // A machine that holds is cut while it does.
                let is_held = is_held(console);
                if is_over || (is_held && cut.is_some()) {
                    moment = described(running, console);
                }
                is_over || is_held
            },
            "the machine's end",
        );
        let end = match &seen {
            Err(error) if error.is::<Stalled>() => return seen.map(|_| unreachable!("it is an error")),
            // One that loops or waits for a keyboard has no end.
            Err(error) => Some(End::Never(format!("{error:#}"))),
            Ok(_) if !moment.is_empty() => None,
            Ok(console) if is_held(console) => Some(logged_in(&mut running)),
            Ok(_) => Some(End::Off),
        };
        let console = running.console();
        Ok(Life { end, moment, console })
    })?;
    Ok(lived)
}

/// Somebody logs in on the console, and asks what happened.
fn logged_in(running: &mut Running) -> End {
    let mut talk = || -> Result<String> {
        running.type_line("root")?;
        running.until(|console| this_boot(console).contains(PROMPT), "a shell")?;
        running.type_line("livemode-run status; echo looked-$((40+2))")?;
        running.until(
            |console| this_boot(console).contains("looked-42"),
            "what it tells",
        )
    };
    match talk() {
        Ok(console) => {
            let told = this_boot(&console)
                .split("livemode-run status;")
                .last()
                .unwrap_or_default();
            End::Held(told.to_owned())
        }
        Err(error) => End::Never(format!("{error:#}")),
    }
}

fn this_boot(console: &str) -> &str {
    console.rsplit("Booting `").next().unwrap_or_default()
}

pub(super) fn is_held(console: &str) -> bool {
    let this_boot = this_boot(console);
    this_boot.contains(STAYS) && this_boot.contains(LOG_IN)
}

/// What the last system that booted told of itself.
pub(super) fn report(console: &str) -> Vec<String> {
    let last = console.rfind("report: booted").map_or("", |at| &console[at..]);
    let lines = last.lines().filter_map(|line| line.split_once("report: "));
    // The kernel may say something in the middle of a line.
    let told = lines.map(|(_, told)| told.split("[ ").next().unwrap_or_default());
    told.map(|told| told.trim().to_owned()).collect()
}
