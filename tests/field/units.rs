//! What the live system's own generators make of its fstab and crypttab, and what is asked of that.
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use livemode_common::cmd::Cmd;
use livemode_common::fstab;
use livemode_tests::container::Changed;
use serde_json::Value;

use crate::strings;

/// The limit that the live system puts on the opening of a volume.
const LIMITED: &str = "/etc/systemd/system/systemd-cryptsetup@.service.d/livemode.conf";

/// The units: their files and drop-ins, and the links that pull them in.
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
            if !path.is_dir() {
                self.files.insert(name(&path), fs::read_to_string(&path).unwrap());
                continue;
            }
            for inside in fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()) {
                if name(&path).ends_with(".d") {
                    let drop_in = format!("{}/{}", name(&path), name(&inside));
                    self.files.insert(drop_in, fs::read_to_string(&inside).unwrap());
                } else {
                    self.wanted.insert((name(&path), name(&inside)));
                }
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

/// Asks of a plan: every unit that is named exists, every mount is pulled in, nothing waits for ever, all lies below
/// /run/upgrade and is no symbolic link of the source's, where its `root` is known.
pub fn judge(name: &str, container: &Changed, plan: &Value, root: Option<&Path>) {
    let text = |key: &str| -> String {
        let lines = strings(&plan[key]).into_iter();
        lines.map(|line| format!("{line}\n")).collect()
    };
    let (fstab, crypttab) = (text("mounts"), text("crypttab"));
    let units = Units::generate(container, &fstab, &crypttab);
    for key in ["Requires", "After", "BindsTo", "Before", "Wants"] {
        for (of, value) in units.values(key) {
            for unit in value.split_whitespace() {
                assert!(exists(unit, &units, container), "{name}: {of}: {key}={unit}");
            }
        }
    }
    let is_limited = strings(&plan["live_files"]).contains(&LIMITED);
    for key in [
        "TimeoutSec",
        "JobTimeoutSec",
        "JobRunningTimeoutSec",
        "TimeoutStartSec",
    ] {
        for (of, value) in units.values(key) {
            // systemd writes that for each encrypted volume; ours goes over it.
            let is_ours = is_limited && of.starts_with("systemd-cryptsetup@") && key == "TimeoutSec";
            assert!(
                is_ours || !["0", "infinity"].contains(&value),
                "{name}: {of}: {key}={value}"
            );
        }
    }
    for (of, place) in units.values("Where") {
        let place = place.replace("\\x20", " ");
        assert!(
            Path::new(&place).starts_with("/run/upgrade"),
            "{name}: {of}: Where={place}"
        );
    }
    for entry in fstab::parse(&fstab).unwrap() {
        for path in [&entry.fs_spec, &entry.fs_file] {
            let inside = Path::new(path).strip_prefix("/run/upgrade").ok().zip(root);
            let Some((inside, root)) = inside else { continue };
            for part in inside.ancestors() {
                assert!(
                    !root.join(part).is_symlink(),
                    "{name}: {path} is, or lies below, a link"
                );
            }
        }
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
    let volumes = crypttab.lines().filter_map(|line| line.split(' ').next());
    for volume in volumes {
        let unit = format!("systemd-cryptsetup@{}.service", volume.replace('-', "\\x2d"));
        assert!(
            units.files.contains_key(&unit),
            "{name}: no {unit}: {:?}",
            units.files.keys()
        );
    }
}
