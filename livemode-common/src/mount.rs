//! Mounts as data, and the guard that unmounts them in reverse order.
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use nix::mount::{MntFlags, MsFlags};
use sys_mount::{FilesystemType, Mount, MountFlags};

/// One mount(2) call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MountSpec {
    /// Device, directory to bind, or a name for virtual file systems.
    pub source: PathBuf,
    /// Where it is mounted; must exist.
    pub target: PathBuf,
    /// Type; empty for a bind mount.
    pub fstype: String,
    /// Flags of mount(2).
    pub flags: MountFlags,
    /// Options for the file system, comma-separated.
    pub data: String,
}

impl MountSpec {
    /// A mount of a file system with options.
    pub fn new(source: impl Into<PathBuf>, target: impl Into<PathBuf>, fstype: &str, data: &str) -> Self {
        let (source, target) = (source.into(), target.into());
        Self {
            source,
            target,
            fstype: fstype.to_owned(),
            flags: MountFlags::empty(),
            data: data.to_owned(),
        }
    }

    /// The same, with flags.
    #[must_use]
    pub fn flags(mut self, flags: MountFlags) -> Self {
        self.flags = flags;
        self
    }

    /// A bind mount of a directory with all that is mounted below it.
    pub fn bind(source: impl Into<PathBuf>, target: impl Into<PathBuf>) -> Self {
        Self::new(source, target, "", "").flags(MountFlags::BIND | MountFlags::REC)
    }
}

/// Mounts in the order they were made; dropping it unmounts them, the last one first.
#[derive(Debug, Default)]
pub struct MountStack(Vec<PathBuf>);

impl MountStack {
    /// Mounts one more.
    ///
    /// # Errors
    /// When mount(2) refuses; the error names source, target and type.
    pub fn mount(&mut self, spec: &MountSpec) -> Result<()> {
        let mut builder = Mount::builder().flags(spec.flags);
        if !spec.data.is_empty() {
            builder = builder.data(&spec.data);
        }
        if !spec.fstype.is_empty() {
            builder = builder.fstype(FilesystemType::Manual(&spec.fstype));
        }
        builder.mount(&spec.source, &spec.target).with_context(|| {
            format!(
                "mounting {} on {} ({})",
                spec.source.display(),
                spec.target.display(),
                spec.fstype
            )
        })?;
        self.0.push(spec.target.clone());
        Ok(())
    }

    /// Unmounts them all, the last one first. One that is busy is detached: it goes with its last user.
    ///
    /// # Errors
    /// The first that umount(2) refuses; the others are still tried.
    pub fn unmount(mut self) -> Result<()> {
        self.pop_all()
    }

    /// Leaves them all mounted.
    pub fn keep(mut self) {
        self.0.clear();
    }

    fn pop_all(&mut self) -> Result<()> {
        let mut first = Ok(());
        while let Some(target) = self.0.pop() {
            let result = nix::mount::umount2(&target, MntFlags::empty())
                .or_else(|_| nix::mount::umount2(&target, MntFlags::MNT_DETACH))
                .with_context(|| format!("unmounting {}", target.display()));
            first = first.and(result);
        }
        first
    }
}

impl Drop for MountStack {
    fn drop(&mut self) {
        if let Err(error) = self.pop_all() {
            eprintln!("livemode: {error:#}");
        }
    }
}

/// Calls `act` in a mount namespace of its own, where the kernel gives us one; what it leaves mounted is gone with it.
pub fn in_private<T: Send>(act: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            // Its mounts are unmounted again either way.
            let _ = enter_private_namespace();
            act()
        });
        thread
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// Gives this thread a mount namespace of its own: what it mounts is seen nowhere else, and gone with it, whatever kills
/// it. What the host unmounts is unmounted here too: the mounts are slaves, not private ones (mount_namespaces(7)),
/// whose copies would keep the host's devices busy as long as we run. Threads and programs that it starts later share
/// the namespace.
///
/// # Errors
/// When unshare(2) is refused (not root).
pub fn enter_private_namespace() -> Result<()> {
    nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNS).context("making a mount namespace")?;
    let flags = MsFlags::MS_REC | MsFlags::MS_SLAVE;
    nix::mount::mount(None::<&Path>, "/", None::<&Path>, flags, None::<&Path>)
        .context("keeping mounts from spreading to the host")
}
