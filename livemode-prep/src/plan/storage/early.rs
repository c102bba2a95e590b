//! What early boot must find and open: the image's file system, and the encrypted volumes. Pure.
use super::volumes::{closed, opened, unwritten, CLEVIS};
use super::{Layer, Setting, Storage};
use crate::facts::storage::crypttab::{line_keys, Key};
use crate::facts::storage::StorageFacts;

impl Storage {
    /// Notes what opens the encrypted volumes below a device, or says why nothing does without a keyboard.
    pub(super) fn open_volumes(
        &mut self,
        device: usize,
        sources: &StorageFacts,
        setting: &Setting,
    ) -> Result<(), String> {
        for index in sources.devices.below(device) {
            if sources.devices.get(index).kind != "crypt" {
                continue;
            }
            if let Some(volume) = opened(index, sources, setting, &mut self.warnings)? {
                if !self.live_volumes.contains(&volume) {
                    self.live_volumes.push(volume);
                }
            }
        }
        Ok(())
    }

    /// By what early boot finds the image's file system, and what that stands on.
    pub(super) fn find_image(&mut self, sources: &StorageFacts, setting: &Setting) {
        self.image_reference = setting.image_uuid.map(|uuid| format!("UUID={uuid}"));
        if setting.all_early {
            let mounted: Vec<usize> = self.mounts.iter().filter_map(|mount| mount.device).collect();
            mounted
                .into_iter()
                .for_each(|index| self.image.add(&sources.devices, index));
        }
        let Some(device) = sources.devices.at(setting.image_source) else {
            return;
        };
        self.image.add(&sources.devices, device);
        if sources.devices.is_ambiguous(device) {
            self.image_reference = sources.only_name(device);
            if self.image_reference.is_none() {
                self.faults.push(format!(
                    "squashfs_image_path: it lies on {}, whose UUID other devices have too, and nothing else tells it \
                     apart; detach them",
                    setting.image_source
                ));
            }
        }
        // The image's volumes may be no mount of the fstab's.
        if let Err(why) = self.open_volumes(device, sources, setting) {
            if !self.faults.iter().any(|fault| fault.ends_with(&why)) {
                self.faults.push(format!("squashfs_image_path: {why}"));
            }
        }
    }

    /// By what early boot finds our records. Where it cannot, it mounts the image whatever they say, and the live system decides.
    pub(super) fn find_records(&mut self, sources: &StorageFacts, setting: &Setting) {
        if setting.records_source == setting.image_source {
            return;
        }
        let Some(uuid) = setting.records_uuid else {
            return;
        };
        if self.takes_along(setting.records_source, sources) {
            self.records_reference = Some(format!("UUID={uuid}"));
        } else {
            self.warnings.push(format!(
                "the records of the upgrade lie on {}, which early boot does not bring up: it mounts the image without looking at \
                 them",
                setting.records_source
            ));
        }
    }

    /// Lets early boot bring up another device beside the image's; false where it would have to open that for it, or to reach it
    /// by the network, or could not tell it from another. Of a device that is not known nothing is said against it.
    pub(super) fn takes_along(&mut self, source: &str, sources: &StorageFacts) -> bool {
        let Some(device) = sources.devices.at(source) else {
            return true;
        };
        let mut with_it = self.image.clone();
        with_it.add(&sources.devices, device);
        let has_only =
            |layer: &Layer| matches!(layer, Layer::Lvm | Layer::Md) || self.image.layers.contains(layer);
        let is_plain = with_it.layers.iter().all(has_only) && with_it.encrypted == self.image.encrypted;
        if !is_plain || sources.devices.is_ambiguous(device) {
            return false;
        }
        self.image = with_it;
        true
    }

    /// The volumes that early boot opens: the image's, and those that the kernel's arguments name.
    pub(super) fn early(&mut self, sources: &StorageFacts, setting: &Setting) {
        let named: Vec<String> = setting
            .arguments
            .0
            .iter()
            .filter(|word| word.key == "rd.luks.uuid" || word.key == "rd.luks.name")
            .filter_map(|word| {
                let value = word.value.as_deref()?;
                Some(
                    value
                        .split('=')
                        .next()
                        .unwrap_or(value)
                        .trim_start_matches("luks-")
                        .to_ascii_lowercase(),
                )
            })
            .collect();
        for (index, volume) in sources.volumes() {
            let device = sources.devices.get(index);
            let uuid = device.uuid.to_ascii_lowercase();
            let is_images = self.image.encrypted.contains(&device.path);
            let is_named = !uuid.is_empty() && named.iter().any(|name| uuid.starts_with(name.as_str()));
            if !is_images && !is_named {
                continue;
            }
            let above = sources
                .devices
                .all()
                .position(|above| above.kind == "crypt" && above.parents.contains(&index));
            // What stands against one is said of the device that lies on it, and of what the kernel's line names.
            let mut said = Vec::new();
            let early = match above {
                Some(above) => opened(above, sources, setting, &mut said),
                None => closed(volume, index, sources, &mut said).map(Some),
            };
            let Ok(Some(early)) = early else { continue };
            if let Key::File(file) = early.key() {
                self.warnings.push(format!(
                    "{file}, which opens {}, goes into the initramfs: whoever reads /boot can read it",
                    volume.device
                ));
            }
            self.image.by_crypttab_alone |= is_images && uuid.is_empty();
            self.early_volumes.push(early);
        }
        self.name_in_crypttab(sources);
        if !self.image.encrypted.is_empty() || !named.is_empty() {
            let keys = line_keys(setting.arguments).into_iter();
            let files = keys.filter(|key| !key.is_on_a_device && sources.keys.contains(&key.path));
            for key in files {
                self.warnings.push(format!(
                    "{}, which rd.luks.key= names, goes into the initramfs: whoever reads /boot can read it",
                    key.path
                ));
                self.line_keys.push(key.path);
            }
        }
        for (index, device) in sources
            .devices
            .all()
            .enumerate()
            .filter(|(_, device)| device.kind == "crypt")
        {
            let uuid = device
                .parents
                .first()
                .map_or("", |&lower| sources.devices.get(lower).uuid.as_str());
            let uuid = uuid.to_ascii_lowercase();
            let is_named = named.iter().any(|name| uuid.starts_with(name.as_str()));
            let opened = is_named.then(|| opened(index, sources, setting, &mut Vec::new()));
            if let Some(Err(why)) = opened {
                if !self.faults.iter().any(|fault| fault.ends_with(&why)) {
                    self.faults
                        .push(format!("rd.luks.uuid={uuid} on the kernel's line: {why}"));
                }
            }
        }
    }

    /// Where a volume has no UUID to name it by on the kernel's line, systemd-cryptsetup-generator(8) goes by the crypttab, which
    /// it does for all volumes, if no word names one.
    fn name_in_crypttab(&mut self, sources: &StorageFacts) {
        if !self.image.by_crypttab_alone {
            return;
        }
        for device in sources.devices.all().filter(|device| device.kind == "crypt") {
            let below = device.parents.first().map(|&lower| sources.devices.get(lower));
            let Some(below) = below.filter(|below| self.image.encrypted.contains(&below.path)) else {
                continue;
            };
            let name = device.path.trim_start_matches("/dev/mapper/");
            if !below.uuid.is_empty() && !self.early_volumes.iter().any(|volume| volume.name == name) {
                let tokens = sources.tokens.get(&below.uuid);
                let is_by_clevis = tokens.is_some_and(|tokens| tokens.iter().any(|token| token == CLEVIS));
                self.early_volumes
                    .push(unwritten(name, &below.uuid, is_by_clevis));
            }
        }
    }
}
