//! Carries the plan out. Everything is made under names that do not count, then renamed together.
pub(crate) mod boot_files;
pub(crate) mod programs;
pub(crate) mod progress;

use std::fs::{self, File};
use std::path::PathBuf;

use anyhow::{Context, Result};
use livemode_common::cmd::Cmd;
use livemode_common::contract::SCHEMA;
use livemode_common::failure::precondition;
use livemode_common::fsio;
use livemode_common::image_ref::ImageRef;
use livemode_common::records::{to_json, BootEntry, Manifest, Phase, Records, State};

use crate::args::Loader;
use crate::build::progress::Progress;
use crate::chroot::Chroot;
use crate::commit::scratch::Scratch;
use crate::commit::transaction as commit;
use crate::plan::build_plan::BuildPlan;
use crate::plan::live_system;
use crate::plan::packages;
use crate::plan::squashfs;

const STEPS: u32 = 5;

/// An error unless the admin has opted in, as leapp asks for everything unsupported.
pub(crate) fn opted_in() -> Result<()> {
    if std::env::var("LEAPP_UNSUPPORTED").is_ok_and(|v| v == "1") {
        return Ok(());
    }
    Err(precondition("LiveMode is not opted in; set LEAPP_UNSUPPORTED=1"))
}

/// Builds and prints the result.
pub(crate) fn run(plan: &BuildPlan, json: bool) -> Result<()> {
    for warning in plan.warnings() {
        eprintln!("warning: {warning}");
    }
    let mut progress = Progress::new(STEPS, json);
    let manifest = build(plan, &mut progress)?;
    progress.finish();
    if json {
        println!("{}", serde_json::to_string(&manifest).context("writing JSON")?);
    } else {
        println!(
            "image      {} ({} MiB)",
            manifest.image.path,
            manifest.image.size.div_ceil(1 << 20)
        );
        println!("kernel     {}", manifest.kernel.path);
        println!("initramfs  {}", manifest.initramfs.path);
        println!("arguments  {}", manifest.boot.arguments);
        let url = &plan.config.url_to_load_squashfs_image_from;
        if !url.is_empty() {
            let (image, url) = (&manifest.image, ImageRef::Url(url.clone()).shown());
            println!("upload     {} to {url}", image.path);
            println!("           {} bytes, sha256 {}", image.size, image.sha256);
        }
    }
    Ok(())
}

fn build(plan: &BuildPlan, progress: &mut Progress) -> Result<Manifest> {
    let former = Records::of(&plan.root).manifest()?;
    let scratch = Scratch::begin(
        &plan.root,
        &plan.paths.leftovers(),
        &[&plan.facts.image_dir.path, &plan.facts.state_dir.path],
    )?;
    let mut chroot = Chroot::on_disk(&plan.userspace.dir, &plan.paths.work)?;

    progress.step("packages", None);
    let missing = packages::missing(&chroot, &plan.required_packages)?;
    if !missing.is_empty() {
        packages::install(&chroot, &missing)?;
    }

    progress.step("initramfs", None);
    let boot = boot_files::make(plan, &mut chroot)?;

    progress.step("live system", None);
    chroot.close_resolver()?;
    live_system::write(plan, &chroot.tree())?;

    progress.step("image", Some(plan.userspace.image_bytes));
    let image = plan.paths.unfinished(&plan.paths.image);
    squashfs::pack(&mut chroot, &plan.packing, &image, progress)?;
    drop(chroot);
    use std::os::unix::fs::PermissionsExt;
    File::open(&image)
        .and_then(|f| {
            f.set_permissions(fs::Permissions::from_mode(0o600))
                .and_then(|()| f.sync_all())
        })
        .with_context(|| format!("syncing {}", image.display()))?;

    let size = fs::metadata(&image)
        .with_context(|| format!("looking at {}", image.display()))?
        .len();
    progress.step("digest", Some(size));
    let image = boot_files::artifact(plan, &image, &plan.paths.image, |bytes| progress.at(bytes))?;
    let arguments = plan.arguments(&image.sha256, image.size);
    let manifest = Manifest {
        schema: SCHEMA,
        boot: BootEntry {
            loader: plan.loader.name().into(),
            former_default: plan.entry.as_ref().and_then(|entry| entry.former_default.clone()),
            arguments,
        },
        image,
        kernel: boot.kernel,
        hmac: boot.hmac,
        initramfs: boot.initramfs,
        kernel_version: plan.userspace.kernel.version.clone(),
        compressor: plan.packing.compressor.into(),
        source_arguments: plan.facts.arguments.to_string(),
        config: plan.config.clone(),
        versions: versions(),
        created: fsio::now(),
    };
    commit(plan, &scratch, &manifest)?;
    if let Some(former) = former {
        remove_superseded(plan, &former, &manifest)?;
    }
    Ok(manifest)
}

fn commit(plan: &BuildPlan, scratch: &Scratch, manifest: &Manifest) -> Result<()> {
    let paths = &plan.paths;
    let state = State {
        schema: SCHEMA,
        state: Phase::Prepared,
        time: manifest.created,
        attempt: 0,
        message: "the image is built; the upgrade starts with the next boot into it".into(),
        exit_code: None,
    };
    fsio::atomic_write(&paths.unfinished(&paths.state), &to_json(&state)?, 0o600)?;
    fsio::atomic_write(&paths.unfinished(&paths.manifest), &to_json(manifest)?, 0o600)?;
    let hmac = manifest.hmac.as_ref().map(|_| &paths.hmac);
    // The manifest last: until it is there the former one is what remove and status go by.
    let files = [
        Some(&paths.image),
        Some(&paths.kernel),
        hmac,
        Some(&paths.initramfs),
        Some(&paths.state),
        Some(&paths.manifest),
    ];
    let renames: Vec<(PathBuf, PathBuf)> = files
        .into_iter()
        .flatten()
        .map(|path| (paths.unfinished(path), path.clone()))
        // What leapp has made lies in its place.
        .filter(|(unfinished, _)| unfinished.exists())
        .collect();
    let arguments = match plan.loader {
        Loader::Grubby => Some(manifest.boot.arguments.as_str()),
        Loader::None | Loader::Leapp => None,
    };
    let entry = plan.entry.as_ref().map(|entry| (entry, arguments));
    commit::make(&plan.root, scratch.work(), &renames, entry)
}

/// An image at a former path, or an hmac file of a kernel that had one.
fn remove_superseded(plan: &BuildPlan, former: &Manifest, manifest: &Manifest) -> Result<()> {
    let image = (former.image.path != manifest.image.path).then_some(&former.image);
    let hmac = former.hmac.as_ref().filter(|_| manifest.hmac.is_none());
    for old in image.into_iter().chain(hmac) {
        crate::commit::remove::remove_file(&plan.root.at(&old.path))?;
    }
    Ok(())
}

fn versions() -> std::collections::BTreeMap<String, String> {
    let mut versions =
        std::collections::BTreeMap::from([("livemode".into(), env!("CARGO_PKG_VERSION").into())]);
    if let Ok((_, text, _)) = Cmd::new("mksquashfs").arg("-version").output() {
        if let Some(version) = text.split_whitespace().nth(2) {
            versions.insert("mksquashfs".into(), version.into());
        }
    }
    versions
}
