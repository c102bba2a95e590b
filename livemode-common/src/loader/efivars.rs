//! The variables of the firmware by which a loader and a system talk (systemd.io/BOOT_LOADER_INTERFACE), as efivarfs shows them: a
//! file each, with four bytes of attributes and then the text in UTF-16, ended by a zero.
use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use anyhow::{bail, Context, Result};
use rustix::fs::{ioctl_getflags, ioctl_setflags, IFlags};

/// Where a system has them, below its root.
pub const DIR: &str = "sys/firmware/efi/efivars";
/// The loader's name and version.
pub const LOADER_INFO: &str = "LoaderInfo";
const VENDOR: &str = "4a67b082-0a4c-41cf-b6c7-440b29bb8c4f";
/// Kept without power, and to be reached by the loader and by a running system (UEFI specification, `GetVariable`).
const ATTRIBUTES: [u8; 4] = 7_u32.to_le_bytes();

/// The text of a variable; none where it is not set, or empty.
///
/// # Errors
/// When it cannot be read, or is no text.
pub fn read(dir: &Path, name: &str) -> Result<Option<String>> {
    let path = file(dir, name);
    let context = || format!("reading {}", path.display());
    let bytes = match fs::read(&path) {
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
        bytes => bytes.with_context(context)?,
    };
    Ok(text(&bytes)
        .with_context(context)?
        .filter(|text| !text.is_empty()))
}

/// Sets a variable, or takes it away, and reads it back.
///
/// # Errors
/// When the firmware does not take it, or it reads otherwise afterwards.
pub fn write(dir: &Path, name: &str, set: Option<&str>) -> Result<()> {
    if read(dir, name)?.as_deref() == set {
        return Ok(());
    }
    let path = file(dir, name);
    let _mutable = Mutable::make(&path)?;
    match set {
        Some(set) => put(&path, &bytes(set)).with_context(|| format!("writing {}", path.display()))?,
        None => fs::remove_file(&path).with_context(|| format!("removing {}", path.display()))?,
    }
    if read(dir, name)?.as_deref() != set {
        bail!("{} reads otherwise than it was written", path.display());
    }
    Ok(())
}

/// One write is one change of the variable, which the firmware has when it returns; efivarfs knows no fsync(2).
fn put(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)?;
    let written = file.write(bytes)?;
    if written != bytes.len() {
        return Err(ErrorKind::WriteZero.into());
    }
    // Where the directory is none of efivarfs, a longer text leaves its end.
    if file.metadata()?.len() != bytes.len() as u64 {
        file.set_len(bytes.len() as u64)?;
    }
    Ok(())
}

fn file(dir: &Path, name: &str) -> PathBuf {
    dir.join(format!("{name}-{VENDOR}"))
}

fn bytes(text: &str) -> Vec<u8> {
    let units = text.encode_utf16().chain([0]);
    let mut bytes = ATTRIBUTES.to_vec();
    bytes.extend(units.flat_map(u16::to_le_bytes));
    bytes
}

fn text(bytes: &[u8]) -> Result<Option<String>> {
    let Some(data) = bytes.get(ATTRIBUTES.len()..) else {
        // A variable that is being deleted.
        return Ok(None);
    };
    let units = data
        .chunks_exact(2)
        .map(|unit| u16::from_le_bytes([unit[0], unit[1]]));
    let units: Vec<u16> = units.take_while(|unit| *unit != 0).collect();
    Ok(Some(String::from_utf16(&units)?))
}

/// The kernel keeps variables from being changed by mistake; dropped, it does again.
struct Mutable(Option<File>);

impl Mutable {
    fn make(path: &Path) -> Result<Self> {
        let Ok(file) = File::open(path) else {
            return Ok(Self(None));
        };
        let flags = ioctl_getflags(&file).unwrap_or(IFlags::empty());
        if !flags.contains(IFlags::IMMUTABLE) {
            return Ok(Self(None));
        }
        ioctl_setflags(&file, flags - IFlags::IMMUTABLE)
            .with_context(|| format!("making {} changeable", path.display()))?;
        Ok(Self(Some(file)))
    }
}

impl Drop for Mutable {
    fn drop(&mut self) {
        // A variable that is gone has no flags.
        if let Some((file, flags)) = self
            .0
            .as_ref()
            .and_then(|file| Some((file, ioctl_getflags(file).ok()?)))
        {
            let _ = ioctl_setflags(file, flags | IFlags::IMMUTABLE);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variable_is_attributes_and_text_in_utf_16() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        assert_eq!(read(dir, "LoaderEntryOneShot").unwrap(), None);
        for set in ["a1-livemode.conf", "é", "a"] {
            write(dir, "LoaderEntryOneShot", Some(set)).unwrap();
            assert_eq!(read(dir, "LoaderEntryOneShot").unwrap().as_deref(), Some(set));
        }
        let path = dir.join("LoaderEntryOneShot-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f");
        assert_eq!(fs::read(&path).unwrap(), [7, 0, 0, 0, b'a', 0, 0, 0]);
        for _ in 0..2 {
            write(dir, "LoaderEntryOneShot", None).unwrap();
            assert!(!path.exists());
        }
        fs::write(&path, [7, 0, 0, 0, 0, 0xd8, 0, 0]).unwrap();
        assert!(read(dir, "LoaderEntryOneShot").is_err());
        fs::write(&path, [7, 0]).unwrap();
        assert_eq!(read(dir, "LoaderEntryOneShot").unwrap(), None);
    }

    #[test]
    fn what_the_kernel_protects_is_changed_and_protected_again() {
        let dir = tempfile::tempdir_in("/var/tmp").unwrap();
        let dir = dir.path();
        write(dir, "LoaderEntryDefault", Some("a")).unwrap();
        let open = || File::open(file(dir, "LoaderEntryDefault")).unwrap();
        let flags = ioctl_getflags(open()).unwrap_or(IFlags::empty());
        if ioctl_setflags(open(), flags | IFlags::IMMUTABLE).is_err() {
            // Only root may, and not on every file system; machines with real variables show it as well.
            return;
        }
        write(dir, "LoaderEntryDefault", Some("b")).unwrap();
        assert!(ioctl_getflags(open()).unwrap().contains(IFlags::IMMUTABLE));
        write(dir, "LoaderEntryDefault", None).unwrap();
        assert!(!file(dir, "LoaderEntryDefault").exists());
    }
}
