//! dracut's network arguments, as dracut.cmdline(7) of 057 to 106 lists them under "Network".
use std::net::IpAddr;

/// How an interface gets its addresses, in `ip=`.
const METHODS: [&str; 11] = [
    "none",
    "off",
    "dhcp",
    "on",
    "any",
    "dhcp6",
    "auto6",
    "either6",
    "link6",
    "ibft",
    "link-local",
];
/// One more method, for `ip=METHOD` without any other field.
const SINGLE: &str = "single-dhcp";
/// The place of the method among the fields, from 0, in `ip=CLIENT:PEER:GATEWAY:NETMASK:HOSTNAME:INTERFACE:METHOD…`.
const METHOD_FIELD: usize = 6;

/// Arguments with a value of their own form.
const WITH_VALUE: [&str; 20] = [
    "ifname",
    "rd.route",
    "bootdev",
    "BOOTIF",
    "rd.bootif",
    "rd.peerdns",
    "rd.neednet",
    "biosdevname",
    "vlan",
    "bond",
    "team",
    "bridge",
    "rd.ethtool",
    "rd.znet",
    "rd.znet_ifname",
    "rd.iscsi.ibft",
    "net.ifnames",
    "net.naming-scheme",
    "proxy",
    "rd.noverifyssl",
];
/// Those that may stand alone.
const FLAGS: [&str; 6] = [
    "bond",
    "bridge",
    "rd.neednet",
    "rd.bootif",
    "rd.noverifyssl",
    "rd.iscsi.ibft",
];
const PREFIX: &str = "rd.net.";

/// Checks one word.
///
/// # Errors
/// When it is no network argument of dracut, or not in the form that dracut reads.
pub(super) fn check(word: &str) -> Result<(), String> {
    let (key, value) = match word.split_once('=') {
        Some((key, value)) => (key, Some(value)),
        None => (word, None),
    };
    let shown = word.escape_debug();
    let sound = match (key, value) {
        ("ip", Some(value)) => is_ip(value),
        ("nameserver", Some(value)) => is_address(value),
        (key, Some(value)) if WITH_VALUE.contains(&key) || key.starts_with(PREFIX) => !value.is_empty(),
        (key, None) if FLAGS.contains(&key) => true,
        (key, _)
            if WITH_VALUE.contains(&key) || matches!(key, "ip" | "nameserver") || key.starts_with(PREFIX) =>
        {
            false
        }
        _ => {
            return Err(format!(
                "'{shown}' is no network argument of dracut; see dracut.cmdline(7), Network"
            ))
        }
    };
    if sound {
        return Ok(());
    }
    Err(format!(
        "'{shown}' is not complete or not in the form of dracut.cmdline(7)"
    ))
}

fn is_method(word: &str) -> bool {
    // Several may be joined (dracut 057): dhcp,dhcp6.
    word.split(',').all(|method| METHODS.contains(&method))
}

/// One of three forms: a method; an interface and a method, then MTU and MAC; addresses first, as the kernel's `ip=` has
/// them.
fn is_ip(value: &str) -> bool {
    let Some(fields) = fields(value) else {
        return false;
    };
    let interface_first = !fields[0].is_empty() && !is_address(fields[0]);
    match fields.get(1) {
        None => is_method(fields[0]) || fields[0] == SINGLE,
        Some(method) if interface_first => is_method(method),
        Some(_) => {
            let mut addresses = fields.iter().take(3);
            let method = fields.get(METHOD_FIELD);
            addresses.all(|a| a.is_empty() || is_address(a))
                && method.is_some_and(|m| m.is_empty() || is_method(m))
        }
    }
}

/// The fields between colons. A colon in brackets belongs to an IPv6 address. `None` when brackets do not match.
fn fields(value: &str) -> Option<Vec<&str>> {
    let (mut fields, mut start, mut inside) = (Vec::new(), 0, false);
    for (i, c) in value.char_indices() {
        match c {
            '[' if !inside => inside = true,
            ']' if inside => inside = false,
            '[' | ']' => return None,
            ':' if !inside => {
                fields.push(&value[start..i]);
                start = i + 1;
            }
            _ => {}
        }
    }
    fields.push(&value[start..]);
    (!inside && !value.is_empty()).then_some(fields)
}

fn is_address(text: &str) -> bool {
    let bare = text
        .strip_prefix('[')
        .and_then(|t| t.strip_suffix(']'))
        .unwrap_or(text);
    bare.parse::<IpAddr>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dracuts_own_examples_are_taken() {
        for word in [
            "ip=dhcp",
            "ip=single-dhcp",
            "ip=ens3:dhcp",
            "ip=ens3:dhcp:1500:52:54:00:12:34:56",
            "ip=192.168.0.10::192.168.0.1:255.255.255.0:host:eth0:none",
            "ip=192.168.0.10::192.168.0.1:24::eth0:off:9000",
            "ip=[2001:db8::2]::[2001:db8::1]:64:host:eth0:none",
            "ip=10.0.2.15::10.0.2.2:255.255.255.0::eth0:none:8.8.8.8:8.8.4.4",
            "ip=::::host:eth0:dhcp,dhcp6",
            "nameserver=8.8.8.8",
            "nameserver=[2001:db8::53]",
            "rd.route=192.168.200.0/24:192.168.100.222:ens10",
            "ifname=eth0:52:54:00:12:34:56",
            "bond=bond0:em1,em2:mode=active-backup",
            "bond",
            "vlan=vlan5:eth0",
            "bridge=br0:eth0",
            "team=team0:eth0,eth1",
            "rd.neednet=1",
            "rd.net.timeout.dhcp=30",
            "BOOTIF=01-52-54-00-12-34-56",
            "net.ifnames=0",
        ] {
            assert_eq!(check(word), Ok(()), "{word}");
        }
    }

    #[test]
    fn what_is_none_is_refused() {
        for word in [
            "init=/bin/sh",
            "dhcp",
            "ip",
            "root=live:x",
            "rd.shell",
            "ipx=dhcp",
            "systemd.unit=x",
        ] {
            assert!(check(word).is_err(), "{word}");
        }
        for word in [
            "ip=",
            "ip=maybe",
            "ip=eth0",
            "ip=192.168.0.10",
            "ip=192.168.0.10:dhcp",
            "ip=192.168.0.300::1.1.1.1:24::eth0:none",
            "ip=[2001:db8::2::1:24::eth0:none",
            "ip=10.0.0.1::10.0.0.2:24::eth0:perhaps",
            "nameserver=",
            "nameserver=host",
            "bond=",
            "vlan",
        ] {
            assert!(check(word).unwrap_err().contains("not complete"), "{word}");
        }
    }

    #[test]
    fn the_forms_of_ip_are_told_apart_by_their_first_field() {
        for value in [
            "none",
            "off",
            "on",
            "any",
            "dhcp6",
            "auto6",
            "either6",
            "link6",
            "ibft",
            "link-local",
            "dhcp,auto6",
            "eth0:auto6",
            "10.0.0.1:10.0.0.9:10.0.0.2:24:host:eth0:",
            ":10.0.0.9:10.0.0.2::::dhcp",
            "2001:db8::1",
        ]
        .iter()
        .filter(|value| !value.starts_with("2001"))
        {
            assert_eq!(check(&format!("ip={value}")), Ok(()), "{value}");
        }
        for value in [
            "dhcp,maybe",
            "eth0:maybe",
            "eth0:single-dhcp",
            "eth0:",
            ":dhcp",
            "2001:db8::1",
            "10.0.0.1:peer:10.0.0.2:24:host:eth0:none",
            "10.0.0.1::gateway:24:host:eth0:none",
            "10.0.0.1::10.0.0.2:24:host:eth0",
            "[2001:db8::2]]::[2001:db8::1]:64:host:eth0:none",
            "[[2001:db8::2]::[2001:db8::1]:64:host:eth0:none",
            "[2001:db8::2]::[2001:db8::1]:64:host:eth0:none:[",
        ] {
            assert!(check(&format!("ip={value}")).is_err(), "{value}");
        }
    }

    #[test]
    fn fields_end_at_colons_outside_of_brackets() {
        assert_eq!(fields("a:[b:c]:d"), Some(vec!["a", "[b:c]", "d"]));
        assert_eq!(fields("::"), Some(vec!["", "", ""]));
        for broken in ["", "a:[b", "a]:b", "[[a]]", "[[a]", "[a]]"] {
            assert_eq!(fields(broken), None, "{broken}");
        }
    }

    #[test]
    fn a_value_is_there_where_one_must_be() {
        for word in [
            "rd.net.timeout.dhcp",
            "rd.net.x=",
            "ip",
            "nameserver",
            "vlan=",
            "rd.peerdns",
            "BOOTIF",
        ] {
            assert!(check(word).unwrap_err().contains("not complete"), "{word}");
        }
        for word in FLAGS {
            assert_eq!(check(word), Ok(()), "{word}");
        }
        for word in ["rd.network=x", "bonding", "nameservers=8.8.8.8", "", "=x"] {
            assert!(check(word).unwrap_err().contains("no network argument"), "{word}");
        }
        assert_eq!(check("nameserver=2001:db8::53"), Ok(()));
        assert!(check("nameserver=[8.8.8.8").is_err());
    }
}
