//! Turns an ifcfg profile into a NetworkManager keyfile, for targets whose NetworkManager no longer reads ifcfg files
//! (el10). By nm-settings-ifcfg-rh(5) and nm-settings-keyfile(5). What has no counterpart is named, never dropped
//! silently. Pure.
use addresses::{ipv4, ipv6};
use keyfile::Keyfile;
use variables::Variables;

mod addresses;
pub(super) mod aliases;
mod keyfile;
pub(super) mod place;
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
mod tests;
