//! Machines in QEMU that something happens to: they boot what GRUB picks until they rest, and are looked at.
use std::path::Path;
use std::sync::OnceLock;
use std::time::Duration;

use anyhow::{Context, Result};
use livemode_common::cmd::Cmd;
use livemode_common::records::Records;
use livemode_common::sysroot::SysRoot;

use super::row::{judge, End, Found, Outcome, Row};
use super::tree::Tree;
use super::{Case, Moment, Story, BOUNDARIES, BOUNDARIES_IN_LAYERS, MERGE_BEGINS};
use crate::subject::Subject;
use crate::testbed::Suite;
use crate::vm::{Running, Stalled};

/// What a boot shows that waits for somebody, and that somebody can log in.
const STAYS: &str = "livemode: this live system stays up";
const LOG_IN: &str = "login:";
const LEAPP_RUNS: &str = "livemode: attempt 1, step 1 of 2";
const PROMPT: &str = "root@demo-source:~#";
/// The last, or only, file system of the source is.
const MERGED: &str = "livemode: / is on its disk";
/// The live system lets everybody in, who reads what it says.
const CONFIG: &str = "livemode:\n  setup_passwordless_root: true\n";

/// What an upgrade takes the processor, until that is known, roughly: a real 2 GHz, emulated.
const WHOLE: Duration = Duration::from_secs(30);

/// Where the source system lies, and how it is upgraded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// On one file system, in place.
    InPlace,
    /// With /boot on a disk of its own, all or nothing.
    InLayers,
}

impl Layout {
    fn name(self) -> &'static str {
        match self {
            Self::InPlace => "one ext4, in place",
            Self::InLayers => "ext4 and /boot apart, in layers",
        }
    }
}

/// A prepared machine, and the systems to compare with.
pub struct Lab {
    layout: Layout,
    armed: Subject,
    old: System,
    /// Known from the first upgrade to which nothing happens.
    new: OnceLock<Upgraded>,
}

/// A system that nothing has happened to.
struct System {
    report: Vec<String>,
    tree: Tree,
}

struct Upgraded {
    system: System,
    whole: Duration,
    /// What the merge takes the processor, where there is one.
    merge: Duration,
}

/// How far a machine has come.
#[derive(Debug, Clone, Copy, Default)]
struct Progress {
    /// What it has taken the processor.
    spent: Duration,
    /// The same when the merge began, and when it was over.
    merge_began: Option<Duration>,
    merged: Option<Duration>,
}

impl Progress {
    fn look(&mut self, running: &Running, console: &str) {
        self.spent = running.processor_time().unwrap_or_default().max(self.spent);
        for (shown, seen) in [(MERGE_BEGINS, &mut self.merge_began), (MERGED, &mut self.merged)] {
            if seen.is_none() && console.contains(shown) {
                *seen = Some(self.spent);
            }
        }
    }

    fn merge(self) -> Duration {
        let ends = self.merge_began.zip(self.merged);
        ends.map_or(Duration::ZERO, |(began, over)| over.saturating_sub(began))
    }
}

/// A machine as a reset at some moment leaves it.
pub struct Cut {
    subject: Subject,
    moment: String,
    boots: usize,
}

impl std::fmt::Debug for Cut {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "a cut at {}", self.moment)
    }
}

/// A machine that has come to rest.
pub struct Rested {
    /// Where.
    pub row: Row,
    /// What is not as it must be.
    pub wrong: Vec<String>,
    /// What its last life has shown.
    pub console: String,
}

/// How one life of a machine, from its start to its end or the next cut, went.
struct Life {
    end: Option<End>,
    moment: String,
    console: String,
}

impl Lab {
    /// The machine with its disk, and all copies of it, in `dir`.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn new(dir: &Path, layout: Layout) -> Result<Self> {
        let armed = match layout {
            Layout::InPlace => Subject::within(dir, Suite::Bookworm, "faults", CONFIG)?,
            Layout::InLayers => Subject::apart(dir, "faults-apart", CONFIG)?,
        };
        let disk = armed.mounted()?;
        let packages = ["rpm", "-q", "demo-release", "demo-tool", "demo-data"];
        let packages = Cmd::new("chroot").arg(disk.path()).args(packages).read()?;
        let release = disk.read("etc/demo-release");
        let report = format!("booted {}\n{packages}end", release.trim());
        let old = System {
            report: report.lines().map(str::to_owned).collect(),
            tree: Tree::of(disk.path())?,
        };
        drop(disk);
        Ok(Self {
            layout,
            armed,
            old,
            new: OnceLock::new(),
        })
    }

    /// Processor time of an upgrade without a fault, from the loader's start to the upgraded system's end.
    pub fn whole(&self) -> Duration {
        self.new.get().map_or(WHOLE, |new| new.whole)
    }

    fn upgraded(&self) -> Result<&Upgraded> {
        if self.new.get().is_none() {
            self.cuts(&[])?;
        }
        self.new.get().context("an upgrade has run")
    }

    /// One whole upgrade, of which the disk is kept as a reset at each of these moments would leave it.
    ///
    /// # Errors
    /// When the machine cannot be run, or one of the moments never comes.
    pub fn cuts(&self, moments: &[Moment]) -> Result<Vec<Cut>> {
        let subject = self.armed.fork()?;
        let merge = self.new.get().map_or(Duration::ZERO, |new| new.merge);
        let (cuts, console, progress) = subject.started_until_it_rests(|mut running| {
            let mut cuts: Vec<Option<Cut>> = moments.iter().map(|_| None).collect();
            let mut fault = None;
            let mut progress = Progress::default();
            let console = running.until_both(
                |running, console| {
                    progress.look(running, console);
                    for (moment, cut) in moments.iter().zip(&mut cuts).filter(|(_, cut)| cut.is_none()) {
                        if moment.has_come(progress, merge, console) {
                            match frozen(running, &subject, console) {
                                Ok(frozen) => *cut = Some(frozen),
                                Err(error) => fault = Some(error),
                            }
                        }
                    }
                    fault.is_some()
                },
                "the machine's end",
            )?;
            match fault {
                Some(error) => Err(error),
                None => Ok((cuts, console, progress)),
            }
        })?;
        if self.new.get().is_none() {
            let report = report(&console);
            anyhow::ensure!(
                report.first().is_some_and(|line| line.ends_with("release 2"))
                    && report.len() == self.old.report.len(),
                "an upgrade without a fault failed: {console}"
            );
            let tree = Tree::of(subject.mounted()?.path())?;
            let system = System { report, tree };
            let (whole, merge) = (progress.spent, progress.merge());
            self.new.get_or_init(|| Upgraded { system, whole, merge });
        }
        // What comes after its end is its end.
        let rest = |cut: Option<Cut>| -> Result<Cut> {
            cut.map_or_else(
                || {
                    Ok(Cut {
                        subject: subject.fork()?,
                        moment: "at the end".into(),
                        boots: 2,
                    })
                },
                Ok,
            )
        };
        cuts.into_iter().map(rest).collect()
    }

    /// Where a machine rests after this cut and those that the story has after it.
    ///
    /// # Errors
    /// When it cannot be run, or not be looked at afterwards.
    pub fn after(&self, story: &Story, cut: &Cut) -> Result<Rested> {
        let mut moments = vec![cut.moment.clone()];
        let mut boots = cut.boots;
        let mut more = story.moments[1..].iter();
        loop {
            let next = more.next();
            let life = life(&cut.subject, next, None)?;
            boots += life.boots();
            let Some(end) = life.end else {
                moments.push(life.moment);
                continue;
            };
            let fault = ["power cut", "two power cuts", "three power cuts"][moments.len() - 1];
            let (outcome, wrong) = self.look(&cut.subject, end, &life.console, &[])?;
            let row = self.row(story.seed, fault, moments.join("; then "), outcome, &wrong, boots);
            let console = life.console;
            return Ok(Rested { row, wrong, console });
        }
    }

    /// Where a machine rests that this happens to.
    ///
    /// # Errors
    /// When it cannot be run, or not be looked at afterwards.
    pub fn meets(&self, case: &Case) -> Result<Rested> {
        let mut subject = self.armed.fork()?;
        case.arrange(&mut subject)?;
        let life = life(&subject, None, case.typed().as_deref())?;
        let (boots, end) = (life.boots(), life.end.context("a life without an end")?);
        let (outcome, mut wrong) = self.look(&subject, end, &life.console, case.touches)?;
        let outcomes = case.outcomes(self.layout).unwrap_or_default();
        if !outcomes.contains(&outcome) {
            wrong.push(format!("not one of {outcomes:?}"));
        }
        if let Some(said) = case.says.iter().find(|said| !life.console.contains(**said)) {
            wrong.push(format!("the console does not say '{said}'"));
        }
        Ok(Rested {
            row: self.row(0, case.name, String::new(), outcome, &wrong, boots),
            wrong,
            console: life.console,
        })
    }

    fn row(
        &self,
        seed: u64,
        fault: &str,
        moment: String,
        outcome: Outcome,
        wrong: &[String],
        boots: usize,
    ) -> Row {
        Row {
            seed,
            fault: fault.into(),
            moment,
            loader: "GRUB, BIOS",
            layout: self.layout.name(),
            outcome,
            identical: wrong.is_empty(),
            boots,
        }
    }

    fn look(
        &self,
        subject: &Subject,
        end: End,
        console: &str,
        but: &[&str],
    ) -> Result<(Outcome, Vec<String>)> {
        let status =
            subject.prep(|prep| Ok(told(&prep.arg("status")).map_err(|error| format!("{error:#}"))))?;
        let disk = subject.mounted()?;
        let records = Records::of(&SysRoot::new(disk.path()));
        let state = match records.state() {
            Ok(Some(state)) => Ok(state),
            Ok(None) => Err("none is there".into()),
            Err(error) => Err(format!("{error:#}")),
        };
        let mut found = Found {
            report: report(console),
            state,
            status,
            unlike_old: Vec::new(),
            unlike_new: Vec::new(),
            end,
        };
        if found.end != End::Off {
            // It is in the middle of things.
            return Ok(judge(&found, &[], &[]));
        }
        let tree = Tree::of(disk.path())?;
        drop(disk);
        if found.report == self.old.report {
            found.unlike_old = tree.differences(&self.old.tree, but);
            return Ok(judge(&found, &self.old.report, &[]));
        }
        let new = &self.upgraded()?.system;
        found.unlike_new = tree.differences(&new.tree, but);
        Ok(judge(&found, &self.old.report, &new.report))
    }
}

/// What it says; one that was given up is told by the exit code 1, too.
fn told(status: &Cmd) -> Result<String> {
    let (ended, said, complaint) = status.output()?;
    anyhow::ensure!(
        matches!(ended.code(), Some(0 | 1)) && !said.is_empty(),
        "{complaint}"
    );
    Ok(said)
}

impl Life {
    fn boots(&self) -> usize {
        self.console.matches("Booting `").count()
    }
}

impl Moment {
    /// `merge` is what a whole merge takes the processor.
    fn has_come(&self, progress: Progress, merge: Duration, console: &str) -> bool {
        match self {
            Self::Boundary(shown) => console.contains(shown),
            Self::Time(time) => progress.spent >= *time,
            Self::Merge(percent) => progress
                .merge_began
                .is_some_and(|began| progress.spent >= began + merge * *percent / 100),
        }
    }
}

/// The disk as it is now, and what is known of the moment.
fn frozen(running: &Running, subject: &Subject, console: &str) -> Result<Cut> {
    let moment = described(running, console);
    running.paused(|| {
        Ok(Cut {
            subject: subject.fork()?,
            moment,
            boots: console.matches("Booting `").count(),
        })
    })
}

fn described(running: &Running, console: &str) -> String {
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
fn life(subject: &Subject, cut: Option<&Moment>, typed: Option<&str>) -> Result<Life> {
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
