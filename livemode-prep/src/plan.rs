//! From the facts to everything that a build will do. Decides; reads, runs and writes nothing.
pub(crate) mod arguments;
pub(crate) mod boot_entry;
pub(crate) mod build_plan;
mod drivers;
pub(crate) mod edits;
pub(crate) mod explain;
mod findings;
mod fstab;
pub(crate) mod initramfs;
pub(crate) mod initramfs_contents;
pub(crate) mod items;
mod live_system;
mod live_units;
pub(crate) mod mounts;
mod network;
pub(crate) mod packages;
pub(crate) mod paths;
mod refusals;
pub(crate) mod space;
pub(crate) mod squashfs;
mod ssh;
mod ssh_keys;
pub(crate) mod storage;
mod summary;
#[cfg(test)]
mod tests;
pub(crate) mod why;
pub(crate) mod words;
