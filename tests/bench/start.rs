//! From the kernel's start to leapp's first byte in the live system, with our check of the image, beside upstream's LiveMode on the
//! same disk.
//!
//! Measured in the processor time of the machine's only processor: what else this machine does makes that no longer, as it does
//! the seconds on the wall. A second row counts instructions instead: QEMU's clock counts them, a nanosecond for each, and the kernel
//! adds up on that clock what it was busy. There the check is left out, for the emulated processor has no instructions for SHA-256, as
//! those in the field have.
use std::time::Duration;

use anyhow::{Context, Result};
use livemode_tests::vm::Running;

use crate::pair::{Pair, Side};
use crate::row::{median, Row};

const BOOTS: usize = 5;
/// Of which each takes nearly the same number.
const COUNTED_BOOTS: usize = 3;
const KERNEL: &str = "Linux version ";
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
    let of =
        |name: &str, unit, bar, what, [ours, theirs]: [&Side; 2], boots, spent: fn(&Side) -> Result<f64>| {
            let (mut our_times, mut their_times) = (Vec::new(), Vec::new());
            for number in 1..=boots {
                let (our_time, their_time) = (spent(ours)?, spent(theirs)?);
                eprintln!("{name}, round {number} of {boots}: {our_time:.2} beside {their_time:.2} {unit}");
                our_times.push(our_time);
                their_times.push(their_time);
            }
            anyhow::Ok(Row {
                name: name.into(),
                ours: median(our_times),
                theirs: median(their_times),
                unit,
                bar,
                what,
            })
        };
    Ok(vec![
        of(
            "start_to_leapp",
            "CPU s",
            Some(0.5),
            "the kernel's start to leapp's first byte, with our check of the image, beside upstream's LiveMode",
            [&pair.ours, &pair.theirs],
            BOOTS,
            processor_s,
        )?,
        of(
            "start_unchecked",
            "10^9",
            None,
            "instructions of the same, without a check",
            [&unchecked, &pair.theirs],
            COUNTED_BOOTS,
            busy_s,
        )?,
    ])
}

/// Processor time of one boot.
fn processor_s(side: &Side) -> Result<f64> {
    let at = |running: &mut Running, text: &str| -> Result<Duration> {
        running.expect(text)?;
        running.processor_time()
    };
    let spent = side.with(&[], |machine| {
        machine.with(|mut running| {
            let begun = at(&mut running, KERNEL)?;
            Ok(at(&mut running, LEAPP)?.saturating_sub(begun))
        })
    })?;
    Ok(spent.as_secs_f64())
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
