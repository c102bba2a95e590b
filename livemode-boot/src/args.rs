//! What `livemode-boot` takes on its command line. Only definitions: its manual page and completions are made from them.
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use livemode_common::help_end;

/// Where the initramfs has the root file system that it is about to start.
pub(crate) const SYSROOT: &str = "/sysroot";
/// The kernel command line that this system was booted with.
pub(crate) const PROC_CMDLINE: &str = "/proc/cmdline";

macro_rules! FILES {
    () => {
        concat!(
            "Files:\n",
            "  /proc/cmdline  What is to be done: livemode.kargs(7).\n",
            "  /run/livemode/boot.json  What was done, and how long each step took.\n",
        )
    };
}
macro_rules! EXAMPLES {
    () => {
        "Examples:\n  livemode-boot plan --cmdline FILE  Shows what early boot would do with the line in this file.\n"
    };
}
macro_rules! SEE {
    () => {
        "See also:\n  livemode(7), livemode.kargs(7), livemode-prep(8), livemode-run(8), dracut.cmdline(7)\n"
    };
}
macro_rules! SEE_BOOT {
    () => {
        "See also:\n  livemode-boot(8), livemode.kargs(7)\n"
    };
}

/// Mounts the image of an upgrade as root, in the initramfs
#[derive(Parser)]
#[command(name = "livemode-boot", version)]
#[command(after_long_help = help_end!(FILES!(), EXAMPLES!(), SEE!()))]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Wait for the image's device, check the image and mount it as root; what the dracut hook calls.
    /// When that fails: say why, count down, and take the way back that rd.emergency= asks for
    #[command(after_long_help = help_end!(SEE_BOOT!()))]
    Mount {
        /// Where the root file system is to be mounted
        #[arg(long, value_name = "DIR", default_value = SYSROOT)]
        sysroot: PathBuf,
        #[command(flatten)]
        line: Line,
    },
    /// Show what would be waited for, checked and mounted; touches nothing
    #[command(after_long_help = help_end!(SEE_BOOT!()))]
    Plan {
        #[command(flatten)]
        line: Line,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Exit with 0 when the image's device is there or its deadline has passed; for dracut's initqueue
    #[command(hide = true)]
    Settled {
        /// The queue's conditions; past the deadline they are removed
        #[arg(long, value_name = "DIR")]
        conditions: Option<PathBuf>,
        #[command(flatten)]
        line: Line,
    },
}

#[derive(Args)]
pub(crate) struct Line {
    /// The kernel command line to go by
    #[arg(long, value_name = "FILE", default_value = PROC_CMDLINE)]
    pub(crate) cmdline: PathBuf,
}
