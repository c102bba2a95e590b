//! How much space a build needs, worked out from the container that is really there.
use std::path::PathBuf;

use serde::Serialize;

use crate::facts::source::Place;

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
/// Modules of el9's kernel-core and kernel-modules-core.
const MODULES_EXPECTED: u64 = 80 * MIB;
const KERNEL_EXPECTED: u64 = 15 * MIB;
/// For any machine, with the firmware and drivers of el9.
const INITRAMFS_EXPECTED: u64 = 100 * MIB;

const STORE: &str = "the store";

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

    /// Whether the store lies here.
    pub(crate) fn holds_a_store(&self) -> bool {
        self.needs.iter().any(|need| need.what == STORE)
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

/// What of a container takes space, in bytes.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Sizes {
    /// What goes into the image, unpacked.
    pub(crate) image: u64,
    /// The kernel's modules.
    pub(crate) modules: u64,
    pub(crate) kernel: u64,
    /// How many packages dnf has to bring.
    pub(crate) packages: u64,
}

impl Sizes {
    /// The image, packed. Half of the bytes: root file systems came to 0.32 to 0.38 with zstd; incompressible additions take
    /// more.
    pub(crate) fn packed_image(&self) -> u64 {
        self.image / 2
    }

    /// Before there is a container: those of a minimal system, as leapp makes it.
    pub(crate) const EXPECTED: Self = Self {
        image: 2 * IMAGE_EXPECTED,
        modules: MODULES_EXPECTED,
        kernel: KERNEL_EXPECTED,
        packages: 0,
    };
}

/// One budget for each file system. `boot` is where kernel and initramfs go, unless leapp has put them there already.
/// The `store`, where there is one, has its own size.
pub(crate) fn budgets(
    sizes: Sizes,
    image_dir: &Place,
    boot: Option<&Place>,
    store: Option<(&Place, u64)>,
) -> Vec<Budget> {
    let image = sizes.packed_image();
    let packages = if sizes.packages == 0 {
        0
    } else {
        METADATA + sizes.packages * PACKAGE
    };
    // Modules that are compressed already (.ko.xz, .ko.zst) pack no further, plain ones to a quarter; an
    // initramfs for any machine takes about half of them.
    let initramfs = sizes.modules / 2 + INITRAMFS_PROGRAMS_PACKED;
    let working = sizes.modules + INITRAMFS_PROGRAMS + initramfs + packages;
    let mut needs = vec![
        (image_dir, "the image", image),
        (image_dir, "working space", working),
    ];
    needs.extend(boot.into_iter().flat_map(|boot| {
        [
            (boot, "the kernel", sizes.kernel),
            (boot, "the initramfs", initramfs),
        ]
    }));
    needs.extend(store.map(|(place, bytes)| (place, STORE, bytes)));
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

    fn place(device_number: u64, free_mib: u64) -> Place {
        Place {
            existing: format!("/{device_number}").into(),
            device_number,
            free_bytes: free_mib * MIB,
            ..Place::default()
        }
    }

    /// A place, what is needed there, the sum, and what is free, in MiB.
    type InMib<'a> = (String, Vec<(&'a str, u64)>, u64, u64);

    fn in_mib(budgets: &[Budget]) -> Vec<InMib<'_>> {
        let of = |budget: &Budget| {
            let needs = budget.needs.iter().map(|need| (need.what, need.bytes / MIB));
            let sums = (budget.needed_bytes / MIB, budget.free_bytes / MIB);
            (
                budget.place.display().to_string(),
                needs.collect(),
                sums.0,
                sums.1,
            )
        };
        budgets.iter().map(of).collect()
    }

    const SIZES: Sizes = Sizes {
        image: 600 * MIB,
        modules: 100 * MIB,
        kernel: 12 * MIB,
        packages: 0,
    };

    #[test]
    fn what_goes_onto_one_file_system_is_added_up() {
        // Half of the image's bytes; half of the modules and 40 for the programs; modules, 150, and the initramfs itself.
        let (image, initramfs, working) = (300, 90, 100 + 150 + 90);
        let apart = budgets(SIZES, &place(1, 2000), Some(&place(2, 100)), None);
        assert_eq!(
            in_mib(&apart),
            [
                (
                    "/1".to_owned(),
                    vec![("the image", image), ("working space", working)],
                    image + working,
                    2000
                ),
                (
                    "/2".to_owned(),
                    vec![("the kernel", 12), ("the initramfs", initramfs)],
                    12 + initramfs,
                    100
                )
            ]
        );
        assert!(apart[1].fault().is_some(), "102 MiB do not fit into 100");
        let together = budgets(SIZES, &place(1, 2000), Some(&place(1, 2000)), None);
        assert_eq!(
            in_mib(&together),
            [(
                "/1".to_owned(),
                vec![
                    ("the image", image),
                    ("working space", working),
                    ("the kernel", 12),
                    ("the initramfs", initramfs)
                ],
                image + working + 12 + initramfs,
                2000
            )]
        );
        let given = budgets(SIZES, &place(1, 2000), None, None);
        assert_eq!(given.len(), 1);
        assert_eq!(given[0].needed_bytes, (image + working) * MIB);
    }

    #[test]
    fn packages_take_dnfs_metadata_once_and_space_for_each() {
        let needed = |packages| {
            let sizes = Sizes { packages, ..SIZES };
            budgets(sizes, &place(1, 0), None, None)[0].needed_bytes / MIB
        };
        assert_eq!(needed(1) - needed(0), 200 + 40);
        assert_eq!(needed(3) - needed(1), 2 * 40);
    }

    #[test]
    fn before_there_is_a_container_a_minimal_system_is_expected() {
        assert_eq!(
            in_mib(&expected(&place(1, 5000), &place(2, 500))),
            [
                (
                    "/1".to_owned(),
                    vec![("the image", 700), ("working space", 400)],
                    1100,
                    5000
                ),
                (
                    "/2".to_owned(),
                    vec![("the kernel", 15), ("the initramfs", 100)],
                    115,
                    500
                )
            ]
        );
    }

    #[test]
    fn what_just_fits_is_no_fault() {
        let budget = |needed_bytes| Budget {
            place: "/".into(),
            needs: Vec::new(),
            needed_bytes,
            free_bytes: 100,
        };
        assert_eq!(budget(100).fault(), None);
        assert!(budget(101).fault().is_some());
        assert_eq!(
            Budget {
                needs: vec![Need {
                    what: "the image",
                    bytes: MIB + 1
                }],
                needed_bytes: MIB + 1,
                free_bytes: 3 * MIB,
                place: "/boot".into(),
            }
            .describe(),
            "/boot: 2 MiB needed (the image 2), 3 MiB free"
        );
    }
}
