//! What a plan opens with.
use serde_json::{json, Value};

use super::{plan, set};

#[test]
fn a_plan_opens_with_the_verdict_and_where_everything_goes() {
    let summary = plan(|_| ()).summary();
    let lines: Vec<&str> = summary.lines().collect();
    assert_eq!(lines[0], "The upgrade may go on.");
    assert_eq!(
        lines[2..5],
        [
            "from       Red Hat Enterprise Linux 8.10 (Ootpa)",
            "to         Debian GNU/Linux 12 (bookworm), kernel 6.1.0-56-cloud-amd64",
            "image      /var/lib/leapp/live-upgrade.img on UUID=11111111-0000-4000-8000-000000000001 (/dev/sda2, xfs)",
        ]
    );
    assert!(lines[5].starts_with("space      /var/lib/leapp: "), "{summary}");
    assert!(lines[6].starts_with("           /boot: "), "{summary}");
    assert!(lines[7].starts_with("memory     640 MiB needed ("), "{summary}");
    assert!(!summary.contains("\nwarnings\n"), "{summary}");
    let before = plan(|facts| set(facts, "userspace", json!(null))).summary();
    assert!(
        before.contains("\nto         unknown: there is no container yet"),
        "{before}"
    );
}

#[test]
fn each_reason_against_the_upgrade_and_each_warning_is_a_line() {
    let summary = |change: fn(&mut Value)| plan(change).summary();
    let one = summary(|facts| set(facts, "source.fips", json!(true)));
    assert!(
        one.starts_with("The upgrade may NOT go on:\n  the source system is in FIPS mode"),
        "{one}"
    );
    let two = summary(|facts| {
        set(facts, "source.fips", json!(true));
        set(facts, "userspace.kernels", json!([]));
        set(facts, "config_warnings", json!(["leapp would stop here"]));
    });
    assert!(
        two.starts_with("The upgrade may NOT go on, for 2 reasons:\n"),
        "{two}"
    );
    assert!(two.ends_with("\nwarnings\n  leapp would stop here\n"), "{two}");
}

#[test]
fn what_goes_into_the_container_for_dracut_is_listed() {
    let items = plan(|_| ()).to_json()["initramfs_items"].clone();
    assert_eq!(
        items[0]["path"],
        "/usr/lib/dracut/modules.d/90livemode/module-setup.sh"
    );
}
