//! The packages that the container must have. Pure.
use std::collections::BTreeSet;

use livemode_common::cmd::Cmd;
use livemode_common::config::Config;

use super::storage::{Layer, Storage};
use super::why::Why;

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

/// Why the image must have a package.
pub(crate) fn reasons(config: &Config, package: &str, storage: &Storage) -> Vec<Why> {
    let mut reasons = Vec::new();
    if ALWAYS.contains(&package) {
        reasons.push(Why::new("every upgrade", "the live system is made of it"));
    }
    if ["openssh-server", "crypto-policies"].contains(&package)
        && !config.setup_opensshd_using_auth_keys.is_empty()
    {
        reasons.push(Why::new(
            "setup_opensshd_using_auth_keys",
            "sshd runs in the live system",
        ));
    }
    if package == "strace" && !config.capture_strace_info_into.is_empty() {
        reasons.push(Why::new(
            "capture_strace_info_into",
            "strace writes the trace of leapp",
        ));
    }
    if config.additional_packages.iter().any(|name| name == package) {
        reasons.push(Why::new("additional_packages", "it is asked for"));
    }
    if storage.packages().contains(package) {
        reasons.push(Why::new(
            "a mount of this system, or the image, lies on what it brings up",
            "each layer of storage has its package (docs/storage.md)",
        ));
    }
    reasons
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

    #[test]
    fn options_bring_no_packages_that_they_do_not_need() {
        let none = required(&Config::default(), &BTreeSet::new());
        assert_eq!(none, ALWAYS);
        let sshd = Config {
            setup_opensshd_using_auth_keys: "/root/keys".into(),
            ..Config::default()
        };
        let more: Vec<String> = required(&sshd, &BTreeSet::new())
            .into_iter()
            .filter(|package| !ALWAYS.contains(&package.as_str()))
            .collect();
        assert_eq!(more, ["crypto-policies", "openssh-server"]);
    }

    #[test]
    fn a_package_has_a_reason_for_each_that_asks_for_it() {
        let all = Config {
            additional_packages: vec!["vim".into(), "strace".into()],
            capture_strace_info_into: "/var/log/trace".into(),
            setup_opensshd_using_auth_keys: "/root/keys".into(),
            ..Config::default()
        };
        let mut storage = Storage::default();
        storage.source.layers.insert(Layer::Lvm);
        for (package, facts, by_default) in [
            ("less", vec!["every upgrade"], vec!["every upgrade"]),
            ("openssh-server", vec!["setup_opensshd_using_auth_keys"], vec![]),
            ("crypto-policies", vec!["setup_opensshd_using_auth_keys"], vec![]),
            (
                "strace",
                vec!["capture_strace_info_into", "additional_packages"],
                vec![],
            ),
            ("vim", vec!["additional_packages"], vec![]),
            (
                "lvm2",
                vec!["a mount of this system, or the image, lies on what it brings up"],
                vec![],
            ),
            ("mdadm", vec![], vec![]),
        ] {
            let of = |config: &Config, storage: &Storage| -> Vec<String> {
                let reasons = reasons(config, package, storage);
                reasons.into_iter().map(|why| why.fact).collect()
            };
            assert_eq!(of(&all, &storage), facts, "{package}");
            assert_eq!(
                of(&Config::default(), &Storage::default()),
                by_default,
                "{package}"
            );
        }
    }

    #[test]
    fn rpm_is_asked_for_all_that_some_storage_may_need() {
        let asked = candidates(&Config::default());
        for package in ALWAYS
            .into_iter()
            .chain(Layer::ALL.iter().filter_map(|layer| layer.package()))
        {
            assert!(asked.iter().any(|known| known == package), "{package}");
        }
        assert_eq!(asked.len(), ALWAYS.len() + Layer::ALL.len());
    }
}
