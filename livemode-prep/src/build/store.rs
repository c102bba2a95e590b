//! The store's file: allocated while nothing else is done yet, and filled in when the build has its name.
use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::{anyhow, Context, Result};
use livemode_common::records::State;
use livemode_common::store::{extents_of, Header, Map, Recorder, StoreIo, FIXED_BYTES};
use nix::fcntl::{fallocate, FallocateFlags};

use crate::plan::atomic::Atomic;

/// No store can be made: the upgrade may run in place all the same.
#[derive(Debug)]
pub(crate) struct NoStore(pub(crate) String);

impl std::fmt::Display for NoStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for NoStore {}

/// A file that is preallocated, and where it lies.
pub(super) struct Store {
    path: PathBuf,
    file: File,
    map: Map,
}

impl Store {
    /// Allocates it at `path`.
    ///
    /// # Errors
    /// [`NoStore`], when there is no room, or its file system is none for a store.
    pub(super) fn allocate(atomic: &Atomic, path: &Path) -> Result<Self> {
        Self::try_allocate(atomic, path).map_err(|error| NoStore(format!("{error:#}")).into())
    }

    fn try_allocate(atomic: &Atomic, path: &Path) -> Result<Self> {
        let context = || format!("allocating the store {}", path.display());
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path)
            .with_context(context)?;
        let bytes = i64::try_from(atomic.bytes).with_context(context)?;
        fallocate(&file, FallocateFlags::empty(), 0, bytes).with_context(context)?;
        file.sync_all().with_context(context)?;
        let extents = extents_of(&file).with_context(context)?;
        let map = Map::new(&extents, atomic.bytes)
            .map_err(|why| anyhow!("{} can be no store: {why}", path.display()))?;
        Ok(Self {
            path: path.to_owned(),
            file,
            map,
        })
    }

    /// Where it lies.
    pub(super) fn map(&self) -> &Map {
        &self.map
    }

    /// Where it begins on the device of its file system, in bytes.
    pub(super) fn begins_at(&self) -> u64 {
        self.map.pieces().first().map_or(0, |first| first.disk)
    }

    /// Writes down what it is, and the first state; all of it is on the disk then.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(super) fn finish(self, header: &Header, state: &State) -> Result<()> {
        let path = self.path;
        let write = || -> Result<()> {
            let again = self.file.try_clone()?;
            let store = StoreIo::in_file(self.file, self.map);
            // Blocks that were never written read as zeros through the file, whatever early boot writes to them.
            store.write(0, &vec![0; usize::try_from(FIXED_BYTES)?])?;
            for (at, bytes) in header.written()? {
                store.write(at, &bytes)?;
            }
            store.mark(&header.id)?;
            let recorder = Recorder::new(store);
            recorder.record(state)?;
            again.sync_all()?;
            // What was written is what will be read.
            let (_, found) = StoreIo::of_file(&path, false)?;
            if found == *header {
                Ok(())
            } else {
                Err(anyhow!("it does not read as it was written"))
            }
        };
        write().with_context(|| format!("writing the store {}", path.display()))
    }
}
