//! All ways through a protocol, with faults at every point.
use livemode_common::loader::grubenv::{Grubenv, NEXT_ENTRY, SAVED_ENTRY};

/// The power went, or the machine rebooted.
#[derive(Debug)]
pub struct Down;

/// Which fault happens at which point: the points of one way are numbered as they come.
pub struct Faults {
    plan: Vec<(u32, u32)>,
    point: u32,
    /// How many choices each point had, as far as the way went.
    pub seen: Vec<u32>,
}

impl Faults {
    /// Those of one way, by point and choice.
    pub fn planned(plan: &[(u32, u32)]) -> Self {
        Self {
            plan: plan.to_vec(),
            point: 0,
            seen: Vec::new(),
        }
    }

    /// One of `choices` things happens here; 0 is no fault.
    pub fn choose(&mut self, choices: u32) -> u32 {
        let here = self.point;
        self.point += 1;
        self.seen.push(choices);
        self.plan
            .iter()
            .find(|(point, _)| *point == here)
            .map_or(0, |(_, choice)| *choice)
    }

    /// The power may go here.
    ///
    /// # Errors
    /// When it does.
    pub fn cut(&mut self) -> Result<(), Down> {
        if self.choose(2) == 1 {
            Err(Down)
        } else {
            Ok(())
        }
    }
}

/// The entry that boots next, as GRUB picks it: what boots once is cleared.
///
/// # Panics
/// When the block has no default.
pub fn pick(env: &mut Grubenv) -> String {
    let next = env.get(NEXT_ENTRY);
    if next.is_some() {
        env.set(NEXT_ENTRY, "");
    }
    next.or_else(|| env.get(SAVED_ENTRY)).expect("a default")
}

/// Goes one way with these faults, by point and choice; gives how many choices its points had.
pub type Way<'a> = dyn FnMut(&[(u32, u32)]) -> Vec<u32> + 'a;

/// Goes all ways with up to three faults.
pub fn all(way: &mut Way) {
    with(&[], 3, way);
}

fn with(plan: &[(u32, u32)], more: u32, way: &mut Way) {
    let seen = way(plan);
    if more == 0 {
        return;
    }
    let first = plan.last().map_or(0, |(point, _)| point + 1);
    for (point, choices) in (0_u32..).zip(seen).filter(|(point, _)| *point >= first) {
        for choice in 1..choices {
            with(&[plan, &[(point, choice)]].concat(), more - 1, way);
        }
    }
}
