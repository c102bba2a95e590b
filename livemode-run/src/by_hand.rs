//! `upgrade` typed by an admin: the service does the work, so that a lost terminal or ssh session stops nothing.
use std::path::Path;
use std::time::Duration;

use anyhow::{bail, Context, Result};
use livemode_common::cmd::Cmd;
use livemode_common::cmdline::Cmdline;
use livemode_common::contract::{karg, START_REQUEST, UPGRADE_UNIT};
use livemode_common::fsio;
use livemode_common::records::{Phase, Records};
use livemode_common::sysroot::SysRoot;

const POLL: Duration = Duration::from_secs(1);

/// Whether it is not our unit that calls (its `Environment=`).
pub(crate) fn is_by_hand() -> bool {
    std::env::var_os("LIVEMODE_UNIT").is_none()
}

/// An error unless the boot line lets the upgrade start by itself, or an admin has asked for it.
pub(crate) fn wanted(cmdline: &Path) -> Result<()> {
    let text = std::fs::read_to_string(cmdline).with_context(|| format!("reading {}", cmdline.display()))?;
    if starts_by_itself(&text) || Path::new(START_REQUEST).exists() {
        return Ok(());
    }
    bail!("{}=0: not before someone types: upgrade", karg::AUTOSTART)
}

fn starts_by_itself(line: &str) -> bool {
    Cmdline::parse(line).last(karg::AUTOSTART) != Some("0")
}

pub(crate) fn start_and_follow(source: &SysRoot) -> Result<()> {
    if is_active()? {
        println!("The upgrade is running already.");
    } else {
        fsio::atomic_write(START_REQUEST.as_ref(), b"", 0o600)?;
        Cmd::new("systemctl").args(["start", UPGRADE_UNIT]).run()?;
    }
    println!("Following it; ^C ends only this view.");
    let show = Cmd::new("systemctl").args(["show", "--property=InvocationID", "--value", UPGRADE_UNIT]);
    let invocation = format!("_SYSTEMD_INVOCATION_ID={}", show.read()?.trim());
    let mut view = Cmd::new("journalctl")
        .args(["--follow", "--lines=all", "--output=cat", &invocation])
        .spawn(|command| {
            command.stdin(std::process::Stdio::null());
        })?;
    while is_active()? {
        std::thread::sleep(POLL);
    }
    // Its last lines.
    std::thread::sleep(POLL);
    view.kill()?;
    view.wait()?;
    match Records::of(source).state()? {
        Some(state) if state.state == Phase::Succeeded => Ok(()),
        Some(state) => bail!("the upgrade is {}: {}", state.state, state.message),
        None => bail!("the upgrade did not start; see: journalctl -u {UPGRADE_UNIT}"),
    }
}

fn is_active() -> Result<bool> {
    let (_, state, _) = Cmd::new("systemctl").args(["is-active", UPGRADE_UNIT]).output()?;
    Ok(matches!(state.trim(), "active" | "activating"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_word_on_the_boot_line_counts() {
        for (line, starts) in [
            ("quiet", true),
            ("upgrade.autostart=1", true),
            ("upgrade.autostart=0", false),
            ("upgrade.autostart=0 quiet upgrade.autostart=1", true),
            ("upgrade.autostart=1 upgrade.autostart=0", false),
        ] {
            assert_eq!(starts_by_itself(line), starts, "{line}");
        }
    }
}
