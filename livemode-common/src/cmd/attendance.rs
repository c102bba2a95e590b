//! A started program, read and waited for until it ends or its limit is over.
use std::fs::File;
use std::io::{self, Read};
use std::ops::ControlFlow;
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Child, ExitStatus};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{poll, PollFd, PollFlags, PollTimeout};
use nix::sys::signal::{killpg, Signal};
use nix::sys::wait::{waitid, Id, WaitPidFlag, WaitStatus};
use nix::unistd::Pid;

/// A pipe of Linux holds as much (pipe(7)): one read empties it.
const PIECE: usize = 64 << 10;
/// How often it is asked whether a program has ended that has closed its output and goes on.
const TICK: Duration = Duration::from_millis(20);
/// How long a killed program may take to go. One that waits for a dead disk in the kernel takes no signal.
const GRACE: Duration = Duration::from_secs(5);

/// What a program writes, and who takes it, piece by piece.
pub(super) struct Pipe<'a> {
    file: File,
    sink: &'a mut dyn FnMut(&[u8]),
}

impl<'a> Pipe<'a> {
    /// The reading end of a pipe.
    pub(super) fn new(end: impl Into<OwnedFd>, sink: &'a mut dyn FnMut(&[u8])) -> Self {
        let file = File::from(end.into());
        Self { file, sink }
    }
}

/// Who looks at the program every now and then, by its process id, and lets it go on or not.
pub(super) struct Look<'a> {
    pub(super) every: Duration,
    pub(super) at: &'a mut dyn FnMut(u32) -> ControlFlow<()>,
}

/// How it came to an end.
#[derive(Debug)]
pub(super) enum End {
    /// By itself, and all of its output is read.
    Exited(ExitStatus),
    /// Its limit was over, or it was not let go on; it was killed.
    Killed,
    /// The same, and the kernel does not let it go.
    Stuck,
}

/// Reads all pipes to their ends and waits for the program. If it `leads` a process group, that goes with it.
pub(super) fn attend(
    child: &mut Child,
    pipes: Vec<Pipe<'_>>,
    leads: bool,
    limit: Option<Duration>,
    look: Option<Look<'_>>,
) -> io::Result<End> {
    let end = until_its_end(child, pipes, limit, look);
    match end {
        Ok(Some(status)) => Ok(End::Exited(status)),
        Ok(None) if kill(child, leads)? => Ok(End::Killed),
        Ok(None) => Ok(End::Stuck),
        Err(e) => {
            kill(child, leads)?;
            Err(e)
        }
    }
}

/// `None`: the limit is over, or it may not go on. The program may have ended even then, and what it started still holds its output open.
fn until_its_end(
    child: &mut Child,
    mut pipes: Vec<Pipe<'_>>,
    limit: Option<Duration>,
    mut look: Option<Look<'_>>,
) -> io::Result<Option<ExitStatus>> {
    let start = Instant::now();
    // A limit of centuries is none.
    let deadline = limit.and_then(|limit| start.checked_add(limit));
    let mut next_look = start;
    let mut piece = vec![0; PIECE];
    loop {
        if pipes.is_empty() && deadline.is_none() && look.is_none() {
            return child.wait().map(Some);
        }
        let ended = has_ended(child)?;
        if pipes.is_empty() && ended {
            return child.wait().map(Some);
        }
        let now = Instant::now();
        if deadline.is_some_and(|deadline| now >= deadline) {
            return Ok(None);
        }
        let mut pause = deadline.map(|deadline| deadline - now);
        if let Some(look) = look.as_mut().filter(|_| !ended) {
            if now >= next_look {
                if (look.at)(child.id()).is_break() {
                    return Ok(None);
                }
                next_look = now + look.every;
            }
            let next = next_look.saturating_duration_since(now);
            pause = Some(pause.map_or(next, |pause| pause.min(next)));
        }
        if pipes.is_empty() {
            std::thread::sleep(pause.map_or(TICK, |pause| pause.min(TICK)));
        } else {
            read_some(&mut pipes, pause, &mut piece)?;
        }
    }
}

/// Whether it has ended. It is left unreaped: until then its id, which is its group's, goes to nobody else.
fn has_ended(child: &Child) -> io::Result<bool> {
    let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
    Ok(waitid(Id::Pid(pid(child)), flags)? != WaitStatus::StillAlive)
}

/// Waits until a pipe has something or is closed, `pause` at most, and reads from each such pipe once.
fn read_some(pipes: &mut Vec<Pipe<'_>>, pause: Option<Duration>, piece: &mut [u8]) -> io::Result<()> {
    let timeout = pause.map_or(PollTimeout::NONE, |pause| {
        PollTimeout::try_from(pause).unwrap_or(PollTimeout::MAX)
    });
    let mut fds: Vec<PollFd<'_>> = pipes
        .iter()
        .map(|pipe| PollFd::new(pipe.file.as_fd(), PollFlags::POLLIN))
        .collect();
    match poll(&mut fds, timeout) {
        Err(Errno::EINTR) => return Ok(()),
        result => result?,
    };
    let ready: Vec<bool> = fds.iter().map(|fd| fd.any().unwrap_or(true)).collect();
    for i in (0..ready.len()).rev().filter(|&i| ready[i]) {
        match pipes[i].file.read(piece) {
            Ok(0) => drop(pipes.remove(i)),
            Ok(n) => (pipes[i].sink)(&piece[..n]),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

/// Kills it, with its group where it leads one, and says whether it went.
fn kill(child: &mut Child, with_group: bool) -> io::Result<bool> {
    if with_group {
        match killpg(pid(child), Signal::SIGKILL) {
            // It has left its group, and nobody is in it.
            Ok(()) | Err(Errno::ESRCH) => {}
            Err(e) => return Err(e.into()),
        }
    }
    child.kill()?;
    let start = Instant::now();
    while !has_ended(child)? {
        if start.elapsed() >= GRACE {
            return Ok(false);
        }
        std::thread::sleep(TICK);
    }
    child.wait().map(|_| true)
}

fn pid(child: &Child) -> Pid {
    Pid::from_raw(child.id().cast_signed())
}
