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
