//! Where the blocks of a file lie on its device, and how they make the store's address space.
use std::fs::File;
use std::os::fd::AsRawFd;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::BLOCK;

/// How many extents are asked for at once.
const ASKED: usize = 256;
/// A store in more pieces than this is refused: its header would not fit, and its file system is too full for it.
const MOST: usize = 1000;
/// The first extent holds all that early boot looks for before it knows of the others.
const FIRST_AT_LEAST: u64 = 1 << 20;

const LAST: u32 = 0x1;
/// Flags of extents whose place on the disk is not theirs alone, or not known (linux/fiemap.h).
const UNFIT: [(u32, &str); 7] = [
    (0x2, "its place is not known"),
    (0x4, "it is not on the disk yet"),
    (0x8, "it is encoded"),
    (0x80, "it is encrypted"),
    (0x100, "it is not aligned"),
    (0x200, "it lies among the file system's own data"),
    (0x2000, "it is shared with another file"),
];

/// One extent as FS_IOC_FIEMAP tells it (Documentation/filesystems/fiemap.rst), in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    /// Where it begins in the file.
    pub logical: u64,
    /// Where it begins on the file system's device.
    pub physical: u64,
    /// Its length.
    pub bytes: u64,
    /// `FIEMAP_EXTENT_*`.
    pub flags: u32,
}

/// A run of the file that is one run on the disk, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Piece {
    /// Where it begins in the file.
    pub file: u64,
    /// Where it begins on the device.
    pub disk: u64,
    /// Its length.
    pub bytes: u64,
}

#[repr(C)]
#[derive(Clone, Copy, Default)]
struct RawExtent {
    logical: u64,
    physical: u64,
    length: u64,
    reserved64: [u64; 2],
    flags: u32,
    reserved: [u32; 3],
}

#[repr(C)]
struct Request {
    start: u64,
    length: u64,
    flags: u32,
    mapped_extents: u32,
    extent_count: u32,
    reserved: u32,
    extents: [RawExtent; ASKED],
}

/// The extents of a file, all of which is on the disk then.
///
/// # Errors
/// When the file system does not tell where its files lie.
pub fn of(file: &File) -> Result<Vec<Extent>> {
    let mut extents: Vec<Extent> = Vec::new();
    loop {
        let start = extents.last().map_or(0, |last| last.logical + last.bytes);
        let found = ask(file, start).context("asking where the file lies on its device (FS_IOC_FIEMAP)")?;
        let is_all = found.last().is_none_or(|last| last.flags & LAST != 0);
        extents.extend(found);
        if is_all {
            return Ok(extents);
        }
    }
}

#[allow(unsafe_code)]
fn ask(file: &File, start: u64) -> nix::Result<Vec<Extent>> {
    /// FIEMAP_FLAG_SYNC: the file is written out first.
    const SYNC: u32 = 1;
    // _IOWR('f', 11, struct fiemap), whose size is that of its head (linux/fs.h).
    const FS_IOC_FIEMAP: nix::libc::c_ulong = nix::request_code_readwrite!(b'f', 11, 32);
    let mut request = Box::new(Request {
        start,
        length: u64::MAX - start,
        flags: SYNC,
        mapped_extents: 0,
        extent_count: ASKED as u32,
        reserved: 0,
        extents: [RawExtent::default(); ASKED],
    });
    // SAFETY: the kernel writes the head and at most `extent_count` extents, all of which the request has.
    let result = unsafe { nix::libc::ioctl(file.as_raw_fd(), FS_IOC_FIEMAP, &mut *request) };
    nix::errno::Errno::result(result)?;
    let found = &request.extents[..request.mapped_extents as usize];
    Ok(found
        .iter()
        .map(|raw| Extent {
            logical: raw.logical,
            physical: raw.physical,
            bytes: raw.length,
            flags: raw.flags,
        })
        .collect())
}

/// The store's address space: all pieces, each without the block of its marker.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Map(Vec<Piece>);

impl Map {
    /// That of a file with these extents and this size.
    ///
    /// # Errors
    /// Why they make no store.
    pub fn new(extents: &[Extent], file_bytes: u64) -> Result<Self, String> {
        let mut pieces: Vec<Piece> = Vec::new();
        for extent in extents {
            if let Some((_, why)) = UNFIT.iter().find(|(flag, _)| extent.flags & flag != 0) {
                return Err(format!("an extent of it is unfit: {why}"));
            }
            match pieces.last_mut() {
                Some(last)
                    if last.disk + last.bytes == extent.physical
                        && last.file + last.bytes == extent.logical =>
                {
                    last.bytes += extent.bytes;
                }
                _ => pieces.push(Piece {
                    file: extent.logical,
                    disk: extent.physical,
                    bytes: extent.bytes,
                }),
            }
        }
        if let Some(last) = pieces.last_mut() {
            // The last block of a file may be longer than the file.
            last.bytes = last.bytes.min(file_bytes.saturating_sub(last.file));
        }
        let is_whole = pieces.iter().try_fold(0, |end, piece| {
            (piece.file == end).then_some(piece.file + piece.bytes)
        });
        if is_whole != Some(file_bytes) {
            return Err("it has holes".into());
        }
        let is_aligned = |piece: &Piece| {
            [piece.file, piece.disk, piece.bytes]
                .iter()
                .all(|n| n % BLOCK == 0)
        };
        if !pieces.iter().all(is_aligned) {
            return Err("its file system's blocks are smaller than 4 KiB".into());
        }
        if pieces.len() > MOST || pieces.first().is_none_or(|first| first.bytes < FIRST_AT_LEAST) {
            return Err(format!(
                "its file system is too fragmented: it came in {} pieces",
                pieces.len()
            ));
        }
        Ok(Self(pieces))
    }

    /// The pieces, in the order of the file.
    pub fn pieces(&self) -> &[Piece] {
        &self.0
    }

    /// The size of the address space, in bytes.
    pub fn bytes(&self) -> u64 {
        self.0.iter().map(|piece| piece.bytes - BLOCK).sum()
    }

    /// The runs that `bytes` bytes at an address lie in, in order; what lies beyond the end is left out.
    pub fn runs(&self, at: u64, bytes: u64) -> Vec<Piece> {
        let mut runs = Vec::new();
        let (mut begin, end) = (0, at.saturating_add(bytes));
        for piece in &self.0 {
            let usable = piece.bytes - BLOCK;
            let (from, to) = (at.max(begin), end.min(begin + usable));
            if from < to {
                let offset = BLOCK + from - begin;
                runs.push(Piece {
                    file: piece.file + offset,
                    disk: piece.disk + offset,
                    bytes: to - from,
                });
            }
            begin += usable;
        }
        runs
    }

    /// The block that a piece begins with: a piece that was moved, or a file that was put back from a backup, does not have it
    /// where the header says.
    pub fn marker(id: &str, number: usize) -> Vec<u8> {
        let mut block = format!("LIVEMODE STORE, EXTENT {number} OF {id}\n").into_bytes();
        block.resize(BLOCK as usize, 0);
        block
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn extent(logical: u64, physical: u64, bytes: u64, flags: u32) -> Extent {
        Extent {
            logical,
            physical,
            bytes,
            flags,
        }
    }

    #[test]
    fn what_lies_together_is_one_piece_and_addresses_skip_the_markers() {
        let extents = [
            extent(0, 10 * MIB, MIB, 0),
            extent(MIB, 11 * MIB, MIB, 0x800),
            extent(2 * MIB, 50 * MIB, MIB, LAST),
        ];
        let map = Map::new(&extents, 3 * MIB).unwrap();
        assert_eq!(map.pieces().len(), 2);
        assert_eq!(map.bytes(), 3 * MIB - 2 * BLOCK);
        let end = 2 * MIB - BLOCK;
        assert_eq!(
            map.runs(end - 10, 20),
            [
                Piece {
                    file: 2 * MIB - 10,
                    disk: 12 * MIB - 10,
                    bytes: 10
                },
                Piece {
                    file: 2 * MIB + BLOCK,
                    disk: 50 * MIB + BLOCK,
                    bytes: 10
                },
            ]
        );
        assert_eq!(
            map.runs(0, 1)[0],
            Piece {
                file: BLOCK,
                disk: 10 * MIB + BLOCK,
                bytes: 1
            }
        );
        assert_eq!(map.runs(map.bytes(), 1), []);
        assert_eq!(map.runs(map.bytes() - 1, 10)[0].bytes, 1);
    }

    #[test]
    fn what_makes_no_store_is_said() {
        let sound = extent(0, 10 * MIB, MIB, LAST);
        for (extents, bytes, fault) in [
            (vec![], MIB, "it has holes"),
            (vec![sound], 2 * MIB, "it has holes"),
            (vec![extent(BLOCK, 0, MIB, LAST)], MIB, "it has holes"),
            (
                vec![extent(0, 10 * MIB, MIB, 0x2001)],
                MIB,
                "an extent of it is unfit: it is shared with another file",
            ),
            (
                vec![extent(0, 10 * MIB + 1024, MIB, LAST)],
                MIB,
                "its file system's blocks are smaller than 4 KiB",
            ),
            (
                vec![extent(0, 0, BLOCK, 0), extent(BLOCK, 9 * MIB, MIB, LAST)],
                MIB + BLOCK,
                "its file system is too fragmented: it came in 2 pieces",
            ),
        ] {
            assert_eq!(Map::new(&extents, bytes).unwrap_err(), fault);
        }
        // A file's last block reaches beyond its end.
        assert!(Map::new(&[extent(0, 10 * MIB, 2 * MIB, LAST)], MIB).is_ok());
    }

    #[test]
    fn a_marker_is_a_block_that_names_build_and_extent() {
        let marker = Map::marker("b1", 3);
        assert_eq!(marker.len() as u64, BLOCK);
        assert!(marker.starts_with(b"LIVEMODE STORE, EXTENT 3 OF b1\n\0"));
        assert_ne!(marker, Map::marker("b1", 2));
    }

    #[test]
    fn a_preallocated_file_is_found_on_its_device() {
        let file = tempfile::tempfile_in(env!("CARGO_MANIFEST_DIR")).unwrap();
        nix::fcntl::fallocate(&file, nix::fcntl::FallocateFlags::empty(), 0, 4 << 20).unwrap();
        // Some file systems cannot tell; those are refused.
        if let Ok(extents) = of(&file) {
            let bytes: u64 = extents.iter().map(|extent| extent.bytes).sum();
            assert_eq!(bytes, 4 << 20, "{extents:?}");
        }
    }
}
