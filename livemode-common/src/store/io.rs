//! Reading and writing the store by its addresses: through its file, on its disk, or as a device of its own.
use std::fs::{File, OpenOptions};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use anyhow::{bail, Context, Result};
use rustix::fs::{ioctl_getflags, ioctl_setflags, IFlags};

use super::{Header, Map, Piece, BLOCK};

/// How addresses become offsets of what is open.
#[derive(Debug, Clone)]
enum Place {
    /// The store's file, on a mounted file system.
    File(Map),
    /// The device that its file system lies on, while that is not mounted.
    Disk(Map),
    /// The device mapper's view of it.
    View,
}

/// A store that is open. Each write is on the disk when it returns.
#[derive(Debug)]
pub struct StoreIo {
    file: File,
    place: Place,
}

impl StoreIo {
    /// Of a file whose extents are these.
    pub fn in_file(file: File, map: Map) -> Self {
        Self {
            file,
            place: Place::File(map),
        }
    }

    /// Of a file that holds a store: its header says where its pieces lie, and they must still lie there.
    ///
    /// # Errors
    /// When it holds no store, or has been moved.
    pub fn of_file(path: &Path, writable: bool) -> Result<(Self, Header)> {
        let context = || format!("opening the store {}", path.display());
        let file = open(path, writable).with_context(context)?;
        let bytes = file.metadata().with_context(context)?.len();
        let extents = super::extents_of(&file).with_context(context)?;
        let map = Map::new(&extents, bytes).map_err(|why| anyhow::anyhow!("{}: {why}", path.display()))?;
        let store = Self::in_file(file, map.clone());
        let header = store.header().with_context(|| path.display().to_string())?;
        if header.map != map {
            bail!(
                "{} has been moved on its disk since the build: build again",
                path.display()
            );
        }
        Ok((store, header))
    }

    /// On the device that it lies on, which nothing has mounted. `first` is where its first extent begins there, in
    /// bytes.
    ///
    /// # Errors
    /// When no store begins there, or one of its extents is no longer its own.
    pub fn on_disk(node: &Path, first: u64) -> Result<(Self, Header)> {
        let file = open(node, true).with_context(|| format!("opening {}", node.display()))?;
        let read = |at: u64, buffer: &mut [u8]| -> Result<()> {
            Ok(file.read_exact_at(buffer, first + BLOCK + at)?)
        };
        let header = Header::read(read)?;
        for (number, piece) in header.map.pieces().iter().enumerate() {
            let mut marker = vec![0; BLOCK as usize];
            file.read_exact_at(&mut marker, piece.disk)
                .with_context(|| format!("reading {}", node.display()))?;
            if marker != Map::marker(&header.id, number) {
                bail!(
                    "the store has been moved since the build: its extent {number} is no longer where it was"
                );
            }
        }
        let place = Place::Disk(header.map.clone());
        Ok((Self { file, place }, header))
    }

    /// The device mapper's view of it.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub fn view(node: &Path) -> Result<Self> {
        let file = open(node, true).with_context(|| format!("opening {}", node.display()))?;
        Ok(Self {
            file,
            place: Place::View,
        })
    }

    /// # Errors
    /// When it cannot be read, or is not whole.
    pub fn header(&self) -> Result<Header> {
        Header::read(|at, buffer| self.read(at, buffer))
    }

    /// # Errors
    /// When the device fails.
    pub fn read(&self, at: u64, buffer: &mut [u8]) -> Result<()> {
        let mut rest = buffer;
        for (offset, bytes) in self.runs(at, rest.len() as u64)? {
            let (part, others) = rest.split_at_mut(usize::try_from(bytes)?);
            self.file
                .read_exact_at(part, offset)
                .context("reading the store")?;
            rest = others;
        }
        Ok(())
    }

    /// # Errors
    /// When the device fails.
    pub fn write(&self, at: u64, bytes: &[u8]) -> Result<()> {
        let mut rest = bytes;
        for (offset, length) in self.runs(at, bytes.len() as u64)? {
            let (part, others) = rest.split_at(usize::try_from(length)?);
            self.file
                .write_all_at(part, offset)
                .context("writing to the store")?;
            rest = others;
        }
        Ok(())
    }

    /// Marks each extent as this build's.
    ///
    /// # Errors
    /// When the device fails.
    pub fn mark(&self, id: &str) -> Result<()> {
        let Place::File(map) = &self.place else {
            bail!("extents are marked through the file");
        };
        for (number, piece) in map.pieces().iter().enumerate() {
            self.file
                .write_all_at(&Map::marker(id, number), piece.file)
                .context("marking the store's extents")?;
        }
        Ok(())
    }

    /// The open file, which others may lock.
    pub fn file(&self) -> &File {
        &self.file
    }

    fn runs(&self, at: u64, bytes: u64) -> Result<Vec<(u64, u64)>> {
        let (map, offset): (&Map, fn(&Piece) -> u64) = match &self.place {
            Place::File(map) => (map, |run| run.file),
            Place::Disk(map) => (map, |run| run.disk),
            Place::View => return Ok(vec![(at, bytes)]),
        };
        let runs = map.runs(at, bytes);
        let found: u64 = runs.iter().map(|run| run.bytes).sum();
        if found != bytes {
            bail!("the store ends before {}", at + bytes);
        }
        Ok(runs.iter().map(|run| (offset(run), run.bytes)).collect())
    }
}

/// Calls `act` with the store in a file, which nobody can write to, defragment or remove but through this.
///
/// # Errors
/// Those of [`StoreIo::of_file`], and `act`'s.
pub fn writing_to(path: &Path, act: impl FnOnce(StoreIo) -> Result<()>) -> Result<()> {
    protect(path, false)?;
    let result = StoreIo::of_file(path, true).and_then(|(store, _)| act(store));
    protect(path, true).and(result)
}

/// Makes a file immutable (chattr(1), `+i`), or takes that back. A file system without such a flag is none for a store.
///
/// # Errors
/// When the flag cannot be read or changed.
pub fn protect(path: &Path, is_protected: bool) -> Result<()> {
    let context = || format!("changing the attributes of {}", path.display());
    let file = File::open(path).with_context(context)?;
    let flags = ioctl_getflags(&file).with_context(context)?;
    let mut wanted = flags;
    wanted.set(IFlags::IMMUTABLE, is_protected);
    if wanted != flags {
        ioctl_setflags(&file, wanted).with_context(context)?;
    }
    Ok(())
}

fn open(path: &Path, writable: bool) -> std::io::Result<File> {
    OpenOptions::new()
        .read(true)
        .write(writable)
        .custom_flags(nix::libc::O_DSYNC)
        .open(path)
}

#[cfg(test)]
mod tests {
    use super::super::header::tests::header;
    use super::super::{Extent, FIXED_BYTES};
    use super::*;

    /// A disk of 16 MiB on which a store of 6 MiB lies in two pieces, the second before the first.
    fn disk() -> (tempfile::NamedTempFile, Header) {
        let disk = tempfile::NamedTempFile::new().unwrap();
        disk.as_file().set_len(16 << 20).unwrap();
        let extents = [(0, 8 << 20, 4 << 20), (4 << 20, 1 << 20, 2 << 20)].map(
            |(logical, physical, bytes): (u64, u64, u64)| Extent {
                logical,
                physical,
                bytes,
                flags: 0,
            },
        );
        let map = Map::new(&extents, 6 << 20).unwrap();
        let header = Header { map, ..header() };
        for (number, piece) in header.map.pieces().iter().enumerate() {
            disk.as_file()
                .write_all_at(&Map::marker(&header.id, number), piece.disk)
                .unwrap();
        }
        for (at, bytes) in header.written().unwrap() {
            disk.as_file()
                .write_all_at(&bytes, (8 << 20) + BLOCK + at)
                .unwrap();
        }
        (disk, header)
    }

    #[test]
    fn a_store_is_found_by_its_first_sector_and_read_and_written_across_its_pieces() {
        let (disk, header) = disk();
        let (store, found) = StoreIo::on_disk(disk.path(), 8 << 20).unwrap();
        assert_eq!(found, header);
        let border = (4 << 20) - BLOCK;
        store.write(border - 2, b"abcd").unwrap();
        let mut back = [0; 4];
        store.read(border - 2, &mut back).unwrap();
        assert_eq!(&back, b"abcd");
        disk.as_file()
            .read_exact_at(&mut back[..2], (1 << 20) + BLOCK)
            .unwrap();
        assert_eq!(&back[..2], b"cd", "behind the marker of the second piece");
        assert!(store.write(header.map.bytes() - 1, b"xy").is_err());
        assert!(FIXED_BYTES < header.map.bytes());
    }

    #[test]
    fn a_store_that_was_moved_is_refused() {
        let (disk, header) = disk();
        assert!(StoreIo::on_disk(disk.path(), 4 << 20).is_err());
        disk.as_file()
            .write_all_at(b"other", header.map.pieces()[1].disk)
            .unwrap();
        let error = StoreIo::on_disk(disk.path(), 8 << 20).unwrap_err().to_string();
        assert_eq!(
            error,
            "the store has been moved since the build: its extent 1 is no longer where it was"
        );
    }
}
