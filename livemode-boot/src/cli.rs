//! The command line of `livemode-boot`.
use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::{Args, Parser, Subcommand};
use livemode_common::contract::SCHEMA;
use livemode_common::failure::precondition;

use crate::params::BootParams;
use crate::plan::MountPlan;
use crate::{apply, wayback};

/// Mounts the image of an upgrade as root, in the initramfs
#[derive(Parser)]
#[command(name = "livemode-boot", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Wait for the image's device, check the image and mount it as root; what the dracut hook calls.
    /// When that fails: say why, count down, and take the way back that rd.emergency= asks for
    Mount {
        /// Where the root file system is to be mounted
        #[arg(long, value_name = "DIR", default_value = "/sysroot")]
        sysroot: PathBuf,
        #[command(flatten)]
        line: Line,
    },
    /// Show what would be waited for, checked and mounted; touches nothing
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
struct Line {
    /// The kernel command line to go by
    #[arg(long, value_name = "FILE", default_value = "/proc/cmdline")]
    cmdline: PathBuf,
}

impl Line {
    fn read(&self) -> Result<String> {
        std::fs::read_to_string(&self.cmdline).with_context(|| format!("reading {}", self.cmdline.display()))
    }
}

pub(crate) fn run() -> Result<()> {
    match Cli::parse().command {
        Command::Mount { sysroot, line } => {
            let text = line.read()?;
            match BootParams::parse(&text).map(|params| MountPlan::new(params, &sysroot)) {
                Ok(plan) => apply::mount(&plan).or_else(|error| wayback::take(&error, &text, Some(&plan))),
                Err(fault) => wayback::take(&precondition(fault), &text, None),
            }
        }
        Command::Plan { line, json } => {
            let params = BootParams::parse(&line.read()?).map_err(precondition)?;
            let plan = MountPlan::new(params, "/sysroot".as_ref());
            if json {
                println!("{}", serde_json::json!({ "schema": SCHEMA, "plan": plan }));
            } else {
                print!("{plan}");
            }
            Ok(())
        }
        Command::Settled { conditions, line } => {
            // A line that cannot be understood is told by `mount`, not waited for.
            let Ok(params) = BootParams::parse(&line.read()?) else {
                return Ok(());
            };
            apply::settled(
                &MountPlan::new(params, "/sysroot".as_ref()),
                conditions.as_deref(),
            )
        }
    }
}
