//! The kernel command line: its words as the kernel splits them (lib/cmdline.c, next_arg), in order and with repeats.
use std::fmt;

use serde::{Deserialize, Serialize};

/// One word: a key and, after the first `=`, a value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Word {
    /// What stands before the first `=`.
    pub key: String,
    /// What stands after it, without the quotes.
    pub value: Option<String>,
}

impl Word {
    /// `key=value`.
    pub fn pair(key: &str, value: impl Into<String>) -> Self {
        Self {
            key: key.to_owned(),
            value: Some(value.into()),
        }
    }

    /// A word without a value.
    pub fn flag(key: &str) -> Self {
        Self {
            key: key.to_owned(),
            value: None,
        }
    }
}

impl fmt::Display for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.value, self.key.contains(is_blank)) {
            (None, false) => f.write_str(&self.key),
            (None, true) => write!(f, "\"{}\"", self.key),
            (Some(v), true) => write!(f, "\"{}={v}\"", self.key),
            (Some(v), false) if v.contains(is_blank) => write!(f, "{}=\"{v}\"", self.key),
            (Some(v), false) => write!(f, "{}={v}", self.key),
        }
    }
}

/// A whole command line.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cmdline(pub Vec<Word>);

impl Cmdline {
    /// Splits a line at blanks that stand outside double quotes.
    pub fn parse(line: &str) -> Self {
        let mut words = Vec::new();
        let (mut word, mut quoted, mut any) = (String::new(), false, false);
        for c in line.chars().chain(std::iter::once(' ')) {
            match c {
                '"' => (quoted, any) = (!quoted, true),
                c if is_blank(c) && !quoted => {
                    if any && !word.is_empty() {
                        words.push(split(&word));
                    }
                    (word, any) = (String::new(), false);
                }
                c => {
                    word.push(c);
                    any = true;
                }
            }
        }
        let last = word.trim_end_matches(is_blank);
        if quoted && !last.is_empty() {
            words.push(split(last));
        }
        Self(words)
    }

    /// The last value of `key`, as the kernel and dracut's getarg take it.
    pub fn last(&self, key: &str) -> Option<&str> {
        self.0
            .iter()
            .rev()
            .find(|w| w.key == key)
            .and_then(|w| w.value.as_deref())
    }
}

impl fmt::Display for Cmdline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words: Vec<String> = self.0.iter().map(Word::to_string).collect();
        f.write_str(&words.join(" "))
    }
}

/// What parts words: isspace() of the kernel's and the shell's, in ASCII.
fn is_blank(c: char) -> bool {
    c.is_ascii_whitespace() || c == '\x0b'
}

fn split(word: &str) -> Word {
    match word.split_once('=') {
        Some((key, value)) => Word::pair(key, value),
        None => Word::flag(word),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_keep_blanks_and_repeats_keep_their_order() {
        let line = r#"ro console=tty0 rd.live.dir="/a b" console=ttyS0 quiet"#;
        let parsed = Cmdline::parse(line);
        assert_eq!(parsed.last("console"), Some("ttyS0"));
        assert_eq!(parsed.last("rd.live.dir"), Some("/a b"));
        assert_eq!(parsed.to_string(), line);
    }

    #[test]
    fn a_whole_word_may_be_quoted_and_an_open_quote_ends_with_the_line() {
        assert_eq!(
            Cmdline::parse("\"a=b c\" d=\"e f\n").0,
            [Word::pair("a", "b c"), Word::pair("d", "e f")]
        );
        for nothing in [" \n", "\"\" \""] {
            assert_eq!(Cmdline::parse(nothing), Cmdline::default());
        }
    }

    #[test]
    fn what_is_written_reads_as_it_was() {
        // The last ones were found by fuzzing.
        for line in [
            "a=b c",
            "\"a b=c d\" e",
            "\"flag with blanks\"",
            "a=\u{a0}b",
            "x=\"y\u{b}z\"",
            "\"\"=a",
        ] {
            let once = Cmdline::parse(line);
            assert_eq!(Cmdline::parse(&once.to_string()), once, "{line}");
        }
    }

    #[test]
    fn a_word_is_a_key_and_what_follows_its_first_equals_sign() {
        assert_eq!(
            Cmdline::parse("quiet a= root=UUID=x\ty=\"\"").0,
            [
                Word::flag("quiet"),
                Word::pair("a", ""),
                Word::pair("root", "UUID=x"),
                Word::pair("y", "")
            ]
        );
        let line = Cmdline::parse("a=1 a b=2");
        assert_eq!(line.last("a"), None, "the last one has no value");
        assert_eq!(line.last("b"), Some("2"));
        assert_eq!(line.last("c"), None);
    }

    #[test]
    fn an_open_quote_keeps_its_blanks_up_to_the_end() {
        assert_eq!(Cmdline::parse("a \"b c ").0, [Word::flag("a"), Word::flag("b c")]);
        assert_eq!(Cmdline::parse("a \" ").0, [Word::flag("a")]);
    }
}
