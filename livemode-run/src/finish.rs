//! What follows the upgrade: the reboot, or a message and a system that stays reachable.
use std::fs;
use std::path::Path;

use anyhow::{bail, Context, Result};
use livemode_common::cmd::Cmd;
use livemode_common::contract::{LEAPP_FAILED_MARK, LEAPP_LOG, NO_REBOOT};
use livemode_common::fsio;
use livemode_common::records::{Phase, Records};
use livemode_common::sysroot::SysRoot;

use crate::upgrade::Output;

/// Reboots, unless an admin has put `.noreboot` on the source system.
pub(crate) fn success(source: &SysRoot, output: &mut Output) -> Result<()> {
    if source
        .at(Path::new(NO_REBOOT).file_name().unwrap_or_default())
        .exists()
    {
        output.line(&format!(
            "{NO_REBOOT} is there: not rebooting; when you are done: systemctl reboot"
        ));
        return Ok(());
    }
    output.line("rebooting into the upgraded system");
    nix::unistd::sync();
    // Not waiting: we are stopped by it.
    Cmd::new("systemctl").args(["--no-block", "reboot"]).run()
}

/// Records the failure and says what to do. The system stays as it is and reachable; what else may follow a failure
/// is decided here and nowhere else.
pub(crate) fn failure(
    source: &SysRoot,
    journal: &Records,
    attempt: u32,
    fault: &str,
    exit_code: Option<i32>,
    output: &mut Output,
) -> Result<()> {
    journal.record(Phase::Failed, attempt, fault, exit_code)?;
    let mark = source.at(LEAPP_FAILED_MARK);
    if let Some(dir) = mark.parent() {
        fs::create_dir_all(dir).with_context(|| format!("creating {}", dir.display()))?;
    }
    fsio::atomic_write(&mark, b"", 0o600)?;
    output.line(&format!("THE UPGRADE FAILED: {fault}"));
    output.line(&format!(
        "what happened is in /{LEAPP_LOG} on the source system, mounted at {}",
        source.path().display()
    ));
    output.line("to try again: upgrade    to leave: systemctl reboot");
    nix::unistd::sync();
    bail!("the upgrade failed: {fault}")
}
