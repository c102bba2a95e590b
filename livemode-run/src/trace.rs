//! strace's output on its way to the source system's disk. It comes through a FIFO: when the disk runs short the trace
//! ends, but whoever is traced goes on, for what strace still writes is read and thrown away. Killing strace would kill
//! leapp.
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{anyhow, bail, Context, Result};
use livemode_common::cmd::{find_program, Cmd};
use livemode_common::fsio;
use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout};
use nix::sys::stat::Mode;
use nix::sys::statvfs::fstatvfs;

use crate::output::to_journal;

/// Where strace writes to.
pub(crate) const FIFO: &str = "/run/livemode/trace";
/// What the trace leaves free on the disk, for the upgrade's packages and logs.
const RESERVE_BYTES: u64 = 512 << 20;
/// How much may be written between two looks at the free space.
const LOOK_EVERY_BYTES: u64 = 1 << 18;
/// How long a line may be only in memory.
const SYNC_EVERY_MS: u16 = 1000;
const SYNC_EVERY: Duration = Duration::from_millis(SYNC_EVERY_MS as u64);
const CHUNK: usize = 1 << 16;

/// An error when no trace can be kept in the file at `path`; its directories are made. strace is tried first: where it may
/// not trace, what it is to start would not run.
pub(crate) fn prepare(path: &Path) -> Result<()> {
    if find_program(Path::new("/"), "strace").is_none() {
        bail!("strace is not in the live system");
    }
    Cmd::new("strace").args(["-f", "-o", "/dev/null", "true"]).run()?;
    make(path).map(drop)
}

fn make(path: &Path) -> Result<File> {
    if let Some(dir) = path.parent() {
        fs::create_dir_all(dir).with_context(|| format!("creating {}", dir.display()))?;
    }
    fsio::append(path, 0o600)
}

/// A trace that is being kept.
pub(crate) struct Trace {
    /// Our own writing end of the FIFO. While it is open the thread that reads does not see the FIFO's end, even before
    /// strace has opened it.
    writer: File,
    /// Reads the FIFO and writes the file; gives why the trace is not complete, if it is not.
    copying: JoinHandle<Result<Option<String>>>,
}

impl Trace {
    /// Makes the FIFO, and keeps what comes through it in the file at `path`, appended.
    pub(crate) fn start(path: &Path) -> Result<Self> {
        let mut sink = Sink::new(make(path)?, RESERVE_BYTES);
        match fs::remove_file(FIFO) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                return Err(e).context("removing the old FIFO")
            }
            _ => {}
        }
        nix::unistd::mkfifo(FIFO, Mode::S_IRUSR | Mode::S_IWUSR).with_context(|| format!("making {FIFO}"))?;
        let context = || format!("opening {FIFO}");
        // Opening a FIFO waits for its other end (fifo(7)): so we open the reading end without waiting, then the writing
        // end, and from then on reads wait for bytes.
        let mut options = OpenOptions::new();
        let reader = options
            .read(true)
            .custom_flags(OFlag::O_NONBLOCK.bits())
            .open(FIFO)
            .with_context(context)?;
        let writer = OpenOptions::new().write(true).open(FIFO).with_context(context)?;
        nix::fcntl::fcntl(&reader, nix::fcntl::FcntlArg::F_SETFL(OFlag::empty())).with_context(context)?;
        let copying = std::thread::Builder::new()
            .spawn(move || sink.copy(reader))
            .context("starting a thread for the trace")?;
        Ok(Self { writer, copying })
    }

    /// Once strace has ended: what of the trace is not on the disk, and why, if anything is missing.
    pub(crate) fn end(self) -> Result<Option<String>> {
        drop(self.writer);
        self.copying
            .join()
            .map_err(|_| anyhow!("the thread that copies the trace panicked"))?
    }
}

/// The file of the trace: it takes what comes until the disk runs short.
struct Sink {
    file: File,
    /// What has to stay free on the disk.
    reserve_bytes: u64,
    /// How much has come since the last look at the free space.
    unlooked_bytes: u64,
    /// When the file was synced last.
    synced: Instant,
    /// Whether something was written since then.
    unsynced: bool,
    /// Why nothing more is kept.
    ended: Option<String>,
}

impl Sink {
    fn new(file: File, reserve_bytes: u64) -> Self {
        Self {
            file,
            reserve_bytes,
            // So that the free space is looked at when the first line comes.
            unlooked_bytes: LOOK_EVERY_BYTES,
            synced: Instant::now(),
            unsynced: false,
            ended: None,
        }
    }

    fn copy(&mut self, mut reader: impl Read + AsFd) -> Result<Option<String>> {
        let mut chunk = vec![0; CHUNK];
        loop {
            // Lines after which nothing comes for a while have to reach the disk too.
            let mut waiting = [PollFd::new(reader.as_fd(), PollFlags::POLLIN)];
            if matches!(
                nix::poll::poll(&mut waiting, PollTimeout::from(SYNC_EVERY_MS)),
                Ok(0)
            ) {
                self.sync();
                continue;
            }
            match reader.read(&mut chunk) {
                Ok(0) => break,
                Ok(n) => self.take(&chunk[..n]),
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e).context("reading the trace"),
            }
        }
        self.sync();
        Ok(self.ended.clone())
    }

    fn sync(&mut self) {
        if std::mem::take(&mut self.unsynced) {
            // An error here must not end the upgrade, and a disk that is full shows in the next write.
            let _ = self.file.sync_data();
        }
        self.synced = Instant::now();
    }

    fn take(&mut self, bytes: &[u8]) {
        if self.ended.is_some() {
            return;
        }
        self.unlooked_bytes += bytes.len() as u64;
        if self.unlooked_bytes >= LOOK_EVERY_BYTES {
            self.unlooked_bytes = 0;
            let free = fstatvfs(&self.file).map(|stat| stat.blocks_available() * stat.fragment_size());
            if free.is_ok_and(|free| free < self.reserve_bytes) {
                let mib = self.reserve_bytes >> 20;
                return self.stop(format!("less than {mib} MiB are free on its file system"));
            }
        }
        if let Err(error) = self.file.write_all(bytes) {
            return self.stop(format!("writing it: {error}"));
        }
        self.unsynced = true;
        if self.synced.elapsed() >= SYNC_EVERY {
            self.sync();
        }
    }

    fn stop(&mut self, why: String) {
        let _ = writeln!(self.file, "\nlivemode: the trace ends here: {why}");
        to_journal(format!("livemode: the trace ends here: {why}; the upgrade goes on\n").as_bytes());
        self.ended = Some(why);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(reserve_bytes: u64) -> (Option<String>, String) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("trace");
        let file = fsio::append(&path, 0o600).unwrap();
        let (reader, mut writer) = std::io::pipe().unwrap();
        writer.write_all(b"execve(...) = 0\n").unwrap();
        drop(writer);
        let ended = Sink::new(file, reserve_bytes).copy(reader).unwrap();
        (ended, fs::read_to_string(path).unwrap())
    }

    #[test]
    fn the_file_of_a_trace_is_made_with_its_directories() {
        let dir = tempfile::tempdir().unwrap();
        make(&dir.path().join("new dir/deep/trace")).unwrap();
        assert!(dir.path().join("new dir/deep/trace").is_file());
        let below_a_file = dir.path().join("new dir/deep/trace/x");
        assert!(make(&below_a_file)
            .unwrap_err()
            .to_string()
            .starts_with("creating "));
    }

    #[test]
    fn a_trace_is_kept_until_the_disk_runs_short() {
        assert_eq!(kept(0), (None, "execve(...) = 0\n".to_owned()));
        let (ended, text) = kept(u64::MAX);
        assert_eq!(
            text,
            format!("\nlivemode: the trace ends here: {}\n", ended.unwrap())
        );
    }
}
