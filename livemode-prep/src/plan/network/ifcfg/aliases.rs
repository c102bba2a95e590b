//! More addresses of an interface in files of their own, as initscripts has them: `ifcfg-lan0:1`, `ifcfg-lan0-range0`.
//! Pure.
use std::net::Ipv4Addr;

use super::routes::prefix_of;
use super::variables::Variables;

/// As many as a range of one network can have.
const MOST: u32 = 256;

/// What a name of a file says: the interface that it adds addresses to.
pub(crate) fn parent_of(name: &str) -> Option<&str> {
    let is_range = |end: &str| end.bytes().all(|c| c.is_ascii_alphanumeric());
    match name.rsplit_once("-range") {
        Some((parent, end)) if is_range(end) && !parent.is_empty() => {
            Some(parent.split_once(':').map_or(parent, |(parent, _)| parent))
        }
        _ => name
            .split_once(':')
            .map(|(parent, _)| parent)
            .filter(|parent| !parent.is_empty()),
    }
}

/// A range is read by initscripts only.
pub(crate) fn is_range(name: &str) -> bool {
    name.contains("-range") && parent_of(name).is_some()
}

/// The addresses of such a file, `ADDRESS/PREFIX`; `prefix` is that of the parent.
pub(crate) fn addresses(text: &str, prefix: Option<&str>, lost: &mut Vec<String>) -> Vec<String> {
    let v = Variables::parse(text);
    if !v.is("ONPARENT", true) {
        lost.push("ONPARENT=no: its addresses are not added".to_owned());
        return Vec::new();
    }
    let netmask = v.get("NETMASK").and_then(prefix_of).map(|bits| bits.to_string());
    let own = v.get("PREFIX").map(str::to_owned).or(netmask);
    let prefix = own.or(prefix.map(str::to_owned)).unwrap_or_else(|| {
        lost.push("neither PREFIX nor NETMASK; taken as /24".to_owned());
        "24".to_owned()
    });
    let mut found: Vec<String> = v
        .get("IPADDR")
        .into_iter()
        .map(|address| format!("{address}/{prefix}"))
        .collect();
    match (v.get("IPADDR_START"), v.get("IPADDR_END")) {
        (Some(start), Some(end)) => match range(start, end) {
            Some(range) => found.extend(range.map(|address| format!("{address}/{prefix}"))),
            None => lost.push(format!("no range of addresses: {start} to {end}")),
        },
        (None, None) => {}
        _ => lost.push("IPADDR_START and IPADDR_END belong together".to_owned()),
    }
    found
}

fn range(start: &str, end: &str) -> Option<impl Iterator<Item = Ipv4Addr>> {
    let number = |address: &str| address.parse::<Ipv4Addr>().ok().map(u32::from);
    let (start, end) = (number(start)?, number(end)?);
    (start <= end && end - start < MOST).then(|| (start..=end).map(Ipv4Addr::from))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_says_whose_address_it_is() {
        for (name, parent, range) in [
            ("lan0:1", Some("lan0"), false),
            ("lan0-range0", Some("lan0"), true),
            ("lan0:2-range", Some("lan0"), true),
            ("lan0", None, false),
            ("my-range-net", None, false),
            (":1", None, false),
        ] {
            assert_eq!((parent_of(name), is_range(name)), (parent, range), "{name}");
        }
    }

    #[test]
    fn addresses_have_the_parents_prefix_unless_they_have_one() {
        for (text, found, lost) in [
            (
                "IPADDR=192.0.2.11\nNETMASK=255.255.255.128\n",
                vec!["192.0.2.11/25"],
                0,
            ),
            ("IPADDR=192.0.2.11\n", vec!["192.0.2.11/26"], 0),
            (
                "IPADDR_START=192.0.2.254\nIPADDR_END=192.0.3.1\nPREFIX=23\n",
                vec!["192.0.2.254/23", "192.0.2.255/23", "192.0.3.0/23", "192.0.3.1/23"],
                0,
            ),
            ("IPADDR=192.0.2.11\nONPARENT=no\n", vec![], 1),
            ("IPADDR_START=192.0.2.9\nIPADDR_END=192.0.2.1\n", vec![], 1),
            ("IPADDR_START=10.0.0.0\nIPADDR_END=10.0.1.0\n", vec![], 1),
            ("IPADDR_START=192.0.2.9\n", vec![], 1),
        ] {
            let mut said = Vec::new();
            assert_eq!(addresses(text, Some("26"), &mut said), found, "{text}");
            assert_eq!(said.len(), lost, "{said:?}");
        }
        let mut said = Vec::new();
        assert_eq!(
            addresses("IPADDR=192.0.2.11\n", None, &mut said),
            ["192.0.2.11/24"]
        );
        assert_eq!(said, ["neither PREFIX nor NETMASK; taken as /24"]);
    }
}
