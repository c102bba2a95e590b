//! Source systems on storage in layers. The file systems are made here; a workshop, which is the target container booted
//! as an ordinary system, makes the devices below them and puts them there.
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{bail, ensure, Context, Result};
use livemode_common::cmdline::Cmdline;
use livemode_common::records::Manifest;

use crate::baseline;
use crate::binaries::workspace;
use crate::golden;
use crate::grub;
use crate::vm::{Boot, Bus, Drive, Machine, Running, NO_NIC};

mod source_system;
mod workshop;

use source_system::{build, make_file_systems};
use workshop::workshop;

/// Where stock finds the image it has it after half a minute; where not, it would wait for the better part of an hour.
const STOCK_LIMIT: Duration = Duration::from_secs(150);

/// A file system of the source.
#[derive(Debug, Clone)]
pub struct Volume {
    /// Where the source mounts it.
    pub target: &'static str,
    /// Type, as mkfs knows it.
    pub fstype: &'static str,
    /// Its UUID.
    pub uuid: &'static str,
    /// The device it ends up on, as lsblk names it there.
    pub device: &'static str,
    /// MiB.
    pub size_mib: u64,
    /// What the source's fstab says of it beside the device: options. A subvolume is named here.
    pub options: &'static str,
}

/// A whole layout.
#[derive(Debug, Clone)]
pub struct Layout {
    /// Names the fixture, tests/fixtures/storage/NAME.json.
    pub name: &'static str,
    /// MiB of each disk; /dev/disk/by-id/virtio-disk0 and so on in the workshop.
    pub disks: &'static [u64],
    /// What the disks hang on when the source boots.
    pub bus: Bus,
    /// Bytes of a sector.
    pub sector: u32,
    /// File systems, an outer one before those within it.
    pub volumes: &'static [Volume],
    /// What makes the devices, in the workshop's shell.
    pub make: &'static str,
    /// More lines for the fstab.
    pub fstab: &'static str,
    /// More words for the source's kernel arguments.
    pub arguments: &'static str,
    /// More files of the source: path, content.
    pub files: &'static [(&'static str, &'static str)],
    /// The section `livemode` of the configuration, YAML.
    pub config: &'static str,
    /// What else is done to the source before the build: with its root directory.
    pub arrange: fn(&Path) -> Result<()>,
    /// Who keeps the boot entry: mostly nobody, for these machines are about storage that GRUB cannot read, and their kernel is
    /// given to QEMU.
    pub boot_entry: &'static str,
    /// What is done to the source after the build: with its root directory.
    pub spoil: fn(&Path) -> Result<()>,
    /// What is done to the disks after the build, with the paths of their files.
    pub damage: fn(&mut Vec<PathBuf>) -> Result<()>,
    /// The network when the source boots, as QEMU's `-nic` takes it.
    pub nic: &'static str,
}

impl Layout {
    /// A source on one disk that `make` arranges.
    pub const PLAIN: Self = Self {
        name: "",
        disks: &[2600],
        bus: Bus::Virtio,
        sector: 512,
        volumes: &[],
        make: "",
        fstab: "",
        arguments: "",
        files: &[],
        config: "livemode: {}\n",
        arrange: |_| Ok(()),
        boot_entry: "none",
        spoil: |_| Ok(()),
        damage: |_| Ok(()),
        nic: NO_NIC,
    };

    /// Where the fixture lies: what lsblk says in the workshop.
    fn fixture(&self) -> PathBuf {
        workspace().join(format!("tests/fixtures/storage/{}.json", self.name))
    }
}

/// A built and assembled layout.
pub struct Assembled {
    /// What `build` wrote.
    pub manifest: Manifest,
    /// What `plan` shows of the storage.
    pub storage: Vec<String>,
    /// UUID of the image's file system.
    image_uuid: &'static str,
    disks: Vec<Drive>,
    dir: tempfile::TempDir,
    nic: &'static str,
}

impl Assembled {
    /// Builds for the layout, and puts it together.
    ///
    /// # Errors
    /// When something cannot be made; when the workshop's lsblk says something else than the fixture, from which the build
    /// was made: `LIVEMODE_BLESS=1` takes that.
    pub fn new(layout: &Layout) -> Result<Self> {
        let dir = tempfile::Builder::new().prefix("livemode-layout-").tempdir()?;
        make_file_systems(layout, dir.path())?;
        if !layout.fixture().exists() {
            // The first time: the devices alone, for the build goes by what lsblk says of them.
            fs::write(layout.fixture(), workshop(layout, dir.path())?)?;
        }
        let (manifest, storage) = build(layout, dir.path())?;
        let said = workshop(layout, dir.path())?;
        if let Some(difference) = golden::compare(&layout.fixture(), &said)? {
            bail!("{}: {difference}", layout.name);
        }
        let mut files: Vec<PathBuf> = (0..layout.disks.len())
            .map(|n| dir.path().join(format!("disk{n}")))
            .collect();
        (layout.damage)(&mut files)?;
        let disks = files.iter().enumerate().map(|(number, file)| Drive {
            bus: layout.bus,
            sector: layout.sector,
            serial: format!("disk{number}"),
            ..Drive::new(file)
        });
        let holding = layout
            .volumes
            .iter()
            .filter(|volume| Path::new(&manifest.image.path).starts_with(volume.target))
            .max_by_key(|volume| volume.target.len());
        Ok(Self {
            image_uuid: holding.context("the image lies nowhere")?.uuid,
            manifest,
            storage,
            disks: disks.collect(),
            dir,
            nic: layout.nic,
        })
    }

    /// Boots into the image, to the machine's end; its console.
    ///
    /// # Errors
    /// As [`Machine::run`].
    pub fn boot(&self) -> Result<String> {
        self.boot_with(&self.manifest.boot.arguments)
    }

    /// The same with other kernel arguments.
    ///
    /// # Errors
    /// As [`Machine::run`].
    pub fn boot_with(&self, arguments: &str) -> Result<String> {
        let initramfs = self.dir.path().join("initramfs");
        self.machine(&initramfs, arguments, |machine| machine.run())
    }

    /// All boots of what GRUB picks, whose directory is `prefix`, through reboots until the guest powers off; their console.
    ///
    /// # Errors
    /// As [`Machine::run`].
    pub fn boot_by_grub(&self, prefix: &str) -> Result<String> {
        let loader = grub::loader_disk(prefix)?;
        let machine = Machine {
            reboots: true,
            ..Machine::new(&self.disks, Boot::Grub(&loader))
        };
        machine.run()
    }

    /// The same, to the first of these texts on its console; that text.
    ///
    /// # Errors
    /// When the machine ends before, or its time does.
    pub fn boot_until<'t>(&self, texts: &[&'t str]) -> Result<&'t str> {
        let initramfs = self.dir.path().join("initramfs");
        self.machine(&initramfs, &self.manifest.boot.arguments, |machine| {
            let mut running = machine.start()?;
            loop {
                let is_up = running.is_up()?;
                let console = running.console();
                if let Some(text) = texts.iter().find(|text| console.contains(**text)) {
                    // Not in the middle of what it does next.
                    running.expect_after(text, "\n")?;
                    return Ok(*text);
                }
                ensure!(is_up, "none of {texts:?}: {console}");
                std::thread::sleep(Duration::from_millis(500));
            }
        })
    }

    /// The file of a disk.
    pub fn disk(&self, number: usize) -> &Path {
        &self.disks[number].file
    }

    /// Whether stock dmsquash-live finds the image there and mounts it as root, with the arguments that leapp's own code
    /// gives it: the source's without rd.lvm.lv and with the arrays, the file system's UUID, and the directory as the source
    /// sees it.
    ///
    /// # Errors
    /// When the machine cannot be started.
    pub fn does_stock_boot(&self) -> Result<bool> {
        let image = Path::new(&self.manifest.image.path);
        let source = Cmdline::parse(&self.manifest.source_arguments);
        let kept = source
            .0
            .iter()
            .filter(|word| !["root", "ro", "quiet", "rd.lvm.lv"].contains(&word.key.as_str()));
        // leapp writes the arrays into the initramfs.
        let ours = Cmdline::parse(&self.manifest.boot.arguments);
        let arrays = ours.0.iter().filter(|word| word.key == "rd.md.uuid");
        let kept: Vec<String> = kept.chain(arrays).map(ToString::to_string).collect();
        let line = format!(
            "rd.live.image root=live:UUID={} rd.live.dir={} rd.live.squashimg={} rw enforcing=0 rd.shell=0 \
             rd.emergency=poweroff rd.retry=60 bench.watch {}",
            self.image_uuid,
            image.parent().unwrap_or(Path::new("/")).display(),
            image.file_name().unwrap_or_default().to_string_lossy(),
            kept.join(" ")
        );
        let initramfs = baseline::initramfs()?;
        self.machine(&initramfs, &line, |machine| {
            let mut running = machine.start()?;
            let started = Instant::now();
            let found = |running: &Running| running.console().contains("bench: root ");
            while !found(&running) && started.elapsed() < STOCK_LIMIT && running.is_up()? {
                std::thread::sleep(Duration::from_millis(500));
            }
            Ok(found(&running))
        })
    }

    /// Hands out the machine.
    ///
    /// # Errors
    /// Those of `act`.
    pub fn machine<T>(
        &self,
        initramfs: &Path,
        arguments: &str,
        act: impl FnOnce(Machine) -> Result<T>,
    ) -> Result<T> {
        let boot = Boot::Kernel {
            kernel: &self.dir.path().join("kernel"),
            initramfs,
            arguments,
        };
        act(Machine {
            nic: self.nic,
            ..Machine::new(&self.disks, boot)
        })
    }
}
