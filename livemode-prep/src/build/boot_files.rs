//! The kernel and the initramfs in /boot: made here, or those that leapp has made, where all is in them.
use std::fs::File;
use std::path::Path;

use anyhow::{bail, Context, Result};
use livemode_common::failure::precondition;
use livemode_common::fsio;
use livemode_common::records::Artifact;

use crate::chroot::Chroot;
use crate::commit::scratch::stage;
use crate::plan::build_plan::BuildPlan;
use crate::plan::initramfs;

/// What lies in /boot once the build counts.
pub(crate) struct BootFiles {
    pub(crate) kernel: Artifact,
    pub(crate) hmac: Option<Artifact>,
    pub(crate) initramfs: Artifact,
}

/// Makes them under the names that do not count yet; what leapp has made and is fit stays where it is.
pub(crate) fn make(plan: &BuildPlan, chroot: &mut Chroot) -> Result<BootFiles> {
    if plan.is_given {
        return given(plan, chroot);
    }
    dracut(plan, chroot)?;
    Ok(BootFiles {
        kernel: put(plan, chroot, &plan.userspace.kernel.image, &plan.paths.kernel)?,
        hmac: hmac(plan, chroot)?,
        initramfs: put(plan, chroot, Path::new(initramfs::OUTPUT), &plan.paths.initramfs)?,
    })
}

fn given(plan: &BuildPlan, chroot: &mut Chroot) -> Result<BootFiles> {
    let (paths, requested) = (&plan.paths, &plan.requested);
    for path in [&paths.kernel, &paths.initramfs] {
        if !path.is_file() {
            return Err(precondition(format!(
                "{} is not there, though leapp has made it; run leapp upgrade again",
                path.display()
            )));
        }
    }
    let own = chroot.tree().resolve(&plan.userspace.kernel.image)?;
    if digest(&own)? != digest(&paths.kernel)? {
        return Err(precondition(format!(
            "{} is not the container's kernel {}; run leapp upgrade again",
            paths.kernel.display(),
            plan.userspace.kernel.version
        )));
    }
    let missing = initramfs::missing(chroot, &paths.initramfs, requested, &plan.userspace)?;
    let initramfs = if missing.is_empty() {
        in_place(plan, &paths.initramfs)?
    } else {
        let lacks = missing.join(", ");
        eprintln!(
            "livemode-prep: {} lacks {lacks}; making it again",
            paths.initramfs.display()
        );
        dracut(plan, chroot)?;
        let made = put(plan, chroot, Path::new(initramfs::OUTPUT), &paths.initramfs)?;
        let unfinished = paths.unfinished(&paths.initramfs);
        let missing = initramfs::missing(chroot, &unfinished, requested, &plan.userspace)?;
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

/// Makes the initramfs in the container.
fn dracut(plan: &BuildPlan, chroot: &Chroot) -> Result<()> {
    let tree = chroot.tree();
    initramfs::add_module(&tree)?;
    for file in plan.carried.early_files(&plan.storage) {
        tree.write(&file.path, &file.content, file.mode)?;
    }
    let dracut = plan.dracut(chroot.cmd("dracut"));
    dracut.run().context("making the initramfs")
}

fn put(plan: &BuildPlan, chroot: &Chroot, from: &Path, to: &Path) -> Result<Artifact> {
    let (size, sha256) = stage(&chroot.tree().resolve(from)?, &plan.paths.unfinished(to), 0o600)?;
    Ok(Artifact {
        path: plan.as_source_sees(to),
        size,
        sha256,
    })
}

fn hmac(plan: &BuildPlan, chroot: &Chroot) -> Result<Option<Artifact>> {
    let Some(hmac) = &plan.userspace.kernel.hmac else {
        return Ok(None);
    };
    let renamed = renamed_hmac(&chroot.tree().read(hmac)?, &plan.paths.kernel);
    let unfinished = plan.paths.unfinished(&plan.paths.hmac);
    fsio::atomic_write(&unfinished, renamed.as_bytes(), 0o600)?;
    artifact(plan, &unfinished, &plan.paths.hmac, |_| ()).map(Some)
}

/// A file of leapp's: it has not been synced by whoever wrote it.
fn in_place(plan: &BuildPlan, path: &Path) -> Result<Artifact> {
    File::open(path)
        .and_then(|file| file.sync_all())
        .with_context(|| format!("syncing {}", path.display()))?;
    artifact(plan, path, path, |_| ())
}

fn digest(path: &Path) -> Result<String> {
    let context = || format!("reading {}", path.display());
    let (sha256, _) = fsio::sha256(File::open(path).with_context(context)?, |_| ()).with_context(context)?;
    Ok(sha256)
}

/// What is known of a file that lies at one path and will count at another.
pub(crate) fn artifact(
    plan: &BuildPlan,
    lies: &Path,
    path: &Path,
    progress: impl FnMut(u64),
) -> Result<Artifact> {
    let context = || format!("reading {}", lies.display());
    let (sha256, size) =
        fsio::sha256(File::open(lies).with_context(context)?, progress).with_context(context)?;
    Ok(Artifact {
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
