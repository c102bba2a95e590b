//! Whose actors leapp finds: ours in the place of its own, and back, with updates of leapp in between. On a directory; an
//! update by real packages is in packages.rs.
#![allow(clippy::unwrap_used)]
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use livemode_common::cmd::Cmd;
use livemode_tests::binaries::{binary, install};
use livemode_tests::source::{differences, listing};
use serde_json::{json, Value};

const REPOSITORY: &str = "usr/share/leapp-repository/custom-repositories/livemode";
const LEAPPS: &str = "usr/share/leapp-repository/repositories/system_upgrade/common";
const ASIDE: &str = "usr/share/livemode/leapp/aside";
const NOTHING: [String; 0] = [];
/// System calls that change a disk. strace counts each by itself.
const CALLS: [&str; 5] = ["/^rename", "/^unlink", "/^rmdir", "/^mkdir", "/^symlink"];
/// More changes than any of the commands makes.
const MOST: u32 = 200;

/// A machine's tree with leapp-repository's livemode actors and ours, none of them in leapp's sight yet but its own. Its
/// package links all repositories, and since 0.26 the directory of custom ones as well.
fn machine(finds_custom_repositories: bool) -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    install(root.path());
    // The programs are large, and nothing here runs them.
    for dir in ["usr/sbin", "usr/libexec"] {
        fs::remove_dir_all(root.path().join(dir)).unwrap();
    }
    let base = root.path().join(LEAPPS);
    for (path, text) in [
        (
            ".leapp/info",
            r#"{"name": "system_upgrade_common", "id": "1-2-3", "repos": []}"#,
        ),
        (
            "actors/livemode/livemode_config_scanner/actor.py",
            "name = 'live_mode_config_scanner'\n",
        ),
        (
            "actors/livemode/livemode_config_scanner/libraries/scan.py",
            "pass\n",
        ),
        ("actors/other/actor.py", "name = 'other'\n"),
    ] {
        let path = base.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    let links = root.path().join("etc/leapp/repos.d");
    fs::create_dir_all(&links).unwrap();
    let share = Path::new("/usr/share/leapp-repository");
    symlink(
        share.join("repositories/system_upgrade"),
        links.join("system_upgrade"),
    )
    .unwrap();
    if finds_custom_repositories {
        fs::create_dir(root.path().join("usr/share/leapp-repository/custom-repositories")).unwrap();
        symlink(
            share.join("custom-repositories"),
            links.join("custom-repositories"),
        )
        .unwrap();
    }
    root
}

/// Whose actors leapp finds, by `status`.
fn found(root: &Path) -> Value {
    let call = Cmd::new(binary("livemode-prep"))
        .arg("--root")
        .arg(root)
        .args(["actors", "status", "--json"]);
    serde_json::from_str(&call.read().unwrap()).unwrap()
}

fn actors(root: &Path, action: &str) -> String {
    let call = Cmd::new(binary("livemode-prep"))
        .arg("--root")
        .arg(root)
        .args(["actors", action]);
    call.read().unwrap()
}

fn files(root: &Path) -> BTreeMap<PathBuf, String> {
    listing(root).unwrap()
}

#[test]
fn our_actors_take_the_place_of_leapps_and_give_it_back_byte_for_byte() {
    for finds_custom_repositories in [false, true] {
        let machine = machine(finds_custom_repositories);
        let root = machine.path();
        let before = files(root);
        assert!(actors(root, "status").contains("leapp finds its own livemode actors"));
        for _ in 0..2 {
            assert!(actors(root, "install").contains("of this package"));
            assert!(!root.join(LEAPPS).join("actors/livemode").exists());
            assert!(root.join(LEAPPS).join("actors/other/actor.py").exists());
            let info: Value =
                serde_json::from_slice(&fs::read(root.join(REPOSITORY).join(".leapp/info")).unwrap())
                    .unwrap();
            assert_eq!(
                (&info["name"], &info["repos"]),
                (&json!("livemode"), &json!(["1-2-3"]))
            );
            let link = fs::read_link(root.join("etc/leapp/repos.d/livemode")).unwrap();
            assert_eq!(link, Path::new("/").join(REPOSITORY));
            for part in ["actors/live_mode_reporter/actor.py", "libraries/livemode_prep.py"] {
                assert!(root.join(REPOSITORY).join(part).exists(), "{part}");
            }
        }
        assert_eq!(actors(root, "refresh"), "", "nothing to tell");
        for _ in 0..2 {
            assert!(actors(root, "restore").contains("its own"));
        }
        let empty = root.join("usr/share/leapp-repository/custom-repositories");
        if !finds_custom_repositories {
            fs::remove_dir(empty).unwrap();
        }
        assert_eq!(differences(&before, &files(root)), NOTHING);
    }
}

#[test]
fn of_leapps_own_directory_only_what_names_our_repository_is_a_custom_file() {
    let machine = machine(true);
    let root = machine.path();
    let custom = || {
        let files = Cmd::new("find")
            .arg(root.join("usr/share/leapp-repository"))
            .args(["-type", "f"])
            .read()
            .unwrap();
        let base = root.join(LEAPPS).display().to_string();
        let of_others = files.lines().filter(|path| !path.starts_with(&base));
        of_others.map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(custom(), NOTHING, "before it is asked for");
    actors(root, "install");
    let info = root.join(REPOSITORY).join(".leapp/info");
    assert_eq!(custom(), [info.display().to_string()]);
}

#[test]
fn a_cut_anywhere_leaves_one_set_in_sight_and_the_same_command_completes() {
    let template = machine(true);
    let installed = machine(true);
    actors(installed.path(), "install");
    let updated = machine(true);
    actors(updated.path(), "install");
    let newer = updated
        .path()
        .join(LEAPPS)
        .join("actors/livemode/livemode_config_scanner/actor.py");
    fs::create_dir_all(newer.parent().unwrap()).unwrap();
    fs::write(newer, "name = 'live_mode_config_scanner'\n").unwrap();
    for (start, action, ends) in [
        (&template, "install", "ours"),
        (&installed, "restore", "leapps"),
        (&updated, "refresh", "ours"),
        (&updated, "restore", "leapps"),
    ] {
        let begins = found(start.path())["found"].clone();
        let mut cuts = 0;
        for calls in CALLS {
            for number in 1..MOST {
                let dir = tempfile::tempdir().unwrap();
                let root = dir.path().join("root");
                Cmd::new("cp")
                    .arg("-a")
                    .arg(start.path())
                    .arg(&root)
                    .run()
                    .unwrap();
                let strace = Cmd::new("strace")
                    .args(["-q", "-o", "/dev/null", "-e", &format!("trace={calls}"), "-e"])
                    .arg(format!("inject={calls}:signal=SIGKILL:when={number}"))
                    .arg(binary("livemode-prep"))
                    .arg("--root")
                    .arg(&root)
                    .args(["actors", action]);
                let is_whole = strace.output().unwrap().0.success();
                let now = found(&root)["found"].clone();
                assert!(
                    [&begins, &json!(ends), &json!("leapps")].contains(&&now),
                    "{action} cut at {calls} {number}: {now}"
                );
                assert_ne!(now, json!("nobodys"), "{action} cut at {calls} {number}");
                if begins != json!("both") {
                    assert_ne!(now, json!("both"), "{action} cut at {calls} {number}");
                }
                if is_whole {
                    break;
                }
                cuts += 1;
                // A refresh that was cut off has nothing to refresh; what an admin calls then is install.
                let again = if action == "refresh" { "install" } else { action };
                actors(&root, again);
                assert_eq!(
                    found(&root)["found"],
                    json!(ends),
                    "{action} cut at {calls} {number}"
                );
            }
        }
        assert!(cuts > 3, "{action} changes little: {cuts}");
    }
}

#[test]
fn both_are_told_whatever_link_leads_to_them_and_whatever_repository_has_them() {
    for kind in ["updated", "elsewhere"] {
        let machine = machine(true);
        let root = machine.path();
        actors(root, "install");
        let other = match kind {
            "updated" => root.join(LEAPPS).join("actors/livemode/reporter"),
            _ => root.join("usr/share/leapp-repository/custom-repositories/theirs/actors/a/deep/one"),
        };
        fs::create_dir_all(&other).unwrap();
        if kind == "elsewhere" {
            let info = root.join("usr/share/leapp-repository/custom-repositories/theirs/.leapp/info");
            fs::create_dir_all(info.parent().unwrap()).unwrap();
            fs::write(info, r#"{"name": "theirs", "id": "9"}"#).unwrap();
        }
        fs::write(
            other.join("actor.py"),
            "class Reporter(Actor):\n    name = \"live_mode_reporter\"\n",
        )
        .unwrap();
        let seen = found(root);
        let other = Path::new("/").join(other.strip_prefix(root).unwrap());
        assert_eq!(seen["found"], json!("both"), "{seen}");
        assert_eq!(seen["others"], json!([other]), "{seen}");
        let told = actors(root, "status");
        assert!(
            told.contains("run: livemode-prep actors refresh") && told.contains(&other.display().to_string()),
            "{told}"
        );
        // What no package of leapp's has brought is somebody's own, and stays.
        actors(root, "refresh");
        let expected = if kind == "updated" { "ours" } else { "both" };
        assert_eq!(found(root)["found"], json!(expected));
    }
}

#[test]
fn an_update_of_leapp_in_between_is_noticed_and_told() {
    let machine = machine(false);
    let root = machine.path();
    let updated = root
        .join(LEAPPS)
        .join("actors/livemode/livemode_config_scanner/actor.py");
    let update = || {
        fs::create_dir_all(updated.parent().unwrap()).unwrap();
        fs::write(&updated, "name = 'live_mode_config_scanner' # newer\n").unwrap();
    };
    actors(root, "install");
    update();
    assert!(actors(root, "status").contains("run: livemode-prep actors refresh"));
    // An upgrade is not begun with both.
    let check = Cmd::new(binary("livemode-prep"))
        .arg("--root")
        .arg(root)
        .arg("check");
    fs::write(root.join("etc/fstab"), "UUID=1 / ext4 defaults 0 0\n").unwrap();
    let (status, _, stderr) = check.output().unwrap();
    assert_eq!(status.code(), Some(4), "{stderr}");
    assert!(
        stderr.contains("brought its own livemode actors back"),
        "{stderr}"
    );
    assert!(actors(root, "refresh").contains("leapp was updated"));
    assert!(actors(root, "status").contains("of this package"));
    actors(root, "restore");
    assert!(
        fs::read_to_string(&updated).unwrap().contains("newer"),
        "what the update brought"
    );

    // Updated, and not refreshed before it is taken back.
    actors(root, "install");
    update();
    assert!(actors(root, "restore").contains("leapp was updated meanwhile"));
    assert!(!root.join(ASIDE).exists());
    // Removed meanwhile.
    actors(root, "install");
    fs::remove_dir_all(root.join(LEAPPS)).unwrap();
    assert!(actors(root, "restore").contains("no longer installed"));
    assert!(!root.join(ASIDE).exists());
    let install = Cmd::new(binary("livemode-prep"))
        .arg("--root")
        .arg(root)
        .args(["actors", "install"]);
    let (status, _, stderr) = install.output().unwrap();
    assert_eq!(status.code(), Some(4), "{stderr}");
    assert!(
        stderr.contains("install leapp and leapp-repository first"),
        "{stderr}"
    );
}
