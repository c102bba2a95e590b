//! What an earlier build has made, as it is now.
use livemode_common::records::Manifest;
use livemode_common::store::StoreIo;
use livemode_common::sysroot::SysRoot;

/// Files that are no longer as they were built; by size, for a digest takes seconds.
pub(crate) fn problems(root: &SysRoot, manifest: &Manifest) -> Vec<String> {
    let files = [&manifest.image, &manifest.kernel, &manifest.initramfs];
    let mut problems = Vec::new();
    for artifact in files.into_iter().chain(manifest.hmac.as_ref()) {
        match std::fs::metadata(root.at(&artifact.path)) {
            Ok(meta) if meta.len() == artifact.size => {}
            Ok(meta) => {
                problems.push(format!(
                    "{}: {} bytes in place of {}",
                    artifact.path,
                    meta.len(),
                    artifact.size
                ));
            }
            Err(e) => problems.push(format!("{}: {e}", artifact.path)),
        }
    }
    if let Some(store) = &manifest.store {
        problems.extend(
            StoreIo::of_file(&root.at(&store.path), false)
                .err()
                .map(|e| format!("{e:#}")),
        );
    }
    problems
}
