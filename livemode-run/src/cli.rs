//! Does what the command line of `livemode-run` asks for.
use anyhow::Result;
use clap::Parser;
use livemode_common::cmd::Cmd;
use livemode_common::contract::SCHEMA;
use livemode_common::sysroot::SysRoot;
use serde_json::json;

use crate::args::{Cli, Command};
use crate::by_hand::Request;
use crate::facts::{Facts, Tracing};
use crate::loader::Loader;
use crate::plan::UpgradePlan;
use crate::{by_hand, live, logs, status, upgrade};

pub(crate) fn run() -> Result<()> {
    let Cli { inputs, command } = Cli::parse();
    let source = SysRoot::new(&inputs.source);
    let cmdline = inputs.cmdline.as_path();
    if !matches!(command, Command::Plan { .. } | Command::Status { .. }) {
        live::require(cmdline)?;
    }
    match command {
        Command::Upgrade { .. } if std::env::var_os(by_hand::UNIT_VARIABLE).is_some() => {
            upgrade::run(&source, cmdline)
        }
        Command::Upgrade { keep } => {
            by_hand::start_and_follow(&source, if keep { Request::Keep } else { Request::Upgrade })
        }
        Command::Commit => by_hand::start_and_follow(&source, Request::Commit),
        Command::Discard => by_hand::start_and_follow(&source, Request::Discard),
        Command::Plan { json } => {
            if let Some(why) = live::why_not_live(cmdline)? {
                eprintln!("livemode-run: {why}; there this would run:");
            }
            let facts = Facts::gather(&source, cmdline)?;
            if let Tracing::Impossible(why) = &facts.tracing {
                eprintln!("livemode-run: no trace can be kept: {why}");
            }
            let loader = facts
                .manifest
                .as_ref()
                .and_then(|manifest| Loader::of(&source, manifest));
            let stand_in = loader.map(|loader| loader.planned_stand_in());
            print(
                &UpgradePlan::new(&source, &facts.tracing, stand_in.as_ref()),
                json,
            );
            Ok(())
        }
        Command::Status { json } => status::print(&source, json),
        Command::Wanted => by_hand::wanted(&source, cmdline),
        Command::Console => logs::to_consoles(),
        Command::Journal => logs::to_source(&source),
    }
}

fn print(plan: &UpgradePlan, as_json: bool) {
    let commands = plan.commands();
    if as_json {
        let words: Vec<_> = commands.iter().map(Cmd::words).collect();
        println!(
            "{}",
            json!({"schema": SCHEMA, "commands": words, "trace": plan.trace})
        );
        return;
    }
    commands.iter().for_each(|command| println!("{command}"));
    if let Some(trace) = &plan.trace {
        println!("# the trace is kept in {}", trace.display());
    }
}
