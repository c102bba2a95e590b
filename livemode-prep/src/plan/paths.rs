//! Where everything goes, and under which names it lies until it counts. Pure.
use std::path::{Path, PathBuf};

use livemode_common::contract::{BootPaths, MANIFEST, STATE};
use livemode_common::sysroot::SysRoot;

use crate::facts::leapp::BootContent;
use crate::facts::source::Source;

/// The throw-away overlays and the unfinished image lie in a directory of this name beside the image.
const WORK: &str = ".livemode-work";

/// A throw-away overlay of the container.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Overlay {
    /// Where dnf installs what is missing; its changes lie below both of the others.
    Packages,
    /// Where dracut makes the initramfs.
    Early,
    /// What is packed into the image.
    Live,
}

/// On this machine.
#[derive(Debug, Clone)]
pub(crate) struct Paths {
    pub(crate) image: PathBuf,
    pub(crate) kernel: PathBuf,
    pub(crate) hmac: PathBuf,
    pub(crate) initramfs: PathBuf,
    /// The names of kernel and initramfs in our own entry: leapp removes those that it knows when the upgrade begins.
    pub(crate) own_kernel: PathBuf,
    pub(crate) own_initramfs: PathBuf,
    pub(crate) state: PathBuf,
    pub(crate) manifest: PathBuf,
    pub(crate) work: PathBuf,
}

impl Paths {
    /// For an image of this name; `given` is what leapp has made already. With an entry of our own and nothing given, kernel
    /// and initramfs have our names only.
    pub(crate) fn new(
        root: &SysRoot,
        source: &Source,
        image: &str,
        given: Option<&BootContent>,
        has_entry: bool,
    ) -> Self {
        let own = BootPaths::own(&source.arch);
        let boot = if has_entry {
            BootPaths::own(&source.arch)
        } else {
            BootPaths::for_arch(&source.arch)
        };
        let given =
            |path: fn(&BootContent) -> Option<&PathBuf>| given.and_then(path).map(|path| root.at(path));
        let named = |dir: &Path, path: &str| dir.join(Path::new(path).file_name().unwrap_or_default());
        Self {
            image: named(&source.image_dir.path, image),
            kernel: given(|b| Some(&b.kernel_path)).unwrap_or_else(|| named(&source.boot.path, &boot.kernel)),
            hmac: given(|b| b.kernel_hmac_path.as_ref())
                .unwrap_or_else(|| named(&source.boot.path, &boot.hmac)),
            initramfs: given(|b| Some(&b.initram_path))
                .unwrap_or_else(|| named(&source.boot.path, &boot.initramfs)),
            own_kernel: named(&source.boot.path, &own.kernel),
            own_initramfs: named(&source.boot.path, &own.initramfs),
            state: named(&source.state_dir.path, STATE),
            manifest: named(&source.state_dir.path, MANIFEST),
            work: source.image_dir.path.join(WORK),
        }
    }

    /// Where an overlay has its directories.
    pub(crate) fn overlay(&self, overlay: Overlay) -> PathBuf {
        self.work.join(match overlay {
            Overlay::Packages => "packages",
            Overlay::Early => "early",
            Overlay::Live => "live",
        })
    }

    /// Its root directory.
    pub(crate) fn tree(&self, overlay: Overlay) -> PathBuf {
        self.overlay(overlay).join("root")
    }

    /// The name under which a file lies on its file system until it counts.
    pub(crate) fn staged(&self, path: &Path) -> PathBuf {
        if *path == self.image {
            return self.work.join("image");
        }
        staged(path)
    }
}

/// The name beside a file under which its new content lies until it counts.
pub(crate) fn staged(path: &Path) -> PathBuf {
    beside(path, ".livemode-new-")
}

/// The name beside a file under which it is kept until the new one counts.
pub(crate) fn former(path: &Path) -> PathBuf {
    beside(path, ".livemode-former-")
}

fn beside(path: &Path, prefix: &str) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!("{prefix}{}", name.trim_start_matches('.')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_count_yet_lies_beside_its_place_and_is_hidden() {
        assert_eq!(
            staged(Path::new("/boot/.vmlinuz-upgrade.x86_64.hmac")),
            Path::new("/boot/.livemode-new-vmlinuz-upgrade.x86_64.hmac")
        );
        assert_eq!(
            former(Path::new("/boot/vmlinuz-upgrade.x86_64")),
            Path::new("/boot/.livemode-former-vmlinuz-upgrade.x86_64")
        );
    }

    #[test]
    fn the_image_is_made_in_a_directory_of_its_own_and_other_files_beside_their_places() {
        let paths = Paths {
            image: "/var/lib/leapp/live-upgrade.img".into(),
            kernel: "/boot/vmlinuz-upgrade.x86_64".into(),
            hmac: "/boot/.vmlinuz-upgrade.x86_64.hmac".into(),
            initramfs: "/boot/initramfs-upgrade.x86_64.img".into(),
            own_kernel: PathBuf::new(),
            own_initramfs: PathBuf::new(),
            state: "/var/lib/leapp/livemode/state.json".into(),
            manifest: "/var/lib/leapp/livemode/manifest.json".into(),
            work: "/var/lib/leapp/.livemode-work".into(),
        };
        assert_eq!(
            paths.staged(&paths.image),
            Path::new("/var/lib/leapp/.livemode-work/image")
        );
        assert_eq!(
            paths.staged(&paths.kernel),
            Path::new("/boot/.livemode-new-vmlinuz-upgrade.x86_64")
        );
    }
}
