//! What the upgrade says: to the journal, and so to the consoles, and to leapp's log.
use std::io::{self, Write};

use anyhow::Result;
use livemode_common::contract::LEAPP_LOG;
use livemode_common::dm::{self, Mapped};
use livemode_common::store::{LogRing, StoreIo, STORE_DEVICE};
use livemode_common::sysroot::SysRoot;

use crate::log_file::LogFile;

pub(crate) struct Output {
    leapp_log: LogFile,
    /// In the store, where there is one: the file is given up with the upgrade.
    ring: Option<LogRing>,
}

impl Output {
    pub(crate) fn new(source: &SysRoot) -> Self {
        Self {
            leapp_log: LogFile::on_source(source, LEAPP_LOG),
            ring: ring().unwrap_or_else(|error| {
                to_journal(format!("livemode: the log in the store is not written: {error:#}\n").as_bytes());
                None
            }),
        }
    }

    /// Whether leapp's log can be written to.
    ///
    /// # Errors
    /// When it can be neither made nor opened.
    pub(crate) fn open(&mut self) -> Result<()> {
        self.leapp_log.open().map(drop)
    }

    /// One line of our own.
    pub(crate) fn line(&mut self, text: &str) {
        self.bytes(format!("livemode: {text}\n").as_bytes());
    }

    /// What a program of the upgrade has written. A full disk, or a journal that is being restarted, does not end an
    /// upgrade that runs.
    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        to_journal(bytes);
        if let Some(error) = self.ring.as_mut().and_then(|ring| ring.append(bytes).err()) {
            self.ring = None;
            to_journal(format!("livemode: the log in the store is not complete: {error:#}\n").as_bytes());
        }
        if let Some(trouble) = self.leapp_log.append(bytes) {
            to_journal(
                format!("livemode: /{LEAPP_LOG} of the source system is not complete: {trouble}\n")
                    .as_bytes(),
            );
        }
    }
}

fn ring() -> Result<Option<LogRing>> {
    if !dm::exists(STORE_DEVICE) {
        return Ok(None);
    }
    let store = StoreIo::view(&Mapped::find(STORE_DEVICE)?.node())?;
    LogRing::open(store).map(Some)
}

/// Writes to stdout, which is the journal. Unlike `println!`, which panics there, it bears that nobody reads.
pub(crate) fn to_journal(bytes: &[u8]) {
    let mut stdout = io::stdout();
    // What is wrong with the journal cannot be said anywhere else.
    let _ = stdout.write_all(bytes).and_then(|()| stdout.flush());
}
