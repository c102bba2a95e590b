//! On the kernel of this machine, as root: what a build makes, with real squashfs, loop devices and overlays.
#![allow(clippy::unwrap_used)]
use std::fs;
use std::os::unix::fs::{symlink, PermissionsExt};
use std::path::{Path, PathBuf};

use livemode_common::cmd::Cmd;
use livemode_common::config::KEYS;
use livemode_common::records::Manifest;
use livemode_tests::baseline;
use livemode_tests::binaries::{binary, workspace};
use livemode_tests::container::{Changed, Programs};
use livemode_tests::golden;
use livemode_tests::source::{differences, listing, remove, SourceDisk};
use livemode_tests::testbed::{self, Suite};

const NOTHING: [String; 0] = [];

fn container() -> PathBuf {
    testbed::container(Suite::Bookworm).unwrap()
}

/// Everything that `build` will do, with what differs from machine to machine made the same.
#[test]
fn root_plan_shows_everything_and_writes_nothing() {
    let source = SourceDisk::bare().unwrap();
    fs::create_dir_all(source.at("etc/leapp/actor_conf.d")).unwrap();
    let config =
        "livemode: {additional_packages: [demo-extra], capture_strace_info_into: /var/log/leapp.strace}\n";
    fs::write(source.at("etc/leapp/actor_conf.d/livemode.yaml"), config).unwrap();
    let before = source.listing().unwrap();
    let plan = |arguments: &[&str]| {
        let call = source.prep().arg("plan").args(arguments).arg("--userspace");
        call.arg(container()).read().unwrap()
    };
    let (text, json) = (plan(&[]), plan(&["--json"]));
    assert_eq!(differences(&before, &source.listing().unwrap()), NOTHING);

    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(
        (
            &json["schema"],
            &json["packages"]["missing"].as_array().unwrap().len()
        ),
        (&1.into(), &12)
    );
    let version = json["kernel_version"].as_str().unwrap();
    let shown = text
        .replace(source.root().to_str().unwrap(), "")
        .replace(version, "KERNEL")
        .lines()
        .map(|line| match line.split_once(" (/dev/loop") {
            // Which loop device was free.
            Some((place, rest)) => format!(
                "{place} (/dev/loop{}",
                rest.trim_start_matches(|c: char| c.is_ascii_digit())
            ),
            None => line.to_owned(),
        })
        .map(|line| match line.split_once(" needed (") {
            // The numbers are the container's.
            Some(_) => format!(
                "{}\n",
                line.chars().filter(|c| !c.is_ascii_digit()).collect::<String>()
            ),
            None => format!("{line}\n"),
        })
        .collect::<String>();
    let golden = workspace().join("tests/fixtures/plan.txt");
    assert_eq!(golden::compare(&golden, &shown).unwrap(), None);
}

/// The blocks of a language in a Markdown text.
fn blocks<'a>(text: &'a str, language: &str) -> Vec<&'a str> {
    let opening = format!("```{language}\n");
    let after = text.split(opening.as_str()).skip(1);
    after.map(|rest| rest.split("```").next().unwrap()).collect()
}

#[test]
fn the_examples_of_the_options_are_valid_and_leave_none_out() {
    let text = fs::read_to_string(workspace().join("docs/options.md")).unwrap();
    let mut used = String::new();
    for block in text.split("```yaml\n").skip(1) {
        let example = block.split("```").next().unwrap();
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("livemode.yaml"), example).unwrap();
        let config = Cmd::new(binary("livemode-prep"))
            .arg("--config-dir")
            .arg(dir.path());
        // One that fetches needs its network beside it, and so on: each stands alone.
        config.arg("config").run().unwrap();
        used.push_str(example);
    }
    for key in KEYS {
        assert!(used.contains(key), "no example of {key}");
    }
}

/// What docs/upgrading.md tells an admin to write and to type before the reboot and after it, in its order.
#[test]
fn root_the_commands_of_the_documentation_work() {
    let text = fs::read_to_string(workspace().join("docs/upgrading.md")).unwrap();
    let source = SourceDisk::whole().unwrap();
    fs::copy(source.at("root/keys"), source.at("root/.ssh/authorized_keys")).unwrap();
    let container = Changed::with_an_initramfs().unwrap();
    let before = source.listing().unwrap();
    let configs = source.at("etc/leapp/actor_conf.d");
    fs::create_dir_all(&configs).unwrap();
    fs::write(configs.join("livemode.yaml"), blocks(&text, "yaml")[0]).unwrap();

    let blocks = blocks(&text, "sh");
    let commands: Vec<&str> = blocks
        .iter()
        .flat_map(|b| b.lines())
        .filter(|l| l.contains("livemode-prep"))
        .collect();
    let ends = |command: &str| commands.iter().position(|line| line.contains(command)).unwrap();
    assert!(
        ends(" config") < ends(" plan") && ends(" plan") < ends(" build") && ends(" build") < ends(" remove")
    );
    // On the source's disk in place of this machine.
    let prep = format!(
        "livemode-prep() {{ {} --root {} \"$@\"; }}",
        binary("livemode-prep").display(),
        source.root().display()
    );
    for command in commands {
        let shell = Cmd::new("bash").args(["-c", &format!("{prep}; {command}")]);
        shell.env("USERSPACE", container.path()).run().unwrap();
    }
    fs::remove_dir_all(source.at("etc/leapp")).unwrap();
    assert_eq!(differences(&before, &source.listing().unwrap()), NOTHING);
}

#[test]
fn root_leapps_facts_stand_in_for_those_of_the_system() {
    let source = SourceDisk::bare().unwrap();
    let facts = source.at("facts.json");
    let text = serde_json::json!({
        "StorageInfo": {"fstab": [
            {"fs_spec": "/dev/mapper/cs-root", "fs_file": "/", "fs_vfstype": "xfs", "fs_mntops": "defaults",
             "fs_freq": "0", "fs_passno": "0"},
            {"fs_spec": "UUID=2", "fs_file": "/srv", "fs_vfstype": "ext4", "fs_mntops": "nofail",
             "fs_freq": "1", "fs_passno": "2"}], "partitions": []},
        "KernelCmdline": {"parameters": [{"key": "console", "value": "ttyS1"}, {"key": "nosmt", "value": null}]},
        "FirmwareFacts": {"firmware": "efi"},
        "TargetUserSpaceInfo": {"path": container(), "scratch": "/s", "mounts": "/m"},
    });
    fs::write(&facts, text.to_string()).unwrap();
    let plan = source
        .prep()
        .arg("--leapp-facts")
        .arg(&facts)
        .args(["plan", "--json"]);
    let plan: serde_json::Value = serde_json::from_str(&plan.read().unwrap()).unwrap();
    assert_eq!(plan["userspace"], container().to_str().unwrap());
    assert!(
        plan["arguments"]
            .as_str()
            .unwrap()
            .ends_with(" console=ttyS1 nosmt"),
        "{plan}"
    );
    let mounts: Vec<&str> = plan["mounts"]
        .as_array()
        .unwrap()
        .iter()
        .map(|m| m.as_str().unwrap())
        .collect();
    assert!(
        mounts[0].starts_with("/dev/mapper/cs-root /run/upgrade xfs defaults,nofail,"),
        "{mounts:?}"
    );
    assert!(
        mounts[1].starts_with("UUID=2 /run/upgrade/srv ext4 nofail,"),
        "{mounts:?}"
    );

    fs::write(&facts, "{\"StorageInfo\": 1}").unwrap();
    let (status, _, stderr) = source
        .prep()
        .arg("--leapp-facts")
        .arg(&facts)
        .arg("plan")
        .output()
        .unwrap();
    assert_eq!(status.code(), Some(4), "{stderr}");
    assert!(stderr.contains("facts.json: invalid type"), "{stderr}");
}

#[test]
fn root_private_keys_on_a_web_server_are_warned_of() {
    let (source, container) = (
        SourceDisk::whole().unwrap(),
        Changed::with_an_initramfs().unwrap(),
    );
    let configs = source.at("etc/leapp/actor_conf.d");
    fs::create_dir_all(&configs).unwrap();
    let url = "url_to_load_squashfs_image_from: http://host/live.img, dracut_network: ip=dhcp";
    let warnings = |more: &str| {
        fs::write(
            configs.join("livemode.yaml"),
            format!("livemode: {{{url}{more}}}\n"),
        )
        .unwrap();
        let plan = source
            .prep()
            .args(["plan", "--json", "--userspace"])
            .arg(container.path())
            .read()
            .unwrap();
        let plan: serde_json::Value = serde_json::from_str(&plan).unwrap();
        plan["warnings"].to_string()
    };
    assert_eq!(warnings(""), "[]");
    for option in [
        "setup_network_manager: true",
        "setup_opensshd_using_auth_keys: /root/keys",
    ] {
        let warnings = warnings(&format!(", {option}"));
        assert!(
            warnings.contains("the image holds private keys"),
            "{option}: {warnings}"
        );
    }
    let (status, stdout, stderr) = source.build(&container.path()).output().unwrap();
    assert!(status.success(), "{stderr}");
    assert!(
        stderr.starts_with("warning: the image holds private keys"),
        "{stderr}"
    );
    let manifest: Manifest = serde_json::from_str(&stdout).unwrap();
    assert!(manifest
        .boot
        .arguments
        .starts_with("root=livemode:http://host/live.img livemode.local=UUID="));
    // Only root sees what is in it, while it is made too.
    assert_eq!(
        fs::metadata(source.at("var/lib/leapp/live-upgrade.img"))
            .unwrap()
            .permissions()
            .mode()
            & 0o777,
        0o600
    );
}

#[test]
fn root_the_kernels_checksum_goes_along_and_goes_again() {
    let source = SourceDisk::whole().unwrap();
    let container = Changed::with_an_initramfs().unwrap();
    let modules = fs::read_dir(container.at("usr/lib/modules")).unwrap();
    let version = modules
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .next()
        .unwrap();
    let hmac = container.at(&format!("boot/.vmlinuz-{version}.hmac"));
    fs::write(&hmac, format!("0123abcd  vmlinuz-{version}\n")).unwrap();
    source.build(&container.path()).run().unwrap();
    assert_eq!(
        source.read("boot/.vmlinuz-livemode.x86_64.hmac"),
        "0123abcd  vmlinuz-livemode.x86_64\n"
    );
    fs::remove_file(&hmac).unwrap();
    source.build(&container.path()).run().unwrap();
    assert!(!source.at("boot/.vmlinuz-livemode.x86_64.hmac").exists());
    assert_eq!(source.problems(), serde_json::json!([]));
}

#[test]
fn root_a_second_build_works_and_remove_takes_all_back() {
    let source = SourceDisk::whole().unwrap();
    let container = container();
    let (before, container_before) = (source.listing().unwrap(), listing(&container).unwrap());
    for _ in 0..2 {
        source.build(&container).run().unwrap();
    }
    let left = differences(&container_before, &listing(&container).unwrap());
    assert_eq!(left, NOTHING, "the container stays as it was");
    for _ in 0..2 {
        remove(source.root());
    }
    assert_eq!(differences(&before, &source.listing().unwrap()), NOTHING);
}

#[test]
fn root_links_in_the_container_lead_no_write_outside() {
    let outside = tempfile::tempdir().unwrap();
    for name in ["file", "etc/kept", "units/kept", "modules/kept"] {
        let path = outside.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, name).unwrap();
    }
    let before = listing(outside.path()).unwrap();
    let container = Changed::of(&container()).unwrap();
    for (link, to) in [
        ("etc/fstab", "file"),
        ("etc/machine-id", "file"),
        ("etc/issue", "file"),
        ("usr/bin/upgrade", "file"),
        ("sysroot", "etc"),
        ("etc/systemd/system", "units"),
        ("etc/systemd/journald.conf.d", "etc"),
        ("usr/lib/dracut/modules.d/90livemode", "modules"),
        ("usr/libexec/livemode", "etc"),
    ] {
        let link = container.at(link);
        if link.is_dir() {
            fs::remove_dir_all(&link).unwrap();
        } else if link.symlink_metadata().is_ok() {
            fs::remove_file(&link).unwrap();
        }
        fs::create_dir_all(link.parent().unwrap()).unwrap();
        symlink(outside.path().join(to), &link).unwrap();
    }
    let source = SourceDisk::whole().unwrap();
    // Whether such a container can be built from is its own affair.
    let (_, _, stderr) = source.build(&container.path()).output().unwrap();
    assert_eq!(
        differences(&before, &listing(outside.path()).unwrap()),
        NOTHING,
        "{stderr}"
    );
    assert_eq!(fs::read_to_string(outside.path().join("file")).unwrap(), "file");
    source.swept();
}

#[test]
fn root_the_containers_mksquashfs_packs_where_it_knows_more() {
    let (source, container) = (
        SourceDisk::whole().unwrap(),
        Changed::with_an_initramfs().unwrap(),
    );
    let old = Programs::with("mksquashfs", "echo '  gzip (default)'; exit 1").unwrap();
    let build = source.build(&container.path()).env("PATH", old.path());
    build.run().unwrap();
    let manifest = source.manifest();
    assert_eq!(manifest.compressor, "zstd");

    let unpacked = tempfile::tempdir().unwrap();
    let image = source.at("var/lib/leapp/live-upgrade.img");
    let unpack = Cmd::new("unsquashfs").args(["-q", "-n", "-f", "-d"]);
    unpack.arg(unpacked.path()).arg(&image).run().unwrap();
    let names = |dir: &str| fs::read_dir(unpacked.path().join(dir)).unwrap().count();
    assert_eq!(
        ["run", "boot", "proc", "var/tmp"].map(names),
        [0; 4],
        "what is mounted or left out is not in it"
    );
    let fstab = fs::read_to_string(unpacked.path().join("etc/fstab")).unwrap();
    assert!(fstab.contains(" /run/upgrade ext4 "), "{fstab}");
    assert_eq!(
        fs::read_link(unpacked.path().join("sysroot")).unwrap(),
        Path::new("/run/upgrade")
    );
}

#[path = "builds/initramfs.rs"]
mod initramfs;
