//! Machines that something happens to, and where they rest after it: each boots what GRUB picks until it does.
use std::time::Duration;

use crate::random::Random;

mod cases;
mod lab;
mod life;
mod row;
mod tree;

pub use cases::{Case, CASES};
pub use lab::{Cut, Lab, Layout, Rested};
pub use row::{table, Outcome, Row};
pub use tree::Tree;

/// What the console shows at each boundary of the protocol, in order.
pub const BOUNDARIES: [(&str, &str); 8] = [
    ("the loader boots the upgrade", "Booting `LiveMode upgrade'"),
    ("early boot has mounted the image", "is mounted as root"),
    ("leapp starts", "livemode: attempt 1, step 1 of 2"),
    ("the transaction runs", "Running transaction"),
    ("the transaction is done", "Complete!"),
    ("leapp starts again", "livemode: attempt 1, step 2 of 2"),
    ("the new system becomes the default", "livemode: making "),
    ("before the reboot", "livemode: the upgrade succeeded"),
];

/// The same that only an upgrade has that is all or nothing.
pub const BOUNDARIES_IN_LAYERS: [(&str, &str); 3] = [
    (
        "early boot copies /boot",
        "livemode: copying what the boot loader reads",
    ),
    (
        "verification",
        "livemode: looking whether the upgraded system is whole",
    ),
    ("the merge", MERGE_BEGINS),
];
const MERGE_BEGINS: &str = "from here there is no way back";

/// When.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Moment {
    /// When the console shows this, of [`BOUNDARIES`] or [`BOUNDARIES_IN_LAYERS`].
    Boundary(&'static str),
    /// When the virtual processor has run for so long since the machine's start.
    Time(Duration),
    /// When the merge has taken the processor so many per cent of what a whole one takes.
    Merge(u32),
}

/// Power cuts, each in the life of the machine that follows the one before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Story {
    /// What it was made of; 0 for none.
    pub seed: u64,
    /// At least one.
    pub moments: Vec<Moment>,
}

impl Story {
    /// One cut at a boundary.
    pub fn boundary(shown: &'static str) -> Self {
        Self {
            seed: 0,
            moments: vec![Moment::Boundary(shown)],
        }
    }

    /// One cut when so many per cent of the merge are done.
    pub fn in_merge(percent: u32) -> Self {
        Self {
            seed: 0,
            moments: vec![Moment::Merge(percent)],
        }
    }

    /// Up to three cuts: the first at any moment of an upgrade that takes the processor `whole`, the others in what follows,
    /// which is shorter mostly.
    pub fn of_seed(seed: u64, whole: Duration) -> Self {
        let mut random = Random(seed);
        let mut at = |limit: Duration| {
            let limit = u64::try_from(limit.as_millis()).unwrap_or(u64::MAX);
            Moment::Time(Duration::from_millis(random.below(limit.max(1))))
        };
        let first = at(whole);
        let others = [at(whole / 2), at(whole / 2)];
        let count = [0, 0, 0, 1, 1, 2][usize::try_from(random.below(6)).unwrap_or(0)];
        Self {
            seed,
            moments: std::iter::once(first)
                .chain(others.into_iter().take(count))
                .collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_same_cuts_each_time_and_all_counts_come() {
        let whole = Duration::from_secs(40);
        let stories: Vec<Story> = (0..200).map(|seed| Story::of_seed(seed, whole)).collect();
        assert_eq!(
            stories,
            (0..200)
                .map(|seed| Story::of_seed(seed, whole))
                .collect::<Vec<_>>()
        );
        for count in 1..=3 {
            assert!(
                stories.iter().any(|story| story.moments.len() == count),
                "{count}"
            );
        }
        let first = |story: &Story| match &story.moments[0] {
            Moment::Time(time) => *time,
            _ => panic!("{story:?}"),
        };
        assert!(stories.iter().any(|story| first(story) < whole / 10));
        assert!(stories.iter().any(|story| first(story) > whole * 9 / 10));
    }

    #[test]
    fn a_report_is_that_of_the_last_boot_whatever_the_kernel_says_meanwhile() {
        let console = "report: booted 1\nreport: end\n[  1.2] report: booted 2\nreport: a-1.noarch[   85.168675] SSE\nreport: end\n";
        assert_eq!(life::report(console), ["booted 2", "a-1.noarch", "end"]);
    }

    #[test]
    fn a_machine_is_held_where_its_last_boot_says_so_and_lets_somebody_in() {
        let held = "Booting `LiveMode upgrade'\nlivemode: this live system stays up\nhost login: ";
        assert!(life::is_held(held));
        assert!(!life::is_held(&format!("{held}\nBooting `Demo'\n")));
        assert!(!life::is_held(
            "Booting `LiveMode upgrade'\nlivemode: this live system stays up\n"
        ));
    }
}
