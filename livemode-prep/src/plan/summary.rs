//! A plan as a person reads it, the verdict first, and as a program does. Pure.
use livemode_common::cmd::Cmd;
use livemode_common::contract::SCHEMA;
use livemode_common::fstab::Entry;
use serde_json::{json, Value};

use super::build_plan::BuildPlan;
use super::findings::Findings;
use super::items::Item;
use super::space::Budget;
use crate::args::EntryKeeper;
use crate::facts::storage::crypttab::Volume;

const UNKNOWN: &str = "unknown";

impl BuildPlan {
    /// The summary, then the details; with `all` every item too.
    pub(crate) fn describe(&self, all: bool) -> String {
        let mut text = self.summary();
        let mut list = |title: &str, lines: Vec<String>| {
            if lines.is_empty() {
                return;
            }
            text.push_str(&format!("\n{title}\n"));
            lines
                .iter()
                .for_each(|line| text.push_str(&format!("  {line}\n")));
        };
        list(
            "packages that dnf installs into the image",
            self.missing_packages.clone(),
        );
        list("kernel arguments", vec![self.shown_arguments()]);
        list(
            "mounts of the live system",
            self.mounts.iter().map(Entry::to_string).collect(),
        );
        list("storage", self.storage.describe().to_vec());
        list(
            "files on this system",
            self.files()
                .iter()
                .map(|path| path.display().to_string())
                .collect(),
        );
        list("commands", self.commands().iter().map(Cmd::to_string).collect());
        if all {
            let lines = |items: &[Item]| items.iter().map(Item::to_string).collect();
            list(
                "packages that the image must have",
                self.required_packages.clone(),
            );
            list(
                "put into the container for the initramfs",
                lines(&self.initramfs_items()),
            );
            list(
                "made of the container for the live system",
                lines(&self.live_items),
            );
        } else {
            text.push_str("\nEvery file, link and service of the live system: livemode-prep plan --all\n");
        }
        text
    }

    /// What `livemode-prep plan` opens with.
    pub(crate) fn summary(&self) -> String {
        let mut text = verdict(&self.findings);
        let mut row = |name: &str, value: &str| text.push_str(&format!("{name:<10} {value}\n"));
        row("from", self.source.release.as_deref().unwrap_or(UNKNOWN));
        row("to", &self.goal());
        row("image", &self.place());
        for (number, line) in self.budgets.iter().map(Budget::describe).enumerate() {
            row(if number == 0 { "space" } else { "" }, &line);
        }
        row("memory", &self.memory.describe());
        row("atomic", &self.atomicity());
        let (next, after) = self.boots();
        row("next boot", &next);
        row("after that", &after);
        if !self.findings.warnings.is_empty() {
            text.push_str("\nwarnings\n");
            let warnings = self.findings.warnings.iter();
            warnings.for_each(|warning| text.push_str(&format!("  {warning}\n")));
        }
        text
    }

    fn goal(&self) -> String {
        match &self.target {
            Some(target) => format!(
                "{}, kernel {}",
                target.release.as_deref().unwrap_or(UNKNOWN),
                target.kernel.version
            ),
            None => "unknown: there is no container yet that an image can be made of".to_owned(),
        }
    }

    fn place(&self) -> String {
        let device = &self.source.image_device;
        let reference = self.storage.image_reference.as_deref().unwrap_or("no UUID");
        format!(
            "{} on {reference} ({}, {})",
            self.config.squashfs_image_path, device.source, device.fstype
        )
    }

    /// What becomes of what the upgrade has written when it does not end well.
    fn atomicity(&self) -> String {
        match &self.atomic {
            Ok(atomic) => atomic.describe(),
            Err(whys) => format!("no, the upgrade runs in place: {}", whys.join("; ")),
        }
    }

    /// What the machine boots next once the build is done, and what it boots after that.
    fn boots(&self) -> (String, String) {
        let Some(entry) = &self.entry else {
            return (
                "as now: no boot entry is made; make one with the kernel arguments below, or give --boot-entry".to_owned(),
                "as now".to_owned(),
            );
        };
        let (ours, old) = (&entry.boots.next, &entry.own.former_default);
        let next = match self.entry_keeper {
            EntryKeeper::Leapp => {
                format!("{old}, until livemode-prep entry has armed the upgrade's; then {ours}, the upgrade")
            }
            _ => format!("{ours}, the upgrade, once"),
        };
        let after = if entry.boots.after == *old {
            format!("{old}, as now")
        } else {
            format!("{old}, as soon as early boot has cleared next_entry, which GRUB cannot; until then the upgrade again")
        };
        (next, after)
    }

    /// As a program reads it.
    pub(crate) fn to_json(&self) -> Value {
        let items = |items: &[Item]| items.iter().map(Item::to_json).collect::<Vec<_>>();
        let lines = |volumes: &[Volume]| volumes.iter().map(Volume::to_string).collect::<Vec<_>>();
        let (next, after) = self.boots();
        let target = self.target.as_ref();
        json!({
            "schema": SCHEMA,
            "may_go_on": self.findings.refusals.is_empty(),
            "refusals": self.findings.refusals,
            "warnings": self.findings.warnings,
            "from": self.source.release,
            "to": target.and_then(|target| target.release.as_ref()),
            "boots": {"next": next, "after": after},
            "image": self.config.squashfs_image_path,
            "userspace": target.map(|target| &target.dir),
            "kernel_version": target.map(|target| &target.kernel.version),
            "files": self.files(),
            "boot_files": self.boot_files,
            "live_files": self.live_items.iter().map(Item::path).collect::<Vec<_>>(),
            "live_items": items(&self.live_items),
            "initramfs_items": items(&self.initramfs_items()),
            "commands": self.commands().iter().map(Cmd::words).collect::<Vec<_>>(),
            "packing": target.map(|target| &target.packing),
            "packages": {"required": self.required_packages, "missing": self.missing_packages},
            "arguments": self.shown_arguments(),
            "storage": self.storage.describe(),
            "crypttab": lines(&self.storage.live_volumes),
            "initramfs_crypttab": lines(&self.storage.early_volumes),
            "mounts": self.mounts.iter().map(Entry::to_string).collect::<Vec<_>>(),
            "space": self.budgets,
            "memory": self.memory,
        })
    }

    /// What is put into the container before dracut runs there.
    pub(crate) fn initramfs_items(&self) -> Vec<Item> {
        [super::initramfs::module(), self.early_items.clone()].concat()
    }
}

fn verdict(findings: &Findings) -> String {
    let refusals = &findings.refusals;
    let head = match refusals.len() {
        0 => "The upgrade may go on.\n".to_owned(),
        1 => "The upgrade may NOT go on:\n".to_owned(),
        several => format!("The upgrade may NOT go on, for {several} reasons:\n"),
    };
    let reasons: String = refusals.iter().map(|why| format!("  {why}\n")).collect();
    format!("{head}{reasons}\n")
}
