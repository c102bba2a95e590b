//! Copies of the journal: the upgrade's output to the consoles, everything to the source system's disk.
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::sync::mpsc::{channel, Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use anyhow::{bail, Context, Result};
use livemode_common::cmd::Cmd;
use livemode_common::contract::{JOURNAL_LOG, UPGRADE_UNIT};
use livemode_common::records::{Phase, Records};
use livemode_common::sysroot::SysRoot;

use crate::live;
use crate::log_file::LogFile;
use crate::output::to_journal;

/// How long a line may be only in memory.
const SYNC_EVERY: Duration = Duration::from_secs(1);
/// Between two looks for the source system's mount.
const LOOK_FOR_SOURCE_EVERY: Duration = Duration::from_secs(1);
/// A console that takes nothing (flow control on a serial line) loses lines, and holds up no other.
const CONSOLE_TRIES: u32 = 20;
const CONSOLE_PAUSE: Duration = Duration::from_millis(10);

/// What the upgrade says, on tty1 and on every console of the kernel, as long as the live system runs.
pub(crate) fn to_consoles() -> Result<()> {
    let active =
        fs::read_to_string("/sys/class/tty/console/active").context("reading the list of consoles")?;
    let mut consoles: Vec<Console> = console_names(&active).into_iter().map(Console::new).collect();
    let follow =
        Cmd::new("journalctl").args(["--follow", "--lines=all", "--output=cat", "--unit", UPGRADE_UNIT]);
    let status = follow.stream(|bytes| consoles.iter_mut().for_each(|console| console.write(bytes)))?;
    bail!("{follow} ended: {status}")
}

/// The kernel's consoles, and tty1 in place of tty0: that is whichever terminal is in front, where someone may be typing.
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

/// The whole journal as text, each line on the disk within [`SYNC_EVERY`], as long as the live system runs. Trouble with
/// the disk is told, and ends nothing: later lines are tried again.
pub(crate) fn to_source(source: &SysRoot) -> Result<()> {
    wait_for(source)?;
    if let Err(error) = record_booted(&Records::of(source)) {
        say(&format!("recording that the live system is up: {error:#}"));
    }
    let log = LogFile::on_source(source, JOURNAL_LOG);
    let (sender, receiver) = channel::<Vec<u8>>();
    // A program that Cmd starts dies with the thread that has started it. So this thread starts journalctl, and the
    // other one, which may end first, writes.
    let writer = std::thread::spawn(move || write_all(&receiver, log));
    let follow = Cmd::new("journalctl").args(["--follow", "--lines=all", "--output=short-iso"]);
    let status = follow.stream(|bytes| drop(sender.send(bytes.to_vec())))?;
    drop(sender);
    if writer.join().is_err() {
        bail!("writing /{JOURNAL_LOG}: the thread that writes panicked");
    }
    bail!("{follow} ended: {status}")
}

/// Where nothing is prepared there is nothing to record: the upgrade will say so.
fn record_booted(records: &Records) -> Result<()> {
    if records.state()?.is_some() {
        records.advance(
            &[Phase::Prepared, Phase::Booted],
            Phase::Booted,
            "the live system is up",
        )?;
    }
    Ok(())
}

/// Waits until the source system is mounted, for nothing is written below its mount point before.
fn wait_for(source: &SysRoot) -> Result<()> {
    let mut is_told = false;
    while !live::is_mounted(source.path())? {
        if !is_told {
            let fault = live::not_mounted(source.path());
            say(&format!("{fault}: the journal is in memory only, until it is"));
            is_told = true;
        }
        std::thread::sleep(LOOK_FOR_SOURCE_EVERY);
    }
    Ok(())
}

/// Writes what comes to the log until nothing can come any more.
fn write_all(receiver: &Receiver<Vec<u8>>, mut log: LogFile) {
    // Since when there has been something to sync: lines that keep coming must not put it off.
    let mut unsynced: Option<Instant> = None;
    loop {
        let due = unsynced.map_or(SYNC_EVERY, |since| SYNC_EVERY.saturating_sub(since.elapsed()));
        let mut trouble = Vec::new();
        let received = receiver.recv_timeout(due);
        if let Ok(bytes) = &received {
            trouble.extend(log.append(bytes));
            unsynced.get_or_insert_with(Instant::now);
        }
        let is_over = received == Err(RecvTimeoutError::Disconnected);
        if is_over || unsynced.is_some_and(|since| since.elapsed() >= SYNC_EVERY) {
            trouble.extend(log.sync());
            unsynced = None;
        }
        for text in trouble {
            say(&format!(
                "/{JOURNAL_LOG} of the source system is not complete: {text}; later lines are tried again"
            ));
        }
        if is_over {
            return;
        }
    }
}

/// Says something to the journal, whether somebody reads it or not.
fn say(text: &str) {
    to_journal(format!("livemode: {text}\n").as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use livemode_common::records::Change;

    #[test]
    fn the_live_system_is_up_only_once_and_only_where_something_is_prepared() {
        let dir = tempfile::tempdir().unwrap();
        let records = Records::in_dir(&dir.path().join("livemode"));
        record_booted(&records).unwrap();
        std::fs::create_dir(dir.path().join("livemode")).unwrap();
        for (before, after) in [
            (Phase::Prepared, Phase::Booted),
            (Phase::Booted, Phase::Booted),
            (Phase::Upgrading, Phase::Upgrading),
            (Phase::Failed, Phase::Failed),
        ] {
            records.record(Change::new(before, 0, "before")).unwrap();
            record_booted(&records).unwrap();
            assert_eq!(records.state().unwrap().unwrap().state, after);
        }
    }

    #[test]
    fn the_log_goes_to_tty1_and_to_every_console_once() {
        assert_eq!(console_names("tty0 ttyS0\n"), ["tty1", "ttyS0"]);
        assert_eq!(console_names("hvc0 tty1 ttyS1"), ["tty1", "hvc0", "ttyS1"]);
    }
}
