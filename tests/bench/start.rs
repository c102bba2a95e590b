//! From the kernel's start to leapp's first byte in the live system, beside upstream's LiveMode on the same disk.
//!
//! Measured in the processor time of the machine's only processor: what else this machine does makes that no longer, as it
//! does the seconds on the wall.
use std::time::Duration;

use anyhow::Result;
use livemode_tests::vm::Running;

use crate::pair::{Pair, Side};
use crate::row::{median, Row};

const BOOTS: usize = 5;
const KERNEL: &str = "Linux version ";
const LEAPP: &str = "bench: leapp";
/// In leapp's place on the source system.
const STAND_IN: &str = "#!/bin/sh\necho 'bench: leapp' >/dev/kmsg\nexec sleep 600\n";

pub(crate) fn rows() -> Result<Vec<Row>> {
    let pair = Pair::new(STAND_IN)?;
    let (mut our_times, mut their_times) = (Vec::new(), Vec::new());
    for number in 1..=BOOTS {
        let (our_time, their_time) = (cpu_s(&pair.ours)?, cpu_s(&pair.theirs)?);
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

/// Processor time of one boot.
fn cpu_s(side: &Side) -> Result<f64> {
    let spent = side.with(&[], |machine| {
        machine.with(|mut running| {
            let begun = at(&mut running, KERNEL)?;
            Ok(at(&mut running, LEAPP)?.saturating_sub(begun))
        })
    })?;
    Ok(spent.as_secs_f64())
}

/// What the processor has spent when the console shows `text`.
fn at(running: &mut Running, text: &str) -> Result<Duration> {
    running.expect(text)?;
    running.processor_time()
}
