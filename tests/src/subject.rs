//! What a test with a machine starts from: a prepared disk of its own, which GRUB boots.
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use livemode_common::cmd::Cmd;
use livemode_common::cmdline::Cmdline;
use livemode_common::contract::{JOURNAL_LOG, STATE};
use livemode_common::loader::script;

use crate::apart;
use crate::binaries::workspace;
use crate::disk::{self, Mounted};
use crate::grub;
use crate::source::prep;
use crate::testbed::{self, Prepared, Suite};
use crate::vm::{Boot, Drive, Machine, Running, NO_NIC};

/// The name of a subject's disk.
const DISK: &str = "disk.img";
const SECOND: &str = "second.img";

/// A source disk after `livemode-prep build`; it goes with the subject.
pub struct Subject {
    /// What went into it.
    pub prepared: Prepared,
    /// The kernel command line to boot the image with: `build`'s own at first.
    pub arguments: String,
    /// The network, as QEMU's `-nic` takes it: none at first.
    pub nic: String,
    /// A sector of the disk with the root that takes no write: none at first.
    pub bad_sector: Option<u64>,
    /// The disk with GRUB.
    loader: PathBuf,
    /// Whether /boot is the second disk.
    is_boot_apart: bool,
    dir: tempfile::TempDir,
}

impl Subject {
    /// A target of this suite with this `livemode` section; `name` is the cache's.
    ///
    /// # Errors
    /// When something cannot be made.
    pub fn new(suite: Suite, name: &str, config: &str) -> Result<Self> {
        Self::of(testbed::prepared(suite, name, config)?, tempfile::tempdir()?)
    }

    /// The same with its disk below `dir`.
    ///
    /// # Errors
    /// When something cannot be made.
    pub fn within(dir: &Path, suite: Suite, name: &str, config: &str) -> Result<Self> {
        Self::of(
            testbed::prepared(suite, name, config)?,
            tempfile::tempdir_in(dir)?,
        )
    }

    /// Another machine whose disk is as this one's is now, beside it.
    ///
    /// # Errors
    /// When the disk cannot be copied.
    pub fn fork(&self) -> Result<Self> {
        let beside = self.dir.path().parent().context("a directory in another")?;
        let dir = tempfile::tempdir_in(beside)?;
        disk::copy(&self.disk(), &dir.path().join(DISK))?;
        if self.is_boot_apart {
            disk::copy(&self.second_disk(), &dir.path().join(SECOND))?;
        }
        Ok(Self {
            is_boot_apart: self.is_boot_apart,
            prepared: self.prepared.clone(),
            arguments: self.arguments.clone(),
            nic: self.nic.clone(),
            bad_sector: self.bad_sector,
            loader: self.loader.clone(),
            dir,
        })
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
        Self::of(
            testbed::arranged(suite, name, config, Some(code), arrange)?,
            tempfile::tempdir()?,
        )
    }

    fn of(prepared: Prepared, dir: tempfile::TempDir) -> Result<Self> {
        disk::copy(&prepared.disk(), &dir.path().join(DISK))?;
        if let Some(second) = prepared.second_disk() {
            disk::copy(&second, &dir.path().join(SECOND))?;
        }
        Ok(Self {
            arguments: prepared.manifest.boot.arguments.clone(),
            nic: NO_NIC.to_owned(),
            bad_sector: None,
            loader: grub::loader_disk(grub::SOURCE_PREFIX)?,
            is_boot_apart: false,
            prepared,
            dir,
        })
    }

    /// One with /boot on a disk of its own, whose upgrade can be all or nothing; its disks lie below `dir`.
    ///
    /// # Errors
    /// When something cannot be made.
    pub fn apart(dir: &Path, name: &str, config: &str) -> Result<Self> {
        Self::apart_with(dir, Suite::Bookworm, name, config, |_| Ok(()))
    }

    /// The same with a target of this suite, after `more` has been done to the source system.
    ///
    /// # Errors
    /// When something cannot be made, and those of `more`.
    pub fn apart_with(
        dir: &Path,
        suite: Suite,
        name: &str,
        config: &str,
        more: impl FnOnce(&Path) -> Result<()>,
    ) -> Result<Self> {
        let code = workspace().join("tests/src/apart.rs");
        let prepared = testbed::arranged(suite, name, config, Some(&code), |source, second| {
            more(source.path())?;
            apart::arrange(source.path(), second)
        })?;
        Ok(Self {
            loader: grub::loader_disk(apart::PREFIX)?,
            is_boot_apart: true,
            ..Self::of(prepared, tempfile::tempdir_in(dir)?)?
        })
    }

    /// The second disk, where there is one.
    pub fn second_disk(&self) -> PathBuf {
        self.dir.path().join(SECOND)
    }

    /// The disk with the root.
    pub fn disk(&self) -> PathBuf {
        self.dir.path().join(DISK)
    }

    /// The disk, mounted here; no machine may run meanwhile.
    ///
    /// # Errors
    /// When it cannot be mounted.
    pub fn mounted(&self) -> Result<Mounted> {
        let disk = Mounted::new(&self.disk())?;
        if self.is_boot_apart {
            return disk.with("boot", &self.second_disk());
        }
        Ok(disk)
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

    /// One boot of what GRUB picks, to the machine's end or its reboot; its console. The first one is that of the image.
    ///
    /// # Errors
    /// As [`Machine::run`].
    pub fn boot(&self) -> Result<String> {
        self.write_arguments()?;
        self.machine(&self.drives(), false).run()
    }

    /// The same with someone at its console.
    ///
    /// # Errors
    /// As [`Machine::start`], and those of `act`.
    pub fn started<T>(&self, act: impl Fn(Running) -> Result<T>) -> Result<T> {
        self.write_arguments()?;
        act(self.machine(&self.drives(), false).start()?)
    }

    /// All boots of what GRUB picks, through reboots until the guest powers off; their console.
    ///
    /// # Errors
    /// As [`Machine::run`].
    pub fn boot_until_it_rests(&self) -> Result<String> {
        self.write_arguments()?;
        self.machine(&self.drives(), true).run()
    }

    /// The same with someone at its console.
    ///
    /// # Errors
    /// As [`Machine::start`], and those of `act`.
    pub fn started_until_it_rests<T>(&self, act: impl Fn(Running) -> Result<T>) -> Result<T> {
        self.write_arguments()?;
        act(self.machine(&self.drives(), true).start()?)
    }

    /// `livemode-prep` for the source system on the disk; its subcommand is to follow.
    ///
    /// # Errors
    /// When the disk cannot be mounted.
    pub fn prep<T>(&self, act: impl FnOnce(Cmd) -> Result<T>) -> Result<T> {
        let disk = self.mounted()?;
        act(prep(disk.path()))
    }

    /// Which entry boots next and after that, by `livemode-prep status`.
    ///
    /// # Errors
    /// When that fails.
    pub fn next_boots(&self) -> Result<[String; 2]> {
        let status = self.prep(|prep| prep.args(["status", "--json"]).read())?;
        let status: serde_json::Value = serde_json::from_str(&status)?;
        Ok(serde_json::from_value(status["next_boots"].clone())?)
    }

    fn drives(&self) -> Vec<Drive> {
        let first = Drive {
            bad_sector: self.bad_sector,
            ..Drive::new(self.disk())
        };
        let second = Some(self.second_disk()).filter(|disk| disk.exists());
        [first].into_iter().chain(second.map(Drive::new)).collect()
    }

    /// Words that a test has changed go into the entry, as somebody at GRUB's menu would have it.
    fn write_arguments(&self) -> Result<()> {
        let boot = &self.prepared.manifest.boot;
        let Some(own) = boot.entry.as_ref().filter(|_| self.arguments != boot.arguments) else {
            return Ok(());
        };
        let disk = self.mounted()?;
        let path = own.path.trim_start_matches('/');
        if !disk.at(path).exists() {
            // The upgrade has succeeded, and its entry is gone.
            return Ok(());
        }
        let text = disk.read(path);
        let options = script::for_grub(&Cmdline::parse(&self.arguments)).map_err(anyhow::Error::msg)?;
        let lines = text.lines().map(|line| match line.split_once(' ') {
            Some(("options", _)) => format!("options {options}\n"),
            _ => format!("{line}\n"),
        });
        Ok(std::fs::write(disk.at(path), lines.collect::<String>())?)
    }

    fn machine<'a>(&'a self, disks: &'a [Drive], reboots: bool) -> Machine<'a> {
        Machine {
            nic: &self.nic,
            reboots,
            ..Machine::new(disks, Boot::Grub(&self.loader))
        }
    }
}
