//! Whether the target's kernel drives the disks that early boot and the live system cannot do without. Pure.
use std::collections::BTreeSet;

use super::storage::Storage;
use crate::facts::leapp::Requested;
use crate::facts::storage::drivers::Driver;
use crate::facts::storage::StorageFacts;
use crate::facts::userspace::{plain, Kernel};

/// A sentence for each disk that the image or a mount needs and that would be gone after the reboot. `requested` is what
/// others put into the initramfs.
pub(crate) fn missing(
    storage: &Storage,
    sources: &StorageFacts,
    kernel: &Kernel,
    requested: &Requested,
) -> Vec<String> {
    let disks = storage.image.disks.union(&storage.required_disks);
    let modules = &requested.kernel_modules;
    disks
        .filter_map(|disk| lost(disk, sources.drivers.get(disk)?, kernel, modules))
        .collect()
}

/// The modules of the target's kernel that drive what the image's disks hang on: those that say so, and this system's.
pub(crate) fn of_image(storage: &Storage, sources: &StorageFacts, kernel: &Kernel) -> BTreeSet<String> {
    let claiming = |driver: &Driver| {
        let modules = driver.modalias.as_ref().and_then(|name| kernel.drivers.get(name));
        modules.cloned().unwrap_or_default()
    };
    storage
        .image_drivers(sources)
        .flat_map(|driver| claiming(driver).into_iter().chain([driver.module.clone()]))
        .collect()
}

fn lost(disk: &str, drivers: &[Driver], kernel: &Kernel, requested: &[String]) -> Option<String> {
    let is_told = !kernel.modules.is_empty() || !kernel.builtin.is_empty();
    let is_there = |driver: &&Driver| {
        !is_told || drives(kernel, driver) || requested.iter().any(|name| plain(name) == driver.module)
    };
    let driver = drivers.iter().find(|driver| !is_there(driver))?;
    let (module, version) = (&driver.module, &kernel.version);
    let hardware = driver.modalias.as_deref().unwrap_or("its hardware");
    let lack = if kernel.modules.contains(module) {
        format!("{module} of the target's kernel {version} no longer drives that")
    } else {
        format!("the target's kernel {version} has no driver for that")
    };
    Some(format!(
        "{disk} hangs on {module} ({hardware}), and {lack}: the disk would be gone after the reboot; put a driver into \
         the container's /lib/modules/{version}, or move what lies on the disk"
    ))
}

/// By another module too, where one says that it knows the hardware. What is part of the kernel need not say what it is for.
fn drives(kernel: &Kernel, driver: &Driver) -> bool {
    let claiming = driver
        .modalias
        .as_ref()
        .and_then(|modalias| kernel.drivers.get(modalias));
    match claiming {
        Some(modules) => !modules.is_empty() || kernel.builtin.contains(&driver.module),
        None => kernel.modules.contains(&driver.module) || kernel.builtin.contains(&driver.module),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kernel() -> Kernel {
        let set =
            |names: &[&str]| -> BTreeSet<String> { names.iter().map(|&name| name.to_owned()).collect() };
        Kernel {
            version: "5.14".into(),
            modules: set(&["mpt3sas", "sd_mod", "ahci"]),
            builtin: set(&["virtio_pci"]),
            drivers: [
                ("pci:sas3008", set(&["mpt3sas"])),
                ("pci:sas1068", set(&[])),
                ("pci:virtio", set(&[])),
                ("scsi:t-0x00", set(&["sd_mod"])),
            ]
            .map(|(modalias, modules)| (modalias.to_owned(), modules))
            .into(),
            ..Kernel::default()
        }
    }

    fn said(drivers: &[(&str, Option<&str>)], kernel: &Kernel, requested: &[&str]) -> Option<String> {
        let drivers = drivers.iter().map(|(module, modalias)| Driver {
            module: (*module).to_owned(),
            modalias: modalias.map(str::to_owned),
            transport: None,
        });
        let drivers: Vec<Driver> = drivers.collect();
        let requested: Vec<String> = requested.iter().map(|&name| name.to_owned()).collect();
        lost("/dev/sda", &drivers, kernel, &requested)
    }

    #[test]
    fn a_disk_that_the_targets_kernel_does_not_drive_is_named() {
        for (module, modalias, requested, lack) in [
            ("mpt3sas", Some("pci:sas3008"), &[][..], None),
            // Another driver has taken the hardware over.
            ("mpt2sas", Some("pci:sas3008"), &[], None),
            // The driver is there, and has dropped the hardware.
            (
                "mpt3sas",
                Some("pci:sas1068"),
                &[],
                Some("mpt3sas of the target's kernel 5.14 no longer drives that"),
            ),
            (
                "mptsas",
                Some("pci:sas1068"),
                &[],
                Some("hangs on mptsas (pci:sas1068), and the target's kernel 5.14 has no driver for that"),
            ),
            ("mptsas", Some("pci:sas1068"), &["mptsas"], None),
            ("virtio_pci", Some("pci:virtio"), &[], None),
            ("ahci", None, &[], None),
            ("cciss", None, &[], Some("hangs on cciss (its hardware)")),
        ] {
            let said = said(
                &[("sd_mod", Some("scsi:t-0x00")), (module, modalias)],
                &kernel(),
                requested,
            );
            match lack {
                None => assert_eq!(said, None, "{module}"),
                Some(lack) => assert!(
                    said.as_ref().is_some_and(|said| said.contains(lack)),
                    "{module}: {said:?}"
                ),
            }
        }
        let silent = Kernel::default();
        assert_eq!(said(&[("cciss", None)], &silent, &[]), None);
    }
}
