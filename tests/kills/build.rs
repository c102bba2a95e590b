//! The same of `build`, which has many more steps, and takes longer for each.
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use livemode_common::cmd::Cmd;
use livemode_tests::container::{Changed, Programs};
use livemode_tests::random::Random;
use livemode_tests::source::{remove, SourceDisk};

use super::{at_each_step, differ, killed_after, killed_at, see, settled, Boots, MOMENTS};

/// Of `build`, which changes much in its own work directory: those that put files into their places.
const PLACING: [&str; 2] = ["/^rename", "/^link"];

/// Packing takes long, and is not what is asked here: the image is there at once.
fn quick_mksquashfs(image: &Path) -> Programs {
    let script = format!(
        "case \"$*\" in *-version* | *-help*) exec /usr/bin/mksquashfs \"$@\" ;; esac\nexec cp {} \"$2\"",
        image.display()
    );
    Programs::with("mksquashfs", &script).unwrap()
}

#[test]
fn root_build_is_killed_at_each_step() {
    let container = Changed::with_an_initramfs().unwrap();
    let tree = tempfile::tempdir().unwrap();
    fs::write(tree.path().join("file"), "").unwrap();
    let image = tree.path().join("image");
    let pack = Cmd::new("mksquashfs").arg(tree.path().join("file")).arg(&image);
    pack.args(["-quiet", "-no-progress"]).run().unwrap();
    let programs = quick_mksquashfs(&image);
    let source = SourceDisk::whole().unwrap();
    let build = source.build(&container.path()).env("PATH", programs.path());
    let old = see(source.root());
    let start = Instant::now();
    build.run().unwrap();
    let whole = start.elapsed();
    assert_eq!(see(source.root()).boots, Boots::Upgrade);
    remove(source.root());

    let judge = |moment: &str| {
        settled(source.root());
        let seen = see(source.root());
        assert!(
            seen.is_built || seen == old,
            "build {moment}: {:?}",
            differ(&seen, &old)
        );
    };
    let again = |moment: &str| {
        build.run().unwrap();
        let seen = see(source.root());
        assert!(
            seen.is_built && seen.boots == Boots::Upgrade,
            "build {moment}, then again"
        );
        remove(source.root());
        let seen = see(source.root());
        assert!(
            seen == old,
            "build {moment}, then removed: {:?}",
            differ(&seen, &old)
        );
    };
    // Killed again and again, from wherever the last one has left it; after the last of these calls one is let through.
    let steps = at_each_step(&PLACING, |calls, number| {
        let ended = killed_at(&build, calls, number);
        if ended {
            again(&format!("at {calls} {number}"));
        } else {
            judge(&format!("at {calls} {number}"));
        }
        ended
    });
    assert!(steps > 4, "build changed the disk {steps} times only");
    let mut random = Random(1);
    for _ in 0..MOMENTS {
        let time = Duration::from_micros(random.below(u64::try_from(whole.as_micros()).unwrap()));
        killed_after(&build, time);
        judge(&format!("after {time:?}"));
    }
    again("at random moments");
}
