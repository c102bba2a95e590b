//! What PyYAML makes of a document, as values that know their line.
use std::fmt;

/// A value and where it stands.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// Line in the text, from 1, where the parser knows it: not for mappings, lists and block scalars.
    pub line: Option<usize>,
    /// The value.
    pub value: Value,
}

/// What PyYAML makes of a node.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// Nothing, `~` or `null`.
    Null,
    /// A boolean.
    Bool(bool),
    /// An integer or a float, as it is written.
    Number(String),
    /// A date or a time, as it is written.
    Timestamp(String),
    /// A string.
    Text(String),
    /// A list.
    List(Vec<Node>),
    /// A mapping: its own entries in their order, doubles and all, then those merged in by `<<` that it has not itself.
    Map(Vec<(Node, Node)>),
    /// What has no meaning here: an explicit tag, or a plain `=`, which a safe loader refuses.
    Refused(String),
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("nothing (null)"),
            Self::Bool(b) => write!(f, "the boolean {b}"),
            Self::Number(n) => write!(f, "the number {n}"),
            Self::Timestamp(t) => write!(f, "the date {t}; put it into quotes"),
            Self::Text(s) => write!(f, "the string '{}'", s.escape_debug()),
            Self::List(_) => f.write_str("a list"),
            Self::Map(_) => f.write_str("a mapping"),
            Self::Refused(what) => f.write_str(what),
        }
    }
}
