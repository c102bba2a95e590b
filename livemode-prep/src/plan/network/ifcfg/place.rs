//! Where in its files a sentence about a profile belongs. Pure.
use crate::facts::files::{Files, SCRIPTS};

/// The file and line that a sentence about a profile speaks of: it begins with a key, or with the route.
pub(crate) fn place(files: &Files, name: &str, sentence: &str) -> String {
    let numbered = |prefix: &str, is_it: &dyn Fn(&str) -> bool| {
        let path = format!("{SCRIPTS}/{prefix}-{name}");
        let lines = files.text(&path)?.lines().map(str::trim).enumerate();
        let (number, _) = lines.filter(|(_, line)| is_it(line)).last()?;
        Some(format!("{path}, line {}", number + 1))
    };
    let found = match sentence
        .strip_prefix("the route '")
        .and_then(|rest| rest.split_once('\''))
    {
        Some((route, _)) => ["route", "route6"]
            .iter()
            .find_map(|prefix| numbered(prefix, &|line| line == route)),
        None => {
            let end = sentence.find(|c: char| !(c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_'));
            let key = &sentence[..end.unwrap_or(sentence.len())];
            let is_it = |line: &str| line.split_once('=').is_some_and(|(known, _)| known.trim() == key);
            (!key.is_empty()).then(|| numbered("ifcfg", &is_it)).flatten()
        }
    };
    found.unwrap_or_else(|| format!("{SCRIPTS}/ifcfg-{name}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sentence_is_placed_by_its_key_or_route() {
        let files = Files::of(&[
            (
                "/etc/sysconfig/network-scripts/ifcfg-a",
                "# x\nDEVICE=a\n NM_CONTROLLED = no\nESSID=x\nESSID=y\n",
            ),
            (
                "/etc/sysconfig/network-scripts/route6-a",
                "\n2001:db8::/64 via fe80::1 dev b\n",
            ),
        ]);
        for (sentence, place_of_it) in [
            ("ESSID is not carried over", "ifcfg-a, line 5"),
            ("NM_CONTROLLED=no: in the live system", "ifcfg-a, line 3"),
            ("GONE is not carried over", "ifcfg-a"),
            ("neither PREFIX nor NETMASK", "ifcfg-a"),
            (
                "the route '2001:db8::/64 via fe80::1 dev b': dev",
                "route6-a, line 2",
            ),
            ("the route 'x': dev", "ifcfg-a"),
        ] {
            assert_eq!(
                place(&files, "a", sentence),
                format!("{SCRIPTS}/{place_of_it}"),
                "{sentence}"
            );
        }
    }
}
