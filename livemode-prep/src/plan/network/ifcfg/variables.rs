//! The variables of an ifcfg, keys or route file. Pure.
use std::cell::RefCell;
use std::collections::BTreeMap;

/// Keys without meaning for a keyfile: they repeat a default, or are for initscripts only.
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
    /// Shell assignments, one a line, as both NetworkManager and initscripts read them. Of several for one key the last
    /// counts, also where it is empty.
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

    /// The value of a key; an empty one is as good as none.
    pub(super) fn get(&self, key: &str) -> Option<&str> {
        self.used.borrow_mut().push(key.to_owned());
        self.values
            .get(key)
            .map(String::as_str)
            .filter(|value| !value.is_empty())
    }

    /// The value of the first of these keys that has one. All of them count as asked for.
    pub(super) fn first(&self, keys: &[&str]) -> Option<&str> {
        let values: Vec<Option<&str>> = keys.iter().map(|key| self.get(key)).collect();
        values.into_iter().flatten().next()
    }

    /// A yes or no (svParseBoolean of NetworkManager); the default where the value is neither.
    pub(super) fn is(&self, key: &str, default: bool) -> bool {
        match self.get(key).map(str::to_ascii_lowercase).as_deref() {
            Some("yes" | "true" | "on" | "1" | "t" | "y") => true,
            Some("no" | "false" | "off" | "0" | "f" | "n") => false,
            _ => default,
        }
    }

    /// The keys that nobody asked for and that mean something.
    pub(super) fn unused(&self) -> impl Iterator<Item = &str> {
        let used = self.used.borrow().clone();
        let is_unused = move |key: &&str| !used.iter().any(|u| u == key) && !WITHOUT_MEANING.contains(key);
        self.values.keys().map(String::as_str).filter(is_unused)
    }
}

/// What a shell makes of the value, without expansions, as NetworkManager's svUnescape() does.
fn unquote(value: &str) -> String {
    // Bytes, for `$'\303\251'` is one letter.
    let mut out = Vec::new();
    let mut quote = None;
    let mut chars = value.chars().peekable();
    while let Some(c) = chars.next() {
        match (quote, c) {
            (None, '$') if chars.next_if_eq(&'\'').is_some() => quote = Some('$'),
            (None, '"' | '\'') => quote = Some(c),
            (Some('$'), '\'') => quote = None,
            (Some('$'), '\\') => {
                let Some(c) = chars.next() else { break };
                match c {
                    'n' => push(&mut out, '\n'),
                    't' => push(&mut out, '\t'),
                    'r' => push(&mut out, '\r'),
                    '\\' | '\'' | '"' | '?' => push(&mut out, c),
                    '0'..='7' | 'x' => {
                        let (radix, most) = if c == 'x' { (16, 2) } else { (8, 2) };
                        let mut number = c.to_digit(8).unwrap_or(0);
                        for _ in 0..most {
                            let Some(digit) = chars.peek().and_then(|c| c.to_digit(radix)) else {
                                break;
                            };
                            number = number * radix + digit;
                            chars.next();
                        }
                        // As in a shell, what is over a byte is cut off.
                        out.push(number as u8);
                    }
                    c => {
                        push(&mut out, '\\');
                        push(&mut out, c);
                    }
                }
            }
            (Some(q), c) if c == q => quote = None,
            (None, '\\') => chars.next().into_iter().for_each(|c| push(&mut out, c)),
            // Within double quotes a backslash is itself, except before these.
            (Some('"'), '\\') => match chars.next_if(|c| "$`\"\\".contains(*c)) {
                Some(c) => push(&mut out, c),
                None => push(&mut out, '\\'),
            },
            // Behind the value stands a comment.
            (None, ' ' | '\t' | ';') => break,
            (_, c) => push(&mut out, c),
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

fn push(out: &mut Vec<u8>, c: char) {
    out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
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
    fn values_are_unquoted_as_a_shell_does() {
        for (written, value) in [
            ("plain # comment", "plain"),
            ("a;", "a"),
            ("a\\ b\\\\c", "a b\\c"),
            ("'  pa\\ss' # x", "  pa\\ss"),
            ("\"DOM\\host\"", "DOM\\host"),
            ("\"a\\\"b\\\\c\\$d\\`e\"", "a\"b\\c$d`e"),
            ("\"it's\"'\"'", "it's\""),
            ("$'a\\tb\\nc\\r\\'\\\\\\q'", "a\tb\nc\r'\\\\q"),
            ("$'\\303\\251\\x41\\1'x", "éA\u{1}x"),
            ("a$b", "a$b"),
            ("", ""),
        ] {
            assert_eq!(unquote(written), value, "{written}");
        }
    }

    #[test]
    fn of_two_lines_for_one_key_the_last_counts() {
        let v = Variables::parse("A=1\nA=2\nB=1\nB=\n# B=3\nexport C=x\n");
        assert_eq!((v.get("A"), v.get("B"), v.get("C")), (Some("2"), None, Some("x")));
    }

    #[test]
    fn of_several_keys_the_first_with_a_value_counts_and_none_is_left_over() {
        let v = Variables::parse("A=1\nB=2\nC=\nNM_CONTROLLED=yes\nD=4\n");
        assert_eq!(v.first(&["C", "B", "A"]), Some("2"));
        assert_eq!(v.first(&["X"]), None);
        assert_eq!(v.unused().collect::<Vec<_>>(), ["D"]);
    }

    #[test]
    fn a_yes_or_no_that_is_neither_is_the_default() {
        for (value, with_default) in [
            ("yes", [true, true]),
            ("On", [true, true]),
            ("t", [true, true]),
            ("no", [false, false]),
            ("FALSE", [false, false]),
            ("0", [false, false]),
            ("maybe", [false, true]),
            ("", [false, true]),
        ] {
            let v = Variables::parse(&format!("A={value}\n"));
            assert_eq!(
                [false, true].map(|default| v.is("A", default)),
                with_default,
                "{value}"
            );
        }
    }

    #[test]
    fn numbered_keys_start_without_a_number_and_may_have_gaps() {
        let v = Variables::parse("IPADDR=a\nIPADDR0=b\nIPADDR1=c\nIPADDR31=d\nIPADDR32=e\n");
        let found = numbered(&v, "IPADDR");
        let found: Vec<(&str, &str)> = found.iter().map(|(s, a)| (s.as_str(), a.as_str())).collect();
        assert_eq!(found, [("", "a"), ("0", "b"), ("1", "c"), ("31", "d")]);
    }
}
