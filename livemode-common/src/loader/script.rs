//! An entry's options as GRUB takes them: it makes script text of the line, so some characters must be quoted, and some
//! cannot be had at all. systemd-boot passes the line on as it is. Pure.
use crate::cmdline::{Cmdline, Word};

/// What GRUB's script language keeps only inside of quotes (GRUB manual, "Quoting").
const NEED_QUOTES: [char; 8] = ['&', ';', '|', '<', '>', '{', '}', '#'];
/// What never arrives as it is, in some GRUB or other.
const LOST: [char; 4] = ['\'', '"', '\\', '$'];

/// The line for an entry that GRUB boots.
///
/// # Errors
/// The word that no GRUB would pass on as it is.
pub fn for_grub(line: &Cmdline) -> Result<String, String> {
    let words: Result<Vec<String>, String> = line.0.iter().map(word).collect();
    Ok(words?.join(" "))
}

fn word(word: &Word) -> Result<String, String> {
    let text = word.to_string();
    let bare = match &word.value {
        Some(value) => format!("{}={value}", word.key),
        None => word.key.clone(),
    };
    if bare.contains(LOST) {
        return Err(text);
    }
    if bare.contains(NEED_QUOTES) {
        // GRUB takes the quotes off, and puts double ones around a word with blanks.
        return Ok(format!("'{bare}'"));
    }
    Ok(text)
}

/// Why GRUB would not boot an entry with these options as its author meant, if so: a fault in the script ends in a menu
/// that waits for a keyboard.
pub fn fault(options: &str) -> Option<String> {
    let mut quote = None;
    let mut escaped = false;
    let mut before = ' ';
    for c in options.chars() {
        let begins_a_word = std::mem::replace(&mut before, c).is_whitespace();
        if std::mem::take(&mut escaped) {
            before = '\\';
            continue;
        }
        match (quote, c) {
            (None, '#') if begins_a_word => {
                return Some(
                    "its options hold a word that begins with #, with which GRUB drops the rest of the line"
                        .to_owned(),
                )
            }
            (Some('\''), '\'') | (Some('"'), '"') => quote = None,
            (Some('\''), _) => {}
            (_, '\\') => escaped = true,
            (None, '\'' | '"') => quote = Some(c),
            (None, '&' | ';' | '|' | '<' | '>' | '{' | '}') => {
                return Some(format!("its options hold {c}, which GRUB takes for script"))
            }
            _ => {}
        }
    }
    quote.map(|open| format!("its options open a quote {open} and do not close it"))
}

/// A value of ours, such that every loader passes it on: `%` and two hex digits stand for what none of them keeps.
pub fn encode(value: &str) -> String {
    let mut out = String::new();
    for c in value.chars() {
        if c.is_ascii_whitespace() || c == '%' || NEED_QUOTES.contains(&c) || LOST.contains(&c) {
            out.push_str(&format!("%{:02X}", c as u32));
        } else {
            out.push(c);
        }
    }
    out
}

/// What [`encode`] was given. A `%` without two hex digits stands for itself.
pub fn decode(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let hex = after.get(..2).and_then(|hex| std::str::from_utf8(hex).ok());
        let hex = hex.filter(|hex| hex.bytes().all(|digit| digit.is_ascii_hexdigit()));
        match hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) if *first == b'%' => {
                bytes.push(byte);
                rest = &after[2..];
            }
            _ => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_encoded_is_decoded_and_holds_nothing_that_a_loader_changes() {
        for value in [
            "http://h/a?x=1&y=2;z#{}<>|",
            "/var/my dir/50%/it's \"$x\\",
            "100%25",
            "%",
            "plain",
            "ä",
        ] {
            let encoded = encode(value);
            assert_eq!(decode(&encoded), value);
            assert!(
                !encoded
                    .contains(|c: char| c.is_whitespace() || NEED_QUOTES.contains(&c) || LOST.contains(&c)),
                "{encoded}"
            );
            assert_eq!(fault(&encoded), None);
        }
        assert_eq!(decode("50%"), "50%");
        assert_eq!(decode("%zz%+1"), "%zz%+1");
    }

    #[test]
    fn inherited_words_are_quoted_for_grub_or_named() {
        let line = Cmdline::parse("console=ttyS0 memmap=10G#4G pci=a;b rd.x=\"a b\"");
        assert_eq!(
            for_grub(&line).unwrap(),
            "console=ttyS0 'memmap=10G#4G' 'pci=a;b' rd.x=\"a b\""
        );
        for word in ["a=$b", "a=it's", "a=b\\c"] {
            assert_eq!(for_grub(&Cmdline::parse(word)), Err(word.to_owned()));
        }
    }

    #[test]
    fn options_that_end_in_a_menu_are_told() {
        for (options, is_fault) in [
            ("root=UUID=x ro quiet", false),
            ("'a=b&c' d=\"e;f\" g\\&h", false),
            ("a=b&c", true),
            ("a;b", true),
            ("a #b", true),
            ("a=b#c '#d' e\\ #", false),
            ("{", true),
            ("a='b", true),
            ("a=\"b", true),
            ("'a\\' b", false),
        ] {
            assert_eq!(fault(options).is_some(), is_fault, "{options}");
        }
    }
}
