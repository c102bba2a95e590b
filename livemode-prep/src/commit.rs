//! What changes the source system. Build, entry and remove go through one transaction: what it does is written down first,
//! a failure is undone, and what was cut off is undone or completed by the next call.
pub(crate) mod boot_entry;
mod given_up;
mod lock;
pub(crate) mod record;
pub(crate) mod remove;
pub(crate) mod transaction;
