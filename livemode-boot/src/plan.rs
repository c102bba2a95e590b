//! From the parameters to what is waited for, checked and mounted. Pure.
use std::fmt;
use std::path::{Path, PathBuf};

use livemode_common::contract::{RUN_DEVICE, RUN_IMAGE, RUN_OVERLAY};
use serde::Serialize;

use crate::params::{BootParams, Check};

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct MountPlan {
    /// As the command line names it.
    pub(crate) reference: String,
    /// The node to wait for; absent when the image comes from a URL.
    pub(crate) device: Option<PathBuf>,
    /// Seconds after boot.
    pub(crate) deadline_s: u64,
    /// The image below the device's root.
    pub(crate) path: PathBuf,
    pub(crate) size_bytes: Option<u64>,
    pub(crate) check: Check,
    pub(crate) device_mount: PathBuf,
    pub(crate) image_mount: PathBuf,
    pub(crate) overlay_mount: PathBuf,
    pub(crate) overlay_size: String,
    pub(crate) sysroot: PathBuf,
    /// Where a refusal is recorded, once the device is mounted.
    pub(crate) state_dir: Option<PathBuf>,
}

impl MountPlan {
    pub(crate) fn new(params: BootParams, sysroot: &Path) -> Self {
        Self {
            reference: params.image.to_string(),
            device: params.image.device(),
            deadline_s: params.timeout_s,
            path: params.path,
            state_dir: params.state_dir.map(|dir| Path::new(RUN_DEVICE).join(dir)),
            size_bytes: params.size_bytes,
            check: params.check,
            device_mount: RUN_DEVICE.into(),
            image_mount: RUN_IMAGE.into(),
            overlay_mount: RUN_OVERLAY.into(),
            overlay_size: params.overlay_size,
            sysroot: sysroot.to_owned(),
        }
    }

    /// The image, once its device is mounted.
    pub(crate) fn image_file(&self) -> PathBuf {
        self.device_mount.join(&self.path)
    }

    pub(crate) fn upper(&self) -> PathBuf {
        self.overlay_mount.join("upper")
    }

    pub(crate) fn work(&self) -> PathBuf {
        self.overlay_mount.join("work")
    }

    pub(crate) fn overlay_options(&self) -> String {
        let (lower, upper, work) = (self.image_mount.display(), self.upper(), self.work());
        format!(
            "lowerdir={lower},upperdir={},workdir={}",
            upper.display(),
            work.display()
        )
    }
}

impl fmt::Display for MountPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.device {
            Some(device) => writeln!(
                f,
                "wait    {}, until {} s after boot",
                device.display(),
                self.deadline_s
            )?,
            None => writeln!(f, "fetch   {}", self.reference)?,
        }
        writeln!(f, "mount   {} read-write", self.device_mount.display())?;
        if let Some(size) = self.size_bytes {
            writeln!(f, "check   {}: {size} bytes", self.image_file().display())?;
        }
        match &self.check {
            Check::Sha256(hex) => writeln!(f, "check   {}: sha256 {hex}", self.image_file().display())?,
            Check::Off(warning) => writeln!(f, "warning {warning}")?,
        }
        writeln!(f, "mount   {} squashfs, read-only", self.image_mount.display())?;
        writeln!(
            f,
            "mount   {} tmpfs, at most {}",
            self.overlay_mount.display(),
            self.overlay_size
        )?;
        writeln!(f, "mount   {} overlay of the two", self.sysroot.display())?;
        match &self.state_dir {
            Some(dir) => writeln!(f, "record  a refusal in {}", dir.display()),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_reads_as_what_will_happen() {
        let line =
            "root=livemode:LABEL=data rd.live.dir=/img rd.live.squashimg=live.img livemode.digest=none \
                    livemode.size=7 livemode.timeout=20 livemode.state=/state";
        let plan = MountPlan::new(BootParams::parse(line).unwrap(), Path::new("/sysroot"));
        assert_eq!(
            plan.to_string(),
            "\
wait    /dev/disk/by-label/data, until 20 s after boot
mount   /run/livemode/device read-write
check   /run/livemode/device/img/live.img: 7 bytes
warning livemode.digest=none: the image is used unchecked
mount   /run/livemode/image squashfs, read-only
mount   /run/livemode/overlay tmpfs, at most 50%
mount   /sysroot overlay of the two
record  a refusal in /run/livemode/device/state
"
        );
    }
}
