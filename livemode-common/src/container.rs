//! The files of a container. A symbolic link in it is followed inside it: an absolute one means the container's root, as
//! it does once the container runs. openat2(2) would do that too, but el8's kernel 4.18 has none. So nothing else may
//! change the tree meanwhile, which holds for an overlay of our own.
use std::collections::VecDeque;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::fs::{symlink, OpenOptionsExt, PermissionsExt};
use std::path::{Component, Path, PathBuf};

use anyhow::{bail, Context, Result};

/// How many links are followed in one path: as many as the kernel follows (path_resolution(7)).
const MAX_LINKS: u32 = 40;

/// The root directory of a container.
#[derive(Debug, Clone)]
pub struct ContainerDir(PathBuf);

impl ContainerDir {
    /// The container at `root`.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self(root.into())
    }

    /// The container's root directory on this machine.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Where `path` of the container lies on this machine, all links followed inside it.
    /// A name that does not exist yet is kept as it is.
    ///
    /// # Errors
    /// When links go in circles or cannot be read, or `..` follows what is no directory.
    pub fn resolve(&self, path: impl AsRef<Path>) -> Result<PathBuf> {
        self.follow(path.as_ref(), true)
    }

    fn follow(&self, path: &Path, last_too: bool) -> Result<PathBuf> {
        let mut todo: VecDeque<OsString> = names(path);
        let mut done = PathBuf::new();
        let mut links = 0;
        while let Some(name) = todo.pop_front() {
            if name == ".." {
                let here = self.0.join(&done);
                if !here.is_dir() {
                    bail!("{}: {} is no directory", path.display(), here.display());
                }
                done.pop();
                continue;
            }
            let here = self.0.join(&done).join(&name);
            let is_link = fs::symlink_metadata(&here).is_ok_and(|m| m.file_type().is_symlink());
            if !is_link || (todo.is_empty() && !last_too) {
                done.push(&name);
                continue;
            }
            links += 1;
            if links > MAX_LINKS {
                bail!("{}: too many symbolic links", path.display());
            }
            let to = fs::read_link(&here).with_context(|| format!("reading {}", here.display()))?;
            if to.is_absolute() {
                done = PathBuf::new();
            }
            for name in names(&to).into_iter().rev() {
                todo.push_front(name);
            }
        }
        Ok(self.0.join(done))
    }

    /// Whether something is at `path`, links followed.
    pub fn exists(&self, path: impl AsRef<Path>) -> bool {
        self.resolve(path).is_ok_and(|p| p.exists())
    }

    /// Writes a file in place of whatever file or link was there; missing directories are made.
    ///
    /// # Errors
    /// When it cannot be written, or a directory is in its place.
    pub fn write(&self, path: impl AsRef<Path>, content: impl AsRef<[u8]>, mode: u32) -> Result<()> {
        use io::Write;
        let at = self.replace(path.as_ref())?;
        let mut options = fs::OpenOptions::new();
        let mut file = options
            .write(true)
            .create_new(true)
            .mode(mode)
            .open(&at)
            .with_context(|| format!("creating {}", at.display()))?;
        file.set_permissions(fs::Permissions::from_mode(mode))
            .and_then(|()| file.write_all(content.as_ref()))
            .with_context(|| format!("writing {}", at.display()))
    }

    /// Makes a symbolic link in place of whatever was there; a directory goes only when it is empty.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn symlink(&self, to: impl AsRef<Path>, path: impl AsRef<Path>) -> Result<()> {
        let at = self.replace(path.as_ref())?;
        symlink(to, &at).with_context(|| format!("linking {}", at.display()))
    }

    /// Makes a directory and those above it.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn create_dir(&self, path: impl AsRef<Path>) -> Result<PathBuf> {
        let at = self.resolve(path)?;
        fs::create_dir_all(&at).with_context(|| format!("creating {}", at.display()))?;
        Ok(at)
    }

    /// Removes a file or link; one that is not there is no error.
    ///
    /// # Errors
    /// When it cannot be removed.
    pub fn remove_file(&self, path: impl AsRef<Path>) -> Result<()> {
        let at = self.follow(path.as_ref(), false)?;
        match fs::remove_file(&at) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => {
                Err(e).with_context(|| format!("removing {}", at.display()))
            }
            _ => Ok(()),
        }
    }

    /// Sets the mode of a file or directory.
    ///
    /// # Errors
    /// When it is not there or cannot be changed.
    pub fn set_mode(&self, path: impl AsRef<Path>, mode: u32) -> Result<()> {
        let at = self.resolve(path)?;
        fs::set_permissions(&at, fs::Permissions::from_mode(mode))
            .with_context(|| format!("setting the mode of {}", at.display()))
    }

    /// The names in a directory; none when it is not there.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn dir_names(&self, path: impl AsRef<Path>) -> Result<Vec<String>> {
        let at = self.resolve(path)?;
        let context = || format!("reading {}", at.display());
        match fs::read_dir(&at) {
            Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                Ok(Vec::new())
            }
            Err(e) => Err(e).with_context(context),
            Ok(entries) => entries
                .map(|entry| {
                    Ok(entry
                        .with_context(context)?
                        .file_name()
                        .to_string_lossy()
                        .into_owned())
                })
                .collect(),
        }
    }

    /// Reads a file as text.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn read(&self, path: impl AsRef<Path>) -> Result<String> {
        let at = self.resolve(path)?;
        fs::read_to_string(&at).with_context(|| format!("reading {}", at.display()))
    }

    fn replace(&self, path: &Path) -> Result<PathBuf> {
        let at = self.follow(path, false)?;
        if at == self.0 {
            bail!("{} is the container's root", path.display());
        }
        if let Some(dir) = at.parent() {
            fs::create_dir_all(dir).with_context(|| format!("creating {}", dir.display()))?;
        }
        let removed = match fs::symlink_metadata(&at) {
            Ok(meta) if meta.is_dir() => fs::remove_dir(&at),
            Ok(_) => fs::remove_file(&at),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(e) => Err(e),
        };
        removed.with_context(|| format!("replacing {}", at.display()))?;
        Ok(at)
    }
}

fn names(path: &Path) -> VecDeque<OsString> {
    path.components()
        .filter_map(|c| match c {
            Component::Normal(name) => Some(name.to_owned()),
            Component::ParentDir => Some("..".into()),
            _ => None,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_never_lead_out_of_the_container() {
        let outside = tempfile::tempdir().unwrap();
        let inside = tempfile::tempdir().unwrap();
        let container = ContainerDir::new(inside.path());
        symlink(outside.path(), inside.path().join("absolute")).unwrap();
        symlink("../../../../../../../..", inside.path().join("up")).unwrap();
        fs::create_dir(inside.path().join("etc")).unwrap();
        symlink(outside.path().join("file"), inside.path().join("etc/last")).unwrap();
        symlink("/etc", inside.path().join("linked")).unwrap();

        container.write("/absolute/file", "x", 0o600).unwrap();
        container.write("/up/climbed", "x", 0o600).unwrap();
        container.write("/etc/last", "x", 0o600).unwrap();
        container.write("/linked/own", "x", 0o600).unwrap();
        container.symlink("/run/upgrade", "/absolute/link").unwrap();

        assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0);
        assert_eq!(fs::read(inside.path().join("climbed")).unwrap(), b"x");
        assert_eq!(fs::read(inside.path().join("etc/last")).unwrap(), b"x");
        assert_eq!(fs::read(inside.path().join("etc/own")).unwrap(), b"x");
    }

    #[test]
    fn a_circle_of_links_is_an_error() {
        let inside = tempfile::tempdir().unwrap();
        symlink("/b", inside.path().join("a")).unwrap();
        symlink("/a", inside.path().join("b")).unwrap();
        let error = ContainerDir::new(inside.path()).resolve("/a/x").unwrap_err();
        assert_eq!(error.to_string(), "/a/x: too many symbolic links");
    }

    #[test]
    fn what_is_written_has_its_mode_whatever_was_there() {
        let inside = tempfile::tempdir().unwrap();
        let container = ContainerDir::new(inside.path());
        assert_eq!(container.path(), inside.path());
        container.write("/etc/a/file", "old", 0o644).unwrap();
        container.write("/etc/a/file", "new", 0o600).unwrap();
        assert_eq!(container.read("etc/a/file").unwrap(), "new");
        let mode = |path: &str| {
            fs::metadata(inside.path().join(path))
                .unwrap()
                .permissions()
                .mode()
                & 0o7777
        };
        assert_eq!(mode("etc/a/file"), 0o600);
        container.set_mode("/etc/a/file", 0o4711).unwrap();
        assert_eq!(mode("etc/a/file"), 0o4711);

        assert_eq!(
            container.create_dir("/srv/empty/").unwrap(),
            inside.path().join("srv/empty")
        );
        container
            .write("/srv/empty", "in place of an empty directory", 0o600)
            .unwrap();
        assert!(container.exists("/srv/empty") && !container.exists("/srv/none"));
        let error = container.write("/etc/a", "", 0o600).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("replacing {}/etc/a", inside.path().display())
        );
        assert!(container.exists("/etc/a/file"), "a full directory stays");
        let error = container.write("/", "", 0o600).unwrap_err();
        assert_eq!(error.to_string(), "/ is the container's root");
    }

    #[test]
    fn a_link_is_removed_or_replaced_itself_and_never_what_it_means() {
        let inside = tempfile::tempdir().unwrap();
        let container = ContainerDir::new(inside.path());
        container.write("/target", "kept", 0o600).unwrap();
        container.symlink("/target", "/link").unwrap();
        assert!(container.exists("/link"));
        container.symlink("../target", "/link").unwrap();
        assert_eq!(
            fs::read_link(inside.path().join("link")).unwrap(),
            Path::new("../target")
        );
        container.remove_file("/link").unwrap();
        container.remove_file("/link").unwrap();
        assert!(fs::symlink_metadata(inside.path().join("link")).is_err());
        assert_eq!(container.read("/target").unwrap(), "kept");
        container.create_dir("/dir").unwrap();
        let error = container.remove_file("/dir").unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("removing {}/dir", inside.path().display())
        );
    }

    #[test]
    fn a_directory_that_is_none_holds_no_names() {
        let inside = tempfile::tempdir().unwrap();
        let container = ContainerDir::new(inside.path());
        container.write("/dir/name", "", 0o600).unwrap();
        container.symlink("/dir", "/link").unwrap();
        assert_eq!(container.dir_names("/link").unwrap(), ["name"]);
        assert_eq!(container.dir_names("/none").unwrap(), Vec::<String>::new());
        assert_eq!(container.dir_names("/dir/name").unwrap(), Vec::<String>::new());
        container.symlink("/circle", "/circle").unwrap();
        assert!(container.dir_names("/circle").is_err());
    }

    #[test]
    fn forty_links_are_followed_as_by_the_kernel_and_no_more() {
        let inside = tempfile::tempdir().unwrap();
        fs::write(inside.path().join("0"), "").unwrap();
        for i in 0..41 {
            symlink(i.to_string(), inside.path().join((i + 1).to_string())).unwrap();
        }
        let container = ContainerDir::new(inside.path());
        assert_eq!(container.resolve("/40").unwrap(), inside.path().join("0"));
        assert!(container.resolve("/41").is_err());
        fs::create_dir(inside.path().join("a")).unwrap();
        assert_eq!(container.resolve("/a/../40").unwrap(), inside.path().join("0"));
        // A step back from nowhere leads nowhere.
        assert!(container.resolve("/b/../40").is_err());
    }

    #[test]
    fn another_error_than_that_nothing_is_there_is_told() {
        let inside = tempfile::tempdir().unwrap();
        let container = ContainerDir::new(inside.path());
        // Longer than NAME_MAX of Linux.
        let name = "x".repeat(256);
        let at = inside.path().join(&name).display().to_string();
        let error = container.dir_names(&name).unwrap_err();
        assert_eq!(error.to_string(), format!("reading {at}"));
        let error = container.write(&name, "", 0o600).unwrap_err();
        assert_eq!(error.to_string(), format!("replacing {at}"));
        let error = container.remove_file(&name).unwrap_err();
        assert_eq!(error.to_string(), format!("removing {at}"));
    }
}
