//! Passwords are shown to nobody.
use crate::plan::build_plan::Made;
use serde_json::{json, Value};

use super::{facts, plan, set};
use crate::plan::boot_entry::tests::earlier;

#[test]
fn a_password_is_shown_nowhere() {
    let plan = plan(|facts| {
        set(
            facts,
            "config.url_to_load_squashfs_image_from",
            json!("ftp://me:hunter2@host/i"),
        );
        set(facts, "config.dracut_network", json!("ip=dhcp"));
    });
    for text in [plan.describe(true), plan.to_json().to_string()] {
        assert!(!text.contains("hunter2"), "{text}");
        assert!(text.contains("root=livemode:ftp://host/i"), "{text}");
    }
    assert!(plan
        .arguments(&Made {
            sha256: "0".into(),
            size: 1,
            ..Made::default()
        })
        .contains("livemode:ftp://me:hunter2@host/i "));
}

#[test]
fn facts_for_others_show_no_password_of_this_build_or_an_earlier_one() {
    let url = "http://me:hunter2@host/i";
    let facts = facts(|facts| {
        set(facts, "config.url_to_load_squashfs_image_from", json!(url));
        let mut before = earlier(false);
        before["config"]["url_to_load_squashfs_image_from"] = json!(url);
        before["boot"]["arguments"] = json!(format!("root=livemode:{url} rw"));
        set(facts, "earlier", before);
    });
    let json = facts.to_json().unwrap();
    assert!(!json.contains("hunter2"), "{json}");
    let masked: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(
        masked["earlier"]["boot"]["arguments"],
        "root=livemode:http://host/i rw"
    );
    assert_eq!(
        masked["config"]["url_to_load_squashfs_image_from"],
        "http://host/i"
    );
}
