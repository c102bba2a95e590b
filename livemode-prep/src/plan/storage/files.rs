//! The files that bring the source's storage up, in the live system and in early boot: configuration, identities, keys. Pure.
use super::options::LONGEST_S;
use super::Storage;
use crate::facts::files::{credentials_file, Files};
use crate::facts::leapp::Requested;
use crate::facts::storage::crypttab::{Key, Volume};
use crate::plan::items::{Content, Item, SECRET};
use crate::plan::network::{copied, of_source};

const CRYPTTAB: &str = "/etc/crypttab";
/// systemd-cryptsetup-generator(8) lets opening a volume last for ever.
const LIMITED: &str = "/etc/systemd/system/systemd-cryptsetup@.service.d/livemode.conf";
/// Names of the machine towards its storage, for any layer: they cost nothing where nobody reads them.
const IDENTITIES: [&str; 2] = ["/etc/nvme/hostnqn", "/etc/nvme/hostid"];

/// Those of the live system.
pub(crate) fn live(files: &Files, storage: &Storage) -> Vec<Item> {
    let layers = storage.layers().flat_map(|layer| layer.configuration());
    let configuration = layers.chain(&IDENTITIES).flat_map(|path| files.below(path));
    let mut items: Vec<Item> = Vec::new();
    for path in configuration {
        add(&mut items, of_source(files, path));
    }
    for volume in storage.live_volumes.iter().chain(&storage.early_volumes) {
        add(&mut items, key_file(files, volume));
        add(&mut items, header(files, volume));
    }
    let options = storage.mounts.iter().flat_map(|mount| mount.entry.options());
    for path in options.filter_map(credentials_file) {
        add(&mut items, files.get(path).map(|_| copied(path, SECRET)));
    }
    if !storage.live_volumes.is_empty() {
        items.push(crypttab(&storage.live_volumes));
        items.push(Item::file(
            LIMITED,
            format!("[Service]\nTimeoutStartSec={LONGEST_S}\n"),
            0o644,
        ));
    }
    items
}

/// Those of early boot: what the layers below the image have, and what opens its volumes.
pub(crate) fn early(files: &Files, storage: &Storage) -> Vec<Item> {
    let layers = storage.image.layers.iter();
    let configuration = layers
        .flat_map(|layer| layer.early_configuration())
        .flat_map(|path| files.below(path));
    let mut items: Vec<Item> = Vec::new();
    for path in configuration {
        add(&mut items, of_source(files, path));
    }
    for volume in &storage.early_volumes {
        add(&mut items, key_file(files, volume));
        add(&mut items, header(files, volume));
    }
    for path in &storage.line_keys {
        add(&mut items, files.get(path).map(|_| copied(path, SECRET)));
    }
    if !storage.early_volumes.is_empty() {
        items.push(crypttab(&storage.early_volumes));
    }
    items
}

/// What dracut is to be told of the layers below the image and of these files. `available` are the kernel's modules that
/// are files.
pub(crate) fn requested(
    storage: &Storage,
    early: &[Item],
    available: &std::collections::BTreeSet<String>,
) -> Requested {
    let layers = || storage.image.layers.iter();
    let owned = |name: &str| name.to_owned();
    let modules = layers().flat_map(|layer| layer.kernel_modules()).copied();
    Requested {
        dracut_modules: layers()
            .filter_map(|layer| layer.dracut_module())
            .map(owned)
            .collect(),
        kernel_modules: modules
            .filter(|name| available.contains(&crate::facts::userspace::plain(name)))
            .map(owned)
            .collect(),
        files: early.iter().map(Item::path).collect(),
    }
}

fn add(items: &mut Vec<Item>, item: Option<Item>) {
    let Some(item) = item else { return };
    if !items.iter().any(|known| known.path() == item.path()) {
        items.push(item);
    }
}

fn key_file(files: &Files, volume: &Volume) -> Option<Item> {
    match volume.key() {
        Key::File(file) => files.get(file).map(|_| copied(file, SECRET)),
        _ => None,
    }
}

fn header(files: &Files, volume: &Volume) -> Option<Item> {
    let path = volume.header()?;
    files.get(path).map(|_| copied(path, SECRET))
}

fn crypttab(volumes: &[Volume]) -> Item {
    let lines: String = volumes.iter().map(|volume| format!("{volume}\n")).collect();
    Item::File {
        path: CRYPTTAB.into(),
        content: Content::Text(lines.into_bytes()),
        mode: SECRET,
        is_secret: false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::storage::Layer;
    use livemode_common::fstab;

    fn volume(name: &str, key: &str, options: &str) -> Volume {
        Volume {
            name: name.into(),
            device: "UUID=a".into(),
            key: key.into(),
            options: options.into(),
            line: 0,
        }
    }

    fn paths(items: &[Item]) -> Vec<String> {
        items.iter().map(Item::path).collect()
    }

    fn files() -> Files {
        Files::of(&[
            ("/etc/lvm/lvm.conf", "a"),
            ("/etc/lvm/devices/system.devices", "a"),
            ("/etc/multipath/wwids", "a"),
            ("/etc/nvme/hostnqn", "a"),
            ("/key", "a"),
            ("/other", "a"),
            ("/header", "a"),
            ("/etc/share.secret", "a"),
        ])
    }

    #[test]
    fn layers_bring_their_configuration_and_volumes_their_keys_each_once() {
        let mut storage = Storage::default();
        storage.source.layers.extend([Layer::Lvm, Layer::Multipath]);
        storage.image.layers.extend([Layer::Lvm]);
        storage.live_volumes = vec![
            volume("a", "/key", "header=/header"),
            volume("b", "/key", ""),
            volume("c", "/gone", "header=/gone"),
            volume("d", "none", ""),
        ];
        storage.early_volumes = vec![volume("e", "/other", "")];
        assert_eq!(
            paths(&live(&files(), &storage)),
            [
                "/etc/lvm/lvm.conf",
                "/etc/lvm/devices/system.devices",
                "/etc/multipath/wwids",
                "/etc/nvme/hostnqn",
                "/key",
                "/header",
                "/other",
                "/etc/crypttab",
                "/etc/systemd/system/systemd-cryptsetup@.service.d/livemode.conf"
            ]
        );
        let early = early(&files(), &storage);
        assert_eq!(paths(&early), ["/etc/lvm/lvm.conf", "/other", "/etc/crypttab"]);
        let crypttab = Item::File {
            path: CRYPTTAB.into(),
            content: Content::Text(b"e UUID=a /other luks\n".to_vec()),
            mode: SECRET,
            is_secret: false,
        };
        assert!(early[2] == crypttab, "{early:?}");
        assert_eq!(paths(&live(&files(), &Storage::default())), ["/etc/nvme/hostnqn"]);
        assert_eq!(paths(&super::early(&files(), &Storage::default())), [""; 0]);
    }

    #[test]
    fn a_share_brings_its_file_of_credentials() {
        let lines =
            "//server/a /a cifs credentials=/etc/share.secret 0 0\n//server/b /b cifs cred=/gone 0 0\n";
        let setting = crate::plan::storage::Setting::of_test();
        let sources = crate::facts::storage::StorageFacts {
            keys: ["/etc/share.secret", "/gone"].map(str::to_owned).into(),
            ..Default::default()
        };
        let storage = Storage::model(&fstab::parse(lines).unwrap(), &sources, &setting);
        let items = live(&files(), &storage);
        assert_eq!(paths(&items), ["/etc/nvme/hostnqn", "/etc/share.secret"]);
        assert!(
            matches!(
                &items[1],
                Item::File {
                    mode: SECRET,
                    is_secret: true,
                    ..
                }
            ),
            "{items:?}"
        );
    }

    #[test]
    fn dracut_is_told_of_the_images_layers_and_of_modules_that_there_are() {
        let mut storage = Storage::default();
        storage.image.layers.extend([Layer::Md, Layer::Nfs]);
        storage.source.layers.extend([Layer::Lvm]);
        let available = ["raid1", "dm_mod"].map(str::to_owned).into();
        let early = [Item::file("/etc/a", "", 0o644)];
        let asked = requested(&storage, &early, &available);
        assert_eq!(
            asked,
            Requested {
                dracut_modules: vec!["mdraid".into()],
                kernel_modules: vec!["raid1".into()],
                files: vec!["/etc/a".into()],
            }
        );
        storage.image.layers = [Layer::Lvm].into();
        assert_eq!(requested(&storage, &[], &available).kernel_modules, ["dm-mod"]);
    }
}
