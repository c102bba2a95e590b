//! From the kernel's start to leapp's first byte in the live system, beside upstream's LiveMode on the same disk.
//!
//! Measured in the processor time of the machine's only processor: what else this machine does makes that no longer, as it
//! does the seconds on the wall. Both start their kernel without a boot loader.
use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use livemode_common::fstab;
use livemode_tests::baseline;
use livemode_tests::disk::{self, Mounted};
use livemode_tests::testbed::{self, Suite};
use livemode_tests::vm::{Boot, Drive, Machine, Running};

use crate::row::{median, Row};

const BOOTS: usize = 5;
const KERNEL: &str = "Linux version ";
const LEAPP: &str = "bench: leapp";
/// In leapp's place on the source system.
const STAND_IN: &str = "#!/bin/sh\necho 'bench: leapp' >/dev/kmsg\nexec sleep 600\n";

pub(crate) fn rows() -> Result<Vec<Row>> {
    let prepared = testbed::prepared(Suite::Bookworm, "default", "livemode:\n")?;
    let dir = tempfile::tempdir()?;
    let [ours, theirs] = ["ours.img", "theirs.img"].map(|name| dir.path().join(name));
    for image in [&ours, &theirs] {
        disk::copy(&prepared.disk(), image)?;
        fs::write(Mounted::new(image)?.at("usr/bin/leapp"), STAND_IN)?;
    }
    {
        let source = Mounted::new(&theirs)?;
        let fstab = fstab::parse(source.read("etc/fstab"))?;
        let root = fstab.iter().find(|entry| entry.fs_file == "/");
        let image = baseline::image(root.context("no root in the source's fstab")?)?;
        let path = prepared.manifest.image.path.trim_start_matches('/');
        fs::copy(image, source.at(path)).context("copying upstream's image")?;
    }
    let arguments = &prepared.manifest.boot.arguments;
    let (kernel, initramfs) = (prepared.kernel(), prepared.initramfs());
    let our_boot = Boot::Kernel {
        kernel: &kernel,
        initramfs: &initramfs,
        arguments,
    };
    let their_boot = Boot::Kernel {
        kernel: &kernel,
        initramfs: &baseline::initramfs()?,
        arguments: &baseline::arguments(arguments),
    };
    let (mut our_times, mut their_times) = (Vec::new(), Vec::new());
    for number in 1..=BOOTS {
        let (our_time, their_time) = (cpu_s(&ours, our_boot)?, cpu_s(&theirs, their_boot)?);
        eprintln!("starts, round {number} of {BOOTS}: {our_time:.1} beside {their_time:.1} CPU s");
        our_times.push(our_time);
        their_times.push(their_time);
    }
    Ok(vec![Row {
        name: "start_to_leapp".into(),
        ours: median(our_times),
        theirs: median(their_times),
        unit: "CPU s",
        bar: Some(0.5),
        what: "the kernel's start to leapp's first byte, with our check of the image, beside upstream's LiveMode",
    }])
}

/// Processor time of one boot of a copy of this disk.
fn cpu_s(image: &Path, boot: Boot) -> Result<f64> {
    let dir = tempfile::tempdir()?;
    let disk = dir.path().join("disk.img");
    disk::copy(image, &disk)?;
    let spent = Machine::new(&[Drive::new(&disk)], boot).with(|mut running| {
        let begun = at(&mut running, KERNEL)?;
        Ok(at(&mut running, LEAPP)?.saturating_sub(begun))
    })?;
    Ok(spent.as_secs_f64())
}

/// What the processor has spent when the console shows `text`.
fn at(running: &mut Running, text: &str) -> Result<Duration> {
    running.expect(text)?;
    running.processor_time()
}
