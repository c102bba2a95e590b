//! The whole of `livemode-prep build` beside what leapp calls for the same: its dracut, then its mksquashfs. The container has
//! all packages, as leapp makes it for both.
use std::time::Instant;

use anyhow::Result;
use livemode_common::cmd::Cmd;
use livemode_tests::container::Changed;
use livemode_tests::source::SourceDisk;

use crate::row::{cpu_s, Row};
use crate::subject::Subject;
use crate::{image, initramfs};

/// Processor time and seconds on the wall.
struct Spent {
    cpu_s: f64,
    wall_s: f64,
}

pub(crate) fn rows() -> Result<Vec<Row>> {
    let subject = Subject::new()?;
    let dir = tempfile::tempdir()?;
    let container = subject.with_packages(dir.path())?;
    let ours = || spent(&[SourceDisk::whole()?.build(&container)]);
    let before = ours()?;
    let theirs = spent(&[
        initramfs::upstream(&subject, &Changed::of(&container)?).arg("/var/tmp/theirs"),
        image::upstream(&container, &dir.path().join("theirs.img")),
    ])?;
    // Theirs takes minutes, in which this machine may have more to do than before, or less.
    let after = ours()?;
    let mean = |one: f64, other: f64| (one + other) / 2.0;
    Ok(vec![
        Row {
            name: "prep_cpu".into(),
            ours: mean(before.cpu_s, after.cpu_s),
            theirs: theirs.cpu_s,
            unit: "CPU s",
            bar: Some(1.0 / 15.0),
            what: "the whole build, with its checks, copies and digests, beside upstream's calls of dracut and mksquashfs",
        },
        Row {
            name: "build_wall".into(),
            ours: mean(before.wall_s, after.wall_s),
            theirs: theirs.wall_s,
            unit: "s",
            bar: None,
            what: "the same on the wall: ours makes both at the same time",
        },
    ])
}

fn spent(calls: &[Cmd]) -> Result<Spent> {
    let (started, mut cpu) = (Instant::now(), 0.0);
    for call in calls {
        eprintln!("{call}");
        cpu += cpu_s(call)?;
    }
    Ok(Spent {
        cpu_s: cpu,
        wall_s: started.elapsed().as_secs_f64(),
    })
}
