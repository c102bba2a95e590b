//! As root: a build does what its plan lists and nothing else; build and remove change all or nothing.
#![allow(clippy::unwrap_used)]
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use livemode_common::cmd::Cmd;
use livemode_common::contract::{MANIFEST, STATE_DIR};
use livemode_tests::container::Programs;
use livemode_tests::source::{differences, remove, wait_for, SourceDisk, WORK};
use livemode_tests::testbed::{self, Suite};
use nix::sys::signal::{killpg, Signal};
use nix::unistd::Pid;
use serde_json::Value;

const NOTHING: [String; 0] = [];

fn container() -> PathBuf {
    testbed::container(Suite::Bookworm).unwrap()
}

fn configure(source: &SourceDisk, text: &str) {
    fs::create_dir_all(source.at("etc/leapp/actor_conf.d")).unwrap();
    fs::write(source.at("etc/leapp/actor_conf.d/livemode.yaml"), text).unwrap();
}

/// mksquashfs that writes more to stderr than a pipe holds; a place in /boot that no file can take.
#[test]
fn root_a_build_that_fails_at_its_end_leaves_all_as_it_was_however_much_its_programs_say() {
    let source = SourceDisk::whole().unwrap();
    let in_the_way = source.at("boot/initramfs-livemode.x86_64.img/x");
    fs::create_dir_all(&in_the_way).unwrap();
    let before = source.listing().unwrap();
    let mksquashfs = "head -c 200000 /dev/zero | tr '\\0' 'x' >&2; echo >&2; exec /usr/bin/mksquashfs \"$@\"";
    let programs = Programs::with("mksquashfs", mksquashfs).unwrap();
    let build = source.build(&container()).env("PATH", programs.path());
    let (status, _, stderr) = build.output().unwrap();
    assert_eq!(status.code(), Some(1), "{stderr}");
    let last = stderr.lines().last().unwrap();
    assert!(
        last.starts_with("livemode-prep: ")
            && last
                .ends_with("initramfs-livemode.x86_64.img is a directory, where a file must be; remove it"),
        "{last}"
    );
    assert!(stderr.contains("mksquashfs: xxxx"), "what it says is shown");
    assert_eq!(differences(&before, &source.listing().unwrap()), NOTHING);
    remove(source.root());
    assert_eq!(differences(&before, &source.listing().unwrap()), NOTHING);
}

/// The paths below a directory with what they are; times do not count.
fn tree(root: &Path) -> BTreeSet<(PathBuf, String)> {
    let mut all = BTreeSet::new();
    let mut todo = vec![root.to_owned()];
    while let Some(dir) = todo.pop() {
        for entry in fs::read_dir(&dir).unwrap() {
            let path = entry.unwrap().path();
            let meta = fs::symlink_metadata(&path).unwrap();
            let content = if meta.is_symlink() {
                fs::read_link(&path).unwrap().display().to_string()
            } else if meta.is_file() {
                let (digest, _) =
                    livemode_common::fsio::sha256(fs::File::open(&path).unwrap(), |_| ()).unwrap();
                digest
            } else {
                String::new()
            };
            if meta.is_dir() {
                todo.push(path.clone());
            }
            let inside = Path::new("/").join(path.strip_prefix(root).unwrap());
            let mode = meta.permissions().mode();
            all.insert((
                inside,
                format!("{mode:o} {}:{} {content}", meta.uid(), meta.gid()),
            ));
        }
    }
    all
}

/// What the container's packages, dracut and the kernel's own directories change by themselves, and what is left out.
const NOT_OURS: [&str; 13] = [
    "/boot/",
    "/dev/",
    "/proc/",
    "/run/",
    "/sys/",
    "/tmp/",
    "/var/cache/",
    "/var/lib/dnf",
    "/var/lib/rpm",
    "/var/lib/apt/lists",
    "/var/log/",
    "/var/tmp/",
    "/artifacts",
];

#[test]
fn root_the_image_is_the_container_with_what_the_plan_lists_and_nothing_else() {
    let source = SourceDisk::whole().unwrap();
    fs::copy(source.at("root/keys"), source.at("root/.ssh/authorized_keys")).unwrap();
    configure(
        &source,
        "livemode: {setup_network_manager: true, setup_passwordless_root: true, setup_opensshd_using_auth_keys: \
         /root/.ssh/authorized_keys}\n",
    );
    let before = source.listing().unwrap();
    let plan = source
        .prep()
        .args(["plan", "--json", "--userspace"])
        .arg(container());
    let plan: Value = serde_json::from_str(&plan.read().unwrap()).unwrap();
    source.build(&container()).run().unwrap();

    let unpacked = tempfile::tempdir().unwrap();
    let unpack = Cmd::new("unsquashfs").args(["-q", "-n", "-f", "-d"]);
    let image = source.at("var/lib/leapp/live-upgrade.img");
    unpack.arg(unpacked.path()).arg(&image).run().unwrap();
    let is_ours = |path: &Path| !NOT_OURS.iter().any(|dir| path.to_str().unwrap().starts_with(dir));
    let (was, is) = (tree(&container()), tree(unpacked.path()));
    let changed: BTreeSet<String> = was
        .symmetric_difference(&is)
        .filter(|(path, _)| is_ours(path))
        .map(|(path, _)| path.display().to_string())
        .collect();

    // What early boot has is not in it.
    let items: Vec<&Value> = plan["live_items"].as_array().unwrap().iter().collect();
    let listed: BTreeSet<&str> = items.iter().map(|item| item["path"].as_str().unwrap()).collect();
    // A directory on the way to an item, the second name of a unit, the links that a stopped unit had, and files of the
    // packages that dnf brought.
    let brought = |path: &str| {
        let query = Cmd::new("chroot").arg(unpacked.path()).args(["rpm", "-qf", path]);
        query.output().unwrap().0.success()
    };
    let is_masked = |path: &str| {
        let link = fs::read_link(unpacked.path().join(&path[1..]));
        link.is_ok_and(|to| to == Path::new("/dev/null"))
    };
    let has_kind = |kind: &str| items.iter().any(|item| item["kind"] == kind);
    let is_listed = |path: &str| {
        let dir = format!("{path}/");
        let name = path.rsplit('/').next().unwrap();
        listed.contains(path)
            || listed.iter().any(|item| item.starts_with(&dir))
            || items.iter().any(|item| {
                item["kind"] == "started"
                    && item["units"].as_array().unwrap().iter().any(|unit| {
                        path == format!(
                            "/etc/systemd/system/{}.wants/{}",
                            item["by"].as_str().unwrap(),
                            unit.as_str().unwrap()
                        )
                    })
            })
            || (path.contains(".wants/")
                && items
                    .iter()
                    .any(|item| item["kind"] == "stopped" && item["unit"] == name))
            || (has_kind("cleared")
                && path.starts_with("/etc/systemd/system/")
                && [".wants/", ".requires/"].iter().any(|dir| path.contains(dir)))
            || (has_kind("only") && path == format!("/etc/systemd/system/{name}") && is_masked(path))
            || (has_kind("generators")
                && path == format!("/etc/systemd/system-generators/{name}")
                && is_masked(path))
    };
    let strange: Vec<&String> = changed
        .iter()
        .filter(|path| !is_listed(path) && !brought(path))
        .collect();
    assert!(strange.is_empty(), "not in the plan: {strange:?}");

    // And all that the plan lists is in the image, with its mode.
    for item in &items {
        let path = item["path"].as_str().unwrap();
        let at = unpacked.path().join(path.trim_start_matches('/'));
        match item["kind"].as_str().unwrap() {
            "file" | "directory" => {
                let meta = fs::symlink_metadata(&at).unwrap_or_else(|e| panic!("{path}: {e}"));
                let mode = format!("{:04o}", meta.permissions().mode() & 0o777);
                assert_eq!(
                    (meta.uid(), meta.gid(), mode.as_str()),
                    (0, 0, item["mode"].as_str().unwrap()),
                    "{path}"
                );
            }
            "link" => assert_eq!(
                fs::read_link(&at).unwrap().to_str(),
                item["to"].as_str(),
                "{path}"
            ),
            "masked" => assert_eq!(fs::read_link(&at).unwrap(), Path::new("/dev/null"), "{path}"),
            _ => {}
        }
    }
    let secrets: Vec<&str> = items
        .iter()
        .filter(|item| item["secret"] == true)
        .map(|item| item["path"].as_str().unwrap())
        .collect();
    for path in [
        "/etc/shadow",
        "/root/.ssh/authorized_keys",
        "/etc/ssh/ssh_host_ed25519_key",
    ] {
        assert!(
            secrets.contains(&path),
            "{path} is not told to be secret: {secrets:?}"
        );
    }

    // What is not ours beside our records stays, and stops nothing.
    fs::write(source.at(STATE_DIR).join("notes"), "somebody's").unwrap();
    let (status, _, stderr) = source.prep().arg("remove").output().unwrap();
    assert!(status.success(), "{stderr}");
    assert!(stderr.contains("it holds what no build made: notes"), "{stderr}");
    fs::remove_dir_all(source.at(STATE_DIR)).unwrap();
    assert_eq!(differences(&before, &source.listing().unwrap()), NOTHING);
}

#[test]
fn root_a_boot_that_is_not_mounted_is_refused_by_plan_and_by_remove() {
    let source = SourceDisk::whole().unwrap();
    let fstab = source.read("etc/fstab");
    let with_boot = format!("{fstab}UUID=0000-0001 /boot ext4 noauto 0 0\n");
    source.build(&container()).run().unwrap();
    let built = source.listing().unwrap();
    fs::write(source.at("etc/fstab"), with_boot).unwrap();
    let fault = "/boot is in /etc/fstab but not mounted";
    let plan = source.prep().args(["plan", "--userspace"]).arg(container());
    for (call, what) in [
        (plan, "plan"),
        (source.build(&container()), "build"),
        (source.prep().arg("remove"), "remove"),
    ] {
        let (status, _, stderr) = call.output().unwrap();
        assert_eq!(status.code(), Some(4), "{what}: {stderr}");
        assert!(
            stderr.contains(fault) && stderr.contains("first: mount /boot"),
            "{what}: {stderr}"
        );
    }
    assert!(source.at(MANIFEST).exists(), "remove has lost the manifest");
    fs::write(source.at("etc/fstab"), fstab).unwrap();
    let mut left = differences(&built, &source.listing().unwrap());
    left.retain(|line| !line.contains("etc/fstab"));
    assert_eq!(left, NOTHING);
    remove(source.root());
    assert!(!source.at(STATE_DIR).exists());
}

/// Neither knows of the other's image; what they share is the directory of the records.
#[test]
fn root_remove_beside_a_build_with_another_image_refuses() {
    let source = SourceDisk::whole().unwrap();
    let before = source.listing().unwrap();
    configure(&source, "livemode: {squashfs_image_path: /srv/images/live.img}\n");
    // It packs for as long as it takes the others to refuse.
    let script = "[ -d \"$1\" ] && sleep 600; exec /usr/bin/mksquashfs \"$@\"";
    let programs = Programs::with("mksquashfs", script).unwrap();
    let mut build = source
        .build(&container())
        .env("PATH", programs.path())
        .spawn(|command| {
            command.process_group(0);
            command.stdout(Stdio::null()).stderr(Stdio::null());
        })
        .unwrap();
    let work = source.at("srv/images/.livemode-work");
    wait_for("the build's work", || {
        work.exists() || build.try_wait().unwrap().is_some()
    });
    for call in [source.prep().arg("remove"), source.build(&container())] {
        let (status, _, stderr) = call.output().unwrap();
        assert_eq!(status.code(), Some(4), "{stderr}");
        assert!(
            stderr.contains("another build or remove is at work in "),
            "{stderr}"
        );
    }
    assert!(work.exists(), "the work of the running build was taken away");
    killpg(Pid::from_raw(build.id().try_into().unwrap()), Signal::SIGKILL).unwrap();
    build.wait().unwrap();
    wait_for("the sweeper", || !work.exists() && !source.at(STATE_DIR).exists());
    wait_for("the sweeper", || !source.at("srv/images").exists());
    fs::remove_dir_all(source.at("etc/leapp")).unwrap();
    assert_eq!(differences(&before, &source.listing().unwrap()), NOTHING);
    assert!(!source.at(WORK).exists());
}

#[test]
fn root_facts_in_a_file_give_the_same_plan_and_no_password() {
    let source = SourceDisk::whole().unwrap();
    configure(
        &source,
        "livemode: {url_to_load_squashfs_image_from: 'http://admin:hunter2@host/live.img', dracut_network: 'ip=dhcp', \
         setup_network_manager: true}\n",
    );
    let profile = source.at("etc/NetworkManager/system-connections/office.nmconnection");
    fs::create_dir_all(profile.parent().unwrap()).unwrap();
    fs::write(
        &profile,
        "[connection]\nid=office\n[wifi-security]\npsk=hunter2\n",
    )
    .unwrap();
    let gather = source.prep().args(["facts", "--userspace"]).arg(container());
    let facts = gather.read().unwrap();
    assert!(
        !facts.contains("hunter2"),
        "a password in what is meant for others"
    );
    let file = source.at("facts.json");
    fs::write(&file, &facts).unwrap();
    let plan = |arguments: &[&str]| source.prep().arg("plan").args(arguments);
    for more in [&["--json"][..], &["--all"]] {
        let own = plan(more).arg("--userspace").arg(container()).read().unwrap();
        assert!(!own.contains("hunter2"), "{own}");
        assert!(own.contains("root=livemode:http://host/live.img"), "{own}");
        // Nobody needs to be root for it.
        let from_file = Cmd::new("setpriv")
            .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
            .args(plan(more).arg("--facts").arg(&file).words());
        let from_file = from_file.read().unwrap();
        let without_free = |text: &str| -> String {
            // What is free changes while we look.
            text.lines()
                .map(|line| line.split(" MiB needed").next().unwrap())
                .filter(|line| !line.contains("free_bytes"))
                .collect::<Vec<_>>()
                .join("\n")
        };
        assert!(
            same_but_for_space(&own, &from_file) || without_free(&own) == without_free(&from_file),
            "{own}\n--\n{from_file}"
        );
    }
    let newer = facts.replacen("\"schema\": 1", "\"schema\": 9", 1);
    fs::write(&file, newer).unwrap();
    let (status, _, stderr) = plan(&["--facts"]).arg(&file).output().unwrap();
    assert_eq!(status.code(), Some(4), "{stderr}");
    assert!(
        stderr.contains("its schema is 9, this livemode-prep reads 1"),
        "{stderr}"
    );
}

fn same_but_for_space(one: &str, other: &str) -> bool {
    let parsed = |text: &str| {
        let mut plan: Value = serde_json::from_str(text).ok()?;
        plan.as_object_mut()?.remove("space");
        Some(plan)
    };
    parsed(one).is_some() && parsed(one) == parsed(other)
}
