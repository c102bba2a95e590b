//! The store of an upgrade that is all or nothing: a file that is preallocated on the source system, beneath which the device
//! mapper keeps whatever the upgrade writes. File systems never touch the blocks of a file, so early boot can use them
//! while the file system is not mounted.
//!
//! Each extent of the file begins with a [`marker`](Map::marker), a block that says which extent of which build it is. What
//! is left of the extents, one after the other, is the store's address space:
//!
//! | at | what |
//! |---|---|
//! | 0, 128 KiB | the [`Header`], twice: where the extents and the layers lie |
//! | 256 KiB, 320 KiB | two slots of the [`Recorder`]: the last two states |
//! | 512 KiB | the last mebibyte of the log, in blocks |
//! | 2 MiB | the copy of /boot |
//! | after it | for each layer the area of its changed blocks (Documentation/admin-guide/device-mapper/snapshot.rst) |
mod extents;
mod header;
mod io;
mod log;
mod recorder;
mod tables;

pub use extents::{of as extents_of, Extent, Map, Piece};
pub use header::{Header, Kept, Layer, Region, Sectors};
pub use io::{protect, writing_to, StoreIo};
pub use log::LogRing;
pub use recorder::Recorder;
pub use tables::{fill, linear, snapshot, Fill, Target, LAYER_PREFIX, STORE_DEVICE};

/// Bytes of a block: markers and the log are written in these.
pub const BLOCK: u64 = 4096;
/// Bytes of each of the two places of the header.
const HEADER_BYTES: u64 = 128 << 10;
/// Where the two places are.
const HEADERS: [u64; 2] = [0, HEADER_BYTES];
/// Bytes of a slot of the recorder.
const SLOT_BYTES: u64 = 64 << 10;
const SLOTS: [u64; 2] = [256 << 10, 320 << 10];
const LOG: Region = Region {
    at: 512 << 10,
    bytes: 1 << 20,
};
/// Where the copy of /boot begins; what lies below is written with zeros once, so that it can be read through the file.
pub const FIXED_BYTES: u64 = 2 << 20;
