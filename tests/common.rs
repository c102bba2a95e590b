//! What livemode-common asks of the kernel, tried on this machine's, as root.
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::mpsc::channel;
use std::time::Duration;

use livemode_common::cmd::Cmd;
use livemode_common::mount::{enter_private_namespace, in_private, MountSpec, MountStack};
use livemode_common::mountinfo;
use livemode_tests::disk::Mounted;
use nix::mount::{mount, MsFlags};
use nix::sys::wait::waitpid;
use nix::unistd::Pid;

/// Whether something is mounted at `path`, for the thread that asks.
fn is_mounted(path: &Path) -> bool {
    let text = fs::read_to_string("/proc/thread-self/mountinfo").expect("/proc is mounted");
    mountinfo::parse(&text).iter().any(|mount| mount.target == path)
}

#[test]
fn root_what_the_host_unmounts_goes_in_our_namespace_and_nothing_of_ours_spreads() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().canonicalize().unwrap();
    // Shared with later namespaces, as systemd makes everything.
    let mut around = MountStack::default();
    around.mount(&MountSpec::bind(&dir, &dir)).unwrap();
    mount(
        None::<&Path>,
        &dir,
        None::<&Path>,
        MsFlags::MS_SHARED,
        None::<&Path>,
    )
    .unwrap();
    let (hosts, ours) = (dir.join("hosts"), dir.join("ours"));
    fs::create_dir(&hosts).unwrap();
    fs::create_dir(&ours).unwrap();
    let mut disk = MountStack::default();
    disk.mount(&MountSpec::new("tmpfs", &hosts, "tmpfs", "")).unwrap();

    std::thread::scope(|scope| {
        let (entered, has_entered) = channel();
        let (unmounted, has_unmounted) = channel::<()>();
        let inside = scope.spawn({
            let (hosts, ours) = (&hosts, &ours);
            move || {
                enter_private_namespace().unwrap();
                let mut own = MountStack::default();
                own.mount(&MountSpec::new("tmpfs", ours, "tmpfs", "")).unwrap();
                entered.send(is_mounted(hosts)).unwrap();
                has_unmounted.recv().unwrap();
                (is_mounted(hosts), is_mounted(ours))
            }
        });
        assert!(has_entered.recv().unwrap(), "the host's mount is there at first");
        assert!(!is_mounted(&ours), "a mount of ours has spread to the host");
        disk.unmount().unwrap();
        unmounted.send(()).unwrap();
        assert_eq!(inside.join().unwrap(), (false, true), "the host's and our mount");
    });
}

/// A file system on which nobody can write; it goes on when dropped.
struct Frozen(PathBuf);

impl Frozen {
    fn new(dir: &Path) -> Self {
        let guard = Self(dir.to_owned());
        guard.fsfreeze("--freeze").expect("the file system can be frozen");
        guard
    }

    fn fsfreeze(&self, action: &str) -> anyhow::Result<()> {
        Cmd::new("fsfreeze").arg(action).arg(&self.0).run()
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        if let Err(error) = self.fsfreeze("--unfreeze") {
            eprintln!("{error:#}");
        }
    }
}

/// Who writes to a frozen file system waits in the kernel as on a dead disk, and takes no signal.
#[test]
fn root_a_program_that_the_kernel_does_not_let_go_is_given_up() {
    let dir = tempfile::tempdir().unwrap();
    let image = dir.path().join("disk.img");
    fs::File::create(&image).unwrap().set_len(16 << 20).unwrap();
    Cmd::new("mkfs.ext4").arg("-q").arg(&image).run().unwrap();
    let mounted = Mounted::new(&image).unwrap();
    let frozen = Frozen::new(mounted.path());
    let touch = Cmd::new("touch")
        .arg(mounted.path().join("file"))
        .limit(Duration::from_secs(1));
    let mut id = 0;
    let error = touch.watch(Duration::from_secs(1), |pid| id = pid).unwrap_err();
    drop(frozen);
    // It may go now, and the file system is no longer in use.
    waitpid(Pid::from_raw(id.cast_signed()), None).unwrap();
    assert_eq!(
        error.to_string(),
        format!(
            "{touch}: took longer than its limit of 1s; it cannot be ended: the kernel does not let it go"
        )
    );
}

#[test]
fn root_what_is_mounted_in_private_is_seen_nowhere_else() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path().join("at");
    std::fs::create_dir(&at).unwrap();
    let name = at.to_string_lossy().into_owned();
    let is_seen_by = |file: &str| std::fs::read_to_string(file).unwrap().contains(&name);
    in_private(|| {
        let mut mounts = MountStack::default();
        mounts.mount(&MountSpec::new("tmpfs", &at, "tmpfs", "")).unwrap();
        assert!(is_seen_by("/proc/thread-self/mountinfo"));
        assert!(!is_seen_by("/proc/self/mountinfo"));
        mounts.keep();
    });
    // It went with the namespace.
    std::fs::remove_dir(&at).unwrap();
}
