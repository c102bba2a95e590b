//! Places for machines: as many run at a time as this machine has processors and memory for, whichever test or program
//! starts them.
use std::fs::{self, File};
use std::time::Duration;

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};

use crate::cache;
use crate::vm::MEMORY_MIB;

/// What QEMU and the page cache of a disk take beside the machine's own memory, MiB.
const BESIDE_MIB: u64 = 1024;
const POLL: Duration = Duration::from_millis(200);

/// A place for one machine; free again when dropped, or when its process ends.
#[derive(Debug)]
pub struct Slot(#[allow(dead_code)] Flock<File>);

impl Slot {
    /// Waits for one.
    ///
    /// # Errors
    /// When the cache cannot be written to.
    pub fn take() -> Result<Self> {
        let dir = cache::dir().join("slots");
        fs::create_dir_all(&dir).with_context(|| format!("creating {}", dir.display()))?;
        loop {
            for number in 0..count()? {
                let path = dir.join(number.to_string());
                let file = File::create(&path).with_context(|| format!("creating {}", path.display()))?;
                match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
                    Ok(lock) => return Ok(Self(lock)),
                    Err((_, Errno::EWOULDBLOCK)) => {}
                    Err((_, error)) => {
                        return Err(error).with_context(|| format!("locking {}", path.display()))
                    }
                }
            }
            std::thread::sleep(POLL);
        }
    }
}

/// How many machines run at a time here.
///
/// # Errors
/// When /proc/meminfo cannot be read.
pub fn count() -> Result<u64> {
    let processors = std::thread::available_parallelism()?.get() as u64;
    let memory = fs::read_to_string("/proc/meminfo").context("reading /proc/meminfo")?;
    places(processors, &memory)
}

/// One machine for each processor, and no more than there is memory for, but one.
fn places(processors: u64, meminfo: &str) -> Result<u64> {
    let total = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let kib = total.and_then(|rest| rest.trim().strip_suffix(" kB"));
    let kib: u64 = kib.context("no MemTotal in /proc/meminfo")?.trim().parse()?;
    Ok(processors.min(kib / 1024 / (MEMORY_MIB + BESIDE_MIB)).max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_machines_as_processors_and_memory_allow() {
        for (processors, gib, machines) in [(2, 24, 2), (8, 8, 3), (2, 4, 1), (1, 64, 1), (4, 1, 1)] {
            let meminfo = format!("MemTotal:       {} kB\nMemFree:  1 kB\n", gib << 20);
            assert_eq!(
                places(processors, &meminfo).unwrap(),
                machines,
                "{processors} {gib}"
            );
        }
        assert!(places(2, "MemFree: 1 kB\n").is_err());
    }
}
