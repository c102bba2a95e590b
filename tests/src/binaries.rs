//! Our own programs, from a release build.
use std::path::{Path, PathBuf};

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
