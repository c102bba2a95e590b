//! Carries a plan out: the plan's lists and nothing else. Everything is made under names that do not count, then committed.
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::num::NonZero;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use livemode_common::contract::SCHEMA;
use livemode_common::failure::precondition;
use livemode_common::fsio;
use livemode_common::image_ref::ImageRef;
use livemode_common::records::{to_json, Artifact, BootEntry, Manifest, Origin, Records, State, StoreFile};
use livemode_common::store::protect;

mod boot_files;
mod initramfs;
mod items;
mod packages;
mod progress;
mod squashfs;
mod store;
mod together;

use progress::Progress;
pub(crate) use store::NoStore;
use store::Store;
use together::Together;

use crate::args::EntryKeeper;
use crate::arming;
use crate::chroot::Chroot;
use crate::commit::record::Change;
use crate::commit::transaction::{LoaderChange, Transaction};
use crate::plan::build_plan::{build_id, BuildPlan, Made};
use crate::plan::paths::Overlay;

const STEPS: u32 = 4;

/// An error unless the admin has opted in, as leapp asks for everything unsupported.
pub(crate) fn opted_in() -> Result<()> {
    if std::env::var("LEAPP_UNSUPPORTED").is_ok_and(|v| v == "1") {
        return Ok(());
    }
    Err(precondition("LiveMode is not opted in; set LEAPP_UNSUPPORTED=1"))
}

/// Builds and prints the result.
pub(crate) fn run(plan: &BuildPlan, json: bool) -> Result<()> {
    let state = Records::of(&plan.root).state().ok().flatten();
    if let Some(why) = state.and_then(|state| state.moves_to_the_disks()) {
        return Err(precondition(why));
    }
    for warning in &plan.findings.warnings {
        eprintln!("warning: {warning}");
    }
    let mut progress = Progress::new(STEPS, json);
    let manifest = build(plan, &mut progress)?;
    progress.finish();
    if json {
        println!("{}", serde_json::to_string(&manifest).context("writing JSON")?);
    } else {
        print(plan, &manifest);
    }
    Ok(())
}

fn print(plan: &BuildPlan, manifest: &Manifest) {
    println!(
        "image      {} ({} MiB)",
        manifest.image.path,
        manifest.image.size.div_ceil(1 << 20)
    );
    println!("kernel     {}", manifest.kernel.path);
    println!("initramfs  {}", manifest.initramfs.path);
    println!("arguments  {}", manifest.boot.arguments);
    if let Some(own) = &manifest.boot.entry {
        arming::print(&plan.root, own);
    }
    let url = &plan.config.url_to_load_squashfs_image_from;
    if !url.is_empty() {
        let (image, url) = (&manifest.image, ImageRef::Url(url.clone()).shown());
        println!("upload     {} to {url}", image.path);
        println!("           {} bytes, sha256 {}", image.size, image.sha256);
    }
}

fn build(plan: &BuildPlan, progress: &mut Progress) -> Result<Manifest> {
    let target = plan
        .target
        .as_ref()
        .context("there is no container to build from")?;
    let paths = &plan.paths;
    let entry = plan.entry.as_ref().map(|entry| plan.root.at(&entry.own.path));
    let mut targets: Vec<&Path> = [
        &paths.image,
        &paths.kernel,
        &paths.hmac,
        &paths.initramfs,
        &paths.own_kernel,
        &paths.own_initramfs,
        &paths.state,
        &paths.manifest,
    ]
    .map(PathBuf::as_path)
    .to_vec();
    targets.extend(entry.as_deref());
    let atomic = plan.atomic.as_ref().ok();
    targets.extend(atomic.map(|atomic| atomic.file.as_path()));
    let transaction = Transaction::begin(
        &plan.root,
        &[&plan.source.image_dir.path],
        Some(&paths.work),
        &targets,
    )?;
    let store = atomic
        .map(|atomic| Store::allocate(atomic, &paths.staged(&atomic.file)))
        .transpose()?;

    progress.step("packages", None);
    let layers = packages::layers(plan, target)?;

    // What dracut reads is the container's own: the live system's files are in another tree.
    progress.step("live system", None);
    let mut live = Chroot::on_disk(&layers, &paths.overlay(Overlay::Live))?;
    live.close_resolver()?;
    items::write(&plan.live_items, &plan.root, &live.tree())?;
    let mut early = Chroot::on_disk(&layers, &paths.overlay(Overlay::Early))?;

    progress.step("initramfs and image", Some(target.image_bytes));
    let (together, shown) = (Together::default(), &*progress);
    let processors = std::thread::available_parallelism().map_or(1, NonZero::get);
    let staged = paths.staged(&paths.image);
    let make_boot = || {
        let boot = boot_files::make(plan, target, &mut early, &together)?;
        shown.part_is_done("initramfs");
        Ok(boot)
    };
    let pack = || {
        squashfs::pack(&mut live, &target.packing, &staged, &together, shown)?;
        shown.part_is_done("image");
        Ok(())
    };
    let (boot, ()) = together.both(processors, make_boot, pack)?;
    drop((early, live));
    let image = settle(plan, &staged, progress)?;

    let arguments = plan.arguments(&Made {
        sha256: image.sha256.clone(),
        size: image.size,
        store_at: store.as_ref().map(Store::begins_at),
    });
    let manifest = Manifest {
        schema: SCHEMA,
        boot: BootEntry {
            loader: plan.entry_keeper.name().into(),
            entry: plan.entry.as_ref().map(|entry| entry.own.clone()),
            arguments,
        },
        id: build_id(&image.sha256),
        source: plan.fingerprint.clone(),
        image,
        kernel: boot.kernel,
        hmac: boot.hmac,
        initramfs: boot.initramfs,
        kernel_version: target.kernel.version.clone(),
        compressor: target.packing.compressor.into(),
        source_arguments: plan.source.arguments.to_string(),
        config: plan.config.clone(),
        versions: versions(plan),
        made_directories: made_directories(plan, &transaction),
        store: atomic.map(|atomic| StoreFile {
            path: plan.as_source_sees(&atomic.file),
            bytes: atomic.bytes,
        }),
        created: fsio::now(),
    };
    let state = State::first(
        "the image is built; the upgrade starts with the next boot into it",
        atomic.is_some(),
        manifest.created,
    );
    if let (Some(store), Some(atomic)) = (store, atomic) {
        let file = plan.as_source_sees(&atomic.file);
        let header = atomic.header(
            &manifest.id,
            &file,
            store.map().clone(),
            manifest.boot.entry.as_ref(),
        );
        store.finish(&header.map_err(precondition)?, &state)?;
    }
    commit(plan, transaction, &manifest, &state)?;
    if let Some(atomic) = atomic {
        protect(&atomic.file, true)?;
    }
    Ok(manifest)
}

/// Puts the image onto the disk and gives its size and digest.
fn settle(plan: &BuildPlan, image: &Path, progress: &mut Progress) -> Result<Artifact> {
    File::open(image)
        .and_then(|file| {
            file.set_permissions(fs::Permissions::from_mode(0o600))?;
            file.sync_all()
        })
        .with_context(|| format!("syncing {}", image.display()))?;
    let size = fs::metadata(image)
        .with_context(|| format!("looking at {}", image.display()))?
        .len();
    progress.step("digest", Some(size));
    boot_files::artifact(plan, Origin::Made, image, &plan.paths.image, |bytes| {
        progress.at(bytes)
    })
}

fn commit(plan: &BuildPlan, transaction: Transaction, manifest: &Manifest, state: &State) -> Result<()> {
    let paths = &plan.paths;
    fsio::atomic_write(&paths.staged(&paths.state), &to_json(state)?, 0o600)?;
    fsio::atomic_write(&paths.staged(&paths.manifest), &to_json(manifest)?, 0o600)?;
    let is_made = |artifact: &Artifact| artifact.origin == Origin::Made;
    let made = [
        Some((&manifest.image, &paths.image)),
        Some((&manifest.kernel, &paths.kernel)),
        manifest.hmac.as_ref().map(|hmac| (hmac, &paths.hmac)),
        Some((&manifest.initramfs, &paths.initramfs)),
    ];
    let made = made
        .into_iter()
        .flatten()
        .filter(|(artifact, _)| is_made(artifact));
    // The manifest last: until it is there the former one is what remove and status go by.
    let put = made
        .map(|(_, path)| path)
        .chain(plan.atomic.iter().map(|atomic| &atomic.file))
        .chain([&paths.state, &paths.manifest])
        .map(|path| Change::Put {
            staged: paths.staged(path),
            target: path.clone(),
        });
    let own = own_entry(plan, manifest)?;
    let changes: Vec<Change> = superseded(plan, manifest)
        .into_iter()
        .chain(put)
        .chain(own)
        .collect();
    let loader = match (&manifest.boot.entry, plan.entry_keeper) {
        (Some(own), EntryKeeper::Grub | EntryKeeper::SystemdBoot) => LoaderChange::Arm {
            own,
            loop_risk: plan.loop_risk,
        },
        (Some(own), _) => LoaderChange::Disarm(own),
        (None, _) => LoaderChange::None,
    };
    transaction.commit(&changes, loader)
}

/// The entry's file; and where leapp has made kernel and initramfs, our own names of them, which stay when leapp removes its.
fn own_entry(plan: &BuildPlan, manifest: &Manifest) -> Result<Vec<Change>> {
    let Some(entry) = &plan.entry else {
        return Ok(Vec::new());
    };
    let paths = &plan.paths;
    let mut changes = Vec::new();
    for (file, own) in [
        (&paths.kernel, &paths.own_kernel),
        (&paths.initramfs, &paths.own_initramfs),
    ] {
        if file != own {
            // What was made anew still lies beside its place.
            let new = Some(paths.staged(file)).filter(|staged| staged.exists());
            boot_files::second_name(new.as_deref().unwrap_or(file), &paths.staged(own))?;
            changes.push(Change::Put {
                staged: paths.staged(own),
                target: own.clone(),
            });
        }
    }
    let text = entry.text(&manifest.boot.arguments, &manifest.kernel_version);
    let file = plan.root.at(&entry.own.path);
    fsio::atomic_write(
        &paths.staged(&file),
        text.map_err(precondition)?.as_bytes(),
        0o600,
    )?;
    changes.push(Change::Put {
        staged: paths.staged(&file),
        target: file,
    });
    Ok(changes)
}

/// Files of an earlier build that the new one has no longer: an image at another path, the checksum of a kernel that had
/// one, boot files under other names.
fn superseded(plan: &BuildPlan, manifest: &Manifest) -> Vec<Change> {
    let Some(earlier) = &plan.earlier else {
        return Vec::new();
    };
    let files = |manifest: &Manifest| -> Vec<String> {
        let artifacts = [&manifest.image, &manifest.kernel, &manifest.initramfs].into_iter();
        let artifacts = artifacts
            .chain(&manifest.hmac)
            .map(|artifact| artifact.path.clone());
        let entry = manifest.boot.entry.clone().into_iter();
        let entry = entry.flat_map(|entry| [entry.path, entry.kernel, entry.initramfs]);
        let store = manifest.store.clone().map(|store| store.path);
        artifacts.chain(entry).chain(store).collect()
    };
    let kept = files(manifest);
    let mut old: Vec<String> = files(earlier)
        .into_iter()
        .filter(|path| !kept.contains(path))
        .collect();
    old.sort();
    old.dedup();
    old.iter()
        .map(|path| Change::Remove {
            target: plan.root.at(path),
        })
        .collect()
}

/// Those of an earlier build are still ours.
fn made_directories(plan: &BuildPlan, transaction: &Transaction) -> Vec<String> {
    let earlier = plan
        .earlier
        .iter()
        .flat_map(|earlier| earlier.made_directories.clone());
    let mut all: Vec<String> = earlier.chain(transaction.made()).collect();
    all.sort();
    all.dedup();
    all
}

fn versions(plan: &BuildPlan) -> BTreeMap<String, String> {
    let ours = ("livemode".to_owned(), env!("CARGO_PKG_VERSION").to_owned());
    let mksquashfs = plan.mksquashfs.iter().cloned();
    std::iter::once(ours)
        .chain(mksquashfs.map(|version| ("mksquashfs".to_owned(), version)))
        .collect()
}
