//! The command line of `livemode-run`.
use std::path::PathBuf;

use anyhow::Result;
use clap::{Args, Parser, Subcommand};
use livemode_common::contract::{SCHEMA, SOURCE_MOUNT};
use livemode_common::sysroot::SysRoot;
use serde_json::json;

use crate::facts::Facts;
use crate::plan::UpgradePlan;
use crate::{by_hand, logs, status, upgrade};

/// Runs the upgrade of the source system from the live system
#[derive(Parser)]
#[command(name = "livemode-run", version)]
struct Cli {
    #[command(flatten)]
    inputs: Inputs,
    #[command(subcommand)]
    command: Command,
}

#[derive(Args)]
struct Inputs {
    /// Where the source system is mounted
    #[arg(long, global = true, value_name = "DIR", default_value = SOURCE_MOUNT)]
    source: PathBuf,
    /// The kernel command line to go by
    #[arg(long, global = true, value_name = "FILE", default_value = "/proc/cmdline")]
    cmdline: PathBuf,
}

#[derive(Subcommand)]
enum Command {
    /// Run the upgrade; by hand: start its service and follow it. Losing the terminal does not stop it
    Upgrade,
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

pub(crate) fn run() -> Result<()> {
    let Cli { inputs, command } = Cli::parse();
    let source = SysRoot::new(&inputs.source);
    match command {
        Command::Upgrade if by_hand::is_by_hand() => by_hand::start_and_follow(&source),
        Command::Upgrade => upgrade::run(&source, &inputs.cmdline),
        Command::Plan { json } => {
            let plan = UpgradePlan::new(&source, &Facts::gather(&source, &inputs.cmdline)?);
            if json {
                println!(
                    "{}",
                    json!({"schema": SCHEMA, "commands": plan.words(), "trace": plan.trace})
                );
            } else {
                plan.commands.iter().for_each(|command| println!("{command}"));
                if let Some(trace) = &plan.trace {
                    println!("# the trace is kept in {}", trace.display());
                }
            }
            Ok(())
        }
        Command::Status { json } => status::print(&source, json),
        Command::Wanted => by_hand::wanted(&inputs.cmdline),
        Command::Console => logs::to_consoles(),
        Command::Journal => logs::to_source(&source),
    }
}
