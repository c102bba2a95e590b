//! Does what the command line of `livemode-boot` asks for.
use anyhow::{Context, Result};
use clap::Parser;
use livemode_common::contract::SCHEMA;
use livemode_common::failure::precondition;

use crate::args::{Cli, Command, Line};
use crate::params::BootParams;
use crate::plan::MountPlan;
use crate::{apply, wayback};

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
