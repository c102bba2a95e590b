//! Every path of the system goes through a [`SysRoot`], so that everything can be tried on a directory.
use std::path::{Path, PathBuf};

use crate::container::ContainerDir;

/// The root directory of a system.
#[derive(Debug, Clone)]
pub struct SysRoot(PathBuf);

impl SysRoot {
    /// The system below `root`.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self(root.into())
    }

    /// The path of `path` (absolute or not, as that system sees it) on this machine. Links in the directories above it
    /// mean that system's root, wherever it is mounted; one at its end is left for the caller.
    pub fn at(&self, path: impl AsRef<Path>) -> PathBuf {
        let path = path.as_ref();
        let inside = path.strip_prefix("/").unwrap_or(path);
        let (Some(dir), Some(name)) = (inside.parent(), inside.file_name()) else {
            return self.0.join(inside);
        };
        // Links that go in circles: whoever opens the path is told.
        match ContainerDir::new(&self.0).resolve(dir) {
            Ok(dir) => dir.join(name),
            Err(_) => self.0.join(inside),
        }
    }

    /// A path of this machine as that system sees it: absolute, from its root. One that does not lie in it stays as it is.
    pub fn inside(&self, path: &Path) -> PathBuf {
        match path.strip_prefix(&self.0) {
            Ok(inside) => Path::new("/").join(inside),
            Err(_) => path.to_owned(),
        }
    }

    /// The root directory itself.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_of_the_system_stays_in_it() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("data/log")).unwrap();
        std::fs::create_dir(dir.path().join("var")).unwrap();
        std::os::unix::fs::symlink("/data/log", dir.path().join("var/log")).unwrap();
        let root = SysRoot::new(dir.path());
        assert_eq!(
            root.at("/var/log/leapp/x.log"),
            dir.path().join("data/log/leapp/x.log")
        );
        assert_eq!(root.at("/var/log"), dir.path().join("var/log"));
        assert_eq!(root.at("/"), dir.path());
    }

    #[test]
    fn a_path_is_told_as_that_system_sees_it() {
        let root = SysRoot::new("/mnt/system");
        assert_eq!(root.path(), Path::new("/mnt/system"));
        assert_eq!(
            root.inside(Path::new("/mnt/system/etc/fstab")),
            Path::new("/etc/fstab")
        );
        assert_eq!(root.inside(Path::new("/mnt/system")), Path::new("/"));
        assert_eq!(root.inside(Path::new("/srv/x")), Path::new("/srv/x"));
    }

    #[test]
    fn links_in_a_circle_leave_the_path_as_it_is_named() {
        let dir = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("/circle", dir.path().join("circle")).unwrap();
        let root = SysRoot::new(dir.path());
        assert_eq!(root.at("/circle/x/y"), dir.path().join("circle/x/y"));
    }
}
