//! One call of leapp, to its end or to where it has hung.
use std::cell::{Cell, RefCell};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use anyhow::Result;
use livemode_common::cmd::Cmd;
use livemode_common::cmdline::Cmdline;
use livemode_common::contract::karg;

use crate::finish::Fault;
use crate::output::Output;
use crate::plan::under_strace;
use crate::trace::Trace;

/// leapp and dnf tell what they do. The longest they do not, a test of the transaction on slow disks, takes minutes.
const SILENCE: Duration = Duration::from_secs(60 * 60);
/// How often it is looked how long that is.
const LOOK: Duration = Duration::from_secs(5);

/// How it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    /// By itself.
    Exited(ExitStatus),
    /// It was ended, for it had said nothing for so long.
    Hung(Duration),
}

/// After how long without a word leapp has hung, by the boot line; `None`: never.
pub(crate) fn silence(line: &str) -> Option<Duration> {
    let line = Cmdline::parse(line);
    let seconds = line.last(karg::SILENCE).and_then(|seconds| seconds.parse().ok());
    Some(seconds.map_or(SILENCE, Duration::from_secs)).filter(|limit| !limit.is_zero())
}

/// Why the step has failed, if it has.
pub(crate) fn verdict(step: &str, ended: Ended) -> Option<Fault> {
    let (message, exit_code) = match ended {
        Ended::Exited(status) if status.success() => return None,
        Ended::Exited(status) => (
            format!("leapp ended with {status}"),
            status
                .code()
                .or_else(|| status.signal().map(|signal| 128 + signal)),
        ),
        Ended::Hung(limit) => (
            format!("leapp has said nothing for {} s, and was ended", limit.as_secs()),
            None,
        ),
    };
    Some(Fault {
        message: format!("{step}: {message}"),
        exit_code,
    })
}

/// Runs the command, with a trace if one is asked for and can be kept. What is wrong with the trace is told, and stops
/// nothing. If it says nothing for as long as `silence`, it is ended, unless the RPM transaction has begun: then that is told,
/// and somebody has to look.
pub(crate) fn run(
    command: &Cmd,
    trace: Option<&Path>,
    title: &str,
    silence: Option<Duration>,
    has_begun: impl Fn(&mut Output) -> bool,
    output: &mut Output,
) -> Result<Ended> {
    let started = trace.map(Trace::start).transpose();
    let trace = started.unwrap_or_else(|error| {
        output.line(&format!(
            "no trace is kept of this step: {error:#}; the upgrade goes on"
        ));
        None
    });
    let command = match &trace {
        Some(_) => under_strace(command),
        None => command.clone(),
    };
    output.line(&format!("{title}: {command}"));
    let result = watched(&command, silence, has_begun, output);
    match trace.map(Trace::end) {
        Some(Ok(Some(why))) => output.line(&format!("the trace is not complete: {why}")),
        Some(Err(error)) => output.line(&format!("the trace is not complete: {error:#}")),
        Some(Ok(None)) | None => {}
    }
    result
}

fn watched(
    command: &Cmd,
    silence: Option<Duration>,
    has_begun: impl Fn(&mut Output) -> bool,
    output: &mut Output,
) -> Result<Ended> {
    let Some(limit) = silence else {
        return command.stream(|bytes| output.bytes(bytes)).map(Ended::Exited);
    };
    let (output, last) = (RefCell::new(output), Cell::new(Instant::now()));
    let sink = |bytes: &[u8]| {
        last.set(Instant::now());
        output.borrow_mut().bytes(bytes);
    };
    let goes_on = || {
        if last.get().elapsed() < limit {
            return true;
        }
        // The next time after as long again.
        last.set(Instant::now());
        let mut output = output.borrow_mut();
        let begun = has_begun(&mut output);
        if begun {
            output.line(&format!(
                "leapp has said nothing for {} s; it is left alone, for the RPM transaction has begun: log in and look",
                limit.as_secs()
            ));
        }
        begun
    };
    let status = command.stream_while(sink, LOOK, goes_on)?;
    Ok(status.map_or(Ended::Hung(limit), Ended::Exited))
}

#[cfg(test)]
mod tests {
    use super::*;
    use livemode_common::sysroot::SysRoot;

    #[test]
    fn a_step_fails_with_what_a_shell_would_give() {
        // As wait(2) has it: the exit code in the second byte, a signal in the first.
        let exited = |raw| Ended::Exited(ExitStatus::from_raw(raw));
        let fault = |message: &str, exit_code| {
            Some(Fault {
                message: message.into(),
                exit_code,
            })
        };
        for (ended, expected) in [
            (exited(0), None),
            (
                exited(7 << 8),
                fault("step 1 of 2: leapp ended with exit status: 7", Some(7)),
            ),
            (
                exited(9),
                fault("step 1 of 2: leapp ended with signal: 9 (SIGKILL)", Some(137)),
            ),
            (
                Ended::Hung(SILENCE),
                fault(
                    "step 1 of 2: leapp has said nothing for 3600 s, and was ended",
                    None,
                ),
            ),
        ] {
            assert_eq!(verdict("step 1 of 2", ended), expected);
        }
    }

    #[test]
    fn the_boot_line_says_how_long_leapp_may_say_nothing() {
        for (line, limit) in [
            ("quiet", Some(SILENCE)),
            ("livemode.silence=soon", Some(SILENCE)),
            ("livemode.silence=0", None),
            (
                "livemode.silence=0 livemode.silence=9",
                Some(Duration::from_secs(9)),
            ),
        ] {
            assert_eq!(silence(line), limit, "{line}");
        }
    }

    fn ended(script: &str, silence: Option<Duration>, begun: bool, trace: Option<&Path>) -> Result<Ended> {
        let dir = tempfile::tempdir().unwrap();
        let command = Cmd::new("sh").args(["-c", script]);
        let mut output = Output::new(&SysRoot::new(dir.path()));
        run(
            &command,
            trace,
            "attempt 1, step 1 of 2",
            silence,
            |_| begun,
            &mut output,
        )
    }

    #[test]
    fn a_step_ends_as_its_command_does_whatever_becomes_of_its_trace() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("file"), "").unwrap();
        for trace in [None, Some(dir.path().join("file/trace"))] {
            for silence in [None, Some(SILENCE)] {
                let ended = ended("exit 3", silence, false, trace.as_deref()).unwrap();
                assert_eq!(ended, Ended::Exited(ExitStatus::from_raw(3 << 8)));
            }
        }
        let mut output = Output::new(&SysRoot::new(dir.path()));
        let gone = Cmd::new("/nowhere");
        assert!(run(&gone, None, "attempt 1, step 1 of 2", None, |_| true, &mut output).is_err());
    }

    #[test]
    fn who_hangs_is_ended_with_all_that_it_has_started_but_not_in_the_middle_of_the_transaction() {
        let limit = Duration::from_nanos(1);
        let hangs = "sleep 1000 & sleep 1000";
        assert_eq!(
            ended(hangs, Some(limit), false, None).unwrap(),
            Ended::Hung(limit)
        );
        // Whoever talks has not hung, and in the transaction nobody is ended.
        let hour = Some(Duration::from_secs(3600));
        for (silence, begun) in [(Some(limit), true), (hour, false)] {
            let ended = ended("echo x; sleep 0.1; exit 3", silence, begun, None).unwrap();
            assert_eq!(ended, Ended::Exited(ExitStatus::from_raw(3 << 8)), "{begun}");
        }
    }
}
