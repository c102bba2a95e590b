//! What makes the live system's network that of the source: NetworkManager's profiles and what they name. Profiles in
//! ifcfg files become keyfiles where the target's NetworkManager no longer reads them. Pure.
use super::findings::Findings;
use super::items::{Content, Item, SECRET};
use crate::facts::files::{Files, CONNECTIONS, NM_CONF, RESOLVED, RESOLV_CONF, SCRIPTS};

mod ifcfg;

/// What lies beside an `ifcfg-NAME` as `PREFIX-NAME`, and may hold secrets.
const BESIDE_IFCFG: [&str; 6] = ["ifcfg-", "route-", "route6-", "rule-", "rule6-", "keys-"];

/// The files that go along.
pub(crate) fn items(files: &Files, reads_ifcfg: bool, findings: &mut Findings) -> Vec<Item> {
    let mut items: Vec<Item> = [CONNECTIONS, NM_CONF]
        .iter()
        .flat_map(|dir| files.below(dir))
        .filter_map(|path| of_source(files, path))
        .collect();
    let scripts: Vec<&str> = files
        .below(SCRIPTS)
        .filter(|path| is_script(name_of(path)))
        .collect();
    if reads_ifcfg {
        items.extend(scripts.iter().filter_map(|path| of_source(files, path)));
    } else {
        let profiles = scripts
            .iter()
            .filter_map(|path| name_of(path).strip_prefix("ifcfg-"));
        items.extend(profiles.map(|name| converted(files, name, findings)));
    }
    items.extend(named_files(files, findings));
    items.extend(resolv_conf(files));
    items
}

/// A file of the source at the same path, with its own mode, where it is there.
pub(super) fn of_source(files: &Files, path: &str) -> Option<Item> {
    Some(copied(path, files.get(path)?.mode))
}

/// A file of the source at the same path; secret where others may not read it.
pub(super) fn copied(path: &str, mode: u32) -> Item {
    Item::File {
        path: path.to_owned(),
        content: Content::OfSource(path.to_owned()),
        mode,
        is_secret: mode & 0o004 == 0,
    }
}

fn name_of(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

fn is_script(name: &str) -> bool {
    BESIDE_IFCFG.iter().any(|prefix| name.starts_with(prefix)) && name != "ifcfg-lo"
}

fn converted(files: &Files, name: &str, findings: &mut Findings) -> Item {
    let text = |prefix: &str| {
        files
            .text(&format!("{SCRIPTS}/{prefix}-{name}"))
            .unwrap_or_default()
    };
    let converted = ifcfg::to_keyfile(&ifcfg::Profile {
        name,
        ifcfg: text("ifcfg"),
        keys: text("keys"),
        route: text("route"),
        route6: text("route6"),
        rule: text("rule"),
        rule6: text("rule6"),
    });
    for lost in converted.lost {
        findings.warn(format!("{SCRIPTS}/ifcfg-{name}: {lost}"));
    }
    Item::File {
        path: format!("{CONNECTIONS}/{name}.nmconnection"),
        content: Content::Text(converted.keyfile.into_bytes()),
        mode: SECRET,
        is_secret: true,
    }
}

/// Certificates and keys that a profile gives as a value.
fn named_files(files: &Files, findings: &mut Findings) -> Vec<Item> {
    let mut items: Vec<Item> = Vec::new();
    for (profile, key, path) in files.named_by_profiles() {
        let is_certificate =
            key.starts_with("IEEE_8021X_") && (key.ends_with("_CERT") || key.ends_with("_PRIVATE_KEY"));
        match of_source(files, &path) {
            Some(item) if !items.contains(&item) => items.push(item),
            Some(_) => {}
            None if is_certificate => {
                findings.warn(format!("{profile}: {key} names {path}, which is not there"))
            }
            None => {}
        }
    }
    items
}

/// The resolver's file, or the one of systemd-resolved where it only leads to that.
fn resolv_conf(files: &Files) -> Option<Item> {
    let path = [RESOLV_CONF, RESOLVED].into_iter().find(|path| {
        files
            .text(path)
            .is_some_and(|text| *path == RESOLVED || !only_asks_itself(text))
    })?;
    Some(Item::File {
        path: RESOLV_CONF.into(),
        content: Content::OfSource(path.to_owned()),
        mode: 0o644,
        is_secret: false,
    })
}

/// Of no use without the resolver behind it.
fn only_asks_itself(resolv_conf: &str) -> bool {
    let servers = resolv_conf
        .lines()
        .filter_map(|line| line.trim().strip_prefix("nameserver"));
    let mut servers = servers.map(str::trim).peekable();
    servers.peek().is_some() && servers.all(|server| server.starts_with("127."))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(files: &Files, reads_ifcfg: bool) -> (Vec<String>, Vec<String>) {
        let mut findings = Findings::default();
        let items = items(files, reads_ifcfg, &mut findings);
        (items.iter().map(Item::to_string).collect(), findings.warnings)
    }

    #[test]
    fn profiles_certificates_and_the_resolver_go_along() {
        let files = Files::of(&[
            (
                "/etc/NetworkManager/system-connections/office.nmconnection",
                "[802-1x]\nca-cert=/etc/pki/ca.pem\nclient-cert=file:///etc/pki/ca.pem\nother=/etc/gone\n",
            ),
            ("/etc/NetworkManager/conf.d/10-dns.conf", "[main]\ndns=none\n"),
            ("/etc/pki/ca.pem", "ca"),
            (
                "/etc/sysconfig/network-scripts/ifcfg-eth0",
                "IEEE_8021X_CA_CERT=own.pem\nIEEE_8021X_CLIENT_CERT=gone.pem\nIEEE_8021X_IDENTITY=/x\n",
            ),
            ("/etc/sysconfig/network-scripts/own.pem", "own"),
            ("/etc/sysconfig/network-scripts/keys-eth0", "WPA_PSK=secret\n"),
            ("/etc/sysconfig/network-scripts/ifcfg-lo", ""),
            ("/etc/resolv.conf", "nameserver 127.0.0.53\n"),
            ("/run/systemd/resolve/resolv.conf", "nameserver 10.0.0.1\n"),
        ]);
        let of_source =
            |path: &str| format!("file       0600 root:root {path} (the source's {path}, secret)");
        let first = [
            of_source("/etc/NetworkManager/system-connections/office.nmconnection"),
            of_source("/etc/NetworkManager/conf.d/10-dns.conf"),
        ];
        let last = [
            of_source("/etc/pki/ca.pem"),
            of_source("/etc/sysconfig/network-scripts/own.pem"),
            "file       0644 root:root /etc/resolv.conf (the source's /run/systemd/resolve/resolv.conf)"
                .to_owned(),
        ];
        let keyfile = "file       0600 root:root /etc/NetworkManager/system-connections/eth0.nmconnection (made, secret)";
        let (items, warnings) = listed(&files, false);
        assert_eq!(items, [&first[..], &[keyfile.to_owned()], &last[..]].concat());
        let gone = "/etc/sysconfig/network-scripts/ifcfg-eth0: IEEE_8021X_CLIENT_CERT names \
                    /etc/sysconfig/network-scripts/gone.pem, which is not there";
        assert!(warnings.iter().any(|warning| warning == gone), "{warnings:?}");
        assert_eq!(
            warnings
                .iter()
                .filter(|warning| warning.contains("not there"))
                .count(),
            1,
            "{warnings:?}"
        );

        let scripts = ["ifcfg-eth0", "keys-eth0"].map(|name| of_source(&format!("{SCRIPTS}/{name}")));
        let (items, _) = listed(&files, true);
        assert_eq!(items, [&first[..], &scripts[..], &last[..]].concat());
    }

    #[test]
    fn a_resolver_that_is_the_machine_itself_does_not_go_along() {
        for (text, only_itself) in [
            ("nameserver 127.0.0.53\noptions edns0\n", true),
            ("nameserver 127.0.0.53\nnameserver 10.0.0.1\n", false),
            ("search example.com\n", false),
        ] {
            assert_eq!(only_asks_itself(text), only_itself, "{text}");
        }
        assert_eq!(
            listed(
                &Files::of(&[("/etc/resolv.conf", "nameserver 127.0.0.1\n")]),
                true
            )
            .0,
            Vec::<String>::new()
        );
    }
}
