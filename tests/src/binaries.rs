//! Our own programs, as they were built last.
use std::path::{Path, PathBuf};

use livemode_common::cmd::Cmd;

/// The top of the source tree.
pub fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the tests are a directory of the workspace")
}

/// Names the directory with our programs, where it is not the one that `cargo build --release` fills.
const BINARIES: &str = "LIVEMODE_BINARIES";

fn directory() -> PathBuf {
    std::env::var_os(BINARIES).map_or_else(|| workspace().join("target/release"), PathBuf::from)
}

/// `livemode-prep`, `livemode-boot` or `livemode-run`.
///
/// # Panics
/// When it has not been built.
pub fn binary(name: &str) -> PathBuf {
    let path = directory().join(name);
    assert!(
        path.is_file(),
        "{} is missing: cargo build --release",
        path.display()
    );
    path
}

/// The tree of `make install` below a directory, of those programs.
///
/// # Panics
/// When it cannot be made.
pub fn install(root: &Path) {
    let install = Cmd::new("make")
        .arg("-C")
        .arg(workspace())
        .args(["--silent", "install"]);
    let install = install
        .arg(format!("DESTDIR={}", root.display()))
        .arg(format!("BUILT={}", directory().display()));
    install.run().expect("make install works");
}
