//! `make faults N=200 SEED=1`, in place and in layers: each case once, a power cut at every boundary of the protocol, at each per cent
//! of the merge, then N random ones, some with a second and a third while the machine recovers; each machine boots what GRUB picks
//! until it rests. What became of them is in target/faults.json and shown as a table; exit 1 where one is stranded, or is not what it
//! must be. `faults N SEED CASE...` has these cases and the random cuts only.
use std::collections::VecDeque;
use std::process::ExitCode;
use std::sync::Mutex;

use anyhow::{bail, Context, Result};
use livemode_tests::binaries::workspace;
use livemode_tests::disk::Scratch;
use livemode_tests::faults::{
    table, Case, Cut, Lab, Layout, Rested, Row, Story, BOUNDARIES, BOUNDARIES_IN_LAYERS, CASES,
};
use livemode_tests::slot;

/// Of one upgrade so many copies of its disk are kept.
const AT_ONCE: usize = 50;
/// Room for those copies: what an upgrade writes, for each.
const SCRATCH_GIB: u64 = 24;

fn main() -> ExitCode {
    livemode_common::failure::report("faults", all())
}

/// One machine to follow.
#[derive(Debug)]
enum Job {
    Case(&'static Case),
    /// Cuts that have left the same disks, and after which the same comes.
    Cuts(Vec<(Story, Cut)>),
}

fn all() -> Result<()> {
    let mut words = std::env::args().skip(1);
    let mut number = |name: &str| -> Result<u64> {
        let text = words
            .next()
            .with_context(|| format!("usage: faults N SEED [CASE...]; no {name}"))?;
        text.parse().with_context(|| format!("{name} is no number"))
    };
    let (count, seed) = (number("N")?, number("SEED")?);
    let names: Vec<String> = words.collect();
    if let Some(name) = names
        .iter()
        .find(|name| CASES.iter().all(|case| case.name != **name))
    {
        bail!("there is no case '{name}'");
    }
    println!(
        "in place and in layers: the cases, each boundary, and {count} random power cuts from seed {seed}"
    );
    let scratch = Scratch::new(SCRATCH_GIB)?;
    let rows = Mutex::new(Vec::new());
    for layout in [Layout::InPlace, Layout::InLayers] {
        let lab = Lab::new(scratch.path(), layout)?;
        let is_asked_for = |case: &&Case| {
            let is_named = names.is_empty() || names.iter().any(|name| name == case.name);
            is_named && case.outcomes(layout).is_some()
        };
        let cases = CASES.iter().filter(is_asked_for).map(Job::Case);
        follow(&lab, cases.collect(), &rows)?;
        if names.is_empty() {
            cut(&lab, boundaries(layout), &rows)?;
            if layout == Layout::InLayers {
                let percents = percents(count);
                for percents in percents.chunks(AT_ONCE) {
                    let stories = percents.iter().map(|percent| Story::in_merge(*percent));
                    cut(&lab, stories.collect(), &rows)?;
                }
            }
        }
        let seeds: Vec<u64> = (seed..seed + count).collect();
        for seeds in seeds.chunks(AT_ONCE) {
            let stories = seeds.iter().map(|seed| Story::of_seed(*seed, lab.whole()));
            cut(&lab, stories.collect(), &rows)?;
        }
    }
    let rows = rows.into_inner().expect("no thread has panicked");
    print!("\n{}", table(&rows));
    match rows.iter().filter(|row| !row.identical).count() {
        0 => Ok(()),
        wrong => bail!("{wrong} of {} machines are not as they must be", rows.len()),
    }
}

/// The moments of the merge at which it is cut: each per cent, or fewer for a short run.
fn percents(count: u64) -> Vec<u32> {
    let count = u32::try_from(count).unwrap_or(u32::MAX).min(100);
    (0..count).map(|number| number * 100 / count).collect()
}

/// A cut at each boundary that an upgrade there has.
fn boundaries(layout: Layout) -> Vec<Story> {
    let in_layers = BOUNDARIES_IN_LAYERS.iter().filter(|_| layout == Layout::InLayers);
    let shown = BOUNDARIES.iter().chain(in_layers).map(|(_, shown)| *shown);
    shown.map(Story::boundary).collect()
}

/// One upgrade is cut at the first moment of each story, and each machine then goes on as its story has it.
fn cut(lab: &Lab, stories: Vec<Story>, rows: &Mutex<Vec<Row>>) -> Result<()> {
    let first: Vec<_> = stories.iter().map(|story| story.moments[0].clone()).collect();
    let mut alike: Vec<(_, Vec<(Story, Cut)>)> = Vec::new();
    for (story, cut) in stories.into_iter().zip(lab.cuts(&first)?) {
        let key = (cut.blocks()?, story.moments[1..].to_vec());
        match alike.iter_mut().find(|(known, _)| *known == key) {
            Some((_, cuts)) => cuts.push((story, cut)),
            None => alike.push((key, vec![(story, cut)])),
        }
    }
    let jobs = alike.into_iter().map(|(_, cuts)| Job::Cuts(cuts));
    follow(lab, jobs.collect(), rows)
}

/// Follows each to its rest, as many at a time as this machine can.
fn follow(lab: &Lab, jobs: VecDeque<Job>, rows: &Mutex<Vec<Row>>) -> Result<()> {
    let jobs = Mutex::new(jobs);
    let next = || jobs.lock().expect("no thread has panicked").pop_front();
    std::thread::scope(|scope| {
        let threads = (0..slot::count()?).map(|_| {
            scope.spawn(|| -> Result<()> {
                while let Some(job) = next() {
                    rest(lab, &job, rows).with_context(|| format!("{job:?}"))?;
                }
                Ok(())
            })
        });
        let threads: Vec<_> = threads.collect();
        threads
            .into_iter()
            .map(|thread| thread.join().expect("no thread panics"))
            // All of them, whatever the first has to say.
            .fold(Ok(()), Result::and)
    })
}

fn rest(lab: &Lab, job: &Job, rows: &Mutex<Vec<Row>>) -> Result<()> {
    let cuts = match job {
        Job::Case(case) => return tell(&lab.meets(case)?, Vec::new(), rows),
        Job::Cuts(cuts) => cuts,
    };
    let Some(((story, from), others)) = cuts.split_first() else {
        return Ok(());
    };
    let rested = lab.after(story, from)?;
    let others = others
        .iter()
        .map(|(other, cut)| rested.row_of(from, other.seed, cut));
    tell(&rested, others.collect(), rows)
}

/// Shows where a machine rests, and others with it, and writes that down.
fn tell(rested: &Rested, others: Vec<Row>, rows: &Mutex<Vec<Row>>) -> Result<()> {
    let Rested { row, wrong, console } = rested;
    let mut rows = rows.lock().expect("no thread has panicked");
    for row in std::iter::once(row).chain(&others) {
        println!(
            "{:<9} {} {} (seed {}, {} boots)",
            row.outcome.name(),
            row.fault,
            row.moment,
            row.seed,
            row.boots
        );
    }
    let target = workspace().join("target");
    if !wrong.is_empty() {
        let kept = target.join(format!("faults-{}.console", rows.len()));
        std::fs::write(&kept, console).with_context(|| format!("writing {}", kept.display()))?;
        println!(
            "          NOT AS IT MUST BE: {}; its console: {}",
            wrong.join("; "),
            kept.display()
        );
    }
    rows.push(row.clone());
    rows.extend(others);
    let path = target.join("faults.json");
    std::fs::write(&path, serde_json::to_vec_pretty(&*rows)?)
        .with_context(|| format!("writing {}", path.display()))
}
