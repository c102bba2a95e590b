//! Writes a plan's items into the container.
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use livemode_common::container::ContainerDir;
use livemode_common::sysroot::SysRoot;

use crate::facts::program;
use crate::plan::items::{
    is_allowed, wanted_by, Content, Item, GENERATOR_DIR, PACKAGE_GENERATOR_DIR, PACKAGE_UNIT_DIR, UNIT_DIR,
};

/// Writes them in their order. `source` is where files of the source system come from.
///
/// # Errors
/// When one cannot be written; the error names it.
pub(crate) fn write(items: &[Item], source: &SysRoot, tree: &ContainerDir) -> Result<()> {
    let source = ContainerDir::new(source.path());
    items.iter().try_for_each(|item| write_one(item, &source, tree))
}

fn write_one(item: &Item, source: &ContainerDir, tree: &ContainerDir) -> Result<()> {
    match item {
        Item::File {
            path, content, mode, ..
        } => tree.write(path, read(content, path, source, tree)?, *mode),
        Item::Link { path, to } => tree.symlink(to, path),
        Item::Directory { path, mode } => {
            tree.create_dir(path)?;
            tree.set_mode(path, *mode)
        }
        Item::Started { units, by } => {
            let unit = first(tree, units)
                .with_context(|| format!("the container has no {}; install its package there", units[0]))?;
            tree.symlink(format!("{PACKAGE_UNIT_DIR}/{unit}"), wanted_by(by, unit))
        }
        Item::Offered { unit, by } => match has(tree, unit) {
            true => tree.symlink(format!("{PACKAGE_UNIT_DIR}/{unit}"), wanted_by(by, unit)),
            false => Ok(()),
        },
        Item::Cleared => clear(tree),
        Item::Only { targets, allowed } => targets.iter().try_for_each(|target| {
            let wanted = format!("{PACKAGE_UNIT_DIR}/{target}.wants");
            mask_all_but(tree, &wanted, allowed, UNIT_DIR)
        }),
        Item::Generators { allowed } => mask_all_but(tree, PACKAGE_GENERATOR_DIR, allowed, GENERATOR_DIR),
        Item::Stopped { unit } => stop(tree, unit),
        Item::Masked { unit } => tree.symlink("/dev/null", format!("{UNIT_DIR}/{unit}")),
        Item::Alias { unit, of } => alias(tree, unit, of),
    }
}

fn read(content: &Content, path: &str, source: &ContainerDir, tree: &ContainerDir) -> Result<Vec<u8>> {
    let read = |at: &Path| fs::read(at).with_context(|| format!("reading {}", at.display()));
    match content {
        Content::Text(text) => Ok(text.clone()),
        Content::OfSource(path) => read(&source.resolve(path)?),
        Content::Program(name) => read(&program::find(name)?),
        Content::Edited(edit) => {
            let text = edit.apply(&tree.read(path)?);
            let text = text.with_context(|| format!("{path}: no line for root"))?;
            Ok(text.into_bytes())
        }
    }
}

fn has(tree: &ContainerDir, unit: &str) -> bool {
    tree.exists(format!("{PACKAGE_UNIT_DIR}/{unit}"))
}

fn first<'a>(tree: &ContainerDir, units: &'a [String]) -> Option<&'a str> {
    units.iter().map(String::as_str).find(|unit| has(tree, unit))
}

fn stop(tree: &ContainerDir, unit: &str) -> Result<()> {
    let targets = tree.dir_names(UNIT_DIR)?.into_iter();
    for dir in targets.filter(|name| name.ends_with(".wants")) {
        tree.remove_file(format!("{UNIT_DIR}/{dir}/{unit}"))?;
    }
    Ok(())
}

/// Removes every link by which something in the admin's directory starts a unit.
fn clear(tree: &ContainerDir) -> Result<()> {
    for dir in tree.dir_names(UNIT_DIR)? {
        if !dir.ends_with(".wants") && !dir.ends_with(".requires") {
            continue;
        }
        for unit in tree.dir_names(format!("{UNIT_DIR}/{dir}"))? {
            tree.remove_file(format!("{UNIT_DIR}/{dir}/{unit}"))?;
        }
    }
    Ok(())
}

/// Masks in the directory `by` what packages have in the directory `of`.
fn mask_all_but(tree: &ContainerDir, of: &str, allowed: &[&str], by: &str) -> Result<()> {
    for name in tree.dir_names(of)? {
        if !is_allowed(allowed, &name) {
            tree.symlink("/dev/null", format!("{by}/{name}"))?;
        }
    }
    Ok(())
}

fn alias(tree: &ContainerDir, unit: &str, of: &[&str]) -> Result<()> {
    let link = format!("{UNIT_DIR}/{unit}");
    if has(tree, unit) || tree.exists(&link) {
        return Ok(());
    }
    match of.iter().find(|name| has(tree, name)) {
        Some(name) => tree.symlink(format!("{PACKAGE_UNIT_DIR}/{name}"), link),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_packages_have_enabled_is_off_and_ours_is_on() {
        let dir = tempfile::tempdir().unwrap();
        let tree = ContainerDir::new(dir.path());
        let unit = |name: &str| format!("{PACKAGE_UNIT_DIR}/{name}");
        for name in [
            "rpcbind.socket",
            "fstrim.timer",
            "clean.timer",
            "dbus.socket",
            "dm-event.socket",
        ] {
            tree.write(unit(name), "", 0o644).unwrap();
        }
        for (target, name) in [
            ("sockets.target", "rpcbind.socket"),
            ("timers.target", "fstrim.timer"),
        ] {
            tree.symlink(unit(name), wanted_by(target, name)).unwrap();
        }
        let requires = format!("{UNIT_DIR}/a.service.requires/b.service");
        tree.symlink("x", &requires).unwrap();
        for (target, name) in [
            ("timers.target", "clean.timer"),
            ("sockets.target", "dbus.socket"),
        ] {
            tree.symlink(
                format!("../{name}"),
                format!("{PACKAGE_UNIT_DIR}/{target}.wants/{name}"),
            )
            .unwrap();
        }
        for name in ["fstab-generator", "autorelabel-generator.sh"] {
            tree.write(format!("{PACKAGE_GENERATOR_DIR}/{name}"), "", 0o755)
                .unwrap();
        }
        let items = [
            Item::Cleared,
            Item::Generators {
                allowed: vec!["fstab-generator"],
            },
            Item::Only {
                targets: &["timers.target", "sockets.target"],
                allowed: &["dbus.socket"],
            },
            Item::started("dbus.socket", "sockets.target"),
            Item::Offered {
                unit: "dm-event.socket",
                by: "sockets.target",
            },
            Item::Offered {
                unit: "no-such.socket",
                by: "sockets.target",
            },
        ];
        write(&items, &SysRoot::new("/"), &tree).unwrap();
        let mut started = tree
            .dir_names(format!("{UNIT_DIR}/sockets.target.wants"))
            .unwrap();
        started.sort();
        assert_eq!(started, ["dbus.socket", "dm-event.socket"]);
        for empty in ["timers.target.wants", "a.service.requires"] {
            assert!(
                tree.dir_names(format!("{UNIT_DIR}/{empty}")).unwrap().is_empty(),
                "{empty}"
            );
        }
        let at = |unit: &str| {
            dir.path()
                .join(format!("{UNIT_DIR}/{unit}").trim_start_matches('/'))
        };
        assert_eq!(fs::read_link(at("clean.timer")).unwrap(), Path::new("/dev/null"));
        assert!(fs::symlink_metadata(at("dbus.socket")).is_err());
        assert_eq!(
            tree.dir_names(GENERATOR_DIR).unwrap(),
            ["autorelabel-generator.sh"]
        );
    }
}
