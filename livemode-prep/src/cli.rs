//! Does what the command line of `livemode-prep` asks for.
use anyhow::Result;
use clap::Parser;
use livemode_common::config;
use livemode_common::contract::{CONFIG_DIR, SCHEMA};
use livemode_common::failure::precondition;
use livemode_common::sysroot::SysRoot;
use serde_json::json;

use crate::args::{Cli, Command, Json, Userspace};
use crate::build;
use crate::commit::remove;
use crate::commit::scratch;
use crate::facts::leapp::LeappFacts;
use crate::facts::source as facts;
use crate::leapp::actors;
use crate::leapp::check;
use crate::leapp::entry;
use crate::plan::build_plan as plan;
use crate::plan::packages;
use crate::plan::refusals;
use crate::status;

pub(crate) fn run() -> Result<()> {
    let Cli { shared, command } = Cli::parse();
    let root = SysRoot::new(std::path::absolute(&shared.root)?);
    let load = || {
        let dir = shared.config_dir.clone().unwrap_or_else(|| root.at(CONFIG_DIR));
        config::load(&dir, &root)
    };
    let leapp_facts = || shared.leapp_facts.as_deref().map(LeappFacts::load).transpose();
    let prepare = |userspace: &Userspace| -> Result<plan::BuildPlan> {
        let loaded = load()?;
        if !userspace.output.json {
            loaded
                .warnings
                .iter()
                .for_each(|warning| eprintln!("warning: {warning}"));
        }
        let leapp = leapp_facts()?;
        let named = userspace
            .userspace
            .clone()
            .or_else(|| leapp.as_ref().and_then(LeappFacts::userspace));
        let container = named.ok_or_else(|| precondition("no container is named; give --userspace DIR"))?;
        plan::make(
            &root,
            loaded.config,
            leapp.as_ref(),
            &container,
            userspace.boot_entry,
        )
    };
    match command {
        Command::Config(Json { json }) => {
            let loaded = load()?;
            if json {
                let config::Loaded {
                    config,
                    origins,
                    warnings,
                } = loaded;
                println!(
                    "{}",
                    json!({"schema": SCHEMA, "livemode": config, "origins": origins, "warnings": warnings})
                );
                return Ok(());
            }
            loaded
                .warnings
                .iter()
                .for_each(|warning| eprintln!("warning: {warning}"));
            let values = serde_json::to_value(&loaded.config)?;
            for key in config::KEYS {
                println!("{key}: {}  # {}", values[key], loaded.origins[key]);
            }
            Ok(())
        }
        Command::Requirements(Json { json }) => {
            let config = load()?.config;
            // Of a system that cannot be looked at, only what every one needs is known.
            let of_storage =
                facts::Facts::gather(&root, leapp_facts()?.as_ref(), &config.squashfs_image_path)
                    .map(|facts| refusals::storage(&config, &facts, &|_| true).packages())
                    .unwrap_or_default();
            let packages = packages::required(&config, &of_storage);
            if json {
                println!("{}", json!({"schema": SCHEMA, "packages": packages}));
            } else {
                packages.iter().for_each(|p| println!("{p}"));
            }
            Ok(())
        }
        Command::Check(json) => check::run(&root, load()?, leapp_facts()?.as_ref(), json),
        Command::Plan(userspace) => {
            let plan = prepare(&userspace)?;
            if userspace.output.json {
                println!("{}", plan.to_json());
            } else {
                print!("{}", plan.describe());
            }
            plan.check()
        }
        Command::Build(userspace) => {
            build::opted_in()?;
            let plan = prepare(&userspace)?;
            plan.check()?;
            build::run(&plan, userspace.output.json)
        }
        Command::Entry(json) => entry::run(&root, leapp_facts()?.as_ref(), json),
        Command::Actors { action } => actors::run(&root, action),
        Command::Status(Json { json }) => status::print(&root, json),
        Command::Remove => remove::run(&root),
        Command::Sweep { leftovers, made } => scratch::sweep_at_end_of_input(&root, &leftovers, &made),
    }
}
