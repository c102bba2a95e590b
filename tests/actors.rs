//! Whose actors leapp finds: ours in the place of its own, and back, with updates of leapp in between. On a directory; an
//! update by real packages is in packages.rs.
#![allow(clippy::unwrap_used)]
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use livemode_common::cmd::Cmd;
use livemode_tests::binaries::{binary, install};
use livemode_tests::source::{differences, listing};
use serde_json::{json, Value};

const ACTORS: &str = "usr/share/leapp-repository/custom-repositories/livemode";
const LEAPPS: &str = "usr/share/leapp-repository/repositories/system_upgrade/common";
const NOTHING: [String; 0] = [];

/// A machine's tree with leapp-repository's livemode actors and ours, none of them in leapp's sight yet but its own.
fn machine() -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    install(root.path());
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
    fs::create_dir_all(root.path().join("etc/leapp/repos.d")).unwrap();
    root
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
    let machine = machine();
    let root = machine.path();
    let before = files(root);
    assert!(actors(root, "status").contains("leapp finds its own livemode actors"));
    for _ in 0..2 {
        assert!(actors(root, "install").contains("of this package"));
        assert!(!root.join(LEAPPS).join("actors/livemode").exists());
        assert!(root.join(LEAPPS).join("actors/other/actor.py").exists());
        let info: Value =
            serde_json::from_slice(&fs::read(root.join(ACTORS).join(".leapp/info")).unwrap()).unwrap();
        assert_eq!(
            (&info["name"], &info["repos"]),
            (&json!("livemode"), &json!(["1-2-3"]))
        );
        let link = fs::read_link(root.join("etc/leapp/repos.d/livemode")).unwrap();
        assert_eq!(link, Path::new("/").join(ACTORS));
    }
    assert_eq!(actors(root, "refresh"), "", "nothing to tell");
    for _ in 0..2 {
        assert!(actors(root, "restore").contains("its own"));
    }
    assert_eq!(differences(&before, &files(root)), NOTHING);
}

#[test]
fn an_update_of_leapp_in_between_is_noticed_and_told() {
    let machine = machine();
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
    assert!(!root.join("usr/share/leapp-repository/livemode-aside").exists());
    // Removed meanwhile.
    actors(root, "install");
    fs::remove_dir_all(root.join(LEAPPS)).unwrap();
    assert!(actors(root, "restore").contains("no longer installed"));
    assert!(!root.join("usr/share/leapp-repository/livemode-aside").exists());
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
