//! What is expensive to make is made once and kept under a key of what made it.
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use livemode_common::fsio::sha256;
use nix::fcntl::{Flock, FlockArg};

/// `$XDG_CACHE_HOME/livemode` or `~/.cache/livemode`.
pub fn dir() -> PathBuf {
    let home = || PathBuf::from(std::env::var_os("HOME").unwrap_or("/root".into())).join(".cache");
    std::env::var_os("XDG_CACHE_HOME")
        .map_or_else(home, PathBuf::from)
        .join("livemode")
}

/// The entry `name` for these inputs (texts, or whole files and directories), made by `make` when it is absent. Only
/// one process makes it, and only a finished one counts; entries of the same name with other inputs are removed.
///
/// # Errors
/// When an input cannot be read, or `make` fails.
pub fn entry(
    name: &str,
    texts: &[&str],
    files: &[&Path],
    make: impl FnOnce(&Path) -> Result<()>,
) -> Result<PathBuf> {
    let mut key = texts.join("\0").into_bytes();
    for file in files {
        add(&mut key, file)?;
    }
    let (digest, _) = sha256(&key[..], |_| ())?;
    let cache = dir();
    fs::create_dir_all(&cache).with_context(|| format!("creating {}", cache.display()))?;
    let path = cache.join(format!("{name}-{}", &digest[..16]));
    let lock = File::create(cache.join(format!("{name}.lock"))).context("creating a lock")?;
    let _lock = Flock::lock(lock, FlockArg::LockExclusive)
        .map_err(|(_, e)| e)
        .context("locking the cache")?;
    if path.exists() {
        return Ok(path);
    }
    for old in fs::read_dir(&cache)? {
        let old = old?.path();
        let text = old.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let is_same = text
            .strip_prefix(name)
            .and_then(|t| t.strip_prefix('-'))
            .is_some_and(|k| k.split('.').next().is_some_and(|k| k.len() == 16));
        if is_same {
            remove(&old)?;
        }
    }
    let unfinished = path.with_extension("unfinished");
    eprintln!("making {}", path.display());
    make(&unfinished).with_context(|| format!("making {name}"))?;
    fs::rename(&unfinished, &path).with_context(|| format!("renaming {}", unfinished.display()))?;
    Ok(path)
}

fn add(key: &mut Vec<u8>, path: &Path) -> Result<()> {
    let context = || format!("reading {}", path.display());
    key.extend(path.file_name().unwrap_or_default().as_encoded_bytes());
    let meta = fs::symlink_metadata(path).with_context(context)?;
    if meta.is_dir() {
        let mut inside: Vec<PathBuf> = fs::read_dir(path)
            .with_context(context)?
            .map(|e| Ok(e?.path()))
            .collect::<Result<_>>()?;
        inside.sort();
        return inside.iter().try_for_each(|p| add(key, p));
    }
    if meta.is_symlink() {
        key.extend(
            fs::read_link(path)
                .with_context(context)?
                .as_os_str()
                .as_encoded_bytes(),
        );
    } else {
        key.extend(
            sha256(File::open(path).with_context(context)?, |_| ())?
                .0
                .into_bytes(),
        );
    }
    Ok(())
}

fn remove(path: &Path) -> Result<()> {
    let removed = if path.is_dir() {
        fs::remove_dir_all(path)
    } else {
        fs::remove_file(path)
    };
    removed.with_context(|| format!("removing {}", path.display()))
}
