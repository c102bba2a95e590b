//! What a scalar without quotes is, by the implicit resolvers of PyYAML 6.0 (yaml/resolver.py). Pure.
use super::value::Value;

/// A `<<` without quotes. As a key it merges; anywhere else it means nothing.
pub(super) const MERGE: &str = "a plain <<";

/// What a scalar without quotes is, by its letters.
pub(super) fn resolve(word: &str) -> Value {
    match word {
        "" | "~" | "null" | "Null" | "NULL" => return Value::Null,
        "<<" => return Value::Refused(MERGE.into()),
        "=" => return Value::Refused("a plain =".into()),
        _ => {}
    }
    if let Some(value) = boolean(word) {
        Value::Bool(value)
    } else if is_int(word) || is_float(word) {
        Value::Number(word.to_owned())
    } else if is_timestamp(word) {
        Value::Timestamp(word.to_owned())
    } else {
        Value::Text(word.to_owned())
    }
}

fn boolean(word: &str) -> Option<bool> {
    match word {
        "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => Some(true),
        "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => Some(false),
        _ => None,
    }
}

fn unsigned(word: &str) -> &str {
    word.strip_prefix(['-', '+']).unwrap_or(word)
}

fn all(word: &str, of: impl Fn(u8) -> bool) -> bool {
    !word.is_empty() && word.bytes().all(of)
}

fn digits_(word: &str) -> bool {
    word.bytes().all(|b| b.is_ascii_digit() || b == b'_')
}

fn starts_with_digit(word: &str) -> bool {
    word.starts_with(|c: char| c.is_ascii_digit())
}

fn is_int(word: &str) -> bool {
    let n = unsigned(word);
    if let Some(bits) = n.strip_prefix("0b") {
        return all(bits, |b| matches!(b, b'0' | b'1' | b'_'));
    }
    if let Some(hex) = n.strip_prefix("0x") {
        return all(hex, |b| b.is_ascii_hexdigit() || b == b'_');
    }
    if let Some(octal) = n.strip_prefix('0') {
        return octal.bytes().all(|b| matches!(b, b'0'..=b'7' | b'_'));
    }
    match n.split_once(':') {
        None => starts_with_digit(n) && digits_(n),
        Some((first, rest)) => starts_with_digit(first) && digits_(first) && is_base_60(rest),
    }
}

/// `(?::[0-5]?[0-9])+` without its first colon.
fn is_base_60(rest: &str) -> bool {
    rest.split(':').all(|part| match part.as_bytes() {
        [d] => d.is_ascii_digit(),
        [b'0'..=b'5', d] => d.is_ascii_digit(),
        _ => false,
    })
}

fn is_float(word: &str) -> bool {
    let n = unsigned(word);
    if matches!(n, ".inf" | ".Inf" | ".INF") || matches!(word, ".nan" | ".NaN" | ".NAN") {
        return true;
    }
    let Some((whole, fraction)) = n.split_once('.') else {
        return false;
    };
    if let Some((first, rest)) = whole.split_once(':') {
        return starts_with_digit(first) && digits_(first) && is_base_60(rest) && digits_(fraction);
    }
    let (fraction, exponent) = match fraction.split_once(['e', 'E']) {
        Some((fraction, exponent)) => (fraction, Some(exponent)),
        None => (fraction, None),
    };
    let exponent = exponent.is_none_or(|e| {
        e.strip_prefix(['-', '+'])
            .is_some_and(|e| all(e, |b| b.is_ascii_digit()))
    });
    let mantissa = if whole.is_empty() {
        // Without a sign: `[-+]?` is not in this branch of the resolver.
        n.len() == word.len() && starts_with_digit(fraction) && digits_(fraction)
    } else {
        starts_with_digit(whole) && digits_(whole) && digits_(fraction)
    };
    mantissa && exponent
}

fn is_timestamp(word: &str) -> bool {
    let day = word.get(..10).unwrap_or_default().as_bytes();
    let is_day = |pattern: &[u8], text: &[u8]| {
        pattern.len() == text.len()
            && pattern
                .iter()
                .zip(text)
                .all(|(p, b)| if *p == b'd' { b.is_ascii_digit() } else { p == b })
    };
    if word.len() == 10 {
        return is_day(b"dddd-dd-dd", day);
    }
    // `dddd-d?d-d?d`, a T or blanks, `d?d:dd:dd`, and a fraction and a zone, which take what is left.
    let Some(at) = word.find(['T', 't', ' ', '\t']) else {
        return false;
    };
    let (date, time) = word.split_at(at);
    let time = match time.strip_prefix(['T', 't']) {
        Some(time) => time,
        None => time.trim_start_matches([' ', '\t']),
    };
    let date = ["dddd-d-d", "dddd-d-dd", "dddd-dd-d", "dddd-dd-dd"]
        .iter()
        .any(|p| is_day(p.as_bytes(), date.as_bytes()));
    let clock = |pattern: &str| {
        time.get(..pattern.len())
            .is_some_and(|t| is_day(pattern.as_bytes(), t.as_bytes()))
    };
    let rest = match (clock("dd:dd:dd"), clock("d:dd:dd")) {
        (true, _) => time.get(8..),
        (_, true) => time.get(7..),
        _ => None,
    };
    let Some(rest) = rest.filter(|_| date) else {
        return false;
    };
    let rest = rest
        .strip_prefix('.')
        .map_or(rest, |f| f.trim_start_matches(|c: char| c.is_ascii_digit()));
    let zone = rest.trim_start_matches([' ', '\t']);
    rest.is_empty()
        || zone == "Z"
        || zone.strip_prefix(['-', '+']).is_some_and(|z| {
            ["d", "dd", "d:dd", "dd:dd"]
                .iter()
                .any(|p| is_day(p.as_bytes(), z.as_bytes()))
        })
}

#[cfg(test)]
mod tests {
    use crate::yaml11::{self, Node, Value};

    /// What PyYAML's safe_load makes of each word, by itself as a value: generated with it.
    const SCALARS: &str = include_str!("../../fixtures/pyyaml-scalars.txt");

    #[test]
    fn a_scalar_is_what_pyyaml_makes_of_it() {
        let (mut count, mut wrong) = (0, Vec::new());
        for line in SCALARS.lines().filter(|l| !l.starts_with('#')) {
            let (kind, word) = line.split_once('\t').unwrap();
            let parsed = yaml11::parse(&format!("key: {word}\n"));
            let found = match &parsed {
                Ok(Some(Node {
                    value: Value::Map(entries),
                    ..
                })) => match &entries[0].1.value {
                    Value::Null => "NoneType",
                    Value::Bool(true) => "True",
                    Value::Bool(false) => "False",
                    Value::Number(_) => "number",
                    Value::Timestamp(_) => "date",
                    Value::Text(_) => "str",
                    Value::List(_) => "list",
                    Value::Map(_) => "dict",
                    Value::Refused(_) => "error",
                },
                Ok(_) => "other",
                Err(_) => "error",
            };
            if found != kind {
                wrong.push(format!("{word}: {kind} for PyYAML, {found} here: {parsed:?}"));
            }
            count += 1;
        }
        assert_eq!(wrong, Vec::<String>::new());
        assert!(count > 100, "{count} scalars");
    }
}
