//! The only place that starts programs. Arguments are a list, never a shell's text.
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::ops::ControlFlow;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{bail, Context, Result};

use attendance::{attend, End, Look, Pipe};
use ends::Ends;

mod attendance;
mod ends;
#[cfg(test)]
mod tests;

/// How much of a failed program's stderr an error carries, in bytes.
const STDERR_TAIL: usize = 600;

/// A program and its arguments. It is killed when the thread that started it dies, unless it is to outlive us.
#[derive(Debug, Clone)]
pub struct Cmd {
    program: OsString,
    args: Vec<OsString>,
    env: Vec<(OsString, OsString)>,
    outlives_us: bool,
    limit: Option<Duration>,
}

impl Cmd {
    /// The program `program`, looked up in PATH.
    pub fn new(program: impl AsRef<OsStr>) -> Self {
        Self {
            program: program.as_ref().to_owned(),
            args: Vec::new(),
            env: Vec::new(),
            outlives_us: false,
            limit: None,
        }
    }

    /// Adds one argument.
    #[must_use]
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.args.push(arg.as_ref().to_owned());
        self
    }

    /// Adds arguments.
    #[must_use]
    pub fn args<S: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        self.args.extend(args.into_iter().map(|a| a.as_ref().to_owned()));
        self
    }

    /// Sets an environment variable.
    #[must_use]
    pub fn env(mut self, key: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.env
            .push((key.as_ref().to_owned(), value.as_ref().to_owned()));
        self
    }

    /// Lets it go on when we are killed. It has a process group of its own, so a terminal's ^C does not reach it.
    #[must_use]
    pub fn outlive_us(mut self) -> Self {
        self.outlives_us = true;
        self
    }

    /// Ends it when it, and what it started, takes longer; [`Cmd::spawn`] does not heed it. A program with a limit has a
    /// process group of its own, so a terminal's ^C does not reach it: it goes when we do.
    #[must_use]
    pub fn limit(mut self, limit: Duration) -> Self {
        self.limit = Some(limit);
        self
    }

    /// Program and arguments, as text.
    pub fn words(&self) -> Vec<String> {
        std::iter::once(&self.program)
            .chain(&self.args)
            .map(|w| w.to_string_lossy().into_owned())
            .collect()
    }

    /// Runs it to its end; what it writes to stdout is dropped.
    ///
    /// # Errors
    /// When it cannot be started, takes longer than its limit or does not exit with 0; the tail of its stderr is in the
    /// error.
    pub fn run(&self) -> Result<()> {
        self.read().map(drop)
    }

    /// Runs it to its end and gives its stdout.
    ///
    /// # Errors
    /// As [`Cmd::run`].
    pub fn read(&self) -> Result<String> {
        let (status, stdout, stderr) = self.output()?;
        if !status.success() {
            bail!("{self}: {status}: {}", tail(&stderr));
        }
        Ok(stdout)
    }

    /// Runs it to its end and gives status, stdout and stderr, whatever the status. Bytes that are not UTF-8 are
    /// replaced.
    ///
    /// # Errors
    /// When it cannot be started or takes longer than its limit.
    pub fn output(&self) -> Result<(ExitStatus, String, String)> {
        let mut child = self.start(|command| {
            command.stdout(Stdio::piped()).stderr(Stdio::piped());
        })?;
        let stdout = child.stdout.take().expect("stdout is a pipe");
        let stderr = child.stderr.take().expect("stderr is a pipe");
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let mut to_out = |piece: &[u8]| out.extend_from_slice(piece);
        let mut to_err = |piece: &[u8]| err.extend_from_slice(piece);
        let pipes = vec![Pipe::new(stdout, &mut to_out), Pipe::new(stderr, &mut to_err)];
        let end = attend(&mut child, pipes, self.limit.is_some(), self.limit, None);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let stderr = text(&err);
        Ok((self.exited(end, &stderr)?, text(&out), stderr))
    }

    /// Runs it to its end with stdout and stderr as one stream given to `sink`, piece by piece.
    ///
    /// # Errors
    /// When it cannot be started or takes longer than its limit. `sink` cannot fail: it keeps its own errors.
    pub fn stream(&self, mut sink: impl FnMut(&[u8])) -> Result<ExitStatus> {
        let (reader, writer) = std::io::pipe().context("making a pipe")?;
        let second = writer.try_clone().context("making a pipe")?;
        let mut child = self.start(|command| {
            command.stdout(writer).stderr(second);
        })?;
        let pipes = vec![Pipe::new(reader, &mut sink)];
        let end = attend(&mut child, pipes, self.limit.is_some(), self.limit, None);
        self.exited(end, "")
    }

    /// As [`Cmd::stream`], without a limit, of a program that may hang: `goes_on` is asked about once in `every`, and when it
    /// says no, the program is ended, with all of its process group. `None`: it was ended, or the kernel does not let it go.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn stream_while(
        &self,
        mut sink: impl FnMut(&[u8]),
        every: Duration,
        mut goes_on: impl FnMut() -> bool,
    ) -> Result<Option<ExitStatus>> {
        let (reader, writer) = std::io::pipe().context("making a pipe")?;
        let second = writer.try_clone().context("making a pipe")?;
        let mut child = self.start(|command| {
            command.process_group(0).stdout(writer).stderr(second);
        })?;
        let mut at = |_| match goes_on() {
            true => ControlFlow::Continue(()),
            false => ControlFlow::Break(()),
        };
        let look = Look { every, at: &mut at };
        let pipes = vec![Pipe::new(reader, &mut sink)];
        let end = attend(&mut child, pipes, true, None, Some(look));
        Ok(match end.with_context(|| format!("waiting for {self}"))? {
            End::Exited(status) => Some(status),
            End::Killed | End::Stuck => None,
        })
    }

    /// Runs it to its end, drops its stdout, and gives its status and its stderr: of more than 16 KiB the beginning and
    /// the end. `look` is called with its process id at once and then at most once in `every`.
    ///
    /// # Errors
    /// When it cannot be started or takes longer than its limit.
    pub fn watch(&self, every: Duration, mut look: impl FnMut(u32)) -> Result<(ExitStatus, String)> {
        let mut child = self.start(|command| {
            command.stdout(Stdio::null()).stderr(Stdio::piped());
        })?;
        let stderr = child.stderr.take().expect("stderr is a pipe");
        let mut ends = Ends::default();
        let mut sink = |piece: &[u8]| ends.push(piece);
        let mut at = |pid| {
            look(pid);
            ControlFlow::Continue(())
        };
        let look = Look { every, at: &mut at };
        let pipes = vec![Pipe::new(stderr, &mut sink)];
        let end = attend(&mut child, pipes, self.limit.is_some(), self.limit, Some(look));
        let said = ends.into_text();
        Ok((self.exited(end, &said)?, said))
    }

    /// Starts it, without a limit; `prepare` sets up its streams.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn spawn(&self, prepare: impl FnOnce(&mut Command)) -> Result<Child> {
        let mut command = self.command();
        prepare(&mut command);
        command
            .spawn()
            .with_context(|| format!("starting {}", self.program.to_string_lossy()))
    }

    /// Starts it in this thread, with nothing to read. The thread must live on until it ends (`PR_SET_PDEATHSIG` of
    /// prctl(2)).
    fn start(&self, prepare: impl FnOnce(&mut Command)) -> Result<Child> {
        self.spawn(|command| {
            command.stdin(Stdio::null());
            if self.limit.is_some() {
                command.process_group(0);
            }
            prepare(command);
        })
    }

    fn exited(&self, end: std::io::Result<End>, stderr: &str) -> Result<ExitStatus> {
        let ended = match end.with_context(|| format!("waiting for {self}"))? {
            End::Exited(status) => return Ok(status),
            End::Killed => "it was ended",
            End::Stuck => "it cannot be ended: the kernel does not let it go",
        };
        let limit = self.limit.unwrap_or_default();
        let said = match tail(stderr) {
            "" => String::new(),
            said => format!(": {said}"),
        };
        bail!("{self}: took longer than its limit of {limit:?}; {ended}{said}");
    }

    #[allow(clippy::disallowed_methods)] // This is the one place.
    #[allow(unsafe_code)]
    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command
            .args(&self.args)
            .envs(self.env.iter().map(|(k, v)| (k, v)));
        if self.outlives_us {
            command.process_group(0);
            return command;
        }
        // SAFETY: prctl(2) is async-signal-safe and touches no memory of the parent.
        unsafe {
            command.pre_exec(|| {
                nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGKILL)
                    .map_err(std::io::Error::from)
            });
        }
        command
    }
}

impl fmt::Display for Cmd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words: Vec<String> = self.words().iter().map(|w| shell_quote(w)).collect();
        f.write_str(&words.join(" "))
    }
}

/// The end of what a program wrote.
fn tail(text: &str) -> &str {
    let text = text.trim_end();
    let cut = text.len().saturating_sub(STDERR_TAIL);
    let start = (cut..=text.len()).find(|&i| text.is_char_boundary(i));
    &text[start.unwrap_or(0)..]
}

/// A word as a POSIX shell would have to read it.
fn shell_quote(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,+@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// The first of the usual directories below `root` that holds the program.
pub fn find_program(root: &std::path::Path, name: &str) -> Option<std::path::PathBuf> {
    ["usr/bin", "usr/sbin", "bin", "sbin"]
        .iter()
        .map(|dir| std::path::Path::new("/").join(dir).join(name))
        .find(|path| root.join(path.strip_prefix("/").unwrap_or(path)).is_file())
}
