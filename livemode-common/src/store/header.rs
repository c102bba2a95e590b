//! What early boot needs to know before any file system is mounted.
use std::path::PathBuf;

use anyhow::{bail, Context, Result};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{Map, HEADERS, HEADER_BYTES};
use crate::contract::SCHEMA;
use crate::records::OwnEntry;

const MAGIC: &[u8] = b"LIVEMODE STORE\n";
/// SHA-256 in hex, of what follows it.
const SUM_BYTES: usize = 64;
const LENGTH_BYTES: usize = 8;

/// A part of the store's address space, in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Region {
    /// Where it begins.
    pub at: u64,
    /// Its length.
    pub bytes: u64,
}

/// One block device of the source system, whose changes are kept in the store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layer {
    /// Name in the device mapper, after [`super::LAYER_PREFIX`].
    pub name: String,
    /// Where it is mounted on the source system.
    pub mount: String,
    /// `UUID=…` of its file system, or another name that only it has.
    pub device: String,
    /// Its size, in bytes.
    pub bytes: u64,
    /// Where its changed blocks are kept.
    pub changes: Region,
}

/// A file system that the boot loader reads, of which a copy is taken: `/boot`, the EFI system partition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// Where it is mounted on the source system.
    pub mount: String,
    /// By what it is found.
    pub device: String,
}

/// Bytes of a disk that no file system has and the boot loader lies in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sectors {
    /// A partition of the disk.
    pub beside: String,
    /// Where they begin on the disk.
    pub at: u64,
    /// How many.
    pub bytes: u64,
}

/// The header: where everything is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// Version of this record.
    pub schema: u32,
    /// The build it is of: [`crate::records::Manifest::id`].
    pub id: String,
    /// By what the device is found that the store lies on.
    pub device: String,
    /// Its path on the file system there.
    pub file: PathBuf,
    /// Where its pieces lie on that device.
    pub map: Map,
    /// What is kept for each device.
    pub layers: Vec<Layer>,
    /// What is copied before leapp starts.
    pub kept: Vec<Kept>,
    /// Boot code outside of file systems, copied too.
    pub sectors: Vec<Sectors>,
    /// Where the copy lies.
    pub copy: Region,
    /// The boot entry, where it is ours.
    pub entry: Option<OwnEntry>,
}

impl Header {
    /// As it is written, in both places.
    ///
    /// # Errors
    /// When it does not fit.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        let json = serde_json::to_vec(self).context("writing JSON")?;
        let mut body = (json.len() as u64).to_le_bytes().to_vec();
        body.extend(json);
        let mut bytes = [MAGIC, sum(&body).as_bytes(), &body].concat();
        if bytes.len() as u64 > HEADER_BYTES {
            bail!("the store's header does not fit: {} bytes", bytes.len());
        }
        bytes.resize(HEADER_BYTES as usize, 0);
        Ok(bytes)
    }

    /// The header in one of its places.
    ///
    /// # Errors
    /// When there is none, it is torn, or of another schema than [`SCHEMA`].
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        let rest = bytes
            .strip_prefix(MAGIC)
            .context("no header of a store is there")?;
        let (expected, body) = rest.split_at_checked(SUM_BYTES).context("it is cut off")?;
        let length = body.first_chunk::<LENGTH_BYTES>().context("it is cut off")?;
        let length = usize::try_from(u64::from_le_bytes(*length)).context("it is cut off")?;
        let body = length
            .checked_add(LENGTH_BYTES)
            .and_then(|end| body.get(..end))
            .context("it is cut off")?;
        if sum(body).as_bytes() != expected {
            bail!("it is not what was written (its checksum differs)");
        }
        let header: Self = serde_json::from_slice(&body[LENGTH_BYTES..])?;
        if header.schema != SCHEMA {
            bail!(
                "its schema is {}, this livemode knows {SCHEMA}: use the livemode version that wrote it",
                header.schema
            );
        }
        Ok(header)
    }

    /// The header, by `read` of the store's address space: the second place serves where the first is not whole.
    ///
    /// # Errors
    /// When neither is whole: what is wrong with the first.
    pub fn read(mut read: impl FnMut(u64, &mut [u8]) -> Result<()>) -> Result<Self> {
        let mut first = None;
        for at in HEADERS {
            let mut bytes = vec![0; HEADER_BYTES as usize];
            match read(at, &mut bytes).and_then(|()| Self::parse(&bytes)) {
                Ok(header) => return Ok(header),
                Err(error) => first = first.or(Some(error)),
            }
        }
        Err(first.unwrap_or_else(|| anyhow::anyhow!("it has no place"))).context("reading the store's header")
    }

    /// Both places, as `(address, bytes)`.
    ///
    /// # Errors
    /// When it does not fit.
    pub fn written(&self) -> Result<[(u64, Vec<u8>); 2]> {
        let bytes = self.to_bytes()?;
        Ok(HEADERS.map(|at| (at, bytes.clone())))
    }
}

fn sum(bytes: &[u8]) -> String {
    Sha256::digest(bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(crate) fn header() -> Header {
        Header {
            schema: SCHEMA,
            id: "b1".into(),
            device: "UUID=1-2".into(),
            file: "var/lib/leapp/livemode/store".into(),
            map: Map::default(),
            layers: vec![Layer {
                name: "root".into(),
                mount: "/".into(),
                device: "UUID=1-2".into(),
                bytes: 8 << 30,
                changes: Region {
                    at: 4 << 20,
                    bytes: 1 << 30,
                },
            }],
            kept: Vec::new(),
            sectors: Vec::new(),
            copy: Region::default(),
            entry: None,
        }
    }

    #[test]
    fn a_header_is_read_from_either_place_and_a_torn_one_from_none() {
        let bytes = header().to_bytes().unwrap();
        assert_eq!(Header::parse(&bytes).unwrap(), header());
        let store = [bytes.clone(), bytes.clone()].concat();
        let read = |store: &[u8]| {
            Header::read(|at, buffer| {
                let at = usize::try_from(at).unwrap();
                buffer.copy_from_slice(&store[at..at + buffer.len()]);
                Ok(())
            })
        };
        assert_eq!(read(&store).unwrap(), header());
        // Each sector that holds something of it.
        let used = bytes.iter().rposition(|byte| *byte != 0).unwrap();
        for sector in 0..=used / 512 {
            let mut torn = store.clone();
            torn[sector * 512..][..512].fill(0xa5);
            assert_eq!(read(&torn).unwrap(), header(), "sector {sector}");
            let second = bytes.len() + sector * 512;
            torn[second..][..512].fill(0xa5);
            let error = format!("{:#}", read(&torn).unwrap_err());
            assert!(error.starts_with("reading the store's header: "), "{error}");
        }
    }

    #[test]
    fn what_is_cut_off_is_no_header() {
        let bytes = header().to_bytes().unwrap();
        for length in [
            0,
            5,
            MAGIC.len(),
            MAGIC.len() + 10,
            MAGIC.len() + SUM_BYTES + 4,
            200,
        ] {
            assert!(Header::parse(&bytes[..length]).is_err(), "{length}");
        }
        let mut endless = bytes;
        endless[MAGIC.len() + SUM_BYTES..][..8].fill(0xff);
        assert!(Header::parse(&endless).is_err());
        let other = Header {
            schema: 9,
            ..header()
        };
        let error = Header::parse(&other.to_bytes().unwrap()).unwrap_err().to_string();
        assert!(error.starts_with("its schema is 9"), "{error}");
    }
}
