//! The modules of the two small programs, by the names that they use of each other.
#![allow(clippy::unwrap_used)]
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use livemode_tests::binaries::workspace;

/// Of each module those that it uses, by its `use` of the crate's other modules; what lies in its directory is a part of it.
fn modules(krate: &str) -> BTreeMap<String, Vec<String>> {
    let src = workspace().join(krate).join("src");
    let mut modules: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for entry in fs::read_dir(src).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        for part in files(&path) {
            let used = used_by(&fs::read_to_string(part).unwrap());
            let others = used.into_iter().filter(|used| *used != name);
            modules.entry(name.clone()).or_default().extend(others);
        }
    }
    modules
}

/// The file itself, or all that lies in the directory.
fn files(path: &Path) -> Vec<PathBuf> {
    if !path.is_dir() {
        return vec![path.to_owned()];
    }
    let entries = fs::read_dir(path).unwrap();
    entries.flat_map(|entry| files(&entry.unwrap().path())).collect()
}

fn used_by(text: &str) -> Vec<String> {
    let name = |word: &str| {
        word.split(|c: char| !(c.is_alphanumeric() || c == '_'))
            .next()
            .unwrap()
            .to_owned()
    };
    let mut uses = Vec::new();
    for part in text.split("use crate::").skip(1) {
        let part = part.split(';').next().unwrap();
        match part.strip_prefix('{') {
            Some(list) => uses.extend(list.split(',').map(|word| name(word.trim()))),
            None => uses.push(name(part)),
        }
    }
    uses
}

#[test]
fn no_module_uses_one_that_uses_it() {
    for krate in ["livemode-run", "livemode-boot"] {
        let mut left = modules(krate);
        assert!(left.len() > 5, "{left:?}");
        // Those that use none of what is left go, until none is left; a circle never goes.
        while !left.is_empty() {
            let names: Vec<String> = left.keys().cloned().collect();
            let before = left.len();
            left.retain(|_, uses| uses.iter().any(|used| names.contains(used)));
            assert!(left.len() < before, "{krate}: a circle in {left:?}");
        }
    }
}
