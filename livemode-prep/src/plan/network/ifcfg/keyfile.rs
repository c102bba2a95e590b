//! A keyfile in the making, in the form of nm-settings-keyfile(5).
use std::fmt::Write;

/// Sections in the order of their first line.
#[derive(Default)]
pub(super) struct Keyfile(Vec<(&'static str, String)>);

impl Keyfile {
    pub(super) fn set(&mut self, section: &'static str, key: &str, value: impl std::fmt::Display) {
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
