//! A machine in QEMU, by emulation: /dev/kvm may be there and hang. Everything it prints is read as it comes.
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use livemode_common::cmd::Cmd;

use crate::uefi::Firmware;

mod drive;
mod running;

pub use drive::{Bus, Drive};
pub use running::{Running, Stalled};

/// Memory of a machine, MiB.
pub const MEMORY_MIB: u64 = 1536;
/// Of the processors that QEMU emulates fast, with what halves the time that LUKS takes: AES, and what Linux has it only with.
const PROCESSOR: &str = "qemu64,+aes,+ssse3,+sse4.1,+pclmulqdq";

/// A machine to start.
#[derive(Debug, Clone)]
pub struct Machine<'a> {
    /// The disks, which the machine writes to, in its order of names.
    pub disks: &'a [Drive],
    /// What it boots.
    pub boot: Boot<'a>,
    /// The network, as QEMU's `-nic` takes it.
    pub nic: &'a str,
    /// Whether it boots again when the guest reboots or panics; otherwise that is its end.
    pub reboots: bool,
    /// Whether it does so in the same QEMU, for guests that run for moments. After a whole Linux GRUB takes four times as long
    /// there: each page that it writes holds code which QEMU has translated, and takes back piece by piece.
    pub resets_in_place: bool,
    /// Whether its clock counts instructions, one for a nanosecond, while it has something to do (qemu(1), `-icount`): how long it
    /// is busy by that clock does not depend on how busy this machine is.
    pub counts: bool,
    /// What else it has, in QEMU's own words.
    pub more: &'a [&'a str],
}

/// What a machine boots.
#[derive(Debug, Clone, Copy)]
pub enum Boot<'a> {
    /// What is given to QEMU.
    Kernel {
        /// The kernel.
        kernel: &'a Path,
        /// The initramfs.
        initramfs: &'a Path,
        /// The whole kernel command line.
        arguments: &'a str,
    },
    /// What the GRUB of this loader disk ([`crate::grub::loader_disk`]) finds on the other disks. It is the last one; the
    /// machine only reads it.
    Grub(&'a Path),
    /// What the EFI system partition on one of the disks has.
    Uefi(&'a Firmware),
}

impl Boot<'_> {
    fn arguments(&self) -> Vec<String> {
        match self {
            Self::Kernel {
                kernel,
                initramfs,
                arguments,
            } => vec![
                "-kernel".to_owned(),
                kernel.display().to_string(),
                "-initrd".to_owned(),
                initramfs.display().to_string(),
                "-append".to_owned(),
                (*arguments).to_owned(),
            ],
            Self::Grub(loader) => vec![
                "-drive".to_owned(),
                format!(
                    "file={},if=none,format=raw,id=loader,readonly=on",
                    loader.display()
                ),
                "-device".to_owned(),
                "virtio-blk-pci,drive=loader,serial=loader,bootindex=0".to_owned(),
            ],
            Self::Uefi(firmware) => firmware.arguments(),
        }
    }

    /// What it writes to beside the disks.
    fn written(&self) -> Option<&Path> {
        match self {
            Self::Uefi(firmware) => Some(firmware.variables()),
            Self::Kernel { .. } | Self::Grub(_) => None,
        }
    }
}

/// No network at all.
pub const NO_NIC: &str = "none";

impl<'a> Machine<'a> {
    /// One without a network, whose reboot is its end.
    pub fn new(disks: &'a [Drive], boot: Boot<'a>) -> Self {
        Self {
            disks,
            boot,
            nic: NO_NIC,
            reboots: false,
            resets_in_place: false,
            counts: false,
            more: &[],
        }
    }

    /// The same with a clock that counts instructions.
    pub fn counting(self) -> Self {
        Self { counts: true, ..self }
    }

    /// Runs it until it powers off or, where that is its end, reboots; gives what its serial console showed.
    ///
    /// # Errors
    /// When it does neither within the limit; the end of its console is in the error. A stall of the emulator (no
    /// sign of life for long) is tried once more, with the disk as it was.
    pub fn run(&self) -> Result<String> {
        self.with(Running::wait)
    }

    /// Runs it with someone at its console, who ends with it; a stall is tried once more, from the start.
    ///
    /// # Errors
    /// When it cannot be started, and those of `act`.
    pub fn with<T>(&self, act: impl Fn(Running) -> Result<T>) -> Result<T> {
        let saved = |file: &Path| file.with_extension("saved");
        let files = || {
            let disks = self.disks.iter().map(|disk| disk.file.as_path());
            disks.chain(self.boot.written())
        };
        for file in files() {
            crate::disk::copy(file, &saved(file))?;
        }
        let result = match act(self.start()?) {
            Err(error) if error.is::<Stalled>() => {
                eprintln!("the emulator stalled; once more");
                for file in files() {
                    crate::disk::copy(&saved(file), file)?;
                }
                act(self.start()?)
            }
            result => result,
        };
        for file in files() {
            fs::remove_file(saved(file))?;
        }
        result
    }

    /// Starts it.
    ///
    /// # Errors
    /// When QEMU cannot be started.
    pub fn start(&self) -> Result<Running> {
        let first = self.disks.first().context("a machine without a disk")?;
        let qemu = Cmd::new("qemu-system-x86_64")
            .args(match self.counts {
                false => &["-accel", "tcg,thread=multi"][..],
                true => &["-accel", "tcg,thread=single", "-icount", "shift=0"],
            })
            .args([
                "-M",
                "q35",
                "-cpu",
                PROCESSOR,
                "-smp",
                "1",
                "-m",
                &MEMORY_MIB.to_string(),
            ])
            .args([
                "-display", "none", "-serial", "stdio", "-monitor", "none", "-nic", self.nic,
            ])
            .args((!self.reboots || !self.resets_in_place).then_some("-no-reboot"))
            .args(["-object", "rng-builtin,id=r0", "-device", "virtio-rng-pci,rng=r0"])
            .args(
                self.disks
                    .iter()
                    .enumerate()
                    .flat_map(|(number, disk)| disk.arguments(number)),
            )
            .args(self.boot.arguments())
            .args(self.more);
        Running::start(qemu, &first.file, self.reboots)
    }
}
