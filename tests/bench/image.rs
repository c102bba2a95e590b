//! The image: our call of mksquashfs beside upstream's, on the same tree.
use std::path::Path;

use anyhow::{ensure, Result};
use livemode_common::cmd::Cmd;

use crate::row::{cpu_s, Row};
use crate::subject::Subject;

pub(crate) fn rows(subject: &Subject) -> Result<Vec<Row>> {
    let dir = tempfile::tempdir()?;
    let [ours, theirs] = ["ours.img", "theirs.img"].map(|name| dir.path().join(name));
    let arguments = subject.arguments_of("mksquashfs")?;
    ensure!(arguments.len() > 2, "no arguments of mksquashfs in the plan");
    let our_call = Cmd::new("mksquashfs")
        .arg(subject.container())
        .arg(&ours)
        .args(&arguments[2..]);
    let their_call = upstream(subject.container(), &theirs);

    eprintln!("{our_call}");
    let our_cpu = cpu_s(&our_call)?;
    eprintln!("{their_call}");
    let their_cpu = cpu_s(&their_call)?;
    let size = |path| -> Result<f64> { Ok(std::fs::metadata(path)?.len() as f64) };
    Ok(vec![
        Row {
            name: "image_cpu".into(),
            ours: our_cpu,
            theirs: their_cpu,
            unit: "CPU s",
            bar: Some(1.0 / 6.0),
            what: "making the image, beside upstream's mksquashfs DIR IMG",
        },
        Row {
            name: "image_size".into(),
            ours: size(&ours)?,
            theirs: size(&theirs)?,
            unit: "bytes",
            bar: Some(1.0),
            what: "the image",
        },
    ])
}

/// live_image_generator of leapp-repository: `mksquashfs DIR IMG -e DIR/var/cache/dnf`.
pub(crate) fn upstream(container: &Path, image: &Path) -> Cmd {
    let call = Cmd::new("mksquashfs").arg(container).arg(image);
    call.arg("-e").arg(container.join("var/cache/dnf"))
}
