//! The packages that the container must have. Pure.
use std::collections::BTreeSet;

use livemode_common::cmd::Cmd;
use livemode_common::config::Config;

use super::storage::Layer;

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

/// Every package that some storage may need: what rpm is asked for before the storage is known.
pub(crate) fn candidates(config: &Config) -> Vec<String> {
    required(
        config,
        &Layer::ALL.iter().filter_map(|layer| layer.package()).collect(),
    )
}

/// The call of dnf that brings packages.
pub(crate) fn install(dnf: Cmd, packages: &[String]) -> Cmd {
    dnf.args(["-y", "--setopt=install_weak_deps=False", "install"])
        .args(packages)
}

#[cfg(test)]
mod tests {
    use super::*;

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
