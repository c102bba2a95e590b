//! What `livemode-run` takes on its command line. Only definitions: its manual page and completions are made from them.
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use livemode_common::contract::SOURCE_MOUNT;

/// Runs the upgrade of the source system from the live system
#[derive(Parser)]
#[command(name = "livemode-run", version)]
#[command(
    after_help = "Exit status: 0 done, 1 the operation failed, 2 usage, 3 the configuration is invalid, 4 a precondition is \
                        not met."
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) inputs: Inputs,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Args)]
pub(crate) struct Inputs {
    /// Where the source system is mounted
    #[arg(long, global = true, value_name = "DIR", default_value = SOURCE_MOUNT)]
    pub(crate) source: PathBuf,
    /// The kernel command line to go by
    #[arg(long, global = true, value_name = "FILE", default_value = "/proc/cmdline")]
    pub(crate) cmdline: PathBuf,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Run the upgrade; by hand: start its service and follow it. Losing the terminal does not stop it
    Upgrade {
        /// All or nothing only: stop before anything reaches the disks, for you to look around in the source system
        #[arg(long)]
        keep: bool,
    },
    /// After upgrade --keep: move the upgraded system to its disks, and reboot into it
    Commit,
    /// After upgrade --keep: give the upgrade up, and reboot into the old system
    Discard,
    /// Show the commands that upgrade would run
    Plan {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Show where the upgrade stands
    Status {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Exit with 0 when the upgrade is to start: by the boot line, or because an admin asked for it
    #[command(hide = true)]
    Wanted,
    /// Copy the upgrade's output to the consoles
    #[command(hide = true)]
    Console,
    /// Copy the journal to the source system's disk
    #[command(hide = true)]
    Journal,
}
