//! From configuration, facts and container to everything that `build` will do. Decides; writes nothing.
use std::path::{Path, PathBuf};

use anyhow::Result;
use livemode_common::cmd::Cmd;
use livemode_common::config::Config;
use livemode_common::container::ContainerDir;
use livemode_common::contract::{BootFiles, MANIFEST, SCHEMA, STATE};
use livemode_common::failure::{precondition, Failure};
use livemode_common::fstab::Entry;
use livemode_common::records::Records;
use livemode_common::sysroot::SysRoot;
use serde_json::{json, Value};

use crate::args::Loader;
use crate::commit::boot_entry::GrubbyEntry;
use crate::commit::scratch;
use crate::facts::leapp::{BootContent, LeappFacts, Requested};
use crate::facts::source::Facts;
use crate::facts::userspace::Userspace;
use crate::plan::arguments;
use crate::plan::carried::{self, Carried};
use crate::plan::fstab;
use crate::plan::initramfs;
use crate::plan::initramfs_contents::plain;
use crate::plan::live_system;
use crate::plan::packages;
use crate::plan::refusals;
use crate::plan::space::{self, Budget};
use crate::plan::squashfs::{self, Packing};
use crate::plan::storage::{Layer, Storage};

/// Stand for what only the finished image has, where `plan` shows the boot entry.
const DIGEST_TO_COME: &str = "<of the image>";

#[derive(Debug)]
pub(crate) struct BuildPlan {
    pub(crate) root: SysRoot,
    pub(crate) config: Config,
    pub(crate) facts: Facts,
    pub(crate) userspace: Userspace,
    pub(crate) required_packages: Vec<String>,
    pub(crate) missing_packages: Vec<String>,
    pub(crate) packing: Packing,
    pub(crate) initramfs_compressor: &'static str,
    pub(crate) storage: Storage,
    pub(crate) live_fstab: Vec<Entry>,
    pub(crate) carried: Carried,
    pub(crate) budgets: Vec<Budget>,
    pub(crate) paths: Paths,
    /// The boot entry, where grubby keeps one.
    pub(crate) entry: Option<GrubbyEntry>,
    pub(crate) loader: Loader,
    /// Whether leapp has made kernel and initramfs.
    pub(crate) is_given: bool,
    /// What must be in the initramfs beside our module.
    pub(crate) requested: Requested,
}

/// Where everything goes, on this machine.
#[derive(Debug)]
pub(crate) struct Paths {
    pub(crate) image: PathBuf,
    pub(crate) kernel: PathBuf,
    pub(crate) hmac: PathBuf,
    pub(crate) initramfs: PathBuf,
    pub(crate) state: PathBuf,
    pub(crate) manifest: PathBuf,
    /// The throw-away overlay and the unfinished image, beside the image.
    pub(crate) work: PathBuf,
}

impl Paths {
    fn new(root: &SysRoot, facts: &Facts, image: &str, given: Option<&BootContent>) -> Self {
        let boot = BootFiles::for_arch(&facts.arch);
        let given =
            |path: fn(&BootContent) -> Option<&PathBuf>| given.and_then(path).map(|path| root.at(path));
        let named = |dir: &Path, path: &str| dir.join(Path::new(path).file_name().unwrap_or_default());
        Self {
            image: named(&facts.image_dir.path, image),
            kernel: given(|b| Some(&b.kernel_path)).unwrap_or_else(|| named(&facts.boot.path, &boot.kernel)),
            hmac: given(|b| b.kernel_hmac_path.as_ref())
                .unwrap_or_else(|| named(&facts.boot.path, &boot.hmac)),
            initramfs: given(|b| Some(&b.initram_path))
                .unwrap_or_else(|| named(&facts.boot.path, &boot.initramfs)),
            state: named(&facts.state_dir.path, STATE),
            manifest: named(&facts.state_dir.path, MANIFEST),
            work: scratch::work_in(&facts.image_dir.path),
        }
    }

    /// The name under which a file lies on its file system until it counts.
    pub(crate) fn unfinished(&self, path: &Path) -> PathBuf {
        if *path == self.image {
            return self.work.join("image");
        }
        scratch::unfinished(path)
    }

    /// What a build that is cut off may leave; the work directory first.
    pub(crate) fn leftovers(&self) -> Vec<PathBuf> {
        let files = [
            &self.kernel,
            &self.hmac,
            &self.initramfs,
            &self.state,
            &self.manifest,
        ];
        std::iter::once(self.work.clone())
            .chain(files.map(|f| self.unfinished(f)))
            .chain(files.map(|f| scratch::former(f)))
            .chain([scratch::former(&self.image)])
            .collect()
    }
}

/// Reads what must be known and plans the build.
pub(crate) fn make(
    root: &SysRoot,
    config: Config,
    leapp: Option<&LeappFacts>,
    container: &Path,
    keeper: Loader,
) -> Result<BuildPlan> {
    let userspace = Userspace::inspect(container)?;
    let facts = Facts::gather(root, leapp, &config.squashfs_image_path)?;
    let storage = refusals::storage(&config, &facts, &|fstype| userspace.knows_file_system(fstype));
    let required_packages = packages::required(&config, &storage.packages());
    let missing_packages = packages::missing_in(&userspace, &required_packages)?;
    let held: Vec<String> = facts
        .image_device
        .uuid
        .iter()
        .map(|uuid| format!("UUID={uuid}"))
        .chain(storage.image_reference.clone())
        .chain([facts.image_device.source.clone()])
        .collect();
    let boot_content = leapp.and_then(|leapp| leapp.boot_content.as_ref());
    let paths = Paths::new(root, &facts, &config.squashfs_image_path, boot_content);
    let earlier = Records::of(root).manifest()?;
    let has_entry = earlier
        .as_ref()
        .is_some_and(|manifest| manifest.boot.loader != Loader::None.name());
    if has_entry && keeper == Loader::None {
        return Err(precondition(
            "an earlier build has a boot entry, which would not fit a new image; give --boot-entry grubby, or first: \
             livemode-prep remove",
        ));
    }
    let carried = carried::gather(root, &config, &storage, Some(&ContainerDir::new(&userspace.dir)))?;
    let mut early = carried.early(&storage);
    let available = userspace.kernel_modules();
    early
        .kernel_modules
        .retain(|name| available.contains(&plain(name)));
    if storage.image.layers.contains(&Layer::Multipath) {
        early.files.extend(userspace.multipath_plugins());
    }
    let entry = || -> Result<GrubbyEntry> {
        let inside = |path: &Path| {
            let path = path.strip_prefix(root.path()).unwrap_or(path);
            Path::new("/").join(path).display().to_string()
        };
        let (kernel, initramfs) = (inside(&paths.kernel), inside(&paths.initramfs));
        GrubbyEntry::look(root, &facts.arch, &kernel, &initramfs, earlier.as_ref())
    };
    Ok(BuildPlan {
        entry: (keeper != Loader::None).then(entry).transpose()?,
        loader: keeper,
        is_given: boot_content.is_some(),
        requested: leapp.map(LeappFacts::requested).unwrap_or_default().with(&early),
        root: root.clone(),
        packing: squashfs::choose(
            &squashfs::known_here(),
            &squashfs::known_in(&userspace)?,
            &userspace.kernel.config,
        )?,
        initramfs_compressor: initramfs::compressor(&userspace),
        live_fstab: fstab::live(&storage.mounts, &held),
        carried,
        storage,
        budgets: space::budgets(
            &userspace,
            missing_packages.len(),
            &facts.image_dir,
            boot_content.is_none().then_some(&facts.boot),
        ),
        paths,
        required_packages,
        missing_packages,
        config,
        facts,
        userspace,
    })
}

impl BuildPlan {
    /// An error with every precondition that is not met.
    pub(crate) fn check(&self) -> Result<()> {
        let mut faults = refusals::faults(&self.config, &self.facts);
        faults.extend(self.storage.faults.iter().cloned());
        faults.extend(self.carried.faults.iter().cloned());
        let longest = self.arguments(&"0".repeat(64), u64::from(u32::MAX));
        faults.extend(arguments::check_length(&longest).err());
        faults.extend(self.budgets.iter().filter_map(Budget::fault));
        if self.is_given && !self.missing_packages.is_empty() {
            faults.push(format!(
                "{}: leapp has not installed {}; run leapp upgrade again",
                self.userspace.dir.display(),
                self.missing_packages.join(", ")
            ));
        }
        if faults.is_empty() {
            return Ok(());
        }
        Err(Failure::Precondition(faults).into())
    }

    /// What an admin should know, though nothing stands against the build.
    pub(crate) fn warnings(&self) -> Vec<String> {
        [self.carried.warnings.clone(), refusals::warnings(&self.config)].concat()
    }

    /// A path of this machine as the source system knows it.
    pub(crate) fn as_source_sees(&self, path: &Path) -> String {
        let inside = path.strip_prefix(self.root.path()).unwrap_or(path);
        Path::new("/").join(inside).display().to_string()
    }

    /// The boot entry's kernel command line.
    pub(crate) fn arguments(&self, sha256: &str, size: u64) -> String {
        let name = self.paths.image.file_name().unwrap_or_default().to_string_lossy();
        let Facts {
            image_device,
            state_device,
            ..
        } = &self.facts;
        let state_dir = state_device.dir.to_string_lossy();
        let image = arguments::Image {
            reference: self.storage.image_reference.as_deref().unwrap_or("UUID=unknown"),
            dir: &image_device.dir.to_string_lossy(),
            state_dir: (image_device.source == state_device.source).then_some(&state_dir),
            name: &name,
            sha256,
            size,
        };
        arguments::arguments(&image, &self.config, &self.facts.arguments, &self.storage.image).to_string()
    }

    /// The call of dracut, in the container.
    pub(crate) fn dracut(&self, program: Cmd) -> Cmd {
        let network = !self.config.dracut_network.trim().is_empty();
        initramfs::dracut(
            program,
            &self.userspace.kernel.version,
            self.initramfs_compressor,
            network,
            &self.requested,
        )
    }

    fn commands(&self) -> Vec<Cmd> {
        let in_container = |program: &str| Cmd::new("chroot").arg(self.paths.work.join("root")).arg(program);
        let program = match self.packing.tool {
            squashfs::Tool::Host => Cmd::new("mksquashfs"),
            squashfs::Tool::Container => in_container("mksquashfs"),
        };
        let image = self.paths.unfinished(&self.paths.image);
        let entry = self.entry.iter();
        let loader = entry.flat_map(|entry| match self.loader {
            Loader::Grubby => entry.calls(&self.arguments(DIGEST_TO_COME, 0)),
            Loader::None | Loader::Leapp => Vec::new(),
        });
        let initramfs = if self.is_given {
            initramfs::lsinitrd(in_container("lsinitrd"), &self.paths.initramfs)
        } else {
            self.dracut(in_container("dracut"))
        };
        [
            initramfs,
            squashfs::command(program, &self.packing, &self.paths.work.join("root"), &image),
        ]
        .into_iter()
        .chain(loader)
        .collect()
    }

    fn files(&self) -> Vec<&Path> {
        let paths = &self.paths;
        let hmac = self.userspace.kernel.hmac.as_ref().map(|_| paths.hmac.as_path());
        let files: [&Path; 5] = [
            &paths.image,
            &paths.kernel,
            &paths.initramfs,
            &paths.state,
            &paths.manifest,
        ];
        files.into_iter().chain(hmac).collect()
    }

    pub(crate) fn to_json(&self) -> Value {
        json!({
            "schema": SCHEMA,
            "userspace": self.userspace.dir,
            "kernel_version": self.userspace.kernel.version,
            "files": self.files(),
            "live_files": live_system::paths(self),
            "commands": self.commands().iter().map(Cmd::words).collect::<Vec<_>>(),
            "packing": self.packing,
            "packages": {"required": self.required_packages, "missing": self.missing_packages},
            "arguments": self.arguments(DIGEST_TO_COME, 0),
            "warnings": self.warnings(),
            "storage": self.storage.describe(),
            "mounts": self.live_fstab.iter().map(Entry::to_string).collect::<Vec<_>>(),
            "space": self.budgets,
        })
    }

    pub(crate) fn describe(&self) -> String {
        let mut text = format!("target kernel\n  {}\n", self.userspace.kernel.version);
        let mut list = |title: &str, lines: Vec<String>| {
            text.push_str(&format!("\n{title}\n"));
            lines
                .iter()
                .for_each(|line| text.push_str(&format!("  {line}\n")));
        };
        list(
            "files",
            self.files().iter().map(|f| f.display().to_string()).collect(),
        );
        if !self.missing_packages.is_empty() {
            list(
                "packages that dnf will install into the image",
                self.missing_packages.clone(),
            );
        }
        list("files of the live system", live_system::paths(self));
        list("commands", self.commands().iter().map(Cmd::to_string).collect());
        list("kernel arguments", vec![self.arguments(DIGEST_TO_COME, 0)]);
        if !self.warnings().is_empty() {
            list("warnings", self.warnings());
        }
        list("storage", self.storage.describe().to_vec());
        list(
            "mounts of the live system",
            self.live_fstab.iter().map(Entry::to_string).collect(),
        );
        list("space", self.budgets.iter().map(Budget::describe).collect());
        text
    }
}
