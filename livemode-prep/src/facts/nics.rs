//! The source's network interfaces that are hardware: their names and permanent addresses, as sysfs has them.
use std::fs;
use std::path::Path;

use livemode_common::cmd::Cmd;
use livemode_common::sysroot::SysRoot;
use serde::{Deserialize, Serialize};

use super::tools::ASKING;

const CLASS: &str = "sys/class/net";
/// ARPHRD_ETHER of the kernel's if_arp.h.
const ETHERNET: &str = "1";
/// NET_ADDR_PERM of the kernel's netdevice.h: the address is the hardware's own.
const PERMANENT: &str = "0";

/// One interface with a device behind it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Nic {
    pub(crate) name: String,
    /// The hardware's own address, in lower case with colons; none where nothing tells it.
    pub(crate) address: Option<String>,
    /// The kernel's driver for it.
    pub(crate) driver: Option<String>,
}

/// Ethernet interfaces by their names; bonds, bridges, VLANs and other virtual ones are left out, for their own profiles
/// name them. A system that does not run has none.
pub(crate) fn look(root: &SysRoot) -> Vec<Nic> {
    let class = root.at(CLASS);
    let names = fs::read_dir(&class).into_iter().flatten().flatten();
    let mut nics: Vec<Nic> = names.filter_map(|entry| nic(&entry.path(), root)).collect();
    nics.sort_by(|a, b| a.name.cmp(&b.name));
    nics
}

fn nic(dir: &Path, root: &SysRoot) -> Option<Nic> {
    let read = |name: &str| {
        fs::read_to_string(dir.join(name))
            .ok()
            .map(|text| text.trim().to_owned())
    };
    let is_hardware = dir.join("device").exists();
    let has_own_kind =
        read("uevent").is_some_and(|text| text.lines().any(|line| line.starts_with("DEVTYPE=")));
    if !is_hardware || read("type").as_deref() != Some(ETHERNET) || has_own_kind {
        return None;
    }
    let name = dir.file_name()?.to_str()?.to_owned();
    let address = match read("bonding_slave/perm_hwaddr") {
        // A port of a bond has the bond's address.
        Some(address) => Some(address),
        None if read("addr_assign_type").is_none_or(|kind| kind == PERMANENT) => read("address"),
        None if root.path() == Path::new("/") => asked(&name),
        None => None,
    };
    let driver = fs::read_link(dir.join("device/driver")).ok();
    Some(Nic {
        address: address
            .map(|address| address.to_ascii_lowercase())
            .filter(|address| is_address(address)),
        driver: driver.and_then(|to| Some(to.file_name()?.to_str()?.to_owned())),
        name,
    })
}

/// ethtool(8) asks the driver where sysfs tells only the address in use.
fn asked(name: &str) -> Option<String> {
    let said = Cmd::new("ethtool").args(["-P", name]).limit(ASKING).read().ok()?;
    Some(said.trim().rsplit(' ').next()?.to_owned())
}

fn is_address(text: &str) -> bool {
    let parts: Vec<&str> = text.split(':').collect();
    parts.len() == 6
        && parts
            .iter()
            .all(|part| part.len() == 2 && u8::from_str_radix(part, 16).is_ok())
        && text != "00:00:00:00:00:00"
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn put(root: &Path, name: &str, files: &[(&str, &str)]) {
        let dir = root.join(CLASS).join(name);
        for (file, text) in files {
            let path = dir.join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, format!("{text}\n")).unwrap();
        }
    }

    #[test]
    fn only_hardware_counts_by_its_permanent_address() {
        let root = tempfile::tempdir().unwrap();
        let r = root.path();
        put(
            r,
            "lan0",
            &[
                ("type", "1"),
                ("address", "52:54:00:AB:00:10"),
                ("addr_assign_type", "0"),
                ("device/x", ""),
            ],
        );
        symlink(
            "../../../../bus/virtio/drivers/virtio_net",
            r.join(CLASS).join("lan0/device/driver"),
        )
        .unwrap();
        put(
            r,
            "port1",
            &[
                ("type", "1"),
                ("address", "52:54:00:00:00:10"),
                ("addr_assign_type", "3"),
                ("bonding_slave/perm_hwaddr", "52:54:00:00:00:11"),
                ("device/x", ""),
            ],
        );
        put(
            r,
            "cloned",
            &[
                ("type", "1"),
                ("address", "52:54:00:00:00:12"),
                ("addr_assign_type", "3"),
                ("device/x", ""),
            ],
        );
        put(r, "lo", &[("type", "772"), ("address", "00:00:00:00:00:00")]);
        put(
            r,
            "bond0",
            &[
                ("type", "1"),
                ("address", "52:54:00:00:00:10"),
                ("addr_assign_type", "3"),
            ],
        );
        put(
            r,
            "wlan0",
            &[
                ("type", "1"),
                ("address", "52:54:00:00:00:13"),
                ("uevent", "DEVTYPE=wlan"),
                ("device/x", ""),
            ],
        );
        put(
            r,
            "ib0",
            &[("type", "32"), ("address", "80:00:00:00"), ("device/x", "")],
        );
        let nic = |name: &str, address: Option<&str>, driver: Option<&str>| Nic {
            name: name.into(),
            address: address.map(str::to_owned),
            driver: driver.map(str::to_owned),
        };
        assert_eq!(
            look(&SysRoot::new(r)),
            [
                nic("cloned", None, None),
                nic("lan0", Some("52:54:00:ab:00:10"), Some("virtio_net")),
                nic("port1", Some("52:54:00:00:00:11"), None),
            ]
        );
    }
}
