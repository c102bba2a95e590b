//! QEMU's own word on a machine, over its control socket.
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::{json, Value};

/// QEMU answers at once; one that stalled does not at all.
const LIMIT: Duration = Duration::from_secs(10);

/// A connection to QEMU.
#[derive(Debug)]
pub struct Qmp {
    lines: BufReader<UnixStream>,
}

impl Qmp {
    /// Connects to the socket that QEMU listens on.
    ///
    /// # Errors
    /// When nobody listens, or QEMU does not answer.
    pub fn connect(socket: &Path) -> Result<Self> {
        let stream =
            UnixStream::connect(socket).with_context(|| format!("connecting to {}", socket.display()))?;
        stream.set_read_timeout(Some(LIMIT))?;
        let mut qmp = Self {
            lines: BufReader::new(stream),
        };
        // It greets, and takes commands after this one.
        qmp.line()?;
        qmp.ask("qmp_capabilities")?;
        Ok(qmp)
    }

    /// What the machine is doing, in QEMU's words: `running`, `io-error` and so on.
    ///
    /// # Errors
    /// When QEMU does not answer.
    pub fn status(&mut self) -> Result<String> {
        let answer = self.ask("query-status")?;
        let status = answer["status"].as_str();
        Ok(status.with_context(|| format!("no status: {answer}"))?.to_owned())
    }

    /// Resets the machine, as its button does.
    ///
    /// # Errors
    /// When QEMU does not answer.
    pub fn reset(&mut self) -> Result<()> {
        self.ask("system_reset").map(drop)
    }

    /// Stops it: nothing is written to its disks from here on, and all that it has written is in them.
    ///
    /// # Errors
    /// When QEMU does not answer.
    pub fn stop(&mut self) -> Result<()> {
        self.ask("stop").map(drop)
    }

    /// Lets it go on.
    ///
    /// # Errors
    /// When QEMU does not answer.
    pub fn go_on(&mut self) -> Result<()> {
        self.ask("cont").map(drop)
    }

    fn ask(&mut self, command: &str) -> Result<Value> {
        let line = json!({ "execute": command }).to_string() + "\n";
        self.lines.get_mut().write_all(line.as_bytes())?;
        loop {
            let mut said = self.line()?;
            // Events come in between.
            if !said["return"].is_null() {
                return Ok(said["return"].take());
            }
            anyhow::ensure!(said["error"].is_null(), "{command}: {said}");
        }
    }

    fn line(&mut self) -> Result<Value> {
        let mut line = String::new();
        let length = self
            .lines
            .read_line(&mut line)
            .context("waiting for QEMU's answer")?;
        anyhow::ensure!(length > 0, "QEMU is gone");
        Ok(serde_json::from_str(&line)?)
    }
}
