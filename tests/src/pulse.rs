//! Whether a machine that says nothing still lives. A guest may be silent for long, at work or waiting; an emulator that
//! stalled runs none of it.
use std::time::Duration;

/// Processor time of the virtual processor that shows that the guest runs, the least that the kernel tells. An idle Linux
/// with nothing but a shell needs 3 ms a second for its timers (6.1, as seen), a stopped one none at all.
const SIGN_OF_LIFE: Duration = Duration::from_millis(10);
/// The most that counts as passed between two looks. A longer gap is this machine's own: it was stopped, or busy, and the
/// guest with it.
const LONGEST_GAP: Duration = Duration::from_secs(2);

/// What is seen of a machine at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Look {
    /// Since any fixed moment.
    pub at: Duration,
    /// Bytes on the console so far.
    pub console: u64,
    /// Processor time of the virtual processor so far.
    pub processor: Duration,
}

/// The looks at one machine so far, as far as they matter.
#[derive(Debug, Clone)]
pub struct Pulse {
    limit: Duration,
    last: Look,
    /// The last one with a sign of life, and how long ago that is.
    lived: Look,
    silent: Duration,
}

impl Pulse {
    /// For a machine that stalled when there is no sign of life for `limit`.
    pub fn new(limit: Duration, first: Look) -> Self {
        Self {
            limit,
            last: first,
            lived: first,
            silent: Duration::ZERO,
        }
    }

    /// Takes another look; whether the machine has stalled.
    pub fn has_stalled(&mut self, look: Look) -> bool {
        self.silent += look.at.saturating_sub(self.last.at).min(LONGEST_GAP);
        self.last = look;
        let ran = look.processor.saturating_sub(self.lived.processor);
        if look.console != self.lived.console || ran >= SIGN_OF_LIFE {
            self.lived = look;
            self.silent = Duration::ZERO;
        }
        self.silent > self.limit
    }
}

/// What a machine whose state QEMU tells so is doing; `None` when it runs, and nothing else is wrong.
pub fn fault(status: &str) -> Option<String> {
    match status {
        // Not yet, or no longer, but by itself.
        "running" | "prelaunch" | "shutdown" => None,
        "io-error" => Some(
            "QEMU has stopped the machine: a disk could not be written, as when this machine's is full"
                .into(),
        ),
        other => Some(format!("QEMU has stopped the machine: {other}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(10);

    /// Looks half a second apart, with what the console and the processor (ms) have come to; after how many of them the
    /// machine had stalled.
    fn stalled_after(looks: impl IntoIterator<Item = (u64, u64)>) -> Option<usize> {
        let looks = looks
            .into_iter()
            .enumerate()
            .map(|(number, (console, processor))| Look {
                at: Duration::from_millis(number as u64 * 500),
                console,
                processor: Duration::from_millis(processor),
            });
        let mut looks: Vec<Look> = looks.collect();
        let mut pulse = Pulse::new(LIMIT, looks.remove(0));
        looks.into_iter().position(|look| pulse.has_stalled(look))
    }

    #[test]
    fn silence_alone_is_no_stall() {
        for (what, looks) in [
            ("it talks", (0..100).map(|n| (n, 0)).collect::<Vec<_>>()),
            ("it talks, but seldom", (0..100).map(|n| (n / 20, 0)).collect()),
            ("it works in silence", (0..100).map(|n| (7, n * 480)).collect()),
            ("it idles", (0..100).map(|n| (7, n * 5)).collect()),
            (
                "it idles for half the limit at a time",
                (0..100).map(|n| (7, n / 10 * 10)).collect(),
            ),
        ] {
            assert_eq!(stalled_after(looks), None, "{what}");
        }
    }

    #[test]
    fn a_machine_that_neither_talks_nor_runs_has_stalled() {
        // The limit is 20 looks; the first of these is no sign of life yet.
        assert_eq!(stalled_after((0..100).map(|_| (7, 900))), Some(20));
        assert_eq!(stalled_after((0..100).map(|n| (n.min(30), 900))), Some(50));
        assert_eq!(stalled_after((0..100).map(|n| (7, n.min(30) * 400))), Some(50));
    }

    #[test]
    fn time_in_which_this_machine_stood_still_does_not_count() {
        let look = |at: u64, processor: u64| Look {
            at: Duration::from_secs(at),
            console: 7,
            processor: Duration::from_millis(processor),
        };
        let mut pulse = Pulse::new(LIMIT, look(0, 0));
        assert!(!pulse.has_stalled(look(300, 1)));
        assert!(!pulse.has_stalled(look(301, 30)), "it goes on");
        assert!(!pulse.has_stalled(look(600, 30)));
        // Stopped again and again: six of these gaps are too many.
        for gap in 1..=4 {
            assert!(!pulse.has_stalled(look(600 + gap * 100, 30)), "gap {gap}");
        }
        assert!(pulse.has_stalled(look(1100, 30)));
    }

    #[test]
    fn what_qemu_says_of_a_stopped_machine_is_told() {
        for status in ["running", "prelaunch", "shutdown"] {
            assert_eq!(fault(status), None, "{status}");
        }
        assert!(fault("io-error").is_some_and(|text| text.contains("a disk could not be written")));
        assert_eq!(
            fault("internal-error").as_deref(),
            Some("QEMU has stopped the machine: internal-error")
        );
    }
}
