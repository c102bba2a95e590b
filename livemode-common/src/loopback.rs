//! A loop device over an open file: read-only, and freed by the kernel with its last user.
use std::os::fd::AsRawFd;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use loopdev::{LoopControl, LoopDevice};
use nix::errno::Errno;

/// Another process may take the free device between the two ioctls; how often it is worth another try.
const ATTACH_TRIES: u32 = 50;

/// An attached loop device. Dropping it before it is mounted frees it.
#[derive(Debug)]
pub struct LoopGuard {
    /// The kernel frees the device when nobody has it open or mounted any more.
    _open: LoopDevice,
    path: PathBuf,
}

impl LoopGuard {
    /// Attaches the very file that `file` has open, read-only, with autoclear (loop(4)).
    ///
    /// # Errors
    /// When there is no loop control device or no free loop device.
    pub fn attach_read_only(file: &std::fs::File) -> Result<Self> {
        let control = LoopControl::open().context("opening /dev/loop-control")?;
        // By its descriptor: the name may mean another file by now. It is opened anew, read-only, so that the loop device
        // is read-only whatever `file` was opened for.
        let backing = format!("/proc/self/fd/{}", file.as_raw_fd());
        let mut tries = 0;
        loop {
            let device = control.next_free().context("finding a free loop device")?;
            match device.with().read_only(true).autoclear(true).attach(&backing) {
                Ok(()) => {
                    let path = device.path().context("naming the loop device")?;
                    return Ok(Self { _open: device, path });
                }
                Err(e) if e.raw_os_error() == Some(Errno::EBUSY as i32) && tries < ATTACH_TRIES => {
                    tries += 1;
                    std::thread::sleep(Duration::from_millis(10));
                }
                Err(e) => return Err(e).context("attaching the loop device"),
            }
        }
    }

    /// The device node.
    pub fn path(&self) -> &std::path::Path {
        &self.path
    }
}
