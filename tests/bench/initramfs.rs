//! The initramfs: our call of dracut beside upstream's, in the same container.
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{ensure, Context, Result};
use livemode_common::cmd::Cmd;
use livemode_tests::baseline;
use livemode_tests::binaries::{binary, workspace};
use livemode_tests::container::Changed;

use crate::row::{cpu_s, Row};
use crate::subject::Subject;

/// Two finished ones.
pub(crate) struct Both {
    dir: tempfile::TempDir,
    ours: Made,
    theirs: Made,
}

struct Made {
    cpu_s: f64,
    /// Bytes of the files in it.
    unpacked: u64,
    /// Paths of the kernel's modules, from `drivers` on.
    drivers: BTreeSet<String>,
}

/// Where drivers of disks, their controllers and their buses lie, below the kernel's `drivers`.
const OF_DISKS: [&str; 17] = [
    "ata", "block", "cdrom", "firewire", "hv", "memstick", "message", "mmc", "mtd", "nvdimm", "nvme", "pci",
    "scsi", "ufs", "usb", "virtio", "xen",
];
/// Disks by the network, which are a layer: the modules of dracut's `iscsi`.
const BY_NETWORK: [&str; 3] = ["iscsi_tcp", "libiscsi_tcp", "iscsi_boot_sysfs"];

impl Made {
    /// By lsinitrd(1): a line of a file is as `ls -l` has it.
    fn of(cpu_s: f64, listing: &str) -> Self {
        let files = listing.lines().filter(|line| line.starts_with("-r"));
        let size = |line: &str| line.split_whitespace().nth(4)?.parse::<u64>().ok();
        let driver = |line: &str| {
            let (_, path) = line.rsplit_once("/kernel/")?;
            path.split_once(".ko").map(|(name, _)| name.to_owned())
        };
        Self {
            cpu_s,
            unpacked: files.clone().filter_map(size).sum(),
            drivers: files.filter_map(driver).collect(),
        }
    }

    fn of_disks(&self) -> BTreeSet<&str> {
        let is_of_disks = |path: &&str| {
            let mut parts = path.split('/');
            let name = path.rsplit('/').next().unwrap_or_default();
            parts.next() == Some("drivers")
                && parts.next().is_some_and(|dir| OF_DISKS.contains(&dir))
                && !BY_NETWORK.contains(&name)
        };
        self.drivers
            .iter()
            .map(String::as_str)
            .filter(is_of_disks)
            .collect()
    }
}

pub(crate) fn make_both(subject: &Subject) -> Result<Both> {
    let container = subject.copy()?;
    let tree = workspace();
    baseline::add_watcher(&container)?;
    baseline::add_module(&tree.join("livemode-boot/dracut/90livemode"), &container)?;
    let libexec = container.at("usr/libexec/livemode");
    fs::create_dir_all(&libexec)?;
    fs::copy(binary("livemode-boot"), libexec.join("livemode-boot"))?;

    let dir = tempfile::tempdir()?;
    let make = |name: &str, call: Cmd| -> Result<Made> {
        // The last --add of both: says in both when the root is mounted.
        let output = format!("/var/tmp/{name}");
        let call = call.args(["--add", baseline::WATCHER, &output]);
        eprintln!("{call}");
        let cpu_s = cpu_s(&call)?;
        fs::copy(container.at(&output[1..]), dir.path().join(name)).context("copying the initramfs")?;
        let listing = container.inside("lsinitrd").arg(&output).read()?;
        Ok(Made::of(cpu_s, &listing))
    };
    let mut arguments = subject.arguments_of("dracut")?;
    arguments.pop().context("no output of dracut in the plan")?;
    let ours = make("ours", container.inside("dracut").args(arguments))?;
    let theirs = make("theirs", upstream(subject, &container))?;
    Ok(Both { dir, ours, theirs })
}

/// leapp's call of dracut, but for its output.
pub(crate) fn upstream(subject: &Subject, container: &Changed) -> Cmd {
    let dracut = container.inside("dracut").args(baseline::UPSTREAM);
    dracut.args(["--kver", subject.kernel_version(), "-f"])
}

impl Both {
    pub(crate) fn ours(&self) -> PathBuf {
        self.dir.path().join("ours")
    }

    pub(crate) fn theirs(&self) -> PathBuf {
        self.dir.path().join("theirs")
    }

    pub(crate) fn rows(&self) -> Result<Vec<Row>> {
        let size = |path: &Path| -> Result<f64> { Ok(fs::metadata(path)?.len() as f64) };
        let (ours, theirs) = (self.ours.of_disks(), self.theirs.of_disks());
        let lost: Vec<&&str> = theirs.difference(&ours).collect();
        ensure!(
            lost.is_empty(),
            "drivers of disks that only upstream's has: {lost:?}"
        );
        Ok(vec![
            Row {
                name: "initramfs_cpu".into(),
                ours: self.ours.cpu_s,
                theirs: self.theirs.cpu_s,
                unit: "CPU s",
                bar: Some(0.1),
                what: "making the initramfs, beside upstream's dracut call",
            },
            Row {
                name: "initramfs_size".into(),
                ours: size(&self.ours())?,
                theirs: size(&self.theirs())?,
                unit: "bytes",
                bar: Some(0.5),
                what: "the initramfs",
            },
            Row {
                name: "initramfs_unpacked".into(),
                ours: self.ours.unpacked as f64,
                theirs: self.theirs.unpacked as f64,
                unit: "bytes",
                bar: Some(0.5),
                what: "the files in it",
            },
            Row {
                name: "initramfs_drivers".into(),
                ours: self.ours.drivers.len() as f64,
                theirs: self.theirs.drivers.len() as f64,
                unit: "count",
                bar: None,
                what: "kernel modules in it",
            },
            Row {
                name: "initramfs_disk_drivers".into(),
                ours: ours.len() as f64,
                theirs: theirs.len() as f64,
                unit: "count",
                bar: Some(1.0),
                what: "of these, drivers of disks, their controllers and their buses",
            },
        ])
    }
}
