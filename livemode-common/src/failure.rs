//! Errors that end with an exit code of their own: an invalid configuration, a precondition that is not met.
use std::process::ExitCode;

use crate::contract::{EXIT_CONFIG, EXIT_FAILED, EXIT_PRECONDITION};

/// Faults found together, with the exit code that stands for their kind.
#[derive(Debug)]
pub enum Failure {
    /// The configuration is invalid: exit code 3.
    Config(Vec<String>),
    /// Preconditions are not met: exit code 4.
    Precondition(Vec<String>),
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (Self::Config(faults) | Self::Precondition(faults)) = self;
        f.write_str(&faults.join("\n"))
    }
}

impl std::error::Error for Failure {}

/// An error with exit code 4 and one fault.
pub fn precondition(fault: impl Into<String>) -> anyhow::Error {
    Failure::Precondition(vec![fault.into()]).into()
}

/// Prints one line per fault on stderr and gives the exit code that the contract names for it.
pub fn report(program: &str, result: anyhow::Result<()>) -> ExitCode {
    let Err(error) = result else {
        return ExitCode::SUCCESS;
    };
    match error.downcast_ref::<Failure>() {
        Some(failure) => {
            let (Failure::Config(faults) | Failure::Precondition(faults)) = failure;
            for fault in faults {
                eprintln!("{program}: {}", one_line(fault));
            }
            ExitCode::from(match failure {
                Failure::Config(_) => EXIT_CONFIG,
                Failure::Precondition(_) => EXIT_PRECONDITION,
            })
        }
        None => {
            eprintln!("{program}: {}", one_line(&format!("{error:#}")));
            ExitCode::from(EXIT_FAILED)
        }
    }
}

fn one_line(text: &str) -> String {
    text.split('\n')
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect::<Vec<_>>()
        .join("; ")
}

/// What stands at the end of `--help` and in the manual page: the exit codes, then what is given. Each part is `Heading:`, then
/// `  term  text`, and what a term means may go on in lines that are indented by four.
#[macro_export]
macro_rules! help_end {
    ($($text:expr),*) => {
        concat!(
            "Exit status:\n  0  Done.\n  1  The operation failed.\n  2  Wrong usage.\n  3  The configuration is invalid.\n  \
             4  A precondition is not met: something must be put right first.\n",
            $("\n", $text),*
        )
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_failure_has_its_exit_code() {
        // ExitCode can be compared by its text alone.
        let code = |result| format!("{:?}", report("test", result));
        let expected = |code: u8| format!("{:?}", ExitCode::from(code));
        assert_eq!(code(Ok(())), expected(0));
        assert_eq!(code(Err(anyhow::anyhow!("no such disk"))), expected(1));
        assert_eq!(code(Err(Failure::Config(vec!["a".into()]).into())), expected(3));
        assert_eq!(code(Err(precondition("not opted in"))), expected(4));
        assert_eq!(
            code(Err(precondition("no opt-in").context("building"))),
            expected(4),
            "under a context too"
        );
    }

    #[test]
    fn faults_are_lines_and_a_fault_is_one_line() {
        assert_eq!(precondition("not opted in").to_string(), "not opted in");
        let failure = Failure::Config(vec!["a: b".into(), "c".into()]);
        assert_eq!(failure.to_string(), "a: b\nc");
        assert_eq!(one_line("no:\n  first\n\n  second \n"), "no:; first; second");
    }
}
