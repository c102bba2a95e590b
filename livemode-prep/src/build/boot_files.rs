//! The kernel and the initramfs in /boot: made here, or those that leapp has made, where all is in them and ours would not be
//! smaller.
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use anyhow::{bail, Context, Result};
use livemode_common::failure::precondition;
use livemode_common::fsio;
use livemode_common::records::{Artifact, Origin};

use super::initramfs;
use super::together::Together;
use crate::chroot::Chroot;
use crate::plan::build_plan::{BuildPlan, Target};
use crate::plan::initramfs::OUTPUT;

/// What lies in /boot once the build counts.
pub(crate) struct BootFiles {
    pub(crate) kernel: Artifact,
    pub(crate) hmac: Option<Artifact>,
    pub(crate) initramfs: Artifact,
}

/// Makes them under the names that do not count yet; what leapp has made and is fit stays where it is.
pub(crate) fn make(
    plan: &BuildPlan,
    target: &Target,
    chroot: &mut Chroot,
    together: &Together,
) -> Result<BootFiles> {
    if plan.boot_files == Origin::Given {
        return given(plan, target, chroot, together);
    }
    initramfs::make(plan, target, chroot, together)?;
    Ok(BootFiles {
        kernel: put(plan, chroot, &target.kernel.image, &plan.paths.kernel)?,
        hmac: hmac(plan, target, chroot)?,
        initramfs: put(plan, chroot, Path::new(OUTPUT), &plan.paths.initramfs)?,
    })
}

fn given(plan: &BuildPlan, target: &Target, chroot: &mut Chroot, together: &Together) -> Result<BootFiles> {
    let (paths, requested) = (&plan.paths, &plan.requested);
    for path in [&paths.kernel, &paths.initramfs] {
        if !path.is_file() {
            return Err(precondition(format!(
                "{} is not there, though leapp has made it; run leapp upgrade again",
                path.display()
            )));
        }
    }
    let own = chroot.tree().resolve(&target.kernel.image)?;
    if digest(&own)? != digest(&paths.kernel)? {
        return Err(precondition(format!(
            "{} is not the container's kernel {}; run leapp upgrade again",
            paths.kernel.display(),
            target.kernel.version
        )));
    }
    let missing = initramfs::missing(chroot, &paths.initramfs, requested, &target.kernel.modules)?;
    initramfs::make(plan, target, chroot, together)?;
    let size = |path: &Path| -> Result<u64> {
        let meta = fs::metadata(path).with_context(|| format!("looking at {}", path.display()))?;
        Ok(meta.len())
    };
    let (theirs, ours) = (size(&paths.initramfs)?, size(&chroot.tree().resolve(OUTPUT)?)?);
    let is_worse = ours >= theirs || ours > plan.source.boot.free_bytes;
    let initramfs = if missing.is_empty() && is_worse {
        in_place(plan, &paths.initramfs)?
    } else {
        let path = paths.initramfs.display();
        if missing.is_empty() {
            let mib = |bytes: u64| bytes.div_ceil(1 << 20);
            eprintln!(
                "livemode-prep: {path} has more than this machine needs; {} MiB instead of {} MiB",
                mib(ours),
                mib(theirs)
            );
        } else {
            eprintln!(
                "livemode-prep: {path} lacks {}; making it again",
                missing.join(", ")
            );
        }
        let made = put(plan, chroot, Path::new(OUTPUT), &paths.initramfs)?;
        let staged_file = paths.staged(&paths.initramfs);
        let missing = initramfs::missing(chroot, &staged_file, requested, &target.kernel.modules)?;
        if !missing.is_empty() {
            bail!("the initramfs that dracut made lacks {}", missing.join(", "));
        }
        made
    };
    Ok(BootFiles {
        kernel: in_place(plan, &paths.kernel)?,
        hmac: paths
            .hmac
            .is_file()
            .then(|| in_place(plan, &paths.hmac))
            .transpose()?,
        initramfs,
    })
}

fn put(plan: &BuildPlan, chroot: &Chroot, from: &Path, to: &Path) -> Result<Artifact> {
    let (size, sha256) = stage(&chroot.tree().resolve(from)?, &plan.paths.staged(to), 0o600)?;
    Ok(Artifact {
        origin: Origin::Made,
        path: plan.as_source_sees(to),
        size,
        sha256,
    })
}

fn hmac(plan: &BuildPlan, target: &Target, chroot: &Chroot) -> Result<Option<Artifact>> {
    let Some(hmac) = &target.kernel.hmac else {
        return Ok(None);
    };
    let renamed = renamed_hmac(&chroot.tree().read(hmac)?, &plan.paths.kernel);
    let staged_file = plan.paths.staged(&plan.paths.hmac);
    fsio::atomic_write(&staged_file, renamed.as_bytes(), 0o600)?;
    artifact(plan, Origin::Made, &staged_file, &plan.paths.hmac, |_| ()).map(Some)
}

/// Gives a file a second name, on the disk; where the file system knows no second names, a copy.
pub(crate) fn second_name(file: &Path, name: &Path) -> Result<()> {
    match fs::remove_file(name) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
            return Err(e).with_context(|| format!("removing {}", name.display()))
        }
        _ => {}
    }
    if fs::hard_link(file, name).is_err() {
        stage(file, name, 0o600)?;
    }
    Ok(())
}

/// A file of leapp's: it has not been synced by whoever wrote it.
fn in_place(plan: &BuildPlan, path: &Path) -> Result<Artifact> {
    File::open(path)
        .and_then(|file| file.sync_all())
        .with_context(|| format!("syncing {}", path.display()))?;
    artifact(plan, Origin::Given, path, path, |_| ())
}

fn digest(path: &Path) -> Result<String> {
    let context = || format!("reading {}", path.display());
    let (sha256, _) =
        fsio::sha256_of(&File::open(path).with_context(context)?, |_| ()).with_context(context)?;
    Ok(sha256)
}

/// Copies a file with its data made durable; gives its size and SHA-256.
fn stage(from: &Path, to: &Path, mode: u32) -> Result<(u64, String)> {
    let copy = || -> Result<(u64, String)> {
        let mut source = File::open(from)?;
        let mut target = fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(mode)
            .open(to)?;
        std::io::copy(&mut source, &mut target)?;
        target.flush()?;
        target.sync_all()?;
        let (sha256, size) = fsio::sha256_of(&File::open(to)?, |_| ())?;
        Ok((size, sha256))
    };
    copy().with_context(|| format!("copying {} to {}", from.display(), to.display()))
}

/// What is known of a file that lies at one path and will count at another.
pub(crate) fn artifact(
    plan: &BuildPlan,
    origin: Origin,
    lies: &Path,
    path: &Path,
    progress: impl FnMut(u64),
) -> Result<Artifact> {
    let context = || format!("reading {}", lies.display());
    let (sha256, size) =
        fsio::sha256_of(&File::open(lies).with_context(context)?, progress).with_context(context)?;
    Ok(Artifact {
        origin,
        path: plan.as_source_sees(path),
        size,
        sha256,
    })
}

/// The line of sha512hmac(1), "HASH  NAME", for the kernel's new name.
fn renamed_hmac(line: &str, kernel: &Path) -> String {
    let hash = line.split_whitespace().next().unwrap_or_default();
    format!(
        "{hash}  {}\n",
        kernel.file_name().unwrap_or_default().to_string_lossy()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hmac_file_names_the_kernel_it_lies_beside() {
        assert_eq!(
            renamed_hmac(
                "0f1e  vmlinuz-5.14.0-1.el9\n",
                Path::new("/boot/vmlinuz-upgrade.x86_64")
            ),
            "0f1e  vmlinuz-upgrade.x86_64\n"
        );
    }
}
