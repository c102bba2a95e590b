//! Whose livemode actors leapp finds. Actor names are global in leapp, and which of two repositories with one name counts
//! is not defined: so leapp's own are put aside as a whole while ours are in its sight, and back as they were.
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use anyhow::{Context, Result};
use livemode_common::contract::SCHEMA;
use livemode_common::failure::precondition;
use livemode_common::fsio::{atomic_write, sync_dir};
use livemode_common::sysroot::SysRoot;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::args::{Action, Json};
use crate::commit::record::remove_file;
use crate::facts::actors::{Found, LEAPPS, LINK};

/// The repository whose messages ours use, and which has leapp's own livemode actors.
const BASE: &str = "usr/share/leapp-repository/repositories/system_upgrade/common";
/// On the file system of the former, and nothing that leapp looks through.
const ASIDE: &str = "usr/share/leapp-repository/livemode-aside";
const OURS: &str = "usr/share/leapp-repository/custom-repositories/livemode";
/// What makes a directory a repository of leapp's.
const INFO: &str = ".leapp/info";
const NAME: &str = "livemode";
const ID: &str = "5d0a7c1e-6f0c-4c0e-9a51-6c6976656d6f";

/// A repository's `.leapp/info`.
#[derive(Debug, Serialize, Deserialize)]
struct Info {
    name: String,
    id: String,
    /// Identities of the repositories it builds on.
    #[serde(default)]
    repos: Vec<String>,
}

pub(crate) fn run(root: &SysRoot, action: Action) -> Result<()> {
    match action {
        Action::Install => install(root)?,
        Action::Restore => restore(root)?,
        Action::Refresh => match Found::look(root) {
            Found::Both => {
                println!("leapp was updated: its own livemode actors are put aside again");
                install(root)?;
            }
            _ => return Ok(()),
        },
        Action::Status(Json { json: true }) => {
            let aside = root.at(ASIDE).is_dir();
            println!(
                "{}",
                json!({"schema": SCHEMA, "found": Found::look(root), "aside": aside})
            );
            return Ok(());
        }
        Action::Status(_) => {}
    }
    println!("{}", Found::look(root).describe());
    Ok(())
}

/// In an order that never has both in leapp's sight.
fn install(root: &SysRoot) -> Result<()> {
    let base = root.at(BASE).join(INFO);
    let text = fs::read(&base).map_err(|e| {
        precondition(format!(
            "{}: {e}; install leapp and leapp-repository first",
            base.display()
        ))
    })?;
    let base: Info = serde_json::from_slice(&text).map_err(|e| {
        precondition(format!(
            "{}: {e}, so it is no repository of leapp's",
            base.display()
        ))
    })?;
    let ours = root.at(OURS);
    if !ours.join("actors").is_dir() {
        return Err(precondition(format!(
            "{}: no actors are there; install livemode-leapp",
            ours.display()
        )));
    }
    let info = Info {
        name: NAME.into(),
        id: ID.into(),
        repos: vec![base.id],
    };
    let path = ours.join(INFO);
    let dir = path.parent().unwrap_or(&ours);
    fs::create_dir_all(dir).with_context(|| format!("creating {}", dir.display()))?;
    atomic_write(&path, &serde_json::to_vec(&info).context("writing JSON")?, 0o644)?;

    let (leapps, aside) = (root.at(LEAPPS), root.at(ASIDE));
    if leapps.is_dir() {
        // What an older leapp had there, put aside before an update.
        remove_dir(&aside)?;
        rename(&leapps, &aside)?;
    }
    link(root)
}

fn link(root: &SysRoot) -> Result<()> {
    let (link, target) = (root.path().join(LINK), Path::new("/").join(OURS));
    if fs::read_link(&link).is_ok_and(|to| to == target) {
        return Ok(());
    }
    let dir = link.parent().unwrap_or(root.path());
    fs::create_dir_all(dir).with_context(|| format!("creating {}", dir.display()))?;
    symlink(&target, &link).with_context(|| format!("linking {} to {}", link.display(), target.display()))?;
    sync_dir(dir)
}

fn restore(root: &SysRoot) -> Result<()> {
    remove_file(&root.path().join(LINK))?;
    let (leapps, aside) = (root.at(LEAPPS), root.at(ASIDE));
    if aside.is_dir() {
        if leapps.is_dir() {
            println!("leapp was updated meanwhile: its new livemode actors stay, those put aside before go");
            remove_dir(&aside)?;
        } else if leapps.parent().is_some_and(Path::is_dir) {
            rename(&aside, &leapps)?;
        } else {
            println!("leapp is no longer installed: its livemode actors, put aside before, go");
            remove_dir(&aside)?;
        }
    }
    remove_dir(&root.at(OURS).join(".leapp"))
}

fn rename(from: &Path, to: &Path) -> Result<()> {
    fs::rename(from, to).with_context(|| format!("renaming {} to {}", from.display(), to.display()))?;
    for dir in [from.parent(), to.parent()].into_iter().flatten() {
        sync_dir(dir)?;
    }
    Ok(())
}

fn remove_dir(dir: &Path) -> Result<()> {
    match fs::remove_dir_all(dir) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
            Err(e).with_context(|| format!("removing {}", dir.display()))
        }
        _ => Ok(()),
    }
}
