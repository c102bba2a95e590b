//! Every path of the system goes through a [`SysRoot`], so that everything can be tried on a directory.
use std::path::{Path, PathBuf};

/// The root directory of a system.
#[derive(Debug, Clone)]
pub struct SysRoot(PathBuf);

impl SysRoot {
    /// The system below `root`.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self(root.into())
    }

    /// The path of `path` (absolute or not, as that system sees it) on this machine.
    pub fn at(&self, path: impl AsRef<Path>) -> PathBuf {
        let path = path.as_ref();
        self.0.join(path.strip_prefix("/").unwrap_or(path))
    }

    /// The root directory itself.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Whether this is the system that runs.
    pub fn is_running_system(&self) -> bool {
        self.0 == Path::new("/")
    }
}
