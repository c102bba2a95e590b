//! Names of entries as systemd-boot compares, matches and counts them (systemd, src/boot/boot.c, efi-string.c and
//! src/fundamental/string-util.c). Pure.
use std::cmp::Ordering;

/// Which of two versions is newer (UAPI.10 Version Format Specification, `strverscmp_improved`).
pub(super) fn compare(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (a.as_bytes(), b.as_bytes());
    loop {
        (a, b) = (at_sign(a), at_sign(b));
        if let Some(order) = mark(&mut a, &mut b, b'~') {
            return order;
        }
        if a.is_empty() || b.is_empty() {
            return a.len().cmp(&b.len());
        }
        for sign in [b'-', b'^', b'.'] {
            if let Some(order) = mark(&mut a, &mut b, sign) {
                return order;
            }
        }
        let begins_with_digit = |text: &[u8]| text.first().is_some_and(u8::is_ascii_digit);
        let is_number = begins_with_digit(a) || begins_with_digit(b);
        let belongs = |byte: &u8| {
            if is_number {
                byte.is_ascii_digit()
            } else {
                byte.is_ascii_alphabetic()
            }
        };
        let part = |text: &'_ [u8]| text.iter().position(|byte| !belongs(byte)).unwrap_or(text.len());
        let ((one, rest_of_a), (two, rest_of_b)) = (a.split_at(part(a)), b.split_at(part(b)));
        let order = if is_number {
            // A number is newer than a word.
            let is_there = one.is_empty().cmp(&two.is_empty()).reverse();
            let (one, two) = (without_zeros(one), without_zeros(two));
            is_there.then(one.len().cmp(&two.len())).then(one.cmp(two))
        } else {
            one.cmp(two)
        };
        if order.is_ne() {
            return order;
        }
        (a, b) = (rest_of_a, rest_of_b);
    }
}

/// Takes the sign off both; where only one has it, that one is older.
fn mark(a: &mut &[u8], b: &mut &[u8], sign: u8) -> Option<Ordering> {
    match (a.strip_prefix(&[sign]), b.strip_prefix(&[sign])) {
        (Some(rest_of_a), Some(rest_of_b)) => {
            (*a, *b) = (rest_of_a, rest_of_b);
            None
        }
        (None, None) => None,
        (one, _) => Some(if one.is_some() {
            Ordering::Less
        } else {
            Ordering::Greater
        }),
    }
}

fn at_sign(text: &[u8]) -> &[u8] {
    let counts = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'~' | b'-' | b'^' | b'.');
    &text[text.iter().position(counts).unwrap_or(text.len())..]
}

fn without_zeros(digits: &[u8]) -> &[u8] {
    &digits[digits
        .iter()
        .position(|digit| *digit != b'0')
        .unwrap_or(digits.len())..]
}

/// Whether a pattern (fnmatch(3), without classes) matches a name; the loader makes both lower case.
pub(super) fn matches(pattern: &str, name: &str) -> bool {
    let fold = |text: &str| -> Vec<char> { text.to_ascii_lowercase().chars().collect() };
    is_match(&fold(pattern), &fold(name))
}

fn is_match(pattern: &[char], name: &[char]) -> bool {
    match (pattern, name) {
        ([], name) => name.is_empty(),
        (['*', rest @ ..], name) => (0..=name.len()).any(|skipped| is_match(rest, &name[skipped..])),
        (['?', rest @ ..], [_, others @ ..]) => is_match(rest, others),
        (['[', set @ ..], [c, others @ ..]) => match in_set(set, *c) {
            Some((true, rest)) => is_match(rest, others),
            _ => false,
        },
        (['\\', c, rest @ ..], [d, others @ ..]) | ([c, rest @ ..], [d, others @ ..]) => {
            c == d && is_match(rest, others)
        }
        _ => false,
    }
}

/// Whether a character is in the set, and what follows that; none where the set does not end.
fn in_set(set: &[char], c: char) -> Option<(bool, &[char])> {
    let (mut at, mut found, mut low) = (0, false, None);
    loop {
        let mut member = *set.get(at)?;
        if member == ']' && at > 0 {
            return Some((found, &set[at + 1..]));
        }
        if let (Some(from), '-', Some(to)) = (low, member, set.get(at + 1).filter(|to| **to != ']')) {
            found |= (from..=*to).contains(&c);
            // Ranges are not chained.
            low = None;
            at += 2;
            continue;
        }
        if member == '\\' {
            at += 1;
            member = *set.get(at)?;
        }
        found |= member == c;
        low = Some(member);
        at += 1;
    }
}

/// An entry's file name without its counters, and how many tries it has left, where they are counted: `a+2-1.conf` is
/// `a.conf` with two (systemd-bless-boot(8)).
pub(super) fn counted(name: &str) -> (String, Option<u32>) {
    let none = || (name.to_owned(), None);
    let Some((stem, suffix)) = name.rsplit_once('.') else {
        return none();
    };
    let Some((base, counters)) = stem.rsplit_once('+') else {
        return none();
    };
    let (left, done) = counters.split_once('-').unwrap_or((counters, "0"));
    let number = |text: &str| {
        let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse::<u32>().ok().filter(|_| is_number)
    };
    match (number(left), number(done)) {
        (Some(left), Some(_)) => (format!("{base}.{suffix}"), Some(left)),
        _ => none(),
    }
}

/// A pattern that matches the entry of this name whatever its counters are.
pub(in crate::loader) fn with_any_counters(name: &str) -> String {
    let (stem, suffix) = name.rsplit_once('.').unwrap_or((name, ""));
    let mut pattern = String::new();
    for c in stem.chars() {
        if matches!(c, '*' | '?' | '[' | '\\') {
            pattern.push('\\');
        }
        pattern.push(c);
    }
    format!("{pattern}[+.]*{suffix}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_as_the_specification_says() {
        // Its own examples, and kernels.
        for (older, newer) in [
            ("122.1", "123~rc1-1"),
            ("123~rc1-1", "123"),
            ("123", "123-a"),
            ("123-a", "123-a.1"),
            ("123-a.1", "123-1"),
            ("123-1", "123-1.1"),
            ("123-1.1", "123^post1"),
            ("123^post1", "123.a-1"),
            ("123.a-1", "123.1-1"),
            ("123.1-1", "123a-1"),
            ("123a-1", "124-1"),
            ("5.14.0-70.el9", "5.14.0-427.el9"),
            ("5.14.0-427.el9.x86_64", "6.12.0-1.el10.x86_64"),
            ("a1-livemode.conf", "a1-6.1.conf"),
            ("6.9", "6.010"),
        ] {
            assert_eq!(compare(newer, older), Ordering::Greater, "{newer} {older}");
            assert_eq!(compare(older, newer), Ordering::Less, "{newer} {older}");
        }
        assert_eq!(compare("1.2_3", "1.2+3"), Ordering::Equal);
        assert_eq!(compare("6.01", "6.1"), Ordering::Equal);
    }

    #[test]
    fn patterns_match_as_in_the_loader() {
        for (pattern, name, matched) in [
            ("a.conf", "A.conf", true),
            ("a", "a.conf", false),
            ("*", "", true),
            ("arch*", "arch-lts.conf", true),
            ("*-lts.conf", "arch-lts.conf", true),
            ("*-l*f", "arch-lts.conf", true),
            ("arch-?ts.conf", "arch-lts.conf", true),
            ("a[bc]d", "acd", true),
            ("a[bc]d", "aed", false),
            ("a[b-d]d", "acd", true),
            ("a[]-]d", "a-d", true),
            ("a[b-]d", "a-d", true),
            ("a[b", "ab", false),
            ("a\\*", "a*", true),
            ("a\\*", "ab", false),
            ("a[\\]]", "a]", true),
        ] {
            assert_eq!(matches(pattern, name), matched, "{pattern} {name}");
        }
    }

    #[test]
    fn counters_are_no_part_of_a_name() {
        for (name, bare, left) in [
            ("a.conf", "a.conf", None),
            ("a+3.conf", "a.conf", Some(3)),
            ("a+2-1.conf", "a.conf", Some(2)),
            ("a+0-3.efi", "a.efi", Some(0)),
            ("a+b.conf", "a+b.conf", None),
            ("a+1+2.conf", "a+1.conf", Some(2)),
            ("a+1-.conf", "a+1-.conf", None),
            ("6.1.0+debug.conf", "6.1.0+debug.conf", None),
        ] {
            assert_eq!(counted(name), (bare.to_owned(), left), "{name}");
        }
        let pattern = with_any_counters("a1-6.1[x].conf");
        for (name, matched) in [
            ("a1-6.1[x].conf", true),
            ("a1-6.1[x]+3.conf", true),
            ("a1-6.1[x]+2-1.conf", true),
            ("a1-6.1[x]0.conf", false),
            ("a1-6.1x.conf", false),
        ] {
            assert_eq!(matches(&pattern, name), matched, "{pattern} {name}");
        }
    }
}
