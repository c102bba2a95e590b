//! The route- and rule- files beside an ifcfg file. Pure.
use super::keyfile::Keyfile;
use super::variables::{numbered, Variables};

/// A keyfile's routing rule must have a priority. Those of a rule file that have none get this one and those after it.
const FIRST_PRIORITY: usize = 30_000;

/// A route file has ADDRESS0=, NETMASK0=, GATEWAY0= and METRIC0=, or arguments of `ip route add` on each line.
pub(super) fn routes(
    section: &'static str,
    text: &str,
    default: &str,
    k: &mut Keyfile,
    lost: &mut Vec<String>,
) {
    let mut number = 0;
    let mut add = |to: &str, gateway: Option<&str>, metric: Option<&str>, k: &mut Keyfile| {
        number += 1;
        let mut route = to.to_owned();
        for part in [gateway.or(metric.map(|_| "")), metric].into_iter().flatten() {
            route = format!("{route},{part}");
        }
        k.set(section, &format!("route{number}"), route);
    };
    let v = Variables::parse(text);
    for (suffix, address) in numbered(&v, "ADDRESS") {
        let prefix = v
            .get(&format!("NETMASK{suffix}"))
            .and_then(prefix_of)
            .unwrap_or(32);
        let (gateway, metric) = (
            v.get(&format!("GATEWAY{suffix}")),
            v.get(&format!("METRIC{suffix}")),
        );
        add(&format!("{address}/{prefix}"), gateway, metric, k);
    }
    let lines = text
        .lines()
        .map(str::trim)
        .filter(|l| !l.is_empty() && !l.starts_with('#'));
    for line in lines.filter(|line| !line.contains('=')) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let after = |word: &str| {
            words
                .iter()
                .position(|w| *w == word)
                .and_then(|at| words.get(at + 1))
                .copied()
        };
        let to = if words[0] == "default" { default } else { words[0] };
        let known = ["via", "dev", "metric", "proto", "scope", "static", "link"];
        let unknown = words.iter().skip(1).step_by(2).find(|word| !known.contains(word));
        if let Some(word) = unknown {
            lost.push(format!("the route '{line}': {word} is not carried over"));
        }
        add(to, after("via"), after("metric"), k);
    }
}

/// Arguments of `ip rule add` on each line; a keyfile takes them as they are, with a priority.
pub(super) fn rules(section: &'static str, text: &str, k: &mut Keyfile) {
    let lines = text
        .lines()
        .map(str::trim)
        .filter(|l| !l.is_empty() && !l.starts_with('#'));
    for (number, line) in lines.enumerate() {
        let words: Vec<&str> = line.split_whitespace().collect();
        let has_priority = words
            .iter()
            .any(|w| ["priority", "pref", "order", "prio"].contains(w));
        let rule = if has_priority {
            line.to_owned()
        } else {
            format!("priority {} {line}", FIRST_PRIORITY + number)
        };
        k.set(section, &format!("routing-rule{}", number + 1), rule);
    }
}

/// The length of a netmask's prefix in bits; None where it has gaps or is no address.
pub(super) fn prefix_of(netmask: &str) -> Option<u32> {
    let mask = u32::from(netmask.parse::<std::net::Ipv4Addr>().ok()?);
    (mask.leading_ones() + mask.trailing_zeros() == 32 || mask == 0).then(|| mask.count_ones())
}

/// Whether an address lies in the network of `ADDRESS/PREFIX`.
pub(super) fn is_within(address: &str, network: &str) -> bool {
    let number = |address: &str| address.parse::<std::net::Ipv4Addr>().ok().map(u32::from);
    let Some((own, prefix)) = network.split_once('/') else {
        return false;
    };
    let (Some(address), Some(own), Ok(prefix)) = (number(address), number(own), prefix.parse::<u32>()) else {
        return false;
    };
    let mask = u32::MAX.checked_shl(32 - prefix.min(32)).unwrap_or(0);
    address & mask == own & mask
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(section: &'static str, text: &str, default: &str) -> (String, Vec<String>) {
        let (mut k, mut lost) = (Keyfile::default(), Vec::new());
        routes(section, text, default, &mut k, &mut lost);
        (k.text(), lost)
    }

    #[test]
    fn routes_in_both_forms_keep_gateway_and_metric() {
        let (text, lost) = lines(
            "ipv4",
            "ADDRESS0=10.0.0.0\nNETMASK0=255.0.0.0\nMETRIC0=5\nADDRESS1=10.1.1.1\n\n# x\ndefault via 10.0.0.1\n\
             10.2.0.0/16 dev eth0 metric 9\n10.3.0.0/16 via 10.0.0.2 mtu 1400\n",
            "0.0.0.0/0",
        );
        assert_eq!(
            text,
            "[ipv4]\nroute1=10.0.0.0/8,,5\nroute2=10.1.1.1/32\nroute3=0.0.0.0/0,10.0.0.1\nroute4=10.2.0.0/16,,9\n\
             route5=10.3.0.0/16,10.0.0.2\n"
        );
        assert_eq!(
            lost,
            ["the route '10.3.0.0/16 via 10.0.0.2 mtu 1400': mtu is not carried over"]
        );
    }

    #[test]
    fn rules_without_a_priority_get_one_each() {
        let mut k = Keyfile::default();
        let text = "from 10.0.0.1 table 1\n# x\n\nprio 7 from 10.0.0.2 table 2\nto 10.0.0.3 table 3\n";
        rules("ipv4", text, &mut k);
        assert_eq!(
            k.text(),
            "[ipv4]\nrouting-rule1=priority 30000 from 10.0.0.1 table 1\n\
             routing-rule2=prio 7 from 10.0.0.2 table 2\nrouting-rule3=priority 30002 to 10.0.0.3 table 3\n"
        );
    }

    #[test]
    fn a_netmask_with_gaps_has_no_prefix() {
        for (netmask, prefix) in [
            ("255.255.255.0", Some(24)),
            ("255.255.255.255", Some(32)),
            ("128.0.0.0", Some(1)),
            ("0.0.0.0", Some(0)),
            ("255.0.255.0", None),
            ("0.0.0.255", None),
            ("x", None),
        ] {
            assert_eq!(prefix_of(netmask), prefix, "{netmask}");
        }
    }

    #[test]
    fn an_address_lies_in_a_network_or_not() {
        for (address, network, is) in [
            ("192.0.2.1", "192.0.2.10/24", true),
            ("192.0.3.1", "192.0.2.10/24", false),
            ("192.0.3.1", "192.0.2.10/23", true),
            ("10.0.0.1", "10.0.0.1/32", true),
            ("10.0.0.2", "10.0.0.1/32", false),
            ("8.8.8.8", "10.0.0.1/0", true),
            ("x", "10.0.0.1/8", false),
            ("10.0.0.1", "10.0.0.1", false),
        ] {
            assert_eq!(is_within(address, network), is, "{address} {network}");
        }
    }
}
