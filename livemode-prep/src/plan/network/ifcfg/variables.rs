//! The variables of an ifcfg, keys or route file. Pure.
use std::cell::RefCell;
use std::collections::BTreeMap;

/// Keys that a keyfile does not need: they state a default, or only initscripts read them.
const WITHOUT_MEANING: [&str; 12] = [
    "NM_CONTROLLED",
    "USERCTL",
    "PROXY_METHOD",
    "BROWSER_ONLY",
    "IPV6_ADDR_GEN_MODE",
    "IPV6_PRIVACY",
    "NOZEROCONF",
    "BOOTPROTOv6",
    "BONDING_MASTER",
    "IPV6FORWARDING",
    "DEVICETYPE",
    "REORDER_HDR",
];
/// The variables of a file, and which of them were asked for.
pub(super) struct Variables {
    values: BTreeMap<String, String>,
    used: RefCell<Vec<String>>,
}

impl Variables {
    /// Shell assignments, one a line, as both NetworkManager and initscripts read them. Of a key that is repeated the
    /// last counts, as in NetworkManager's shvar.c.
    pub(super) fn parse(text: &str) -> Self {
        let lines = text.lines().map(|line| line.trim().trim_start_matches("export "));
        let pairs = lines
            .filter(|line| !line.starts_with('#'))
            .filter_map(|line| line.split_once('='));
        Self {
            values: pairs
                .map(|(key, value)| (key.trim().to_owned(), unquote(value.trim())))
                .collect(),
            used: Default::default(),
        }
    }

    pub(super) fn get(&self, key: &str) -> Option<&str> {
        self.used.borrow_mut().push(key.to_owned());
        self.values
            .get(key)
            .map(String::as_str)
            .filter(|value| !value.is_empty())
    }

    /// The value of the first of these keys that has one.
    pub(super) fn first_of(&self, keys: &[&str]) -> Option<&str> {
        // All of them are asked for, so that none counts as unused.
        let values: Vec<_> = keys.iter().filter_map(|key| self.get(key)).collect();
        values.first().copied()
    }

    pub(super) fn is(&self, key: &str, default: bool) -> bool {
        match self.get(key).map(str::to_ascii_lowercase).as_deref() {
            Some("yes" | "true" | "on" | "1" | "t" | "y") => true,
            Some("no" | "false" | "off" | "0" | "f" | "n") => false,
            _ => default,
        }
    }

    pub(super) fn unused(&self) -> impl Iterator<Item = &str> {
        let used = self.used.borrow().clone();
        let is_unused = move |key: &&str| !used.iter().any(|u| u == key) && !WITHOUT_MEANING.contains(key);
        self.values.keys().map(String::as_str).filter(is_unused)
    }
}

fn unquote(value: &str) -> String {
    let mut out = String::new();
    let mut quote = None;
    let mut chars = value.chars();
    while let Some(c) = chars.next() {
        match (quote, c) {
            (None, '"' | '\'') => quote = Some(c),
            (Some(q), c) if c == q => quote = None,
            (None | Some('"'), '\\') => out.extend(chars.next()),
            // A comment behind the value.
            (None, ' ' | '\t') => break,
            (_, c) => out.push(c),
        }
    }
    out
}

/// Addresses and their like come numbered: KEY, KEY0, KEY1, …
pub(super) fn numbered(v: &Variables, key: &str) -> Vec<(String, String)> {
    let suffixes = std::iter::once(String::new()).chain((0..32).map(|i| i.to_string()));
    suffixes
        .filter_map(|suffix| {
            v.get(&format!("{key}{suffix}"))
                .map(|value| (suffix.clone(), value.to_owned()))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_repeated_key_the_last_counts() {
        let v = Variables::parse("IPADDR=10.0.0.1\n IPADDR='10.0.0.2'\n");
        assert_eq!(v.get("IPADDR"), Some("10.0.0.2"));
    }

    #[test]
    fn of_several_keys_the_first_with_a_value_counts_and_all_are_used() {
        let v = Variables::parse("MASTER_UUID=\nMASTER=bond0\nBRIDGE_UUID=u\nBRIDGE=br0\n");
        assert_eq!(v.first_of(&["MASTER_UUID", "MASTER"]), Some("bond0"));
        assert_eq!(v.first_of(&["BRIDGE_UUID", "BRIDGE"]), Some("u"));
        assert_eq!(v.first_of(&["X"]), None);
        assert_eq!(v.unused().count(), 0);
    }
}
