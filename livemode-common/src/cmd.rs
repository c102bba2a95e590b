//! The only place that starts programs. Arguments are a list, never a shell's text.
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io::Read;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{anyhow, bail, Context, Result};

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

    /// Lets it go on when we are killed, out of reach of a terminal's ^C.
    #[must_use]
    pub fn outlive_us(mut self) -> Self {
        self.outlives_us = true;
        self
    }

    /// How long it may run.
    #[must_use]
    pub fn limit(mut self, limit: Duration) -> Self {
        self.limit = Some(limit);
        self
    }

    /// Runs it to its end, output to nowhere, and gives its status and what it wrote to stderr. `look` is called with its
    /// process id every now and then.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn watch(&self, every: Duration, mut look: impl FnMut(u32)) -> Result<(ExitStatus, String)> {
        let mut child = self.spawn(|c| {
            c.stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::piped());
        })?;
        let mut stderr = child.stderr.take().context("no stderr")?;
        let reader = std::thread::spawn(move || {
            let mut text = Vec::new();
            stderr.read_to_end(&mut text).map(|_| text)
        });
        let status = loop {
            if let Some(status) = child.try_wait()? {
                break status;
            }
            look(child.id());
            std::thread::sleep(every);
        };
        let text = reader.join().map_err(|_| anyhow!("reading stderr"))??;
        Ok((status, String::from_utf8_lossy(&text).into_owned()))
    }

    /// The words, program first.
    pub fn words(&self) -> Vec<String> {
        std::iter::once(&self.program)
            .chain(&self.args)
            .map(|w| w.to_string_lossy().into_owned())
            .collect()
    }

    /// Runs it to its end, output to nowhere.
    ///
    /// # Errors
    /// When it cannot be started or does not exit with 0; the tail of its stderr is in the error.
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
            let end = stderr.trim_end();
            let start =
                (end.len().saturating_sub(STDERR_TAIL)..=end.len()).find(|&i| end.is_char_boundary(i));
            bail!("{self}: {status}: {}", &end[start.unwrap_or(0)..]);
        }
        Ok(stdout)
    }

    /// Runs it to its end and gives status, stdout and stderr, whatever the status.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn output(&self) -> Result<(ExitStatus, String, String)> {
        let output = self
            .command()
            .stdin(Stdio::null())
            .output()
            .with_context(|| format!("starting {}", self.program.to_string_lossy()))?;
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Ok((output.status, text(output.stdout), text(output.stderr)))
    }

    /// Runs it to its end with stdout and stderr as one stream given to `sink`, piece by piece.
    ///
    /// # Errors
    /// When it cannot be started; an error of `sink` is not asked for.
    pub fn stream(&self, mut sink: impl FnMut(&[u8])) -> Result<ExitStatus> {
        let (mut reader, writer) = std::io::pipe().context("making a pipe")?;
        let mut child = {
            let mut command = self.command();
            command
                .stdin(Stdio::null())
                .stdout(writer.try_clone()?)
                .stderr(writer);
            command
                .spawn()
                .with_context(|| format!("starting {}", self.program.to_string_lossy()))?
        };
        let mut piece = [0; 8192];
        loop {
            match reader.read(&mut piece) {
                Ok(0) => break,
                Ok(n) => sink(&piece[..n]),
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
                Err(e) => return Err(anyhow!(e)).with_context(|| format!("reading the output of {self}")),
            }
        }
        child.wait().with_context(|| format!("waiting for {self}"))
    }

    /// Starts it; `prepare` sets up its streams.
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

/// A word as a POSIX shell would have to read it.
pub fn shell_quote(word: &str) -> String {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_shown_as_a_shell_would_read_it() {
        let cmd = Cmd::new("mksquashfs")
            .arg("/a dir")
            .args(["-b", "1M"])
            .arg("it's");
        assert_eq!(cmd.to_string(), r"mksquashfs '/a dir' -b 1M 'it'\''s'");
    }

    #[test]
    fn a_failure_carries_the_command_its_status_and_its_stderr() {
        let error = Cmd::new("sh")
            .args(["-c", "echo no such thing >&2; exit 7"])
            .run()
            .unwrap_err();
        assert_eq!(
            error.to_string(),
            "sh -c 'echo no such thing >&2; exit 7': exit status: 7: no such thing"
        );
    }
}
