//! From configuration and facts to everything that `build` will do. Decides; reads and writes nothing.
pub(crate) mod arguments;
pub(crate) mod build_plan;
pub(crate) mod carried;
pub(crate) mod fstab;
pub(crate) mod initramfs;
pub(crate) mod initramfs_contents;
pub(crate) mod live_system;
pub(crate) mod network;
pub(crate) mod packages;
pub(crate) mod refusals;
pub(crate) mod space;
pub(crate) mod squashfs;
pub(crate) mod ssh_keys;
pub(crate) mod sshd;
pub(crate) mod storage;
