//! The workshop: the target container booted as an ordinary system, which makes the devices of a layout.
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{ensure, Context, Result};

use super::Layout;
use crate::testbed::{self, Suite};
use crate::vm::{Boot, Bus, Drive, Machine};
use crate::{cache, disk};

/// The container as a disk that boots by itself, with its `/workshop` for PID 1.
fn workshop_disk() -> Result<PathBuf> {
    let container = testbed::container(Suite::Bookworm)?;
    let text = container.display().to_string();
    let dir = cache::entry("workshop", &[&text, WORKSHOP], &[], |out| {
        fs::create_dir_all(out)?;
        let changed = crate::container::Changed::of(&container)?;
        fs::write(changed.at("workshop"), WORKSHOP)?;
        fs::set_permissions(changed.at("workshop"), fs::Permissions::from_mode(0o755))?;
        fs::write(
            changed.at("etc/fstab"),
            "UUID=6c697665-6d6f-4d6f-8d6f-776f726b7368 / ext4 defaults 0 0\n",
        )?;
        disk::make(&out.join("disk.img"), &changed.path(), 1600)
    })?;
    Ok(dir.join("disk.img"))
}

/// Its last disk holds what to do.
const WORKSHOP: &str = r#"#!/bin/bash
export PATH=/usr/sbin:/usr/bin:/sbin:/bin
mount -t proc proc /proc; mount -t sysfs sys /sys; mount -t devtmpfs dev /dev; mount -t tmpfs run /run
/lib/systemd/systemd-udevd --daemon
udevadm trigger --type=subsystems; udevadm trigger --type=devices; udevadm settle
by=/dev/disk/by-id/virtio
# put VOLUME DEVICE [notrunc]: only what is in use, and past the page cache, for the emulated processor copies slowly. With the
# third word zeros too, where a block that was never written is not of zeros.
put() {
    local from=$by-$1 first count
    while read -r first count; do
        dd if="$from" of="$2" bs=1M skip="$first" seek="$first" count="$count" iflag=direct oflag=direct \
            conv="${3:-sparse},notrunc" status=none
    done <<<"$(used "$from")"
}
# FIRST COUNT: the MiB of a volume in which a block is in use; all of a file system that dumpe2fs does not know.
used() {
    local all=$(($(blockdev --getsize64 "$1") >> 20))
    { dumpe2fs "$1" 2>/dev/null || :; } | awk -v all="$all" '
        /^Block size:/ { per = 1048576 / $3 }
        sub(/^  Free blocks: /, "") {
            runs = split($0, run, ", ")
            for (i = 1; i <= runs; i++) {
                last = split(run[i], end, "-")
                for (mib = int((end[1] + per - 1) / per); (mib + 1) * per - 1 <= end[last]; mib++) free[mib] = 1
            }
        }
        END {
            for (mib = 0; mib <= all; mib++) {
                if (mib < all && !free[mib]) { if (!count++) first = mib }
                else if (count) { print first, count; count = 0 }
            }
        }'
}
end() { sync; echo o >/proc/sysrq-trigger; sleep 60; }
trap 'echo "workshop: failed: $BASH_COMMAND"; end' ERR
set -eE
tr -d '\0' <$by-job >/run/job
source /run/job
# What a device was when it was new is not what it is now.
udevadm trigger --subsystem-match=block --action=change; udevadm settle
sync
echo
echo "workshop: begin"
lsblk --json --paths --output NAME,KNAME,TYPE,FSTYPE,UUID,LABEL,PARTUUID,PARTLABEL,TRAN "${disks[@]}"
echo "workshop: end"
if declare -F finish >/dev/null; then finish; fi
end
"#;

/// Makes the devices of a layout on its disks and puts the file systems there; what lsblk says then.
pub(super) fn workshop(layout: &Layout, dir: &Path) -> Result<String> {
    let root = dir.join("workshop.img");
    disk::copy(&workshop_disk()?, &root)?;
    let mut drives = vec![Drive {
        serial: "workshop".into(),
        ..Drive::new(&root)
    }];
    let mut add = |file: PathBuf, serial: String, sector: u32, bus: Bus| {
        // One path is enough to make a disk, but not to see how the layers lie.
        let bus = if bus == Bus::TwoPaths { bus } else { Bus::Virtio };
        drives.push(Drive {
            serial,
            sector,
            bus,
            ..Drive::new(file)
        });
    };
    for (number, mib) in layout.disks.iter().enumerate() {
        let file = dir.join(format!("disk{number}"));
        fs::File::create(&file)?.set_len(mib << 20)?;
        add(file, format!("disk{number}"), layout.sector, layout.bus);
    }
    for number in 0..layout.volumes.len() {
        let file = dir.join(format!("volume{number}"));
        if file.exists() {
            add(file, format!("volume{number}"), 512, Bus::Virtio);
        }
    }
    let disks: Vec<String> = (0..layout.disks.len()).map(|n| format!("$by-disk{n}")).collect();
    let job = dir.join("job");
    let text = format!("disks=({})\n{}\n", disks.join(" "), layout.make);
    fs::write(&job, &text)?;
    fs::File::options().write(true).open(&job)?.set_len(1 << 20)?;
    add(job, "job".into(), 512, Bus::Virtio);

    let source = testbed::source()?;
    let boot = Boot::Kernel {
        kernel: &testbed::source_kernel(&source)?,
        initramfs: &source.join("boot/initrd.img-source"),
        arguments: "root=/dev/vda rw console=ttyS0 mitigations=off panic=5 quiet init=/workshop",
    };
    let machine = Machine {
        nic: layout.nic,
        ..Machine::new(&drives, boot)
    };
    let console = machine.run()?;
    let said = console
        .split_once("workshop: begin")
        .and_then(|(_, rest)| rest.split_once("workshop: end"))
        .with_context(|| format!("{}: the workshop failed: {console}", layout.name))?
        .0;
    let json: String = said
        .lines()
        .map(|line| line.trim_end().to_owned() + "\n")
        .collect();
    ensure!(json.trim().starts_with('{'), "{}: {console}", layout.name);
    Ok(format!("{}\n", json.trim()))
}
