//! What changes the source system: one transaction for build, entry and remove.
pub(crate) mod boot_entry;
pub(crate) mod remove;
pub(crate) mod scratch;
pub(crate) mod transaction;
