//! A NetworkManager keyfile, built line by line, in the form of nm-settings-keyfile(5).
use std::fmt::Write;

/// Sections in the order of their first line.
#[derive(Default)]
pub(super) struct Keyfile(Vec<(&'static str, String)>);

impl Keyfile {
    /// Adds one value, escaped so that GLib's `g_key_file_get_string` gives it back.
    pub(super) fn set(&mut self, section: &'static str, key: &str, value: impl std::fmt::Display) {
        self.line(section, key, &escaped(&value.to_string()));
    }

    /// Adds a list, escaped so that `g_key_file_get_string_list` gives its members back.
    pub(super) fn set_list<'a>(
        &mut self,
        section: &'static str,
        key: &str,
        members: impl IntoIterator<Item = &'a str>,
    ) {
        let members = members
            .into_iter()
            .map(|member| format!("{};", escaped(member).replace(';', r"\;")));
        self.line(section, key, &members.collect::<String>());
    }

    fn line(&mut self, section: &'static str, key: &str, value: &str) {
        if !self.0.iter().any(|(name, _)| *name == section) {
            self.0.push((section, String::new()));
        }
        if let Some((_, lines)) = self.0.iter_mut().find(|(name, _)| *name == section) {
            // Writing to a String does not fail.
            let _ = writeln!(lines, "{key}={value}");
        }
    }

    pub(super) fn set_some(&mut self, section: &'static str, key: &str, value: Option<&str>) {
        if let Some(value) = value {
            self.set(section, key, value);
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

/// A value as GLib's `g_key_file_set_string` writes it (gkeyfile.c, g_key_file_parse_string_as_value): blanks and tabs at
/// the beginning, line ends and backslashes would be lost or misread.
fn escaped(value: &str) -> String {
    let mut out = String::new();
    let mut leading = true;
    for c in value.chars() {
        match c {
            ' ' if leading => out.push_str(r"\s"),
            '\t' if leading => out.push_str(r"\t"),
            '\n' => out.push_str(r"\n"),
            '\r' => out.push_str(r"\r"),
            '\\' => out.push_str(r"\\"),
            c => out.push(c),
        }
        leading &= matches!(c, ' ' | '\t');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_written_as_glib_writes_it() {
        // What GLib.KeyFile.set_string of python3-gi on Debian 12 wrote.
        for (value, written) in [
            (r"  pa\ss", r"\s\spa\\ss"),
            (r"DOM\host", r"DOM\\host"),
            (" lead", r"\slead"),
            ("trail ", "trail "),
            ("\ttab in\tside", "\\ttab in\tside"),
            ("new\nline", r"new\nline"),
            ("cr\rx", r"cr\rx"),
            ("a;b", "a;b"),
            ("#no comment", "#no comment"),
            ("", ""),
            ("\u{fc}n\u{ef}", "\u{fc}n\u{ef}"),
            (r"\s literal", r"\\s literal"),
            (r" both \ ; ", r"\sboth \\ ; "),
        ] {
            assert_eq!(escaped(value), written, "{value:?}");
        }
    }

    #[test]
    fn a_list_keeps_semicolons_in_its_members() {
        let mut keyfile = Keyfile::default();
        keyfile.set_list("ipv4", "dns-search", ["a;b", " c", r"d\e"]);
        assert_eq!(keyfile.text(), "[ipv4]\ndns-search=a\\;b;\\sc;d\\\\e;\n");
    }
}
