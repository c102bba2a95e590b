//! Inside leapp: our actors run by a stand-in of its framework (tests/testbed/leapp), with the real `livemode-prep` and
//! the messages of a real run. What they produce is golden: tests/fixtures/leapp. With `LIVEMODE_LEAPP`, as `make leapp` sets
//! it, the real framework runs them, and the same must come of it.
#![allow(clippy::unwrap_used)]
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::process::Stdio;

use livemode_common::cmd::Cmd;
use livemode_common::cmdline::Cmdline;
use livemode_common::contract::STATE;
use livemode_common::records::BootEntry;
use livemode_tests::binaries::{binary, install, workspace};
use livemode_tests::container::{Changed, Programs};
use livemode_tests::disk::Mounted;
use livemode_tests::golden;
use livemode_tests::source::{differences, listing, sorted_words, SourceDisk, ENTRY, LEAPPS_ENTRY};
use livemode_tests::testbed::{self, Suite, DISK_MIB};
use livemode_tests::vm::{Boot, Drive, Machine};
use serde_json::{json, Value};

const OURS: &str = "abcdef0123456789abcdef0123456789-livemode";
const LEAPPS: &str = "abcdef0123456789abcdef0123456789-upgrade.x86_64";
const ACTORS: &str = "usr/share/livemode/leapp";
const NOTHING: [String; 0] = [];
/// Names the directory that tests/real/setup.sh has made of leapp.
const REAL: &str = "LIVEMODE_LEAPP";

/// A machine with leapp: the source system, the container, and what packages have installed.
struct Leapp {
    source: SourceDisk,
    container: Changed,
    installed: tempfile::TempDir,
    /// `livemode-prep` here works on the source system and writes down how it was called.
    programs: Programs,
    calls: PathBuf,
}

/// What a phase has led to.
struct Phase {
    stopped: bool,
    /// Of each actor, its messages.
    said: Value,
    stderr: String,
}

impl Leapp {
    fn new(config: &str) -> Self {
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
        let fstab = leapp.source.read("etc/fstab");
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
        let userspace = leapp.container.path();
        let messages = json!([
            ["StorageInfo", {"fstab": entries}],
            ["KernelCmdline", {"parameters": parameters}],
            ["TargetUserSpaceInfo", {"path": userspace, "scratch": "", "mounts": ""}],
            ["UpgradeInitramfsTasks", {"include_kernel_modules": [{"name": "raid1"}, {"name": "not_in_this_kernel"}],
                                       "include_files": ["/etc/hostname"]}],
            ["UpgradeKernelCmdlineArgTasks", {"to_add": [{"key": "net.ifnames", "value": "0"}]}],
        ]);
        fs::write(leapp.messages(), messages.to_string()).unwrap();
        leapp
    }

    fn messages(&self) -> PathBuf {
        self.installed.path().join("messages.json")
    }

    /// One phase, with these words added to the environment.
    fn phase(&self, options: &[&str], phase: &str, environment: &[(&str, &str)]) -> Phase {
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

    fn livemode(&self, phase: &str) -> Phase {
        self.phase(&["--livemode"], phase, &[("LEAPP_UNSUPPORTED", "1")])
    }

    /// Whether the initramfs in /boot is the very file that leapp's generator has put there.
    fn has_leapps_initramfs(&self) -> bool {
        let inode = |path: &str| fs::metadata(self.source.at(path)).unwrap().ino();
        inode("boot/initramfs-upgrade.x86_64.img") == inode("run/initramfs-of-leapp")
    }

    /// Adds a message of another actor's.
    fn add(&self, model: &str, fields: &Value) {
        let mut messages: Value =
            serde_json::from_str(&fs::read_to_string(self.messages()).unwrap()).unwrap();
        messages.as_array_mut().unwrap().push(json!([model, fields]));
        fs::write(self.messages(), messages.to_string()).unwrap();
    }

    fn calls(&self) -> String {
        fs::read_to_string(&self.calls).unwrap_or_default()
    }

    /// What was said, less what is not the same twice.
    fn shown(&self, phase: &Phase) -> String {
        let text = serde_json::to_string_pretty(&steady(phase.said.clone())).unwrap();
        let text = text.replace(&self.container.path().display().to_string(), "CONTAINER");
        text.replace(&self.source.root().display().to_string(), "ROOT") + "\n"
    }

    fn assert_golden(&self, name: &str, phase: &Phase) {
        let file = workspace().join(format!("tests/fixtures/leapp/{name}.json"));
        let difference = golden::compare(&file, &self.shown(phase)).unwrap();
        assert_eq!(difference, None, "{}", phase.stderr);
    }
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

#[test]
fn every_actor_is_written_for_python_3_6() {
    let script = "import ast, sys\nfor path in sys.argv[1:]: ast.parse(open(path).read(), path, feature_version=(3, 6))";
    let dir = workspace().join("livemode-prep/leapp");
    let sources: Vec<PathBuf> = listing(&dir)
        .unwrap()
        .into_keys()
        .filter(|path| path.extension().is_some_and(|end| end == "py"))
        .collect();
    assert_eq!(sources.len(), 11, "{sources:?}");
    Cmd::new("python3")
        .args(["-c", script])
        .args(&sources)
        .run()
        .unwrap();
}

#[test]
fn root_without_the_flag_leapp_is_as_if_we_were_not_there() {
    let leapp = Leapp::new("livemode: {}\n");
    for phase in ["Facts", "Checks", "FirstBoot"] {
        let run = leapp.phase(&[], phase, &[("LEAPP_UNSUPPORTED", "1")]);
        assert_eq!(run.said, json!({}), "{phase}");
    }
    let run = leapp.phase(&[], "InterimPreparation", &[("LEAPP_UNSUPPORTED", "1")]);
    assert!(!run.stopped, "{}", run.said);
    assert_eq!(run.said["complete_livemode_entry"], json!([]));
    assert_eq!(leapp.calls(), "", "livemode-prep was called");
    assert_eq!(
        leapp.source.variable("saved_entry"),
        LEAPPS,
        "leapp's classic entry"
    );
    let entry = leapp.source.read(LEAPPS_ENTRY);
    assert!(!entry.contains("livemode"), "{entry}");
}

#[test]
fn root_without_the_opt_in_nothing_is_said() {
    let leapp = Leapp::new("livemode: {}\n");
    for phase in ["Facts", "Checks", "FirstBoot"] {
        let run = leapp.phase(&["--livemode"], phase, &[]);
        let messages: Vec<&Value> = run.said.as_object().unwrap().values().collect();
        assert!(
            messages.iter().all(|said| **said == json!([])),
            "{phase}: {}",
            run.said
        );
    }
    assert_eq!(leapp.calls(), "");
}

#[test]
fn root_what_stands_against_the_upgrade_inhibits_it_in_the_checks() {
    for (name, config) in [
        (
            "inhibited-by-configuration",
            "livemode:\n  setup_network_manager: maybe\n  dracut_networks: ip=dhcp\n",
        ),
        (
            "inhibited-by-precondition",
            "livemode: {setup_opensshd_using_auth_keys: /root/no-such-file}\n",
        ),
    ] {
        let leapp = Leapp::new(config);
        leapp.livemode("Facts");
        let checks = leapp.livemode("Checks");
        leapp.assert_golden(name, &checks);
        let report = &checks.said["live_mode_reporter"][0][1]["report"];
        assert!(
            report["groups"].as_array().unwrap().contains(&json!("inhibitor")),
            "{report}"
        );
    }
    let leapp = Leapp::new("livemode: {}\n");
    let space = fs::File::create(leapp.source.at("var/lib/fill")).unwrap();
    let most = i64::try_from(DISK_MIB - 1000).unwrap() << 20;
    nix::fcntl::posix_fallocate(&space, 0, most).unwrap();
    leapp.livemode("Facts");
    let checks = leapp.livemode("Checks");
    let summary = checks.said["live_mode_reporter"][0][1]["report"]["summary"]
        .as_str()
        .unwrap();
    assert!(
        summary.contains("not enough space at ") && summary.contains("; free "),
        "{summary}"
    );
}

#[test]
fn vm_the_actors_lead_from_the_configuration_to_the_upgraded_system_and_back() {
    let leapp =
        Leapp::new("livemode: {dracut_network: 'ip=eth7:dhcp nameserver=10.0.0.1 nameserver=10.0.0.2'}\n");
    let source = &leapp.source;
    let before = source.listing().unwrap();
    for phase in ["Facts", "Checks", "InterimPreparation"] {
        let run = leapp.livemode(phase);
        assert!(!run.stopped, "{}", run.said);
        leapp.assert_golden(&phase.to_lowercase(), &run);
    }
    assert!(
        !leapp.has_leapps_initramfs(),
        "it has more than this machine needs"
    );
    let manifest = source.manifest();
    assert_eq!(source.problems(), json!([]));
    let BootEntry {
        loader,
        arguments,
        entry,
    } = manifest.boot;
    let old = entry.unwrap().former_default;
    assert_eq!(loader, "leapp");
    assert_eq!(source.variable("saved_entry"), old, "not leapp's own entry");
    assert_eq!(source.variable("next_entry"), OURS);
    assert!(source.at(LEAPPS_ENTRY).exists(), "leapp removes it itself");
    assert_eq!(
        source.entry_words(),
        sorted_words(&arguments),
        "nothing more and nothing less"
    );
    for words in [
        "root=livemode:UUID=",
        "nameserver=10.0.0.1 nameserver=10.0.0.2 rd.neednet=1",
        "console=tty0 console=ttyS0",
        "net.ifnames=0",
    ] {
        assert!(arguments.contains(words), "no '{words}' in {arguments}");
    }

    let dir = tempfile::tempdir().unwrap();
    let disk = dir.path().join("disk.img");
    Cmd::new("sync").run().unwrap();
    Cmd::new("fsfreeze")
        .arg("--freeze")
        .arg(source.root())
        .run()
        .unwrap();
    let copied = livemode_tests::disk::copy(&source.image(), &disk);
    Cmd::new("fsfreeze")
        .arg("--unfreeze")
        .arg(source.root())
        .run()
        .unwrap();
    copied.unwrap();
    // This machine has no eth7 to wait for.
    let copy = Mounted::new(&disk).unwrap();
    let words = |line: &str| -> String {
        let network = ["ip=", "nameserver=", "rd.neednet="];
        let words = line
            .split(' ')
            .filter(|word| !network.iter().any(|key| word.starts_with(key)));
        words.collect::<Vec<_>>().join(" ") + "\n"
    };
    let entry: String = copy.read(ENTRY).lines().map(words).collect();
    fs::write(copy.at(ENTRY), entry).unwrap();
    drop(copy);
    let loader = livemode_tests::grub::loader_disk(livemode_tests::grub::SOURCE_PREFIX).unwrap();
    let disks = [Drive::new(&disk)];
    let machine = Machine {
        reboots: true,
        ..Machine::new(&disks, Boot::Grub(&loader))
    };
    let console = machine.run().unwrap();
    assert!(
        console.contains("report: booted Demo Linux release 2"),
        "{console}"
    );
    let upgraded = Mounted::new(&disk).unwrap();
    let state: Value = serde_json::from_str(&upgraded.read(STATE)).unwrap();
    assert_eq!(state["state"], "succeeded", "{console}");
    drop(upgraded);

    // leapp removes its own entry in the first phase after the reboot.
    Cmd::new("chroot")
        .arg(source.root())
        .args(["grubby", "--remove-kernel", "/boot/vmlinuz-upgrade.x86_64"])
        .run()
        .unwrap();
    let run = leapp.livemode("FirstBoot");
    leapp.assert_golden("firstboot", &run);
    let mut after = source.listing().unwrap();
    let (mut before, own) = (before, ["run", "boot/grub2/grubenv", "boot/loader/entries"]);
    for listing in [&mut before, &mut after] {
        listing.retain(|path, _| !own.iter().any(|name| path.starts_with(source.at(name))));
    }
    assert_eq!(differences(&before, &after), NOTHING);
}

#[test]
fn root_an_initramfs_without_our_module_is_made_again_under_the_same_name() {
    let leapp = Leapp::new("livemode: {}\n");
    leapp.livemode("Facts");
    let run = leapp.phase(
        &["--livemode"],
        "InterimPreparation",
        &[("LEAPP_UNSUPPORTED", "1"), ("FORGETS_TASKS", "1")],
    );
    assert!(!run.stopped, "{}", run.said);
    assert!(!leapp.has_leapps_initramfs());
    let listing = Cmd::new("chroot")
        .arg(leapp.container.path())
        .args(["lsinitrd", "/tmp/initramfs"]);
    fs::copy(
        leapp.source.at("boot/initramfs-upgrade.x86_64.img"),
        leapp.container.at("tmp/initramfs"),
    )
    .unwrap();
    let listing = listing.read().unwrap();
    for name in ["usr/bin/livemode-boot", "raid1.ko", "etc/hostname"] {
        assert!(listing.contains(name), "no {name} in: {listing}");
    }
    assert_eq!(leapp.source.problems(), json!([]));
}

#[test]
fn root_a_build_that_fails_stops_leapp_and_leaves_the_old_system_the_default() {
    let leapp = Leapp::new("livemode: {}\n");
    leapp.livemode("Facts");
    let space = fs::File::create(leapp.source.at("var/lib/fill")).unwrap();
    let most = i64::try_from(DISK_MIB - 1000).unwrap() << 20;
    nix::fcntl::posix_fallocate(&space, 0, most).unwrap();
    let run = leapp.livemode("InterimPreparation");
    assert!(run.stopped, "{}", run.said);
    assert_eq!(run.said["stopped"], "prepare_live_image");
    assert!(
        run.said["details"]["details"]
            .as_str()
            .unwrap()
            .contains("not enough space"),
        "{}",
        run.said
    );
    assert_ne!(leapp.source.variable("saved_entry"), LEAPPS);
    assert!(!leapp.source.at(ENTRY).exists());
}

#[test]
fn root_an_entry_that_cannot_be_armed_stops_leapp_and_leaves_the_old_system_the_default() {
    let leapp = Leapp::new("livemode: {}\n");
    let source = &leapp.source;
    let old = source.variable("saved_entry");
    leapp.livemode("Facts");
    // An actor wants a word that GRUB would not pass on.
    let strange = json!({"to_add": [{"key": "strange", "value": "it's"}]});
    leapp.add("UpgradeKernelCmdlineArgTasks", &strange);
    let run = leapp.livemode("InterimPreparation");
    assert!(run.stopped, "{}", run.said);
    assert_eq!(run.said["stopped"], "complete_livemode_entry");
    assert!(
        run.said["details"]["details"]
            .as_str()
            .unwrap()
            .contains("GRUB cannot pass on the kernel argument strange=it's"),
        "{}",
        run.said
    );
    assert_eq!(
        source.variable("saved_entry"),
        old,
        "not the entry that leapp has made the default"
    );
    assert_eq!(source.variable("next_entry"), "");
    // What is half-done is done by a second call, whatever ended the first.
    source.prep().arg("entry").run().unwrap();
    assert_eq!(source.variable("saved_entry"), old);
    assert_eq!(source.variable("next_entry"), OURS);
    let arguments = source.manifest().boot.arguments;
    assert_eq!(source.entry_words(), sorted_words(&arguments));
}

#[test]
fn root_the_entry_has_what_leapp_adds_and_not_what_it_takes_away() {
    let leapp = Leapp::new("livemode: {}\n");
    let luks = json!({"key": "rd.luks.uuid", "value": "luks-1"});
    let mut messages: Value = serde_json::from_str(&fs::read_to_string(leapp.messages()).unwrap()).unwrap();
    for message in messages.as_array_mut().unwrap() {
        if message[0] == "KernelCmdline" {
            let words = message[1]["parameters"].as_array_mut().unwrap();
            words.extend([luks.clone(), json!({"key": "rd.luks.uuid", "value": "luks-2"})]);
        }
    }
    fs::write(leapp.messages(), messages.to_string()).unwrap();
    // As checkluks, checkresumekernelarg and checknvme of leapp's say it.
    leapp.add(
        "UpgradeKernelCmdlineArgTasks",
        &json!({"to_remove": [luks, {"key": "resume", "value": "UUID=0"}]}),
    );
    leapp.add(
        "UpgradeKernelCmdlineArgTasks",
        &json!({"to_add": [{"key": "rd.nvmf.x", "value": "1"}, {"key": "rd.nvmf.x", "value": "2"}]}),
    );
    leapp.livemode("Facts");
    let environment = [
        ("LEAPP_UNSUPPORTED", "1"),
        ("LEAPP_DEBUG", "1"),
        ("LEAPP_DEVEL_INITRAM_NETWORK", "scripts"),
    ];
    let run = leapp.phase(&["--livemode"], "InterimPreparation", &environment);
    assert!(!run.stopped, "{}", run.said);
    let words = leapp.source.entry_words();
    let has = |word: &str| words.iter().any(|known| known == word);
    for word in [
        "rd.luks.uuid=luks-2",
        "rd.nvmf.x=1",
        "rd.nvmf.x=2",
        "debug",
        "ip=dhcp",
        "rd.neednet=1",
        "net.ifnames=0",
    ] {
        assert!(has(word), "no {word} in {words:?}");
    }
    for word in ["rd.luks.uuid=luks-1", "root=live:UUID=0"] {
        assert!(!has(word), "{word} in {words:?}");
    }
    assert_eq!(words.iter().filter(|word| word.starts_with("root=")).count(), 1);
    assert_eq!(
        words,
        sorted_words(&leapp.source.manifest().boot.arguments),
        "what is recorded is what boots"
    );
}

#[test]
fn root_with_both_in_sight_the_entry_is_left_alone_and_that_is_said() {
    let leapp = Leapp::new("livemode: {}\n");
    let root = leapp.source.root();
    install(root);
    for (path, text) in [
        (
            ".leapp/info",
            r#"{"name": "system_upgrade_common", "id": "1-2-3", "repos": []}"#,
        ),
        (
            "actors/livemode/reporter/actor.py",
            "name = 'live_mode_reporter'\n",
        ),
    ] {
        let path = leapp
            .source
            .at("usr/share/leapp-repository/repositories/system_upgrade/common")
            .join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    let links = leapp.source.at("etc/leapp/repos.d");
    fs::create_dir_all(&links).unwrap();
    std::os::unix::fs::symlink(
        "/usr/share/leapp-repository/repositories/system_upgrade",
        links.join("system_upgrade"),
    )
    .unwrap();
    let reporter = leapp
        .source
        .at("usr/share/leapp-repository/repositories/system_upgrade/common/actors/livemode/reporter");
    leapp.source.prep().args(["actors", "install"]).run().unwrap();
    fs::create_dir_all(&reporter).unwrap();
    fs::write(reporter.join("actor.py"), "name = 'live_mode_reporter'\n").unwrap();

    leapp.livemode("Facts");
    leapp.add(
        "LiveModeArtifacts",
        &json!({"squashfs_path": "/var/lib/leapp/live-upgrade.img"}),
    );
    let options = ["--livemode", "--only=complete_livemode_entry"];
    let run = leapp.phase(&options, "InterimPreparation", &[("LEAPP_UNSUPPORTED", "1")]);
    assert!(!run.stopped, "{}", run.said);
    assert!(
        run.stderr.contains("livemode-prep actors refresh"),
        "{}",
        run.stderr
    );
    assert!(!leapp.calls().contains(" entry "), "{}", leapp.calls());
    leapp.source.prep().args(["actors", "refresh"]).run().unwrap();
    let run = leapp.phase(&options, "InterimPreparation", &[("LEAPP_UNSUPPORTED", "1")]);
    assert_eq!(run.said["stopped"], "complete_livemode_entry", "nothing is built");
}

#[test]
fn root_a_livemode_prep_that_is_missing_or_fails_crashes_no_actor() {
    let leapp = Leapp::new("livemode: {}\n");
    leapp.livemode("Facts");
    for (model, fields) in [
        (
            "LiveImagePreparationInfo",
            json!({"has_network_set_up": false, "has_passwordless_root": false, "has_sshd": false}),
        ),
        (
            "LiveModeArtifacts",
            json!({"squashfs_path": "/var/lib/leapp/live-upgrade.img"}),
        ),
        (
            "BootContent",
            json!({"kernel_path": "/boot/k", "initram_path": "/boot/i", "kernel_hmac_path": "/boot/h"}),
        ),
    ] {
        leapp.add(model, &fields);
    }
    let known = fs::read(leapp.messages()).unwrap();
    let path = |programs: &Programs| format!("{}:/usr/sbin:/usr/bin:/sbin:/bin", programs.path().display());
    let no_programs = "/usr/sbin:/usr/bin:/sbin:/bin".to_owned();
    let [silent, garbled] =
        ["exit 1", "echo no JSON"].map(|script| Programs::with("livemode-prep", script).unwrap());
    for (path, why) in [
        (no_programs, "install the package livemode"),
        (path(&silent), "livemode-prep ended with 1"),
        (path(&garbled), "printed no JSON"),
    ] {
        let environment = [("LEAPP_UNSUPPORTED", "1"), ("PATH", path.as_str())];
        let run = |options: &[&str], phase: &str| {
            fs::write(leapp.messages(), &known).unwrap();
            leapp.phase(&[&["--livemode"], options].concat(), phase, &environment)
        };
        let facts = run(&[], "Facts");
        assert!(!facts.stopped, "{}", facts.said);
        assert_eq!(facts.said["live_mode_config_scanner"], json!([]));
        assert!(facts.stderr.contains(why), "{why}: {}", facts.stderr);
        let checks = run(&[], "Checks");
        let report = &checks.said["live_mode_reporter"][0][1]["report"];
        assert_eq!(
            report["title"], "LiveMode could not check this system",
            "{}",
            checks.said
        );
        assert!(report["summary"].as_str().unwrap().contains(why), "{report}");
        for actor in [
            "emit_livemode_requirements",
            "prepare_live_image",
            "live_image_generator",
            "complete_livemode_entry",
        ] {
            let stopped = run(&[&format!("--only={actor}")], "InterimPreparation");
            assert_eq!(stopped.said["stopped"], actor, "{}", stopped.said);
            let details = stopped.said["details"]["details"].as_str().unwrap();
            assert!(details.contains(why), "{details}");
        }
        let boot = run(&[], "FirstBoot");
        assert!(!boot.stopped, "the first boot goes on: {}", boot.said);
    }
}
