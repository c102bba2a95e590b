//! The way back when the image cannot be used: a clear message, a visible countdown, then out of here. Never
//! a prompt that waits for a keyboard.
use std::time::Duration;

use anyhow::{anyhow, Result};
use livemode_common::cmdline::Cmdline;
use livemode_common::contract::karg;
use livemode_common::loader::own::Boots;
use nix::sys::reboot::{reboot, RebootMode};

use crate::apply::record_refusal;
use crate::console::{say, Level};
use crate::decision::{way_out, WayOut};
use crate::found::{self, Found};
use crate::loader;
use crate::params::countdown_s;
use crate::plan::MountPlan;

/// The last seconds are all shown, the ones before in steps.
const EACH_SECOND_BELOW: u64 = 5;
const STEP_S: u64 = 10;

/// What `rd.emergency=` asks for (dracut.cmdline(7)); reboot when it asks for nothing we know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Exit {
    Reboot,
    PowerOff,
    Halt,
}

impl Exit {
    fn asked_for(line: &Cmdline) -> Self {
        match line.last(karg::EMERGENCY) {
            Some("poweroff") => Self::PowerOff,
            Some("halt") => Self::Halt,
            _ => Self::Reboot,
        }
    }

    fn mode(self) -> RebootMode {
        match self {
            Self::Reboot => RebootMode::RB_AUTOBOOT,
            Self::PowerOff => RebootMode::RB_POWER_OFF,
            Self::Halt => RebootMode::RB_HALT_SYSTEM,
        }
    }

    fn verb(self) -> &'static str {
        match self {
            Self::Reboot => "rebooting",
            Self::PowerOff => "powering off",
            Self::Halt => "halting",
        }
    }
}

/// Whether this is an initramfs: systemd's initrd interface has this file in every one, and dracut makes it.
pub(crate) fn is_initramfs() -> bool {
    std::path::Path::new("/etc/initrd-release").exists()
}

/// Says why, counts down and leaves. Outside an initramfs it only returns the error: nobody's machine goes down because a
/// command was tried by hand.
pub(crate) fn take(error: &anyhow::Error, line: &str, plan: Option<&MountPlan>) -> Result<()> {
    if !is_initramfs() {
        return Err(anyhow!("{error:#}"));
    }
    let fault = format!("{error:#}");
    let line = Cmdline::parse(line);
    let exit = Exit::asked_for(&line);
    say(Level::Error, &format!("the upgrade image is refused: {fault}"));
    if let Some(plan) = plan {
        loader::tell(lead_out(plan));
    }
    match plan.map_or(Ok(false), |plan| record_refusal(plan, &fault)) {
        Ok(true) => say(Level::Error, "livemode-prep status will tell it there"),
        Ok(false) => {}
        Err(error) => say(Level::Warning, &format!("recording the refusal: {error:#}")),
    }
    let mut left = countdown_s(&line);
    while left > 0 {
        if left <= EACH_SECOND_BELOW || left.is_multiple_of(STEP_S) {
            say(Level::Error, &format!("{} in {left} s", exit.verb()));
        }
        std::thread::sleep(Duration::from_secs(1));
        left -= 1;
    }
    leave(exit)
}

/// The upgrade was done already: its entry has only been chosen once more.
pub(crate) fn to_new_system(target: &str) -> Result<()> {
    say(
        Level::Error,
        &format!("the upgrade has succeeded already; {target} is the default now"),
    );
    leave(Exit::Reboot)
}

/// The old system boots, or will by its entry.
pub(crate) fn reboot_now() -> Result<()> {
    leave(Exit::Reboot)
}

fn leave(exit: Exit) -> Result<()> {
    say(Level::Error, exit.verb());
    nix::unistd::sync();
    match reboot(exit.mode()) {
        Ok(never) => match never {},
        Err(e) => Err(anyhow!("{}: {e}", exit.verb())),
    }
}

/// Makes true what boots after this image, and says it.
fn lead_out(plan: &MountPlan) -> Result<bool> {
    // Where the image's device is missing, so are the records.
    let found = found::look(plan).unwrap_or_else(|_| Found::nothing());
    let way = way_out(found.state());
    say(
        Level::Error,
        match &way {
            WayOut::Old => "the system installed on the disks is as it was, as far as early boot knows",
            WayOut::Again => "an upgrade is under way; it is tried once more",
            WayOut::New(_) => "the system installed on the disks is upgraded",
        },
    );
    match (way, found.own()) {
        (WayOut::Old, Some(own)) => loader::set(plan, own, own.old()),
        (WayOut::New(target), Some(own)) => loader::set(plan, own, Boots::New(&own.keeper.called(&target))),
        (WayOut::Again, _) => Ok(false),
        (_, None) => loader::clear_next(plan),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_back_is_a_reboot_unless_the_line_asks_for_another() {
        for (line, exit) in [
            ("quiet", Exit::Reboot),
            ("rd.emergency=poweroff", Exit::PowerOff),
            ("rd.emergency=halt", Exit::Halt),
            ("rd.emergency=shell", Exit::Reboot),
        ] {
            assert_eq!(Exit::asked_for(&Cmdline::parse(line)), exit, "{line}");
        }
    }
}
