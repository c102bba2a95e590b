//! Which machines can upgrade all or nothing, and why others cannot.
use livemode_common::store::{Extent, Map};
use serde_json::{json, Value};

use super::{facts, set};
use crate::plan::atomic::Atomic;
use crate::plan::refusals;

const MIB: u64 = 1 << 20;

/// The machine of the fixture, with 8 GiB for its root and a /boot of 300 MiB.
fn able(facts: &mut Value) {
    let volume = |device: u64, mib: u64, used: u64, incoming: u64| {
        json!({
            "fstype": "xfs", "bytes": mib * MIB, "used_bytes": used * MIB, "incoming_bytes": incoming * MIB,
            "place": {"path": "/", "existing": "/", "device_number": device, "free_bytes": (mib - used) * MIB, "read_only": false}
        })
    };
    facts["volumes"] = json!({
        "mounted": {"/": volume(1, 8192, 2000, 1500), "/boot": volume(2, 300, 160, 0)},
        "downloaded": 0,
        "boot_code": [{"beside": "/dev/disk/by-partuuid/1", "at": 512, "bytes": MIB - 512}]
    });
    facts["userspace"]["tools"]
        .as_array_mut()
        .unwrap()
        .push(json!("dmsetup"));
}

fn planned(is_entry_ours: bool, change: impl FnOnce(&mut Value)) -> Result<Atomic, Vec<String>> {
    let facts = facts(|facts| {
        able(facts);
        change(facts);
    });
    let storage = refusals::storage(&facts, &|_| true, false);
    let kernel = facts.userspace.as_ref().and_then(|userspace| userspace.kernel());
    Atomic::plan(&facts, &storage, is_entry_ours, kernel)
}

#[test]
fn a_machine_with_a_boot_of_its_own_can() {
    let atomic = planned(true, |_| ()).unwrap();
    // 2 MiB; 160, a sixteenth of it, 4 and the boot code for the copy; 1500, 144 and a sixteenth of both for the layer; 4.
    assert_eq!(atomic.bytes / MIB, 2 + 175 + 1747 + 4);
    assert_eq!(atomic.lies_on(), "UUID=11111111-0000-4000-8000-000000000001");
    assert_eq!(atomic.device("/").as_deref(), Some("/dev/mapper/livemode-root"));
    assert_eq!(atomic.device("/boot"), None);
    assert_eq!(
        atomic.describe(),
        "yes: what is written to / is kept in a store of 1928 MiB below / until it is whole"
    );
}

#[test]
fn why_a_machine_cannot_is_said() {
    for (is_entry_ours, path, value, why) in [
        (
            true,
            "config.atomic",
            json!("off"),
            "the configuration says atomic: off",
        ),
        (false, "schema", json!(1), "the boot entry is not ours"),
        (
            true,
            "userspace",
            json!(null),
            "not known before there is a container",
        ),
        (true, "userspace.tools", json!(["rpm"]), "no dmsetup"),
        (
            true,
            "userspace.kernels.0.modules",
            json!(["dm_mod"]),
            "the target's kernel has no dm-snapshot",
        ),
        (true, "volumes.mounted./.fstype", json!("btrfs"), "/ is a btrfs"),
        (
            true,
            "volumes.mounted./.fstype",
            json!("ext3"),
            "it must be an ext4 or xfs",
        ),
    ] {
        let whys = planned(is_entry_ours, |facts| {
            if let Some(name) = path.strip_prefix("volumes.mounted./.") {
                facts["volumes"]["mounted"]["/"][name] = value;
            } else if path == "config.atomic" {
                facts["config"]["atomic"] = value;
            } else {
                set(facts, path, value);
            }
        })
        .unwrap_err();
        assert!(whys.iter().any(|said| said.contains(why)), "{why}: {whys:?}");
    }
}

#[test]
fn grub_must_not_read_half_of_an_upgrade() {
    let whys = planned(true, |facts| {
        facts["source"]["fstab"]["Ok"].as_array_mut().unwrap().remove(1);
        facts["source"]["mounts"].as_array_mut().unwrap().remove(1);
    });
    assert_eq!(
        whys.unwrap_err(),
        ["/boot is no file system of its own: the boot loader would read half of an upgrade"]
    );
}

#[test]
fn a_mount_that_is_not_there_now_is_named() {
    let whys = planned(true, |facts| {
        facts["volumes"]["mounted"].as_object_mut().unwrap().remove("/");
    });
    assert_eq!(
        whys.unwrap_err(),
        ["/ is not mounted now: mount it, or take its line out of /etc/fstab"]
    );
}

#[test]
fn every_part_has_its_place_in_the_store_or_it_is_too_small() {
    let atomic = planned(true, |_| ()).unwrap();
    let map = |bytes: u64| {
        let extent = Extent {
            logical: 0,
            physical: 1 << 30,
            bytes,
            flags: 0,
        };
        Map::new(&[extent], bytes).unwrap()
    };
    let file = "/var/lib/leapp/livemode/store";
    let header = atomic.header("b1", file, map(atomic.bytes), None).unwrap();
    assert_eq!(
        header.file,
        std::path::Path::new("var/lib/leapp/livemode/store"),
        "on its file system"
    );
    assert_eq!(header.copy.at, 2 * MIB);
    assert_eq!(header.layers[0].changes.at, header.copy.at + header.copy.bytes);
    let end = header.layers[0].changes.at + header.layers[0].changes.bytes;
    assert!(end <= header.map.bytes(), "{end} {}", header.map.bytes());
    assert_eq!(header.layers[0].bytes, 8192 * MIB);
    let fault = atomic.header("b1", file, map(1000 * MIB), None).unwrap_err();
    assert!(fault.starts_with("the store came out too small: "), "{fault}");
}

#[test]
fn what_comes_by_the_network_is_known_apart() {
    let facts = facts(|facts| {
        able(facts);
        let mut home = facts["source"]["fstab"]["Ok"][1].clone();
        home["fs_spec"] = json!("server:/home");
        home["fs_file"] = json!("/home");
        home["fs_vfstype"] = json!("nfs");
        facts["source"]["fstab"]["Ok"].as_array_mut().unwrap().push(home);
    });
    let storage = refusals::storage(&facts, &|_| true, false);
    assert_eq!(storage.remote().collect::<Vec<_>>(), ["/home"]);
    let kernel = facts.userspace.as_ref().and_then(|userspace| userspace.kernel());
    let atomic = Atomic::plan(&facts, &storage, true, kernel).unwrap();
    assert_eq!(atomic.device("/home"), None);
}
