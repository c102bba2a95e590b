//! A machine with leapp, whose phases are run one by one.
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use livemode_common::cmd::Cmd;
use livemode_common::cmdline::Cmdline;
use livemode_tests::binaries::{binary, install, workspace};
use livemode_tests::container::{Changed, Programs};
use livemode_tests::golden;
use livemode_tests::source::SourceDisk;
use livemode_tests::testbed::{self, Suite};
use serde_json::{json, Value};

const ACTORS: &str = "usr/share/livemode/leapp";
/// Names the directory that tests/real/setup.sh has made of leapp.
const REAL: &str = "LIVEMODE_LEAPP";

/// A machine with leapp: the source system, the container, and what packages have installed.
pub(crate) struct Leapp {
    pub(crate) source: SourceDisk,
    pub(crate) container: Changed,
    pub(crate) installed: tempfile::TempDir,
    /// `livemode-prep` here works on the source system and writes down how it was called.
    programs: Programs,
    calls: PathBuf,
}

/// What a phase has led to.
pub(crate) struct Phase {
    pub(crate) stopped: bool,
    /// Of each actor, its messages.
    pub(crate) said: Value,
    pub(crate) stderr: String,
}

impl Leapp {
    pub(crate) fn new(config: &str) -> Self {
        let source = SourceDisk::with_grubby().unwrap();
        let container = Changed::of(&testbed::container(Suite::Bookworm).unwrap()).unwrap();
        let installed = tempfile::tempdir().unwrap();
        install(installed.path());
        let calls = installed.path().join("calls");
        let script = format!(
            "echo \"$*\" >>{}; exec {} --root {} \"$@\"",
            calls.display(),
            binary("livemode-prep").display(),
            source.root().display()
        );
        let programs = Programs::with("livemode-prep", &script).unwrap();
        fs::create_dir_all(source.at("etc/leapp/actor_conf.d")).unwrap();
        fs::write(source.at("etc/leapp/actor_conf.d/livemode.yaml"), config).unwrap();
        let leapp = Self {
            source,
            container,
            installed,
            programs,
            calls,
        };
        let mut messages = recorded(&leapp.source, &leapp.container.path());
        messages.extend([
            json!(["UpgradeInitramfsTasks", {"include_kernel_modules": [{"name": "raid1"}, {"name": "not_in_this_kernel"}],
                                             "include_files": ["/etc/hostname"]}]),
            json!(["UpgradeKernelCmdlineArgTasks", {"to_add": [{"key": "net.ifnames", "value": "0"}]}]),
        ]);
        fs::write(leapp.messages(), Value::from(messages).to_string()).unwrap();
        leapp
    }

    pub(crate) fn messages(&self) -> PathBuf {
        self.installed.path().join("messages.json")
    }

    /// One phase, with these words added to the environment.
    pub(crate) fn phase(&self, options: &[&str], phase: &str, environment: &[(&str, &str)]) -> Phase {
        let testbed = workspace().join("tests/testbed/leapp");
        let [python, runner] = match std::env::var_os(REAL) {
            Some(real) => [
                PathBuf::from(real).join("venv/bin/python"),
                workspace().join("tests/real/phase.py"),
            ],
            None => ["python3".into(), testbed.join("workflow.py")],
        };
        let mut call = Cmd::new(python)
            .arg(runner)
            .args(options)
            .arg(self.messages())
            .arg(phase)
            .arg(self.installed.path().join(ACTORS))
            .arg(testbed.join("repository"))
            .env("SOURCE", self.source.root())
            .env("INSTALLED", self.installed.path())
            .env(
                "PATH",
                format!("{}:/usr/sbin:/usr/bin:/sbin:/bin", self.programs.path().display()),
            );
        for (key, value) in environment {
            call = call.env(key, value);
        }
        let output = call
            .spawn(|command| {
                command
                    .stdin(Stdio::null())
                    .stdout(Stdio::piped())
                    .stderr(Stdio::piped());
            })
            .unwrap()
            .wait_with_output()
            .unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        let said = serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {stderr}"));
        Phase {
            stopped: !output.status.success(),
            said,
            stderr,
        }
    }

    pub(crate) fn livemode(&self, phase: &str) -> Phase {
        self.phase(&["--livemode"], phase, &[("LEAPP_UNSUPPORTED", "1")])
    }

    /// Whether the initramfs in /boot is the very file that leapp's generator has put there.
    pub(crate) fn has_leapps_initramfs(&self) -> bool {
        let inode = |path: &str| fs::metadata(self.source.at(path)).unwrap().ino();
        inode("boot/initramfs-upgrade.x86_64.img") == inode("run/initramfs-of-leapp")
    }

    /// Adds a message of another actor's.
    pub(crate) fn add(&self, model: &str, fields: &Value) {
        let mut messages: Value =
            serde_json::from_str(&fs::read_to_string(self.messages()).unwrap()).unwrap();
        messages.as_array_mut().unwrap().push(json!([model, fields]));
        fs::write(self.messages(), messages.to_string()).unwrap();
    }

    pub(crate) fn calls(&self) -> String {
        fs::read_to_string(&self.calls).unwrap_or_default()
    }

    /// What was said, less what is not the same twice.
    pub(crate) fn shown(&self, phase: &Phase) -> String {
        let text = serde_json::to_string_pretty(&steady(phase.said.clone())).unwrap();
        let text = text.replace(&self.container.path().display().to_string(), "CONTAINER");
        text.replace(&self.source.root().display().to_string(), "ROOT") + "\n"
    }

    pub(crate) fn assert_golden(&self, name: &str, phase: &Phase) {
        let file = workspace().join(format!("tests/fixtures/leapp/{name}.json"));
        let difference = golden::compare(&file, &self.shown(phase)).unwrap();
        assert_eq!(difference, None, "{}", phase.stderr);
    }
}

/// What leapp's own actors say of this system: recorded of a run on RHEL, with this one's values.
pub(crate) fn recorded(source: &SourceDisk, userspace: &Path) -> Vec<Value> {
    let fstab = source.read("etc/fstab");
    let entries: Vec<Value> = fstab
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>())
        .filter(|fields| fields.len() == 6 && !fields[0].starts_with('#'))
        .map(|f| {
            json!({"fs_spec": f[0], "fs_file": f[1], "fs_vfstype": f[2], "fs_mntops": f[3], "fs_freq": f[4],
                   "fs_passno": f[5]})
        })
        .collect();
    let arguments = testbed_arguments();
    let parameters: Vec<Value> = Cmdline::parse(&arguments)
        .0
        .into_iter()
        .map(|word| json!({"key": word.key, "value": word.value}))
        .collect();
    vec![
        json!(["StorageInfo", {"fstab": entries}]),
        json!(["KernelCmdline", {"parameters": parameters}]),
        json!(["TargetUserSpaceInfo", {"path": userspace, "scratch": "", "mounts": ""}]),
    ]
}

fn testbed_arguments() -> String {
    let path = workspace().join("tests/testbed/source/etc/kernel/cmdline");
    fs::read_to_string(path).unwrap().trim().to_owned()
}

/// Sizes, digests and free space are of this run alone.
fn steady(value: Value) -> Value {
    match value {
        Value::Array(items) => items.into_iter().map(steady).collect(),
        Value::Object(mut fields) => {
            if let Some("livemode.digest" | "livemode.size" | "livemode.build") =
                fields.get("key").and_then(Value::as_str)
            {
                fields.insert("value".into(), "OF THE IMAGE".into());
            }
            fields
                .into_iter()
                .map(|(key, value)| (key, steady(value)))
                .collect()
        }
        Value::String(text) => {
            let lines: Vec<String> = text
                .split('\n')
                .map(|line| {
                    match line
                        .strip_suffix(" MiB free")
                        .and_then(|line| line.rsplit_once(' '))
                    {
                        Some((rest, _)) => format!("{rest} SOME MiB free"),
                        None => line.to_owned(),
                    }
                })
                .collect();
            lines.join("\n").into()
        }
        other => other,
    }
}
