//! The kernel's drivers of the source's disks, as sysfs has them: of the disk, its controller, and the buses between.
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use livemode_common::sysroot::SysRoot;
use serde::{Deserialize, Serialize};

use super::devices::Devices;
use crate::facts::userspace::{module_name, plain};

/// Where all devices of sysfs lie.
const DEVICES: &str = "sys/devices";

/// A driver that a disk hangs on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Driver {
    /// The module's name, with `_`; also of one that is built into the source's kernel.
    pub(crate) module: String,
    /// What the hardware calls itself, by which udev loads a driver (modules.alias).
    pub(crate) modalias: Option<String>,
    /// Of an NVMe controller: pcie, fc, tcp, rdma.
    #[serde(default)]
    pub(crate) transport: Option<String>,
}

/// Those of each disk, by its path. A system that does not run has none; a driver that is no module's, as that of a PCI
/// bridge, is part of every kernel and left out.
pub(crate) fn look(root: &SysRoot, devices: &Devices) -> BTreeMap<String, Vec<Driver>> {
    let builtin = builtin(root);
    let disks = devices.all().filter(|device| device.kind == "disk");
    disks
        .map(|disk| {
            let name = disk.path.trim_start_matches("/dev/").replace('/', "!");
            let mut drivers = Vec::new();
            let device = root.at("sys/block").join(name).join("device");
            for start in starts(&device) {
                climb(&start, &root.at(DEVICES), &builtin, &mut drivers);
            }
            (disk.path.clone(), drivers)
        })
        .filter(|(_, drivers)| !drivers.is_empty())
        .collect()
}

/// The device of a disk; of one of several NVMe paths also its controllers, which its subsystem links to.
fn starts(device: &Path) -> Vec<PathBuf> {
    let Ok(device) = device.canonicalize() else {
        return Vec::new();
    };
    let controllers = fs::read_dir(&device).into_iter().flatten().flatten();
    let is_controller = |name: &str| {
        name.strip_prefix("nvme")
            .is_some_and(|rest| !rest.is_empty() && rest.chars().all(|c| c.is_ascii_digit()))
    };
    let controllers = controllers
        .filter(|entry| is_controller(&entry.file_name().to_string_lossy()))
        .filter_map(|entry| entry.path().canonicalize().ok());
    let mut all: Vec<PathBuf> = controllers.chain([device.clone()]).collect();
    all.sort();
    all
}

fn climb(start: &Path, top: &Path, builtin: &[String], drivers: &mut Vec<Driver>) {
    let read = |path: PathBuf| fs::read_to_string(path).ok().map(|text| text.trim().to_owned());
    let last = |link: PathBuf| {
        let to = fs::read_link(link).ok()?;
        Some(to.file_name()?.to_string_lossy().into_owned())
    };
    let mut transport = None;
    for dir in start.ancestors().take_while(|dir| *dir != top) {
        transport = transport.or_else(|| read(dir.join("transport")));
        let Some(name) = last(dir.join("driver")) else {
            continue;
        };
        let module =
            last(dir.join("driver/module")).or_else(|| builtin.contains(&plain(&name)).then_some(name));
        let Some(module) = module else { continue };
        let driver = Driver {
            module: plain(&module),
            modalias: read(dir.join("modalias")).filter(|text| !text.is_empty()),
            transport: transport.take(),
        };
        if !drivers.contains(&driver) {
            drivers.push(driver);
        }
    }
}

/// What would be modules were they not part of the running kernel: their drivers' names are theirs, mostly.
fn builtin(root: &SysRoot) -> Vec<String> {
    let release = fs::read_to_string(root.at("proc/sys/kernel/osrelease")).unwrap_or_default();
    let list = root
        .at("lib/modules")
        .join(release.trim())
        .join("modules.builtin");
    let list = fs::read_to_string(list).unwrap_or_default();
    list.lines().filter_map(module_name).collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    /// A sysfs with a disk `name` whose device lies at `device`, and drivers at directories of it: `(directory, driver,
    /// module, modalias)`.
    fn sysfs(name: &str, device: &str, drivers: &[(&str, &str, &str, &str)]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        let at = |path: &str| dir.path().join(path);
        fs::create_dir_all(at(device)).unwrap();
        fs::create_dir_all(at("sys/block").join(name)).unwrap();
        symlink(at(device), at("sys/block").join(name).join("device")).unwrap();
        for (place, driver, module, modalias) in drivers {
            let of = at("sys/bus/any/drivers").join(driver);
            fs::create_dir_all(&of).unwrap();
            if !module.is_empty() {
                symlink(at("sys/module").join(module), of.join("module")).unwrap();
            }
            symlink(&of, at(place).join("driver")).unwrap();
            fs::write(at(place).join("modalias"), format!("{modalias}\n")).unwrap();
        }
        dir
    }

    fn found(dir: &Path, name: &str) -> Vec<(String, Option<String>)> {
        let json = format!(
            r#"{{"blockdevices": [{{"name": "/dev/{name}", "kname": "/dev/{name}", "type": "disk"}}]}}"#
        );
        let all = look(&SysRoot::new(dir), &Devices::parse(&json).unwrap());
        let drivers = all.into_values().flatten();
        drivers.map(|driver| (driver.module, driver.modalias)).collect()
    }

    #[test]
    fn a_disks_drivers_are_those_of_all_that_it_hangs_on() {
        let dir = sysfs(
            "sda",
            "sys/devices/pci0000:00/0000:00:02.0/0000:01:00.0/host0/target0:0:0/0:0:0:0",
            &[
                ("sys/devices/pci0000:00/0000:00:02.0", "pcieport", "", "pci:v8086"),
                (
                    "sys/devices/pci0000:00/0000:00:02.0/0000:01:00.0",
                    "mpt3sas",
                    "mpt3sas",
                    "pci:v1000",
                ),
                (
                    "sys/devices/pci0000:00/0000:00:02.0/0000:01:00.0/host0/target0:0:0/0:0:0:0",
                    "sd",
                    "sd_mod",
                    "scsi:t-0x00",
                ),
            ],
        );
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(
            found(dir.path(), "sda"),
            [
                ("sd_mod".to_owned(), some("scsi:t-0x00")),
                ("mpt3sas".to_owned(), some("pci:v1000"))
            ]
        );
        assert_eq!(found(dir.path(), "sdb"), []);
    }

    #[test]
    fn a_module_that_is_part_of_the_kernel_counts() {
        let dir = sysfs(
            "vda",
            "sys/devices/pci0000:00/0000:00:02.0/virtio0",
            &[
                (
                    "sys/devices/pci0000:00/0000:00:02.0/virtio0",
                    "virtio_blk",
                    "",
                    "virtio:d2",
                ),
                (
                    "sys/devices/pci0000:00/0000:00:02.0",
                    "virtio-pci",
                    "",
                    "pci:v1AF4",
                ),
            ],
        );
        fs::create_dir_all(dir.path().join("proc/sys/kernel")).unwrap();
        fs::create_dir_all(dir.path().join("lib/modules/5.14")).unwrap();
        fs::write(dir.path().join("proc/sys/kernel/osrelease"), "5.14\n").unwrap();
        let list = "kernel/drivers/virtio/virtio_pci.ko\nkernel/drivers/block/virtio_blk.ko\n";
        fs::write(dir.path().join("lib/modules/5.14/modules.builtin"), list).unwrap();
        let modules: Vec<String> = found(dir.path(), "vda")
            .into_iter()
            .map(|(name, _)| name)
            .collect();
        assert_eq!(modules, ["virtio_blk", "virtio_pci"]);
    }

    #[test]
    fn of_several_paths_to_an_nvme_disk_each_counts() {
        let controller = "sys/devices/pci0000:00/0000:00:03.0/nvme/nvme0";
        let dir = sysfs("nvme0n1", "sys/devices/virtual/nvme-subsystem/nvme-subsys0", &[]);
        let at = |path: &str| dir.path().join(path);
        fs::create_dir_all(at(controller)).unwrap();
        fs::write(at(controller).join("transport"), "pcie\n").unwrap();
        symlink(
            at(controller),
            at("sys/devices/virtual/nvme-subsystem/nvme-subsys0/nvme0"),
        )
        .unwrap();
        fs::create_dir_all(at("sys/bus/pci/drivers/nvme")).unwrap();
        symlink(at("sys/module/nvme"), at("sys/bus/pci/drivers/nvme/module")).unwrap();
        symlink(
            at("sys/bus/pci/drivers/nvme"),
            at("sys/devices/pci0000:00/0000:00:03.0/driver"),
        )
        .unwrap();
        let json = r#"{"blockdevices": [{"name": "/dev/nvme0n1", "kname": "/dev/nvme0n1", "type": "disk"}]}"#;
        let all = look(&SysRoot::new(dir.path()), &Devices::parse(json).unwrap());
        assert_eq!(
            all["/dev/nvme0n1"],
            [Driver {
                module: "nvme".into(),
                modalias: None,
                transport: Some("pcie".into())
            }]
        );
    }
}
