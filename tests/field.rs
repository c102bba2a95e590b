//! Source systems as the field has them, each a kind that was planned wrongly once: their plans whole, and what the live
//! system's own generators make of them.
#![allow(clippy::unwrap_used)]
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use livemode_common::cmd::Cmd;
use livemode_common::fstab;
use livemode_tests::binaries::{binary, workspace};
use livemode_tests::container::Changed;
use livemode_tests::testbed::{self, Suite};
use serde_json::{json, Value};

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

/// The units that the container's generators make of an fstab and a crypttab: their files, and the links that pull them in.
struct Units {
    files: BTreeMap<String, String>,
    wanted: BTreeSet<(String, String)>,
}

impl Units {
    fn generate(container: &Changed, fstab: &str, crypttab: &str) -> Self {
        fs::write(container.at("etc/fstab"), fstab).unwrap();
        fs::write(container.at("etc/crypttab"), crypttab).unwrap();
        // The generators read the kernel's line.
        fs::write(container.at("proc/cmdline"), "root=livemode:UUID=a rw\n").unwrap();
        let out = container.at("generated");
        let _ = fs::remove_dir_all(&out);
        for part in ["normal", "early", "late"] {
            fs::create_dir_all(out.join(part)).unwrap();
        }
        for generator in ["systemd-fstab-generator", "systemd-cryptsetup-generator"] {
            let program = format!("/usr/lib/systemd/system-generators/{generator}");
            let call = Cmd::new("chroot").arg(container.path()).arg(program);
            call.args(["/generated/normal", "/generated/early", "/generated/late"])
                .run()
                .unwrap();
        }
        let mut units = Self {
            files: BTreeMap::new(),
            wanted: BTreeSet::new(),
        };
        units.add(&out.join("normal"));
        units
    }

    fn add(&mut self, dir: &Path) {
        let name = |path: &Path| path.file_name().unwrap().to_str().unwrap().to_owned();
        for path in fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                let entries = fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path());
                let wanted = entries.map(|link| (name(&path), name(&link)));
                self.wanted.extend(wanted.collect::<Vec<_>>());
            } else {
                self.files.insert(name(&path), fs::read_to_string(&path).unwrap());
            }
        }
    }

    fn values<'a>(&'a self, key: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.files.iter().flat_map(move |(name, text)| {
            let lines = text.lines().filter_map(|line| line.split_once('='));
            lines
                .filter(move |(found, _)| *found == key)
                .map(move |(_, value)| (name.as_str(), value))
        })
    }
}

/// Whether a unit is there: generated, of a package or ours, or of the kernel's devices.
fn exists(unit: &str, units: &Units, container: &Changed) -> bool {
    let (of, kind) = unit.rsplit_once('.').unwrap();
    let template = of.split_once('@').map(|(name, _)| format!("{name}@.{kind}"));
    let is_file = |name: &str| container.at("usr/lib/systemd/system").join(name).exists();
    kind == "device"
        || units.files.contains_key(unit)
        || unit == "-.mount"
        || unit.starts_with("livemode-")
        || is_file(unit)
        || template.is_some_and(|template| is_file(&template))
}

fn escaped(path: &str, container: &Changed) -> String {
    let call = Cmd::new("chroot").arg(container.path()).arg("systemd-escape");
    let name = call.args(["--path", "--suffix=mount", path]).read();
    name.unwrap().trim().to_owned()
}

fn judge(name: &str, container: &Changed, mounts: &[&str], crypttab: &str) {
    let text: String = mounts.iter().map(|line| format!("{line}\n")).collect();
    let units = Units::generate(container, &text, crypttab);
    for key in ["Requires", "After", "BindsTo", "Before", "Wants"] {
        for (of, value) in units.values(key) {
            for unit in value.split_whitespace() {
                assert!(exists(unit, &units, container), "{name}: {of}: {key}={unit}");
            }
        }
    }
    for key in [
        "TimeoutSec",
        "JobTimeoutSec",
        "JobRunningTimeoutSec",
        "TimeoutStartSec",
    ] {
        for (of, value) in units.values(key) {
            // systemd writes that for each encrypted volume; ours are headless, so that nobody is asked.
            let is_volume = of.starts_with("systemd-cryptsetup@");
            assert!(
                is_volume || !["0", "infinity"].contains(&value),
                "{name}: {of}: {key}={value}"
            );
        }
    }
    for (of, place) in units.values("Where") {
        assert!(
            Path::new(place).starts_with("/run/upgrade"),
            "{name}: {of}: Where={place}"
        );
    }
    for entry in fstab::parse(&text).unwrap() {
        if entry.fs_vfstype == "swap" {
            continue;
        }
        let unit = escaped(&entry.fs_file, container);
        assert!(
            units.files.contains_key(&unit),
            "{name}: no {unit}: {:?}",
            units.files.keys()
        );
        let pulled = ["local-fs.target", "remote-fs.target"].iter().any(|target| {
            [format!("{target}.wants"), format!("{target}.requires")]
                .iter()
                .any(|dir| units.wanted.contains(&(dir.clone(), unit.clone())))
        });
        assert!(pulled, "{name}: nothing pulls {unit} in");
    }
}

#[test]
fn root_the_live_systems_generators_understand_each_kind() {
    let container = Changed::of(&testbed::container(Suite::Bookworm).unwrap()).unwrap();
    let mut judged: Vec<PathBuf> = Vec::new();
    for (name, case) in cases() {
        let plan = plan(&case);
        let volumes = case["storage"]["crypttab"].as_array().unwrap().iter();
        let has_crypttab = strings(&plan["live_files"]).contains(&"/etc/crypttab");
        let crypttab: String = volumes
            .filter(|_| has_crypttab)
            .map(|volume| {
                let field = |key: &str| volume[key].as_str().unwrap().to_owned();
                format!(
                    "{} {} {} {}\n",
                    field("name"),
                    field("device"),
                    field("key"),
                    field("options")
                )
            })
            .collect();
        judge(&name, &container, &strings(&plan["mounts"]), &crypttab);
        judged.push(name.into());
    }
    assert!(judged.len() >= 14, "{judged:?}");
}
