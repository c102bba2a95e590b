//! Two halves of a build at the same time. When one fails, what the other runs is ended; the first error is the one that
//! counts.
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::{bail, Error, Result};
use livemode_common::cmd::Cmd;
use nix::sys::signal::{kill, Signal};
use nix::unistd::Pid;

/// How often a running program is looked at.
const POLL: Duration = Duration::from_millis(200);

/// What both know of each other.
#[derive(Default)]
pub(crate) struct Together {
    fault: Mutex<Option<Error>>,
}

impl Together {
    /// Calls both, at the same time where there are two processors.
    ///
    /// # Errors
    /// The first one of either.
    pub(crate) fn both<A: Send, B>(
        &self,
        processors: usize,
        one: impl FnOnce() -> Result<A> + Send,
        other: impl FnOnce() -> Result<B>,
    ) -> Result<(A, B)> {
        if processors < 2 {
            return Ok((one()?, other()?));
        }
        let (one, other) = std::thread::scope(|scope| {
            let one = scope.spawn(|| self.kept(one()));
            let other = self.kept(other());
            (one.join(), other)
        });
        let one = one.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        match (one, other, self.lock().take()) {
            (Some(one), Some(other), _) => Ok((one, other)),
            (_, _, Some(fault)) => Err(fault),
            (_, _, None) => bail!("one half of the build has ended without a reason"),
        }
    }

    /// Runs a program of one half; gives what it said on its stderr. `look` is called with its process id now and then.
    ///
    /// # Errors
    /// When it cannot be started or does not exit with 0, or the other half has failed.
    pub(crate) fn run(&self, command: &Cmd, mut look: impl FnMut(u32)) -> Result<String> {
        let (status, said) = command.watch(POLL, |pid| {
            if self.lock().is_some() {
                // It may have ended by itself.
                let _ = kill(Pid::from_raw(pid.cast_signed()), Signal::SIGKILL);
            }
            look(pid);
        })?;
        if !status.success() {
            bail!("{command}: {status}: {}", said.trim());
        }
        Ok(said)
    }

    /// The value; of an error the first is kept.
    fn kept<T>(&self, result: Result<T>) -> Option<T> {
        result
            .map_err(|error| {
                self.lock().get_or_insert(error);
            })
            .ok()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Error>> {
        self.fault.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    fn sleep(together: &Together) -> Result<()> {
        let sleep = Cmd::new("sleep").arg("600");
        together.run(&sleep, |_| ()).map(drop)
    }

    #[test]
    fn both_are_done_at_the_same_time_or_one_after_the_other() {
        for processors in [1, 2] {
            let (from, to) = std::sync::mpsc::channel();
            let both = Together::default().both(
                processors,
                || Ok(from.send("the first").is_ok()),
                || Ok(to.recv()?),
            );
            assert_eq!(both.unwrap(), (true, "the first"));
        }
    }

    #[test]
    fn the_half_that_fails_ends_the_other_and_says_why() {
        let started = Instant::now();
        let fails = |_: &Together| -> Result<()> { bail!("the disk is full") };
        for halves in [
            [&sleep as &(dyn Fn(&Together) -> Result<()> + Sync), &fails],
            [&fails, &sleep],
        ] {
            let together = Together::default();
            let both = together.both(2, || halves[0](&together), || halves[1](&together));
            assert_eq!(both.unwrap_err().to_string(), "the disk is full");
        }
        assert!(started.elapsed() < Duration::from_secs(600));
    }

    #[test]
    fn a_program_that_fails_is_named_with_what_it_said() {
        let fails = Cmd::new("sh").args(["-c", "echo no space >&2; exit 3"]);
        let together = Together::default();
        let both = together.both(1, || together.run(&fails, |_| ()), || Ok(()));
        let fault = both.unwrap_err().to_string();
        assert!(
            fault.starts_with("sh -c ") && fault.ends_with("exit status: 3: no space"),
            "{fault}"
        );
        let says = Cmd::new("sh").args(["-c", "echo a warning >&2"]);
        assert_eq!(together.run(&says, |_| ()).unwrap(), "a warning\n");
    }
}
