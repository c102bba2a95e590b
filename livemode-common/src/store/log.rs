//! The last mebibyte of the log, in the store: what is written to the source system's files is given up with the upgrade.
use anyhow::Result;

use super::{Region, StoreIo, BLOCK, LOG};

const MAGIC: &[u8; 8] = b"LMLOG1\n\0";
/// Magic, number and length.
const HEAD: usize = 8 + 8 + 8;
const ROOM: usize = BLOCK as usize - HEAD;

/// The ring: blocks with numbers, of which the oldest is written over.
#[derive(Debug)]
pub struct LogRing {
    store: StoreIo,
    /// Number of the block that is being filled.
    number: u64,
    text: Vec<u8>,
}

impl LogRing {
    /// That of a store; goes on behind what is there.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn open(store: StoreIo) -> Result<Self> {
        let last = blocks(&store)?.pop().map_or(0, |(number, _)| number);
        Ok(Self {
            store,
            number: last + 1,
            text: Vec::new(),
        })
    }

    /// Adds text; it is on the disk when this returns.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub fn append(&mut self, mut text: &[u8]) -> Result<()> {
        while !text.is_empty() {
            if self.text.len() == ROOM {
                self.number += 1;
                self.text.clear();
            }
            let (part, rest) = text.split_at(text.len().min(ROOM - self.text.len()));
            self.text.extend(part);
            self.write()?;
            text = rest;
        }
        Ok(())
    }

    fn write(&self) -> Result<()> {
        let mut block = MAGIC.to_vec();
        block.extend(self.number.to_le_bytes());
        block.extend((self.text.len() as u64).to_le_bytes());
        block.extend(&self.text);
        block.resize(BLOCK as usize, 0);
        let Region { at, bytes } = LOG;
        self.store
            .write(at + self.number % (bytes / BLOCK) * BLOCK, &block)
    }

    /// What the log of a store holds, the oldest first.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn read(store: &StoreIo) -> Result<Vec<u8>> {
        Ok(blocks(store)?.into_iter().flat_map(|(_, text)| text).collect())
    }

    /// Forgets what is there.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub fn clear(store: &StoreIo) -> Result<()> {
        store.write(LOG.at, &vec![0; usize::try_from(LOG.bytes)?])
    }
}

fn blocks(store: &StoreIo) -> Result<Vec<(u64, Vec<u8>)>> {
    let mut all = vec![0; usize::try_from(LOG.bytes)?];
    store.read(LOG.at, &mut all)?;
    let mut blocks: Vec<(u64, Vec<u8>)> = all.chunks(BLOCK as usize).filter_map(block).collect();
    blocks.sort_by_key(|(number, _)| *number);
    Ok(blocks)
}

fn block(bytes: &[u8]) -> Option<(u64, Vec<u8>)> {
    let rest = bytes.strip_prefix(MAGIC)?;
    let (number, rest) = rest.split_first_chunk::<8>()?;
    let (length, text) = rest.split_first_chunk::<8>()?;
    let length = usize::try_from(u64::from_le_bytes(*length)).ok()?;
    Some((u64::from_le_bytes(*number), text.get(..length)?.to_vec()))
}

#[cfg(test)]
mod tests {
    use super::super::{Extent, Map};
    use super::*;

    fn store() -> StoreIo {
        let file = tempfile::tempfile().unwrap();
        file.set_len(4 << 20).unwrap();
        let extent = Extent {
            logical: 0,
            physical: 0,
            bytes: 4 << 20,
            flags: 0,
        };
        StoreIo::in_file(file, Map::new(&[extent], 4 << 20).unwrap())
    }

    fn again(store: &StoreIo) -> StoreIo {
        let extent = Extent {
            logical: 0,
            physical: 0,
            bytes: 4 << 20,
            flags: 0,
        };
        let map = Map::new(&[extent], 4 << 20).unwrap();
        StoreIo::in_file(store.file().try_clone().unwrap(), map)
    }

    #[test]
    fn a_log_goes_on_behind_what_is_there_and_forgets_the_oldest() {
        let store = store();
        assert_eq!(LogRing::read(&store).unwrap(), b"");
        let mut ring = LogRing::open(again(&store)).unwrap();
        ring.append(b"one\n").unwrap();
        ring.append(b"two\n").unwrap();
        let mut ring = LogRing::open(again(&store)).unwrap();
        ring.append(&[b'x'; ROOM + 5]).unwrap();
        let text = LogRing::read(&store).unwrap();
        assert!(text.starts_with(b"one\ntwo\nxx"));
        assert_eq!(text.len(), 8 + ROOM + 5);
        for _ in 0..300 {
            ring.append(&[b'y'; ROOM]).unwrap();
        }
        let text = LogRing::read(&store).unwrap();
        assert!(text.iter().all(|byte| *byte == b'y') && text.len() > 200 * ROOM);
        LogRing::clear(&store).unwrap();
        assert_eq!(LogRing::read(&store).unwrap(), b"");
    }
}
