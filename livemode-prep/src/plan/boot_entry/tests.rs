//! Entries of machines with GRUB as RHEL sets it up, each with something changed.
use serde_json::{json, Value};

use super::*;
use crate::facts::Facts;
use crate::plan::build_plan::BuildPlan;

const FACTS: &str = include_str!("../../../fixtures/facts.json");
const MACHINE: &str = "a1b2c3d4e5f60718293a4b5c6d7e8f90";
const OURS: &str = "a1b2c3d4e5f60718293a4b5c6d7e8f90-livemode";
const OLD: &str = "a1b2c3d4e5f60718293a4b5c6d7e8f90-4.18.0-553.el8.x86_64";

/// The facts of a machine whose /boot lies beside the root and whose default is the old kernel.
fn machine(change: impl FnOnce(&mut Value)) -> Facts {
    let mut facts: Value = serde_json::from_str(FACTS).unwrap();
    facts["source"]["machine_id"] = json!(MACHINE);
    facts["loader"] = json!({"is_efi": false, "grub": {
        "cfg": "/boot/grub2/grub.cfg",
        "env": "/boot/grub2/grubenv",
        "env_device": {"fstype": "xfs", "source": "/dev/sda1", "uuid": "1-2", "dir": "/grub2", "xfs_has_ftype": true},
        "entries": "/boot/loader/entries",
        "boot": "/",
        "grub": {
            "cfg": {"Ok": {
                "loads_env": true, "boots_once": true, "default": "saved", "shows_entries": true, "counts": false,
                "before": [], "after": [], "waits": false, "strange": []
            }},
            "env": {"Ok": [["saved_entry", OLD]]},
            "env_is_fixed": null,
            "entries": [entry(OLD)],
            "missing": []
        }
    }});
    change(&mut facts);
    serde_json::from_value(facts).unwrap()
}

fn entry(id: &str) -> Value {
    json!({"id": id, "title": id, "linux": format!("/vmlinuz-{id}"), "initrd": [], "options": "root=UUID=x ro"})
}

fn grub(facts: &mut Value) -> &mut Value {
    &mut facts["loader"]["grub"]["grub"]
}

/// What an earlier build has written down.
pub(in crate::plan) fn earlier(has_entry: bool) -> Value {
    let artifact = json!({"path": "/x", "size": 1, "sha256": ""});
    let own = json!({"id": OURS, "path": format!("/boot/loader/entries/{OURS}.conf"), "kernel": "/k", "initramfs": "/i",
                     "grubenv": "/boot/grub2/grubenv", "grubenv_on": null, "boot": "/", "former_default": OLD});
    json!({"schema": 1, "image": artifact, "kernel": artifact, "hmac": null, "initramfs": artifact,
           "kernel_version": "6", "compressor": "zstd", "source_arguments": "", "versions": {}, "created": 1,
           "config": machine(|_| ()).config,
           "boot": {"loader": "grub", "arguments": "", "entry": has_entry.then_some(own)}})
}

fn plan(choice: EntryChoice, change: impl FnOnce(&mut Value)) -> BuildPlan {
    BuildPlan::make(machine(change), choice)
}

fn refusals(change: impl FnOnce(&mut Value)) -> Vec<String> {
    plan(EntryChoice::default(), change).findings.refusals
}

#[test]
fn where_grub_is_what_boots_it_keeps_the_entry_and_both_boots_are_told() {
    let plan = plan(EntryChoice::default(), |_| ());
    assert_eq!(plan.findings.refusals, Vec::<String>::new());
    let entry = plan.entry.as_ref().unwrap();
    assert_eq!(
        entry.own,
        OwnEntry {
            id: OURS.into(),
            path: format!("/boot/loader/entries/{OURS}.conf"),
            kernel: "/boot/vmlinuz-livemode.x86_64".into(),
            initramfs: "/boot/initramfs-livemode.x86_64.img".into(),
            keeper: Keeper::Grub {
                grubenv: "/boot/grub2/grubenv".into(),
                grubenv_on: Some("UUID=1-2:/grub2/grubenv".into()),
            },
            boot: "/".into(),
            former_default: OLD.into(),
        }
    );
    let text = plan.summary();
    assert!(
        text.contains(&format!("next boot  {OURS}, the upgrade, once\n")),
        "{text}"
    );
    assert!(text.contains(&format!("after that {OLD}, as now\n")), "{text}");
    assert!(plan
        .shown_arguments()
        .contains(" livemode.grubenv=UUID=1-2:/grub2/grubenv "));
    assert_eq!(
        entry.text("root=livemode:UUID=1 pci=a;b", "6.1").unwrap(),
        format!(
            "title LiveMode upgrade\nversion 6.1\nmachine-id {MACHINE}\nlinux /vmlinuz-livemode.x86_64\ninitrd \
             /initramfs-livemode.x86_64.img\noptions root=livemode:UUID=1 'pci=a;b'\n"
        )
    );
    assert!(entry
        .text("a=$b", "6.1")
        .unwrap_err()
        .contains("the kernel argument a=$b"));
}

#[test]
fn without_grub_or_by_choice_nobody_keeps_an_entry() {
    let none = plan(EntryChoice::default(), |facts| {
        facts["loader"]["grub"] = json!(null)
    });
    assert!(none.entry.is_none() && none.findings.refusals.is_empty());
    assert_eq!(none.paths.kernel.file_name().unwrap(), "vmlinuz-upgrade.x86_64");
    let keeper = |keeper| EntryChoice {
        keeper: Some(keeper),
        ..EntryChoice::default()
    };
    assert!(plan(keeper(EntryKeeper::None), |_| ()).entry.is_none());
    let asked = plan(keeper(EntryKeeper::Grub), |facts| {
        facts["loader"]["grub"] = json!(null)
    });
    assert!(
        asked.findings.refusals[0].starts_with("there is no configuration of GRUB"),
        "{:?}",
        asked.findings.refusals
    );
}

#[test]
fn under_leapp_the_entry_is_ours_too() {
    let leapp = EntryChoice {
        keeper: Some(EntryKeeper::Leapp),
        ..EntryChoice::default()
    };
    let plan = plan(leapp, |facts| {
        facts["leapp"]["BootContent"] = json!({"kernel_path": "/boot/vmlinuz-upgrade.x86_64",
            "initram_path": "/boot/initramfs-upgrade.x86_64.img", "kernel_hmac_path": null});
    });
    assert_eq!(
        plan.paths.kernel,
        std::path::Path::new("/boot/vmlinuz-upgrade.x86_64")
    );
    assert_eq!(
        plan.entry.as_ref().unwrap().own.kernel,
        "/boot/vmlinuz-livemode.x86_64"
    );
    assert!(plan
        .summary()
        .contains(&format!("next boot  {OLD}, until livemode-prep entry has armed")));
    let files: Vec<String> = plan
        .files()
        .iter()
        .map(|path| path.display().to_string())
        .collect();
    for name in ["/boot/vmlinuz-livemode.x86_64", "/boot/vmlinuz-upgrade.x86_64"] {
        assert_eq!(files.iter().filter(|file| *file == name).count(), 1, "{files:?}");
    }
}

#[test]
fn what_would_make_the_entry_or_arming_it_mean_nothing_is_refused_with_the_remedy() {
    let cfg = |key: &'static str, value: Value| refusals(move |facts| grub(facts)["cfg"]["Ok"][key] = value);
    for (found, words) in [
        (
            cfg("shows_entries", json!(false)),
            "first: grub2-switch-to-blscfg",
        ),
        (
            cfg("boots_once", json!(false)),
            "does not boot next_entry once; first: grub2-mkconfig -o /boot/grub2/grub.cfg",
        ),
        (cfg("loads_env", json!(false)), "does not boot next_entry once"),
        (
            cfg("default", json!({"fixed": "0"})),
            "boots '0' whatever the saved default is; first: set GRUB_DEFAULT=saved",
        ),
        (
            cfg("waits", json!(true)),
            "waits for a keyboard; first: set GRUB_TIMEOUT=5",
        ),
        (
            cfg("strange", json!(["set default=7"])),
            "a way of its own (set default=7)",
        ),
        (
            refusals(|facts| grub(facts)["cfg"] = json!({"Err": "two of them"})),
            "two of them",
        ),
        (
            refusals(|facts| grub(facts)["env"] = json!({"Err": "it is torn"})),
            "it is torn",
        ),
        (
            refusals(|facts| grub(facts)["missing"] = json!([format!("/vmlinuz-{OLD}")])),
            "does not boot: /vmlinuz-a1b2c3d4e5f60718293a4b5c6d7e8f90-4.18.0-553.el8.x86_64 is missing",
        ),
        (
            refusals(|facts| facts["source"]["arch"] = json!("s390x")),
            "was never tried on s390x",
        ),
        (
            refusals(|facts| facts["source"]["machine_id"] = json!(null)),
            "no /etc/machine-id",
        ),
        (
            refusals(|facts| grub(facts)["entries"] = json!([entry(OLD), entry(OURS)])),
            "is there, and no build of this system has made it; remove it",
        ),
    ] {
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].contains(words), "{found:?}");
    }
    let two = refusals(|facts| {
        grub(facts)["cfg"]["Ok"]["waits"] = json!(true);
        grub(facts)["cfg"]["Ok"]["shows_entries"] = json!(false);
    });
    assert_eq!(two.len(), 2, "{two:?}");
}

#[test]
fn under_leapp_aarch64_is_refused_by_name_before_there_is_a_container() {
    let of = |choice: fn(Option<&Loader>) -> EntryChoice, change: fn(&mut Value)| {
        let facts = machine(|facts| {
            facts["source"]["arch"] = json!("aarch64");
            facts["userspace"] = json!(null);
            change(facts);
        });
        let choice = choice(facts.loader.as_ref());
        BuildPlan::make(facts, choice).findings.refusals
    };
    let found = of(EntryChoice::under_leapp, |_| ());
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].contains("this machine is aarch64"), "{found:?}");
    let x86 = of(EntryChoice::under_leapp, |facts| {
        facts["source"]["arch"] = json!("x86_64")
    });
    assert_eq!(x86, Vec::<String>::new());
    // Without leapp it is one of the machines that were tried.
    assert_eq!(of(|_| EntryChoice::default(), |_| ()), Vec::<String>::new());
}

#[test]
fn a_loop_is_a_risk_that_must_be_accepted_by_name() {
    let fixed = |facts: &mut Value| grub(facts)["env_is_fixed"] = json!("GRUB does not write to btrfs");
    let found = refusals(fixed);
    assert!(
        found[0].contains("GRUB does not write to btrfs") && found[0].contains("give --accept-loop-risk"),
        "{found:?}"
    );
    let accepted = EntryChoice {
        loop_risk: true,
        ..EntryChoice::default()
    };
    let taken = plan(accepted, fixed);
    assert_eq!(taken.findings.refusals, Vec::<String>::new());
    assert!(
        taken
            .summary()
            .contains("as soon as early boot has cleared next_entry"),
        "{}",
        taken.summary()
    );
    // Nobody could clear it.
    let nobody = plan(accepted, |facts| {
        fixed(facts);
        facts["loader"]["grub"]["env_device"]["uuid"] = json!(null);
    });
    assert!(nobody.findings.refusals[0].contains("early boot could not find it"));
}

#[test]
fn what_was_the_default_before_an_earlier_build_still_is() {
    for (saved, next, old) in [
        (OURS, OURS, OLD),
        (OLD, OURS, OLD),
        (
            "a1b2c3d4e5f60718293a4b5c6d7e8f90-4.18.0-600.el8.x86_64",
            "",
            "a1b2c3d4e5f60718293a4b5c6d7e8f90-4.18.0-600.el8.x86_64",
        ),
    ] {
        let plan = plan(EntryChoice::default(), |facts| {
            facts["earlier"] = earlier(true);
            grub(facts)["env"] = json!({"Ok": [["saved_entry", saved], ["next_entry", next]]});
            let newer = entry("a1b2c3d4e5f60718293a4b5c6d7e8f90-4.18.0-600.el8.x86_64");
            grub(facts)["entries"] = json!([entry(OLD), entry(OURS), newer]);
        });
        assert_eq!(plan.findings.refusals, Vec::<String>::new());
        let entry = plan.entry.unwrap();
        assert_eq!(entry.own.former_default, old, "{saved} {next}");
        assert_eq!(
            (entry.boots.next.as_str(), entry.boots.after.as_str()),
            (OURS, old)
        );
    }
}

#[test]
fn an_earlier_builds_entry_needs_another_one() {
    let none = EntryChoice {
        keeper: Some(EntryKeeper::None),
        ..EntryChoice::default()
    };
    let found = |has_entry| {
        plan(none, |facts| facts["earlier"] = earlier(has_entry))
            .findings
            .refusals
    };
    assert_eq!(found(true).len(), 1);
    assert!(found(true)[0].starts_with("an earlier build has a boot entry"));
    assert_eq!(found(false), Vec::<String>::new());
    // Before there is a container nobody is asked who keeps the entry.
    let check = plan(EntryChoice::default(), |facts| {
        facts["earlier"] = earlier(true);
        facts["userspace"] = json!(null);
    });
    assert!(check.entry.is_none());
}

fn with_systemd_boot(change: impl FnOnce(&mut Value)) -> impl FnOnce(&mut Value) {
    move |facts| {
        let conf = format!("{OLD}.conf");
        let item = json!({"entry": entry(&conf), "name": conf, "tries_left": null, "sort_key": null, "machine_id": MACHINE,
                          "version": "", "missing": null});
        let place = json!({"path": "/efi", "existing": "/efi", "device_number": 9, "free_bytes": 1u64 << 30, "read_only": false});
        facts["loader"] = json!({"is_efi": true, "grub": null, "systemd_boot": {"Ok": {
            "esp": "/efi", "boot": "/efi", "place": place,
            "loader": {"conf": [], "variables": [], "entries": [item], "images": []}
        }}});
        let mut line = facts["source"]["fstab"]["Ok"][0].clone();
        line["fs_file"] = json!("/efi");
        facts["source"]["fstab"]["Ok"].as_array_mut().unwrap().push(line);
        let mut mount = facts["source"]["mounts"][0].clone();
        mount["target"] = json!("/efi");
        facts["source"]["mounts"].as_array_mut().unwrap().push(mount);
        change(facts);
    }
}

fn sd(facts: &mut Value) -> &mut Value {
    &mut facts["loader"]["systemd_boot"]["Ok"]["loader"]
}

#[test]
fn where_systemd_boot_is_what_boots_it_has_the_entry_on_its_partition() {
    let plan = plan(EntryChoice::default(), with_systemd_boot(|_| ()));
    let own = &plan.entry.as_ref().unwrap().own;
    let ours = format!("{OURS}.conf");
    assert_eq!(
        *own,
        OwnEntry {
            id: ours.clone(),
            path: format!("/efi/loader/entries/{ours}"),
            kernel: "/efi/vmlinuz-livemode.x86_64".into(),
            initramfs: "/efi/initramfs-livemode.x86_64.img".into(),
            keeper: Keeper::SystemdBoot {
                esp: "/efi".into(),
                former_choice: None,
            },
            boot: "/efi".into(),
            former_default: format!("{OLD}.conf"),
        }
    );
    let text = plan.entry.as_ref().unwrap().text("a=$b;c", "6.1").unwrap();
    assert!(
        text.contains("\nlinux /vmlinuz-livemode.x86_64\n") && text.ends_with("\noptions a=$b;c\n"),
        "{text}"
    );
    assert!(plan
        .summary()
        .contains(&format!("next boot  {ours}, the upgrade, once\n")));
    assert!(!plan.shown_arguments().contains("livemode.grubenv"));
}

#[test]
fn systemd_boots_choice_of_before_an_earlier_build_still_is() {
    let ours = format!("{OURS}.conf");
    for (now, former) in [
        (None, None),
        (Some("demo*"), Some("demo*")),
        // The live system had made ours the default.
        (Some(ours.as_str()), Some("former*")),
    ] {
        let change = |facts: &mut Value| {
            let variables = now.map(|now| json!(["LoaderEntryDefault", now]));
            sd(facts)["variables"] = json!(variables.as_slice());
            let mut known = earlier(true);
            known["boot"]["entry"] = json!({"id": ours, "path": "/x", "kernel": "/k", "initramfs": "/i", "esp": "/efi",
                "former_choice": "former*", "boot": "/efi", "former_default": format!("{OLD}.conf")});
            facts["earlier"] = known;
        };
        let plan = plan(EntryChoice::default(), with_systemd_boot(change));
        assert_eq!(plan.findings.refusals, Vec::<String>::new());
        assert_eq!(plan.entry.unwrap().own.former_choice(), former, "{now:?}");
    }
}

#[test]
fn what_of_systemd_boot_would_make_the_entry_mean_nothing_is_refused() {
    let refused = |change: fn(&mut Value)| refusals(with_systemd_boot(change));
    for (found, words) in [
        (
            refused(|facts| {
                facts["source"]["fstab"]["Ok"].as_array_mut().unwrap().pop();
            }),
            "/efi is mounted, and /etc/fstab does not list it",
        ),
        (
            refused(|facts| facts["loader"]["systemd_boot"] = json!({"Err": "mount it"})),
            "mount it",
        ),
        (
            refused(|facts| sd(facts)["conf"] = json!([["timeout", "menu-force"]])),
            "waits for a keyboard",
        ),
        (
            refused(|facts| sd(facts)["variables"] = json!([["LoaderEntryPreferred", "x"]])),
            "bootctl set-preferred",
        ),
        (
            refused(|facts| sd(facts)["conf"] = json!([["default", "*-livemode.conf"]])),
            "after the upgrade's entry systemd-boot would boot a1b2c3d4e5f60718293a4b5c6d7e8f90-livemode.conf in place of",
        ),
    ] {
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].contains(words), "{found:?}");
    }
    let asked = EntryChoice {
        keeper: Some(EntryKeeper::SystemdBoot),
        ..EntryChoice::default()
    };
    let found = plan(asked, |_| ()).findings.refusals;
    assert!(
        found[0].contains("systemd-boot is not what has booted this system"),
        "{found:?}"
    );
}
