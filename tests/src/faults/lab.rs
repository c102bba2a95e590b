//! Machines in QEMU that something happens to: they boot what GRUB picks until they rest, and are looked at.
use std::fs::File;
use std::path::Path;
use std::sync::OnceLock;
use std::time::Duration;

use anyhow::{Context, Result};
use livemode_common::cmd::Cmd;
use livemode_common::records::Records;
use livemode_common::store::extents_of;
use livemode_common::sysroot::SysRoot;

use super::life::{described, life, report, Progress};
use super::row::{judge, End, Found, Outcome, Row};
use super::tree::Tree;
use super::{Case, Moment, Story};
use crate::subject::Subject;
use crate::testbed::Suite;
use crate::vm::Running;

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

/// A machine as a reset at some moment leaves it.
pub struct Cut {
    subject: Subject,
    moment: String,
    boots: usize,
}

impl Cut {
    /// Where the blocks of its disks lie. On a file system that shares blocks, two of which these are the same have the same
    /// content: what becomes of one becomes of the other.
    ///
    /// # Errors
    /// When the file system does not tell.
    pub fn blocks(&self) -> Result<Vec<[u64; 3]>> {
        let mut blocks = Vec::new();
        for disk in [self.subject.disk(), self.subject.second_disk()] {
            if !disk.exists() {
                continue;
            }
            let file = File::open(&disk).with_context(|| format!("opening {}", disk.display()))?;
            let extents = extents_of(&file)?.into_iter();
            blocks.extend(extents.map(|extent| [extent.logical, extent.physical, extent.bytes]));
        }
        Ok(blocks)
    }
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

impl Rested {
    /// The row of another cut, which has left the same disks as the one that this machine came from.
    pub fn row_of(&self, from: &Cut, seed: u64, cut: &Cut) -> Row {
        Row {
            seed,
            moment: format!("{}; the disks were those of seed {}", cut.moment, self.row.seed),
            boots: self.row.boots - from.boots + cut.boots,
            ..self.row.clone()
        }
    }
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
