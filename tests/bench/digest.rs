//! The digest of an image as early boot takes it, beside sha256sum, on this machine's own processor and disk: a processor in
//! the machines that QEMU emulates here has no instructions for it, as those in the field have.
use std::fs::File;
use std::io::Write;
use std::time::Instant;

use anyhow::{ensure, Result};
use livemode_common::cmd::Cmd;
use livemode_common::fsio;
use nix::fcntl::{posix_fadvise, PosixFadviseAdvice};

use crate::row::{median, processor_s, Row};

const ROUNDS: usize = 5;
const MIB: usize = 512;

/// What is measured of each side, one for each round.
#[derive(Default)]
struct Side {
    cpu_s: Vec<f64>,
    cold_s: Vec<f64>,
    found: String,
}

impl Side {
    /// With the image in the page cache, then with the image on the disk only.
    fn round(&mut self, image: &File, mut digest: impl FnMut() -> Result<String>) -> Result<()> {
        self.cpu_s.push(processor_s(|| {
            self.found = digest()?;
            Ok(())
        })?);
        posix_fadvise(image, 0, 0, PosixFadviseAdvice::POSIX_FADV_DONTNEED)?;
        let started = Instant::now();
        digest()?;
        self.cold_s.push(started.elapsed().as_secs_f64());
        Ok(())
    }
}

pub(crate) fn rows() -> Result<Vec<Row>> {
    let mut image = tempfile::NamedTempFile::new()?;
    for number in 0..MIB {
        image.write_all(&vec![number as u8; 1 << 20])?;
    }
    // Only what is on the disk can be dropped from the page cache.
    image.as_file().sync_all()?;
    let sum = Cmd::new("sha256sum").arg(image.path());
    let (mut ours, mut theirs) = (Side::default(), Side::default());
    for _ in 0..ROUNDS {
        ours.round(image.as_file(), || {
            Ok(fsio::sha256_of(&File::open(image.path())?, |_| ())?.0)
        })?;
        theirs.round(image.as_file(), || sum.read())?;
        let found = (&ours.found, &theirs.found);
        ensure!(found.1.starts_with(found.0), "two digests: {found:?}");
    }
    Ok(vec![
        Row {
            name: "digest_host".into(),
            ours: median(ours.cpu_s),
            theirs: median(theirs.cpu_s),
            unit: "CPU s",
            bar: None,
            what: "the digest of 512 MiB on this machine's own processor, beside sha256sum",
        },
        Row {
            name: "digest_cold".into(),
            ours: median(ours.cold_s),
            theirs: median(theirs.cold_s),
            unit: "s",
            bar: None,
            what: "the same from this machine's disk, by the clock: ours reads ahead while it hashes",
        },
    ])
}
