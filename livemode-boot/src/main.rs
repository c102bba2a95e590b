//! Early boot: mounts the squashfs image as root. Runs in the target's initramfs, called by a dracut hook.
mod apply;
mod args;
mod atomic;
mod boot;
mod cli;
mod console;
mod decision;
mod device;
mod fetch;
mod found;
mod loader;
mod params;
mod plan;
mod store;
mod wayback;

fn main() -> std::process::ExitCode {
    livemode_common::failure::report("livemode-boot", cli::run())
}
