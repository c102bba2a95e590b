//! What the three LiveMode binaries share: the contract's words, pure parsers, and effects without policy.
pub mod cmd;
pub mod cmdline;
pub mod config;
pub mod container;
pub mod contract;
pub mod failure;
pub mod fsio;
pub mod fstab;
pub mod image_ref;
pub mod loopback;
pub mod machine;
pub mod mount;
pub mod mountinfo;
pub mod records;
pub mod sysroot;
pub mod yaml11;
