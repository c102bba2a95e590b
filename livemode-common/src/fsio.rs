//! Writing files so that a power cut leaves the old or the new content, and reading a file's digest.
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use anyhow::{Context, Result};
use nix::fcntl::{posix_fadvise, PosixFadviseAdvice};
use sha2::{Digest, Sha256};

/// Files are read in pieces of this size, in bytes: so large that the system calls cost nothing.
const HASH_CHUNK: usize = 1 << 20;
/// How far the disk reads ahead of what is hashed, in bytes. The kernel's own 128 KiB (`read_ahead_kb`) are hashed sooner than
/// a disk seeks.
const HASH_AHEAD: u64 = 8 << 20;

/// A file that is being written has a name with this prefix, in the directory where it is to be.
const TEMP_PREFIX: &str = ".livemode-tmp-";

/// Puts `content` at `path`: temp file in the same directory, fsync, rename, fsync of the directory.
/// Owner, ACLs and extended attributes of a file that was there before are not kept.
///
/// # Errors
/// When the directory cannot be written or is full; what was at `path` before is then untouched.
pub fn atomic_write(path: &Path, content: &[u8], mode: u32) -> Result<()> {
    let dir = path.parent().unwrap_or(Path::new("/"));
    let write = || -> Result<()> {
        let mut temp = tempfile::Builder::new().prefix(TEMP_PREFIX).tempfile_in(dir)?;
        temp.as_file().set_permissions(fs::Permissions::from_mode(mode))?;
        temp.write_all(content)?;
        temp.as_file().sync_all()?;
        temp.persist(path).map_err(|e| e.error)?;
        sync_dir(dir)
    };
    write().with_context(|| format!("writing {}", path.display()))
}

/// Removes what a power cut in the middle of [`atomic_write`] has left in `dir`; nothing else may be writing there.
///
/// # Errors
/// When such a file cannot be removed. A directory that is not there holds none.
pub fn remove_temps(dir: &Path) -> Result<()> {
    for entry in fs::read_dir(dir).into_iter().flatten() {
        let entry = entry.with_context(|| format!("reading {}", dir.display()))?;
        if entry
            .file_name()
            .as_encoded_bytes()
            .starts_with(TEMP_PREFIX.as_bytes())
        {
            let path = entry.path();
            fs::remove_file(&path).with_context(|| format!("removing {}", path.display()))?;
        }
    }
    Ok(())
}

/// Makes the entries of a directory durable.
///
/// # Errors
/// When the directory cannot be opened or synced.
pub fn sync_dir(dir: &Path) -> Result<()> {
    File::open(dir)
        .and_then(|d| d.sync_all())
        .with_context(|| format!("syncing {}", dir.display()))
}

/// Opens a file for appending, made with `mode` where it does not exist yet.
///
/// # Errors
/// When it can be neither made nor opened.
pub fn append(path: &Path, mode: u32) -> Result<File> {
    OpenOptions::new()
        .append(true)
        .create(true)
        .mode(mode)
        .open(path)
        .with_context(|| format!("opening {}", path.display()))
}

/// SHA-256 in hex and size in bytes of what is left to read; `progress` is told the bytes read so far.
///
/// # Errors
/// When reading fails.
pub fn sha256(mut reader: impl Read, mut progress: impl FnMut(u64)) -> Result<(String, u64)> {
    let mut hasher = Sha256Writer::new(std::io::sink());
    let mut chunk = vec![0; HASH_CHUNK];
    let mut size = 0;
    loop {
        let n = match reader.read(&mut chunk) {
            Ok(0) => break,
            Ok(n) => n,
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(e) => return Err(e.into()),
        };
        hasher.write_all(&chunk[..n])?;
        size += n as u64;
        progress(size);
    }
    Ok((hasher.sha256(), size))
}

/// The same of a whole file: the disk reads ahead while the processor hashes. What was read stays in the page cache as far as
/// there is room (posix_fadvise(2)), so that a mount of the file reads it from there.
///
/// # Errors
/// When reading fails.
pub fn sha256_of(file: &File, mut progress: impl FnMut(u64)) -> Result<(String, u64)> {
    let mut asked = 0;
    let mut ask = |until: u64| {
        while asked < until {
            let (at, bytes) = (asked.cast_signed(), HASH_CHUNK as u64);
            // Where a file system takes no advice, reading does without.
            let _ = posix_fadvise(
                file,
                at,
                bytes.cast_signed(),
                PosixFadviseAdvice::POSIX_FADV_WILLNEED,
            );
            asked += bytes;
        }
    };
    ask(HASH_AHEAD);
    sha256(file, |read| {
        ask(read + HASH_AHEAD);
        progress(read);
    })
}

/// Passes on what is written, and hashes it on its way.
#[derive(Debug)]
pub struct Sha256Writer<W> {
    inner: W,
    hasher: Sha256,
}

impl<W: Write> Sha256Writer<W> {
    /// For a writer that nothing was written to yet.
    pub fn new(inner: W) -> Self {
        Self {
            inner,
            hasher: Sha256::new(),
        }
    }

    /// SHA-256 of all that was written, in hex.
    pub fn sha256(&self) -> String {
        let digest = self.hasher.clone().finalize();
        digest.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// The writer itself.
    pub fn into_inner(self) -> W {
        self.inner
    }
}

impl<W: Write> Write for Sha256Writer<W> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let n = self.inner.write(bytes)?;
        self.hasher.update(&bytes[..n]);
        Ok(n)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.inner.flush()
    }
}

/// Seconds since the epoch.
pub fn now() -> u64 {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |t| t.as_secs())
}

#[cfg(test)]
mod tests {
    use std::io::Seek;

    use super::*;

    #[test]
    fn atomic_write_replaces_the_content_and_leaves_no_temp_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state.json");
        atomic_write(&path, b"old", 0o600).unwrap();
        atomic_write(&path, b"new", 0o600).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_a_cut_left_of_a_write_goes_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        for name in [".livemode-tmp-a1b2c3", "state.json"] {
            fs::write(dir.path().join(name), "").unwrap();
        }
        remove_temps(dir.path()).unwrap();
        remove_temps(&dir.path().join("nowhere")).unwrap();
        let left = fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().file_name());
        assert_eq!(left.collect::<Vec<_>>(), ["state.json"]);
    }

    #[test]
    fn a_digest_is_that_of_the_standard() {
        // FIPS 180-2, appendix B.1.
        let hex = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad".to_owned();
        assert_eq!(sha256(&b"abc"[..], |_| ()).unwrap(), (hex.clone(), 3));
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"abc").unwrap();
        file.rewind().unwrap();
        assert_eq!(sha256_of(&file, |_| ()).unwrap(), (hex, 3));
    }
}
