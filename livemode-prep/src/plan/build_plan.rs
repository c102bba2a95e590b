//! The plan of a build: whole, so that a build is this list and nothing else; and pure, made from values alone.
use std::path::{Path, PathBuf};

use livemode_common::cmd::Cmd;
use livemode_common::config::{Atomic as Wish, Config};
use livemode_common::failure::Failure;
use livemode_common::fingerprint::Fingerprint;
use livemode_common::fstab::Entry;
use livemode_common::image_ref::ImageRef;
use livemode_common::records::{Manifest, Origin};
use livemode_common::sysroot::SysRoot;

use super::atomic::Atomic;
use super::boot_entry::{EntryChoice, EntryPlan};
use super::findings::Findings;
use super::items::Item;
use super::memory::Memory;
use super::parts::{carried, early, entry, image_names, listen, missing, requested, systemd_boots_place};
use super::paths::{Overlay, Paths};
use super::space::{self, Budget, Sizes};
use super::squashfs::{self, Packing};
use super::storage::Storage;
use super::why::Reasoned;
use super::{arguments, drivers, fstab, initramfs, live_system, packages, refusals, words};
use crate::args::EntryKeeper;
use crate::facts::leapp::Requested;
use crate::facts::source::Source;
use crate::facts::userspace::{Kernel, Userspace};
use crate::facts::Facts;

/// Stand for what only the finished image has, where `plan` shows the boot entry.
const DIGEST_TO_COME: &str = "<of the image>";
const TO_COME: &str = "<of the store>";

/// Digits of the image's digest: enough to tell one build from another.
const BUILD_ID_DIGITS: usize = 16;

/// Everything that a build will do, and what is to be said of it.
#[derive(Debug)]
pub(crate) struct BuildPlan {
    pub(crate) root: SysRoot,
    pub(crate) config: Config,
    pub(crate) source: Source,
    pub(crate) findings: Findings,
    /// What it is built from; none before there is a container that is fit.
    pub(crate) target: Option<Target>,
    pub(crate) required_packages: Vec<String>,
    pub(crate) missing_packages: Vec<String>,
    pub(crate) storage: Storage,
    /// The live system's fstab.
    pub(crate) mounts: Vec<Entry>,
    /// What is put into the container for dracut, and only for it.
    pub(crate) early_items: Vec<Item>,
    /// What makes the container the live system.
    pub(crate) live_items: Vec<Item>,
    /// Both, each with its reason.
    pub(crate) early_reasons: Reasoned,
    pub(crate) live_reasons: Reasoned,
    pub(crate) budgets: Vec<Budget>,
    pub(crate) memory: Memory,
    /// How what the upgrade writes is kept apart, or why it cannot be.
    pub(crate) atomic: Result<Atomic, Vec<String>>,
    pub(crate) paths: Paths,
    pub(crate) entry_keeper: EntryKeeper,
    /// The boot entry, where it is ours.
    pub(crate) entry: Option<EntryPlan>,
    /// Whether it may boot again and again if early boot cannot clear it.
    pub(crate) loop_risk: bool,
    /// The source system as it is now, where that could be told.
    pub(crate) fingerprint: Option<Fingerprint>,
    /// Who makes kernel and initramfs.
    pub(crate) boot_files: Origin,
    /// What must be in the initramfs beside our module.
    pub(crate) requested: Requested,
    /// What else is in it.
    choice: initramfs::Choice,
    /// What an earlier build made.
    pub(crate) earlier: Option<Manifest>,
    /// Version of this machine's mksquashfs.
    pub(crate) mksquashfs: Option<String>,
}

/// What is known of a build only when it is made.
#[derive(Debug, Clone, Default)]
pub(crate) struct Made {
    /// Of the image, in hex.
    pub(crate) sha256: String,
    /// Of the image, in bytes.
    pub(crate) size: u64,
    /// Where the store begins on its device, in bytes.
    pub(crate) store_at: Option<u64>,
}

/// The container, once it is known to be fit.
#[derive(Debug)]
pub(crate) struct Target {
    pub(crate) dir: PathBuf,
    pub(crate) release: Option<String>,
    pub(crate) kernel: Kernel,
    /// What goes into the image, unpacked, in bytes.
    pub(crate) image_bytes: u64,
    pub(crate) packing: Packing,
    pub(crate) initramfs_compressor: &'static str,
}

impl BuildPlan {
    /// Decides everything. What stands against it is found, not an error: a refused plan can be shown too.
    pub(crate) fn make(mut facts: Facts, entry_choice: EntryChoice) -> Self {
        let entry_keeper = entry_choice.keeper(facts.loader.as_ref());
        if let (EntryKeeper::SystemdBoot, Some(place)) = (entry_keeper, systemd_boots_place(&facts)) {
            facts.source.boot = place;
        }
        let mut findings = Findings::default();
        refusals::of_source(&facts, &mut findings);
        refusals::of_leapp(&facts, entry_keeper, &mut findings);
        let target = facts
            .userspace
            .as_ref()
            .and_then(|userspace| Target::find(userspace, &facts, &mut findings));
        let kernel = target.as_ref().map(|target| &target.kernel);
        let root = SysRoot::new(&facts.root);
        let boot_content = facts.leapp.boot_content.as_ref();
        let paths = Paths::new(
            &root,
            &facts.source,
            &facts.config.squashfs_image_path,
            boot_content,
            entry_keeper != EntryKeeper::None,
        );
        let entry_choice = EntryChoice {
            keeper: Some(entry_keeper),
            ..entry_choice
        };
        let knows = |fstype: &str| kernel.is_none_or(|kernel| kernel.knows_file_system(fstype));
        let draft = refusals::storage(&facts, &knows, false);
        let mut of_entry = Findings::default();
        let entry = entry(&facts, entry_choice, &paths, draft.has_block, &mut of_entry);
        let required_packages = packages::required(&facts.config, &draft.packages());
        let mut of_packages = Findings::default();
        let missing_packages = missing(&facts, &required_packages, &mut of_packages);
        let sizes = sizes(target.as_ref(), missing_packages.len());
        let by_url = !facts.config.url_to_load_squashfs_image_from.is_empty();
        let memory = Memory::of(
            &sizes.unwrap_or(Sizes::EXPECTED),
            by_url,
            facts.source.memory_bytes,
        );
        let boot_files = if boot_content.is_some() {
            Origin::Given
        } else {
            Origin::Made
        };
        let budgets = |store: Option<&Atomic>| budgets(&facts.source, sizes, boot_files, store);
        // Early boot gives the old system back: it must be able to say what boots.
        let is_entry_ours = entry
            .as_ref()
            .is_some_and(|entry| entry.own.keeper.grubenv_on().is_some());
        let atomic = Atomic::plan(&facts, &draft, is_entry_ours, kernel);
        let atomic = atomic.and_then(|atomic| {
            let budgets = budgets(Some(&atomic));
            atomic.if_it_fits(&budgets)
        });
        let budgets = budgets(atomic.as_ref().ok());
        let mut storage = match &atomic {
            Ok(_) => refusals::storage(&facts, &knows, true),
            Err(_) => draft,
        };
        std::mem::take(&mut storage.faults)
            .into_iter()
            .for_each(|why| findings.refuse(why));
        std::mem::take(&mut storage.warnings)
            .into_iter()
            .for_each(|what| findings.warn(what));
        findings.append(of_packages);
        if let (Err(whys), Wish::Require) = (&atomic, facts.config.atomic) {
            whys.iter()
                .for_each(|why| findings.refuse(format!("atomic: require: {why}")));
        }
        let early_reasons = early(&facts, &storage, &mut findings);
        let early_items = early_reasons.items();
        let requested = requested(&facts, &storage, &early_items, kernel);
        let choice = initramfs::Choice::of(&facts, &storage, atomic.is_ok());
        for lost in kernel.map_or_else(Vec::new, |kernel| {
            drivers::missing(&storage, &facts.storage, kernel, &requested)
        }) {
            findings.refuse(lost);
        }
        let carried = carried(&facts, &storage, &mut findings);
        let listen = listen(&facts, &mut findings);
        if let Ok(atomic) = &atomic {
            for mount in storage.remote() {
                findings.warn(format!(
                    "{mount} comes by the network: what the upgrade writes there stays, even if the upgrade is given up"
                ));
            }
            storage.through(|mount| atomic.device(mount));
        }
        let mounts = fstab::live(&storage.mounts, &image_names(&facts.source, &storage));
        findings.append(of_entry);
        let live_reasons =
            live_system::items(&facts.config, &facts.source, &storage, &mounts, carried, &listen);
        let mut plan = Self {
            live_items: live_reasons.items(),
            live_reasons,
            early_reasons,
            budgets,
            memory,
            atomic,
            root,
            config: facts.config,
            source: facts.source,
            target,
            required_packages,
            missing_packages,
            storage,
            mounts,
            early_items,
            paths,
            entry_keeper,
            entry,
            loop_risk: entry_choice.loop_risk,
            fingerprint: facts.fingerprint.ok(),
            boot_files,
            requested,
            choice,
            earlier: facts.earlier,
            mksquashfs: facts.tools.mksquashfs.version,
            findings,
        };
        let dropped = words::left_behind(&plan.source.arguments, &|module| plan.has_module(module));
        plan.findings.warnings.extend(dropped);
        let longest = plan.arguments(&Made {
            sha256: "0".repeat(64),
            size: u64::from(u32::MAX),
            store_at: plan.atomic.is_ok().then_some(u64::from(u32::MAX) << 10),
        });
        if let Err(why) = arguments::check_length(&longest) {
            plan.findings.refuse(why);
        }
        if let Some(why) = plan
            .entry
            .as_ref()
            .and_then(|entry| entry.text(&longest, "").err())
        {
            plan.findings.refuse(why);
        }
        for fault in plan.budgets.iter().filter_map(Budget::fault) {
            plan.findings.refuse(fault);
        }
        if let Some(fault) = plan.memory.fault() {
            plan.findings.refuse(fault);
        }
        plan
    }

    /// An error with all that stands against the build.
    ///
    /// # Errors
    /// When something does: exit code 4.
    pub(crate) fn check(&self) -> Result<(), Failure> {
        if self.findings.refusals.is_empty() {
            return Ok(());
        }
        Err(Failure::Precondition(self.findings.refusals.clone()))
    }

    /// A path of this machine as the source system knows it.
    pub(crate) fn as_source_sees(&self, path: &Path) -> String {
        self.root.inside(path).display().to_string()
    }

    /// The boot entry's kernel command line.
    pub(crate) fn arguments(&self, made: &Made) -> String {
        let build = build_id(&made.sha256);
        let store = self.atomic.as_ref().ok().map(|atomic| {
            let at = made.store_at.map_or(TO_COME.to_owned(), |at| at.to_string());
            format!("{}@{at}", atomic.lies_on())
        });
        let name = self.paths.image.file_name().unwrap_or_default().to_string_lossy();
        let Source {
            image_device,
            state_device,
            ..
        } = &self.source;
        let state_dir = state_device.dir.to_string_lossy();
        let elsewhere = self.storage.records_reference.as_ref();
        let elsewhere = elsewhere.map(|reference| format!("{reference}:{state_dir}"));
        let beside = (image_device.source == state_device.source).then_some(&*state_dir);
        let image = arguments::Image {
            build: &build,
            store: store.as_deref(),
            grubenv: self
                .entry
                .as_ref()
                .and_then(|entry| entry.own.keeper.grubenv_on()),
            reference: self.storage.image_reference.as_deref().unwrap_or("UUID=unknown"),
            dir: &image_device.dir.to_string_lossy(),
            state_dir: beside.or(elsewhere.as_deref()),
            name: &name,
            sha256: &made.sha256,
            size: made.size,
        };
        let knows = |module: &str| self.has_module(module);
        let source = &self.source.arguments;
        arguments::arguments(&image, &self.config, source, &self.storage.image, &knows).to_string()
    }

    /// Whether the target's kernel has a module; while it is unknown, any.
    pub(crate) fn has_module(&self, name: &str) -> bool {
        let kernel = self.target.as_ref().map(|target| &target.kernel);
        kernel.is_none_or(|kernel| {
            kernel.modules.is_empty() || kernel.modules.contains(name) || kernel.builtin.contains(name)
        })
    }

    /// The same as it may be shown, before the image is there: without a password.
    pub(crate) fn shown_arguments(&self) -> String {
        let line = self.arguments(&Made {
            sha256: DIGEST_TO_COME.to_owned(),
            size: 0,
            store_at: None,
        });
        let url = &self.config.url_to_load_squashfs_image_from;
        if url.is_empty() {
            return line;
        }
        line.replace(url.as_str(), &ImageRef::Url(url.clone()).shown())
    }

    /// The call of dracut by `program`.
    pub(crate) fn dracut(&self, program: Cmd, target: &Target) -> Cmd {
        initramfs::dracut(
            program,
            &target.kernel,
            target.initramfs_compressor,
            &self.choice,
            &self.requested,
        )
    }

    /// The programs that a build runs, in order; the last two at the same time.
    pub(crate) fn commands(&self) -> Vec<Cmd> {
        let Some(target) = &self.target else {
            return Vec::new();
        };
        let inside = |overlay, program: &str| Cmd::new("chroot").arg(self.paths.tree(overlay)).arg(program);
        let mksquashfs = match target.packing.tool {
            squashfs::Tool::Host => Cmd::new("mksquashfs"),
            squashfs::Tool::Container => inside(Overlay::Live, "mksquashfs"),
        };
        let image = self.paths.staged(&self.paths.image);
        let mut commands = Vec::new();
        if !self.missing_packages.is_empty() {
            commands.push(packages::install(
                inside(Overlay::Packages, "dnf"),
                &self.missing_packages,
            ));
        }
        if self.boot_files == Origin::Given {
            commands.push(initramfs::lsinitrd(
                inside(Overlay::Early, "lsinitrd"),
                &self.paths.initramfs,
            ));
        }
        commands.push(self.dracut(inside(Overlay::Early, "dracut"), target));
        commands.push(squashfs::command(
            mksquashfs,
            &target.packing,
            &self.paths.tree(Overlay::Live),
            &image,
        ));
        commands
    }

    /// The files on the source system, each with its mode.
    pub(crate) fn files(&self) -> Vec<&Path> {
        let paths = &self.paths;
        let hmac = self
            .target
            .as_ref()
            .and_then(|target| target.kernel.hmac.as_ref())
            .map(|_| paths.hmac.as_path());
        let store = self.atomic.iter().map(|atomic| atomic.file.as_path());
        let own = self
            .entry
            .iter()
            .flat_map(|_| [&paths.own_kernel, &paths.own_initramfs]);
        let own = own.filter(|path| ![&paths.kernel, &paths.initramfs].contains(path));
        let files: [&Path; 5] = [
            &paths.image,
            &paths.kernel,
            &paths.initramfs,
            &paths.state,
            &paths.manifest,
        ];
        files
            .into_iter()
            .chain(hmac)
            .chain(own.map(PathBuf::as_path))
            .chain(store)
            .collect()
    }
}

impl Target {
    fn find(userspace: &Userspace, facts: &Facts, findings: &mut Findings) -> Option<Self> {
        refusals::of_container(userspace, findings);
        let kernel = userspace.kernel()?;
        let packing = squashfs::choose(&facts.tools.mksquashfs, &userspace.mksquashfs, &kernel.config);
        Some(Self {
            packing: packing.map_err(|why| findings.refuse(why)).ok()?,
            initramfs_compressor: initramfs::compressor(userspace.has("zstd"), &kernel.config),
            dir: userspace.dir.clone(),
            release: userspace.release.clone(),
            image_bytes: userspace.image_bytes,
            kernel: kernel.clone(),
        })
    }
}

/// Names a build: two builds have different images, for the time is in each.
pub(crate) fn build_id(sha256: &str) -> String {
    sha256.chars().take(BUILD_ID_DIGITS).collect()
}

/// None before there is a container.
fn sizes(target: Option<&Target>, missing_packages: usize) -> Option<Sizes> {
    target.map(|target| Sizes {
        image: target.image_bytes,
        modules: target.kernel.module_bytes,
        kernel: target.kernel.image_bytes,
        packages: missing_packages as u64,
    })
}

fn budgets(source: &Source, sizes: Option<Sizes>, boot_files: Origin, store: Option<&Atomic>) -> Vec<Budget> {
    let Some(sizes) = sizes else {
        return space::expected(&source.image_dir, &source.boot);
    };
    let boot = (boot_files == Origin::Made).then_some(&source.boot);
    let store = store.map(|store| (store.place(), store.bytes));
    space::budgets(sizes, &source.image_dir, boot, store)
}
