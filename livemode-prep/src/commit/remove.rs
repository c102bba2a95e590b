//! Takes back everything that `build` made. The manifest goes last: a cut in between leaves what says the rest.
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use livemode_common::config::Config;
use livemode_common::contract::{BootFiles, MANIFEST, STATE, STATE_DIR};
use livemode_common::failure::precondition;
use livemode_common::fsio::sync_dir;
use livemode_common::records::Records;
use livemode_common::sysroot::SysRoot;

use crate::args::Loader;
use crate::commit::boot_entry as loader;
use crate::commit::scratch;

pub(crate) fn run(root: &SysRoot) -> Result<()> {
    let manifest = Records::of(root).manifest()?;
    let default = Config::default().squashfs_image_path;
    let image = root.at(manifest.as_ref().map_or(&default, |m| &m.image.path));
    let dir = image.parent().unwrap_or(Path::new("/"));
    let _lock = if dir.is_dir() {
        Some(scratch::lock(dir)?)
    } else {
        None
    };

    // First what a build that was cut off may have left, with or without a manifest of an earlier one.
    let arch = nix::sys::utsname::uname()?
        .machine()
        .to_string_lossy()
        .into_owned();
    let boot = BootFiles::for_arch(&arch);
    let files = [&boot.kernel, &boot.hmac, &boot.initramfs, STATE, MANIFEST].map(|path| root.at(path));
    let unfinished = files.iter().map(|path| scratch::unfinished(path));
    let former = files.iter().chain([&image]).map(|path| scratch::former(path));
    let leftovers: Vec<PathBuf> = [scratch::work_in(dir)]
        .into_iter()
        .chain(unfinished)
        .chain(former)
        .collect();
    scratch::sweep(root, &leftovers)?;

    // The sweep may have completed a commit: what is there now is what the manifest says now.
    if let Some(manifest) = Records::of(root).manifest()? {
        // An entry whose files are gone would boot into nothing.
        if manifest.boot.loader != Loader::None.name() {
            loader::take_back(root, &arch, &manifest).context("taking the boot entry back")?;
        }
        let hmac = manifest.hmac.as_ref();
        for artifact in [&manifest.image, &manifest.initramfs, &manifest.kernel]
            .into_iter()
            .chain(hmac)
        {
            if Path::new(&artifact.path)
                .components()
                .any(|c| c == std::path::Component::ParentDir)
            {
                return Err(precondition(format!(
                    "{}: names {}",
                    root.at(MANIFEST).display(),
                    artifact.path
                )));
            }
            remove_file(&root.at(&artifact.path))?;
        }
    }
    for record in [STATE, MANIFEST] {
        remove_file(&root.at(record))?;
    }
    match fs::remove_dir(root.at(STATE_DIR)) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
            Err(e).with_context(|| format!("removing {}", root.at(STATE_DIR).display()))
        }
        _ => Ok(()),
    }
}

/// Removes a file durably; one that is not there is no error.
pub(crate) fn remove_file(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Ok(()) => sync_dir(path.parent().unwrap_or(Path::new("/"))),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(e) => Err(e).with_context(|| format!("removing {}", path.display())),
    }
}
