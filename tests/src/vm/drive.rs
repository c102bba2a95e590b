//! Disks of machines, in QEMU's words.
use std::path::PathBuf;

/// A disk of a machine.
#[derive(Debug, Clone)]
pub struct Drive {
    /// Its content.
    pub file: PathBuf,
    /// What it hangs on.
    pub bus: Bus,
    /// Bytes of a sector: 512 or 4096.
    pub sector: u32,
    /// What udev names it by, in /dev/disk/by-id.
    pub serial: String,
    /// A sector of 512 bytes that takes no write: whoever tries gets an error. Of virtio disks only.
    pub bad_sector: Option<u64>,
}

/// What a disk hangs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bus {
    /// /dev/vda and so on.
    Virtio,
    /// /dev/nvme0n1 and so on.
    Nvme,
    /// Two SCSI paths to one disk: /dev/sda and /dev/sdb.
    TwoPaths,
}

impl Drive {
    /// A plain one.
    pub fn new(file: impl Into<PathBuf>) -> Self {
        Self {
            file: file.into(),
            bus: Bus::Virtio,
            sector: 512,
            serial: String::new(),
            bad_sector: None,
        }
    }

    pub(super) fn arguments(&self, number: usize) -> Vec<String> {
        let Self {
            file,
            bus,
            sector,
            serial,
            bad_sector,
        } = self;
        let blocks = format!("logical_block_size={sector},physical_block_size={sector}");
        let serial = match serial.as_str() {
            "" => format!("disk{number}"),
            serial => serial.to_owned(),
        };
        // A second path opens the file a second time: what the guest writes by one it must read by the other.
        let sharing = if *bus == Bus::TwoPaths {
            ",file.locking=off,cache=none"
        } else {
            ",cache=unsafe"
        };
        let node = |path: usize| {
            let id = format!("n{number}p{path}");
            [
                "-drive".to_owned(),
                format!("file={},if=none,format=raw,id={id}{sharing}", file.display()),
            ]
        };
        let device = |kind: &str, path: usize, more: &str| {
            [
                "-device".to_owned(),
                format!("{kind},drive=n{number}p{path},serial={serial},{blocks}{more}"),
            ]
        };
        match bus {
            Bus::Virtio => [faulty(node(0), *bad_sector), device("virtio-blk-pci", 0, "")].concat(),
            Bus::Nvme => [node(0), device("nvme", 0, "")].concat(),
            Bus::TwoPaths => {
                let path = |path: usize| {
                    let controller = format!("virtio-scsi-pci,id=s{number}p{path}");
                    let more = format!(",bus=s{number}p{path}.0,wwn=0x500000000000000{number}");
                    let controller = ["-device".to_owned(), controller];
                    [controller, node(path), device("scsi-hd", path, &more)].concat()
                };
                [path(0), path(1)].concat()
            }
        }
    }
}

/// The same disk, whose writes of this sector fail (QEMU's blkdebug).
fn faulty([option, drive]: [String; 2], bad_sector: Option<u64>) -> [String; 2] {
    let Some(sector) = bad_sector else {
        return [option, drive];
    };
    let beneath = "file.driver=blkdebug,file.image.driver=file,file.image.filename=";
    let error = format!(
        "file.inject-error.0.event=none,file.inject-error.0.iotype=write,file.inject-error.0.sector={sector}"
    );
    let drive = drive.replacen("file=", beneath, 1);
    [option, format!("{drive},{error},werror=report")]
}
