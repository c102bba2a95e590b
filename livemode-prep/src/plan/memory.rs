//! How much memory the upgrade needs, beside how much there is. Pure.
use livemode_common::contract::LIVE_MEMORY_BYTES;
use serde::Serialize;

use super::space::{Need, Sizes};

const MIB: u64 = 1 << 20;
/// What Linux, udev and systemd take beside the files of the initramfs, by what early boot finds available; measured 95 MiB with
/// Linux 6.1.
const EARLY_BOOT: u64 = 128 * MIB;
/// Programs of the initramfs, unpacked; measured 29 MiB, and a quarter of the kernel's modules, on a machine with one disk. A
/// network and layers of storage bring more.
const INITRAMFS_PROGRAMS: u64 = 60 * MIB;

/// What is needed and what is there, in bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Memory {
    needs: Vec<Need>,
    needed_bytes: u64,
    /// MemTotal of proc_meminfo(5); unknown of a system that does not run.
    total_bytes: Option<u64>,
}

impl Memory {
    /// For a container of these sizes. An image that comes by URL stays in memory, and early boot does not fetch it unless the
    /// live system has room beside it, while the initramfs is still there.
    pub(crate) fn of(sizes: &Sizes, comes_by_url: bool, total_bytes: Option<u64>) -> Self {
        let need = |what, bytes| Need { what, bytes };
        let initramfs = sizes.modules / 2 + INITRAMFS_PROGRAMS;
        let mut needs = vec![need("early boot", EARLY_BOOT)];
        if comes_by_url {
            needs.push(need("the initramfs", initramfs));
            needs.push(need("the image", sizes.packed_image()));
        }
        needs.push(need("the live system", LIVE_MEMORY_BYTES));
        Self {
            needed_bytes: needs.iter().map(|need| need.bytes).sum(),
            needs,
            total_bytes,
        }
    }

    /// What an admin reads in a plan.
    pub(crate) fn describe(&self) -> String {
        let total = self.total_bytes.map_or("unknown here".to_owned(), |bytes| {
            format!("{} MiB there", bytes / MIB)
        });
        format!("{}, {total}", self.needed())
    }

    /// The sentence that tells an admin what to do.
    pub(crate) fn fault(&self) -> Option<String> {
        let total = self.total_bytes.filter(|total| *total < self.needed_bytes)?;
        let by_url = self.needs.iter().any(|need| need.what == "the image");
        let advice = if by_url {
            "leave url_to_load_squashfs_image_from away, or give the machine more"
        } else {
            "give the machine more"
        };
        Some(format!(
            "not enough memory: {}, {} MiB there; {advice}",
            self.needed(),
            total / MIB
        ))
    }

    fn needed(&self) -> String {
        let mib = |bytes: u64| bytes.div_ceil(MIB);
        let needs = self.needs.iter();
        let needs: Vec<String> = needs
            .map(|need| format!("{} {}", need.what, mib(need.bytes)))
            .collect();
        format!("{} MiB needed ({})", mib(self.needed_bytes), needs.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZES: Sizes = Sizes {
        image: 600 * MIB,
        modules: 100 * MIB,
        kernel: 12 * MIB,
        packages: 0,
    };

    #[test]
    fn an_image_by_url_stays_in_memory_beside_the_live_system() {
        let memory = |by_url, mib: u64| Memory::of(&SIZES, by_url, Some(mib * MIB));
        assert_eq!(
            memory(false, 2000).describe(),
            "640 MiB needed (early boot 128, the live system 512), 2000 MiB there"
        );
        assert_eq!(
            memory(true, 2000).describe(),
            "1050 MiB needed (early boot 128, the initramfs 110, the image 300, the live system 512), 2000 MiB there"
        );
        assert_eq!(
            Memory::of(&SIZES, false, None).describe(),
            "640 MiB needed (early boot 128, the live system 512), unknown here"
        );
    }

    #[test]
    fn a_lack_of_memory_is_told_with_its_numbers() {
        let fault = |by_url, mib: u64| Memory::of(&SIZES, by_url, Some(mib * MIB)).fault();
        assert_eq!(fault(false, 640), None);
        assert_eq!(
            fault(false, 639).unwrap(),
            "not enough memory: 640 MiB needed (early boot 128, the live system 512), 639 MiB there; give the machine more"
        );
        assert_eq!(fault(true, 1050), None);
        assert!(fault(true, 1049).unwrap().ends_with(
            "1049 MiB there; leave url_to_load_squashfs_image_from away, or give the machine more"
        ));
        assert_eq!(Memory::of(&SIZES, true, None).fault(), None);
    }
}
