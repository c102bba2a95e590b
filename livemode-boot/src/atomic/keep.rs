//! The copy of what the boot loader reads, in the store: /boot, the EFI system partition, the boot code of the disks; and of what
//! the firmware boots. It is taken before leapp starts, and put back when the upgrade is given up.
use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use anyhow::{bail, Context, Result};
use livemode_common::fsio::sha256;
use livemode_common::loader::efivars::Variable;
use livemode_common::store::{Header, Sectors, StoreIo, BLOCK};
use serde::{Deserialize, Serialize};

use crate::console::{say, Level};
use crate::{device, loader};

mod tree;

use tree::{put_back, Copy, Tree};

const MAGIC: &[u8] = b"LIVEMODE COPY\n";

/// Everything that was copied, and where it lies in the store.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Index {
    /// The build it was taken for.
    id: String,
    trees: Vec<Tree>,
    /// For each of the header's sectors, where they lie.
    code: Vec<u64>,
    /// What the firmware boots.
    options: Vec<Variable>,
}

/// Takes the copy. Until this has returned there is none.
pub(super) fn take(header: &Header, store: &StoreIo, devices: &[PathBuf], mount: &Path) -> Result<()> {
    forget(header, store)?;
    let end = header.copy.at + header.copy.bytes;
    let mut copy = Copy {
        store,
        at: header.copy.at + BLOCK,
        end,
    };
    let mut index = Index {
        id: header.id.clone(),
        options: loader::boot_options().unwrap_or_else(|error| {
            say(Level::Warning, &format!("{error:#}; it cannot be put back then"));
            Vec::new()
        }),
        ..Index::default()
    };
    for (kept, device) in header.kept.iter().zip(devices) {
        let ours = ours(header, &kept.mount);
        let tree = device::while_mounted(device, mount, || copy.tree(&kept.mount, mount, &ours));
        index.trees.push(tree?);
    }
    for sectors in &header.sectors {
        index.code.push(copy.at);
        let disk = disk_of(sectors)?;
        let mut bytes = vec![0; usize::try_from(sectors.bytes)?];
        File::open(&disk)
            .and_then(|file| file.read_exact_at(&mut bytes, sectors.at))
            .with_context(|| format!("reading the boot code of {}", disk.display()))?;
        copy.add(&bytes)?;
    }
    let json = serde_json::to_vec(&index).context("writing JSON")?;
    let at = copy.at;
    copy.add(&json)?;
    let (sum, _) = sha256(json.as_slice(), |_| ())?;
    let mut head = MAGIC.to_vec();
    head.extend(format!("{at} {} {sum}\n", json.len()).into_bytes());
    head.resize(usize::try_from(BLOCK)?, 0);
    store.write(header.copy.at, &head)
}

/// From now on there is no copy.
pub(super) fn forget(header: &Header, store: &StoreIo) -> Result<()> {
    store.write(header.copy.at, &vec![0; usize::try_from(BLOCK)?])
}

/// Puts everything back that is no longer as it was copied; nothing where there is no copy. The loader's own parts come last, so
/// that it finds what it needs for as long as it can.
pub(super) fn restore(header: &Header, store: &StoreIo, devices: &[PathBuf], mount: &Path) -> Result<()> {
    let Some(index) = index(header, store)? else {
        return Ok(());
    };
    for ((tree, kept), device) in index.trees.iter().zip(&header.kept).zip(devices) {
        device::while_mounted(device, mount, || {
            put_back(tree, mount, store).with_context(|| format!("putting {} back", kept.mount))
        })?;
    }
    for (sectors, at) in header.sectors.iter().zip(&index.code) {
        let mut kept = vec![0; usize::try_from(sectors.bytes)?];
        store.read(*at, &mut kept)?;
        let disk = disk_of(sectors)?;
        let write = || -> std::io::Result<()> {
            let file = OpenOptions::new().read(true).write(true).open(&disk)?;
            let mut now = vec![0; kept.len()];
            file.read_exact_at(&mut now, sectors.at)?;
            if now != kept {
                file.write_all_at(&kept, sectors.at)?;
                file.sync_all()?;
            }
            Ok(())
        };
        write().with_context(|| format!("putting the boot code of {} back", disk.display()))?;
    }
    loader::restore_boot_options(&index.options).map(|_| ())
}

fn index(header: &Header, store: &StoreIo) -> Result<Option<Index>> {
    let mut head = vec![0; usize::try_from(BLOCK)?];
    store.read(header.copy.at, &mut head)?;
    let Some(rest) = head.strip_prefix(MAGIC) else {
        return Ok(None);
    };
    let line = rest.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let line = String::from_utf8_lossy(line);
    let fields: Vec<&str> = line.split(' ').collect();
    let [at, bytes, sum] = fields[..] else {
        bail!("the copy of /boot is torn");
    };
    let mut json = vec![0; bytes.parse::<usize>()?.min(usize::try_from(header.copy.bytes)?)];
    store.read(at.parse()?, &mut json)?;
    let (found, _) = sha256(json.as_slice(), |_| ())?;
    if found != sum {
        bail!("the copy of /boot is torn");
    }
    let index: Index = serde_json::from_slice(&json)?;
    Ok((index.id == header.id).then_some(index))
}

/// The disk that a partition lies on.
fn disk_of(sectors: &Sectors) -> Result<PathBuf> {
    let context = || format!("looking for the disk of {}", sectors.beside);
    let node = Path::new(&sectors.beside).canonicalize().with_context(context)?;
    let sys = Path::new("/sys/class/block").join(node.file_name().unwrap_or_default());
    let sys = sys.canonicalize().with_context(context)?;
    let disk = sys.parent().and_then(Path::file_name).with_context(context)?;
    Ok(Path::new("/dev").join(disk))
}

/// Our own kernel and initramfs, below the mount point that they lie on.
fn ours(header: &Header, mount: &str) -> Vec<PathBuf> {
    let own = header.entry.iter().flat_map(|own| [&own.kernel, &own.initramfs]);
    own.filter_map(|path| Some(Path::new(path).strip_prefix(mount).ok()?.to_owned()))
        .collect()
}
