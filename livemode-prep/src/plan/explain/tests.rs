//! Why a plan is as it is, of the machine of plan/tests.rs with something changed.
use super::*;
use crate::facts::Facts;
use crate::plan::boot_entry::EntryChoice;

const FACTS: &str = include_str!("../../../fixtures/facts.json");

fn plan(change: impl FnOnce(&mut Value)) -> BuildPlan {
    let mut facts: Value = serde_json::from_str(FACTS).unwrap();
    change(&mut facts);
    let facts: Facts = serde_json::from_value(facts).unwrap();
    BuildPlan::make(facts, EntryChoice::default())
}

fn all_options(facts: &mut Value) {
    for (key, value) in [
        ("setup_passwordless_root", json!(true)),
        ("capture_strace_info_into", json!("/var/log/trace")),
        ("dracut_network", json!("ip=dhcp")),
    ] {
        facts["config"][key] = value;
    }
    let words = [
        ("rd.auto", json!("1")),
        ("console", json!("tty0")),
        ("quiet", json!(null)),
        ("panic", json!("5")),
    ];
    facts["source"]["arguments"] = words
        .map(|(key, value)| json!({"key": key, "value": value}))
        .to_vec()
        .into();
}

#[test]
fn everything_in_a_plan_has_a_reason() {
    let plan = plan(all_options);
    for item in plan.live_items.iter().chain(&plan.initramfs_items()) {
        let path = item.path();
        assert!(!plan.of_items(&path).is_empty(), "{item}");
    }
    for package in &plan.required_packages {
        assert!(!plan.of_package(package).is_empty(), "{package}");
    }
    for entry in &plan.mounts {
        assert!(!plan.of_mount(&entry.fs_file).is_empty(), "{entry}");
    }
    for word in Cmdline::parse(&plan.shown_arguments()).0 {
        let answers = plan.of_word(&word.key);
        assert!(
            answers.iter().all(|answer| !answer.why.rule.is_empty()),
            "{word}: {answers:?}"
        );
        assert!(!answers.is_empty(), "{word}");
    }
    for key in KEYS {
        assert!(!plan.explain(key).is_empty(), "{key}");
    }
}

#[test]
fn what_is_not_there_is_told_too() {
    let plan = plan(all_options);
    for (what, is) in [
        ("rd.auto", "no kernel argument rd.auto=1"),
        ("rd.auto=1", "no kernel argument rd.auto=1"),
        ("quiet", "no kernel argument quiet"),
        ("panic=5", "no kernel argument panic=5"),
        ("rpcbind.socket", "nothing of ours starts rpcbind.socket"),
    ] {
        assert_eq!(plan.explain(what)[0].is, is);
    }
    assert_eq!(plan.explain("no-such-thing"), []);
    assert_eq!(plan.explain("rd.auto=2"), []);
}

/// The first answer's three parts, blanks between them.
fn first(plan: &BuildPlan, what: &str) -> (String, String, &'static str) {
    let answer = plan.explain(what).into_iter().next();
    answer.map_or_else(Default::default, |Answer { is, why }| (is, why.fact, why.rule))
}

#[test]
fn a_word_of_the_line_is_told_by_where_it_comes_from() {
    let plan = plan(|facts| {
        all_options(facts);
        facts["storage"]["devices"][2]["kind"] = json!("lvm");
        facts["storage"]["devices"][2]["path"] = json!("/dev/mapper/vg-root");
        facts["source"]["image_device"]["source"] = json!("/dev/mapper/vg-root");
    });
    for (what, fact, rule) in [
        (
            "rd.lvm.vg=vg",
            "the image lies on it",
            "early boot brings up only what is named (dracut.cmdline(7))",
        ),
        ("ip", "dracut_network", "early boot has this network"),
        ("ip=dhcp", "dracut_network", "early boot has this network"),
        ("rd.neednet", "dracut_network", "early boot has this network"),
        (
            "console=tty0",
            "this system's kernel command line has it; group consoles and screens",
            "the machine shows the live system where it shows itself",
        ),
        ("upgrade.strace", "every upgrade", "capture_strace_info_into"),
        (
            "enforcing",
            "every upgrade",
            "the live system has no labels to enforce SELinux by",
        ),
    ] {
        let (is, from, by) = first(&plan, what);
        assert!(is.starts_with(&format!("kernel argument {what}")), "{is}");
        assert_eq!((from.as_str(), by), (fact, rule), "{what}");
        assert_eq!(plan.of_word(what).len(), 1, "{what}");
    }
    for what in ["ip=other", "console tty0", "", "console=tty1"] {
        assert_eq!(plan.of_word(what), [], "{what}");
    }
    for (what, rule) in [
        (
            "quiet",
            "our own words stand for it, or it is of one boot of this system only",
        ),
        (
            "rd.auto",
            "it is not on the list of words that are right in the live system (docs/options.md)",
        ),
    ] {
        let (is, fact, by) = first(&plan, what);
        assert!(is.starts_with(&format!("no kernel argument {what}")), "{is}");
        assert_eq!(
            (fact.as_str(), by),
            ("this system's kernel command line has it", rule)
        );
    }
    assert_eq!(plan.of_word("quiet").len(), 1);
}

#[test]
fn a_mount_is_told_by_its_place_in_either_system() {
    let line = |spec: &str, file: &str, kind: &str, options: &str| json!({"fs_spec": spec, "fs_file": file, "fs_vfstype": kind, "fs_mntops": options});
    let plan = plan(|facts| {
        let fstab = facts["source"]["fstab"]["Ok"].as_array_mut().unwrap();
        fstab.push(line("server:/a", "/a", "nfs", "nofail"));
        fstab.push(line("server:/b", "/b", "nfs", "noauto"));
        fstab.push(line("UUID=s", "none", "swap", "defaults"));
        let mounts = facts["source"]["mounts"].as_array_mut().unwrap();
        mounts.push(json!({"root": "/", "target": "/opt", "fstype": "nfs", "source": "server:/opt", "options": ["rw"]}));
    });
    let uuid = "UUID=11111111-0000-4000-8000-00000000000";
    for (what, is, fact, rule) in [
        (
            "/",
            format!("mount {uuid}1 /run/upgrade xfs "),
            "/etc/fstab: UUID=",
            "and the upgrade waits for it",
        ),
        (
            "/run/upgrade",
            format!("mount {uuid}1 /run/upgrade xfs "),
            "/etc/fstab: UUID=",
            "the upgrade waits for it",
        ),
        (
            "/boot",
            format!("mount {uuid}2 /run/upgrade/boot xfs "),
            "/etc/fstab: UUID=",
            "the upgrade waits for it",
        ),
        (
            "/run/upgrade/boot",
            format!("mount {uuid}2 "),
            "/etc/fstab: UUID=",
            "the upgrade waits for it",
        ),
        (
            "/a",
            "mount server:/a /run/upgrade/a nfs ".into(),
            "/etc/fstab: server:/a /a",
            "does not wait for it",
        ),
        (
            "/opt",
            "mount server:/opt /run/upgrade/opt nfs ".into(),
            "it is mounted now, or",
            "as it is now",
        ),
        (
            "/b",
            "no mount of /b".into(),
            "/etc/fstab: server:/b /b nfs noauto",
            "noauto, the kernel's",
        ),
        (
            "none",
            "mount UUID=s none swap ".into(),
            "/etc/fstab: UUID=s none swap",
            "does not wait for it",
        ),
    ] {
        let (found, from, by) = first(&plan, what);
        assert!(found.starts_with(&is), "{what}: {found}");
        assert!(
            from.starts_with(fact) && by.contains(rule),
            "{what}: {from}; {by}"
        );
        assert_eq!(plan.of_mount(what).len(), 1, "{what}");
    }
    let swap = plan.of_mount("UUID=s");
    assert_eq!(swap[0].why.fact, "/etc/fstab: UUID=s none swap defaults 0 0");
    for what in ["/c", "/run/upgrade/c", "server:/a", "xfs"] {
        assert_eq!(plan.of_mount(what), [], "{what}");
    }
}

#[test]
fn a_package_is_told_with_who_has_it() {
    let of = |change: fn(&mut Value)| first(&plan(change), "less").0;
    assert_eq!(
        of(|facts| facts["userspace"]["provided"] = json!([])),
        "package less, which dnf installs"
    );
    assert_eq!(
        of(|facts| facts["userspace"]["provided"] = json!(["less"])),
        "package less, which the container has"
    );
    assert_eq!(of(|facts| facts["userspace"] = json!(null)), "package less");
    assert_eq!(plan(|_| ()).of_package("nosuch"), []);
}

#[test]
fn files_and_units_are_told_by_each_of_their_names() {
    let made = plan(all_options);
    for (what, is, fact) in [
        (
            "/boot/vmlinuz-upgrade.x86_64",
            "file on this system /boot/vmlinuz-upgrade.x86_64",
            "every upgrade",
        ),
        (
            "/root/keys",
            "file       0600 root:root /root/.ssh/authorized_keys (the source's /root/keys, secret)",
            "setup_opensshd_using_auth_keys; this system has /root/keys",
        ),
        (
            "/root/.ssh",
            "directory  0700 root:root /root/.ssh",
            "setup_opensshd_using_auth_keys",
        ),
        ("ssh.service", "stopped    ssh.service", "every upgrade"),
        ("kdump.service", "masked     kdump.service", "every upgrade"),
        (
            "dbus.service",
            "masked     all that packages have started by",
            "every upgrade",
        ),
        (
            "getty@tty2.service",
            "link       /etc/systemd/system/getty.target.wants/getty@tty2.service to",
            "every upgrade",
        ),
        ("cups.path", "nothing of ours starts cups.path", "every upgrade"),
        (
            "/usr/lib/dracut/modules.d/90livemode/module-setup.sh",
            "file       0755 root:root /usr/lib/dracut/modules.d/90livemode/module-setup.sh (made)",
            "an initramfs is made",
        ),
    ] {
        let (found, from, _) = first(&made, what);
        assert!(found.starts_with(is) && from == fact, "{what}: {found}; {from}");
    }
    let is = |plan: &BuildPlan, what: &str| -> Vec<String> {
        plan.explain(what).into_iter().map(|answer| answer.is).collect()
    };
    assert_eq!(
        is(&made, "ssh.service"),
        [
            "stopped    ssh.service",
            "started    sshd.service or ssh.service by multi-user.target"
        ]
    );
    assert!(is(&made, "dbus.service")
        .iter()
        .any(|is| is.starts_with("alias      dbus.service for")));
    assert_eq!(is(&made, "../x"), [""; 0]);
    assert_eq!(
        is(&made, "default.target").len(),
        1,
        "no link of a target's, but nothing else either"
    );
    let given = plan(|facts| {
        facts["leapp"]["BootContent"] = json!({"kernel_path": "/boot/k", "initram_path": "/boot/i",
                                               "kernel_hmac_path": null});
    });
    // leapp's may be larger than ours, which is made then too.
    assert_eq!(
        is(&given, "/usr/lib/dracut/modules.d/90livemode/module-setup.sh").len(),
        1
    );
    assert_eq!(is(&given, "/boot/i"), ["file on this system /boot/i"]);
}

#[test]
fn an_option_is_told_with_its_value_and_what_it_brought_but_a_url_is_not_shown() {
    let plan = plan(|facts| {
        facts["config"]["url_to_load_squashfs_image_from"] = json!("http://me:hunter2@host/i");
    });
    let is = |what: &str| -> Vec<String> { plan.explain(what).into_iter().map(|answer| answer.is).collect() };
    assert_eq!(is("setup_passwordless_root"), ["setup_passwordless_root: false"]);
    let network = is("setup_network_manager");
    assert_eq!(network[0], "setup_network_manager: true");
    let started = "started    NetworkManager.service by multi-user.target";
    assert!(network.iter().any(|is| is == started), "{network:#?}");
    assert!(!network.iter().any(|is| is.contains("sshd")), "{network:#?}");
    let url = is("url_to_load_squashfs_image_from");
    assert_eq!(
        url[0],
        "url_to_load_squashfs_image_from: as livemode-prep config shows it"
    );
    assert!(!url.concat().contains("hunter2"), "{url:?}");
}

#[test]
fn what_was_found_is_told_where_it_names_what_is_asked_for() {
    let plan = plan(|facts| {
        facts["source"]["boot"]["read_only"] = json!(true);
        facts["config"]["setup_network_manager"] = json!(false);
        facts["config_warnings"] = json!(["a rw b", "of vim too"]);
    });
    let last = |what: &str| plan.explain(what).pop().unwrap();
    let found = "what check and plan found";
    assert_eq!(
        last("/boot"),
        Answer::new(
            "/boot /boot is mounted read-only; remount it rw",
            found,
            "it stands against the upgrade"
        )
    );
    let answer = last("setup_network_manager");
    assert_eq!(
        (answer.why.fact.as_str(), answer.why.rule),
        (found, "an admin should know it")
    );
    // Too short to mean only this.
    for what in ["rw", "vim"] {
        assert!(
            plan.explain(what).iter().all(|answer| answer.why.fact != found),
            "{what}"
        );
    }
}

#[test]
fn a_word_is_named_only_as_a_whole() {
    assert!(names("warning: rd.auto=1 /boot", "rd.auto=1"));
    assert!(names("/boot is mounted", "/boot"));
    assert!(!names("/boot/efi is mounted", "/boot"));
    assert!(!names("/srv/boot.", "boot"));
    assert!(names("mount /boot.", "/boot") && names("(sda1, sdb)", "sda1"));
    for text in [
        "sda12 is", "sda1/x", "sda1-x", "sda1_x", "xsda1", "_sda1", ".sda1", "/sda1",
    ] {
        assert!(!names(text, "sda1"), "{text}");
    }
    assert!(names("sda12 and sda1", "sda1"), "the second time");
}

#[test]
fn an_answer_has_what_it_is_the_fact_and_the_rule() {
    let answer = Answer::new("kernel argument x", "a fact", "a rule");
    assert_eq!(
        answer.describe(),
        "kernel argument x\n  from  a fact\n  rule  a rule\n"
    );
    assert_eq!(
        answer.to_json(),
        json!({"is": "kernel argument x", "fact": "a fact", "rule": "a rule"})
    );
}
