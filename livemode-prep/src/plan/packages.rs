//! The packages the container must have: which, which are missing, and getting them with the container's own dnf.
use std::collections::BTreeSet;

use anyhow::{bail, Result};
use livemode_common::config::Config;
use livemode_common::failure::precondition;

use crate::chroot::Chroot;
use crate::facts::userspace::Userspace;

/// What the live system is made of. dracut-live and dracut-squash stay: under leapp, upstream's initramfs
/// generator adds their modules whoever boots the image.
const ALWAYS: [&str; 10] = [
    "NetworkManager",
    "dbus-daemon",
    "dracut-live",
    "dracut-squash",
    "kexec-tools",
    "less",
    "openssh-clients",
    "passwd",
    "systemd-container",
    "util-linux",
];

/// Those, what the options need, and what brings up the source's storage. Sorted, no doubles.
pub(crate) fn required(config: &Config, of_storage: &BTreeSet<&'static str>) -> Vec<String> {
    let mut packages: Vec<String> = ALWAYS.map(str::to_owned).to_vec();
    if !config.setup_opensshd_using_auth_keys.is_empty() {
        packages.extend(["openssh-server", "crypto-policies"].map(str::to_owned));
    }
    if !config.capture_strace_info_into.is_empty() {
        packages.push("strace".into());
    }
    packages.extend(config.additional_packages.iter().cloned());
    packages.extend(of_storage.iter().map(|&name| name.to_owned()));
    packages.sort();
    packages.dedup();
    packages
}

/// Those that are not installed, asked of the container's rpm in a throw-away overlay in RAM: even a query
/// writes lock and shared memory files.
pub(crate) fn missing_in(userspace: &Userspace, packages: &[String]) -> Result<Vec<String>> {
    missing(&Chroot::in_ram(&userspace.dir)?, packages)
}

/// Those that are not installed.
pub(crate) fn missing(chroot: &Chroot, packages: &[String]) -> Result<Vec<String>> {
    let (_, stdout, stderr) = chroot
        .cmd("rpm")
        .args(["-q", "--whatprovides"])
        .args(packages)
        .output()?;
    if stdout.trim().is_empty() {
        bail!("asking the container's rpm: {}", stderr.trim());
    }
    let said: Vec<&str> = stdout.lines().chain(stderr.lines()).collect();
    Ok(packages
        .iter()
        .filter(|p| is_missing(p, &said))
        .cloned()
        .collect())
}

/// Whether rpm has said of a package, or of a file that a package is to bring, that it is not there. Only dnf knows of
/// groups.
fn is_missing(package: &str, said: &[&str]) -> bool {
    let not_there = [
        format!("no package provides {package}"),
        format!("package {package} is not installed"),
        format!("file {package} is not owned by any package"),
        format!("error: file {package}: No such file or directory"),
    ];
    package.starts_with('@') || said.iter().any(|line| not_there.iter().any(|text| line == text))
}

/// Installs packages into the chroot's overlay.
pub(crate) fn install(chroot: &Chroot, packages: &[String]) -> Result<()> {
    let dnf = chroot
        .cmd("dnf")
        .args(["-y", "--setopt=install_weak_deps=False", "install"])
        .args(packages);
    let (status, stdout, stderr) = dnf.output()?;
    if status.success() {
        return Ok(());
    }
    let said = format!("{stdout}\n{stderr}");
    let unknown: Vec<&str> = said
        .lines()
        .filter_map(|l| l.trim().strip_prefix("No match for argument: "))
        .map(str::trim)
        .collect();
    if !unknown.is_empty() {
        return Err(precondition(format!(
            "the container's repositories do not have: {}; enable a repository that does, or take it off \
             additional_packages",
            unknown.join(", ")
        )));
    }
    let tail: Vec<&str> = said.lines().map(str::trim).filter(|l| !l.is_empty()).collect();
    bail!(
        "installing {}: {dnf}: {status}: {}",
        packages.join(", "),
        tail[tail.len().saturating_sub(5)..].join("; ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_rpm_says_of_packages_and_files_is_understood() {
        // rpm 4.18 and 4.20 on Debian.
        let said = [
            "bash-5.2-1.x86_64",
            "no package provides vim",
            "error: file /usr/bin/vim: No such file or directory",
            "file /usr/bin/nano is not owned by any package",
        ];
        for (package, missing) in [
            ("bash", false),
            ("vim", true),
            ("vi", false),
            ("/usr/bin/vim", true),
            ("/usr/bin/nano", true),
            ("@core", true),
        ] {
            assert_eq!(is_missing(package, &said), missing, "{package}");
        }
    }

    #[test]
    fn options_bring_their_packages_sorted_and_once() {
        let config = Config {
            additional_packages: vec!["vim".into(), "strace".into()],
            capture_strace_info_into: "/var/log/trace".into(),
            ..Config::default()
        };
        let packages = required(&config, &BTreeSet::from(["lvm2"]));
        assert_eq!(
            packages[6..],
            [
                "lvm2",
                "openssh-clients",
                "passwd",
                "strace",
                "systemd-container",
                "util-linux",
                "vim"
            ]
        );
    }
}
