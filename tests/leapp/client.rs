//! The real client on a source system: `leapp upgrade` and `--resume`, with a short list of actors. What only RHEL could say is
//! recorded (tests/real/actors).
use std::fs;
use std::os::unix::fs::{symlink, PermissionsExt};
use std::path::{Path, PathBuf};

use livemode_common::cmd::Cmd;
use livemode_tests::binaries::{install, workspace};
use livemode_tests::disk::Mounted;
use livemode_tests::source::SourceDisk;
use livemode_tests::testbed::{self, Suite};
use serde_json::{json, Value};

use super::machine::recorded;

/// leapp-repository's own that take part; all others go.
const ACTORS: [&str; 12] = [
    "addupgradebootentry",
    "checkresumekernelarg",
    "createresumeservice",
    "ipuworkflowconfig",
    "kernelcmdlineconfig",
    "preparepythonworkround",
    "removebootfiles",
    "removeresumeservice",
    "removeupgradebootentry",
    "unsupportedupgradecheck",
    "verifycheckresults",
    "livemode",
];
const REPOSITORY: &str = "usr/share/leapp-repository";
const COMMON: &str = "usr/share/leapp-repository/repositories/system_upgrade/common";
const USERSPACE: &str = "var/lib/leapp/el10userspace";
const OS_RELEASE: &str =
    "NAME=\"Red Hat Enterprise Linux\"\nVERSION=\"9.8 (Plow)\"\nID=\"rhel\"\nVERSION_ID=\"9.8\"\n\
                          PRETTY_NAME=\"Red Hat Enterprise Linux 9.8 (Plow)\"\n";
/// What is not as on a machine, where the client runs on a mounted disk: nothing of the tests' own machine may reboot, and the
/// disk is a file.
const HERE: [(&str, &str); 2] = [
    (
        "usr/sbin/shutdown",
        "#!/bin/sh\necho \"$0 $*\" >>/run-asked-for\n",
    ),
    (
        "usr/bin/lsblk",
"#!/bin/sh\n/usr/bin/lsblk.its \"$@\" | sed -E 's#/dev/loop([0-9]+)#/dev/vdb\\1#g; s/\"type\": *\"loop\"/\"type\":\"disk\"/'\n",
    ),
];

/// Where the system's own lies meanwhile.
fn its(program: &str) -> String {
    format!("{program}.its")
}

pub(crate) struct Client {
    pub(crate) source: SourceDisk,
}

impl Client {
    /// A system with the framework, leapp-repository and our package, and ours in leapp's sight.
    pub(crate) fn new(real: &Path, config: &str) -> Self {
        let source = SourceDisk::with_grubby().unwrap();
        install(source.root());
        install_framework(&source, real);
        install_repository(&source, real);
        fs::write(source.at("etc/leapp/actor_conf.d/livemode.yaml"), config).unwrap();
        record_facts(&source);
        let container = source.at(USERSPACE);
        fs::create_dir_all(container.parent().unwrap()).unwrap();
        Cmd::new("cp")
            .arg("-a")
            .arg(testbed::container(Suite::Bookworm).unwrap())
            .arg(container)
            .run()
            .unwrap();
        for (program, text) in HERE {
            fs::rename(source.at(program), source.at(&its(program))).unwrap();
            write_program(&source.at(program), text);
        }
        let client = Self { source };
        client.run(&["livemode-prep", "actors", "install"], &[]);
        client
    }

    /// A copy of its disk for a machine of its own, which reboots by itself and reports after leapp's first boot.
    pub(crate) fn disk_in(&self, dir: &Path) -> PathBuf {
        let disk = dir.join("disk.img");
        self.source.copy_to(&disk).unwrap();
        let copy = Mounted::new(&disk).unwrap();
        for (program, _) in HERE {
            fs::rename(copy.at(&its(program)), copy.at(program)).unwrap();
        }
        let units = copy.at("etc/systemd/system");
        fs::write(
            units.join("demo.target"),
            "[Unit]\nRequires=demo-report.service\nWants=multi-user.target\n",
        )
        .unwrap();
        let more = units.join("demo-report.service.d");
        fs::create_dir(&more).unwrap();
        fs::write(
            more.join("after.conf"),
            "[Unit]\nAfter=leapp_resume.service livemode-cleanup.service\n[Service]\nStandardOutput=journal+console\n",
        )
        .unwrap();
        disk
    }

    /// A program on the system, as on a machine, with what it has said.
    pub(crate) fn run(&self, words: &[&str], environment: &[(&str, &str)]) -> String {
        // With what udev makes and says of the disk.
        let enter = "R=$0
            D=$(findmnt -no SOURCE $R); U=$(blkid -o value -s UUID $D)
            mount -t tmpfs none $R/dev && cp -a /dev/null /dev/zero /dev/full /dev/random /dev/urandom /dev/tty /dev/loop* $R/dev &&
            mkdir -p $R/dev/pts $R/dev/shm $R/dev/disk/by-uuid && ln -s ../../${D##*/} $R/dev/disk/by-uuid/$U &&
            mount --rbind /sys $R/sys && mount -t proc proc $R/proc && mount -t tmpfs none $R/run &&
            mkdir -p $R/run/udev/data && touch $R/run/udev/control || exit 99
            printf 'E:ID_FS_UUID=%s\nE:ID_FS_UUID_ENC=%s\nE:ID_FS_TYPE=ext4\nE:ID_FS_USAGE=filesystem\nG:systemd\n' $U $U \
                >$R/run/udev/data/b$(mountpoint -d $R)
            exec chroot $R \"$@\"";
        let mut call = Cmd::new("unshare")
            .args(["--mount", "--pid", "--fork", "--kill-child", "sh", "-c", enter])
            .arg(self.source.root())
            .args(words)
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .env("SOURCE", "/")
            .env("INSTALLED", "");
        for (key, value) in environment {
            call = call.env(key, value);
        }
        let (status, stdout, stderr) = call.output().unwrap();
        assert!(status.success(), "{words:?}: {stdout}{stderr}");
        stdout + &stderr
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    Cmd::new("cp")
        .args(["-r", "--no-dereference"])
        .arg(from.join("."))
        .arg(to)
        .run()
        .unwrap();
}

fn install_framework(source: &SourceDisk, real: &Path) {
    let version = Cmd::new("chroot").arg(source.root()).args([
        "python3",
        "-c",
        "import sys; print('python{}.{}'.format(*sys.version_info))",
    ]);
    let site = format!("usr/lib/{}/site-packages", version.read().unwrap().trim());
    copy(&real.join("framework/leapp"), &source.at(&site).join("leapp"));
    // Where leapp3 has what it needs from, by the target's own packages.
    copy(&real.join("python"), &source.at("usr/lib/python3/dist-packages"));
    let program = format!(
        "#!/usr/bin/python3 -B\nimport sys\nsys.path.append('/{site}')\nimport leapp.cli\nsys.exit(leapp.cli.main())\n"
    );
    write_program(&source.at("usr/bin/leapp"), &program);
    fs::remove_file(source.at("root/tmp_leapp_py3/leapp3")).unwrap();
    // el9's path for what the framework calls by it.
    if !source.at("usr/bin/find").exists() {
        symlink("/bin/find", source.at("usr/bin/find")).unwrap();
    }
}

/// With the actors that take part, and those of the tests in the place of others.
fn install_repository(source: &SourceDisk, real: &Path) {
    copy(&real.join("9to10/etc/leapp"), &source.at("etc/leapp"));
    copy(&real.join("9to10").join(REPOSITORY), &source.at(REPOSITORY));
    prune(&source.at(COMMON).join("actors"), &ACTORS);
    let own = "repositories/system_upgrade/el9toel10/actors";
    prune(&source.at(REPOSITORY).join(own), &[]);
    let generator = "actors/upgrade_initramfs_generator";
    copy(
        &workspace().join("tests/testbed/leapp/repository").join(generator),
        &source.at(COMMON).join(generator),
    );
    copy(
        &workspace().join("tests/real/actors"),
        &source.at(COMMON).join("actors/tests"),
    );
    fs::write(
        source.at("etc/leapp/leapp.conf"),
        "[repositories]\nrepo_path=/etc/leapp/repos.d/\n[database]\npath=/var/lib/leapp/leapp.db\n\
         [actor_config]\npath=/etc/leapp/actor_conf.d/\n",
    )
    .unwrap();
}

/// For the actors of the tests to say, as a RHEL would.
fn record_facts(source: &SourceDisk) {
    let mut facts = recorded(source, &Path::new("/").join(USERSPACE));
    facts.push(json!(["FirmwareFacts", {"firmware": "bios"}]));
    for fact in &mut facts {
        if fact[0] == "KernelCmdline" {
            let words = fact[1]["parameters"].as_array_mut().unwrap();
            words.push(json!({"key": "resume", "value": "UUID=0"}));
        }
    }
    let text = Value::from(facts).to_string();
    fs::write(source.at("etc/leapp/recorded.json"), text).unwrap();
    fs::write(source.at("usr/lib/os-release"), OS_RELEASE).unwrap();
}

fn write_program(path: &Path, text: &str) {
    // What was there may be a link.
    match fs::remove_file(path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => panic!("{}: {e}", path.display()),
        _ => fs::write(path, text).unwrap(),
    }
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

/// Leaves these directories alone.
fn prune(dir: &Path, kept: &[&str]) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if path.is_dir() && !kept.contains(&name) {
            fs::remove_dir_all(&path).unwrap();
        }
    }
}
