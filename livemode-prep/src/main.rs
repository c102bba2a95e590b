//! Before the reboot: turns the target-system container into a live image with its initramfs and boot entry.
//! Runs on the source system.
mod args;
mod artifacts;
mod bootentry;
mod build;
mod carried;
mod chroot;
mod cli;
mod commit;
mod facts;
mod initramfs;
mod live_system;
mod livefstab;
mod loader;
mod packages;
mod plan;
mod progress;
mod remove;
mod scratch;
mod space;
mod squash;
mod status;
mod userspace;

fn main() -> std::process::ExitCode {
    livemode_common::failure::report("livemode-prep", cli::run())
}
