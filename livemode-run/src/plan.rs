//! From the facts to the commands of the upgrade. Pure.
use std::path::PathBuf;

use livemode_common::cmd::Cmd;
use livemode_common::sysroot::SysRoot;

use crate::facts::Tracing;
use crate::loader::StandIn;
use crate::trace;

/// The file that stands in for /proc/cmdline: kernel-core's scriptlets write boot entries from it.
pub(crate) const SOURCE_CMDLINE: &str = "/run/livemode/source-cmdline";
/// leapp resumes twice: with the source's own Python, then with the target's.
const CALLS: [&str; 2] = [
    "/usr/bin/leapp upgrade --resume",
    "/usr/bin/python3 -B /root/tmp_leapp_py3/leapp3 upgrade --resume",
];
/// Where that file lies in the upgrade's container. systemd-nspawn looks for the source of a mount below /proc inside the
/// container (seen with 252), so it takes two steps to cover /proc/cmdline.
const CMDLINE_INSIDE: &str = "/run/livemode-cmdline";
/// A source system with a mount that fails now may still be upgraded; leapp decides.
const MOUNT_ALL: &str = "mount -a || echo \"livemode: mount -a ended with $?; going on\" >&2";
/// From here on the upgrade sees the source system's kernel arguments.
const COVER: &str = "mount --bind /run/livemode-cmdline /proc/cmdline";

#[derive(Debug)]
pub(crate) struct UpgradePlan {
    /// What runs leapp, without a trace: in this order, the next only after success.
    pub(crate) steps: Vec<Cmd>,
    /// The file of the trace, on this machine.
    pub(crate) trace: Option<PathBuf>,
}

impl UpgradePlan {
    /// The steps; `stand_in` covers what the loader is told, where that is ours to keep.
    pub(crate) fn new(source: &SysRoot, tracing: &Tracing, stand_in: Option<&StandIn>) -> Self {
        let covered = stand_in.map(|of| {
            let option = if of.is_read_only { "--bind-ro" } else { "--bind" };
            format!("{option}={}:{}", of.file.display(), of.covers)
        });
        let steps = CALLS.iter().map(|call| {
            let container = Cmd::new("systemd-nspawn")
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
                .args(&covered)
                .args([
                    "/bin/sh",
                    "-c",
                    &format!("{COVER} && {{ {MOUNT_ALL}; }} && exec {call}"),
                ]);
            with_all_calls(container)
        });
        Self {
            steps: steps.collect(),
            trace: match tracing {
                Tracing::Into(path) => Some(path.clone()),
                Tracing::Off | Tracing::Impossible(_) => None,
            },
        }
    }

    /// The commands as they run when all goes well: under strace where there is a trace.
    pub(crate) fn commands(&self) -> Vec<Cmd> {
        let command = |step: &Cmd| match self.trace {
            Some(_) => under_strace(step),
            None => step.clone(),
        };
        self.steps.iter().map(command).collect()
    }
}

/// The command with strace around it, which writes to [`trace::FIFO`] and follows children.
pub(crate) fn under_strace(step: &Cmd) -> Cmd {
    let strace = Cmd::new("strace")
        .args(["-f", "-tt", "-T", "-y", "-s", "256", "-o", trace::FIFO])
        .args(step.words());
    with_all_calls(strace)
}

/// Scriptlets use system calls that systemd-nspawn's filter refuses.
fn with_all_calls(command: Cmd) -> Cmd {
    command.env("SYSTEMD_SECCOMP", "0")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strace_stands_around_the_whole_of_it() {
        let trace = Tracing::Into("/run/upgrade/var/log/leapp.strace".into());
        let plan = UpgradePlan::new(&SysRoot::new("/run/upgrade"), &trace, None);
        let words: Vec<_> = plan.commands().iter().map(Cmd::words).collect();
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

    #[test]
    fn what_leapp_tells_grub_is_kept_aside_and_systemd_boot_it_tells_nothing() {
        let grub = StandIn {
            file: "/run/upgrade/var/lib/leapp/livemode/grubenv".into(),
            covers: "/boot/grub2/grubenv".into(),
            is_read_only: false,
        };
        let systemd_boot = StandIn {
            file: "/sys/firmware/efi/efivars".into(),
            covers: "/sys/firmware/efi/efivars".into(),
            is_read_only: true,
        };
        for (stand_in, bind) in [
            (
                grub,
                "--bind=/run/upgrade/var/lib/leapp/livemode/grubenv:/boot/grub2/grubenv",
            ),
            (
                systemd_boot,
                "--bind-ro=/sys/firmware/efi/efivars:/sys/firmware/efi/efivars",
            ),
        ] {
            let plan = UpgradePlan::new(&SysRoot::new("/run/upgrade"), &Tracing::Off, Some(&stand_in));
            for step in &plan.steps {
                assert!(step.words().iter().any(|word| word == bind), "{step}");
            }
        }
    }

    #[test]
    fn without_a_trace_the_steps_run_as_they_are() {
        for tracing in [Tracing::Off, Tracing::Impossible("a circle".into())] {
            let plan = UpgradePlan::new(&SysRoot::new("/run/upgrade"), &tracing, None);
            assert_eq!(plan.trace, None);
            let words: Vec<_> = plan.commands().iter().map(Cmd::words).collect();
            assert_eq!(words[0][..2], ["systemd-nspawn", "--directory=/run/upgrade"]);
            assert_eq!(words, plan.steps.iter().map(Cmd::words).collect::<Vec<_>>());
        }
    }
}
