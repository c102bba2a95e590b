//! From the parameters to what is fetched or waited for, checked and mounted. Pure.
use std::fmt;
use std::path::{Path, PathBuf};

use livemode_common::contract::{RUN_BOOT, RUN_DEVICE, RUN_FETCHED, RUN_IMAGE, RUN_OVERLAY, RUN_RECORDS};
use livemode_common::image_ref::ImageRef;
use serde::Serialize;

use crate::params::{BootParams, Check};

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct MountPlan {
    /// Where the image may come from, in the order in which they are tried.
    pub(crate) sources: Vec<Source>,
    /// When dracut's initqueue is made to end, whatever else it waits for; in seconds after boot.
    pub(crate) deadline_s: u64,
    pub(crate) size_bytes: Option<u64>,
    pub(crate) check: Check,
    pub(crate) image_mount: PathBuf,
    pub(crate) overlay_mount: PathBuf,
    pub(crate) overlay_size: String,
    pub(crate) sysroot: PathBuf,
    /// Where the records are, once their device is mounted.
    pub(crate) state_dir: Option<PathBuf>,
    /// That device, where it is not the image's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) state_device: Option<PathBuf>,
    /// The build that the entry is of.
    pub(crate) build: Option<String>,
    /// GRUB's environment block.
    pub(crate) grubenv: Option<Block>,
    /// The store, of an upgrade that is all or nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) store: Option<StorePlace>,
}

/// Where a store lies, before any file system is mounted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct StorePlace {
    /// As the command line names its device.
    pub(crate) reference: String,
    pub(crate) device: PathBuf,
    /// Where it begins on that, in bytes.
    pub(crate) at: u64,
}

/// GRUB's environment block, on its file system.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Block {
    pub(crate) device: PathBuf,
    /// Where the device is mounted, for the moment of a change.
    pub(crate) mount: PathBuf,
    /// The file below the device's root.
    pub(crate) path: PathBuf,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Source {
    Url(Fetch),
    Disk(Disk),
}

/// An image on a server, which goes to RAM.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Fetch {
    #[serde(skip)]
    pub(crate) url: String,
    /// The URL without user and password.
    #[serde(rename = "url")]
    pub(crate) shown: String,
    /// Seconds it may take in all.
    pub(crate) timeout_s: u64,
    pub(crate) proxy: Option<String>,
    pub(crate) any_certificate: bool,
    /// Where the tmpfs for it is mounted.
    pub(crate) mount: PathBuf,
}

/// An image on a file system.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Disk {
    /// As the command line names it.
    pub(crate) reference: String,
    /// The node to wait for.
    pub(crate) device: PathBuf,
    /// How long the node is waited for, in seconds after boot.
    pub(crate) deadline_s: u64,
    /// Where the device is mounted, read-write.
    pub(crate) mount: PathBuf,
    /// The image below the device's root.
    pub(crate) path: PathBuf,
}

impl MountPlan {
    pub(crate) fn new(params: BootParams, sysroot: &Path) -> Self {
        let images = [Some(&params.image), params.local.as_ref()];
        Self {
            sources: images
                .into_iter()
                .flatten()
                .map(|image| source(image, &params))
                .collect(),
            deadline_s: params.timeout_s,
            size_bytes: params.size_bytes,
            check: params.check,
            image_mount: RUN_IMAGE.into(),
            overlay_mount: RUN_OVERLAY.into(),
            overlay_size: params.overlay_size,
            sysroot: sysroot.to_owned(),
            state_dir: params.state_dir.map(|dir| {
                let is_elsewhere = params.state_on.is_some();
                Path::new(if is_elsewhere { RUN_RECORDS } else { RUN_DEVICE }).join(dir)
            }),
            state_device: params.state_on.and_then(|on| on.device()),
            build: params.build,
            grubenv: params.grubenv.and_then(|located| {
                Some(Block {
                    device: located.on.device()?,
                    mount: RUN_BOOT.into(),
                    path: located.path,
                })
            }),
            store: params.store.and_then(|store| {
                Some(StorePlace {
                    reference: store.on.to_string(),
                    device: store.on.device()?,
                    at: store.at,
                })
            }),
        }
    }

    /// The file system with the local image, if there is one.
    pub(crate) fn disk(&self) -> Option<&Disk> {
        self.sources.iter().find_map(|source| match source {
            Source::Disk(disk) => Some(disk),
            Source::Url(_) => None,
        })
    }

    /// The device with the records, and where it is mounted while they are looked at.
    pub(crate) fn records(&self) -> Option<(&Path, &Path)> {
        let own = self.state_device.as_deref();
        let own = own.map(|device| (device, Path::new(RUN_RECORDS)));
        own.or_else(|| {
            self.disk()
                .map(|disk| (disk.device.as_path(), disk.mount.as_path()))
        })
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

fn source(image: &ImageRef, params: &BootParams) -> Source {
    match image.device() {
        None => Source::Url(Fetch {
            url: image.to_string(),
            shown: image.shown(),
            timeout_s: params.fetch_timeout_s,
            proxy: params.proxy.clone(),
            any_certificate: params.any_certificate,
            mount: RUN_FETCHED.into(),
        }),
        Some(device) => Source::Disk(Disk {
            reference: image.to_string(),
            device,
            deadline_s: params.timeout_s,
            mount: RUN_DEVICE.into(),
            path: params.path.clone(),
        }),
    }
}

impl Fetch {
    pub(crate) fn file(&self) -> PathBuf {
        self.mount.join("image")
    }
}

impl Disk {
    /// The image, once the device is mounted.
    pub(crate) fn file(&self) -> PathBuf {
        self.mount.join(&self.path)
    }

    /// How messages name the image.
    pub(crate) fn named(&self) -> String {
        format!("/{} on {}", self.path.display(), self.reference)
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Url(fetch) => writeln!(
                f,
                "fetch   {} into RAM at {}, within {} s",
                fetch.shown,
                fetch.file().display(),
                fetch.timeout_s
            ),
            Self::Disk(disk) => {
                let (device, deadline) = (disk.device.display(), disk.deadline_s);
                writeln!(f, "wait    {device}, until {deadline} s after boot")?;
                writeln!(f, "mount   {} read-write", disk.mount.display())?;
                writeln!(f, "open    {}", disk.file().display())
            }
        }
    }
}

impl fmt::Display for MountPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, source) in self.sources.iter().enumerate() {
            if number > 0 {
                writeln!(f, "or, when that fails")?;
            }
            write!(f, "{source}")?;
        }
        if let Some(size) = self.size_bytes {
            writeln!(f, "check   {size} bytes")?;
        }
        match &self.check {
            Check::Sha256(hex) => writeln!(f, "check   sha256 {hex}")?,
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
        if let Some(dir) = &self.state_dir {
            write!(f, "record  what becomes of it in {}", dir.display())?;
            match &self.state_device {
                Some(device) => writeln!(f, ", on {}", device.display())?,
                None => writeln!(f)?,
            }
        }
        if let Some(store) = &self.store {
            writeln!(
                f,
                "store   at {} on {}: by what it says the layers are mapped before any of these, or the way back is taken",
                store.at, store.reference
            )?;
        }
        match &self.grubenv {
            Some(block) => writeln!(
                f,
                "loader  /{} on {}",
                block.path.display(),
                block.device.display()
            ),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(line: &str) -> String {
        MountPlan::new(BootParams::parse(line).unwrap(), Path::new("/sysroot")).to_string()
    }

    #[test]
    fn a_plan_reads_as_what_will_happen() {
        let line =
            "root=livemode:LABEL=data rd.live.dir=/img rd.live.squashimg=live.img livemode.digest=none \
                    livemode.size=7 livemode.timeout=20 livemode.state=/state livemode.grubenv=UUID=1-2:/grub2/grubenv";
        assert_eq!(
            shown(line),
            "\
wait    /dev/disk/by-label/data, until 20 s after boot
mount   /run/livemode/device read-write
open    /run/livemode/device/img/live.img
check   7 bytes
warning livemode.digest=none: the image is used unchecked
mount   /run/livemode/image squashfs, read-only
mount   /run/livemode/overlay tmpfs, at most 50%
mount   /sysroot overlay of the two
record  what becomes of it in /run/livemode/device/state
loader  /grub2/grubenv on /dev/disk/by-uuid/1-2
"
        );
    }

    #[test]
    fn records_on_another_device_are_looked_at_there() {
        let line = "root=livemode:/dev/vda1 livemode.digest=none livemode.state=UUID=3-4:/lib/leapp";
        let plan = MountPlan::new(BootParams::parse(line).unwrap(), Path::new("/sysroot"));
        let on = Path::new("/dev/disk/by-uuid/3-4");
        assert_eq!(plan.records(), Some((on, Path::new("/run/livemode/records"))));
        assert_eq!(
            plan.state_dir.as_deref(),
            Some(Path::new("/run/livemode/records/lib/leapp"))
        );
        assert!(plan.to_string().contains(
            "record  what becomes of it in /run/livemode/records/lib/leapp, on /dev/disk/by-uuid/3-4\n"
        ));
    }

    #[test]
    fn a_url_comes_first_and_shows_no_password() {
        let line = "root=livemode:https://me:secret@host/live.img livemode.local=UUID=1-2 rd.live.dir=/img \
                    rd.live.squashimg=live.img livemode.digest=none livemode.fetch_timeout=60";
        assert_eq!(
            shown(line).lines().take(5).collect::<Vec<_>>(),
            [
                "fetch   https://host/live.img into RAM at /run/livemode/fetched/image, within 60 s",
                "or, when that fails",
                "wait    /dev/disk/by-uuid/1-2, until 150 s after boot",
                "mount   /run/livemode/device read-write",
                "open    /run/livemode/device/img/live.img",
            ]
        );
    }

    #[test]
    fn the_overlay_writes_into_memory_and_reads_the_image() {
        let params = BootParams::parse("root=live:https://host/i livemode.local=/dev/vda1").unwrap();
        let plan = MountPlan::new(params, Path::new("/sysroot"));
        assert_eq!(
            plan.overlay_options(),
            "lowerdir=/run/livemode/image,upperdir=/run/livemode/overlay/upper,workdir=/run/livemode/overlay/work"
        );
        // A refusal is recorded on the disk, though the image was to come from a server.
        let disk = plan.disk().unwrap();
        assert_eq!(disk.device, Path::new("/dev/vda1"));
        assert_eq!(disk.named(), "/LiveOS/squashfs.img on /dev/vda1");
        let params = BootParams::parse("root=live:https://host/i").unwrap();
        assert_eq!(MountPlan::new(params, Path::new("/sysroot")).disk(), None);
    }
}
