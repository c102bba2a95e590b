//! The configuration's options in a live system that boots: what each row of the documentation promises, seen from inside,
//! over ssh, or on the disk afterwards.
#![allow(clippy::unwrap_used)]
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use anyhow::{ensure, Result};
use livemode_common::cmd::Cmd;
use livemode_common::contract::LEAPP_LOG;
use livemode_tests::binaries::workspace;
use livemode_tests::disk::Mounted;
use livemode_tests::server::{free_port, Manner, Server};
use livemode_tests::subject::Subject;
use livemode_tests::testbed::{self, Suite};

#[path = "options/listening.rs"]
mod listening;
#[path = "options/trace.rs"]
mod trace;

const IMAGE: &str = "var/lib/leapp/live-upgrade.img";
/// Until sshd answers in an emulated machine.
const LIMIT: Duration = Duration::from_secs(240);

/// An admin's ssh, who knows the source's host key from before the reboot.
struct Ssh {
    port: u16,
    dir: tempfile::TempDir,
    key: PathBuf,
}

impl Ssh {
    fn new() -> Self {
        let port = free_port();
        let dir = tempfile::tempdir().unwrap();
        let source = testbed::source().unwrap();
        let host_key = fs::read_to_string(source.join("etc/ssh/ssh_host_ed25519_key.pub")).unwrap();
        fs::write(
            dir.path().join("known_hosts"),
            format!("[127.0.0.1]:{port} {host_key}"),
        )
        .unwrap();
        Self {
            port,
            dir,
            key: source.join("root/.ssh/id_ed25519"),
        }
    }

    fn call(&self, options: &[&str], command: &str) -> Cmd {
        Cmd::new("ssh")
            .args([
                "-F",
                "none",
                "-o",
                "BatchMode=yes",
                "-o",
                "StrictHostKeyChecking=yes",
                "-o",
                "ConnectTimeout=10",
            ])
            .arg(format!(
                "-oUserKnownHostsFile={}",
                self.dir.path().join("known_hosts").display()
            ))
            .args(options)
            .arg("-i")
            .arg(&self.key)
            .args(["-p", &self.port.to_string(), "root@127.0.0.1", command])
    }

    fn run(&self, command: &str) -> Result<String> {
        self.call(&[], command).read()
    }

    /// As soon as sshd answers and the output holds `text`.
    fn until(&self, command: &str, text: &str) -> Result<String> {
        let started = Instant::now();
        loop {
            let said = self.run(command);
            match said {
                Ok(said) if said.contains(text) => return Ok(said),
                said => ensure!(started.elapsed() < LIMIT, "no '{text}' from {command}: {said:?}"),
            }
            std::thread::sleep(Duration::from_secs(1));
        }
    }

    fn spawn(&self, command: &str) -> Session {
        let spawned = self.call(&[], command).spawn(|c| {
            c.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        });
        Session(spawned.unwrap())
    }
}

/// A command over ssh that goes on; ended when dropped.
struct Session(Child);

impl Drop for Session {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn mode(path: &Path) -> u32 {
    use std::os::unix::fs::PermissionsExt;
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

/// The image was built for a port that nobody listens on: each server has its own.
fn serve_from(subject: &mut Subject, server: &Server) {
    let port = format!("10.0.2.2:{}/", server.port());
    subject.arguments = subject.arguments.replace("10.0.2.2:1/", &port);
}

/// The image comes by URL, and an admin by ssh.
fn by_url() -> Subject {
    // What a loader takes for its own: & ; and so on.
    let config = "livemode:
  url_to_load_squashfs_image_from: http://10.0.2.2:1/live.img?a=1&b=2;c
  dracut_network: ip=10.0.2.15::10.0.2.2:255.255.255.0::eth0:none net.ifnames=0
  setup_network_manager: yes
  setup_opensshd_using_auth_keys: /root/keys
  setup_passwordless_root: yes
  autostart_upgrade_after_reboot: no
  additional_packages: [demo-extra]
";
    Subject::new(Suite::Bookworm, "url", config).unwrap()
}

/// The server has no image: the local one serves. The boot line wins over the file.
#[cfg(feature = "all")]
#[test]
fn vm_a_server_without_the_image_leaves_the_local_one() {
    let server = Server::start(Vec::new(), Manner::Status(404)).unwrap();
    let mut subject = by_url();
    serve_from(&mut subject, &server);
    subject.nic = "user,model=virtio-net-pci".to_owned();
    subject.arguments += " upgrade.autostart=1";
    let console = subject.boot().unwrap();
    assert!(
        console.contains("the server answered 404: there is no such file; taking the local image"),
        "{console}"
    );
    assert!(console.contains("livemode: the upgrade succeeded"), "{console}");
}

/// There is no network at all: its wait ends, and the local image serves.
#[test]
fn vm_a_network_that_never_comes_leaves_the_local_image() {
    let mut subject = by_url();
    subject.arguments += " upgrade.autostart=1 livemode.timeout=40 livemode.fetch_timeout=3";
    let console = subject.started(|mut running| {
        running.expect("livemode: attempt 1, step 1 of 2")?;
        Ok(running.console())
    });
    let console = console.unwrap();
    for text in ["livemode: no longer waiting for ", "taking the local image"] {
        assert!(console.contains(text), "no '{text}':\n{console}");
    }
}

#[test]
fn vm_an_image_by_url_and_an_admin_over_ssh() {
    let mut subject = by_url();
    let disk = subject.mounted().unwrap();
    let image = fs::read(disk.at(IMAGE)).unwrap();
    assert_eq!(mode(&disk.at(IMAGE)), 0o600);
    for file in ["vmlinuz-livemode.x86_64", "initramfs-livemode.x86_64.img"] {
        assert_eq!(mode(&disk.at(&format!("boot/{file}"))), 0o600);
    }
    drop(disk);

    let whole = Server::start(image, Manner::Breaks(100 << 20)).unwrap();
    serve_from(&mut subject, &whole);
    let ssh = Ssh::new();
    subject.nic = format!(
        "user,model=virtio-net-pci,hostfwd=tcp:127.0.0.1:{}-10.0.2.77:22",
        ssh.port
    );
    let console = subject.started(|mut running| {
        running.expect("demo-source login:")?;
        // Reached at the address of the source's profile, with the source's host key.
        let addresses = ssh.until("ip -4 -o address show eth0", "10.0.2.77/24")?;
        ensure!(!addresses.contains("10.0.2.15"), "{addresses}");
        let routes = ssh.run("ip route")?;
        ensure!(routes.contains("198.51.100.0/24 via 10.0.2.2 dev eth0"), "{routes}");
        // One profile is a keyfile as it is, the other was an ifcfg file.
        ssh.until("ip -4 -o address show office0", "192.0.2.5/24")?;
        let boot = ssh.run("cat /run/livemode/boot.json")?;
        ensure!(boot.contains(&format!("http://10.0.2.2:{}/live.img?a=1&b=2;c", whole.port())), "{boot}");
        let motd = ssh.run("cat /etc/motd")?;
        for line in [
            "The upgrade waits: log in and type  upgrade  to start it.",
            "root logs in on a console without a password.",
            "ssh takes root's authorized keys, and no password.",
        ] {
            ensure!(motd.contains(line), "{motd}");
        }
        let modes = ssh.run("stat -c %a /root/.ssh /root/.ssh/authorized_keys /etc/ssh/ssh_host_ed25519_key /etc/NetworkManager/system-connections/*")?;
        ensure!(modes == "700\n600\n600\n600\n600\n", "{modes}");
        ensure!(ssh.run("demo-extra")? == "extra\n", "the additional package is not there");
        let empty = ssh.run("awk -F: '$1 == \"root\" {print \"<\" $2 \">\"}' /etc/passwd /etc/shadow")?;
        ensure!(empty == "<>\n<>\n", "{empty}");
        let (status, _, stderr) =
            ssh.call(&["-o", "PubkeyAuthentication=no", "-o", "BatchMode=no", "-o", "NumberOfPasswordPrompts=0"], "true").output()?;
        ensure!(!status.success() && stderr.contains("Permission denied (publickey)"), "{stderr}");
        ensure!(ssh.run("livemode-run status")?.contains("booted"), "something runs already");

        let identity = ssh.run("cat /etc/machine-id; hostname")?;
        ensure!(identity == "abcdef0123456789abcdef0123456789\ndemo-source\n", "{identity}");

        ssh.run("touch /run/upgrade/.noreboot")?;
        let _upgrade = ssh.spawn("upgrade");
        ssh.until("livemode-run status", "upgrading: step")?;
        ssh.until(&format!("cat /run/upgrade/{LEAPP_LOG}"), "livemode: attempt 1, step 1 of 2")?;
        // An admin wants to look before the reboot.
        ssh.until("livemode-run status", "succeeded")?;
        running.expect("/run/upgrade/.noreboot is there: not rebooting")?;
        ssh.run("rm /run/upgrade/.noreboot; systemctl --no-block reboot")?;
        running.wait()
    });
    let console = console.unwrap();
    assert!(
        console.contains("livemode: fetching http://10.0.2.2:"),
        "{console}"
    );
    assert_eq!(whole.paths()[0], "/live.img?a=1&b=2;c");
    assert_eq!(
        whole.requests()[..2],
        ["0".to_owned(), (100 << 20).to_string()],
        "{console}"
    );
    assert_eq!(subject.state().unwrap()["state"], "succeeded");
}

#[test]
#[cfg(feature = "all")]
fn vm_a_target_of_debian_13_fetches_its_image() {
    let config = "livemode:
  url_to_load_squashfs_image_from: http://10.0.2.2:1/live.img
  dracut_network: ip=dhcp
";
    let mut subject = Subject::new(Suite::Trixie, "url", config).unwrap();
    let whole = Server::start(
        fs::read(subject.mounted().unwrap().at(IMAGE)).unwrap(),
        Manner::Whole,
    )
    .unwrap();
    serve_from(&mut subject, &whole);
    subject.nic = "user,model=virtio-net-pci".to_owned();
    let console = subject.boot().unwrap();
    let mounted = format!("of http://10.0.2.2:{}/live.img is mounted as root", whole.port());
    assert!(console.contains(&mounted), "{console}");
    assert!(console.contains("livemode: the upgrade succeeded"), "{console}");
    assert_eq!(whole.requests(), ["0"]);
}

/// Another disk, a btrfs subvolume, a bind mount, a link, and blanks in the name.
#[test]
fn vm_an_image_lies_anywhere() {
    const UUID: &str = "6c697665-6d6f-4d6f-8d6f-64656d6f3032";
    let config = "livemode: {squashfs_image_path: /images/live upgrade.img}\n";
    let code = workspace().join(file!());
    let subject = Subject::arranged(Suite::Bookworm, "anywhere", config, &code, |source, second| {
        fs::File::create(second)?.set_len(2 << 30)?;
        Cmd::new("mkfs.btrfs")
            .args(["-q", "-U", UUID])
            .arg(second)
            .run()?;
        let top = Mounted::new(second)?;
        for subvolume in ["@data", "@other"] {
            Cmd::new("btrfs")
                .args(["subvolume", "create"])
                .arg(top.at(subvolume))
                .run()?;
        }
        // Paths must not depend on what is mounted by default.
        Cmd::new("btrfs")
            .args(["subvolume", "set-default"])
            .arg(top.at("@other"))
            .run()?;
        drop(top);
        let fstab = source.read("etc/fstab")
            + &format!(
                "UUID={UUID} /data btrfs subvol=@data 0 0\n/data/of\\040leapp /srv/images none bind 0 0\n"
            );
        fs::write(source.at("etc/fstab"), fstab)?;
        for dir in ["data", "srv/images"] {
            fs::create_dir_all(source.at(dir))?;
        }
        std::os::unix::fs::symlink("/srv/images", source.at("images"))?;
        let data = Over::new(
            &["-o", "loop,subvol=@data", second.to_str().unwrap()],
            source.at("data"),
        );
        fs::create_dir(source.at("data/of leapp"))?;
        let from = source.at("data/of leapp");
        let images = Over::new(&["--bind", from.to_str().unwrap()], source.at("srv/images"));
        // Unmounted in this order.
        Ok((images, data))
    })
    .unwrap();
    let arguments = &subject.arguments;
    assert!(
        arguments.starts_with(&format!(
            "root=livemode:UUID={UUID} rd.live.dir=/@data/of%20leapp rd.live.squashimg=live%20upgrade.img "
        )),
        "{arguments}"
    );
    let console = subject.boot().unwrap();
    assert!(console.contains("livemode: the upgrade succeeded"), "{console}");
    assert_eq!(subject.state().unwrap()["state"], "succeeded");
}

/// Something mounted on a directory; unmounted when dropped.
struct Over(PathBuf);

impl Over {
    fn new(arguments: &[&str], target: PathBuf) -> Self {
        Cmd::new("mount").args(arguments).arg(&target).run().unwrap();
        Self(target)
    }
}

impl Drop for Over {
    fn drop(&mut self) {
        Cmd::new("umount").arg(&self.0).run().unwrap();
    }
}
