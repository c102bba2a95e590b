//! The programs that a build runs, the boot entry, and the kernel arguments.
use crate::plan::build_plan::Made;
use serde_json::{json, Value};

use super::{plan, set};

#[test]
fn what_is_missing_is_brought_by_dnf_but_under_leapp_it_is_a_fault() {
    let own = plan(|_| ());
    assert!(own.missing_packages.contains(&"vim".to_owned()));
    let commands: Vec<String> = own.commands().iter().map(ToString::to_string).collect();
    assert!(
        commands[0].contains(" dnf -y --setopt=install_weak_deps=False install "),
        "{commands:?}"
    );
    let given = json!({"kernel_path": "/boot/vmlinuz-upgrade.x86_64", "initram_path": "/boot/initramfs-upgrade.x86_64.img",
                       "kernel_hmac_path": null});
    let under_leapp = |provided: Value| {
        plan(|facts| {
            set(facts, "leapp.BootContent", given.clone());
            set(facts, "userspace.provided", provided);
        })
    };
    let short = under_leapp(json!([])).findings.refusals;
    assert_eq!(short.len(), 1, "{short:?}");
    assert!(
        short[0].starts_with("/var/lib/leapp/el9userspace: leapp has not installed NetworkManager, "),
        "{short:?}"
    );
    let whole = under_leapp(json!(own.required_packages));
    assert_eq!(whole.findings.refusals, Vec::<String>::new());
    let commands: Vec<String> = whole.commands().iter().map(ToString::to_string).collect();
    assert!(
        commands[0].ends_with(" lsinitrd /boot/initramfs-upgrade.x86_64.img"),
        "{commands:?}"
    );
    // leapp's initramfs is looked into, and ours is made, which may be smaller.
    assert!(commands[1].contains(" dracut --force "), "{commands:?}");
    assert_eq!(commands.len(), 3);
    // Neither kernel nor initramfs takes new space in /boot.
    assert_eq!(whole.budgets.len(), 1);
}

#[test]
fn the_records_directory_is_named_beside_the_image_or_with_the_file_system_it_lies_on() {
    let line = |change: fn(&mut Value)| {
        plan(change).arguments(&Made {
            sha256: "ab".into(),
            size: 7,
            ..Made::default()
        })
    };
    assert!(line(|_| ()).contains(" livemode.state=/var/lib/leapp/livemode "));
    let apart = line(|facts| {
        set(facts, "source.state_device.source", json!("/dev/sdb1"));
        set(facts, "source.state_device.uuid", json!("9-9"));
    });
    assert!(
        apart.contains(" livemode.state=UUID=9-9:/var/lib/leapp/livemode "),
        "{apart}"
    );
    let nameless = line(|facts| {
        set(facts, "source.state_device.source", json!("/dev/sdb1"));
        set(facts, "source.state_device.uuid", json!(null));
    });
    assert!(!nameless.contains("livemode.state="), "{nameless}");
}

#[test]
fn a_module_is_there_as_a_file_or_in_the_kernel_and_while_that_is_unknown() {
    let has = |change: fn(&mut Value), module: &str| plan(change).has_module(module);
    for (module, is_there) in [("xfs", true), ("ext4", true), ("nosuch", false)] {
        assert_eq!(has(|_| (), module), is_there, "{module}");
        assert!(has(
            |facts| set(facts, "userspace.kernels.0.modules", json!([])),
            module
        ));
        assert!(has(|facts| set(facts, "userspace", json!(null)), module));
    }
    let line = |word: &str| {
        let word = json!({"key": word, "value": "1"});
        plan(|facts| set(facts, "source.arguments.3", word)).arguments(&Made::default())
    };
    assert!(line("xfs.debug").ends_with(" xfs.debug=1") && !line("nosuch.debug").contains("nosuch"));
}

#[test]
fn the_images_file_system_is_not_checked_again_by_any_of_its_names() {
    for spec in ["UUID=11111111-0000-4000-8000-000000000001", "/dev/sda2"] {
        let plan = plan(|facts| {
            set(facts, "source.fstab.Ok.0.fs_spec", json!(spec));
            for number in [0, 1] {
                set(facts, &format!("source.fstab.Ok.{number}.fs_passno"), json!("1"));
            }
        });
        let numbers: Vec<&str> = plan.mounts.iter().map(|entry| entry.fs_passno.as_str()).collect();
        assert_eq!(numbers, ["0", "1"], "{spec}");
    }
}

#[test]
fn paths_of_a_system_in_a_directory_are_told_as_it_sees_them() {
    let plan = plan(|facts| set(facts, "root", json!("/mnt/sys")));
    for (path, seen) in [("/mnt/sys/boot/vmlinuz", "/boot/vmlinuz"), ("/srv/x", "/srv/x")] {
        assert_eq!(plan.as_source_sees(std::path::Path::new(path)), seen);
    }
}
