//! What brings the source's storage up, for the live system and for early boot: configuration, identities, key files.
use anyhow::Result;
use livemode_common::container::ContainerDir;

use super::{names, take, Carried, File, SECRET};
use crate::facts::leapp::Requested;
use crate::facts::storage::crypttab::{Key, Volume};
use crate::plan::storage::Storage;

const CRYPTTAB: &str = "/etc/crypttab";
/// Names of the machine towards its storage, for any layer: they cost nothing where nobody reads them.
const IDENTITIES: [&str; 2] = ["/etc/nvme/hostnqn", "/etc/nvme/hostid"];
/// An entry of the fstab may name a file with a password (mount.cifs(8)).
const CREDENTIALS: [&str; 2] = ["credentials=", "cred="];
/// Deeper trees than iscsiadm's database, /var/lib/iscsi/nodes/TARGET/PORTAL/default, are no configuration.
const DEPTH: u32 = 8;

/// Reads what the layers of the storage have on the source.
pub(super) fn gather(source: &ContainerDir, storage: &Storage, carried: &mut Carried) -> Result<()> {
    let configuration = storage.layers().flat_map(|layer| layer.configuration());
    for path in configuration.chain(&IDENTITIES) {
        take_all(source, path, DEPTH, carried)?;
    }
    for volume in storage.live_volumes.iter().chain(&storage.early_volumes) {
        if let Key::File(file) = volume.key() {
            take_once(source, file, Some(SECRET), carried)?;
        }
    }
    for mount in &storage.mounts {
        for option in mount.entry.options() {
            let path = CREDENTIALS.iter().find_map(|key| option.strip_prefix(key));
            if let Some(path) = path.filter(|path| source.exists(path)) {
                take_once(source, path, Some(SECRET), carried)?;
            }
        }
    }
    if !storage.live_volumes.is_empty() {
        carried.files.push(crypttab(&storage.live_volumes));
    }
    Ok(())
}

fn crypttab(volumes: &[Volume]) -> File {
    let lines: String = volumes.iter().map(|volume| format!("{volume}\n")).collect();
    File {
        path: CRYPTTAB.into(),
        content: lines.into_bytes(),
        mode: SECRET,
    }
}

fn take_all(source: &ContainerDir, path: &str, depth: u32, carried: &mut Carried) -> Result<()> {
    let at = source.resolve(path)?;
    if at.is_file() {
        return take_once(source, path, None, carried);
    }
    if at.is_dir() && depth > 0 {
        for name in names(source, path)? {
            take_all(source, &format!("{path}/{name}"), depth - 1, carried)?;
        }
    }
    Ok(())
}

fn take_once(source: &ContainerDir, path: &str, mode: Option<u32>, carried: &mut Carried) -> Result<()> {
    if carried.files.iter().any(|file| file.path == path) {
        return Ok(());
    }
    take(source, path, mode, carried)
}

impl Carried {
    /// What early boot needs of it, as dracut is to be told.
    pub(crate) fn early(&self, storage: &Storage) -> Requested {
        let layers = || storage.image.layers.iter();
        let owned = |name: &str| name.to_owned();
        let files = self.early_files(storage);
        Requested {
            dracut_modules: layers().filter_map(|l| l.dracut_module()).map(owned).collect(),
            kernel_modules: layers()
                .flat_map(|l| l.kernel_modules())
                .map(|name| owned(name))
                .collect(),
            files: files.into_iter().map(|file| file.path).collect(),
        }
    }

    /// The files that early boot needs: what the layers below the image have, and what opens its volumes.
    pub(crate) fn early_files(&self, storage: &Storage) -> Vec<File> {
        let keys = storage
            .early_volumes
            .iter()
            .filter_map(|volume| match volume.key() {
                Key::File(file) => Some(file),
                _ => None,
            });
        let configuration = storage
            .image
            .layers
            .iter()
            .flat_map(|layer| layer.early_configuration());
        let wanted: Vec<&str> = configuration.copied().chain(keys).collect();
        let is_below = |file: &File, path: &str| {
            file.path
                .strip_prefix(path)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        let mut files: Vec<File> = self.files.clone();
        files.retain(|file| wanted.iter().any(|path| is_below(file, path)));
        if !storage.early_volumes.is_empty() {
            files.push(crypttab(&storage.early_volumes));
        }
        files
    }
}
