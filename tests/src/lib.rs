//! What the tests, the demo and the benchmarks share: finding our binaries, making trees and disks, driving QEMU.
pub mod binaries;
pub mod cache;
pub mod disk;
pub mod testbed;
pub mod vm;
