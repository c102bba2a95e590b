//! A machine that runs, and what is done with it.
use std::cell::Cell;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Stdio};
use std::time::{Duration, Instant};

use anyhow::{bail, Context, Result};
use livemode_common::cmd::Cmd;

use crate::pulse::{self, Look, Pulse};
use crate::qmp::Qmp;
use crate::slot::Slot;

/// Whole life of a machine, on a busy host.
const LIMIT: Duration = Duration::from_secs(900);
/// No sign of life for so long: the emulator has stalled.
const STALL: Duration = Duration::from_secs(120);
/// How often QEMU is asked what it makes of its machine.
const ASK: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(50);
/// How QEMU calls the thread of a virtual processor: that of one, or of all where instructions are counted.
const VIRTUAL_PROCESSOR: [&str; 2] = ["CPU ", "ALL CPUs"];
/// What QEMU logs when a guest powers off, and not when it reboots.
const SHUTDOWN_REQUEST: &str = "qemu_system_shutdown_request";
/// Of a console, in an error.
const SHOWN_LINES: usize = 40;

/// QEMU, and what types on the machine's serial console. What that shows is added to `log`.
fn launch(qemu: &Cmd, log: &Path) -> Result<(Child, ChildStdin)> {
    let console = fs::OpenOptions::new().append(true).open(log);
    let console = console.with_context(|| format!("opening {}", log.display()))?;
    let mut process = qemu.spawn(|command| {
        command
            .stdin(Stdio::piped())
            .stdout(console)
            .stderr(Stdio::inherit());
    })?;
    let stdin = process.stdin.take().context("no standard input of QEMU")?;
    Ok((process, stdin))
}

/// No sign of life for [`STALL`].
#[derive(Debug)]
pub struct Stalled;

impl std::fmt::Display for Stalled {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the emulator stalled")
    }
}

impl std::error::Error for Stalled {}

/// A machine that runs; it is killed when dropped.
pub struct Running {
    process: Child,
    stdin: ChildStdin,
    /// What starts it once more where a reboot is not its end.
    again: Option<Cmd>,
    log: PathBuf,
    control: PathBuf,
    requests: PathBuf,
    stall: Duration,
    started: Instant,
    /// Processor time that was seen of this QEMU, and of those before it.
    used: Cell<Duration>,
    before: Duration,
    // Given back when QEMU is gone.
    _slot: Slot,
}

impl Running {
    /// Starts QEMU, with what it is followed by: files beside `disk`. Where it `reboots`, that is not its end.
    pub(super) fn start(qemu: Cmd, disk: &Path, reboots: bool) -> Result<Self> {
        let slot = Slot::take()?;
        let log = disk.with_extension("console");
        fs::File::create(&log).with_context(|| format!("creating {}", log.display()))?;
        let (control, requests) = (disk.with_extension("qmp"), disk.with_extension("requests"));
        let qemu = qemu
            // The threads have names, by which the virtual processor's is found.
            .args(["-name", "machine,debug-threads=on"])
            .arg("-qmp")
            .arg(format!("unix:{},server=on,wait=off", control.display()))
            .args(["-trace", SHUTDOWN_REQUEST, "-D"])
            .arg(&requests);
        let (process, stdin) = launch(&qemu, &log)?;
        Ok(Self {
            process,
            stdin,
            again: reboots.then_some(qemu),
            log,
            control,
            requests,
            stall: STALL,
            started: Instant::now(),
            used: Cell::default(),
            before: Duration::ZERO,
            _slot: slot,
        })
    }

    /// What the console has shown so far.
    pub fn console(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// Whether it is up, within its limit.
    ///
    /// # Errors
    /// When its state cannot be asked for.
    pub fn is_up(&mut self) -> Result<bool> {
        Ok(!self.has_ended()? && self.started.elapsed() < LIMIT)
    }

    /// Whether it has ended. One that has rebooted is started once more, and has not.
    fn has_ended(&mut self) -> Result<bool> {
        let Some(status) = self.process.try_wait()? else {
            return Ok(false);
        };
        let requests = fs::read_to_string(&self.requests).unwrap_or_default();
        let is_off = requests.contains(SHUTDOWN_REQUEST) || !status.success();
        match &self.again {
            Some(qemu) if !is_off => (self.process, self.stdin) = launch(qemu, &self.log)?,
            _ => return Ok(true),
        }
        self.before += self.used.take();
        Ok(false)
    }

    /// Waits until the console shows `text`.
    ///
    /// # Errors
    /// When the machine ends or its time does before that.
    pub fn expect(&mut self, text: &str) -> Result<()> {
        self.until(|console| console.contains(text), &format!("'{text}'"))?;
        Ok(())
    }

    /// Waits until the console shows `text` somewhere after `mark`.
    ///
    /// # Errors
    /// As [`Running::expect`].
    pub fn expect_after(&mut self, mark: &str, text: &str) -> Result<()> {
        let after = |console: &str| {
            console
                .split_once(mark)
                .is_some_and(|(_, rest)| rest.contains(text))
        };
        self.until(after, &format!("'{text}' after '{mark}'"))?;
        Ok(())
    }

    /// Logs in as root, whom the live system of these tests lets in without a password.
    ///
    /// # Errors
    /// Those of [`expect`](Self::expect) and [`type_line`](Self::type_line).
    pub fn log_in(&mut self) -> Result<()> {
        self.expect("demo-source login:")?;
        self.type_line("root")?;
        self.expect("root@demo-source:~#")
    }

    /// Types a line on the serial console.
    ///
    /// # Errors
    /// When the machine is gone.
    pub fn type_line(&mut self, text: &str) -> Result<()> {
        self.type_keys(&format!("{text}\r"))
    }

    /// Presses keys of the serial console.
    ///
    /// # Errors
    /// When the machine is gone.
    pub fn type_keys(&mut self, keys: &str) -> Result<()> {
        self.stdin.write_all(keys.as_bytes())?;
        Ok(self.stdin.flush()?)
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// When it does not end within the limit.
    pub fn wait(mut self) -> Result<String> {
        self.until(|_| false, "the machine's end")
    }

    /// Another limit than [`STALL`].
    pub fn stalled_after(mut self, limit: Duration) -> Self {
        self.stall = limit;
        self
    }

    /// QEMU's process.
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Processor time of the virtual processor so far, as far as it was asked for while it ran.
    ///
    /// # Errors
    /// When the kernel's answer cannot be understood.
    pub fn processor_time(&self) -> Result<Duration> {
        let tasks = PathBuf::from(format!("/proc/{}/task", self.pid()));
        // Where QEMU has no such thread yet, or no longer, there is nothing new.
        for task in fs::read_dir(&tasks).into_iter().flatten().flatten() {
            let read = |name: &str| fs::read_to_string(task.path().join(name)).unwrap_or_default();
            let name = read("comm");
            if VIRTUAL_PROCESSOR.iter().any(|begin| name.starts_with(begin)) {
                let used = processor_time(&read("stat"))?;
                self.used.set(used.max(self.used.get()));
            }
        }
        Ok(self.before + self.used.get())
    }

    /// Presses its reset button.
    ///
    /// # Errors
    /// When QEMU does not answer.
    pub fn reset(&self) -> Result<()> {
        Qmp::connect(&self.control)?.reset()
    }

    /// Calls `act` while it stands still, with its disks as a reset would leave them.
    ///
    /// # Errors
    /// When QEMU does not answer, and those of `act`.
    pub fn paused<T>(&self, act: impl FnOnce() -> Result<T>) -> Result<T> {
        let Ok(mut qmp) = Qmp::connect(&self.control) else {
            // No QEMU listens: it is between two boots.
            return act();
        };
        qmp.stop()?;
        let done = act();
        qmp.go_on()?;
        done
    }

    /// Waits until its console is as it should be, which is `what`; the console.
    ///
    /// # Errors
    /// When the machine ends or its time does before that.
    pub fn until(&mut self, mut found: impl FnMut(&str) -> bool, what: &str) -> Result<String> {
        self.until_both(|_, console| found(console), what)
    }

    /// Waits until it and its console are as they should be, which is `what`; the console.
    ///
    /// # Errors
    /// As [`Running::until`].
    pub fn until_both(&mut self, mut found: impl FnMut(&Self, &str) -> bool, what: &str) -> Result<String> {
        let look = |running: &Self, console: &str| -> Result<Look> {
            Ok(Look {
                at: running.started.elapsed(),
                console: console.len() as u64,
                processor: running.processor_time()?,
            })
        };
        let mut pulse = Pulse::new(self.stall, look(self, &self.console())?);
        let mut asked = Instant::now();
        loop {
            let ended = self.has_ended()?;
            let console = self.console();
            if found(self, &console) || (ended && what == "the machine's end") {
                return Ok(console);
            }
            if ended {
                let status = self.process.try_wait()?;
                let status = status.map(|status| status.to_string()).unwrap_or_default();
                bail!(
                    "the machine ended ({status}) before {what}; its console:\n{}",
                    end(&console)
                );
            }
            if self.started.elapsed() > LIMIT {
                bail!(
                    "waiting for {what}: {} s are over; its console:\n{}",
                    LIMIT.as_secs(),
                    end(&console)
                );
            }
            if pulse.has_stalled(look(self, &console)?) {
                return Err(anyhow::Error::new(Stalled)
                    .context(end(&console))
                    .context(format!("waiting for {what}")));
            }
            if asked.elapsed() > ASK {
                asked = Instant::now();
                // One that does not answer has ended meanwhile, or stalled, which shows by itself.
                let status = Qmp::connect(&self.control).and_then(|mut qmp| qmp.status());
                if let Some(fault) = status.ok().and_then(|status| pulse::fault(&status)) {
                    bail!("waiting for {what}: {fault}; its console:\n{}", end(&console));
                }
            }
            std::thread::sleep(POLL);
        }
    }
}

/// The last lines of a console.
fn end(console: &str) -> String {
    let lines: Vec<&str> = console.lines().collect();
    lines[lines.len().saturating_sub(SHOWN_LINES)..].join("\n")
}

/// Processor time of a thread by its line in /proc/PID/task/TID/stat (proc(5)): user and kernel, the fields 14 and 15, in
/// the hundredths of a second that Linux counts in for programs.
fn processor_time(stat: &str) -> Result<Duration> {
    if stat.is_empty() {
        return Ok(Duration::ZERO);
    }
    // The second field is a name in parentheses, of any characters.
    let (_, fields) = stat
        .rsplit_once(')')
        .with_context(|| format!("no name in {stat}"))?;
    let mut ticks = fields.split_whitespace().skip(11).take(2).map(str::parse::<u64>);
    let mut next = || -> Result<u64> { Ok(ticks.next().with_context(|| format!("too short: {stat}"))??) };
    Ok(Duration::from_millis((next()? + next()?) * 10))
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_processor_time_is_that_of_user_and_kernel() {
        let stat = "21542 (CPU 0/TCG) R) S 1 21542 21542 0 -1 4194304 1021 0 3 0 412 38 0 0 20 0 4 0 1 2 3";
        assert_eq!(processor_time(stat).unwrap(), Duration::from_millis(4500));
        assert_eq!(processor_time("").unwrap(), Duration::ZERO);
        assert!(processor_time("1 (x) S 1").is_err());
    }
}
