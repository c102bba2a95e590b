//! Addresses, gateways, name servers and routes of an ifcfg profile, as sections of a keyfile. Pure.
use super::aliases;
use super::keyfile::Keyfile;
use super::routes::{is_within, prefix_of, routes, rules};
use super::variables::{numbered, Variables};
use super::Profile;

/// NetworkManager goes by the class of an address without prefix.
pub(super) fn prefix_of_class(address: &str) -> u8 {
    match address
        .split('.')
        .next()
        .and_then(|first| first.parse::<u8>().ok())
    {
        Some(0..=127) => 8,
        Some(128..=191) => 16,
        _ => 24,
    }
}

/// Gives whether the gateway of /etc/sysconfig/network became the profile's.
pub(super) fn ipv4(v: &Variables, profile: &Profile, k: &mut Keyfile, lost: &mut Vec<String>) -> bool {
    let addresses = numbered(v, "IPADDR");
    let mut networks: Vec<String> = Vec::new();
    let method = match v.get("BOOTPROTO").map(str::to_ascii_lowercase).as_deref() {
        Some("dhcp" | "bootp") => "auto",
        Some("shared") => "shared",
        Some("autoip") => "link-local",
        _ if addresses.is_empty() && profile.aliases.is_empty() => "disabled",
        _ => "manual",
    };
    k.set("ipv4", "method", method);
    for (number, (suffix, address)) in addresses.iter().enumerate() {
        let netmask = v
            .get(&format!("NETMASK{suffix}"))
            .and_then(prefix_of)
            .map(|n| n.to_string());
        let prefix = v.get(&format!("PREFIX{suffix}")).map(str::to_owned).or(netmask);
        let prefix = prefix.unwrap_or_else(|| {
            let prefix = prefix_of_class(address);
            lost.push(format!(
                "IPADDR{suffix}={address} has neither PREFIX{suffix} nor NETMASK{suffix}; taken as /{prefix}"
            ));
            prefix.to_string()
        });
        let network = format!("{address}/{prefix}");
        k.set("ipv4", &format!("address{}", number + 1), &network);
        networks.push(network);
    }
    let prefix = networks
        .first()
        .and_then(|network| Some(network.split_once('/')?.1.to_owned()));
    for (name, text) in &profile.aliases {
        let mut said = Vec::new();
        for address in aliases::addresses(text, prefix.as_deref(), &mut said) {
            if !networks.contains(&address) {
                k.set("ipv4", &format!("address{}", networks.len() + 1), &address);
                networks.push(address);
            }
        }
        lost.extend(said.into_iter().map(|what| format!("ifcfg-{name}: {what}")));
    }
    let takes_global_gateway = gateway4(v, profile, &networks, k, lost);
    let (servers4, servers6): (Vec<String>, Vec<String>) = numbered(v, "DNS")
        .into_iter()
        .map(|(_, server)| server)
        .partition(|server| !server.contains(':'));
    for (section, servers) in [("ipv4", servers4), ("ipv6", servers6)] {
        if !servers.is_empty() {
            k.set_list(section, "dns", servers.iter().map(String::as_str));
        }
    }
    if let Some(domains) = v.get("DOMAIN") {
        k.set_list("ipv4", "dns-search", domains.split_whitespace());
    }
    let global = Variables::parse(profile.global);
    let is_elsewhere = global
        .get("GATEWAYDEV")
        .is_some_and(|device| device != profile.device());
    if !v.is("DEFROUTE", true) || is_elsewhere {
        k.set("ipv4", "never-default", "true");
    }
    for (key, default, name, value) in [
        ("PEERDNS", true, "ignore-auto-dns", false),
        ("PEERROUTES", true, "ignore-auto-routes", false),
        ("IPV4_FAILURE_FATAL", false, "may-fail", true),
    ] {
        if v.is(key, default) == value {
            k.set("ipv4", name, if name == "may-fail" { "false" } else { "true" });
        }
    }
    k.set_some("ipv4", "route-metric", v.get("IPV4_ROUTE_METRIC"));
    k.set_some("ipv4", "dhcp-hostname", v.get("DHCP_HOSTNAME"));
    k.set_some("ipv4", "dhcp-client-id", v.get("DHCP_CLIENT_ID"));
    routes("ipv4", profile.route, "0.0.0.0/0", k, lost);
    rules("ipv4", profile.rule, k);
    takes_global_gateway
}

/// The profile's own gateway, or that of /etc/sysconfig/network where it lies in a network of the profile's (initscripts,
/// ifup-eth). NetworkManager takes no gateway without an address.
fn gateway4(
    v: &Variables,
    profile: &Profile,
    networks: &[String],
    k: &mut Keyfile,
    lost: &mut Vec<String>,
) -> bool {
    let own = numbered(v, "GATEWAY");
    if let Some((_, gateway)) = own.first() {
        if networks.is_empty() {
            lost.push(format!(
                "GATEWAY={gateway} is not used without an address of its own"
            ));
        } else {
            k.set("ipv4", "gateway", gateway);
        }
        return false;
    }
    let global = Variables::parse(profile.global);
    let is_here = global
        .get("GATEWAYDEV")
        .is_none_or(|device| device == profile.device());
    let gateway = global
        .get("GATEWAY")
        .filter(|_| is_here && v.is("DEFROUTE", true));
    let gateway = gateway.filter(|gateway| networks.iter().any(|network| is_within(gateway, network)));
    k.set_some("ipv4", "gateway", gateway);
    gateway.is_some()
}

/// As [`gateway4`]; a scope behind `%` names the interface.
fn gateway6(v: &Variables, profile: &Profile, has_address: bool, k: &mut Keyfile, lost: &mut Vec<String>) {
    let plain = |gateway: &str| gateway.split('%').next().unwrap_or_default().to_owned();
    if let Some(gateway) = v.get("IPV6_DEFAULTGW") {
        if has_address {
            k.set("ipv6", "gateway", plain(gateway));
        } else {
            lost.push(format!(
                "IPV6_DEFAULTGW={gateway} is not used without an address of its own"
            ));
        }
        return;
    }
    let global = Variables::parse(profile.global);
    let Some(gateway) = global.get("IPV6_DEFAULTGW") else {
        return;
    };
    let scope = gateway.split_once('%').map(|(_, scope)| scope);
    let device = scope.or(global.get("IPV6_DEFAULTDEV"));
    let is_here = device.is_none_or(|device| device == profile.device());
    if has_address && is_here && v.is("IPV6_DEFROUTE", true) {
        k.set("ipv6", "gateway", plain(gateway));
    }
}

pub(super) fn ipv6(v: &Variables, profile: &Profile, k: &mut Keyfile, lost: &mut Vec<String>) {
    let address = v.get("IPV6ADDR");
    let secondaries = v.get("IPV6ADDR_SECONDARIES").unwrap_or_default();
    // For initscripts what /etc/sysconfig/network says holds where the profile is silent.
    let global = Variables::parse(if profile.is_unmanaged() {
        profile.global
    } else {
        ""
    });
    let is = |key: &str, default: bool| v.is(key, global.is(key, default));
    let (init, disabled) = (is("IPV6INIT", false), v.is("IPV6_DISABLED", false));
    let autoconf = is("IPV6_AUTOCONF", true);
    let dhcp = v.is("DHCPV6C", false);
    let method = match (disabled, init, address) {
        (true, ..) => "disabled",
        (_, false, _) => "ignore",
        _ if autoconf => "auto",
        (.., Some(_)) => "manual",
        _ if dhcp => "dhcp",
        _ => "link-local",
    };
    k.set("ipv6", "method", method);
    let addresses = address
        .into_iter()
        .chain(secondaries.split_whitespace())
        .enumerate();
    for (number, address) in addresses {
        let prefix = if address.contains('/') { "" } else { "/64" };
        k.set(
            "ipv6",
            &format!("address{}", number + 1),
            format!("{address}{prefix}"),
        );
    }
    let has_address = address.is_some() || !secondaries.is_empty();
    gateway6(
        v,
        profile,
        has_address && method != "ignore" && method != "disabled",
        k,
        lost,
    );
    for (key, name) in [
        ("IPV6_DEFROUTE", "never-default"),
        ("IPV6_PEERDNS", "ignore-auto-dns"),
        ("IPV6_PEERROUTES", "ignore-auto-routes"),
    ] {
        if !v.is(key, true) {
            k.set("ipv6", name, "true");
        }
    }
    if v.is("IPV6_FAILURE_FATAL", false) {
        k.set("ipv6", "may-fail", "false");
    }
    k.set_some("ipv6", "route-metric", v.get("IPV6_ROUTE_METRIC"));
    routes("ipv6", profile.route6, "::/0", k, lost);
    rules("ipv6", profile.rule6, k);
}

#[cfg(test)]
mod tests {
    use super::super::tests::profile;
    use super::super::{to_keyfile, Profile};

    #[test]
    fn the_gateway_of_all_profiles_is_that_of_the_one_in_its_network() {
        let address = "IPADDR=192.0.2.10\nNETMASK=255.255.255.0\n";
        for (ifcfg, global, line, taken) in [
            (address, "GATEWAY=192.0.2.1\n", "gateway=192.0.2.1\n", true),
            (
                address,
                "GATEWAY=192.0.2.1\nGATEWAYDEV=eth0\n",
                "gateway=192.0.2.1\n",
                true,
            ),
            (
                address,
                "GATEWAY=192.0.2.1\nGATEWAYDEV=eth1\n",
                "never-default=true\n",
                false,
            ),
            (address, "GATEWAYDEV='eth1'\n", "never-default=true\n", false),
            (address, "GATEWAY=192.0.3.1\n", "", false),
            ("BOOTPROTO=dhcp\n", "GATEWAY=192.0.2.1\n", "", false),
            (
                "DEFROUTE=no\nIPADDR=192.0.2.10\nPREFIX=24\n",
                "GATEWAY=192.0.2.1\n",
                "never-default=true\n",
                false,
            ),
            (
                "GATEWAY=192.0.2.9\nIPADDR=192.0.2.10\nPREFIX=24\n",
                "GATEWAY=192.0.2.1\n",
                "gateway=192.0.2.9\n",
                false,
            ),
        ] {
            let converted = to_keyfile(&Profile {
                global,
                ..profile(ifcfg)
            });
            let section = converted
                .keyfile
                .split("[ipv4]\n")
                .nth(1)
                .unwrap()
                .split("\n[")
                .next()
                .unwrap();
            let said: String = section
                .lines()
                .filter(|line| line.starts_with("gateway") || line.starts_with("never"))
                .map(|line| format!("{line}\n"))
                .collect();
            assert_eq!(
                (said.as_str(), converted.takes_global_gateway),
                (line, taken),
                "{ifcfg}{global}"
            );
            assert_eq!(converted.lost, Vec::<String>::new(), "{ifcfg}{global}");
        }
    }

    #[test]
    fn a_gateway_without_an_address_would_make_the_profile_invalid_and_is_told() {
        let converted = to_keyfile(&profile(
            "BOOTPROTO=dhcp\nGATEWAY=192.0.2.1\nIPV6INIT=yes\nIPV6_DEFAULTGW=fe80::1\n",
        ));
        assert!(!converted.keyfile.contains("gateway"), "{}", converted.keyfile);
        assert_eq!(
            converted.lost,
            [
                "GATEWAY=192.0.2.1 is not used without an address of its own",
                "IPV6_DEFAULTGW=fe80::1 is not used without an address of its own"
            ]
        );
    }

    #[test]
    fn of_version_6_the_same_holds() {
        let own = "IPV6INIT=yes\nIPV6_AUTOCONF=no\nIPV6ADDR=2001:db8::2/64\n";
        for (ifcfg, global, gateway) in [
            (own, "IPV6_DEFAULTGW=2001:db8::1\n", Some("2001:db8::1")),
            (own, "IPV6_DEFAULTGW=fe80::1%eth0\n", Some("fe80::1")),
            (own, "IPV6_DEFAULTGW=fe80::1%eth1\n", None),
            (own, "IPV6_DEFAULTGW=fe80::1\nIPV6_DEFAULTDEV=eth1\n", None),
            (
                "NM_CONTROLLED=no\nIPV6ADDR=2001:db8::2/64\n",
                "IPV6INIT=yes\nIPV6_DEFAULTGW=fe80::1\n",
                Some("fe80::1"),
            ),
            (
                "IPV6ADDR=2001:db8::2/64\n",
                "IPV6INIT=yes\nIPV6_DEFAULTGW=fe80::1\n",
                None,
            ),
        ] {
            let converted = to_keyfile(&Profile {
                global,
                ..profile(ifcfg)
            });
            let found = converted
                .keyfile
                .lines()
                .find_map(|line| line.strip_prefix("gateway="));
            assert_eq!(found, gateway, "{ifcfg}{global}");
        }
    }

    #[test]
    fn addresses_of_aliases_stand_behind_the_profiles_own() {
        let converted = to_keyfile(&Profile {
            aliases: vec![
                ("eth0:1", "IPADDR=192.0.2.11\n"),
                (
                    "eth0-range0",
                    "IPADDR_START=192.0.2.20\nIPADDR_END=192.0.2.21\nNETMASK=255.255.255.0\n",
                ),
                ("eth0:9", "IPADDR=192.0.2.99\nONPARENT=no\n"),
            ],
            ..profile("IPADDR=192.0.2.10\nPREFIX=24\nGATEWAY=192.0.2.1\n")
        });
        assert!(
            converted.keyfile.contains(
                "method=manual\naddress1=192.0.2.10/24\naddress2=192.0.2.11/24\naddress3=192.0.2.20/24\n\
                 address4=192.0.2.21/24\ngateway=192.0.2.1\n"
            ),
            "{}",
            converted.keyfile
        );
        assert_eq!(
            converted.lost,
            ["ifcfg-eth0:9: ONPARENT=no: its addresses are not added"]
        );
    }
}
