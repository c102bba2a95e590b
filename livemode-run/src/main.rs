//! In the live system: runs the upgrade of the source system below it, and reboots.
mod args;
mod by_hand;
mod cli;
mod facts;
mod finish;
mod logs;
mod plan;
mod status;
mod trace;
mod upgrade;

fn main() -> std::process::ExitCode {
    livemode_common::failure::report("livemode-run", cli::run())
}
