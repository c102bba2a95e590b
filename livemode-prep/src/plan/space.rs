//! How much space a build needs, worked out from the container that is really there.
use std::path::PathBuf;

use serde::Serialize;

use crate::facts::source::Place;
use crate::facts::userspace::Userspace;

const MIB: u64 = 1 << 20;
/// Programs and firmware of an initramfs for any machine, unpacked; measured 80 to 120 MiB with dracut 057 to 106.
const INITRAMFS_PROGRAMS: u64 = 150 * MIB;
/// The same, compressed.
const INITRAMFS_PROGRAMS_PACKED: u64 = 40 * MIB;
/// For each package that dnf has to bring, with its download; vim-enhanced with its runtime takes 40.
const PACKAGE: u64 = 40 * MIB;
/// dnf's metadata cache, when anything is missing.
const METADATA: u64 = 200 * MIB;

/// The image that upstream tells its users to have room for, packed worse than ours.
const IMAGE_EXPECTED: u64 = 700 * MIB;
/// Modules of el9's kernel-core, programs and the packed initramfs.
const WORKING_EXPECTED: u64 = 400 * MIB;
const KERNEL_EXPECTED: u64 = 15 * MIB;
/// For any machine, with the firmware and drivers of el9.
const INITRAMFS_EXPECTED: u64 = 100 * MIB;

/// What is going to be where, in bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Need {
    pub(crate) what: &'static str,
    pub(crate) bytes: u64,
}

/// One file system that is written to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Budget {
    pub(crate) place: PathBuf,
    pub(crate) needs: Vec<Need>,
    pub(crate) needed_bytes: u64,
    pub(crate) free_bytes: u64,
}

impl Budget {
    /// What an admin reads in a plan.
    pub(crate) fn describe(&self) -> String {
        let mib = |bytes: u64| bytes.div_ceil(MIB);
        let needs: Vec<String> = self
            .needs
            .iter()
            .map(|n| format!("{} {}", n.what, mib(n.bytes)))
            .collect();
        format!(
            "{}: {} MiB needed ({}), {} MiB free",
            self.place.display(),
            mib(self.needed_bytes),
            needs.join(", "),
            mib(self.free_bytes)
        )
    }

    /// The sentence that tells an admin what to do.
    pub(crate) fn fault(&self) -> Option<String> {
        if self.needed_bytes <= self.free_bytes {
            return None;
        }
        let mib = |bytes: u64| bytes.div_ceil(MIB);
        let needs: Vec<String> = self
            .needs
            .iter()
            .map(|n| format!("{} {} MiB", n.what, mib(n.bytes)))
            .collect();
        Some(format!(
            "not enough space at {}: {} MiB needed ({}), {} MiB free; free {} MiB there",
            self.place.display(),
            mib(self.needed_bytes),
            needs.join(", "),
            mib(self.free_bytes),
            mib(self.needed_bytes - self.free_bytes)
        ))
    }
}

/// One budget for each file system. `boot` is where kernel and initramfs go, unless leapp has put them there already.
pub(crate) fn budgets(
    userspace: &Userspace,
    packages: usize,
    image_dir: &Place,
    boot: Option<&Place>,
) -> Vec<Budget> {
    // Half of the bytes: root file systems came to 0.32 to 0.38 with zstd; incompressible additions take more.
    let image = userspace.image_bytes / 2;
    let packages = if packages == 0 {
        0
    } else {
        METADATA + packages as u64 * PACKAGE
    };
    // Modules that are compressed already (.ko.xz, .ko.zst) pack no further, plain ones to a quarter; an
    // initramfs for any machine takes about half of them.
    let initramfs = userspace.module_bytes / 2 + INITRAMFS_PROGRAMS_PACKED;
    let working = userspace.module_bytes + INITRAMFS_PROGRAMS + initramfs + packages;
    let mut needs = vec![
        (image_dir, "the image", image),
        (image_dir, "working space", working),
    ];
    needs.extend(boot.into_iter().flat_map(|boot| {
        [
            (boot, "the kernel", userspace.kernel.image_bytes),
            (boot, "the initramfs", initramfs),
        ]
    }));
    by_file_system(&needs)
}

/// What is to be expected before there is a container: one of a minimal system, as leapp makes it.
pub(crate) fn expected(image_dir: &Place, boot: &Place) -> Vec<Budget> {
    by_file_system(&[
        (image_dir, "the image", IMAGE_EXPECTED),
        (image_dir, "working space", WORKING_EXPECTED),
        (boot, "the kernel", KERNEL_EXPECTED),
        (boot, "the initramfs", INITRAMFS_EXPECTED),
    ])
}

fn by_file_system(needs: &[(&Place, &'static str, u64)]) -> Vec<Budget> {
    let mut budgets: Vec<(u64, Budget)> = Vec::new();
    for &(place, what, bytes) in needs {
        let need = Need { what, bytes };
        match budgets
            .iter_mut()
            .find(|(device, _)| *device == place.device_number)
        {
            Some((_, budget)) => {
                budget.needed_bytes += bytes;
                budget.needs.push(need);
            }
            None => budgets.push((
                place.device_number,
                Budget {
                    place: place.existing.clone(),
                    needs: vec![need],
                    needed_bytes: bytes,
                    free_bytes: place.free_bytes,
                },
            )),
        }
    }
    budgets.into_iter().map(|(_, budget)| budget).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lack_of_space_is_told_with_its_numbers() {
        let need = |what, mib: u64| Need {
            what,
            bytes: mib * MIB,
        };
        let budget = Budget {
            place: "/boot".into(),
            needs: vec![need("the kernel", 14), need("the initramfs", 60)],
            needed_bytes: 74 * MIB,
            free_bytes: 70 * MIB,
        };
        assert_eq!(
            budget.fault().unwrap(),
            "not enough space at /boot: 74 MiB needed (the kernel 14 MiB, the initramfs 60 MiB), 70 MiB free; free 4 MiB there"
        );
    }
}
