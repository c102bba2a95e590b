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
/// Of the firmware's own variables (UEFI specification, `EFI_GLOBAL_VARIABLE`).
const FIRMWARE: &str = "8be4df61-93ca-11d2-aa0d-00e098032b8c";
const BOOT_ORDER: &str = "BootOrder";
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

/// A variable as it is: its file's name, attributes and data.
pub type Variable = (String, Vec<u8>);

/// What the firmware boots, and in which order: each `Boot####`, then `BootOrder` (UEFI specification, "Boot Manager"). None where there
/// are no variables.
///
/// # Errors
/// When one cannot be read.
pub fn boot_options(dir: &Path) -> Result<Vec<Variable>> {
    let names = match fs::read_dir(dir) {
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        names => names.with_context(|| format!("reading {}", dir.display()))?,
    };
    let mut found = Vec::new();
    for name in names {
        let name = name?.file_name().to_string_lossy().into_owned();
        if is_boot_option(&name) {
            let path = dir.join(&name);
            let bytes = fs::read(&path).with_context(|| format!("reading {}", path.display()))?;
            found.push((name, bytes));
        }
    }
    // "Boot0000" sorts before "BootOrder".
    found.sort();
    Ok(found)
}

/// Makes them what they were; gives whether that changed anything. One that has come since stays, and has no place in the order.
///
/// # Errors
/// When the firmware does not take one.
pub fn restore_boot_options(dir: &Path, former: &[Variable]) -> Result<bool> {
    let mut is_changed = false;
    for (name, bytes) in former {
        let path = dir.join(name);
        if fs::read(&path).is_ok_and(|now| now == *bytes) {
            continue;
        }
        is_changed = true;
        let _mutable = Mutable::make(&path)?;
        put(&path, bytes).with_context(|| format!("writing {}", path.display()))?;
    }
    Ok(is_changed)
}

fn is_boot_option(name: &str) -> bool {
    let Some(name) = name
        .strip_suffix(FIRMWARE)
        .and_then(|name| name.strip_suffix('-'))
    else {
        return false;
    };
    let number = name.strip_prefix("Boot").unwrap_or_default();
    name == BOOT_ORDER || (number.len() == 4 && number.bytes().all(|digit| digit.is_ascii_hexdigit()))
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
    fn what_the_firmware_boots_is_made_what_it_was_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        assert_eq!(boot_options(&dir.join("none")).unwrap(), []);
        fs::write(dir.join("file"), "").unwrap();
        assert!(
            boot_options(&dir.join("file")).is_err(),
            "what cannot be read is not empty"
        );
        fs::create_dir(file(dir, "LoaderInfo")).unwrap();
        assert!(read(dir, "LoaderInfo").is_err());
        let at = |name: &str| dir.join(format!("{name}-{FIRMWARE}"));
        for (name, bytes) in [
            ("BootOrder", "7000 0100"),
            ("Boot0001", "the old shim"),
            ("Boot00AF", "a stick"),
            ("BootCurrent", "0001"),
            ("BootNext", "0002"),
            ("Boot000", "no number"),
        ] {
            fs::write(at(name), bytes).unwrap();
        }
        fs::write(dir.join(format!("Boot0002-{VENDOR}")), "another vendor's").unwrap();
        let former = boot_options(dir).unwrap();
        let names: Vec<&str> = former.iter().map(|(name, _)| &name[..8]).collect();
        assert_eq!(names, ["Boot0001", "Boot00AF", "BootOrde"]);
        assert!(!restore_boot_options(dir, &former).unwrap());

        fs::write(at("Boot0001"), "the new shim, which is longer").unwrap();
        fs::remove_file(at("Boot00AF")).unwrap();
        fs::write(at("Boot0003"), "new").unwrap();
        fs::write(at("BootOrder"), "7000 0300").unwrap();
        assert!(restore_boot_options(dir, &former).unwrap());
        assert_eq!(fs::read(at("Boot0003")).unwrap(), b"new");
        fs::remove_file(at("Boot0003")).unwrap();
        assert_eq!(boot_options(dir).unwrap(), former);
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
