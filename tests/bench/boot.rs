//! The boot: from the image's device to the mounted root, beside dmsquash-live in the same machine with the same disk.
use std::path::Path;

use anyhow::{Context, Result};
use livemode_tests::testbed::{self, Prepared, Suite};
use livemode_tests::vm::{Boot, Drive, Machine};
use livemode_tests::{baseline, disk};

use crate::initramfs::Both;
use crate::row::{median, Row};

const BOOTS: usize = 3;
/// The word that sets the watcher in the initramfs to work.
const WATCHED: &str = "bench.watch";

pub(crate) fn rows(initramfs: &Both) -> Result<Vec<Row>> {
    let prepared = testbed::prepared(Suite::Bookworm, "default", "livemode:\n")?;
    let manifest = &prepared.manifest;
    let checked = format!("{} {WATCHED}", manifest.boot.arguments);
    let digest = format!("sha256:{}", manifest.image.sha256);
    let unchecked = checked.replace(&digest, "none");
    let stock = baseline::arguments(&checked);

    let (mut ours, mut with_check, mut theirs) = (Vec::new(), Vec::new(), Vec::new());
    for number in 1..=BOOTS {
        eprintln!("boots, round {number} of {BOOTS}");
        ours.push(seconds(&prepared, &initramfs.ours(), &unchecked)?);
        with_check.push(seconds(&prepared, &initramfs.ours(), &checked)?);
        theirs.push(seconds(&prepared, &initramfs.theirs(), &stock)?);
    }
    let ours = median(ours);
    Ok(vec![
        Row {
            name: "mount_time".into(),
            ours,
            theirs: median(theirs),
            unit: "s",
            bar: Some(1.0 / 6.0),
            what: "device there to root mounted, no check, beside dmsquash-live",
        },
        Row {
            name: "digest_time".into(),
            ours: median(with_check),
            theirs: ours,
            unit: "s",
            bar: None,
            what: "the same with the check of size and digest, beside ours without",
        },
    ])
}

/// Seconds of guest time between the two moments that the watcher tells.
fn seconds(prepared: &Prepared, initramfs: &Path, arguments: &str) -> Result<f64> {
    let dir = tempfile::tempdir()?;
    let disk = dir.path().join("disk.img");
    disk::copy(&prepared.disk(), &disk)?;
    let boot = Boot::Kernel {
        kernel: &prepared.kernel(),
        initramfs,
        arguments,
    };
    let console = Machine::new(&[Drive::new(&disk)], boot).with(|mut running| {
        // The whole line: the digits may come in pieces.
        running.expect_after("bench: root ", "\n")?;
        Ok(running.console())
    })?;
    let moment = |name: &str| -> Result<f64> {
        let text = console.split(&format!("bench: {name} ")).nth(1);
        let number = text.and_then(|t| t.split_whitespace().next());
        let number = number.with_context(|| format!("no moment '{name}' in the console"))?;
        number.parse().with_context(|| format!("reading '{number}'"))
    };
    Ok(moment("root")? - moment("device")?)
}
