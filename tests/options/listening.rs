//! What of a live system listens and runs, asked inside, on its console or over ssh.
use std::collections::BTreeSet;

use livemode_tests::subject::Subject;
use livemode_tests::testbed::Suite;

use super::Ssh;

/// What the live system has listening and running, in words that do not depend on its time or addresses.
struct Running {
    /// `PROTOCOL PORT PROGRAM`.
    listening: BTreeSet<String>,
    /// Active services, sockets and timers, without systemd's own.
    units: BTreeSet<String>,
}

impl Running {
    const ASK: &'static str = "echo begin-$((40+2)); ss -lntupH | sed 's/^/ss: /'; systemctl list-units --plain --no-legend \
                               --no-pager --type=service,socket,timer --state=active | sed 's/^/unit: /'; echo end-$((40+2))";

    fn of(said: &str) -> Self {
        let said = said
            .rsplit("begin-42")
            .next()
            .unwrap()
            .split("end-42")
            .next()
            .unwrap();
        let after = |prefix: &'static str| {
            said.lines()
                .filter_map(move |line| line.trim().split_once(prefix))
        };
        let listening = after("ss: ").map(|(_, line)| {
            let words: Vec<&str> = line.split_whitespace().collect();
            let port = words[4].rsplit(':').next().unwrap();
            let program = line.split('"').nth(1).unwrap_or_default();
            format!("{} {port} {program}", words[0])
        });
        let units = after("unit: ").filter_map(|(_, line)| line.split_whitespace().next());
        let is_own = |unit: &&str| unit.starts_with("systemd-") || unit.starts_with("user");
        Self {
            listening: listening.collect(),
            units: units.filter(|unit| !is_own(unit)).map(str::to_owned).collect(),
        }
    }
}

fn set(words: &[&str]) -> BTreeSet<String> {
    words.iter().map(|&word| word.to_owned()).collect()
}

/// Of every live system: the bus, log-ins, what is ours, and what the kernel's modules and udev need.
const ALWAYS: [&str; 6] = [
    "dbus.service",
    "dbus.socket",
    "getty@tty2.service",
    "kmod-static-nodes.service",
    "livemode-journal.service",
    "serial-getty@ttyS0.service",
];

/// Neither rpcbind nor timers of packages, nor anything else that the container's packages have enabled: it has NFS, iSCSI,
/// multipath and e2fsprogs.
#[test]
fn vm_without_network_nothing_listens_and_only_ours_runs() {
    let config = "livemode:\n  autostart_upgrade_after_reboot: false\n  setup_passwordless_root: true\n";
    let subject = Subject::new(Suite::Bookworm, "by-hand", config).unwrap();
    let console = subject
        .started(|mut running| {
            running.log_in()?;
            running.type_line("export TERM=dumb; stty columns 300")?;
            running.type_line(Running::ASK)?;
            running.expect_after("begin-42", "end-42")?;
            running.type_line("echo weight-$(systemctl show -P StartupCPUWeight livemode-upgrade)")?;
            running.expect("weight-1000")?;
            Ok(running.console())
        })
        .unwrap();
    let found = Running::of(&console);
    assert_eq!(found.listening, set(&[]), "{console}");
    let optional = set(&["livemode-console.service"]);
    let units: BTreeSet<String> = found.units.difference(&optional).cloned().collect();
    assert_eq!(units, set(&ALWAYS), "{console}");
}

/// With a network: sshd on the source's port, NetworkManager's own client of DHCP, and nothing else.
#[test]
fn vm_with_sshd_only_sshd_listens() {
    let config = "livemode:
  setup_network_manager: yes
  setup_opensshd_using_auth_keys: /root/keys
  setup_passwordless_root: yes
  autostart_upgrade_after_reboot: no
";
    let mut subject = Subject::new(Suite::Bookworm, "listening", config).unwrap();
    // The source's profile is for eth0.
    subject.arguments += " net.ifnames=0";
    let ssh = Ssh::new();
    subject.nic = format!(
        "user,model=virtio-net-pci,hostfwd=tcp:127.0.0.1:{}-10.0.2.77:22",
        ssh.port
    );
    subject
        .started(|_machine| {
            ssh.until("echo is-$(systemctl is-active multi-user.target)", "is-active")?;
            let said = ssh.run(Running::ASK)?;
            let found = Running::of(&said);
            let clients = set(&["udp 68 NetworkManager", "udp 546 NetworkManager"]);
            let listening: BTreeSet<String> = found.listening.difference(&clients).cloned().collect();
            assert_eq!(listening, set(&["tcp 22 sshd"]), "{said}");
            let network = [
                "NetworkManager.service",
                "NetworkManager-dispatcher.service",
                "NetworkManager-wait-online.service",
                "livemode-console.service",
            ];
            let units: BTreeSet<String> = found.units.difference(&set(&network)).cloned().collect();
            let ssh_unit = ["ssh.service"];
            assert_eq!(units, set(&[&ALWAYS[..], &ssh_unit].concat()), "{said}");
            Ok(())
        })
        .unwrap();
}
