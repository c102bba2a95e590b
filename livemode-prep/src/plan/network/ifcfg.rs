//! Turns an ifcfg profile into a NetworkManager keyfile, for targets whose NetworkManager no longer reads ifcfg files
//! (el10). By nm-settings-ifcfg-rh(5) and nm-settings-keyfile(5). What has no counterpart is named, never dropped
//! silently. Pure.
use addresses::{ipv4, ipv6};
use keyfile::Keyfile;
use variables::Variables;

mod addresses;
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
    // DEVICETYPE is for teams only, and stands over TYPE there.
    let of_type = v.get("TYPE").map(str::to_ascii_lowercase);
    let of_device = v.get("DEVICETYPE").map(str::to_ascii_lowercase);
    let named = of_device.filter(|kind| kind == "team").or(of_type);
    let kind = match named.as_deref() {
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
    // NetworkManager takes the UUID before the name, and of several controllers the first in this order.
    let mut taken = None;
    for (keys, port_type) in [
        (["BRIDGE_UUID", "BRIDGE"], "bridge"),
        (["MASTER_UUID", "MASTER"], "bond"),
        (["TEAM_MASTER_UUID", "TEAM_MASTER"], "team"),
    ] {
        match (v.first(&keys), taken) {
            (Some(controller), None) => {
                k.set("connection", "master", controller);
                k.set("connection", "slave-type", port_type);
                taken = Some(controller);
            }
            (Some(other), Some(taken)) => lost.push(format!(
                "a port of {taken} cannot be one of the {port_type} {other} too; that is left out"
            )),
            (None, _) => {}
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

#[cfg(test)]
mod tests {
    use super::*;

    fn converted(ifcfg: &str) -> Converted {
        to_keyfile(&profile(ifcfg))
    }

    pub(super) fn profile(ifcfg: &str) -> Profile<'_> {
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
    fn a_team_is_one_by_any_of_its_variables() {
        for (ifcfg, is_team) in [
            ("DEVICETYPE=Team\n", true),
            ("TYPE=team\n", true),
            ("TEAM_CONFIG='{}'\n", true),
            ("TYPE=Bond\nDEVICETYPE=TeamPort\n", false),
            ("", false),
        ] {
            assert_eq!(profile(ifcfg).is_team(), is_team, "{ifcfg}");
        }
    }

    #[test]
    fn a_bridge_and_a_team_keep_their_settings() {
        for (ifcfg, section) in [
            (
                "TYPE=Bridge\nSTP=yes\nDELAY=5\n",
                "[bridge]\nstp=true\nforward-delay=5\n",
            ),
            ("TYPE=Bridge\n", "[bridge]\nstp=false\n"),
            (
                "TYPE=Team\nTEAM_CONFIG='{\"a\": 1}'\n",
                "[team]\nconfig={\"a\": 1}\n",
            ),
        ] {
            let converted = converted(ifcfg);
            assert!(
                converted.keyfile.contains(&format!("\n{section}\n")),
                "{}",
                converted.keyfile
            );
            assert_eq!(converted.lost, Vec::<String>::new(), "{ifcfg}");
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
                "IPADDR=10.0.0.1 has neither PREFIX nor NETMASK; taken as /8",
                "ESSID is not carried over into a keyfile",
            ]
        );
    }

    #[test]
    fn secrets_and_names_with_blanks_and_backslashes_are_escaped() {
        let converted = to_keyfile(&Profile {
            keys: "IEEE_8021X_PASSWORD='  pa\\ss'\n",
            ..profile("NAME=' my office'\nIEEE_8021X_IDENTITY='DOM\\host'\nIEEE_8021X=yes\nIEEE_8021X_EAP_METHODS=PEAP\n")
        });
        for line in [
            "id=\\smy office",
            "identity=DOM\\\\host",
            "password=\\s\\spa\\\\ss",
            "eap=peap;",
        ] {
            let text = &converted.keyfile;
            assert!(text.lines().any(|known| known == line), "{line}\n{text}");
        }
    }

    #[test]
    fn a_port_has_one_controller_by_its_uuid_first() {
        for (ifcfg, lines, lost) in [
            (
                "MASTER=bond0\nMASTER_UUID=u-1\n",
                "master=u-1\nslave-type=bond\n",
                vec![],
            ),
            ("TEAM_MASTER=team0\n", "master=team0\nslave-type=team\n", vec![]),
            (
                "MASTER=bond0\nBRIDGE=br0\n",
                "master=br0\nslave-type=bridge\n",
                vec!["a port of br0 cannot be one of the bond bond0 too; that is left out"],
            ),
        ] {
            let converted = converted(ifcfg);
            assert!(converted.keyfile.contains(lines), "{}", converted.keyfile);
            assert_eq!(converted.keyfile.matches("master=").count(), 1, "{ifcfg}");
            assert_eq!(converted.lost, lost, "{ifcfg}");
        }
    }

    #[test]
    fn the_kind_is_that_of_the_type_except_for_teams() {
        for (ifcfg, kind) in [
            ("", "ethernet"),
            ("TYPE=Ethernet\nDEVICETYPE=Team\n", "team"),
            ("TYPE=Vlan\nDEVICETYPE=TeamPort\n", "vlan"),
            ("DEVICETYPE=TeamPort\n", "ethernet"),
            ("TEAM_CONFIG='{}'\n", "team"),
            ("TYPE=Team\n", "team"),
            ("TYPE=Bridge\n", "bridge"),
            ("TYPE=bond\n", "bond"),
            ("BONDING_OPTS=mode=1\nTYPE=Ethernet\n", "bond"),
            ("TYPE=InfiniBand\n", "infiniband"),
        ] {
            let converted = converted(ifcfg);
            let line = format!("type={kind}");
            assert!(converted.keyfile.lines().any(|known| known == line), "{ifcfg}");
            assert_eq!(converted.lost, Vec::<String>::new(), "{ifcfg}");
        }
    }

    #[test]
    fn an_address_without_a_prefix_has_that_of_its_class() {
        for (address, prefix) in [
            ("10.0.0.1", 8),
            ("127.0.0.1", 8),
            ("128.0.0.1", 16),
            ("191.1.0.1", 16),
            ("192.168.0.1", 24),
        ] {
            assert_eq!(addresses::prefix_of_class(address), prefix, "{address}");
        }
    }

    #[test]
    fn each_setting_of_ipv4_is_carried_over() {
        let converted = converted(
            "BOOTPROTO=dhcp\nDEFROUTE=no\nPEERDNS=no\nPEERROUTES=no\nIPV4_FAILURE_FATAL=yes\nIPV4_ROUTE_METRIC=7\n\
             DHCP_HOSTNAME=me\nDHCP_CLIENT_ID=id\nDNS1=2001:db8::1\nDNS2=10.0.0.3\n",
        );
        assert!(
            converted.keyfile.ends_with(
                "[ipv4]\nmethod=auto\ndns=10.0.0.3;\nnever-default=true\nignore-auto-dns=true\n\
                 ignore-auto-routes=true\nmay-fail=false\nroute-metric=7\ndhcp-hostname=me\ndhcp-client-id=id\n\n\
                 [ipv6]\ndns=2001:db8::1;\nmethod=ignore\n"
            ),
            "{}",
            converted.keyfile
        );
        assert_eq!(converted.lost, Vec::<String>::new());
    }

    #[test]
    fn each_setting_of_ipv6_is_carried_over() {
        let converted = to_keyfile(&Profile {
            route6: "2001:db8:1::/48 via fe80::1\n",
            rule6: "pref 5 from 2001:db8::/32 table 9\n",
            ..profile(
                "BOOTPROTO=none\nIPV6INIT=yes\nIPV6ADDR=2001:db8::2/56\nIPV6ADDR_SECONDARIES='2001:db8::3 2001:db8::4/48'\n\
                 IPV6_DEFROUTE=no\nIPV6_PEERDNS=no\nIPV6_PEERROUTES=no\nIPV6_FAILURE_FATAL=yes\nIPV6_ROUTE_METRIC=8\n",
            )
        });
        assert!(
            converted.keyfile.ends_with(
                "[ipv6]\nmethod=auto\naddress1=2001:db8::2/56\naddress2=2001:db8::3/64\naddress3=2001:db8::4/48\n\
                 never-default=true\nignore-auto-dns=true\nignore-auto-routes=true\nmay-fail=false\nroute-metric=8\n\
                 route1=2001:db8:1::/48,fe80::1\nrouting-rule1=pref 5 from 2001:db8::/32 table 9\n"
            ),
            "{}",
            converted.keyfile
        );
        assert_eq!(converted.lost, Vec::<String>::new());
    }

    #[test]
    fn methods_are_those_that_the_variables_mean() {
        for (ifcfg, ipv4, ipv6) in [
            ("BOOTPROTO=bootp\nIPV6_DISABLED=yes\n", "auto", "disabled"),
            (
                "BOOTPROTO=shared\nIPV6INIT=yes\nIPV6_AUTOCONF=no\nDHCPV6C=yes\n",
                "shared",
                "dhcp",
            ),
            (
                "BOOTPROTO=autoip\nIPV6INIT=yes\nIPV6_AUTOCONF=no\n",
                "link-local",
                "link-local",
            ),
            ("IPADDR=10.0.0.1\nPREFIX=8\nIPV6INIT=no\n", "manual", "ignore"),
        ] {
            let text = converted(ifcfg).keyfile;
            let methods: Vec<&str> = text
                .lines()
                .filter_map(|line| line.strip_prefix("method="))
                .collect();
            assert_eq!(methods, [ipv4, ipv6], "{ifcfg}");
        }
    }
}
