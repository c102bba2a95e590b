//! The device mapper (linux/dm-ioctl.h). Nothing here waits for udev: its node in /dev is the kernel's own, and whoever needs a
//! link waits for that with a limit of their own.
use std::fs::File;
use std::os::fd::AsRawFd;
use std::path::PathBuf;

use anyhow::{bail, Context, Result};
use nix::errno::Errno;

use crate::store::Target;

const CONTROL: &str = "/dev/mapper/control";
const VERSION: [u32; 3] = [4, 0, 0];
/// Room for what the kernel answers.
const ANSWER_BYTES: usize = 16 << 10;
const NAME_BYTES: usize = 128;

const CREATE: u8 = 3;
const REMOVE: u8 = 4;
const SUSPEND: u8 = 6;
const LOAD: u8 = 9;
const STATUS: u8 = 12;

const FLAG_SUSPEND: u32 = 1 << 1;
/// DM_STATUS_TABLE_FLAG: the parameters in place of the status.
const FLAG_TABLE: u32 = 1 << 4;
/// With it udev's rules take the event for one of an activation (libdm's DM_UDEV_PRIMARY_SOURCE_FLAG, in the upper half; the
/// lower half must not be zero).
const COOKIE: u32 = 0x40 << 16 | 1;

#[repr(C)]
#[derive(Clone, Copy)]
struct Head {
    version: [u32; 3],
    data_size: u32,
    data_start: u32,
    target_count: u32,
    open_count: i32,
    flags: u32,
    event_nr: u32,
    padding: u32,
    dev: u64,
    name: [u8; NAME_BYTES],
    uuid: [u8; 129],
    data: [u8; 7],
}

const HEAD_BYTES: usize = std::mem::size_of::<Head>();
/// struct dm_target_spec.
const SPEC_BYTES: usize = 8 + 8 + 4 + 4 + 16;

/// A device of the device mapper.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mapped {
    name: String,
    major: u64,
    minor: u64,
}

impl Mapped {
    /// Makes a device that shows a table.
    ///
    /// # Errors
    /// When the kernel refuses: the module of a target is missing, or a device of it is in use.
    pub fn create(name: &str, table: &[Target]) -> Result<Self> {
        let number = call(CREATE, name, 0, &[])
            .with_context(|| format!("making the device {name}"))?
            .0
            .dev;
        let mapped = Self {
            name: name.to_owned(),
            major: nix::sys::stat::major(number),
            minor: nix::sys::stat::minor(number),
        };
        if let Err(error) = mapped.load(table).and_then(|()| mapped.resume()) {
            // The first cause is the one to be told.
            let _ = call(REMOVE, name, 0, &[]);
            return Err(error);
        }
        Ok(mapped)
    }

    /// A device that is there.
    ///
    /// # Errors
    /// When it is not.
    pub fn find(name: &str) -> Result<Self> {
        let (head, _) =
            call(STATUS, name, 0, &[]).with_context(|| format!("looking for the device {name}"))?;
        Ok(Self {
            name: name.to_owned(),
            major: nix::sys::stat::major(head.dev),
            minor: nix::sys::stat::minor(head.dev),
        })
    }

    /// Shows another table from now on; what is mounted stays mounted.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn replace(&self, table: &[Target]) -> Result<()> {
        self.load(table)?;
        let suspended = call(SUSPEND, &self.name, FLAG_SUSPEND, &[]);
        suspended.with_context(|| format!("suspending {}", self.name))?;
        self.resume()
    }

    /// The status of its first target.
    ///
    /// # Errors
    /// When it is gone.
    pub fn status(&self) -> Result<String> {
        self.first_target(0)
    }

    /// The parameters of its first target.
    ///
    /// # Errors
    /// When it is gone.
    pub fn table(&self) -> Result<String> {
        self.first_target(FLAG_TABLE)
    }

    fn first_target(&self, flags: u32) -> Result<String> {
        let (_, answer) = call(STATUS, &self.name, flags, &[])
            .with_context(|| format!("asking for the status of {}", self.name))?;
        let text = answer.get(SPEC_BYTES..).unwrap_or_default();
        let end = text.iter().position(|byte| *byte == 0).unwrap_or(text.len());
        Ok(String::from_utf8_lossy(&text[..end]).into_owned())
    }

    /// Takes it away.
    ///
    /// # Errors
    /// When it is in use.
    pub fn remove(self) -> Result<()> {
        call(REMOVE, &self.name, 0, &[]).with_context(|| format!("removing the device {}", self.name))?;
        Ok(())
    }

    /// `MAJOR:MINOR`, for the table of another.
    pub fn number(&self) -> String {
        format!("{}:{}", self.major, self.minor)
    }

    /// The kernel's own node of it.
    pub fn node(&self) -> PathBuf {
        format!("/dev/dm-{}", self.minor).into()
    }

    fn load(&self, table: &[Target]) -> Result<()> {
        call(LOAD, &self.name, 0, table).with_context(|| format!("loading the table of {}", self.name))?;
        Ok(())
    }

    fn resume(&self) -> Result<()> {
        call(SUSPEND, &self.name, 0, &[]).with_context(|| format!("resuming {}", self.name))?;
        Ok(())
    }
}

/// Whether a device of this name is there.
pub fn exists(name: &str) -> bool {
    call(STATUS, name, 0, &[]).is_ok()
}

#[allow(unsafe_code)]
fn call(command: u8, name: &str, flags: u32, table: &[Target]) -> Result<(Head, Vec<u8>)> {
    if name.is_empty() || name.len() >= NAME_BYTES {
        bail!("{name:?} is no name of a device");
    }
    let control = File::open(CONTROL).with_context(|| format!("opening {CONTROL}"))?;
    let specs = specs(table);
    let mut buffer = vec![0_u64; (HEAD_BYTES + specs.len()).max(ANSWER_BYTES).div_ceil(8)];
    let bytes = buffer.len() * 8;
    let mut head = Head {
        version: VERSION,
        data_size: u32::try_from(bytes)?,
        data_start: u32::try_from(HEAD_BYTES)?,
        target_count: u32::try_from(table.len())?,
        open_count: 0,
        flags,
        event_nr: if matches!(command, SUSPEND | REMOVE) {
            COOKIE
        } else {
            0
        },
        padding: 0,
        dev: 0,
        name: [0; NAME_BYTES],
        uuid: [0; 129],
        data: [0; 7],
    };
    head.name[..name.len()].copy_from_slice(name.as_bytes());
    let request = nix::request_code_readwrite!(0xfd, command, HEAD_BYTES);
    // SAFETY: the buffer is aligned for the head and as long as the head says; the kernel writes nothing beyond that.
    let (head, answer) = unsafe {
        let start = buffer.as_mut_ptr().cast::<u8>();
        start.cast::<Head>().write(head);
        std::ptr::copy_nonoverlapping(specs.as_ptr(), start.add(HEAD_BYTES), specs.len());
        Errno::result(nix::libc::ioctl(control.as_raw_fd(), request, start))?;
        let head = start.cast::<Head>().read();
        let answer = std::slice::from_raw_parts(start.add(HEAD_BYTES), bytes - HEAD_BYTES);
        (head, answer.to_vec())
    };
    Ok((head, answer))
}

/// The targets as the kernel reads them: each at a multiple of 8 bytes, naming the distance to the next.
fn specs(table: &[Target]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for target in table {
        let length = (SPEC_BYTES + target.parameters.len() + 1).next_multiple_of(8);
        let begin = bytes.len();
        bytes.extend(target.start.to_ne_bytes());
        bytes.extend(target.sectors.to_ne_bytes());
        bytes.extend(0_i32.to_ne_bytes());
        bytes.extend((length as u32).to_ne_bytes());
        let mut kind = [0; 16];
        kind[..target.kind.len()].copy_from_slice(target.kind.as_bytes());
        bytes.extend(kind);
        bytes.extend(target.parameters.as_bytes());
        bytes.resize(begin + length, 0);
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn structures_are_as_large_as_the_kernels() {
        assert_eq!(HEAD_BYTES, 312);
        assert_eq!(SPEC_BYTES, 40);
    }

    #[test]
    fn targets_follow_each_other_at_multiples_of_eight() {
        let target = |start, parameters: &str| Target {
            start,
            sectors: 8,
            kind: "linear",
            parameters: parameters.into(),
        };
        let bytes = specs(&[target(0, "8:1 0"), target(8, "8:1 2048000000")]);
        assert_eq!(bytes.len(), 48 + 56);
        assert_eq!(bytes[20..24], 48_u32.to_ne_bytes());
        assert_eq!(&bytes[24..31], b"linear\0");
        assert_eq!(&bytes[40..46], b"8:1 0\0");
        assert_eq!(bytes[48..56], 8_u64.to_ne_bytes());
        assert_eq!(&bytes[88..101], b"8:1 2048000000"[..13].as_ref());
    }

    #[test]
    fn a_name_that_cannot_be_is_refused() {
        assert!(call(STATUS, "", 0, &[]).is_err());
        assert!(call(STATUS, &"x".repeat(128), 0, &[]).is_err());
    }
}
