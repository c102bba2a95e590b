//! Turns an ifcfg profile into a NetworkManager keyfile, for targets whose NetworkManager no longer reads ifcfg files
//! (el10). By nm-settings-ifcfg-rh(5) and nm-settings-keyfile(5). What has no counterpart is named, never dropped
//! silently. Pure.
use keyfile::Keyfile;
use routes::{is_within, prefix_of, routes, rules};
use variables::{numbered, Variables};

pub(super) mod aliases;
mod keyfile;
mod routes;
mod variables;

/// The texts of one profile; empty where there is no such file.
pub(crate) struct Profile<'a> {
    pub(crate) name: &'a str,
    pub(crate) ifcfg: &'a str,
    pub(crate) keys: &'a str,
    pub(crate) route: &'a str,
    pub(crate) route6: &'a str,
    pub(crate) rule: &'a str,
    pub(crate) rule6: &'a str,
    /// The texts of files with more addresses, with their names.
    pub(crate) aliases: Vec<(&'a str, &'a str)>,
    /// /etc/sysconfig/network, which speaks for all profiles.
    pub(crate) global: &'a str,
}

impl Profile<'_> {
    /// Whether NetworkManager leaves the profile to initscripts.
    pub(crate) fn is_unmanaged(&self) -> bool {
        !Variables::parse(self.ifcfg).is("NM_CONTROLLED", true)
    }

    /// The interface that it is for.
    pub(crate) fn device(&self) -> String {
        Variables::parse(self.ifcfg)
            .get("DEVICE")
            .unwrap_or(self.name)
            .to_owned()
    }

    /// Whether it is of a team.
    pub(crate) fn is_team(&self) -> bool {
        let v = Variables::parse(self.ifcfg);
        let is_team = |key: &str| v.get(key).is_some_and(|kind| kind.eq_ignore_ascii_case("team"));
        is_team("DEVICETYPE") || is_team("TYPE") || v.get("TEAM_CONFIG").is_some()
    }
}

/// The interface that a file names.
pub(crate) fn device_of(ifcfg: &str) -> Option<String> {
    Variables::parse(ifcfg).get("DEVICE").map(str::to_owned)
}

/// The name and address of a card, where a file has both (initscripts, rename_device).
pub(crate) fn named_card(ifcfg: &str) -> Option<(String, String)> {
    let v = Variables::parse(ifcfg);
    let is_card = v
        .get("TYPE")
        .is_none_or(|kind| kind.eq_ignore_ascii_case("ethernet"))
        && !v.is("VLAN", false);
    let (name, address) = (v.get("DEVICE")?, v.get("HWADDR")?);
    (is_card && !name.contains([':', '.'])).then(|| (name.to_owned(), address.to_ascii_lowercase()))
}

/// The gateway of /etc/sysconfig/network.
pub(crate) fn global_gateway(global: &str) -> Option<String> {
    Variables::parse(global).get("GATEWAY").map(str::to_owned)
}

pub(crate) struct Converted {
    pub(crate) keyfile: String,
    /// What could not be carried over, a sentence each.
    pub(crate) lost: Vec<String>,
    /// Whether the gateway of /etc/sysconfig/network became its own.
    pub(crate) takes_global_gateway: bool,
}

pub(crate) fn to_keyfile(profile: &Profile) -> Converted {
    let v = Variables::parse(profile.ifcfg);
    let mut k = Keyfile::default();
    let mut lost = Vec::new();
    connection(profile.name, &v, &mut k, &mut lost);
    security(&v, &Variables::parse(profile.keys), &mut k);
    let takes_global_gateway = ipv4(&v, profile, &mut k, &mut lost);
    ipv6(&v, profile, &mut k, &mut lost);
    let unused = v
        .unused()
        .map(|key| format!("{key} is not carried over into a keyfile"));
    lost.extend(unused);
    Converted {
        keyfile: k.text(),
        lost,
        takes_global_gateway,
    }
}

fn connection(name: &str, v: &Variables, k: &mut Keyfile, lost: &mut Vec<String>) {
    let is = |key: &str| v.is(key, false);
    // As NetworkManager's reader has it: a DEVICETYPE of Team is the type; with any other, TYPE says it.
    let device_type = v
        .get("DEVICETYPE")
        .filter(|kind| kind.eq_ignore_ascii_case("team"));
    let kind = match device_type
        .or(v.get("TYPE"))
        .map(str::to_ascii_lowercase)
        .as_deref()
    {
        _ if is("VLAN") => "vlan",
        _ if v.get("BONDING_OPTS").is_some() => "bond",
        _ if v.get("TEAM_CONFIG").is_some() => "team",
        None | Some("ethernet") => "ethernet",
        Some("bond") => "bond",
        Some("bridge") => "bridge",
        Some("vlan") => "vlan",
        Some("team") => "team",
        Some("infiniband") => "infiniband",
        Some(other) => {
            lost.push(format!("TYPE={other} is not converted; write a keyfile for it"));
            "ethernet"
        }
    };
    k.set("connection", "id", v.get("NAME").unwrap_or(name));
    k.set_some("connection", "uuid", v.get("UUID"));
    k.set("connection", "type", kind);
    let mac = v.get("HWADDR");
    // A profile that names neither is for the interface of its own name.
    let device = v.get("DEVICE").or(if mac.is_none() { Some(name) } else { None });
    k.set_some("connection", "interface-name", device);
    if !v.is("ONBOOT", true) {
        k.set("connection", "autoconnect", "false");
    }
    k.set_some(
        "connection",
        "autoconnect-priority",
        v.get("AUTOCONNECT_PRIORITY"),
    );
    k.set_some("connection", "zone", v.get("ZONE"));
    is("SLAVE");
    for (keys, port_type) in [
        (&["MASTER_UUID", "MASTER"], "bond"),
        (&["BRIDGE_UUID", "BRIDGE"], "bridge"),
        (&["TEAM_MASTER_UUID", "TEAM_MASTER"], "team"),
    ] {
        if let Some(controller) = v.first_of(keys) {
            k.set("connection", "master", controller);
            k.set("connection", "slave-type", port_type);
        }
    }
    let hardware = if kind == "infiniband" {
        "infiniband"
    } else {
        "ethernet"
    };
    k.set_some(hardware, "mac-address", mac);
    k.set_some(hardware, "cloned-mac-address", v.get("MACADDR"));
    k.set_some(hardware, "mtu", v.get("MTU"));
    match kind {
        "bond" => {
            for (key, value) in v
                .get("BONDING_OPTS")
                .unwrap_or_default()
                .split_whitespace()
                .filter_map(|o| o.split_once('='))
            {
                k.set("bond", key, value);
            }
        }
        "bridge" => {
            k.set("bridge", "stp", v.is("STP", false));
            k.set_some("bridge", "forward-delay", v.get("DELAY"));
        }
        "vlan" => {
            let named = device.unwrap_or(name).rsplit_once('.');
            k.set_some(
                "vlan",
                "parent",
                v.get("PHYSDEV").or(named.map(|(parent, _)| parent)),
            );
            k.set_some("vlan", "id", v.get("VLAN_ID").or(named.map(|(_, id)| id)));
        }
        "team" => k.set_some("team", "config", v.get("TEAM_CONFIG")),
        _ => {}
    }
}

fn security(v: &Variables, keys: &Variables, k: &mut Keyfile) {
    if v.get("KEY_MGMT") != Some("IEEE8021X") && !v.is("IEEE_8021X", false) {
        return;
    }
    let methods = v
        .get("IEEE_8021X_EAP_METHODS")
        .unwrap_or_default()
        .to_ascii_lowercase();
    k.set_list("802-1x", "eap", methods.split_whitespace());
    for (key, name) in [
        ("IDENTITY", "identity"),
        ("ANON_IDENTITY", "anonymous-identity"),
        ("CA_CERT", "ca-cert"),
        ("CLIENT_CERT", "client-cert"),
        ("PRIVATE_KEY", "private-key"),
        ("PRIVATE_KEY_PASSWORD", "private-key-password"),
        ("PASSWORD", "password"),
    ] {
        let key = format!("IEEE_8021X_{key}");
        let value = keys.get(&key).or(v.get(&key));
        let is_file = ["ca-cert", "client-cert", "private-key"].contains(&name);
        // A bare name lies beside the ifcfg file.
        let beside = |value: &str| format!("/etc/sysconfig/network-scripts/{value}");
        match value {
            Some(value) if is_file && !value.contains('/') => k.set("802-1x", name, beside(value)),
            value => k.set_some("802-1x", name, value),
        }
    }
}

/// Gives whether the gateway of /etc/sysconfig/network became the profile's.
fn ipv4(v: &Variables, profile: &Profile, k: &mut Keyfile, lost: &mut Vec<String>) -> bool {
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
        if prefix.is_none() {
            lost.push(format!(
                "IPADDR{suffix}={address} has neither PREFIX{suffix} nor NETMASK{suffix}; taken as /24"
            ));
        }
        let network = format!("{address}/{}", prefix.unwrap_or("24".into()));
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

fn ipv6(v: &Variables, profile: &Profile, k: &mut Keyfile, lost: &mut Vec<String>) {
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
    use super::*;

    fn converted(ifcfg: &str) -> Converted {
        to_keyfile(&profile(ifcfg))
    }

    fn profile(ifcfg: &str) -> Profile<'_> {
        Profile {
            name: "eth0",
            ifcfg,
            keys: "",
            route: "",
            route6: "",
            rule: "",
            rule6: "",
            aliases: Vec::new(),
            global: "",
        }
    }

    #[test]
    fn a_static_profile_keeps_addresses_routes_and_rules() {
        // As anaconda wrote it on a CentOS 7 machine, with a second address, routes and a rule added.
        let converted = to_keyfile(&Profile {
            route: "ADDRESS0=10.10.0.0\nNETMASK0=255.255.0.0\nGATEWAY0=192.168.1.254\n# x\n172.16.0.0/12 via 192.168.1.253 dev eth0 metric 50\n",
            rule: "from 192.168.1.10 table 100\n",
            ..profile(
                "TYPE=Ethernet\nPROXY_METHOD=none\nBOOTPROTO=none\nDEFROUTE=yes\nIPV4_FAILURE_FATAL=no\nIPV6INIT=no\nNAME=\"System eth0\"\n\
                 UUID=5fb06bd0-0bb0-7ffb-45f1-d6edd65f3e03\nDEVICE=eth0\nONBOOT=yes\nIPADDR=192.168.1.10\nPREFIX=24\nIPADDR1=192.168.1.11\n\
                 NETMASK1=255.255.255.128\nGATEWAY=192.168.1.1\nDNS1=192.168.1.1\nDNS2=8.8.8.8\nDOMAIN='example.com example.org' # both\n",
            )
        });
        assert_eq!(
            converted.keyfile,
            "\
[connection]
id=System eth0
uuid=5fb06bd0-0bb0-7ffb-45f1-d6edd65f3e03
type=ethernet
interface-name=eth0

[ipv4]
method=manual
address1=192.168.1.10/24
address2=192.168.1.11/25
gateway=192.168.1.1
dns=192.168.1.1;8.8.8.8;
dns-search=example.com;example.org;
route1=10.10.0.0/16,192.168.1.254
route2=172.16.0.0/12,192.168.1.253,50
routing-rule1=priority 30000 from 192.168.1.10 table 100

[ipv6]
method=ignore
"
        );
        assert_eq!(converted.lost, Vec::<String>::new());
    }

    #[test]
    fn bonds_vlans_and_bridges_keep_who_belongs_to_whom() {
        for (ifcfg, lines) in [
            (
                "DEVICE=bond0\nTYPE=Bond\nBONDING_OPTS=\"mode=active-backup miimon=100\"\nBOOTPROTO=dhcp\nIPV6INIT=yes\n",
                "[connection]\nid=eth0\ntype=bond\ninterface-name=bond0\n\n[bond]\nmode=active-backup\nmiimon=100\n\n\
                 [ipv4]\nmethod=auto\n\n[ipv6]\nmethod=auto\n",
            ),
            (
                "HWADDR=52:54:00:12:34:56\nMASTER=bond0\nSLAVE=yes\nONBOOT=no\n",
                "[connection]\nid=eth0\ntype=ethernet\nautoconnect=false\nmaster=bond0\nslave-type=bond\n\n\
                 [ethernet]\nmac-address=52:54:00:12:34:56\n\n[ipv4]\nmethod=disabled\n\n[ipv6]\nmethod=ignore\n",
            ),
            (
                "DEVICE=eth0.5\nVLAN=yes\nIPV6INIT=yes\nIPV6_AUTOCONF=no\nIPV6ADDR=2001:db8::2\nIPV6_DEFAULTGW=fe80::1%eth0\n",
                "[connection]\nid=eth0\ntype=vlan\ninterface-name=eth0.5\n\n[vlan]\nparent=eth0\nid=5\n\n[ipv4]\nmethod=disabled\n\n\
                 [ipv6]\nmethod=manual\naddress1=2001:db8::2/64\ngateway=fe80::1\n",
            ),
        ] {
            let converted = converted(ifcfg);
            assert_eq!((converted.keyfile.as_str(), converted.lost), (lines, vec![]), "{ifcfg}");
        }
    }

    #[test]
    fn a_guarded_port_keeps_its_secrets_and_certificates() {
        let converted = to_keyfile(&Profile {
            keys: "IEEE_8021X_PASSWORD='my secret'\nIEEE_8021X_PRIVATE_KEY_PASSWORD=other\n",
            ..profile(
                "DEVICE=eth0\nBOOTPROTO=dhcp\nKEY_MGMT=IEEE8021X\nIEEE_8021X_EAP_METHODS=\"TLS PEAP\"\nIEEE_8021X_IDENTITY=host\n\
                 IEEE_8021X_CA_CERT=ca.pem\nIEEE_8021X_CLIENT_CERT=/etc/pki/client.pem\nIEEE_8021X_PRIVATE_KEY=/etc/pki/key.pem\n",
            )
        });
        assert!(
            converted.keyfile.contains(
                "[802-1x]\neap=tls;peap;\nidentity=host\nca-cert=/etc/sysconfig/network-scripts/ca.pem\n\
                 client-cert=/etc/pki/client.pem\nprivate-key=/etc/pki/key.pem\nprivate-key-password=other\n\
                 password=my secret\n"
            ),
            "{}",
            converted.keyfile
        );
        assert_eq!(converted.lost, Vec::<String>::new());
    }

    #[test]
    fn what_has_no_counterpart_is_named() {
        assert_eq!(
            converted("TYPE=Wireless\nESSID=x\nIPADDR=10.0.0.1\n").lost,
            [
                "TYPE=wireless is not converted; write a keyfile for it",
                "IPADDR=10.0.0.1 has neither PREFIX nor NETMASK; taken as /24",
                "ESSID is not carried over into a keyfile",
            ]
        );
    }

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
        let converted =
            converted("BOOTPROTO=dhcp\nGATEWAY=192.0.2.1\nIPV6INIT=yes\nIPV6_DEFAULTGW=fe80::1\n");
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

    #[test]
    fn a_team_port_is_of_its_own_type() {
        let port = converted("DEVICE=eth1\nDEVICETYPE=TeamPort\nTEAM_MASTER=team0\n");
        assert!(port.keyfile.contains("type=ethernet\n"), "{}", port.keyfile);
        assert!(
            port.keyfile.contains("master=team0\nslave-type=team\n"),
            "{}",
            port.keyfile
        );
        assert_eq!(port.lost, Vec::<String>::new());
        let team = converted("DEVICE=team0\nDEVICETYPE=Team\nTYPE=Ethernet\n");
        assert!(team.keyfile.contains("type=team\n"), "{}", team.keyfile);
    }

    #[test]
    fn secrets_with_blanks_and_backslashes_are_escaped() {
        let converted = to_keyfile(&Profile {
            keys: r"IEEE_8021X_PASSWORD='  pa\ss'",
            ..profile("KEY_MGMT=IEEE8021X\nIEEE_8021X_EAP_METHODS=PEAP\nIEEE_8021X_IDENTITY='DOM\\host'\n")
        });
        for line in [r"identity=DOM\\host", r"password=\s\spa\\ss"] {
            assert!(
                converted.keyfile.lines().any(|l| l == line),
                "{}",
                converted.keyfile
            );
        }
    }
}
