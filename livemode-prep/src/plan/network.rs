//! What makes the live system's network that of the source: NetworkManager's profiles and what they name. Profiles in
//! ifcfg files become keyfiles where the target's NetworkManager no longer reads them. Pure.
use super::findings::Findings;
use super::items::{Content, Item, SECRET};
use crate::facts::files::names::SYSCONFIG;
use crate::facts::files::{Files, CONNECTIONS, NM_CONF, RESOLVED, RESOLV_CONF, SCRIPTS};
use crate::facts::nics::Nic;
use ifcfg::aliases::{is_range, parent_of};
use ifcfg::{device_of, global_gateway, Profile};

mod ifcfg;
pub(crate) mod names;

const OF_TEAM: &str =
    "a team needs the package NetworkManager-team in the image, which el10 no longer has; add it to \
                       additional_packages, or make a bond of the team";

/// What lies beside an `ifcfg-NAME` as `PREFIX-NAME`, and may hold secrets.
const BESIDE_IFCFG: [&str; 6] = ["ifcfg-", "route-", "route6-", "rule-", "rule6-", "keys-"];

/// The files that go along.
pub(crate) fn items(files: &Files, reads_ifcfg: bool, findings: &mut Findings) -> Vec<Item> {
    let mut items: Vec<Item> = [CONNECTIONS, NM_CONF]
        .iter()
        .flat_map(|dir| files.below(dir))
        .filter_map(|path| of_source(files, path))
        .collect();
    items.extend(of_scripts(files, reads_ifcfg, findings));
    items.extend(named_files(files, findings));
    items.extend(resolv_conf(files));
    for path in files
        .below(NM_CONF)
        .filter(|path| leaves_alone(files.text(path).unwrap_or_default()))
    {
        findings.warn(format!(
            "{path}: interfaces that NetworkManager leaves alone stay down in the live system, for nothing else is there that \
             would bring them up"
        ));
    }
    let keyfiles = files.below(CONNECTIONS).filter_map(|path| files.text(path));
    if keyfiles
        .flat_map(str::lines)
        .any(|line| line.replace(' ', "") == "type=team")
    {
        findings.warn(OF_TEAM);
    }
    items
}

/// Profiles in ifcfg files: as they are, where the target's NetworkManager reads them and has the same of them.
fn of_scripts(files: &Files, reads_ifcfg: bool, findings: &mut Findings) -> Vec<Item> {
    let scripts: Vec<&str> = files
        .below(SCRIPTS)
        .filter(|path| is_script(name_of(path)))
        .collect();
    let names: Vec<&str> = scripts
        .iter()
        .filter_map(|path| name_of(path).strip_prefix("ifcfg-"))
        .collect();
    let (more, names): (Vec<&str>, Vec<&str>) = names.iter().partition(|name| parent(files, name).is_some());
    let profiles: Vec<Profile> = names.iter().map(|name| profile(files, name, &more)).collect();
    let global = files.text(SYSCONFIG).unwrap_or_default();
    let mut items = Vec::new();
    let mut takes_global_gateway = false;
    for profile in &profiles {
        let path = format!("{SCRIPTS}/ifcfg-{}", profile.name);
        if profile.is_unmanaged() {
            findings.warn(format!(
                "{path}: NM_CONTROLLED=no: in the live system NetworkManager brings it up, for nothing else is there that would"
            ));
        }
        if profile.is_team() {
            findings.warn(OF_TEAM);
        }
        // NetworkManager adds what lies beside the profile under its name and a colon, and knows no ranges.
        let is_beside = |name: &str| !is_range(name) && name.starts_with(&format!("{}:", profile.name));
        let are_read = profile.aliases.iter().all(|(name, _)| is_beside(name));
        if reads_ifcfg && !profile.is_unmanaged() && are_read {
            let own = |file: &str| {
                let beside = BESIDE_IFCFG.iter().find_map(|prefix| file.strip_prefix(prefix));
                beside.is_some_and(|name| {
                    name == profile.name || profile.aliases.iter().any(|(alias, _)| *alias == name)
                })
            };
            let own = scripts.iter().filter(|path| own(name_of(path)));
            items.extend(own.filter_map(|path| of_source(files, path)));
            continue;
        }
        let converted = ifcfg::to_keyfile(profile);
        takes_global_gateway |= converted.takes_global_gateway;
        for lost in converted.lost {
            findings.warn(format!("{path}: {lost}"));
        }
        items.push(keyfile(profile.name, converted.keyfile));
    }
    for name in more {
        if !profiles
            .iter()
            .any(|profile| profile.aliases.iter().any(|(alias, _)| *alias == name))
        {
            findings.warn(format!(
                "{SCRIPTS}/ifcfg-{name}: no profile is for its interface, so its addresses do not come along"
            ));
        }
    }
    let is_converted = items.iter().any(|item| item.path().starts_with(CONNECTIONS));
    if let (false, true, Some(gateway)) = (
        takes_global_gateway,
        is_converted && !reads_ifcfg,
        global_gateway(global),
    ) {
        findings.warn(format!(
            "{SYSCONFIG}: GATEWAY={gateway} lies in no network of a profile with an address of its own, so none has it"
        ));
    }
    if reads_ifcfg && !items.is_empty() {
        items.extend(of_source(files, SYSCONFIG));
    }
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

/// Whether a file of NetworkManager.conf(5) keeps it from some interfaces.
fn leaves_alone(text: &str) -> bool {
    let values = text.lines().filter_map(|line| line.trim().split_once('='));
    values
        .map(|(key, value)| (key.trim().trim_end_matches('+'), value.trim()))
        .any(|(key, value)| match key {
            "unmanaged-devices" => !value.is_empty() && value != "none",
            "managed" => ["0", "no", "false", "off"].contains(&value),
            _ => false,
        })
}

fn name_of(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

fn is_script(name: &str) -> bool {
    BESIDE_IFCFG.iter().any(|prefix| name.starts_with(prefix)) && name != "ifcfg-lo"
}

/// The interface that a file only adds addresses to, by its name or by the interface that it names.
fn parent(files: &Files, name: &str) -> Option<String> {
    let text = files.text(&format!("{SCRIPTS}/ifcfg-{name}")).unwrap_or_default();
    let device = device_of(text);
    let parent = device
        .as_deref()
        .filter(|device| device.contains(':'))
        .and_then(parent_of);
    parent.or(parent_of(name)).map(str::to_owned)
}

fn profile<'a>(files: &'a Files, name: &'a str, more: &[&'a str]) -> Profile<'a> {
    let text = |prefix: &str| {
        files
            .text(&format!("{SCRIPTS}/{prefix}-{name}"))
            .unwrap_or_default()
    };
    let mut profile = Profile {
        name,
        ifcfg: text("ifcfg"),
        keys: text("keys"),
        route: text("route"),
        route6: text("route6"),
        rule: text("rule"),
        rule6: text("rule6"),
        aliases: Vec::new(),
        global: files.text(SYSCONFIG).unwrap_or_default(),
    };
    let device = profile.device();
    let own = more
        .iter()
        .filter(|alias| parent(files, alias).as_deref() == Some(device.as_str()));
    profile.aliases = own
        .map(|alias| {
            (
                *alias,
                files
                    .text(&format!("{SCRIPTS}/ifcfg-{alias}"))
                    .unwrap_or_default(),
            )
        })
        .collect();
    profile
}

/// The cards that ifcfg files name by their addresses.
pub(super) fn named_by_address(files: &Files) -> Vec<Nic> {
    let profiles = files
        .below(SCRIPTS)
        .filter(|path| name_of(path).starts_with("ifcfg-"));
    let named = profiles.filter_map(|path| ifcfg::named_card(files.text(path)?));
    named
        .map(|(name, address)| Nic {
            name,
            address: Some(address),
            driver: None,
        })
        .collect()
}

fn keyfile(name: &str, text: String) -> Item {
    Item::File {
        path: format!("{CONNECTIONS}/{name}.nmconnection"),
        content: Content::Text(text.into_bytes()),
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

    fn static_network() -> Vec<(&'static str, &'static str)> {
        vec![
            (
                "/etc/sysconfig/network-scripts/ifcfg-lan0",
                "DEVICE=lan0\nONBOOT=yes\nBOOTPROTO=static\nIPADDR=192.0.2.10\nNETMASK=255.255.255.0\nTYPE=Ethernet\n",
            ),
            (
                "/etc/sysconfig/network-scripts/ifcfg-lan0:1",
                "DEVICE=lan0:1\nONPARENT=yes\nIPADDR=192.0.2.11\nNETMASK=255.255.255.0\n",
            ),
            ("/etc/sysconfig/network", "NETWORKING=yes\nGATEWAY=192.0.2.1\nGATEWAYDEV=lan0\n"),
        ]
    }

    fn keyfile_of(files: &[(&str, &str)], reads_ifcfg: bool) -> String {
        let items = items(&Files::of(files), reads_ifcfg, &mut Findings::default());
        let text = items.iter().find_map(|item| match item {
            Item::File {
                path,
                content: Content::Text(text),
                ..
            } if path.ends_with("/lan0.nmconnection") => Some(text),
            _ => None,
        });
        String::from_utf8(text.unwrap().clone()).unwrap()
    }

    #[test]
    fn gateway_and_aliases_are_the_profiles_own() {
        let files = static_network();
        let (paths, warnings) = listed(&Files::of(&files), false);
        assert_eq!(
            paths,
            ["file       0600 root:root /etc/NetworkManager/system-connections/lan0.nmconnection (made, secret)"]
        );
        assert_eq!(warnings, Vec::<String>::new());
        let keyfile = keyfile_of(&files, false);
        assert!(
            keyfile.contains("address1=192.0.2.10/24\naddress2=192.0.2.11/24\ngateway=192.0.2.1\n"),
            "{keyfile}"
        );
        // NetworkManager of a target that reads ifcfg files has the same of them.
        let mut other_name = static_network();
        other_name[1].0 = "/etc/sysconfig/network-scripts/ifcfg-web";
        for reads_ifcfg in [true, false] {
            assert_eq!(keyfile_of(&other_name, reads_ifcfg), keyfile);
        }
        let (paths, warnings) = listed(&Files::of(&files), true);
        assert_eq!(paths.len(), 3, "{paths:?}");
        assert!(paths[2].contains(" /etc/sysconfig/network "), "{paths:?}");
        assert_eq!(warnings, Vec::<String>::new());
    }

    #[test]
    fn a_range_and_an_unmanaged_profile_are_written_for_networkmanager_always() {
        let mut with_range = static_network();
        with_range.push((
            "/etc/sysconfig/network-scripts/ifcfg-lan0-range0",
            "IPADDR_START=192.0.2.20\nIPADDR_END=192.0.2.21\nCLONENUM_START=2\nNETMASK=255.255.255.0\n",
        ));
        assert!(keyfile_of(&with_range, true).contains("address2=192.0.2.20/24\naddress3=192.0.2.21/24\n"));
        let mut unmanaged = static_network();
        unmanaged[0].1 = "DEVICE=lan0\nIPADDR=192.0.2.10\nPREFIX=24\nNM_CONTROLLED='No'\n";
        for reads_ifcfg in [true, false] {
            assert!(keyfile_of(&unmanaged, reads_ifcfg).contains("address2=192.0.2.11/24\n"));
            let (paths, warnings) = listed(&Files::of(&unmanaged), reads_ifcfg);
            assert!(!paths.iter().any(|path| path.contains("ifcfg-lan0")), "{paths:?}");
            assert_eq!(warnings.len(), 1, "{warnings:?}");
            assert!(warnings[0].contains("ifcfg-lan0: NM_CONTROLLED=no: in the live system NetworkManager"));
        }
    }

    #[test]
    fn interfaces_that_networkmanager_leaves_alone_are_told() {
        for (text, told) in [
            ("[keyfile]\nunmanaged-devices=mac:52:54:00:00:00:01\n", true),
            (
                "[device-x]\nmatch-device=interface-name:san*\nmanaged = 0\n",
                true,
            ),
            (
                "[keyfile]\nunmanaged-devices=none\n[ifupdown]\nmanaged=true\n",
                false,
            ),
        ] {
            let (_, warnings) = listed(&Files::of(&[("/etc/NetworkManager/conf.d/a.conf", text)]), false);
            assert_eq!(warnings.len(), usize::from(told), "{text}: {warnings:?}");
        }
    }

    #[test]
    fn a_gateway_or_an_alias_of_nobody_and_a_team_are_told() {
        let (_, warnings) = listed(
            &Files::of(&[
                ("/etc/sysconfig/network-scripts/ifcfg-lan0", "BOOTPROTO=dhcp\n"),
                (
                    "/etc/sysconfig/network-scripts/ifcfg-lan1:1",
                    "IPADDR=192.0.2.11\n",
                ),
                ("/etc/sysconfig/network", "GATEWAY=192.0.2.1\n"),
                (
                    "/etc/NetworkManager/system-connections/t.nmconnection",
                    "[connection]\ntype=team\n",
                ),
            ]),
            false,
        );
        assert_eq!(warnings.len(), 3, "{warnings:?}");
        assert!(
            warnings[0].contains("ifcfg-lan1:1: no profile is for its interface"),
            "{warnings:?}"
        );
        assert!(
            warnings[1].contains("GATEWAY=192.0.2.1 lies in no network"),
            "{warnings:?}"
        );
        assert!(warnings[2].starts_with("a team needs"), "{warnings:?}");
    }

    #[test]
    fn a_team_in_a_keyfile_is_told_and_a_gateway_that_no_profile_of_ours_could_have_is_not() {
        let profile = |text| {
            listed(
                &Files::of(&[("/etc/NetworkManager/system-connections/t", text)]),
                false,
            )
            .1
        };
        assert_eq!(profile("[connection]\ntype = team\n"), [OF_TEAM]);
        assert_eq!(profile("[connection]\nid=team\ntype=ethernet\n"), [""; 0]);
        let gateway = Files::of(&[("/etc/sysconfig/network", "GATEWAY=192.0.2.1\n")]);
        for reads_ifcfg in [true, false] {
            assert_eq!(listed(&gateway, reads_ifcfg).1, [""; 0]);
        }
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
        assert_eq!(
            listed(&Files::of(&[("/etc/resolv.conf", "nameserver 10.0.0.1\n")]), true).0,
            ["file       0644 root:root /etc/resolv.conf (the source's /etc/resolv.conf)"]
        );
    }
}
