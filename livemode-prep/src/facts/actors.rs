//! Whose livemode actors leapp would find. Its framework looks below every link of repos.d, takes each directory with a
//! `.leapp` for a repository, and every actor.py below a repository's `actors` for an actor, whatever package has brought
//! it (leapp/utils/repository.py and leapp/repository/scan.py of leapp 0.21).
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use livemode_common::container::ContainerDir;
use livemode_common::sysroot::SysRoot;
use serde::{Deserialize, Serialize};

/// leapp's own livemode actors, where its package has them.
pub(crate) const LEAPPS: &str =
    "usr/share/leapp-repository/repositories/system_upgrade/common/actors/livemode";
/// Ours, where the package has them: nothing that leapp looks through.
pub(crate) const OURS: &str = "usr/share/livemode/leapp/actors";
/// leapp follows the links that are here.
pub(crate) const LINKS: &str = "etc/leapp/repos.d";

/// What `--enable-experimental-feature livemode` runs (commands/upgrade/util.py of leapp-repository).
const NAMES: [&str; 6] = [
    "live_mode_config_scanner",
    "live_mode_reporter",
    "emit_livemode_requirements",
    "prepare_live_image",
    "live_image_generator",
    "remove_live_image",
];

/// Whose actors leapp finds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Found {
    Nobodys,
    Leapps,
    Ours,
    Both,
}

/// The livemode actors that leapp finds.
pub(crate) struct Sight {
    pub(crate) found: Found,
    /// Directories of those that are not ours, as the system sees them.
    pub(crate) others: BTreeSet<PathBuf>,
}

impl Sight {
    pub(crate) fn look(root: &SysRoot) -> Self {
        let tree = ContainerDir::new(root.path());
        let (mut ours, mut others) = (false, BTreeSet::new());
        let own = root.path().join(OURS);
        for repository in repositories(root, &tree) {
            for actor in actors(root, &tree, &repository) {
                if actor.starts_with(&own) {
                    ours = true;
                } else {
                    others.insert(root.inside(&actor));
                }
            }
        }
        let found = match (others.is_empty(), ours) {
            (true, false) => Found::Nobodys,
            (false, false) => Found::Leapps,
            (true, true) => Found::Ours,
            (false, true) => Found::Both,
        };
        Self { found, others }
    }
}

/// Where an entry of a directory leads to within the system; none where it leads nowhere.
fn end_of(root: &SysRoot, tree: &ContainerDir, path: &Path) -> Option<PathBuf> {
    let end = tree.resolve(root.inside(path)).ok()?;
    end.exists().then_some(end)
}

fn entries(dir: &Path) -> impl Iterator<Item = PathBuf> {
    let entries = fs::read_dir(dir).into_iter().flatten();
    entries.filter_map(|entry| Some(entry.ok()?.path()))
}

/// Every repository in leapp's sight, once however many links lead there.
fn repositories(root: &SysRoot, tree: &ContainerDir) -> BTreeSet<PathBuf> {
    let (mut seen, mut found) = (BTreeSet::new(), BTreeSet::new());
    let mut todo: Vec<PathBuf> = end_of(root, tree, &root.path().join(LINKS)).into_iter().collect();
    while let Some(dir) = todo.pop() {
        if !seen.insert(dir.clone()) {
            continue;
        }
        for path in entries(&dir) {
            let Some(end) = end_of(root, tree, &path) else {
                continue;
            };
            if path.ends_with(".leapp") {
                found.insert(dir.clone());
            } else if end.is_dir() {
                todo.push(end);
            }
        }
    }
    found
}

/// The directories of a repository's livemode actors. Links below `actors` are not followed there.
fn actors(root: &SysRoot, tree: &ContainerDir, repository: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut todo: Vec<PathBuf> = end_of(root, tree, &repository.join("actors"))
        .into_iter()
        .collect();
    while let Some(dir) = todo.pop() {
        let is_livemode = fs::read_to_string(dir.join("actor.py"))
            .is_ok_and(|text| name(&text).is_some_and(|name| NAMES.contains(&name)));
        if is_livemode {
            found.push(dir.clone());
        }
        todo.extend(entries(&dir).filter(|path| path.is_dir() && !path.is_symlink()));
    }
    found
}

/// The name that an actor gives itself.
fn name(text: &str) -> Option<&str> {
    text.lines().find_map(|line| {
        let value = line
            .trim()
            .strip_prefix("name")?
            .trim_start()
            .strip_prefix('=')?
            .trim_start();
        let quote = value.chars().next().filter(|quote| ['\'', '"'].contains(quote))?;
        value[1..].split(quote).next()
    })
}

impl Found {
    /// A sentence for an admin.
    pub(crate) fn describe(self) -> &'static str {
        match self {
            Self::Nobodys => "leapp finds no livemode actors",
            Self::Leapps => "leapp finds its own livemode actors",
            Self::Ours => "leapp finds the livemode actors of this package",
            Self::Both => {
                "leapp finds livemode actors of this package and others of the same names, as after an update of leapp, which \
                 has brought its own livemode actors back: which of two would run is not defined; \
                 run: livemode-prep actors refresh"
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_actor_has_the_name_that_it_gives_itself() {
        for (text, expected) in [
            (
                "class A(Actor):\n    name = 'remove_live_image'\n",
                Some("remove_live_image"),
            ),
            ("    name=\"x\"  # a remark\n    name = 'y'\n", Some("x")),
            ("names = ('a', 'b')\n", None),
            ("    name = NAME\n", None),
            ("", None),
        ] {
            assert_eq!(name(text), expected, "{text}");
        }
    }
}
