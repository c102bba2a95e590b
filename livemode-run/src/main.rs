//! In the live system: runs the upgrade of the source system below it, and reboots.
mod args;
mod atomic;
mod by_hand;
mod cli;
mod facts;
mod finish;
mod inhibitor;
mod live;
mod loader;
mod log_file;
mod logs;
mod output;
mod plan;
mod policy;
mod ready;
mod start;
mod status;
mod step;
mod trace;
mod upgrade;

fn main() -> std::process::ExitCode {
    livemode_common::failure::report("livemode-run", cli::run())
}
