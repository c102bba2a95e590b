//! What a plan is put together from: each part by its own facts. Pure.
use std::collections::BTreeSet;

use super::boot_entry::{EntryChoice, EntryPlan};
use super::findings::Findings;
use super::items::Item;
use super::paths::Paths;
use super::ssh::listen::Listen;
use super::storage::{files, Layer, Storage};
use super::why::Reasoned;
use super::{network, ssh};
use crate::args::EntryKeeper;
use crate::facts::leapp::Requested;
use crate::facts::source::{Place, Source};
use crate::facts::userspace::Kernel;
use crate::facts::Facts;

/// The rule by which interfaces keep their names.
const NAMES: &str = "interfaces have the names that they have now";

/// Those that dnf has to bring. Under leapp, which has installed what it was told to, there should be none.
pub(super) fn missing(facts: &Facts, required: &[String], findings: &mut Findings) -> Vec<String> {
    let Some(userspace) = facts.userspace.as_ref().filter(|userspace| userspace.has("rpm")) else {
        return Vec::new();
    };
    let missing: Vec<String> = required
        .iter()
        .filter(|package| !userspace.provided.contains(*package))
        .cloned()
        .collect();
    if facts.leapp.boot_content.is_some() && !missing.is_empty() {
        findings.refuse(format!(
            "{}: leapp has not installed {}; run leapp upgrade again",
            userspace.dir.display(),
            missing.join(", ")
        ));
    }
    missing
}

pub(super) fn requested(
    facts: &Facts,
    storage: &Storage,
    early: &[Item],
    kernel: Option<&Kernel>,
) -> Requested {
    let none = BTreeSet::new();
    let available = kernel.map_or(&none, |kernel| &kernel.modules);
    let mut ours = files::requested(storage, early, available);
    if storage.image.layers.contains(&Layer::Multipath) {
        let plugins = facts.userspace.iter();
        ours.files
            .extend(plugins.flat_map(|userspace| userspace.multipath_plugins.clone()));
    }
    facts.leapp.requested().with(&ours)
}

/// What goes along from the source.
pub(super) fn carried(facts: &Facts, storage: &Storage, findings: &mut Findings) -> Reasoned {
    let Facts { config, files, .. } = facts;
    let mut items = Reasoned::default();
    items.add(
        "a mount of this system lies on that layer of storage",
        "configuration, identities and keys of the layers go along (docs/storage.md)",
        files::live(files, storage),
    );
    let has_network = config.setup_network_manager
        || !config.dracut_network.trim().is_empty()
        || facts.source.arguments.last("ip").is_some();
    if config.setup_network_manager {
        let reads_ifcfg = facts
            .userspace
            .as_ref()
            .is_some_and(|userspace| userspace.reads_ifcfg);
        items.add(
            "setup_network_manager",
            "profiles, what they name, and the resolver go along; ifcfg files that NetworkManager would not read so become keyfiles",
            network::items(files, reads_ifcfg, findings),
        );
        items.add(
            "setup_network_manager",
            NAMES,
            network::names::of_interfaces(files, &facts.nics, findings),
        );
    }
    if has_network {
        items.add(
            "setup_network_manager, dracut_network, or ip= on this system's kernel command line",
            "names of machines mean what they mean on this system",
            network::names::of_machines(files, findings),
        );
    }
    items.add(
        "/etc/adjtime of this system says LOCAL",
        "the hardware's clock has local time",
        network::names::of_clock(files),
    );
    if !config.setup_opensshd_using_auth_keys.is_empty() {
        items.add(
            "setup_opensshd_using_auth_keys",
            "the admins' keys let them in, and clients know this system's host keys",
            ssh::items(files, &config.setup_opensshd_using_auth_keys, findings),
        );
    }
    items
}

/// What goes into the initramfs for early boot.
pub(super) fn early(facts: &Facts, storage: &Storage, findings: &mut Findings) -> Reasoned {
    let mut items = Reasoned::default();
    items.add(
        "the image lies on that layer of storage",
        "early boot finds and opens what the image lies on (docs/storage.md)",
        files::early(&facts.files, storage),
    );
    if !facts.config.dracut_network.trim().is_empty() {
        items.add(
            "dracut_network",
            NAMES,
            network::names::of_interfaces(&facts.files, &facts.nics, findings),
        );
    }
    items
}

/// Where sshd of the live system listens, if it runs.
pub(super) fn listen(facts: &Facts, findings: &mut Findings) -> Listen {
    let config = &facts.config;
    if config.setup_opensshd_using_auth_keys.is_empty() {
        return Listen::default();
    }
    let (listen, said) = Listen::of(&facts.files).for_live(config.setup_network_manager);
    said.into_iter().for_each(|what| findings.warn(what));
    listen
}

/// Every name by which the fstab may call the file system that the image lies on.
pub(super) fn image_names(source: &Source, storage: &Storage) -> Vec<String> {
    let device = &source.image_device;
    let uuid = device.uuid.iter().map(|uuid| format!("UUID={uuid}"));
    uuid.chain(storage.image_reference.clone())
        .chain([device.source.clone()])
        .collect()
}

/// Where kernel and initramfs are to lie, for systemd-boot reads no other file systems.
pub(super) fn systemd_boots_place(facts: &Facts) -> Option<Place> {
    let found = facts.loader.as_ref()?.systemd_boot.as_ref()?;
    found.as_ref().ok().map(|files| files.place.clone())
}

pub(super) fn entry(
    facts: &Facts,
    choice: EntryChoice,
    paths: &Paths,
    has_block: bool,
    findings: &mut Findings,
) -> Option<EntryPlan> {
    // Before there is a container nothing stands yet that an entry could boot.
    facts.userspace.as_ref()?;
    if choice.keeper == Some(EntryKeeper::None) {
        let earlier = facts.earlier.as_ref();
        if earlier.is_some_and(|manifest| manifest.boot.entry.is_some()) {
            findings.refuse(
                "an earlier build has a boot entry, which would not fit a new image; leave --boot-entry away, or first: \
                 livemode-prep remove",
            );
        }
        return None;
    }
    let entry = EntryPlan::new(facts, choice, paths, has_block);
    entry
        .map_err(|whys| whys.into_iter().for_each(|why| findings.refuse(why)))
        .ok()
}
