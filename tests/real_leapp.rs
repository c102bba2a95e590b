//! Inside the real leapp, as `make leapp` has set it up: which actors its framework finds on a machine, in which order they
//! run on both ways, what the actors that consume our messages make of them, by their own tests, and the whole way of its
//! client: on a mounted disk, and on a machine.
#![allow(clippy::unwrap_used)]
use std::fs;
use std::path::{Path, PathBuf};

use livemode_common::cmd::Cmd;
use livemode_tests::binaries::{binary, install, workspace};
use livemode_tests::disk::Mounted;
use livemode_tests::grub;
use livemode_tests::source::{prep, sorted_words, LEAPPS_ENTRY};
use livemode_tests::vm::{Boot, Drive, Machine};
use serde_json::{json, Value};

#[path = "leapp/client.rs"]
mod client;
#[allow(dead_code)]
#[path = "leapp/machine.rs"]
mod machine;

/// Names the directory that tests/real/setup.sh has made.
const REAL: &str = "LIVEMODE_LEAPP";
const IMAGE: &str = "var/lib/leapp/live-upgrade.img";
const RESUME_SERVICE: &str = "etc/systemd/system/leapp_resume.service";
const ASIDE: &str = "usr/share/livemode/leapp/aside";
const LEAPPS: &str = "usr/share/leapp-repository/repositories/system_upgrade/common/actors/livemode";
/// Ours and leapp's that stand between them, in the order in which they must run.
const ORDER: [&str; 10] = [
    "live_mode_config_scanner",
    "live_mode_reporter",
    "emit_livemode_requirements",
    "upgrade_initramfs_generator",
    "prepare_live_image",
    "live_image_generator",
    "add_upgrade_boot_entry",
    "complete_livemode_entry",
    "remove_upgrade_boot_entry",
    "remove_live_image",
];
/// Where ours run.
const PHASES: [(&str, &str, &str); 7] = [
    ("FactsCollection", "Main", "live_mode_config_scanner"),
    ("Checks", "Main", "live_mode_reporter"),
    ("InterimPreparation", "Main", "emit_livemode_requirements"),
    ("InterimPreparation", "Main", "prepare_live_image"),
    ("InterimPreparation", "Main", "live_image_generator"),
    ("InterimPreparation", "After", "complete_livemode_entry"),
    ("FirstBoot", "Main", "remove_live_image"),
];

fn real() -> PathBuf {
    std::env::var_os(REAL).expect("make leapp sets it").into()
}

/// A copy of the machine of one way, with our package.
fn machine(way: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    Cmd::new("cp")
        .arg("-a")
        .arg(real().join(way).join("."))
        .arg(dir.path())
        .run()
        .unwrap();
    install(dir.path());
    dir
}

fn actors(root: &Path, action: &str) {
    let call = Cmd::new(binary("livemode-prep")).arg("--root").arg(root);
    call.args(["actors", action]).run().unwrap();
}

fn configure(root: &Path, text: &str) {
    fs::write(root.join("etc/leapp/actor_conf.d/livemode.yaml"), text).unwrap();
}

/// What the framework makes of it.
fn discovered(root: &Path, options: &[&str]) -> Value {
    let call = Cmd::new(real().join("venv/bin/python"))
        .arg(workspace().join("tests/real/discovery.py"))
        .arg(root)
        .args(options);
    serde_json::from_str(&call.read().unwrap()).unwrap()
}

/// Phase, stage, name and directory of each actor that runs, in their order.
fn order(found: &Value) -> Vec<(String, String, String, String)> {
    let order = found["order"].as_array().unwrap().iter();
    let text = |actor: &Value, number: usize| actor[number].as_str().unwrap().to_owned();
    order
        .map(|actor| (text(actor, 0), text(actor, 1), text(actor, 2), text(actor, 3)))
        .collect()
}

fn is_ours(dir: &str) -> bool {
    dir.starts_with("usr/share/livemode/leapp/actors/")
}

#[test]
fn the_framework_finds_ours_in_the_place_of_its_own_and_runs_them_in_their_order() {
    for way in ["8to9", "9to10"] {
        let machine = machine(way);
        let root = machine.path();
        configure(
            root,
            "livemode: {setup_network_manager: perhaps, watchdog: false}\n",
        );
        actors(root, "install");
        let found = discovered(root, &["--livemode"]);
        assert_eq!(found["flag"], "known", "every name of the flag's is an actor");
        // A value that is wrong is told by livemode-prep, with its file and line; the framework would end in a traceback.
        assert_eq!(found["config"], "loaded");
        let said = found["said"].to_string();
        assert!(!said.contains("unknown section"), "{said}");
        let ran = order(&found);
        let ours: Vec<(&str, &str, &str)> = ran
            .iter()
            .filter(|(_, _, _, dir)| is_ours(dir))
            .map(|(phase, stage, name, _)| (phase.as_str(), stage.as_str(), name.as_str()))
            .collect();
        assert_eq!(ours, PHASES, "{way}");
        let names = ran.iter().map(|(_, _, name, _)| name.as_str());
        let names: Vec<&str> = names.filter(|name| ORDER.contains(name)).collect();
        assert_eq!(names, ORDER, "{way}");

        let without = order(&discovered(root, &[]));
        let ours: Vec<&str> = without
            .iter()
            .filter(|(_, _, _, dir)| is_ours(dir))
            .map(|(_, _, name, _)| name.as_str())
            .collect();
        assert_eq!(ours, ["complete_livemode_entry"], "which does nothing then");

        actors(root, "restore");
        let restored = order(&discovered(root, &["--livemode"]));
        let livemode = restored
            .iter()
            .filter(|(_, _, name, _)| ORDER.contains(&name.as_str()));
        assert!(livemode.clone().count() > 6);
        assert!(
            restored.iter().all(|(_, _, _, dir)| !is_ours(dir)),
            "{restored:?}"
        );
    }
}

#[test]
fn with_both_in_sight_leapp_still_loads_and_status_has_told_it() {
    let machine = machine("9to10");
    let root = machine.path();
    configure(root, "livemode: {watchdog: false}\n");
    actors(root, "install");
    Cmd::new("cp")
        .arg("-a")
        .arg(root.join(ASIDE))
        .arg(root.join(LEAPPS))
        .run()
        .unwrap();
    let status = Cmd::new(binary("livemode-prep"))
        .arg("--root")
        .arg(root)
        .args(["actors", "status", "--json"]);
    let status: Value = serde_json::from_str(&status.read().unwrap()).unwrap();
    assert_eq!(status["found"], json!("both"), "{status}");
    assert_eq!(status["others"].as_array().unwrap().len(), 6, "{status}");
    // Of two actors, no key of the configuration has two classes.
    let found = discovered(root, &["--livemode"]);
    assert_eq!(
        (&found["config"], &found["flag"]),
        (&json!("loaded"), &json!("known"))
    );
    actors(root, "refresh");
    let found = order(&discovered(root, &["--livemode"]));
    assert_eq!(
        found.iter().filter(|(_, _, _, dir)| is_ours(dir)).count(),
        PHASES.len()
    );
}

#[test]
fn an_empty_section_ends_leapp_and_livemode_prep_has_said_so() {
    let machine = machine("9to10");
    let root = machine.path();
    configure(root, "livemode:\n");
    actors(root, "install");
    let config = Cmd::new(binary("livemode-prep"))
        .arg("--root")
        .arg(root)
        .arg("config");
    let (_, _, stderr) = config.output().unwrap();
    assert!(
        stderr.contains("the section livemode is empty; leapp's own loader ends there"),
        "{stderr}"
    );
    let found = discovered(root, &["--livemode"]);
    assert!(
        found["config"].as_str().unwrap().contains("TypeError"),
        "{}",
        found["config"]
    );
}

/// Of leapp-repository, with what each consumes of ours.
const UPSTREAM: [&str; 4] = [
    "addupgradebootentry",
    "removeupgradebootentry",
    "kernelcmdlineconfig",
    "initramfs/upgradeinitramfsgenerator",
];

#[test]
fn upstreams_own_tests_of_the_actors_that_consume_ours_pass_beside_ours() {
    let (checkout, dir) = (real().join("checkout"), tempfile::tempdir().unwrap());
    let config = dir.path().join("leapp.conf");
    let text = format!(
        "[repositories]\nrepo_path={0}\n[database]\npath={0}/leapp.db\n",
        dir.path().display()
    );
    fs::write(&config, text).unwrap();
    // As `snactor repo find` registers them for a user.
    let mut known = json!({});
    for name in ["common", "system_upgrade/common"] {
        let path = checkout.join("repos").join(name);
        let info: Value = serde_json::from_slice(&fs::read(path.join(".leapp/info")).unwrap()).unwrap();
        known[info["id"].as_str().unwrap()] = json!(path);
    }
    let registry = dir.path().join(".config/leapp/repos.json");
    fs::create_dir_all(registry.parent().unwrap()).unwrap();
    fs::write(registry, json!({"repos": known}).to_string()).unwrap();
    for actor in UPSTREAM {
        let tests = checkout
            .join("repos/system_upgrade/common/actors")
            .join(actor)
            .join("tests");
        assert!(tests.is_dir(), "{}", tests.display());
        let pytest = Cmd::new("env")
            .arg("--chdir")
            .arg(&checkout)
            .arg(real().join("venv/bin/python"))
            .args(["-m", "pytest", "-o", "addopts=", "-o", "log_cli=false", "-o"])
            .args(["python_files=test_*.py unit_test_*.py component_test_*.py", "-q"])
            .arg(&tests)
            .env("PYTHONPATH", real().join("framework"))
            .env("LEAPP_CONFIG", &config)
            .env("HOME", dir.path())
            .env("LEAPP_DEVEL_DATABASE_SYNC_OFF", "1");
        let (status, stdout, stderr) = pytest.output().unwrap();
        assert!(status.success(), "{actor}: {stdout}{stderr}");
        assert!(stdout.contains(" passed"), "{actor}: {stdout}");
    }
}

/// `leapp upgrade` with the real client and these variables, up to the reboot into the live system.
fn upgraded_until_the_reboot(environment: &[(&str, &str)]) -> client::Client {
    let client = client::Client::new(&real(), "livemode: {watchdog: false}\n");
    let source = &client.source;
    let old = source.variable("saved_entry");
    let said = client.run(
        &[
            "leapp",
            "upgrade",
            "--enable-experimental-feature",
            "livemode",
            "--no-rhsm",
            "--debug",
        ],
        &[&[("LEAPP_UNSUPPORTED", "1")], environment].concat(),
    );
    let log = source.read("var/log/leapp/leapp-upgrade.log");
    assert!(said.contains("A reboot is required to continue"), "{said}");
    assert!(!said.contains("unknown section"), "{said}");
    let report: Value = serde_json::from_str(&source.read("var/log/leapp/leapp-report.json")).unwrap();
    let entries = report["entries"].as_array().unwrap();
    let ours = entries
        .iter()
        .find(|entry| entry["title"] == "The upgrade will run from a live image");
    assert!(ours.is_some_and(|entry| entry["severity"] == "info"), "{report}");
    assert_eq!(source.problems(), json!([]), "{log}");
    assert_eq!(source.variable("saved_entry"), old, "{log}");
    assert!(source.variable("next_entry").ends_with("-livemode"), "{log}");
    assert!(source.at(LEAPPS_ENTRY).exists());
    let words = source.entry_words();
    assert_eq!(words, sorted_words(&source.manifest().boot.arguments));
    assert!(!words.iter().any(|word| word.starts_with("resume=")), "{words:?}");
    client
}

#[test]
fn root_the_real_client_goes_from_upgrade_to_the_reboot_and_resumes() {
    // leapp's own words for it are ip=dhcp and rd.neednet=1; those for --debug get lost in leapp itself (ENV_IGNORE of its
    // ipuworkflowconfig).
    let client = upgraded_until_the_reboot(&[("LEAPP_DEVEL_INITRAM_NETWORK", "scripts")]);
    let source = &client.source;
    let words = source.entry_words();
    assert!(words.iter().any(|word| word == "ip=dhcp"), "{words:?}");
    // Up to the reboot into the upgraded system, in two calls as livemode-run makes them.
    client.run(&["leapp", "upgrade", "--resume"], &[]);
    assert!(!source.at(LEAPPS_ENTRY).exists(), "leapp has removed its entry");
    assert!(source.read("etc/demo-release").contains("release 2"));
    client.run(&["/root/tmp_leapp_py3/leapp3", "upgrade", "--resume"], &[]);
    assert!(source.read("run-asked-for").contains("shutdown -r now"));
    assert!(source.at(RESUME_SERVICE).exists());
    // The first boot.
    client.run(&["/root/tmp_leapp_py3/leapp3", "upgrade", "--resume"], &[]);
    assert!(!source.at(IMAGE).exists(), "remove_live_image has run");
    assert!(!source.at(RESUME_SERVICE).exists());
}

#[test]
fn vm_the_real_leapp_upgrades_a_machine_by_our_live_system_and_ends_at_its_first_boot() {
    let client = upgraded_until_the_reboot(&[]);
    let dir = tempfile::tempdir().unwrap();
    let disk = client.disk_in(dir.path());
    let loader = grub::loader_disk(grub::SOURCE_PREFIX).unwrap();
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
    let status = prep(upgraded.path()).arg("status").read().unwrap();
    assert!(
        status.contains("prepared   nothing\nupgrade    succeeded: "),
        "{status}{console}"
    );
    for gone in [LEAPPS_ENTRY, IMAGE, RESUME_SERVICE] {
        assert!(!upgraded.at(gone).exists(), "{gone}: {console}");
    }
    let log = upgraded.read("var/log/leapp/leapp-upgrade.log");
    // What leapp itself logs of its runs before the reboot, in the live system and at the first boot.
    for actor in [
        "complete_livemode_entry",
        "remove_upgrade_boot_entry",
        "dnf_transaction",
        "remove_live_image",
    ] {
        assert!(
            log.contains(&format!("Executing actor {actor}")),
            "no {actor} in {log}"
        );
    }
}
