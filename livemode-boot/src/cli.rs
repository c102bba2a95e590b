//! Does what the command line of `livemode-boot` asks for.
use std::path::Path;

use anyhow::{Context, Result};
use clap::Parser;
use livemode_common::contract::SCHEMA;
use livemode_common::failure::precondition;

use crate::args::{Cli, Command, Line, PROC_CMDLINE, SYSROOT};
use crate::params::BootParams;
use crate::plan::MountPlan;
use crate::{apply, boot, wayback};

impl Line {
    fn read(&self) -> Result<String> {
        std::fs::read_to_string(&self.cmdline).with_context(|| format!("reading {}", self.cmdline.display()))
    }
}

pub(crate) fn run() -> Result<()> {
    match Cli::parse().command {
        Command::Mount { sysroot, line } => {
            if let Some(why) = wrong_place(wayback::is_initramfs(), &sysroot, &line.cmdline) {
                return Err(precondition(why));
            }
            let text = line.read()?;
            match BootParams::parse(&text).map(|params| MountPlan::new(params, &sysroot)) {
                // Tried by hand, it touches neither records nor loader.
                Ok(plan) if !wayback::is_initramfs() => apply::mount(&plan),
                Ok(plan) => boot::run(&plan, &text),
                Err(fault) => wayback::take(&precondition(fault), &text, None),
            }
        }
        Command::Plan { line, json } => {
            let params = BootParams::parse(&line.read()?).map_err(precondition)?;
            let plan = MountPlan::new(params, SYSROOT.as_ref());
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
            apply::settled(&MountPlan::new(params, SYSROOT.as_ref()), conditions.as_deref())
        }
    }
}

/// Why nothing is to be mounted here, if so: outside of an initramfs only who names another root or another command line
/// means to try it.
fn wrong_place(is_initramfs: bool, sysroot: &Path, cmdline: &Path) -> Option<&'static str> {
    let is_trial = sysroot != Path::new(SYSROOT) || cmdline != Path::new(PROC_CMDLINE);
    (!is_initramfs && !is_trial).then_some(
        "this is not an initramfs: there is no /etc/initrd-release; to see what would be done: livemode-boot plan, to try \
         it: --sysroot and --cmdline",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outside_of_an_initramfs_only_a_trial_mounts() {
        for (is_initramfs, sysroot, cmdline, is_refused) in [
            (true, SYSROOT, PROC_CMDLINE, false),
            (true, "/newroot", "cmdline", false),
            (false, SYSROOT, PROC_CMDLINE, true),
            (false, "/mnt", PROC_CMDLINE, false),
            (false, SYSROOT, "cmdline", false),
        ] {
            let refusal = wrong_place(is_initramfs, sysroot.as_ref(), cmdline.as_ref());
            assert_eq!(
                refusal.is_some(),
                is_refused,
                "{is_initramfs} {sysroot} {cmdline}"
            );
        }
    }
}
