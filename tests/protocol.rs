//! Every way through the protocol with up to three faults, by the programs' own decisions: what GRUB picks, what early boot
//! decides, what the live system does after a failure. Each ends in the old system, whole; in the live system, reachable; or in
//! the new system, whole. None loops.
#![allow(clippy::unwrap_used)]
use livemode_common::config::{Config, OnFailure};
use livemode_common::loader::grubenv::{Grubenv, NEXT_ENTRY, SAVED_ENTRY};
use livemode_common::loader::own::{changed, Boots};
use livemode_common::records::{Change, Phase, Records, State};

#[path = "../livemode-boot/src/decision.rs"]
mod decision;
#[path = "../livemode-run/src/policy.rs"]
mod policy;
#[path = "../livemode-run/src/start.rs"]
mod start;

use livemode_tests::ways::{self, Down, Faults};

use decision::{decide, Decision, Seen};
use policy::{after_failure, AfterFailure, Left};
use start::{may_start, Decision as Wish};

const OURS: &str = "a-livemode";
const OLD: &str = "a-5";
const NEW: &str = "a-6";
/// More boots than any way needs.
const BOOTS: u32 = 12;

/// Where a machine rests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Rest {
    Old,
    Live,
    New,
}

struct Machine {
    env: Grubenv,
    dir: tempfile::TempDir,
    config: Config,
    /// The RPM transaction has begun.
    begun: bool,
    /// leapp has finished.
    finished: bool,
}

impl Machine {
    fn armed(config: &Config) -> Self {
        let mut env = Grubenv::default();
        env.set(SAVED_ENTRY, OLD);
        let machine = Self {
            env: changed(&env, OURS, Boots::UpgradeOnce),
            // In memory, where nothing waits for a disk.
            dir: tempfile::tempdir_in("/dev/shm").unwrap(),
            config: config.clone(),
            begun: false,
            finished: false,
        };
        machine.record(Change::new(Phase::Prepared, 0, "built"));
        machine
    }

    fn records(&self) -> Records {
        Records::in_dir(self.dir.path())
    }

    fn state(&self) -> State {
        self.records().state().unwrap().unwrap()
    }

    fn record(&self, change: Change) {
        self.records().record(change).unwrap();
    }

    fn set(&mut self, boots: Boots) {
        self.env = changed(&self.env, OURS, boots);
    }

    fn rests(&mut self, faults: &mut Faults) -> Rest {
        for _ in 0..BOOTS {
            match ways::pick(&mut self.env).as_str() {
                OURS => {
                    if let Ok(rest) = self.early_boot(faults) {
                        return rest;
                    }
                }
                OLD => {
                    assert!(!self.begun, "the old system boots, and is not whole");
                    return Rest::Old;
                }
                NEW => {
                    assert!(self.finished, "the new system boots, and is not whole");
                    assert_eq!(
                        self.env.get(NEXT_ENTRY),
                        None,
                        "the upgrade would boot after the new system"
                    );
                    return Rest::New;
                }
                other => panic!("{other} boots"),
            }
        }
        panic!("it loops");
    }

    fn early_boot(&mut self, faults: &mut Faults) -> Result<Rest, Down> {
        // The kernel panics.
        faults.cut()?;
        let state = self.state();
        let seen = Seen {
            build: Some("b"),
            has_loader: true,
            built: None,
            state: Ok(Some(&state)),
        };
        match decide(seen) {
            Decision::Start => {
                self.set(Boots::Old(Some(OLD)));
                faults.cut()?;
                self.record(Change::new(Phase::Booted, state.attempt, "up"));
            }
            Decision::Resume => self.set(Boots::Upgrade),
            Decision::Mount => self.env.set(NEXT_ENTRY, ""),
            // The loader's block cannot be written from here: the live system tries it.
            Decision::Finish(_) if faults.choose(2) == 1 => {}
            Decision::Finish(target) => {
                self.set(Boots::New(&target));
                faults.cut()?;
                self.record(Change::new(Phase::Succeeded, state.attempt, "done"));
                return Err(Down);
            }
            Decision::GoBack(_) => {
                self.set(Boots::Old(Some(OLD)));
                return Err(Down);
            }
        }
        faults.cut()?;
        self.live(faults)
    }

    fn live(&mut self, faults: &mut Faults) -> Result<Rest, Down> {
        let last = self.state();
        match may_start(true, false, Some(&last)) {
            Wish::Wait(_) => Ok(Rest::Live),
            Wish::Start(_) if last.state == Phase::Upgrading => self.fails(faults, last.attempt),
            Wish::Start(_) if last.state == Phase::Finishing => self.hand_over(faults, last.attempt),
            Wish::Start(_) => self.upgrade(faults, last.attempt + 1),
        }
    }

    fn upgrade(&mut self, faults: &mut Faults, attempt: u32) -> Result<Rest, Down> {
        self.record(Change::new(Phase::Upgrading, attempt, "step 1 of 2"));
        faults.cut()?;
        self.set(Boots::Upgrade);
        faults.cut()?;
        match faults.choose(3) {
            0 => {}
            1 => return Err(Down),
            _ => return self.fails(faults, attempt),
        }
        self.begun = true;
        match faults.choose(4) {
            0 => self.finished = true,
            1 => return Err(Down),
            2 => return self.fails(faults, attempt),
            _ => {
                // leapp is done, and the upgraded system has no kernel.
                return self.fails(faults, attempt);
            }
        }
        faults.cut()?;
        self.record(Change {
            target: Some(NEW.to_owned()),
            ..Change::new(Phase::Finishing, attempt, "leapp has finished")
        });
        faults.cut()?;
        self.hand_over(faults, attempt)
    }

    fn hand_over(&mut self, faults: &mut Faults, attempt: u32) -> Result<Rest, Down> {
        self.set(Boots::New(NEW));
        faults.cut()?;
        self.record(Change::new(Phase::Succeeded, attempt, "done"));
        Err(Down)
    }

    fn fails(&mut self, faults: &mut Faults, attempt: u32) -> Result<Rest, Down> {
        faults.cut()?;
        self.record(Change {
            begun: self.begun,
            ..Change::new(Phase::Failed, attempt, "leapp ended with 7")
        });
        faults.cut()?;
        let left = Left {
            begun: self.begun,
            has_loader: true,
            is_attended: false,
        };
        if !self.begun {
            self.set(Boots::Old(Some(OLD)));
            faults.cut()?;
        }
        match after_failure(left, &self.config) {
            AfterFailure::Return | AfterFailure::Hold(Some(_)) => Err(Down),
            AfterFailure::Hold(None) => Ok(Rest::Live),
        }
    }
}

/// One way, with an admin who comes twice and tries again; where it rests each time, and how many choices its points had.
fn way(config: &Config, plan: &[(u32, u32)]) -> (Vec<Rest>, Vec<u32>) {
    let mut faults = Faults::planned(plan);
    let mut machine = Machine::armed(config);
    let mut rests = vec![machine.rests(&mut faults)];
    for _ in 0..2 {
        let rest = match rests[rests.len() - 1] {
            Rest::New => break,
            Rest::Old => {
                machine.set(Boots::UpgradeOnce);
                machine.rests(&mut faults)
            }
            Rest::Live => {
                let attempt = machine.state().attempt + 1;
                let resumed = machine.upgrade(&mut faults, attempt);
                resumed.unwrap_or_else(|Down| machine.rests(&mut faults))
            }
        };
        rests.push(rest);
    }
    (rests, faults.seen)
}

#[test]
fn every_way_with_up_to_three_faults_ends_where_it_may() {
    let hold = Config {
        on_failure: OnFailure::Hold,
        setup_opensshd_using_auth_keys: "/root/keys".into(),
        ..Config::default()
    };
    for config in [Config::default(), hold] {
        let mut rests = Vec::new();
        ways::all(&mut |plan| {
            let (these, seen) = way(&config, plan);
            rests.extend(these);
            seen
        });
        assert_eq!(rests[0], Rest::New, "without a fault");
        assert!(rests.len() > 1000, "{} ways", rests.len());
        for rest in [Rest::Old, Rest::Live, Rest::New] {
            assert!(rests.contains(&rest), "no way ends there: {rest:?}");
        }
    }
}
