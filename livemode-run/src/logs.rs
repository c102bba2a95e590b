//! Copies of the journal: the upgrade's output to the consoles, everything to the source system's disk.
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::sync::mpsc::{channel, RecvTimeoutError};
use std::time::{Duration, Instant};

use anyhow::{bail, Context, Result};
use livemode_common::cmd::Cmd;
use livemode_common::contract::{JOURNAL_LOG, UPGRADE_UNIT};
use livemode_common::fsio;
use livemode_common::records::{Phase, Records};
use livemode_common::sysroot::SysRoot;

/// How long a line may be only in memory.
const SYNC_EVERY: Duration = Duration::from_secs(1);
/// A console that takes nothing (flow control on a serial line) loses lines, and holds up no other.
const CONSOLE_TRIES: u32 = 20;
const CONSOLE_PAUSE: Duration = Duration::from_millis(10);

/// Every console of the kernel and tty1, as long as the live system runs.
pub(crate) fn to_consoles() -> Result<()> {
    let active =
        fs::read_to_string("/sys/class/tty/console/active").context("reading the list of consoles")?;
    let mut consoles: Vec<Console> = console_names(&active).into_iter().map(Console::new).collect();
    let follow =
        Cmd::new("journalctl").args(["--follow", "--lines=all", "--output=cat", "--unit", UPGRADE_UNIT]);
    let status = follow.stream(|bytes| consoles.iter_mut().for_each(|console| console.write(bytes)))?;
    bail!("{follow} ended: {status}")
}

/// tty0 is whichever terminal is in front; the log has one of its own.
fn console_names(active: &str) -> Vec<String> {
    let mut names = vec!["tty1".to_owned()];
    names.extend(
        active
            .split_whitespace()
            .filter(|n| !matches!(*n, "tty0" | "tty1"))
            .map(str::to_owned),
    );
    names
}

struct Console {
    path: String,
    open: Option<File>,
}

impl Console {
    fn new(name: String) -> Self {
        Self {
            path: format!("/dev/{name}"),
            open: None,
        }
    }

    fn write(&mut self, bytes: &[u8]) {
        let text = String::from_utf8_lossy(bytes).replace('\n', "\r\n");
        let mut rest = text.as_bytes();
        for _ in 0..CONSOLE_TRIES {
            if self.open.is_none() {
                let flags = nix::fcntl::OFlag::O_NONBLOCK | nix::fcntl::OFlag::O_NOCTTY;
                self.open = OpenOptions::new()
                    .write(true)
                    .custom_flags(flags.bits())
                    .open(&self.path)
                    .ok();
            }
            match self.open.as_mut().map(|file| file.write(rest)) {
                Some(Ok(n)) => rest = &rest[n..],
                Some(Err(e)) if e.kind() == io::ErrorKind::WouldBlock => std::thread::sleep(CONSOLE_PAUSE),
                // A getty hangs the terminal up when it starts (vhangup(2)): open it again.
                _ => self.open = None,
            }
            if rest.is_empty() {
                return;
            }
        }
    }
}

/// The whole journal as text, each line on the disk within [`SYNC_EVERY`].
pub(crate) fn to_source(source: &SysRoot) -> Result<()> {
    let path = source.at(JOURNAL_LOG);
    let dir = path.parent().unwrap_or(source.path());
    fs::create_dir_all(dir).with_context(|| format!("creating {}", dir.display()))?;
    let mut log = fsio::append(&path, 0o600)?;
    let journal = Records::of(source);
    if let Some(state) = journal.state()?.filter(|state| state.state == Phase::Prepared) {
        journal.record(Phase::Booted, state.attempt, "the live system is up", None)?;
    }
    let (sender, receiver) = channel::<Vec<u8>>();
    // The child dies with the thread that starts it: that must be this one, which outlasts it.
    let writer = std::thread::spawn(move || -> io::Result<()> {
        // Since when there has been something to sync: lines that keep coming must not put it off.
        let mut unsynced: Option<Instant> = None;
        loop {
            let due = unsynced.map_or(SYNC_EVERY, |since| SYNC_EVERY.saturating_sub(since.elapsed()));
            match receiver.recv_timeout(due) {
                Ok(bytes) => {
                    log.write_all(&bytes)?;
                    unsynced.get_or_insert_with(Instant::now);
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return log.sync_data(),
            }
            if unsynced.is_some_and(|since| since.elapsed() >= SYNC_EVERY) {
                log.sync_data()?;
                unsynced = None;
            }
        }
    });
    let follow = Cmd::new("journalctl").args(["--follow", "--lines=all", "--output=short-iso"]);
    let status = follow.stream(|bytes| drop(sender.send(bytes.to_vec())))?;
    drop(sender);
    match writer.join() {
        Ok(written) => written.with_context(|| format!("writing {}", path.display()))?,
        Err(_) => bail!("writing {}: the writer panicked", path.display()),
    }
    bail!("{follow} ended: {status}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_goes_to_tty1_and_to_every_console_once() {
        assert_eq!(console_names("tty0 ttyS0\n"), ["tty1", "ttyS0"]);
        assert_eq!(console_names("hvc0 tty1 ttyS1"), ["tty1", "hvc0", "ttyS1"]);
    }
}
