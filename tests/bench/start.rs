//! From the kernel's start to leapp's first byte in the live system, beside upstream's LiveMode on the same disk.
//!
//! Measured in instructions: QEMU's clock counts them, a nanosecond for each, and the kernel adds up on that clock what it was
//! busy. What else this machine does makes that no longer. The emulated processor has no instructions for SHA-256, as those in
//! the field have: our check of the image is a row of its own.
use anyhow::{Context, Result};

use crate::pair::{Pair, Side};
use crate::row::{median, Row};

const BOOTS: usize = 5;
const LEAPP: &str = "bench: leapp ";
/// In leapp's place on the source system: tells the first line of /proc/stat (proc_stat(5)).
const STAND_IN: &str =
    "#!/bin/sh\nread -r line </proc/stat\necho \"bench: leapp $line\" >/dev/kmsg\nexec sleep 600\n";
/// The kernel counts in hundredths of a second for programs, and there idle and waiting for disks stand fourth and fifth.
const TICKS_PER_S: f64 = 100.0;
const IDLE: [usize; 2] = [3, 4];

pub(crate) fn rows() -> Result<Vec<Row>> {
    let pair = Pair::new(STAND_IN)?;
    let unchecked = pair.ours.unchecked()?;
    let (mut without, mut with_check, mut theirs) = (Vec::new(), Vec::new(), Vec::new());
    for number in 1..=BOOTS {
        let [a, b, c] = [&unchecked, &pair.ours, &pair.theirs].map(busy_s);
        let (a, b, c) = (a?, b?, c?);
        eprintln!("starts, round {number} of {BOOTS}: {a:.2}, checked {b:.2}, beside {c:.2} thousand million instructions");
        without.push(a);
        with_check.push(b);
        theirs.push(c);
    }
    let without = median(without);
    Ok(vec![
        Row {
            name: "start_to_leapp".into(),
            ours: without,
            theirs: median(theirs),
            unit: "10^9",
            bar: Some(0.5),
            what: "instructions from the kernel's start to leapp's first byte, no check, beside upstream's LiveMode",
        },
        Row {
            name: "start_checked".into(),
            ours: median(with_check),
            theirs: without,
            unit: "10^9",
            bar: None,
            what: "the same with the check of size and digest, beside ours without",
        },
    ])
}

/// Thousand million instructions of one boot: seconds, on its clock.
fn busy_s(side: &Side) -> Result<f64> {
    let console = side.with(&[], |machine| {
        machine.counting().with(|mut running| {
            running.expect_after(LEAPP, "\n")?;
            Ok(running.console())
        })
    })?;
    let line = console.split(LEAPP).nth(1).and_then(|rest| rest.lines().next());
    busy_by(line.unwrap_or_default())
}

/// Of the line "cpu  USER NICE SYSTEM IDLE IOWAIT IRQ SOFTIRQ …", all but what is idle.
fn busy_by(line: &str) -> Result<f64> {
    let numbers = line.split_whitespace().skip(1).enumerate();
    let busy = numbers.filter(|(place, _)| !IDLE.contains(place));
    let ticks: Vec<f64> = busy
        .map(|(_, number)| number.parse().with_context(|| format!("reading '{line}'")))
        .collect::<Result<_>>()?;
    Ok(ticks.iter().sum::<f64>() / TICKS_PER_S)
}
