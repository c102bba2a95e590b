//! Machines that something happens to, and where they rest after it: each boots what GRUB picks until it does.
use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use livemode_common::fsio::sha256;
use serde::Serialize;

use crate::disk::Mounted;
use crate::subject::Subject;
use crate::testbed::Suite;

/// What the console shows at each boundary of the protocol, in order.
pub const BOUNDARIES: [(&str, &str); 8] = [
    ("GRUB boots the upgrade", "Booting `LiveMode upgrade'"),
    ("early boot has mounted the image", "is mounted as root"),
    ("leapp starts", "livemode: attempt 1, step 1 of 2"),
    ("the transaction runs", "Running transaction"),
    ("the transaction is done", "Complete!"),
    ("leapp starts again", "livemode: attempt 1, step 2 of 2"),
    ("the new system becomes the default", "livemode: making "),
    ("before the reboot", "livemode: the upgrade succeeded"),
];

/// Lines that a whole upgrade shows, roughly: a random moment is one of them.
const LINES: u64 = 900;
/// What a boot shows that waits for somebody, and that somebody can log in.
const STAYS: &str = "livemode: this live system stays up";
const LOG_IN: &str = "login:";
/// More boots than any machine needs to rest.
const BOOTS: u32 = 8;
const IMAGE: &str = "var/lib/leapp/live-upgrade.img";
/// What every boot changes, and what tells of the upgrade.
const CHANGING: [&str; 12] = [
    "boot/grub2/grubenv",
    "etc/.updated",
    "root/tmp_leapp_py3",
    "run",
    "tmp",
    "var/.updated",
    "var/cache",
    "var/lib/dnf",
    "var/lib/leapp/livemode",
    "var/lib/rpm",
    "var/lib/systemd",
    "var/log",
];

/// What happens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// The power goes at these moments, one after the other.
    Cuts(Vec<Moment>),
    /// A byte of the image is another one.
    ImageFlipped,
    /// The image is cut short.
    ImageShort,
    /// The image is gone.
    ImageMissing,
    /// leapp ends with an error before its transaction.
    LeappFails,
}

/// When.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Moment {
    /// At one of [`BOUNDARIES`].
    Boundary(usize),
    /// When the console has so many lines in this boot.
    Line(u64),
}

impl std::fmt::Display for Moment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Boundary(number) => f.write_str(BOUNDARIES[*number].0),
            Self::Line(line) => write!(f, "line {line} of the console"),
        }
    }
}

/// One row of `target/faults.json`.
#[derive(Debug, Clone, Serialize)]
pub struct Row {
    /// What its random choices came from.
    pub seed: u64,
    /// What happened.
    pub fault: &'static str,
    /// When.
    pub moment: String,
    /// The boot loader.
    pub loader: &'static str,
    /// The source system's storage.
    pub layout: &'static str,
    /// `old`, `new`, `holding` or `stranded`.
    pub outcome: &'static str,
    /// Whether the system is what it must be: the old one, file by file, or the one that an upgrade without a fault gives.
    pub identical: bool,
    /// How often it booted by itself or after a cut.
    pub boots: usize,
}

/// Splitmix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }
}

impl Fault {
    /// The fault of a seed: one of three is another than a power cut, and a cut may be followed by a second and a third.
    pub fn of_seed(seed: u64) -> Self {
        let mut random = Random(seed);
        match random.below(12) {
            0 => return Self::ImageFlipped,
            1 => return Self::ImageShort,
            2 => return Self::ImageMissing,
            3 => return Self::LeappFails,
            _ => {}
        }
        let mut moments = Vec::new();
        while moments.is_empty() || (moments.len() < 3 && random.below(3) == 0) {
            moments.push(Moment::Line(1 + random.below(LINES)));
        }
        Self::Cuts(moments)
    }

    /// Its name in a row.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Cuts(moments) => match moments.len() {
                1 => "power cut",
                2 => "two power cuts",
                _ => "three power cuts",
            },
            Self::ImageFlipped => "image flipped",
            Self::ImageShort => "image short",
            Self::ImageMissing => "image missing",
            Self::LeappFails => "leapp fails",
        }
    }

    fn moment(&self) -> String {
        match self {
            Self::Cuts(moments) => moments
                .iter()
                .map(Moment::to_string)
                .collect::<Vec<_>>()
                .join(", then "),
            _ => "before the reboot".to_owned(),
        }
    }

    fn prepare(&self, disk: &Mounted) -> Result<()> {
        let image = disk.at(IMAGE);
        match self {
            Self::Cuts(_) => {}
            Self::ImageFlipped => {
                let file = OpenOptions::new().read(true).write(true).open(image)?;
                let mut byte = [0];
                file.read_exact_at(&mut byte, 1 << 20)?;
                file.write_all_at(&[byte[0] ^ 1], 1 << 20)?;
            }
            Self::ImageShort => OpenOptions::new().write(true).open(image)?.set_len(1 << 20)?,
            Self::ImageMissing => fs::remove_file(image)?,
            Self::LeappFails => fs::write(disk.at("etc/leapp-standin-fails"), "")?,
        }
        Ok(())
    }
}

/// The systems to compare with.
pub struct References {
    old: Tree,
    new: Tree,
}

/// Each file's mode and content, each link's end.
type Tree = BTreeMap<PathBuf, String>;

impl References {
    /// The source system as it is, and as an upgrade without a fault leaves it.
    ///
    /// # Errors
    /// When that upgrade does not end well.
    pub fn make() -> Result<Self> {
        let subject = subject()?;
        let old = tree(&subject.mounted()?)?;
        let console = subject.boot_until_it_rests()?;
        anyhow::ensure!(
            console.contains("report: booted Demo Linux release 2"),
            "an upgrade without a fault failed: {console}"
        );
        let new = tree(&subject.mounted()?)?;
        Ok(Self { old, new })
    }
}

fn subject() -> Result<Subject> {
    Subject::new(Suite::Bookworm, "default", "livemode:\n")
}

/// A machine with this fault, until it rests.
///
/// # Errors
/// When it cannot be run, or not be looked at afterwards.
pub fn run(seed: u64, fault: &Fault, references: &References) -> Result<Row> {
    let subject = subject()?;
    fault.prepare(&subject.mounted()?)?;
    let mut moments = match fault {
        Fault::Cuts(moments) => moments.clone(),
        _ => Vec::new(),
    };
    moments.reverse();
    let mut boots = 0;
    let mut holds = false;
    for _ in 0..BOOTS {
        let cut = moments.pop();
        let console = subject.started_until_it_rests(|mut running| {
            running.until(
                |console| is_time(cut.as_ref(), console) || is_held(console),
                "the machine's end",
            )
        });
        // One that loops or waits for a keyboard has no end.
        let Ok(console) = console else { break };
        boots += console.matches("Booting `").count();
        holds = is_held(&console);
        if !is_time(cut.as_ref(), &console) || holds {
            break;
        }
    }
    let disk = subject.mounted()?;
    let found = tree(&disk)?;
    let state: serde_json::Value = serde_json::from_str(&disk.read("var/lib/leapp/livemode/state.json"))
        .context("reading state.json")?;
    let release = disk.read("etc/demo-release");
    let (outcome, identical) = match (holds, release.trim()) {
        (true, _) => ("holding", state["state"] == "failed"),
        (false, "Demo Linux release 1") => ("old", is_same(&found, &references.old, fault)),
        (false, "Demo Linux release 2") if state["state"] == "succeeded" => {
            ("new", is_same(&found, &references.new, fault))
        }
        _ => ("stranded", false),
    };
    Ok(Row {
        seed,
        fault: fault.name(),
        moment: fault.moment(),
        loader: "GRUB, BIOS",
        layout: "one ext4",
        outcome,
        identical,
        boots,
    })
}

fn is_time(moment: Option<&Moment>, console: &str) -> bool {
    match moment {
        None => false,
        Some(Moment::Boundary(number)) => console.contains(BOUNDARIES[*number].1),
        Some(Moment::Line(line)) => console.lines().count() as u64 >= *line,
    }
}

fn is_held(console: &str) -> bool {
    let this_boot = console.rsplit("Booting `").next().unwrap_or_default();
    this_boot.contains(STAYS) && this_boot.contains(LOG_IN)
}

fn is_same(found: &Tree, reference: &Tree, fault: &Fault) -> bool {
    // What the fault itself has changed.
    let own = [Path::new(IMAGE), Path::new("etc/leapp-standin-fails")];
    let bare = |tree: &Tree| -> Tree {
        tree.iter()
            .filter(|(path, _)| matches!(fault, Fault::Cuts(_)) || !own.contains(&path.as_path()))
            .map(|(path, what)| (path.clone(), what.clone()))
            .collect()
    };
    let (found, reference) = (bare(found), bare(reference));
    for (path, what) in &found {
        if reference.get(path) != Some(what) {
            eprintln!("{}: {what} in place of {:?}", path.display(), reference.get(path));
        }
    }
    for path in reference.keys().filter(|path| !found.contains_key(*path)) {
        eprintln!("{}: it is gone", path.display());
    }
    found == reference
}

fn tree(disk: &Mounted) -> Result<Tree> {
    let mut tree = Tree::new();
    let mut todo = vec![PathBuf::new()];
    while let Some(dir) = todo.pop() {
        for entry in fs::read_dir(disk.path().join(&dir))? {
            let name = dir.join(entry?.file_name());
            if CHANGING.iter().any(|path| Path::new(path) == name) {
                continue;
            }
            let path = disk.path().join(&name);
            let meta = fs::symlink_metadata(&path)?;
            let mode = meta.permissions().mode();
            let what = if meta.is_dir() {
                todo.push(name.clone());
                String::new()
            } else if meta.is_symlink() {
                fs::read_link(&path)?.display().to_string()
            } else if meta.is_file() {
                sha256(File::open(&path)?, |_| ())?.0
            } else {
                String::new()
            };
            tree.insert(name, format!("{mode:o} {what}"));
        }
    }
    Ok(tree)
}

/// What became of the machines, as a table.
pub fn table(rows: &[Row]) -> String {
    let mut counts: BTreeMap<(&str, &str), u32> = BTreeMap::new();
    for row in rows {
        *counts.entry((row.fault, row.outcome)).or_default() += 1;
    }
    let outcomes = ["old", "new", "holding", "stranded"];
    let mut text = format!("{:<18}", "fault");
    outcomes
        .iter()
        .for_each(|outcome| text.push_str(&format!("{outcome:>10}")));
    text.push('\n');
    let mut faults: Vec<&str> = rows.iter().map(|row| row.fault).collect();
    faults.sort_unstable();
    faults.dedup();
    for fault in faults {
        text.push_str(&format!("{fault:<18}"));
        for outcome in outcomes {
            let count = counts.get(&(fault, outcome)).copied().unwrap_or(0);
            text.push_str(&format!("{count:>10}"));
        }
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_same_fault_each_time_and_all_kinds_come() {
        let faults: Vec<Fault> = (0..200).map(Fault::of_seed).collect();
        assert_eq!(faults, (0..200).map(Fault::of_seed).collect::<Vec<_>>());
        for name in [
            "power cut",
            "two power cuts",
            "three power cuts",
            "image flipped",
            "image short",
            "image missing",
            "leapp fails",
        ] {
            assert!(faults.iter().any(|fault| fault.name() == name), "{name}");
        }
    }

    #[test]
    fn a_machine_is_held_where_its_last_boot_says_so_and_lets_somebody_in() {
        let held = "Booting `LiveMode upgrade'\nlivemode: this live system stays up\nhost login: ";
        assert!(is_held(held));
        assert!(!is_held(&format!("{held}\nBooting `Demo'\n")));
        assert!(!is_held(
            "Booting `LiveMode upgrade'\nlivemode: this live system stays up\n"
        ));
    }
}
