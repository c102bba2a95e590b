//! What only leapp's actors, and who sets them up, ask for.
pub(crate) mod actors;
pub(crate) mod check;
pub(crate) mod entry;
