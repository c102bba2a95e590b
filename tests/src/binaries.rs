//! Our own programs, from a release build.
use std::path::{Path, PathBuf};

use livemode_common::cmd::Cmd;

/// The top of the source tree.
pub fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the tests are a directory of the workspace")
}

/// `livemode-prep`, `livemode-boot` or `livemode-run`, as `cargo build --release` leaves it.
///
/// # Panics
/// When it has not been built.
pub fn binary(name: &str) -> PathBuf {
    let path = workspace().join("target/release").join(name);
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
    let install = install.arg(format!("DESTDIR={}", root.display()));
    install.run().expect("make install works");
}
