//! A real GRUB for machines: its packages, a disk that it boots from, and its environment block.
//!
//! It is Debian's 2.14, whose module `blsuki` has the `blscfg` command. RHEL's, which is in no registry here, differs: in
//! 2.14 an id that begins with a digit is read as a number, which is why machine ids of the tests begin with a letter; names of
//! entries that differ by a number here and a word there stand the other way round in its menu (it compares them as files, RHEL
//! as packages); and two faults of its own are taken out of it.
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{ensure, Context, Result};
use livemode_common::cmd::Cmd;

use crate::binaries::workspace;
use crate::cache;

mod boots;
mod tiny;

pub use boots::{real_boots, Booted, Layout, INITRAMFS, KERNEL};

/// Debian's suite with GRUB 2.14.
const SUITE: &str = "forky";

/// GRUB for one kind of firmware.
struct Platform {
    /// As grub-mkimage names it.
    format: &'static str,
    package: &'static str,
    /// What it needs beside [`BUILT_IN`].
    modules: &'static [&'static str],
    mended: [(&'static [u8], &'static [u8]); 2],
}

/// All modules that a grub.cfg of the tests asks for, or a disk: with these GRUB needs no directory of modules.
const BUILT_IN: [&str; 22] = [
    "part_gpt",
    "part_msdos",
    "ext2",
    "xfs",
    "btrfs",
    "lvm",
    "mdraid1x",
    "normal",
    "blsuki",
    "loadenv",
    "terminal",
    "test",
    "echo",
    "linux",
    "search",
    "search_fs_uuid",
    "configfile",
    "reboot",
    "halt",
    "gzio",
    "true",
    "regexp",
];

// Two faults of 2.14's blsuki.c that RHEL's blscfg.c does not have are mended: the buffers for the line `linux` (`bls_get_linux`)
// and for options with a variable (`blsuki_field_append`) are one byte too short. Where that byte matters, for one line in 16 by
// its length, garbage stands between the kernel's line and the initramfs's. This is what the compiler made of the two sums, and
// how they are right.
const BIOS: Platform = Platform {
    format: "i386-pc",
    package: "grub-pc-bin",
    modules: &["biosdisk", "serial"],
    mended: [
        (b"\x83\xc0\x07\x72\x11\x89\xc7", b"\x83\xc0\x08\x72\x11\x89\xc7"),
        (b"\x83\xc0\x01\x72\x0b\x85\xf6", b"\x83\xc0\x02\x72\x0b\x85\xf6"),
    ],
};
const EFI: Platform = Platform {
    format: "x86_64-efi",
    package: "grub-efi-amd64-bin",
    modules: &["fat"],
    mended: [
        (
            b"\x48\x83\xc0\x07\x72\x13\x49\x89\xc4",
            b"\x48\x83\xc0\x08\x72\x13\x49\x89\xc4",
        ),
        (
            b"\x48\x83\xc0\x01\x49\x89\xc4\x72\x16",
            b"\x48\x83\xc0\x02\x49\x89\xc4\x72\x16",
        ),
    ],
};

/// What it does before it looks for grub.cfg: what it says, its prompt included, belongs on the console.
const FIRST: &str = "serial --unit=0 --speed=115200\nterminal_input serial\nterminal_output serial\n";

/// Bytes of a sector.
const SECTOR: usize = 512;
/// The size of a loader disk.
const DISK_BYTES: usize = 1 << 20;
/// The first sector of the core image.
const CORE_SECTOR: u64 = 1;
/// Places in boot.img and in the core image's first sector, and what grub-bios-setup writes there: GRUB's
/// include/grub/i386/pc/boot.h and include/grub/offsets.h.
const KERNEL_SECTOR: usize = 0x5c;
const BOOT_DRIVE: usize = 0x64;
const DRIVE_CHECK: usize = 0x66;
const BLOCK_LIST: usize = 0x1f4;
/// The drive that the BIOS names.
const ANY_DRIVE: u8 = 0xff;
const NO_OPERATION: u8 = 0x90;
/// The segment of memory where the rest of the core image belongs.
const CORE_SEGMENT: u16 = 0x820;

/// The size of an environment block: GRUB's grub/lib/envblk.h.
const BLOCK_BYTES: usize = 1024;

/// Where a source disk of the tests, a file system without a partition table, has its grub.cfg. GRUB counts the loader disk
/// first.
pub const SOURCE_PREFIX: &str = "(hd1)/boot/grub2";

/// A disk of 1 MiB, to boot from beside a source disk: GRUB, which reads grub.cfg in the directory `prefix`, as it names it.
///
/// # Errors
/// When it is absent and cannot be made.
pub fn loader_disk(prefix: &str) -> Result<PathBuf> {
    let made = BIOS.image(prefix, FIRST, |core, modules, out| {
        let read = |path: &Path| fs::read(path).with_context(|| format!("reading {}", path.display()));
        fs::write(
            out.join("disk.img"),
            disk(read(&modules.join("boot.img"))?, read(core)?)?,
        )?;
        Ok(())
    })?;
    Ok(made.join("disk.img"))
}

/// GRUB as a program of UEFI, which reads grub.cfg in the directory `prefix` of the partition that it is started from.
///
/// # Errors
/// When it is absent and cannot be made.
pub fn efi_program(prefix: &str) -> Result<PathBuf> {
    Ok(EFI.image(prefix, "", |_, _, _| Ok(()))?.join(CORE))
}

/// The image's file.
const CORE: &str = "core.img";

impl Platform {
    /// A directory with GRUB's image, which does what `first` says before anything else, and what `more` makes of it, the
    /// modules and that directory.
    fn image(
        &self,
        prefix: &str,
        first: &str,
        more: impl FnOnce(&Path, &Path, &Path) -> Result<()>,
    ) -> Result<PathBuf> {
        let modules = unpacked(SUITE, &[self.package])?
            .join("usr/lib/grub")
            .join(self.format);
        let built_in = [&BUILT_IN, self.modules].concat();
        let key = modules.display().to_string();
        let name = format!(
            "loader-{}",
            prefix.replace(|c: char| !c.is_ascii_alphanumeric(), ".")
        );
        let inputs = [
            &key,
            prefix,
            &built_in.join(" "),
            first,
            &format!("{:?}", self.mended),
        ];
        cache::entry(&name, &inputs, &[], |out| {
            fs::create_dir_all(out)?;
            let (early, core) = (out.join("first.cfg"), out.join(CORE));
            fs::write(&early, first)?;
            let modules = self.mended(&modules, out)?;
            Cmd::new("grub-mkimage")
                .args(["-O", self.format, "-d"])
                .arg(&modules)
                .args(["-p", prefix, "-c"])
                .arg(&early)
                .arg("-o")
                .arg(&core)
                .args(&built_in)
                .run()?;
            more(&core, &modules, out)
        })
    }

    /// A copy of the modules with the faults mended.
    fn mended(&self, modules: &Path, out: &Path) -> Result<PathBuf> {
        let copy = out.join("modules");
        Cmd::new("cp").arg("-r").arg(modules).arg(&copy).run()?;
        let path = copy.join("blsuki.mod");
        let mut module = fs::read(&path).with_context(|| format!("reading {}", path.display()))?;
        for (from, to) in self.mended {
            let mut places = (0..module.len()).filter(|at| module[*at..].starts_with(from));
            let (place, other) = (places.next(), places.next());
            let place = place.filter(|_| other.is_none()).context(
                "blsuki.mod is another one than 2.14-4's: see whether its buffers for `linux` and for variables are large enough \
                 by now",
            )?;
            module[place..][..to.len()].copy_from_slice(to);
        }
        fs::write(&path, module)?;
        Ok(copy)
    }
}

/// What grub-bios-setup would write to a disk.
fn disk(mut boot: Vec<u8>, mut core: Vec<u8>) -> Result<Vec<u8>> {
    ensure!(boot.len() == SECTOR, "boot.img has {} bytes", boot.len());
    boot[KERNEL_SECTOR..][..8].copy_from_slice(&CORE_SECTOR.to_le_bytes());
    boot[BOOT_DRIVE] = ANY_DRIVE;
    boot[DRIVE_CHECK..][..2].fill(NO_OPERATION);

    core.resize(core.len().next_multiple_of(SECTOR), 0);
    let rest = u16::try_from(core.len() / SECTOR - 1).context("too large a core image")?;
    core[BLOCK_LIST..][..8].copy_from_slice(&(CORE_SECTOR + 1).to_le_bytes());
    core[BLOCK_LIST + 8..][..2].copy_from_slice(&rest.to_le_bytes());
    core[BLOCK_LIST + 10..][..2].copy_from_slice(&CORE_SEGMENT.to_le_bytes());

    let mut disk = [boot, core].concat();
    ensure!(disk.len() <= DISK_BYTES, "too large a core image");
    disk.resize(DISK_BYTES, 0);
    Ok(disk)
}

/// The files of Debian packages, which are not installed.
///
/// # Errors
/// When they are absent and cannot be fetched.
pub fn unpacked(suite: &str, packages: &[&str]) -> Result<PathBuf> {
    let script = workspace().join("tests/testbed/packages.sh");
    let name = format!("package-{suite}-{}", packages.join("-"));
    cache::entry(&name, &[], &[&script], |out| {
        Cmd::new(&script).arg(suite).arg(out).args(packages).run()
    })
}

/// An environment block of these lines (`name=value`), as grub-editenv and GRUB itself write it: exactly 1024 bytes.
///
/// # Panics
/// When there are too many.
pub fn environment_block(lines: &[&str]) -> Vec<u8> {
    let mut block = String::from(
        "# GRUB Environment Block\n# WARNING: Do not edit this file by tools other than grub-editenv!!!\n",
    );
    for line in lines {
        block.push_str(line);
        block.push('\n');
    }
    assert!(
        block.len() <= BLOCK_BYTES,
        "too long for an environment block: {block}"
    );
    let mut block = block.into_bytes();
    block.resize(BLOCK_BYTES, b'#');
    block
}
