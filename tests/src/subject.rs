//! What a test with a machine starts from: a prepared disk of its own, and the two ways to boot it.
use std::path::PathBuf;

use anyhow::Result;
use livemode_common::contract::{JOURNAL_LOG, STATE};

use crate::disk::{self, Mounted};
use crate::testbed::{self, Prepared, Suite};
use crate::vm::{Machine, Running};

/// A source disk after `livemode-prep build`; it goes with the subject.
pub struct Subject {
    /// What went into it.
    pub prepared: Prepared,
    /// The kernel command line to boot the image with: `build`'s own at first.
    pub arguments: String,
    dir: tempfile::TempDir,
}

impl Subject {
    /// A target of this suite with this `livemode` section; `name` is the cache's.
    ///
    /// # Errors
    /// When something cannot be made.
    pub fn new(suite: Suite, name: &str, config: &str) -> Result<Self> {
        let prepared = testbed::prepared(suite, name, config)?;
        let dir = tempfile::tempdir()?;
        disk::copy(&prepared.disk(), &dir.path().join("disk.img"))?;
        Ok(Self {
            arguments: prepared.manifest.boot.arguments.clone(),
            prepared,
            dir,
        })
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
        let (disk, kernel, initramfs) = (self.disk(), self.prepared.kernel(), self.prepared.initramfs());
        machine(&disk, &kernel, &initramfs, &self.arguments).run()
    }

    /// The boot into the image, with someone at its console.
    ///
    /// # Errors
    /// When it cannot be started, and those of `act`.
    pub fn started<T>(&self, act: impl FnOnce(Running) -> Result<T>) -> Result<T> {
        let (disk, kernel, initramfs) = (self.disk(), self.prepared.kernel(), self.prepared.initramfs());
        act(machine(&disk, &kernel, &initramfs, &self.arguments).start()?)
    }

    /// The boot of the source system with its own kernel, to the machine's end; its console.
    ///
    /// # Errors
    /// As [`Machine::run`].
    pub fn boot_source(&self) -> Result<String> {
        let (disk, arguments) = (self.disk(), testbed::source_arguments());
        let (kernel, initramfs) = (self.prepared.source_kernel(), self.prepared.source_initramfs());
        machine(&disk, &kernel, &initramfs, &arguments).run()
    }
}

fn machine<'a>(
    disk: &'a std::path::Path,
    kernel: &'a std::path::Path,
    initramfs: &'a std::path::Path,
    arguments: &'a str,
) -> Machine<'a> {
    Machine {
        disk,
        kernel,
        initramfs,
        arguments,
    }
}
