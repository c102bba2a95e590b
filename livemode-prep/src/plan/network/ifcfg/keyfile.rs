//! A keyfile in the making, in the form of nm-settings-keyfile(5).
use std::fmt::Write;

/// Sections in the order of their first line.
#[derive(Default)]
pub(super) struct Keyfile(Vec<(&'static str, String)>);

impl Keyfile {
    pub(super) fn set(&mut self, section: &'static str, key: &str, value: impl std::fmt::Display) {
        self.add(section, key, &escaped(&value.to_string()));
    }

    pub(super) fn set_some(&mut self, section: &'static str, key: &str, value: Option<&str>) {
        if let Some(value) = value {
            self.set(section, key, value);
        }
    }

    /// A list ends each of its elements with a semicolon.
    pub(super) fn set_list<'a>(
        &mut self,
        section: &'static str,
        key: &str,
        elements: impl IntoIterator<Item = &'a str>,
    ) {
        let elements = elements
            .into_iter()
            .map(|element| escaped(element).replace(';', "\\;") + ";");
        self.add(section, key, &elements.collect::<String>());
    }

    fn add(&mut self, section: &'static str, key: &str, escaped: &str) {
        if !self.0.iter().any(|(name, _)| *name == section) {
            self.0.push((section, String::new()));
        }
        if let Some((_, lines)) = self.0.iter_mut().find(|(name, _)| *name == section) {
            // Writing to a String does not fail.
            let _ = writeln!(lines, "{key}={escaped}");
        }
    }

    pub(super) fn text(self) -> String {
        let sections: Vec<String> = self
            .0
            .into_iter()
            .map(|(name, lines)| format!("[{name}]\n{lines}"))
            .collect();
        sections.join("\n")
    }
}

/// As g_key_file_set_string() of GLib writes a value, by which NetworkManager writes its keyfiles: blanks at the start,
/// line ends and backslashes are escaped.
fn escaped(value: &str) -> String {
    let mut out = String::new();
    let mut is_start = true;
    for c in value.chars() {
        match c {
            ' ' if is_start => out.push_str("\\s"),
            '\t' if is_start => out.push_str("\\t"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\\' => out.push_str("\\\\"),
            c => out.push(c),
        }
        is_start &= matches!(c, ' ' | '\t');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The values of a line of a keyfile, split at each separator, as GLib reads them (Desktop Entry Specification,
    /// "Possible value types"); None where it refuses an escape.
    fn read(line: &str, separator: Option<char>) -> Option<Vec<String>> {
        let (_, value) = line.split_once('=')?;
        let (mut values, mut current) = (Vec::new(), String::new());
        let mut chars = value.trim_start().chars();
        while let Some(c) = chars.next() {
            match c {
                '\\' => current.push(match chars.next()? {
                    's' => ' ',
                    't' => '\t',
                    'n' => '\n',
                    'r' => '\r',
                    '\\' => '\\',
                    c if Some(c) == separator => c,
                    _ => return None,
                }),
                c if Some(c) == separator => values.push(std::mem::take(&mut current)),
                c => current.push(c),
            }
        }
        if separator.is_none() || !current.is_empty() {
            values.push(current);
        }
        Some(values)
    }

    // Value, and what is written for it. GLib 2.74's own reader (GLib.KeyFile of python3-gi: get_string, get_string_list)
    // gave back each value of this table, as a string and as the element of a list.
    const NASTY: [(&str, &str); 12] = [
        ("plain", "plain"),
        ("  pa\\ss", "\\s\\spa\\\\ss"),
        ("DOM\\host", "DOM\\\\host"),
        ("\t x", "\\t\\sx"),
        ("in the middle\tand at the end ", "in the middle\tand at the end "),
        ("a\nb\rc", "a\\nb\\rc"),
        ("\\s\\n\\\\", "\\\\s\\\\n\\\\\\\\"),
        ("#no comment", "#no comment"),
        ("[no group]", "[no group]"),
        ("a=b", "a=b"),
        ("\"quoted\" 'too'", "\"quoted\" 'too'"),
        ("schlüssel", "schlüssel"),
    ];

    #[test]
    fn any_value_is_read_as_it_was_given() {
        for (value, written) in NASTY.into_iter().chain([("a;b", "a;b"), ("", "")]) {
            let mut keyfile = Keyfile::default();
            keyfile.set("802-1x", "password", value);
            let text = keyfile.text();
            assert_eq!(text, format!("[802-1x]\npassword={written}\n"));
            let line = text.lines().nth(1).unwrap();
            assert_eq!(read(line, None).unwrap(), [value], "{line}");
        }
    }

    #[test]
    fn any_element_of_a_list_is_read_as_it_was_given() {
        for (value, written) in NASTY.into_iter().chain([("a;b", "a\\;b"), (";", "\\;")]) {
            let mut keyfile = Keyfile::default();
            keyfile.set_list("ipv4", "dns-search", [value, "last"]);
            let text = keyfile.text();
            assert_eq!(text, format!("[ipv4]\ndns-search={written};last;\n"));
            let line = text.lines().nth(1).unwrap();
            assert_eq!(read(line, Some(';')).unwrap(), [value, "last"], "{line}");
        }
    }
}
