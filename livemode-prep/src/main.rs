//! Before the reboot: turns the target-system container into a live image with its initramfs and boot entry.
//! Runs on the source system.
mod actors;
mod args;
mod artifacts;
mod bootentry;
mod bootfiles;
mod build;
mod carried;
mod check;
mod chroot;
mod cli;
mod commit;
mod entry;
mod facts;
mod initramfs;
mod leapp;
mod live_system;
mod livefstab;
mod loader;
mod packages;
mod plan;
mod preconditions;
mod progress;
mod remove;
mod scratch;
mod space;
mod squash;
mod status;
mod storage;
mod userspace;

fn main() -> std::process::ExitCode {
    livemode_common::failure::report("livemode-prep", cli::run())
}
