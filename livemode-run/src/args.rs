//! What `livemode-run` takes on its command line. Only definitions: its manual page and completions are made from them.
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use livemode_common::contract::SOURCE_MOUNT;
use livemode_common::help_end;

macro_rules! FILES {
    () => {
        concat!(
            "Files:\n",
            "  /run/upgrade  The source system, with all its mounts.\n",
            "  /run/upgrade/.noreboot  While it is there, success is followed by no reboot.\n",
            "  /var/lib/leapp/livemode/state.json  On the source system: where the upgrade stands.\n",
            "  /var/log/leapp/leapp-upgrade.log  On the source system: the log of leapp.\n",
        )
    };
}
macro_rules! EXAMPLES {
    () => {
        "Examples:\n  livemode-run status  Shows where the upgrade stands, and what to do now.\n  livemode-run upgrade  Starts it, and \
         follows it.\n"
    };
}
macro_rules! SEE {
    () => {
        "See also:\n  livemode(7), livemode.kargs(7), livemode-prep(8), livemode-boot(8)\n"
    };
}
macro_rules! SEE_RUN {
    () => {
        "See also:\n  livemode-run(8), livemode(7)\n"
    };
}

/// Runs the upgrade of the source system from the live system
#[derive(Parser)]
#[command(name = "livemode-run", version)]
#[command(after_long_help = help_end!(FILES!(), EXAMPLES!(), SEE!()))]
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
    #[command(after_long_help = help_end!(SEE_RUN!()))]
    Upgrade {
        /// All or nothing only: stop before anything reaches the disks, for you to look around in the source system
        #[arg(long)]
        keep: bool,
    },
    /// After upgrade --keep: move the upgraded system to its disks, and reboot into it
    #[command(after_long_help = help_end!(SEE_RUN!()))]
    Commit,
    /// After upgrade --keep: give the upgrade up, and reboot into the old system
    #[command(after_long_help = help_end!(SEE_RUN!()))]
    Discard,
    /// Show the commands that upgrade would run
    #[command(after_long_help = help_end!(SEE_RUN!()))]
    Plan {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Show where the upgrade stands
    #[command(after_long_help = help_end!(SEE_RUN!()))]
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
