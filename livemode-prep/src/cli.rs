//! Does what the command line of `livemode-prep` asks for.
use std::path::PathBuf;

use anyhow::Result;
use clap::Parser;
use livemode_common::config::{self, Atomic};
use livemode_common::contract::{CONFIG_DIR, SCHEMA};
use livemode_common::failure::precondition;
use livemode_common::sysroot::SysRoot;
use serde_json::json;

use crate::args::{self, Cli, Command, Json, Shared, Userspace};
use crate::build::NoStore;
use crate::commit::{remove, transaction};
use crate::facts::leapp::LeappFacts;
use crate::facts::{Facts, Scope};
use crate::leapp::{actors, check, entry};
use crate::plan::boot_entry::EntryChoice;
use crate::plan::build_plan::BuildPlan;
use crate::plan::explain::Answer;
use crate::plan::packages;
use crate::{arming, build, status};

pub(crate) fn run() -> Result<()> {
    let Cli { shared, command } = Cli::parse();
    let root = SysRoot::new(std::path::absolute(&shared.root)?);
    let inputs = Inputs {
        shared: &shared,
        root: &root,
    };
    match command {
        Command::Config(output) => print_config(&inputs.load()?, output),
        Command::Requirements(output) => print_requirements(&inputs, output),
        Command::Check(Json { json }) => {
            let facts = inputs.gather(None, false)?;
            let choice = EntryChoice::under_leapp(facts.loader.as_ref());
            check::run(&BuildPlan::make(facts, choice), json)
        }
        Command::Plan(plan) => print_plan(&inputs, &plan),
        Command::Explain(explain) => print_explanation(&inputs, &explain),
        Command::Build(userspace) => {
            build::opted_in()?;
            let facts = inputs.gather_with(&userspace, true)?;
            build(facts, choice(&userspace), userspace.output.json)
        }
        Command::Facts(userspace) => {
            println!("{}", inputs.gather_with(&userspace, true)?.to_json()?);
            Ok(())
        }
        Command::Entry { output, risk } => entry::run(&root, &inputs.leapp()?, output, risk),
        Command::Arm { output, risk } => arming::arm(&root, output, risk),
        Command::Retry { output, risk } => arming::retry(&root, output, risk),
        Command::Disarm(output) => arming::disarm(&root, output),
        Command::Actors { action } => actors::run(&root, action),
        Command::Status(Json { json }) => status::print(&root, json),
        Command::Remove { after_success: true } => remove::after_success(&root),
        Command::Remove { after_success: false } => remove::run(&root),
        Command::Sweep { made } => transaction::sweep_at_end_of_input(&root, &made),
    }
}

/// Where no store can be made, and none is required, the upgrade is going to run in place.
fn build(mut facts: Facts, choice: EntryChoice, json: bool) -> Result<()> {
    let plan = BuildPlan::make(facts.clone(), choice);
    plan.check()?;
    let built = build::run(&plan, json);
    let why = built
        .as_ref()
        .err()
        .and_then(|error| error.downcast_ref::<NoStore>());
    let Some(NoStore(why)) = why.filter(|_| facts.config.atomic == Atomic::Auto) else {
        return built;
    };
    eprintln!("warning: {why}; the upgrade is going to run in place");
    facts.volumes.no_store = Some(why.clone());
    let plan = BuildPlan::make(facts, choice);
    plan.check()?;
    build::run(&plan, json)
}

/// What is chosen of the boot entry.
fn choice(userspace: &Userspace) -> EntryChoice {
    EntryChoice {
        keeper: userspace.boot_entry,
        loop_risk: userspace.risk.accept_loop_risk,
    }
}

/// Where facts come from.
struct Inputs<'a> {
    shared: &'a Shared,
    root: &'a SysRoot,
}

impl Inputs<'_> {
    fn load(&self) -> Result<config::Loaded> {
        let dir = self.shared.config_dir.clone();
        let dir = dir.unwrap_or_else(|| self.root.at(CONFIG_DIR));
        config::load(&dir, self.root)
    }

    fn leapp(&self) -> Result<LeappFacts> {
        let path = self.shared.leapp_facts.as_deref();
        Ok(path.map(LeappFacts::load).transpose()?.unwrap_or_default())
    }

    /// With the container that is named, or that leapp names.
    fn gather_with(&self, userspace: &Userspace, with_fingerprint: bool) -> Result<Facts> {
        let named = userspace.userspace.clone();
        let container = named.map_or_else(|| Ok(self.leapp()?.userspace()), |dir| anyhow::Ok(Some(dir)))?;
        let container =
            container.ok_or_else(|| precondition("no container is named; give --userspace DIR"))?;
        self.gather(Some(container), with_fingerprint)
    }

    fn gather(&self, container: Option<PathBuf>, with_fingerprint: bool) -> Result<Facts> {
        let loaded = self.load()?;
        let packages = packages::candidates(&loaded.config);
        let scope = Scope {
            root: self.root,
            leapp: &self.leapp()?,
            container: container.as_deref(),
            packages: &packages,
            with_fingerprint,
        };
        Facts::gather(loaded, scope)
    }
}

fn print_config(loaded: &config::Loaded, Json { json }: Json) -> Result<()> {
    let config::Loaded {
        config,
        origins,
        warnings,
    } = loaded;
    if json {
        println!(
            "{}",
            json!({"schema": SCHEMA, "livemode": config, "origins": origins, "warnings": warnings})
        );
        return Ok(());
    }
    warnings
        .iter()
        .for_each(|warning| eprintln!("warning: {warning}"));
    let values = serde_json::to_value(config)?;
    for key in config::KEYS {
        println!("{key}: {}  # {}", values[key], origins[key]);
    }
    Ok(())
}

fn print_requirements(inputs: &Inputs, Json { json }: Json) -> Result<()> {
    let config = inputs.load()?.config;
    // Of a system that cannot be looked at, only what every one needs is known.
    let packages = match inputs.gather(None, false) {
        Ok(facts) => BuildPlan::make(facts, EntryChoice::default()).required_packages,
        Err(_) => packages::required(&config, &Default::default()),
    };
    if json {
        println!("{}", json!({"schema": SCHEMA, "packages": packages}));
    } else {
        packages.iter().for_each(|package| println!("{package}"));
    }
    Ok(())
}

fn print_plan(inputs: &Inputs, arguments: &args::Plan) -> Result<()> {
    let args::Plan {
        userspace,
        all,
        facts,
    } = arguments;
    let facts = match facts.as_deref() {
        Some(path) => Facts::load(path)?,
        None => inputs.gather_with(userspace, false)?,
    };
    let plan = BuildPlan::make(facts, choice(userspace));
    if userspace.output.json {
        println!("{}", plan.to_json());
    } else {
        print!("{}", plan.describe(*all));
    }
    Ok(plan.check()?)
}

fn print_explanation(inputs: &Inputs, arguments: &args::Explain) -> Result<()> {
    let args::Explain {
        what,
        userspace,
        facts,
        output,
    } = arguments;
    let facts = match facts.as_deref() {
        Some(path) => Facts::load(path)?,
        None => {
            let container = userspace.clone().or(inputs.leapp()?.userspace());
            inputs.gather(container, false)?
        }
    };
    let answers = BuildPlan::make(facts, EntryChoice::default()).explain(what);
    if answers.is_empty() {
        return Err(precondition(format!(
            "explaining {what}: the plan has no key, kernel argument, package, unit or path of this name; livemode-prep plan \
             --all lists all"
        )));
    }
    if output.json {
        let answers: Vec<_> = answers.iter().map(Answer::to_json).collect();
        println!("{}", json!({"schema": SCHEMA, "answers": answers}));
    } else {
        let texts: Vec<String> = answers.iter().map(Answer::describe).collect();
        print!("{}", texts.join("\n"));
    }
    Ok(())
}
