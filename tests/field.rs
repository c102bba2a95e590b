//! Source systems as the field has them, each a kind that was planned wrongly once: their plans whole, and what the live
//! system's own generators make of them.
#![allow(clippy::unwrap_used)]
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use livemode_common::cmd::Cmd;
use livemode_tests::binaries::{binary, workspace};
use livemode_tests::container::Changed;
use livemode_tests::described::{devices, Described};
use livemode_tests::testbed::{self, Suite};
use serde_json::{json, Value};

#[path = "field/kinds.rs"]
mod kinds;
#[path = "field/started.rs"]
mod started;
#[path = "field/units.rs"]
mod units;

use units::judge;

/// What every mount of the live system has, and the fixtures leave out.
const USERS: &str = ",x-systemd.before=livemode-journal.service,x-systemd.before=livemode-upgrade.service";

fn read(path: &Path) -> Value {
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

/// The fixtures by their names: the facts of each that differ from those of a plain machine, and what is expected.
fn cases() -> BTreeMap<String, Value> {
    let dir = workspace().join("tests/fixtures/field");
    let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    entries
        .map(|path| {
            (
                path.file_stem().unwrap().to_str().unwrap().to_owned(),
                read(&path),
            )
        })
        .collect()
}

fn plan(case: &Value) -> Value {
    let mut facts = read(&workspace().join("livemode-prep/fixtures/facts.json"));
    for (key, value) in case["source"].as_object().unwrap() {
        facts["source"][key] = value.clone();
    }
    facts["storage"] = case["storage"].clone();
    for (path, file) in case["files"]["found"].as_object().unwrap() {
        facts["files"]["found"][path] = file.clone();
    }
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), facts.to_string()).unwrap();
    let call = Cmd::new(binary("livemode-prep")).args(["plan", "--json", "--facts"]);
    let (_, stdout, stderr) = call.arg(file.path()).output().unwrap();
    serde_json::from_str(&stdout).unwrap_or_else(|error| panic!("{error}: {stdout}{stderr}"))
}

fn strings(value: &Value) -> Vec<&str> {
    value
        .as_array()
        .unwrap()
        .iter()
        .map(|text| text.as_str().unwrap())
        .collect()
}

#[test]
fn each_kind_is_planned_right() {
    let cases = cases();
    assert!(cases.len() >= 14, "{:?}", cases.keys());
    for (name, case) in cases {
        let plan = plan(&case);
        let mounts: Vec<String> = strings(&plan["mounts"])
            .iter()
            .map(|line| line.replace(USERS, ""))
            .collect();
        let expected = &case["expected"];
        let files = strings(&plan["live_files"]);
        let carried: Vec<&str> = strings(&expected["carried"])
            .into_iter()
            .filter(|path| files.contains(path))
            .collect();
        let found = json!({"refusals": plan["refusals"], "warnings": plan["warnings"], "mounts": mounts, "carried": carried});
        assert_eq!(found, *expected, "{name}: {}", case["kind"]);
    }
}

#[test]
fn more_of_each_kind_is_planned_right() {
    for kind in kinds::all() {
        let plan = kind.machine().plan().unwrap();
        let mounts: Vec<String> = strings(&plan["mounts"])
            .iter()
            .map(|line| line.replace(USERS, ""))
            .collect();
        let name = kind.name;
        assert_eq!(mounts, [&kinds::PLAIN, kind.mounts].concat(), "{name}");
        assert_eq!(strings(&plan["crypttab"]), kind.live_crypttab, "{name}");
        assert_eq!(
            strings(&plan["initramfs_crypttab"]),
            kind.early_crypttab,
            "{name}"
        );
        for (key, expected) in [("refusals", kind.refusals), ("warnings", kind.warnings)] {
            let found = strings(&plan[key]);
            let fits = found.len() == expected.len()
                && expected
                    .iter()
                    .all(|start| found.iter().any(|text| text.starts_with(start)));
            assert!(fits, "{name}: {key}: {found:#?}");
        }
    }
}

/// A source system on one of the layouts that tests/storage.rs boots, by what lsblk says there: each file system is mounted.
fn on_layout(lsblk: &Value) -> Described {
    let places = [("01", "/"), ("02", "/var"), ("03", "/usr")];
    let (mut fstab, mut mounted) = (String::new(), String::new());
    let mut seen = BTreeSet::new();
    for device in devices(lsblk) {
        let field = |key: &str| device[key].as_str().unwrap_or_default();
        let (kind, uuid) = (field("fstype"), field("uuid"));
        let is_below = !device["children"].is_null();
        if uuid.is_empty()
            || kind.ends_with("_member")
            || kind == "crypto_LUKS"
            || is_below
            || !seen.insert(uuid)
        {
            continue;
        }
        let place = places
            .iter()
            .find(|(end, _)| uuid.ends_with(&format!("0000000000{end}")));
        let place = place.map_or_else(|| format!("/srv/{uuid}"), |(_, place)| (*place).to_owned());
        fstab += &format!("UUID={uuid} {place} {kind} defaults 0 0\n");
        mounted += &format!("{place} {} {kind}\n", field("name"));
    }
    if !fstab.contains(" / ") {
        fstab += "UUID=gone / ext4 nofail 0 0\n";
        mounted += "/ /dev/gone ext4\n";
    }
    let machine = Described::new(fstab.as_bytes(), lsblk, &mounted).unwrap();
    machine
        .put(
            "etc/crypttab",
            b"var UUID=6c697665-6d6f-4d6f-8d6f-00000000000a /etc/keys/var.key luks\n",
        )
        .unwrap();
    machine.put("etc/keys/var.key", b"key").unwrap();
    machine
}

fn generators_understand(suite: Suite) {
    let container = Changed::of(&testbed::container(suite).unwrap()).unwrap();
    for (name, case) in cases() {
        judge(&name, &container, &plan(&case), None);
    }
    for kind in kinds::all() {
        let machine = kind.machine();
        judge(
            kind.name,
            &container,
            &machine.plan().unwrap(),
            Some(&machine.root()),
        );
    }
    let layouts = fs::read_dir(workspace().join("tests/fixtures/storage")).unwrap();
    let mut judged = BTreeSet::new();
    for path in layouts.map(|entry| entry.unwrap().path()) {
        let machine = on_layout(&read(&path));
        let plan = machine.plan().unwrap();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        assert_eq!(strings(&plan["refusals"]), [""; 0], "{name}");
        assert!(!strings(&plan["mounts"]).is_empty(), "{name}");
        judge(&name, &container, &plan, Some(&machine.root()));
        judged.insert(name);
    }
    assert!(judged.len() >= 20 && judged.contains("luks"), "{judged:?}");
}

#[test]
fn root_the_generators_of_debian_12_understand_each_kind_and_layout() {
    generators_understand(Suite::Bookworm);
}

#[test]
fn root_the_generators_of_debian_13_understand_each_kind_and_layout() {
    generators_understand(Suite::Trixie);
}

/// What `check` says, by hand or for leapp's actors.
fn checked(call: Cmd) -> Value {
    let (status, stdout, stderr) = call.args(["check", "--json"]).output().unwrap();
    assert!([Some(0), Some(4)].contains(&status.code()), "{stderr}");
    let said: Value = serde_json::from_str(&stdout).unwrap();
    // The errors are the refusals.
    let refusals = strings(&said["refusals"]);
    assert_eq!(stderr.lines().count(), refusals.len(), "{stderr}");
    json!([said["refusals"], said["warnings"]])
}

/// leapp's message of an fstab: the fields as they are written.
fn as_leapp_has_it(machine: &Described) -> Value {
    let text = fs::read_to_string(machine.root().join("etc/fstab")).unwrap();
    let lines = text
        .split_terminator('\n')
        .map(|line| line.split([' ', '\t']).collect::<Vec<_>>());
    let entry = |f: Vec<&str>| {
        let field = |n: usize| f.get(n).copied().unwrap_or("0");
        json!({"fs_spec": f[0], "fs_file": f[1], "fs_vfstype": f[2], "fs_mntops": f[3], "fs_freq": field(4), "fs_passno": field(5)})
    };
    let entries: Vec<Value> = lines.map(entry).collect();
    json!({"StorageInfo": {"fstab": entries}})
}

#[test]
fn check_plan_build_and_leapp_have_the_same_to_say_of_each_kind() {
    // What is said of the container and the loader is the same of all.
    let mut of_container: Option<Vec<String>> = None;
    for kind in kinds::all() {
        let (name, machine) = (kind.name, kind.machine());
        let container = machine.empty_container();
        let by_hand = checked(machine.prep());
        let messages = machine.root().join("messages.json");
        fs::write(&messages, as_leapp_has_it(&machine).to_string()).unwrap();
        let for_leapp = checked(machine.prep().arg("--leapp-facts").arg(messages));
        assert_eq!(by_hand, for_leapp, "{name}");

        let call = |command: &str| {
            let call = machine
                .prep()
                .args([command, "--json", "--userspace"])
                .arg(&container);
            call.env("LEAPP_UNSUPPORTED", "1").output().unwrap()
        };
        let (_, planned, _) = call("plan");
        let planned: Value = serde_json::from_str(&planned).unwrap();
        assert_eq!(planned["warnings"], by_hand[1], "{name}");
        let (refused, more): (Vec<&str>, Vec<&str>) = strings(&planned["refusals"])
            .into_iter()
            .partition(|why| strings(&by_hand[0]).contains(why));
        assert_eq!(refused, strings(&by_hand[0]), "{name}");
        let place = container.display().to_string();
        let more: Vec<String> = more
            .into_iter()
            .map(|why| why.replace(&place, "CONTAINER"))
            .collect();
        assert_eq!(*of_container.get_or_insert(more.clone()), more, "{name}");

        let (status, _, stderr) = call("build");
        assert_eq!(status.code(), Some(4), "{name}: {stderr}");
        let told: Vec<&str> = stderr
            .lines()
            .map(|line| line.trim_start_matches("livemode-prep: "))
            .collect();
        assert_eq!(told, strings(&planned["refusals"]), "{name}");
    }
    assert!(of_container.is_some_and(|more| !more.is_empty()));
}
