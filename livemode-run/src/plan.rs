//! From the facts to the commands of the upgrade. Pure.
use std::path::PathBuf;

use livemode_common::cmd::Cmd;
use livemode_common::sysroot::SysRoot;

use crate::facts::Facts;
use crate::trace;

/// The file that stands in for /proc/cmdline: kernel-core's scriptlets write boot entries from it.
pub(crate) const SOURCE_CMDLINE: &str = "/run/livemode/source-cmdline";
/// leapp resumes twice: with the source's own Python, then with the target's.
const CALLS: [&str; 2] = [
    "/usr/bin/leapp upgrade --resume",
    "/usr/bin/python3 -B /root/tmp_leapp_py3/leapp3 upgrade --resume",
];
/// Where it lies in the upgrade's container. systemd-nspawn looks for the source of a mount below /proc inside the
/// container (seen with 252), so it takes two steps to cover /proc/cmdline.
const CMDLINE_INSIDE: &str = "/run/livemode-cmdline";
/// A source system with a mount that fails now may still be upgraded; leapp decides.
const MOUNT_ALL: &str = "mount -a || echo \"livemode: mount -a ended with $?; going on\" >&2";

const COVER: &str = "mount --bind /run/livemode-cmdline /proc/cmdline";

#[derive(Debug)]
pub(crate) struct UpgradePlan {
    /// To be run in this order, the next only after success.
    pub(crate) commands: Vec<Cmd>,
    /// The file of the trace, on this machine.
    pub(crate) trace: Option<PathBuf>,
}

impl UpgradePlan {
    pub(crate) fn new(source: &SysRoot, facts: &Facts) -> Self {
        let commands = CALLS.iter().map(|call| {
            let shell = Cmd::new("systemd-nspawn")
                .arg(format!("--directory={}", source.path().display()))
                .args([
                    "--capability=all",
                    "--console=pipe",
                    "--keep-unit",
                    "--register=no",
                    "--as-pid2",
                    "--quiet",
                ])
                .args(["--timezone=off", "--resolv-conf=off", "--link-journal=no"])
                .args(["--bind=/dev", "--bind=/proc", "--bind=/sys", "--bind=/run/udev"])
                .arg(format!("--bind-ro={SOURCE_CMDLINE}:{CMDLINE_INSIDE}"))
                .args([
                    "/bin/sh",
                    "-c",
                    &format!("{COVER} && {{ {MOUNT_ALL}; }} && exec {call}"),
                ]);
            let command = match &facts.trace {
                Some(_) => Cmd::new("strace")
                    .args(["-f", "-tt", "-T", "-y", "-s", "256", "-o", trace::FIFO])
                    .args(shell.words()),
                None => shell,
            };
            // Scriptlets use system calls that nspawn's filter refuses.
            command.env("SYSTEMD_SECCOMP", "0")
        });
        Self {
            commands: commands.collect(),
            trace: facts.trace.clone(),
        }
    }

    pub(crate) fn words(&self) -> Vec<Vec<String>> {
        self.commands.iter().map(Cmd::words).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strace_stands_around_the_whole_of_it() {
        let facts = Facts {
            trace: Some("/run/upgrade/var/log/leapp.strace".into()),
            manifest: None,
            booted_sha256: None,
            not_mounted: Vec::new(),
            is_a_copy: false,
        };
        let plan = UpgradePlan::new(&SysRoot::new("/run/upgrade"), &facts);
        let words = plan.words();
        assert_eq!(words.len(), 2);
        assert_eq!(
            words[0][..9],
            [
                "strace",
                "-f",
                "-tt",
                "-T",
                "-y",
                "-s",
                "256",
                "-o",
                "/run/livemode/trace"
            ]
        );
        assert_eq!(words[0][9..11], ["systemd-nspawn", "--directory=/run/upgrade"]);
        assert!(words[1]
            .last()
            .unwrap()
            .ends_with("exec /usr/bin/python3 -B /root/tmp_leapp_py3/leapp3 upgrade --resume"));
    }
}
