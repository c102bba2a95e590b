//! What the tests and the demo share: our binaries, trees from packages, disks, and machines in QEMU.
pub mod baseline;
pub mod binaries;
pub mod cache;
pub mod container;
pub mod disk;
pub mod faults;
pub mod golden;
pub mod grub;
pub mod layout;
pub mod pulse;
pub mod qmp;
pub mod server;
pub mod slot;
pub mod source;
pub mod subject;
pub mod testbed;
pub mod vm;
