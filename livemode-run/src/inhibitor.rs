//! Keeps the machine awake and up while leapp runs: systemd-inhibit(1) holds the locks as long as its child lives.
use std::process::{Child, Stdio};

use livemode_common::cmd::Cmd;

use crate::output::Output;

/// The locks; they go when it is dropped.
pub(crate) struct Inhibitor(Option<Child>);

impl Inhibitor {
    /// Takes them. Without them the upgrade goes on, and that is said.
    pub(crate) fn start(output: &mut Output) -> Self {
        let inhibit = Cmd::new("systemd-inhibit")
            .args(["--what=shutdown:sleep:idle", "--who=LiveMode", "--mode=block"])
            .arg("--why=The system is being upgraded; it reboots by itself when that is done")
            .args(["sleep", "infinity"]);
        let child = inhibit.spawn(|command| {
            command
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null());
        });
        Self(
            child
                .map_err(|error| {
                    output.line(&format!("nothing keeps this machine from a shutdown: {error:#}"));
                })
                .ok(),
        )
    }
}

impl Drop for Inhibitor {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            // It may have ended by itself.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
