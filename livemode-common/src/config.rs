//! The YAML configuration, read as leapp reads it: `*.yaml` in one directory, sorted, each a YAML 1.1 document.
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
pub use options::{Atomic, Config, OnFailure, KEYS};

use crate::failure::Failure;
use crate::sysroot::SysRoot;
use merged::Merged;

mod check;
mod merged;
mod network;
mod options;

/// A configuration and where it came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loaded {
    /// The values.
    pub config: Config,
    /// For each key the file that set it, or `default`.
    pub origins: BTreeMap<String, String>,
    /// Where leapp's own loader would give up, though we read on.
    pub warnings: Vec<String>,
}

/// Reads every `*.yaml` of the directory; a directory that is not there holds none. Of the paths
/// among the values it is only looked whether they are directories, below `root`.
///
/// # Errors
/// [`Failure::Config`] with all faults of all files; another error when the directory cannot be read.
pub fn load(dir: &Path, root: &SysRoot) -> Result<Loaded> {
    let mut texts = Vec::new();
    let mut faults = Vec::new();
    for path in files(dir)? {
        if path.exists() && !path.is_file() {
            // Reading a FIFO would wait for a writer, for ever.
            faults.push(format!("{}: no regular file", path.display()));
            continue;
        }
        match std::fs::read(&path).map(String::from_utf8) {
            Ok(Ok(text)) => texts.push((path.display().to_string(), text)),
            Ok(Err(e)) => {
                let line = e.as_bytes()[..e.utf8_error().valid_up_to()]
                    .split(|b| *b == b'\n')
                    .count();
                faults.push(format!("{}:{line}: not UTF-8", path.display()));
            }
            Err(e) => faults.push(format!("{}: {e}", path.display())),
        }
    }
    match merge(&texts, root) {
        Ok(loaded) if faults.is_empty() => Ok(loaded),
        Ok(_) => Err(Failure::Config(faults).into()),
        Err(more) => {
            faults.extend(more);
            Err(Failure::Config(faults).into())
        }
    }
}

/// Merges files, each by its name and text, key by key: the later one wins.
///
/// # Errors
/// All faults of all files.
pub fn merge(texts: &[(String, String)], root: &SysRoot) -> Result<Loaded, Vec<String>> {
    let mut merged = Merged::default();
    for (file, text) in texts {
        merged.add(file, text);
    }
    let mut faults = std::mem::take(&mut merged.faults);
    faults.extend(merged.value_faults(root));
    if !faults.is_empty() {
        return Err(faults);
    }
    let origin = |key: &&str| {
        merged
            .places
            .get(*key)
            .map_or("default".to_owned(), |place| place.file.clone())
    };
    Ok(Loaded {
        origins: KEYS.iter().map(|key| ((*key).to_owned(), origin(key))).collect(),
        config: merged.config,
        warnings: merged.warnings,
    })
}

fn files(dir: &Path) -> Result<Vec<PathBuf>> {
    let context = || format!("reading {}", dir.display());
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(e).with_context(context),
    };
    let mut files = Vec::new();
    for entry in entries {
        let path = entry.with_context(context)?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.ends_with(".yaml") && !name.starts_with('.') && !path.is_dir() {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(dir: &Path) -> Vec<String> {
        let error = load(dir, &SysRoot::new(dir)).unwrap_err();
        match error.downcast::<Failure>().unwrap() {
            Failure::Config(faults) => faults,
            Failure::Precondition(faults) => panic!("{faults:?}"),
        }
    }

    #[test]
    fn the_yaml_files_of_the_directory_are_read_in_the_order_of_their_names() {
        let dir = tempfile::tempdir().unwrap();
        for (name, word) in [
            ("b.yaml", "ip=dhcp"),
            ("a.yaml", "ip=on"),
            (".c.yaml", "ip=off"),
            ("d.yml", "ip=off"),
        ] {
            std::fs::write(
                dir.path().join(name),
                format!("livemode: {{dracut_network: {word}}}"),
            )
            .unwrap();
        }
        std::fs::create_dir(dir.path().join("e.yaml")).unwrap();
        let loaded = load(dir.path(), &SysRoot::new(dir.path())).unwrap();
        assert_eq!(loaded.config.dracut_network, "ip=dhcp");
        assert_eq!(
            loaded.origins["dracut_network"],
            dir.path().join("b.yaml").display().to_string()
        );
        assert_eq!(loaded.origins["squashfs_image_path"], "default");
        assert_eq!(loaded.origins.len(), KEYS.len());
        assert_eq!(loaded.warnings.len(), 1, "{:?}", loaded.warnings);
    }

    #[test]
    fn no_directory_means_the_defaults_and_a_file_in_its_place_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let root = SysRoot::new(dir.path());
        let loaded = load(&dir.path().join("none"), &root).unwrap();
        assert_eq!(loaded.config, Config::default());
        let file = dir.path().join("file");
        std::fs::write(&file, "").unwrap();
        let error = load(&file, &root).unwrap_err();
        assert_eq!(error.to_string(), format!("reading {}", file.display()));
    }

    #[test]
    fn every_fault_of_every_file_is_told_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name).display().to_string();
        std::fs::write(at("a.yaml"), b"one:\n# \xff\n").unwrap();
        nix::unistd::mkfifo(at("b.yaml").as_str(), nix::sys::stat::Mode::S_IRWXU).unwrap();
        std::os::unix::fs::symlink("nowhere", at("c.yaml")).unwrap();
        let unreadable = [
            format!("{}:2: not UTF-8", at("a.yaml")),
            format!("{}: no regular file", at("b.yaml")),
            format!("{}: No such file or directory (os error 2)", at("c.yaml")),
        ];
        assert_eq!(faults(dir.path()), unreadable);
        std::fs::write(at("d.yaml"), "- a\n").unwrap();
        let mut all = unreadable.to_vec();
        all.push(format!(
            "{}: expected a mapping of sections, found a list",
            at("d.yaml")
        ));
        assert_eq!(faults(dir.path()), all);
    }

    #[test]
    fn a_value_that_cannot_be_meant_is_a_fault() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("a.yaml"), "livemode: {additional_packages: [-y]}").unwrap();
        assert_eq!(
            faults(dir.path()),
            [format!(
                "{}/a.yaml:1: livemode.additional_packages: '-y' is no package name",
                dir.path().display()
            )]
        );
    }
}
