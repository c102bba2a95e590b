//! What a plan finds against itself and what an admin should know of it: one list for every command.

/// Sentences for an admin, in the order in which they were found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Findings {
    /// The upgrade may not go on as long as there is one.
    pub(crate) refusals: Vec<String>,
    pub(crate) warnings: Vec<String>,
}

impl Findings {
    /// One more refusal, unless it has been said.
    pub(crate) fn refuse(&mut self, why: impl Into<String>) {
        let why = why.into();
        if !self.refusals.contains(&why) {
            self.refusals.push(why);
        }
    }

    /// All of another list, after these.
    pub(crate) fn append(&mut self, other: Self) {
        other.refusals.into_iter().for_each(|why| self.refuse(why));
        other.warnings.into_iter().for_each(|what| self.warn(what));
    }

    /// One more warning, unless it has been said.
    pub(crate) fn warn(&mut self, what: impl Into<String>) {
        let what = what.into();
        if !self.warnings.contains(&what) {
            self.warnings.push(what);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_is_said_once() {
        let mut findings = Findings::default();
        for text in ["one", "two", "one"] {
            findings.refuse(text);
            findings.warn(text);
        }
        assert_eq!(findings.refusals, ["one", "two"]);
        assert_eq!(findings.warnings, ["one", "two"]);
    }
}
