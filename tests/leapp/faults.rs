//! What goes wrong around the actors: a build that fails, an entry that cannot be armed, actors of two packages, and a
//! livemode-prep that is missing.
use std::fs;

use livemode_tests::binaries::install;
use livemode_tests::container::Programs;
use livemode_tests::source::{sorted_words, ENTRY};
use livemode_tests::testbed::DISK_MIB;
use serde_json::json;

use super::machine::Leapp;
use super::{LEAPPS, OURS};

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
