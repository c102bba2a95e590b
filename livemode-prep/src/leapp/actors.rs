//! Puts our actors in the place of leapp's own. Actor names are global in leapp, and which of two repositories with one name
//! counts is not defined: so leapp's own are put aside as a whole while ours are in its sight.
//!
//! One rename changes whose are found. The directory `actors` of our repository is a link that leads through the directory of
//! those put aside ([`THROUGH`]): it leads somewhere only while they are there. So a cut finds either set in leapp's sight,
//! and never both.
use std::fs;
use std::io::ErrorKind;
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
use crate::facts::actors::{Found, Sight, LEAPPS, LINKS, OURS};

/// The repository whose messages ours use, and which has leapp's own livemode actors.
const BASE: &str = "usr/share/leapp-repository/repositories/system_upgrade/common";
/// Where leapp's own are meanwhile: beside ours, and not below /usr/share/leapp-repository, whose every file that is not leapp's
/// its reports list.
const ASIDE: &str = "usr/share/livemode/leapp/aside";
/// What is to go, under a name that nothing leads through.
const GOING: &str = "usr/share/livemode/leapp/going";
/// Our repository.
const REPOSITORY: &str = "usr/share/leapp-repository/custom-repositories/livemode";
/// From there to ours, while leapp's own are aside.
const THROUGH: &str = "../../../livemode/leapp/aside/../actors";
const LIBRARIES: &str = "../../../livemode/leapp/libraries";
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
        Action::Refresh => {
            if Sight::look(root).found != Found::Both {
                return Ok(());
            }
            println!("leapp was updated: its own livemode actors are put aside again");
            install(root)?;
        }
        Action::Status(Json { json: true }) => {
            let Sight { found, others } = Sight::look(root);
            let aside = root.at(ASIDE).is_dir();
            println!(
                "{}",
                json!({"schema": SCHEMA, "found": found, "aside": aside, "others": others})
            );
            return Ok(());
        }
        Action::Status(_) => {}
    }
    let Sight { found, others } = Sight::look(root);
    println!("{}", found.describe());
    if found == Found::Both {
        others
            .iter()
            .for_each(|dir| println!("beside ours: {}", dir.display()));
    }
    Ok(())
}

/// All that stands ready does so before the rename, which alone counts.
fn install(root: &SysRoot) -> Result<()> {
    let info = base(root)?;
    if !root.at(OURS).is_dir() {
        return Err(precondition(format!(
            "/{OURS}: no actors are there; install livemode-leapp"
        )));
    }
    let (leapps, aside) = (root.at(LEAPPS), root.at(ASIDE));
    let updated = leapps.is_dir() && aside.is_dir();
    if updated {
        // Those of an older leapp. With them ours go out of sight until the new ones are aside.
        discard(root)?;
    }
    let repository = root.at(REPOSITORY);
    fs::create_dir_all(repository.join(".leapp"))
        .with_context(|| format!("creating {}", repository.display()))?;
    atomic_write(
        &repository.join(INFO),
        &serde_json::to_vec(&info).context("writing JSON")?,
        0o644,
    )?;
    link(&repository.join("libraries"), Path::new(LIBRARIES))?;
    link(&repository.join("actors"), Path::new(THROUGH))?;
    let links = root.path().join(LINKS);
    fs::create_dir_all(&links).with_context(|| format!("creating {}", links.display()))?;
    link(&links.join(NAME), &Path::new("/").join(REPOSITORY))?;

    if leapps.is_dir() {
        rename(&leapps, &aside)
    } else {
        // This leapp has none.
        fs::create_dir_all(&aside).with_context(|| format!("creating {}", aside.display()))
    }
}

/// What our repository says of itself, once leapp's is there.
fn base(root: &SysRoot) -> Result<Info> {
    let path = root.at(BASE).join(INFO);
    let text = fs::read(&path).map_err(|e| {
        precondition(format!(
            "{}: {e}; install leapp and leapp-repository first",
            path.display()
        ))
    })?;
    let base: Info = serde_json::from_slice(&text).map_err(|e| {
        precondition(format!(
            "{}: {e}, so it is no repository of leapp's",
            path.display()
        ))
    })?;
    Ok(Info {
        name: NAME.into(),
        id: ID.into(),
        repos: vec![base.id],
    })
}

fn restore(root: &SysRoot) -> Result<()> {
    let (leapps, aside) = (root.at(LEAPPS), root.at(ASIDE));
    if aside.is_dir() {
        let has_none = fs::read_dir(&aside).is_ok_and(|mut entries| entries.next().is_none());
        if leapps.is_dir() {
            println!("leapp was updated meanwhile: its new livemode actors stay, those put aside before go");
            discard(root)?;
        } else if has_none {
            discard(root)?;
        } else if leapps.parent().is_some_and(Path::is_dir) {
            rename(&aside, &leapps)?;
        } else {
            println!("leapp is no longer installed: its livemode actors, put aside before, go");
            discard(root)?;
        }
    }
    remove_dir(&root.at(GOING))?;
    remove_file(&root.path().join(LINKS).join(NAME))?;
    remove_dir(&root.at(REPOSITORY))
}

/// Takes those put aside, and with them ours, out of everybody's sight; then they go.
fn discard(root: &SysRoot) -> Result<()> {
    let going = root.at(GOING);
    remove_dir(&going)?;
    rename(&root.at(ASIDE), &going)?;
    remove_dir(&going)
}

fn link(link: &Path, target: &Path) -> Result<()> {
    if fs::read_link(link).is_ok_and(|to| to == target) {
        return Ok(());
    }
    symlink(target, link).with_context(|| format!("linking {} to {}", link.display(), target.display()))?;
    sync_dir(link.parent().unwrap_or(link))
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
        Err(e) if e.kind() != ErrorKind::NotFound => {
            Err(e).with_context(|| format!("removing {}", dir.display()))
        }
        _ => Ok(()),
    }
}
