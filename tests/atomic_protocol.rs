//! Every way through an upgrade that is all or nothing, with up to three faults, by early boot's own decisions: each ends in the
//! old system, whole, or in the new system, whole. None loops, and GRUB never boots a disk that is half merged.
#![allow(clippy::unwrap_used)]
use livemode_common::loader::grubenv::{Grubenv, SAVED_ENTRY};
use livemode_common::loader::own::{changed, Boots};
use livemode_common::records::{Change, Phase, Records, State};

#[path = "../livemode-boot/src/atomic/decision.rs"]
mod decision;

use decision::{decide, Decision};
use livemode_tests::ways::{self, Down, Faults};

const OURS: &str = "a-livemode";
const OLD: &str = "a-5";
const NEW: &str = "a-6";
/// More boots than any way needs.
const BOOTS: u32 = 12;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rest {
    Old,
    New,
}

/// How much of the new system is on the disks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Merged {
    Nothing,
    Half,
    All,
}

struct Machine {
    env: Grubenv,
    dir: tempfile::TempDir,
    merged: Merged,
    /// Whether /boot has been written to.
    is_boot_changed: bool,
}

impl Machine {
    fn built() -> Self {
        let mut env = Grubenv::default();
        env.set(SAVED_ENTRY, OLD);
        Self {
            env: changed(&env, OURS, Boots::UpgradeOnce),
            dir: tempfile::tempdir_in("/dev/shm").unwrap(),
            merged: Merged::Nothing,
            is_boot_changed: false,
        }
    }

    fn state(&self) -> Option<State> {
        Records::in_dir(self.dir.path()).state().unwrap()
    }

    fn record(&self, phase: Phase, target: Option<&str>) {
        let change = Change {
            target: target.map(str::to_owned),
            ..Change::new(phase, 1, "")
        };
        Records::in_dir(self.dir.path()).record(change).unwrap();
    }

    fn set(&mut self, boots: Boots) {
        self.env = changed(&self.env, OURS, boots);
    }

    fn rests(&mut self, faults: &mut Faults) -> Rest {
        for _ in 0..BOOTS {
            match ways::pick(&mut self.env).as_str() {
                OURS => {
                    let Err(Down) = self.boot(faults);
                }
                OLD => {
                    assert_eq!(
                        (self.merged, self.is_boot_changed),
                        (Merged::Nothing, false),
                        "the old system boots, and is not whole"
                    );
                    return Rest::Old;
                }
                NEW => {
                    assert_eq!(self.merged, Merged::All, "the new system boots, and is not whole");
                    return Rest::New;
                }
                other => panic!("{other} boots"),
            }
        }
        panic!("it loops");
    }

    /// Our entry, to the next reboot or power cut.
    fn boot(&mut self, faults: &mut Faults) -> Result<std::convert::Infallible, Down> {
        faults.cut()?;
        match decide(self.state().as_ref()) {
            Decision::Begin => {
                self.set(Boots::Old(Some(OLD)));
                faults.cut()?;
                self.record(Phase::Booted, None);
                faults.cut()?;
                self.upgrade(faults)
            }
            Decision::GiveUp(_) => {
                faults.cut()?;
                self.is_boot_changed = false;
                faults.cut()?;
                self.record(Phase::Failed, None);
                faults.cut()?;
                self.set(Boots::Old(Some(OLD)));
                Err(Down)
            }
            Decision::Merge(target) => {
                self.merge(faults)?;
                self.hand_over(faults, &target)
            }
            Decision::HandOver(target) => self.hand_over(faults, &target),
        }
    }

    fn upgrade(&mut self, faults: &mut Faults) -> Result<std::convert::Infallible, Down> {
        self.record(Phase::Upgrading, None);
        faults.cut()?;
        self.set(Boots::Upgrade);
        faults.cut()?;
        self.is_boot_changed = true;
        // leapp fails, or what it has made is not whole.
        if faults.choose(2) == 1 {
            self.record(Phase::Failed, None);
            faults.cut()?;
            self.set(Boots::Upgrade);
            return Err(Down);
        }
        faults.cut()?;
        self.set(Boots::Upgrade);
        faults.cut()?;
        self.record(Phase::Committing, Some(NEW));
        faults.cut()?;
        self.merge(faults)?;
        self.hand_over(faults, NEW)
    }

    fn merge(&mut self, faults: &mut Faults) -> Result<(), Down> {
        if self.merged != Merged::All {
            self.merged = Merged::Half;
        }
        faults.cut()?;
        self.merged = Merged::All;
        faults.cut()?;
        self.record(Phase::Finishing, Some(NEW));
        faults.cut()
    }

    fn hand_over(&mut self, faults: &mut Faults, target: &str) -> Result<std::convert::Infallible, Down> {
        self.set(Boots::New(target));
        faults.cut()?;
        self.record(Phase::Succeeded, Some(target));
        Err(Down)
    }
}

/// One way, with an admin who tries again what was given up; where it rests, and how many choices its points had.
fn way(plan: &[(u32, u32)]) -> (Vec<Rest>, Vec<u32>) {
    let mut faults = Faults::planned(plan);
    let mut machine = Machine::built();
    machine.record(Phase::Prepared, None);
    let mut rests = vec![machine.rests(&mut faults)];
    for _ in 0..2 {
        if rests.ends_with(&[Rest::New]) {
            break;
        }
        machine.record(Phase::Prepared, None);
        machine.set(Boots::UpgradeOnce);
        rests.push(machine.rests(&mut faults));
    }
    (rests, faults.seen)
}

#[test]
fn every_way_with_up_to_three_faults_ends_in_a_system_that_is_whole() {
    let mut rests = Vec::new();
    ways::all(&mut |plan| {
        let (these, seen) = way(plan);
        rests.extend(these);
        seen
    });
    assert_eq!(rests[0], Rest::New, "without a fault");
    assert!(rests.len() > 1000, "{} ways", rests.len());
    assert!(rests.contains(&Rest::Old));
}
