//! Does what the command line of `livemode-run` asks for.
use anyhow::Result;
use clap::Parser;
use livemode_common::contract::SCHEMA;
use livemode_common::sysroot::SysRoot;
use serde_json::json;

use crate::args::{Cli, Command};
use crate::facts::Facts;
use crate::plan::UpgradePlan;
use crate::{by_hand, logs, status, upgrade};

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
