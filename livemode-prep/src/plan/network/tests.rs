//! Which files of the network go along, and what is said of the others.
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
    let of_source = |path: &str| format!("file       0600 root:root {path} (the source's {path}, secret)");
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
    let keyfile =
        "file       0600 root:root /etc/NetworkManager/system-connections/eth0.nmconnection (made, secret)";
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
        assert!(
            warnings[0].contains("ifcfg-lan0, line 4: NM_CONTROLLED=no: in the live system NetworkManager")
        );
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
