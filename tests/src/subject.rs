//! What a test with a machine starts from: a prepared disk of its own, and the two ways to boot it.
use std::path::{Path, PathBuf};

use anyhow::Result;
use livemode_common::contract::{JOURNAL_LOG, STATE};

use crate::disk::{self, Mounted};
use crate::testbed::{self, Prepared, Suite};
use crate::vm::{Drive, Machine, Running, NO_NIC};

/// A source disk after `livemode-prep build`; it goes with the subject.
pub struct Subject {
    /// What went into it.
    pub prepared: Prepared,
    /// The kernel command line to boot the image with: `build`'s own at first.
    pub arguments: String,
    /// The network, as QEMU's `-nic` takes it: none at first.
    pub nic: String,
    dir: tempfile::TempDir,
}

impl Subject {
    /// A target of this suite with this `livemode` section; `name` is the cache's.
    ///
    /// # Errors
    /// When something cannot be made.
    pub fn new(suite: Suite, name: &str, config: &str) -> Result<Self> {
        Self::of(testbed::prepared(suite, name, config)?)
    }

    /// The same after `arrange`, a function of the file `code`, has made the source system ready, and a second disk where the
    /// path it is given says; what it gives is dropped after `livemode-prep build`.
    ///
    /// # Errors
    /// When something cannot be made.
    pub fn arranged<T>(
        suite: Suite,
        name: &str,
        config: &str,
        code: &Path,
        arrange: impl FnOnce(&Mounted, &Path) -> Result<T>,
    ) -> Result<Self> {
        Self::of(testbed::arranged(suite, name, config, Some(code), arrange)?)
    }

    fn of(prepared: Prepared) -> Result<Self> {
        let dir = tempfile::tempdir()?;
        disk::copy(&prepared.disk(), &dir.path().join("disk.img"))?;
        if let Some(second) = prepared.second_disk() {
            disk::copy(&second, &dir.path().join("second.img"))?;
        }
        Ok(Self {
            arguments: prepared.manifest.boot.arguments.clone(),
            nic: NO_NIC.to_owned(),
            prepared,
            dir,
        })
    }

    /// The second disk, where there is one.
    pub fn second_disk(&self) -> PathBuf {
        self.dir.path().join("second.img")
    }

    fn disk(&self) -> PathBuf {
        self.dir.path().join("disk.img")
    }

    /// The disk, mounted here; no machine may run meanwhile.
    ///
    /// # Errors
    /// When it cannot be mounted.
    pub fn mounted(&self) -> Result<Mounted> {
        Mounted::new(&self.disk())
    }

    /// `state.json` on the disk.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn state(&self) -> Result<serde_json::Value> {
        Ok(serde_json::from_str(&self.mounted()?.read(STATE))?)
    }

    /// What a power cut would leave of the journal's copy right now.
    ///
    /// # Errors
    /// When the disk cannot be copied or mounted.
    pub fn journal_on_a_copy(&self) -> Result<String> {
        let copy = self.dir.path().join("copy.img");
        disk::copy(&self.disk(), &copy)?;
        Ok(Mounted::new(&copy)?.read(JOURNAL_LOG))
    }

    /// The boot into the image, to the machine's end; its console.
    ///
    /// # Errors
    /// As [`Machine::run`].
    pub fn boot(&self) -> Result<String> {
        let (disks, kernel, initramfs) = self.parts();
        self.machine(&disks, &kernel, &initramfs).run()
    }

    /// The boot into the image, with someone at its console.
    ///
    /// # Errors
    /// As [`Machine::with`].
    pub fn started<T>(&self, act: impl Fn(Running) -> Result<T>) -> Result<T> {
        let (disks, kernel, initramfs) = self.parts();
        act(self.machine(&disks, &kernel, &initramfs).start()?)
    }

    fn parts(&self) -> (Vec<Drive>, PathBuf, PathBuf) {
        let second = Some(self.second_disk()).filter(|disk| disk.exists());
        (
            [self.disk()].into_iter().chain(second).map(Drive::new).collect(),
            self.prepared.kernel(),
            self.prepared.initramfs(),
        )
    }

    fn machine<'a>(&'a self, disks: &'a [Drive], kernel: &'a Path, initramfs: &'a Path) -> Machine<'a> {
        Machine {
            disks,
            kernel,
            initramfs,
            arguments: &self.arguments,
            nic: &self.nic,
        }
    }

    /// The boot of the source system with its own kernel, to the machine's end; its console.
    ///
    /// # Errors
    /// As [`Machine::run`].
    pub fn boot_source(&self) -> Result<String> {
        let (disks, arguments) = ([Drive::new(self.disk())], testbed::source_arguments());
        let (kernel, initramfs) = (self.prepared.source_kernel(), self.prepared.source_initramfs());
        Machine {
            disks: &disks,
            kernel: &kernel,
            initramfs: &initramfs,
            arguments: &arguments,
            nic: NO_NIC,
        }
        .run()
    }
}
