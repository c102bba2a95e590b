//! Before the reboot: turns the target-system container into a live image with its initramfs and boot entry.
//! Runs on the source system.
mod args;
mod arming;
mod build;
mod chroot;
mod cli;
mod commit;
mod facts;
mod leapp;
mod plan;
mod status;

fn main() -> std::process::ExitCode {
    livemode_common::failure::report("livemode-prep", cli::run())
}
