//! The command line of `livemode-prep`.
use std::path::PathBuf;

use anyhow::Result;
use clap::{Args, Parser, Subcommand, ValueEnum};
use livemode_common::config;
use livemode_common::contract::{CONFIG_DIR, SCHEMA};
use livemode_common::failure::precondition;
use livemode_common::sysroot::SysRoot;
use serde_json::json;

use crate::{build, facts, packages, plan, remove, scratch, status};

/// Prepares an in-place upgrade that runs from a live image
#[derive(Parser)]
#[command(name = "livemode-prep", version)]
struct Cli {
    #[command(flatten)]
    shared: Shared,
    #[command(subcommand)]
    command: Command,
}

#[derive(Args)]
struct Shared {
    /// The source system
    #[arg(long, global = true, value_name = "DIR", default_value = "/")]
    root: PathBuf,
    /// Where the *.yaml files are [default: /etc/leapp/actor_conf.d below the root]
    #[arg(long, global = true, value_name = "DIR")]
    config_dir: Option<PathBuf>,
    /// Facts from leapp (its messages by the name of their model, as JSON) in place of those gathered here
    #[arg(long, global = true, value_name = "FILE")]
    leapp_facts: Option<PathBuf>,
}

#[derive(Subcommand)]
enum Command {
    /// Load, check and print the configuration
    Config(Json),
    /// Print the packages that the target container must have
    Requirements(Json),
    /// Show what build would do, and the space it needs; writes nothing
    Plan(Userspace),
    /// Build the image, the initramfs and the boot entry; on any error the system stays as it was
    Build {
        #[command(flatten)]
        userspace: Userspace,
        /// Who keeps the boot entry; none: its arguments are printed and left to you
        #[arg(long, value_enum, default_value_t = Loader::None)]
        boot_entry: Loader,
    },
    /// Show what is prepared, and how the last upgrade went
    Status(Json),
    /// Take back everything that build made; a second call is no error
    Remove,
    /// Remove what a build leaves half-done, once standard input ends: when that build does
    #[command(hide = true)]
    Sweep {
        #[arg(long, value_name = "DIR")]
        made: Vec<PathBuf>,
        #[arg(value_name = "PATH", required = true)]
        leftovers: Vec<PathBuf>,
    },
}

#[derive(Args)]
struct Json {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
struct Userspace {
    /// The target-system container, such as /var/lib/leapp/el9userspace [default: the one in leapp's facts]
    #[arg(long, value_name = "DIR")]
    userspace: Option<PathBuf>,
    #[command(flatten)]
    output: Json,
}

#[derive(Clone, Copy, ValueEnum)]
enum Loader {
    None,
}

pub(crate) fn run() -> Result<()> {
    let Cli { shared, command } = Cli::parse();
    let root = SysRoot::new(std::path::absolute(&shared.root)?);
    let load = || {
        let dir = shared.config_dir.clone().unwrap_or_else(|| root.at(CONFIG_DIR));
        config::load(&dir, &root)
    };
    let prepare = |userspace: &Userspace| -> Result<plan::BuildPlan> {
        let loaded = load()?;
        if !userspace.output.json {
            loaded
                .warnings
                .iter()
                .for_each(|warning| eprintln!("warning: {warning}"));
        }
        let leapp = shared
            .leapp_facts
            .as_deref()
            .map(facts::LeappFacts::load)
            .transpose()?;
        let named = userspace
            .userspace
            .clone()
            .or_else(|| leapp.as_ref().and_then(facts::LeappFacts::userspace));
        let container = named.ok_or_else(|| precondition("no container is named; give --userspace DIR"))?;
        plan::make(&root, loaded.config, leapp.as_ref(), &container)
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
            let packages = packages::required(&load()?.config);
            if json {
                println!("{}", json!({"schema": SCHEMA, "packages": packages}));
            } else {
                packages.iter().for_each(|p| println!("{p}"));
            }
            Ok(())
        }
        Command::Plan(userspace) => {
            let plan = prepare(&userspace)?;
            let missing = packages::missing_in(&plan.userspace, &plan.required_packages)?;
            if userspace.output.json {
                println!("{}", plan.to_json(&missing));
            } else {
                print!("{}", plan.describe(&missing));
            }
            plan.check()
        }
        Command::Build {
            userspace,
            boot_entry: Loader::None,
        } => {
            build::opted_in()?;
            let plan = prepare(&userspace)?;
            plan.check()?;
            build::run(&plan, userspace.output.json)
        }
        Command::Status(Json { json }) => status::print(&root, json),
        Command::Remove => remove::run(&root),
        Command::Sweep { leftovers, made } => scratch::sweep_at_end_of_input(&root, &leftovers, &made),
    }
}
