//! Writes a plan's items into the container.
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use livemode_common::container::ContainerDir;
use livemode_common::sysroot::SysRoot;

use crate::facts::program;
use crate::plan::items::{wanted_by, Content, Item, PACKAGE_UNIT_DIR, UNIT_DIR};

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
