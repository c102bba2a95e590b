//! Which of the source's kernel words come along: those of one table, each group with its reason, and parameters of
//! modules that the target's kernel has. Pure.
use livemode_common::cmdline::{Cmdline, Word};

use super::storage::of_line;

/// Words that come along for one reason.
pub(crate) struct Group {
    pub(crate) title: &'static str,
    pub(crate) why: &'static str,
    /// Keys; one that ends in `*` stands for all that begin so. `-` and `_` are one, as the kernel has it
    /// (kernel/params.c, parameq).
    pub(crate) words: &'static [&'static str],
}

/// The words that come along. docs/options.md shows this table.
pub(crate) const CARRIED: [Group; 8] = [
    Group {
        title: "consoles and screens",
        why: "the machine shows the live system where it shows itself",
        words: &[
            "console", "earlycon", "earlyprintk", "consoleblank", "conmode", "con3215_drop", "fbcon", "video", "vga",
            "nomodeset", "8250.*", "vt.*", "printk.*", "log_buf_len",
        ],
    },
    Group {
        title: "keyboard and language",
        why: "a passphrase in early boot is typed by the same keys",
        words: &["rd.vconsole.*", "vconsole.*", "KEYMAP", "KEYTABLE", "SYSFONT", "LANG", "rd.locale.*", "locale.*"],
    },
    Group {
        title: "network",
        why: "interfaces have the names and early boot the addresses that they have now (dracut.cmdline(7)); a name that \
              udev would choose anew is pinned by the MAC as well",
        words: &[
            "net.ifnames", "net.naming_scheme", "biosdevname", "ifname", "ip", "bond", "bridge", "team", "vlan",
            "nameserver", "bootdev", "BOOTIF", "rd.neednet", "rd.bootif", "rd.peerdns", "rd.route", "rd.ethtool",
            "rd.net.*", "rd.znet", "rd.znet_ifname", "ipv6.*",
        ],
    },
    Group {
        title: "storage",
        why: "early boot brings up what the image lies on (dracut.cmdline(7)); a word that turns off a layer which the \
              image needs stays behind all the same",
        words: &[
            "rd.md", "rd.md.uuid", "rd.md.conf", "rd.md.imsm", "rd.md.ddf", "rd.dm", "rd.lvm.vg", "rd.lvm.conf", "rd.multipath", "multipath", "rd.luks",
            "rd.luks.uuid", "rd.luks.name", "rd.luks.options", "rd.luks.key", "rd.luks.partuuid", "rd.luks.serial",
            "rd.luks.allow-discards", "luks.uuid", "luks.name", "luks.options", "luks.key", "netroot", "iscsi_initiator",
            "iscsi_target_*", "iscsi_in_*", "iscsi_username", "iscsi_password", "iscsi_firmware", "rd.iscsi.*",
            "iscsi_param", "rd.fcoe", "fcoe", "rd.nvmf.*", "rd.nonvmf", "rd.nfs.domain", "rd.dasd", "rd.dasd_mod.*",
            "rd.zfcp", "rd.zfcp.*", "rd.zdev", "rd.cio_accept", "cio_ignore", "dasd", "rootdelay", "rootwait", "raid",
        ],
    },
    Group {
        title: "drivers",
        why: "what the admin keeps from a driver, or loads before another, is so for this hardware",
        words: &[
            "modprobe.blacklist", "module_blacklist", "initcall_blacklist", "rd.driver.*", "rd.blacklist",
            "udev.children_max", "udev.event_timeout", "udev.exec_delay", "rd.udev.children_max",
            "rd.udev.event_timeout", "rd.udev.exec_delay", "usbcore.*", "nvme_core.*", "nvme.*", "scsi_mod.*",
            "dm_mod.*", "dm_multipath.*", "md_mod.*", "mpt2sas.*", "mpt3sas.*", "megaraid_sas.*", "libata.*", "ahci.*",
            "sd_mod.*", "virtio*.*", "hv_*.*", "i8042.*", "psmouse.*", "intel_idle.*", "processor.*", "cpuidle.*",
            "cpufreq.*", "pcie_aspm.*", "pciehp.*", "pci_hotplug.*", "acpi.*", "thermal.*", "efi_pstore.*", "erst_*",
        ],
    },
    Group {
        title: "hardware",
        why: "without it this hardware may not boot, or be slow",
        words: &[
            "pci", "pcie_*", "acpi", "acpi_*", "noacpi", "iommu", "iommu.*", "intel_iommu", "amd_iommu",
            "amd_iommu_*", "intremap", "swiotlb", "apic", "noapic", "lapic", "nolapic", "x2apic_phys", "nox2apic",
            "x2apic", "disable_cpu_apicid", "disable_timer_pin_1", "irqpoll", "irqfixup", "noirqdebug", "threadirqs",
            "clocksource", "tsc", "notsc", "hpet", "nohpet", "no_timer_check", "lpj", "no_kvmclock", "no_kvmapf",
            "nopv", "xen_*", "xen.*", "nosmt", "noht", "maxcpus", "nr_cpus", "possible_cpus", "additional_cpus",
            "clearcpuid", "noxsave", "noxsaveopt", "idle", "intel_pstate", "amd_pstate", "reboot", "efi",
            "noefi", "add_efi_memmap", "efi_no_storage_paranoia", "mce", "nomce", "edac_report", "nokaslr",
            "random.*", "rng_core.*", "nousb", "usb_storage.*", "libata", "floppy", "dis_ucode_ldr", "ghes.*",
            "hest_disable", "pnpacpi", "pnpbios", "nosgx", "noinvpcid", "pata_legacy.*",
        ],
    },
    Group {
        title: "memory and faults of the processor",
        why: "the machine has the memory and the guards that the admin gave it",
        words: &[
            "crashkernel", "mem", "memmap", "memory_corruption_check", "hugepages", "hugepagesz",
            "default_hugepagesz", "transparent_hugepage", "numa", "numa_balancing", "movable_node", "cma",
            "mitigations", "pti", "nopti", "kpti", "spectre_*", "nospectre_*", "spec_store_bypass_disable", "l1tf", "mds", "tsx", "tsx_async_abort", "mmio_stale_data",
            "retbleed", "srbds", "gather_data_sampling", "spec_rstack_overflow", "reg_file_data_sampling",
            "kvm_*.*", "kvm.*", "nosmap", "nosmep",
        ],
    },
    Group {
        title: "audit, SELinux, watchdogs",
        why: "they are on or off as they are now; the live system itself never enforces",
        words: &[
            "audit", "audit_backlog_limit", "selinux", "checkreqprot", "security", "lsm", "nowatchdog", "nmi_watchdog",
            "nosoftlockup", "softlockup_panic", "watchdog_thresh", "watchdog.*", "iTCO_wdt.*", "ipmi_watchdog.*",
            "softdog.*",
        ],
    },
];

/// Our own settings of early boot, which an admin may have put on the source's line (docs/options.md).
const OWN: [&str; 4] = [
    "livemode.timeout",
    "livemode.fetch_timeout",
    "livemode.countdown",
    "livemode.overlay_size",
];

/// Words that our line says anew, or that are of one boot of the source: nobody misses them.
const REPLACED: [&str; 21] = [
    "BOOT_IMAGE",
    "initrd",
    "root",
    "ro",
    "rw",
    "rootflags",
    "rootfstype",
    "rd.lvm.lv",
    "rhgb",
    "quiet",
    "splash",
    "loglevel",
    // What hibernated there is of no use to another system.
    "resume",
    "resume_offset",
    "noresume",
    "panic",
    "enforcing",
    "plymouth.enable",
    "rd.plymouth",
    "rd.shell",
    "rd.emergency",
];

/// Before the dot of a word that is read by programs in user space, and of no module, whatever a kernel has.
const USER_SPACE: [&str; 14] = [
    "rd", "systemd", "udev", "luks", "live", "livemode", "upgrade", "inst", "mount", "fsck", "plymouth",
    "sysctl", "locale", "vconsole",
];

/// What becomes of one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It comes along with its group, for this reason.
    Carried { group: &'static str, why: &'static str },
    /// Ours stands for it, or it is of one boot only.
    Replaced,
    /// It stays behind, which an admin is told.
    Dropped,
}

/// What becomes of a word. `knows` says whether the target's kernel has a module of that name.
pub(crate) fn fate(word: &Word, knows: &dyn Fn(&str) -> bool) -> Fate {
    let key = word.key.as_str();
    if word.to_string().contains(char::REPLACEMENT_CHARACTER) {
        return Fate::Dropped;
    }
    let is = |known: &&str| matches(known, key);
    if let Some(group) = CARRIED.iter().find(|group| group.words.iter().any(&is)) {
        return Fate::Carried {
            group: group.title,
            why: group.why,
        };
    }
    if OWN.iter().any(&is) {
        return Fate::Carried {
            group: "LiveMode",
            why: "a setting of early boot",
        };
    }
    if REPLACED.iter().any(&is) {
        return Fate::Replaced;
    }
    match key.split_once('.') {
        Some((module, parameter))
            if !USER_SPACE.contains(&module)
                && !parameter.is_empty()
                && parameter != "dyndbg"
                && knows(&plain(module)) =>
        {
            Fate::Carried {
                group: "drivers",
                why: "a parameter of a module that the target's kernel has too",
            }
        }
        _ => Fate::Dropped,
    }
}

/// A word that comes along, with what of its value is right in early boot: options of volumes go by the table of the crypttab.
pub(crate) fn for_early_boot(word: &Word) -> Option<Word> {
    let value = match (word.key.as_str(), &word.value) {
        ("rd.luks.options" | "luks.options", Some(value)) => value,
        _ => return Some(word.clone()),
    };
    let (of, options) = of_line(value);
    let of = of.map(|uuid| format!("{uuid}=")).unwrap_or_default();
    (!options.is_empty()).then(|| Word::pair(&word.key, format!("{of}{options}")))
}

/// The source's words with what becomes of each; what stands behind `--` is for init(8) (Documentation/admin-guide/
/// kernel-parameters.rst of the kernel).
pub(crate) fn fates<'a>(
    source: &'a Cmdline,
    knows: &'a dyn Fn(&str) -> bool,
) -> impl Iterator<Item = (&'a Word, Fate)> {
    let mut for_init = false;
    source.0.iter().map(move |word| {
        for_init |= word.key == "--" && word.value.is_none();
        let fate = if for_init {
            Fate::Dropped
        } else {
            fate(word, knows)
        };
        (word, fate)
    })
}

/// The sentence that tells of all words that stay behind.
pub(crate) fn left_behind(source: &Cmdline, knows: &dyn Fn(&str) -> bool) -> Option<String> {
    let mut dropped: Vec<String> = Vec::new();
    for (word, _) in fates(source, knows).filter(|(_, fate)| *fate == Fate::Dropped) {
        let shown = shown(word);
        if !dropped.contains(&shown) {
            dropped.push(shown);
        }
    }
    (!dropped.is_empty()).then(|| {
        format!(
            "kernel arguments of this system that the live system does not get: {}; docs/options.md says which it gets",
            dropped.join(" ")
        )
    })
}

/// Of a longer word the beginning tells which it is, in characters.
const SHOWN: usize = 80;

/// A word that may be a secret is shown by its key.
fn shown(word: &Word) -> String {
    let key = word.key.to_ascii_lowercase();
    let is_secret = ["password", "passphrase", "token", "secret"]
        .iter()
        .any(|name| key.contains(name));
    let text = match (is_secret, &word.value) {
        (true, Some(_)) => return format!("{}=...", word.key),
        _ => word.to_string(),
    };
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text,
    }
}

fn plain(name: &str) -> String {
    name.replace('-', "_")
}

fn matches(known: &str, key: &str) -> bool {
    let (known, key) = (plain(known), plain(key));
    let mut rest = key.as_str();
    let mut parts = known.split('*').peekable();
    let Some(after) = rest.strip_prefix(parts.next().unwrap_or_default()) else {
        return false;
    };
    rest = after;
    if parts.peek().is_none() {
        return rest.is_empty();
    }
    while let Some(part) = parts.next() {
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
        if parts.peek().is_none() && part.is_empty() {
            return true;
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(line: &str) -> (String, Option<String>) {
        let source = Cmdline::parse(line);
        let knows = |module: &str| ["ixgbe", "snd_hda_intel", "systemd", "xfs"].contains(&module);
        let kept = fates(&source, &knows).filter(|(_, fate)| matches!(fate, Fate::Carried { .. }));
        let kept: Vec<String> = kept.map(|(word, _)| word.to_string()).collect();
        (kept.join(" "), left_behind(&source, &knows))
    }

    #[test]
    fn consoles_names_storage_and_hardware_come_along() {
        for line in [
            "console=tty0 console=ttyS0,115200n8 earlyprintk=ttyS0",
            "net.ifnames=0 biosdevname=0 ifname=lan0:52:54:00:00:00:10 ip=10.0.0.2::10.0.0.1:24:h:lan0:none vlan=lan0.5:lan0",
            "net.naming-scheme=rhel-8.6 net.naming_scheme=rhel-8.6 ipv6.disable=1",
            "rd.md.uuid=a rd.luks.uuid=b rd.lvm.vg=c rd.multipath=1 netroot=iscsi:@10.0.0.1::::iqn.x rd.luks.allow-discards",
            "pci=nomsi acpi=off iommu=pt intel_iommu=on amd_iommu=off nomodeset crashkernel=1G mitigations=off nosmt noapic",
            "irqpoll clocksource=hpet tsc=reliable hpet=disable usbcore.autosuspend=-1 nvme_core.default_ps_max_latency_us=0",
            "scsi_mod.use_blk_mq=1 dm_mod.use_blk_mq=y mpt3sas.max_queue_depth=64 efi=runtime noefi memmap=4G!8G mem=8G",
            "hugepages=64 numa=off audit=1 selinux=0 nmi_watchdog=0 vconsole.keymap=de rd.vconsole.keymap=de LANG=de_DE.UTF-8",
            "ixgbe.allow_unsupported_sfp=1 snd-hda-intel.power_save=0 modprobe.blacklist=nouveau rd.driver.blacklist=nouveau",
            "virtio_net.napi_tx=1 livemode.timeout=300 reboot=bios",
        ] {
            assert_eq!(judged(line), (line.to_owned(), None));
        }
    }

    #[test]
    fn what_leads_elsewhere_stays_behind_and_is_told_in_one_sentence() {
        for word in [
            "rd.auto=1",
            "rd.auto",
            "systemd.run=\"touch /x\"",
            "systemd.unit=x",
            "rd.systemd.unit=x",
            "systemd.mask=dbus.service",
            "systemd.debug_shell",
            "systemd.unified_cgroup_hierarchy=0",
            "mount.usr=/dev/sdb",
            "mount.usrflags=ro",
            "fastboot",
            "forcefsck",
            "fsck.mode=force",
            "1",
            "2",
            "3",
            "4",
            "5",
            "s",
            "S",
            "single",
            "emergency",
            "rescue",
            "-b",
            "init=/bin/sh",
            "rdinit=/bin/sh",
            "rd.break",
            "rd.break=mount",
            "rd.lvm=0",
            "dyndbg=\"file drivers/usb/* +p; module xfs +p\"",
            "xfs.dyndbg=+p",
            "other_module.debug=1",
            "fstab=no",
            "rd.fstab=0",
            "luks=no",
            "luks.crypttab=no",
            "rd.live.image",
            "rd.live.overlay=x",
            "inst.repo=x",
            "rd.timeout=0",
            "rd.retry=9",
            "rd.debug",
            "debug",
            "devtmpfs.mount=1",
            "sysctl.vm.swappiness=1",
            "elevator=noop",
            "ds=nocloud",
            "livemode.digest=none",
            "upgrade.autostart=0",
            "upgrade.strace=/x",
            "systemd.",
            "consoles=tty0",
            "rd.lvm.vgs=a",
            "rd.md.waitclean=1",
            "rd.luks.timeout=0",
            "rd.luks.key.tout=0",
            "rd.luks.crypttab=no",
            "rd.luks.data=a=/dev/sdb",
            "ipv6=off",
            "console=tty\u{FFFD}",
            "BOOT=x",
        ] {
            let (kept, told) = judged(word);
            assert_eq!(kept, "", "{word}");
            assert!(
                told.is_some_and(|told| told.contains(&format!("does not get: {word};"))),
                "{word}"
            );
        }
        assert_eq!(
            judged("rd.auto=1 ro console=tty0 3 rd.auto=1 rd.iscsi.x=1").1.unwrap(),
            "kernel arguments of this system that the live system does not get: rd.auto=1 3; docs/options.md says which it gets"
        );
    }

    #[test]
    fn what_ours_stands_for_is_not_told() {
        let line = "BOOT_IMAGE=(hd0,gpt2)/vmlinuz root=UUID=1 ro rootflags=subvol=root rd.lvm.lv=a/root rhgb quiet loglevel=3 \
                    resume=/dev/mapper/cs-swap panic=5 enforcing=1 plymouth.enable=1 initrd=/x";
        assert_eq!(judged(line), (String::new(), None));
    }

    #[test]
    fn options_of_volumes_go_by_the_table_of_the_crypttab() {
        const UUID: &str = "6c697665-6d6f-4d6f-8d6f-00000000000a";
        for (value, kept) in [
            ("tpm2-device=auto,timeout=0", Some("tpm2-device=auto".to_owned())),
            ("timeout=0,x-systemd.device-timeout=0,header=/x", None),
            ("token-timeout=30s", Some("token-timeout=30s".to_owned())),
        ] {
            for of in [String::new(), format!("{UUID}=")] {
                let word = Word::pair("rd.luks.options", format!("{of}{value}"));
                let kept = kept.as_ref().map(|kept| format!("rd.luks.options={of}{kept}"));
                assert_eq!(for_early_boot(&word).map(|word| word.to_string()), kept, "{word}");
            }
        }
        let other = Word::pair("rd.luks.key", "timeout=0");
        assert_eq!(for_early_boot(&other), Some(other));
    }

    #[test]
    fn what_stands_behind_two_dashes_is_for_init() {
        assert_eq!(judged("console=tty0 -- console=ttyS1").0, "console=tty0");
    }

    #[test]
    fn a_password_is_not_told() {
        let told = judged("inst.vncpassword=hunter2 inst.token").1.unwrap();
        assert!(told.contains("inst.vncpassword=... inst.token;"), "{told}");
    }

    #[test]
    fn of_a_long_word_the_beginning_is_told() {
        let word = format!("x={}", "y".repeat(100));
        let told = judged(&word).1.unwrap();
        assert!(told.contains(&format!("x={}...;", "y".repeat(78))), "{told}");
    }

    #[test]
    fn a_star_stands_for_anything() {
        for (known, key, is) in [
            ("kvm_*.*", "kvm_intel.nested", true),
            ("kvm_*.*", "kvm_intel", false),
            ("kvm_*.*", "kvm.nested", false),
            ("usbcore.*", "usbcore.autosuspend", true),
            ("usbcore.*", "usbcore", false),
            ("pci", "pci", true),
            ("pci", "pcie_aspm", false),
            ("net.naming_scheme", "net.naming-scheme", true),
            ("a*b*b*", "axb", false),
            ("a*bb*b*", "axbb", false),
            ("a*b*b*", "axbxb", true),
        ] {
            assert_eq!(matches(known, key), is, "{known} {key}");
        }
    }

    #[test]
    fn the_documentation_has_the_table() {
        let docs = include_str!("../../../docs/options.md");
        for group in &CARRIED {
            let words: Vec<String> = group.words.iter().map(|word| format!("`{word}`")).collect();
            let why = group.why.split_whitespace().collect::<Vec<_>>().join(" ");
            let row = format!("| {} | {} | {why} |", group.title, words.join(" "));
            assert!(docs.contains(&row), "docs/options.md lacks this row:\n{row}");
        }
    }
}
