//! From configuration, facts and container to everything that `build` will do. Decides; writes nothing.
use std::path::{Path, PathBuf};

use anyhow::Result;
use livemode_common::cmd::Cmd;
use livemode_common::config::Config;
use livemode_common::container::ContainerDir;
use livemode_common::contract::{BootFiles, MANIFEST, SCHEMA, STATE};
use livemode_common::failure::{precondition, Failure};
use livemode_common::fstab::Entry;
use livemode_common::journal::Journal;
use livemode_common::sysroot::SysRoot;
use serde_json::{json, Value};

use crate::carried::{self, Carried};
use crate::facts::{Facts, LeappFacts};
use crate::loader::GrubbyEntry;
use crate::space::{self, Budget};
use crate::squash::{self, Packing};
use crate::userspace::Userspace;
use crate::{bootentry, initramfs, live_system, livefstab, loader, packages, scratch};

/// Stand for what only the finished image has, where `plan` shows the boot entry.
const DIGEST_TO_COME: &str = "<of the image>";

#[derive(Debug)]
pub(crate) struct BuildPlan {
    pub(crate) root: SysRoot,
    pub(crate) config: Config,
    pub(crate) facts: Facts,
    pub(crate) userspace: Userspace,
    pub(crate) required_packages: Vec<String>,
    pub(crate) packing: Packing,
    pub(crate) initramfs_compressor: &'static str,
    pub(crate) live_fstab: Vec<Entry>,
    pub(crate) carried: Carried,
    pub(crate) budgets: Vec<Budget>,
    pub(crate) paths: Paths,
    /// The boot entry, where grubby is to keep one.
    pub(crate) entry: Option<GrubbyEntry>,
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
    fn new(facts: &Facts, image: &str) -> Self {
        let boot = BootFiles::for_arch(&facts.arch);
        let named = |dir: &Path, path: &str| dir.join(Path::new(path).file_name().unwrap_or_default());
        Self {
            image: named(&facts.image_dir.path, image),
            kernel: named(&facts.boot.path, &boot.kernel),
            hmac: named(&facts.boot.path, &boot.hmac),
            initramfs: named(&facts.boot.path, &boot.initramfs),
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
    with_entry: bool,
) -> Result<BuildPlan> {
    let userspace = Userspace::inspect(container)?;
    let facts = Facts::gather(root, leapp, &config.squashfs_image_path)?;
    let required_packages = packages::required(&config);
    let held: Vec<String> = facts
        .image_device
        .uuid
        .iter()
        .map(|uuid| format!("UUID={uuid}"))
        .chain([facts.image_device.source.clone()])
        .collect();
    let paths = Paths::new(&facts, &config.squashfs_image_path);
    let earlier = Journal::of(root).manifest()?;
    let has_entry = earlier
        .as_ref()
        .is_some_and(|manifest| manifest.boot.loader == loader::GRUBBY);
    if has_entry && !with_entry {
        return Err(precondition(
            "an earlier build has a boot entry, which would not fit a new image; give --boot-entry grubby, or first: \
             livemode-prep remove",
        ));
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
        entry: with_entry.then(entry).transpose()?,
        root: root.clone(),
        packing: squash::choose(
            &squash::known_here(),
            &squash::known_in(&userspace)?,
            &userspace.kernel.config,
        )?,
        initramfs_compressor: initramfs::compressor(&userspace),
        live_fstab: livefstab::live(&facts.fstab, &held),
        carried: carried::gather(root, &config, &ContainerDir::new(&userspace.dir))?,
        budgets: space::budgets(
            &userspace,
            packages::missing_in(&userspace, &required_packages)?.len(),
            &facts.image_dir,
            &facts.boot,
        ),
        paths,
        required_packages,
        config,
        facts,
        userspace,
    })
}

impl BuildPlan {
    /// An error with every precondition that is not met.
    pub(crate) fn check(&self) -> Result<()> {
        let mut faults = Vec::new();
        let Facts {
            image_device: device,
            image_dir,
            boot,
            ..
        } = &self.facts;
        let image = &self.config.squashfs_image_path;
        if self.facts.fips {
            faults.push("the source system is in FIPS mode, which this version does not support".to_owned());
        }
        match device.fstype.as_str() {
            "tmpfs" | "ramfs" | "overlay" => faults.push(format!(
                "squashfs_image_path: {image} lies on a {}, which the reboot does not survive or cannot find again; \
                 choose a path on a disk",
                device.fstype
            )),
            _ if device.uuid.is_none() => faults.push(format!(
                "squashfs_image_path: {image} lies on {} ({}), which has no UUID to find it by; choose another path",
                device.source, device.fstype
            )),
            "xfs" if !xfs_has_ftype(&image_dir.existing) => faults.push(format!(
                "squashfs_image_path: {image} lies on an xfs without ftype, on which no overlay can be made; choose \
                 another path (xfs_info {} says ftype=0)",
                image_dir.existing.display()
            )),
            _ => {}
        }
        for (place, what) in [(image_dir, "the image's directory"), (boot, "/boot")] {
            if place.read_only {
                faults.push(format!(
                    "{what} {} is mounted read-only; remount it rw",
                    place.existing.display()
                ));
            }
        }
        if !self.facts.fstab.iter().any(|entry| entry.fs_file == "/") {
            faults
                .push("/etc/fstab has no entry for /, so the live system could not mount the source".into());
        }
        faults.extend(self.carried.faults.iter().cloned());
        let length = self.arguments(&"0".repeat(64), u64::from(u32::MAX)).len();
        if length > bootentry::LIMIT_BYTES {
            let limit = bootentry::LIMIT_BYTES;
            faults.push(format!(
                "the kernel command line would be {length} bytes long, over {limit}; shorten the source's"
            ));
        }
        faults.extend(self.budgets.iter().filter_map(Budget::fault));
        if faults.is_empty() {
            return Ok(());
        }
        Err(Failure::Precondition(faults).into())
    }

    /// What an admin should know, though nothing stands against the build.
    pub(crate) fn warnings(&self) -> Vec<String> {
        let config = &self.config;
        let (sshd, network_manager) = (
            !config.setup_opensshd_using_auth_keys.is_empty(),
            config.setup_network_manager,
        );
        let mut warnings = self.carried.warnings.clone();
        if !config.url_to_load_squashfs_image_from.is_empty() && (sshd || network_manager) {
            warnings.push(
                "the image holds private keys (host keys of sshd, network profiles), and the web server of \
                 url_to_load_squashfs_image_from will serve them to whoever asks"
                    .into(),
            );
        }
        if sshd && !network_manager && config.dracut_network.trim().is_empty() {
            warnings.push(
                "setup_opensshd_using_auth_keys without setup_network_manager or dracut_network: nothing brings the \
                 network up for sshd"
                    .into(),
            );
        }
        warnings
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
        let image = bootentry::Image {
            uuid: image_device.uuid.as_deref().unwrap_or("unknown"),
            dir: &image_device.dir.to_string_lossy(),
            state_dir: (image_device.source == state_device.source).then_some(&state_dir),
            name: &name,
            sha256,
            size,
        };
        bootentry::arguments(&image, &self.config, &self.facts.arguments).to_string()
    }

    /// The call of dracut, in the container.
    pub(crate) fn dracut(&self, program: Cmd) -> Cmd {
        let network = !self.config.dracut_network.trim().is_empty();
        initramfs::dracut(
            program,
            &self.userspace.kernel.version,
            self.initramfs_compressor,
            network,
        )
    }

    fn commands(&self) -> Vec<Cmd> {
        let in_container = |program: &str| Cmd::new("chroot").arg(self.paths.work.join("root")).arg(program);
        let program = match self.packing.tool {
            squash::Tool::Host => Cmd::new("mksquashfs"),
            squash::Tool::Container => in_container("mksquashfs"),
        };
        let image = self.paths.unfinished(&self.paths.image);
        let entry = self.entry.iter();
        let loader = entry.flat_map(|entry| entry.calls(&self.arguments(DIGEST_TO_COME, 0)));
        [
            self.dracut(in_container("dracut")),
            squash::command(program, &self.packing, &self.paths.work.join("root"), &image),
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

    pub(crate) fn to_json(&self, missing: &[String]) -> Value {
        json!({
            "schema": SCHEMA,
            "userspace": self.userspace.dir,
            "kernel_version": self.userspace.kernel.version,
            "files": self.files(),
            "live_files": live_system::paths(self),
            "commands": self.commands().iter().map(Cmd::words).collect::<Vec<_>>(),
            "packing": self.packing,
            "packages": {"required": self.required_packages, "missing": missing},
            "arguments": self.arguments(DIGEST_TO_COME, 0),
            "warnings": self.warnings(),
            "mounts": self.live_fstab.iter().map(Entry::to_string).collect::<Vec<_>>(),
            "space": self.budgets,
        })
    }

    pub(crate) fn describe(&self, missing: &[String]) -> String {
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
        if !missing.is_empty() {
            list("packages that dnf will install into the image", missing.to_vec());
        }
        list("files of the live system", live_system::paths(self));
        list("commands", self.commands().iter().map(Cmd::to_string).collect());
        list("kernel arguments", vec![self.arguments(DIGEST_TO_COME, 0)]);
        if !self.warnings().is_empty() {
            list("warnings", self.warnings());
        }
        list(
            "mounts of the live system",
            self.live_fstab.iter().map(Entry::to_string).collect(),
        );
        let mib = |bytes: u64| bytes.div_ceil(1 << 20);
        let space = |b: &Budget| {
            let needs: Vec<String> = b
                .needs
                .iter()
                .map(|n| format!("{} {}", n.what, mib(n.bytes)))
                .collect();
            let (place, needed, free) = (b.place.display(), mib(b.needed_bytes), mib(b.free_bytes));
            format!("{place}: {needed} needed ({}), {free} free", needs.join(", "))
        };
        list("space, in MiB", self.budgets.iter().map(space).collect());
        text
    }
}

/// overlayfs needs d_type in directory entries, which an old xfs may not have (xfs(5), `ftype`).
fn xfs_has_ftype(dir: &Path) -> bool {
    Cmd::new("xfs_info")
        .arg(dir)
        .read()
        .map_or(true, |info| !info.contains("ftype=0"))
}
