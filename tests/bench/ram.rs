//! The least memory of a machine in which an upgrade ends well, beside upstream's LiveMode on the same disk: by bisection.
use std::time::Duration;

use anyhow::{ensure, Result};
use livemode_tests::vm::MEMORY_MIB;

use crate::pair::{Pair, Side, LEAPP};
use crate::row::Row;

const STEP_MIB: u64 = 128;
/// Linux alone takes more than one step.
const TOO_LITTLE: u64 = 1;
/// What the other tests' machines have.
const ENOUGH: u64 = MEMORY_MIB / STEP_MIB;
const UPGRADED: &str = "bench: upgraded";
/// Processor time after which a machine only reads again and again what it had to drop: an upgrade takes a fifth of it.
const THRASHING: Duration = Duration::from_secs(300);

pub(crate) fn rows() -> Result<Vec<Row>> {
    let pair = Pair::new(&format!(
        "#!/bin/sh\n{LEAPP} \"$@\" && echo '{UPGRADED}' >/dev/kmsg\nexec sleep 600\n"
    ))?;
    let ours = least_mib("ours", &pair.ours)?;
    let theirs = least_mib("upstream's", &pair.theirs)?;
    Ok(vec![Row {
        name: "least_ram".into(),
        ours: ours as f64,
        theirs: theirs as f64,
        unit: "MiB",
        bar: Some(1.0),
        what: "the least memory in which leapp's RPM transaction ends well, beside upstream's LiveMode",
    }])
}

fn least_mib(name: &str, side: &Side) -> Result<u64> {
    let (mut fails, mut works) = (TOO_LITTLE, None);
    while works.unwrap_or(ENOUGH + 1) - fails > 1 {
        let next = works.map_or(ENOUGH, |works| (fails + works) / 2);
        let does = upgrades(side, next * STEP_MIB)?;
        let verdict = if does { "is enough" } else { "is too little" };
        eprintln!("least memory, {name}: {} MiB {verdict}", next * STEP_MIB);
        if does {
            works = Some(next);
        } else {
            fails = next;
        }
        ensure!(works.is_some(), "{name} does not upgrade with {MEMORY_MIB} MiB");
    }
    Ok(works.unwrap_or(ENOUGH) * STEP_MIB)
}

/// Whether it does, before it ends, stands still, or has spent too much time.
fn upgrades(side: &Side, mib: u64) -> Result<bool> {
    side.with(&["-m", &mib.to_string()], |machine| {
        let mut running = machine.start()?;
        let console = running.until_both(
            |running, console| {
                console.contains(UPGRADED) || running.processor_time().is_ok_and(|spent| spent > THRASHING)
            },
            "an upgrade, or none",
        );
        Ok(console.is_ok_and(|console| console.contains(UPGRADED)))
    })
}
