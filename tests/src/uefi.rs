//! Machines with UEFI: the firmware, the EFI system partition with a loader as the RHEL family has it, and a source system
//! that boots from it.
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use livemode_common::cmd::Cmd;
use livemode_common::loader::efivars;

use crate::binaries::binary;
use crate::container::Programs;
use crate::disk::{self, Mounted};
use crate::grub;
use crate::source::{self, prep};
use crate::testbed::{self, Suite};
use crate::vm::{Boot, Drive, Machine, Running};

/// Debian's suite with the firmware.
const SUITE: &str = "bookworm";
const FIRMWARE: &str = "usr/share/OVMF";

/// The partition as the source system names it.
const PARTITION_NODE: &str = "/dev/vdb1";
const PARTITION_UUID: &str = "4C4D-4553";
const PARTITION_MIB: u64 = 260;
const DISK_NODE: &str = "/dev/vda";
const DISK_UUID: &str = "6c697665-6d6f-4d6f-8d6f-64656d6f3031";
/// Where the partition begins.
const OFFSET_MIB: u64 = 1;

/// What a source system on a directory shows of itself, as far as `livemode-prep` asks; nothing of it is on its disk.
const VIEWS: [&str; 3] = ["proc/self", "dev/disk", "sys/firmware"];

/// OVMF, with a store of variables of its own.
#[derive(Debug)]
pub struct Firmware {
    code: PathBuf,
    variables: PathBuf,
}

impl Firmware {
    /// One whose variables are kept in the file `variables`, as new.
    ///
    /// # Errors
    /// When it is absent and cannot be made.
    pub fn new(variables: PathBuf) -> Result<Self> {
        let dir = grub::unpacked(SUITE, &["ovmf"])?.join(FIRMWARE);
        fs::copy(dir.join("OVMF_VARS_4M.fd"), &variables).context("copying OVMF's variables")?;
        Ok(Self {
            code: dir.join("OVMF_CODE_4M.fd"),
            variables,
        })
    }

    /// The file with its variables.
    pub fn variables(&self) -> &Path {
        &self.variables
    }

    /// For QEMU.
    pub fn arguments(&self) -> Vec<String> {
        let flash = |file: &Path, more: &str| {
            let file = file.display();
            [
                "-drive".to_owned(),
                format!("if=pflash,format=raw,{more},file={file}"),
            ]
        };
        let code = flash(&self.code, "unit=0,readonly=on");
        [code, flash(&self.variables, "unit=1")].concat()
    }
}

/// What the EFI system partition has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loader {
    /// GRUB as el9 has it: a stub leads to grub.cfg and grubenv beside the kernels.
    GrubStub,
    /// GRUB as el8 has it: grub.cfg and grubenv lie on the partition, and the latter's place beside the kernels is a link.
    GrubOnPartition,
    /// systemd-boot, with entries and kernels on the partition as kernel-install(8) puts them there.
    SystemdBoot,
}

impl Loader {
    /// Where the source mounts the partition.
    fn mount_point(self) -> &'static str {
        match self {
            Self::GrubStub | Self::GrubOnPartition => "boot/efi",
            Self::SystemdBoot => "efi",
        }
    }

    /// What it leaves in the variable LoaderInfo.
    fn info(self) -> Option<&'static str> {
        (self == Self::SystemdBoot).then_some("systemd-boot 252")
    }

    /// Puts the loader on the partition, and its configuration in its place.
    fn install(self, source: &Mounted) -> Result<()> {
        let partition = source.at(self.mount_point());
        let programs = partition.join("EFI/BOOT");
        fs::create_dir_all(&programs)?;
        let program = match self {
            Self::GrubStub | Self::GrubOnPartition => grub::efi_program("/EFI/redhat")?,
            Self::SystemdBoot => grub::unpacked(SUITE, &["systemd-boot-efi"])?
                .join("usr/lib/systemd/boot/efi/systemd-bootx64.efi"),
        };
        fs::copy(program, programs.join("BOOTX64.EFI"))?;
        if self == Self::SystemdBoot {
            return install_kernel(source, &partition);
        }
        self.configure_grub(source, &partition.join("EFI/redhat"))
    }

    fn configure_grub(self, source: &Mounted, vendor: &Path) -> Result<()> {
        fs::create_dir_all(vendor)?;
        let (cfg, env) = (source.at("boot/grub2/grub.cfg"), source.at("boot/grub2/grubenv"));
        // The firmware's console is the serial one already.
        let text = fs::read_to_string(&cfg)?;
        let lines = text
            .lines()
            .filter(|line| !line.starts_with("serial") && !line.starts_with("terminal_"));
        let text: String = lines.map(|line| format!("{line}\n")).collect();
        match self {
            Self::GrubStub => {
                fs::write(&cfg, text)?;
                let stub = format!(
                    "search --no-floppy --fs-uuid --set=dev {DISK_UUID}\nset prefix=($dev)/boot/grub2\nexport $prefix\nconfigfile \
                     $prefix/grub.cfg\n"
                );
                fs::write(vendor.join("grub.cfg"), stub)?;
            }
            Self::GrubOnPartition => {
                fs::write(vendor.join("grub.cfg"), text)?;
                fs::remove_file(&cfg)?;
                fs::copy(&env, vendor.join("grubenv"))?;
                fs::remove_file(&env)?;
                symlink("../efi/EFI/redhat/grubenv", &env)?;
            }
            Self::SystemdBoot => {}
        }
        Ok(())
    }
}

/// The source's kernel and its entry on the partition, in the place of GRUB's.
fn install_kernel(source: &Mounted, partition: &Path) -> Result<()> {
    let kernel = testbed::source_kernel(source.path())?;
    let name = kernel
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    let version = name.trim_start_matches("vmlinuz-");
    let machine = source.read("etc/machine-id").trim().to_owned();
    let (dir, entries) = (
        partition.join(&machine).join(version),
        partition.join("loader/entries"),
    );
    for dir in [&dir, &entries] {
        fs::create_dir_all(dir)?;
    }
    fs::copy(&kernel, dir.join("linux"))?;
    fs::copy(source.at("boot/initrd.img-source"), dir.join("initrd"))?;
    let of_grub = source.read(&format!("boot/loader/entries/{machine}-{version}.conf"));
    let options = of_grub.lines().find(|line| line.starts_with("options "));
    // systemd-boot knows no variables.
    let options = options.unwrap_or_default().replace(" $tuned_params", "");
    let entry = format!(
        "title Demo Linux\nversion {version}\nmachine-id {machine}\n{options}\nlinux /{machine}/{version}/linux\ninitrd \
         /{machine}/{version}/initrd\n"
    );
    // It may be tried three times (systemd-bless-boot(8)).
    fs::write(entries.join(format!("{machine}-{version}+3.conf")), entry)?;
    fs::write(partition.join("loader/loader.conf"), "timeout 0\n")?;
    Ok(fs::remove_dir_all(source.at("boot/grub2"))?)
}

/// A source system with UEFI on a directory, whose EFI system partition is one too.
pub struct Source {
    mounted: Mounted,
    loader: Loader,
    programs: Programs,
    dir: tempfile::TempDir,
}

impl Source {
    /// One with this loader.
    ///
    /// # Errors
    /// When something cannot be made.
    pub fn new(loader: Loader) -> Result<Self> {
        let dir = tempfile::Builder::new().prefix("livemode-uefi-").tempdir()?;
        let disk = dir.path().join(DISK);
        disk::make(&disk, &testbed::source()?, testbed::DISK_MIB)?;
        let mounted = Mounted::new(&disk)?;
        fs::create_dir_all(mounted.at("var/lib/leapp"))?;
        loader.install(&mounted)?;
        let partition = loader.mount_point();
        let fstab =
            mounted.read("etc/fstab") + &format!("UUID={PARTITION_UUID} /{partition} vfat umask=0077 0 0\n");
        fs::write(mounted.at("etc/fstab"), fstab)?;
        show_views(&mounted, partition)?;
        let source = Self {
            mounted,
            loader,
            // Of the devices nothing is known but their names.
            programs: Programs::with("lsblk", "exit 1")?,
            dir,
        };
        source.set_variable(efivars::LOADER_INFO, loader.info())?;
        Ok(source)
    }

    /// `livemode-prep` for it; its subcommand is to follow.
    pub fn prep(&self) -> Cmd {
        prep(self.mounted.path()).env("PATH", self.programs.path())
    }

    /// `livemode-prep build` for it.
    ///
    /// # Errors
    /// When there is no container.
    pub fn build(&self) -> Result<Cmd> {
        let container = testbed::container(Suite::Bookworm)?;
        Ok(self.prep().args(["build", "--userspace"]).arg(container))
    }

    /// A variable of its firmware.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn variable(&self, name: &str) -> Result<Option<String>> {
        efivars::read(&self.mounted.at(efivars::DIR), name)
    }

    /// Sets a variable of its firmware, or takes it away.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn set_variable(&self, name: &str, set: Option<&str>) -> Result<()> {
        efivars::write(&self.mounted.at(efivars::DIR), name, set)
    }

    /// All files of its EFI system partition.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn partition(&self) -> Result<BTreeMap<PathBuf, String>> {
        source::listing(&self.mounted.at(self.loader.mount_point()))
    }
}

/// The source's disk, the one with the EFI system partition, and the firmware's variables, in their directory.
const DISK: &str = "disk.img";
const EFI_DISK: &str = "efi.img";
const VARIABLES: &str = "variables";

/// A machine on which `livemode-prep build` has run.
pub struct Uefi {
    firmware: Firmware,
    disks: Vec<Drive>,
    dir: tempfile::TempDir,
}

impl Uefi {
    /// One with this loader. What `build` has put into the firmware's variables it has not got: `livemode-prep arm` is to be called
    /// there.
    ///
    /// # Errors
    /// When something cannot be made.
    pub fn new(loader: Loader) -> Result<Self> {
        let source = Source::new(loader)?;
        tell_what_boots(&source.mounted)?;
        source.build()?.run()?;
        let Source { mounted, dir, .. } = source;
        for view in VIEWS {
            fs::remove_dir_all(mounted.at(view))?;
        }
        let at = |name: &str| dir.path().join(name);
        make_partition(&mounted.at(loader.mount_point()), &at(EFI_DISK))?;
        drop(mounted);
        Ok(Self {
            firmware: Firmware::new(at(VARIABLES))?,
            disks: [DISK, EFI_DISK].map(at).map(Drive::new).to_vec(),
            dir,
        })
    }

    /// All boots of what the firmware picks, through reboots until the guest powers off; their console.
    ///
    /// # Errors
    /// As [`Machine::run`].
    pub fn boot_until_it_rests(&self) -> Result<String> {
        self.with(Running::wait)
    }

    /// The same with somebody at its console and its reset button.
    ///
    /// # Errors
    /// As [`Machine::with`].
    pub fn with<T>(&self, act: impl Fn(Running) -> Result<T>) -> Result<T> {
        let machine = Machine {
            reboots: true,
            ..Machine::new(&self.disks, Boot::Uefi(&self.firmware))
        };
        machine.with(act)
    }

    /// The source's disk, mounted here; no machine may run meanwhile.
    ///
    /// # Errors
    /// When it cannot be mounted.
    pub fn mounted(&self) -> Result<Mounted> {
        Mounted::new(&self.disks[0].file)
    }

    /// A file of the EFI system partition, as text; none where it is not there.
    ///
    /// # Errors
    /// When the tool fails.
    pub fn on_partition(&self, path: &str) -> Result<Option<String>> {
        let copy = self.dir.path().join("copy");
        let (status, _, stderr) = mtools("mcopy", &self.disks[1].file)
            .args(["-n", &format!("::{path}")])
            .arg(&copy)
            .output()?;
        if !status.success() {
            anyhow::ensure!(stderr.contains("not found"), "{stderr}");
            return Ok(None);
        }
        let text = String::from_utf8_lossy(&fs::read(&copy)?).into_owned();
        fs::remove_file(copy)?;
        Ok(Some(text))
    }
}

/// What each boot of the source does before its report.
const TELL: &str = r#"
livemode-prep status 2>&1 | sed 's/^/status: /'
if rm /etc/demo-arm 2>/dev/null; then
    livemode-prep arm 2>&1 | sed 's/^/armed: /'
    systemctl --no-block reboot
    sleep 1000
fi
"#;

/// Each boot of the source says on the console what boots next.
fn tell_what_boots(source: &Mounted) -> Result<()> {
    fs::copy(binary("livemode-prep"), source.at("usr/bin/livemode-prep"))?;
    let dir = source.at("etc/systemd/system/demo-report.service.d");
    fs::create_dir_all(&dir)?;
    fs::write(source.at("usr/bin/demo-loader"), TELL)?;
    // It wants the devices and mounts of a whole system.
    let unit = "[Unit]\nRequires=basic.target\nAfter=basic.target\n[Service]\nExecStartPre=-/bin/sh /usr/bin/demo-loader\n";
    Ok(fs::write(dir.join("loader.conf"), unit)?)
}

fn show_views(source: &Mounted, partition: &str) -> Result<()> {
    for view in VIEWS {
        fs::create_dir_all(source.at(view))?;
    }
    let mounts = format!(
        "30 1 0:1 / / rw - ext4 {DISK_NODE} rw\n31 30 0:2 / /{partition} rw - vfat {PARTITION_NODE} rw\n"
    );
    fs::write(source.at("proc/self/mountinfo"), mounts)?;
    fs::create_dir_all(source.at("sys/firmware/efi/efivars"))?;
    let by_uuid = source.at("dev/disk/by-uuid");
    fs::create_dir_all(&by_uuid)?;
    for (node, uuid) in [(DISK_NODE, DISK_UUID), (PARTITION_NODE, PARTITION_UUID)] {
        let name = node.trim_start_matches("/dev/");
        fs::write(source.at("dev").join(name), "")?;
        symlink(format!("../../{name}"), by_uuid.join(uuid))?;
    }
    Ok(())
}

/// Makes a disk with an EFI system partition of what lies in a directory, which is empty afterwards: not every kernel that
/// tests run on knows its file system.
fn make_partition(tree: &Path, image: &Path) -> Result<()> {
    fs::File::create(image)?.set_len((PARTITION_MIB + 2 * OFFSET_MIB) << 20)?;
    let table = image.with_extension("table");
    let line = format!("start={OFFSET_MIB}MiB, size={PARTITION_MIB}MiB, type=uefi\n");
    fs::write(&table, format!("label: gpt\n{line}"))?;
    Cmd::new("sh")
        .args(["-c", "exec sfdisk --quiet \"$1\" <\"$2\"", "sfdisk"])
        .arg(image)
        .arg(&table)
        .run()?;
    Cmd::new("mkfs.vfat")
        .args(["-F", "32", "-i", &PARTITION_UUID.replace('-', "")])
        .args(["--offset", &(OFFSET_MIB * 2048).to_string()])
        .arg(image)
        .arg((PARTITION_MIB << 10).to_string())
        .run()?;
    for entry in fs::read_dir(tree)? {
        let path = entry?.path();
        mtools("mcopy", image)
            .args(["-s", "-Q"])
            .arg(&path)
            .arg("::")
            .run()?;
    }
    fs::remove_dir_all(tree)?;
    Ok(fs::create_dir(tree)?)
}

/// A program of mtools, for the partition of a disk.
fn mtools(program: &str, image: &Path) -> Cmd {
    let image = format!("{}@@{OFFSET_MIB}M", image.display());
    Cmd::new(program).args(["-i", &image])
}
