//! Storage that comes by the network, for `make check-all`.
use std::fs;
use std::net::TcpStream;
use std::process::Stdio;

use livemode_common::cmd::Cmd;
use livemode_common::contract::JOURNAL_LOG;
use livemode_tests::server::{free_port, Process};
use livemode_tests::source::wait_for;

use super::*;
use crate::all::{first_partition, plain};

/// A network as QEMU makes it for its user: the guest reaches what listens on this machine's loopback as 10.0.2.2.
const USER_NETWORK: &str = "user,model=virtio-net-pci";
const PROFILE: (&str, &str) = (
    "etc/NetworkManager/system-connections/lan.nmconnection",
    "[connection]\nid=lan\ntype=ethernet\n\n[ipv4]\nmethod=manual\naddress1=10.0.2.15/24,10.0.2.2\n\n[ipv6]\nmethod=disabled\n",
);

/// A server on this machine's loopback; it ends with the test.
fn serve(command: Cmd, port: u16) -> Process {
    let server = command.spawn(|command| {
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
    });
    let server = Process(server.unwrap());
    wait_for("the server", || TcpStream::connect(("127.0.0.1", port)).is_ok());
    server
}

#[test]
fn vm_a_mount_by_nfs() {
    let (dir, port) = (tempfile::tempdir().unwrap(), free_port());
    let export = dir.path().join("export");
    fs::create_dir(&export).unwrap();
    fs::write(export.join("file"), "of the server").unwrap();
    let configuration = format!(
        "NFS_CORE_PARAM {{ Protocols = 4; NFS_Port = {port}; Bind_addr = 127.0.0.1; Enable_NLM = false; Enable_RQUOTA = false; }}
NFSv4 {{ Grace_Period = 1; RecoveryBackend = fs; RecoveryRoot = {0}; }}
EXPORT {{ Export_Id = 1; Path = {1}; Pseudo = /export; Access_Type = RW; Squash = None; SecType = sys; FSAL {{ Name = VFS; }} }}\n",
        dir.path().display(),
        export.display()
    );
    let file = dir.path().join("ganesha.conf");
    fs::write(&file, configuration).unwrap();
    let ganesha = Cmd::new("ganesha.nfsd").arg("-F").arg("-f").arg(&file);
    let ganesha = ganesha
        .arg("-L")
        .arg(dir.path().join("log"))
        .arg("-p")
        .arg(dir.path().join("pid"));
    let _server = serve(ganesha, port);
    let (assembled, _) = upgrade(&Layout {
        fstab: format!("10.0.2.2:/export /data nfs4 port={port} 0 0\n").leak(),
        files: &[PROFILE, ("data/.keep", "")],
        config: "livemode: {setup_network_manager: true}\n",
        nic: USER_NETWORK,
        ..plain("nfs")
    });
    let journal = first_partition(assembled.disk(0)).read(JOURNAL_LOG);
    assert!(journal.contains("Mounted run-upgrade-data.mount"), "{journal}");
}

#[test]
fn vm_a_disk_by_iscsi() {
    const TARGET: &str = "iqn.2026-01.example:data";
    let (dir, port) = (tempfile::tempdir().unwrap(), free_port());
    let disk = dir.path().join("data.img");
    fs::File::create(&disk).unwrap().set_len(64 << 20).unwrap();
    let mkfs = Cmd::new("mkfs.ext4").args(["-q", "-F", "-U", "6c697665-6d6f-4d6f-8d6f-000000000005"]);
    mkfs.arg(&disk).run().unwrap();
    // What the daemon is controlled by is a socket with this number, which is below 32768.
    let control = (port % 32767).to_string();
    let tgtd = Cmd::new("tgtd").args(["--foreground", "--control-port", &control, "--iscsi"]);
    let _server = serve(tgtd.arg(format!("portal=127.0.0.1:{port}")), port);
    let tgtadm = |arguments: &[&str]| {
        let call = Cmd::new("tgtadm").args(["--control-port", &control, "--lld", "iscsi", "--tid", "1"]);
        call.args(arguments).run().unwrap();
    };
    tgtadm(&["--op", "new", "--mode", "target", "--targetname", TARGET]);
    let backing = disk.display().to_string();
    tgtadm(&[
        "--op",
        "new",
        "--mode",
        "logicalunit",
        "--lun",
        "1",
        "--backing-store",
        &backing,
    ]);
    tgtadm(&["--op", "bind", "--mode", "target", "--initiator-address", "ALL"]);
    let node = format!(
        "node.name = {TARGET}\nnode.tpgt = 1\nnode.startup = automatic\niface.iscsi_ifacename = default\n\
         iface.transport_name = tcp\nnode.conn[0].address = 10.0.2.2\nnode.conn[0].port = {port}\n\
         node.conn[0].startup = automatic\n"
    );
    let record = format!("etc/iscsi/nodes/{TARGET}/10.0.2.2,{port},1/default");
    let name = (
        "etc/iscsi/initiatorname.iscsi",
        "InitiatorName=iqn.2026-01.example:source\n",
    );
    let (assembled, _) = upgrade(&Layout {
        fstab: "UUID=6c697665-6d6f-4d6f-8d6f-000000000005 /data ext4 _netdev 0 0\n",
        files: vec![PROFILE, ("data/.keep", ""), name, (record.leak(), node.leak())].leak(),
        config: "livemode: {setup_network_manager: true}\n",
        nic: USER_NETWORK,
        make: format!(
            "{PARTITION}partition /dev/vdb ''; put volume0 /dev/vdb1
modprobe virtio_net; udevadm settle
nic=$(ls /sys/class/net | grep -v '^lo$')
ip link set lo up; ip link set $nic up; ip address add 10.0.2.15/24 dev $nic
modprobe iscsi_tcp
mkdir -p /run/lock /etc/iscsi
echo InitiatorName=iqn.2026-01.example:source >/etc/iscsi/initiatorname.iscsi
iscsid >/dev/null 2>&1
iscsiadm -m node -T {TARGET} -p 10.0.2.2:{port} -o new >/dev/null
iscsiadm -m node -T {TARGET} -p 10.0.2.2:{port} --login >/dev/null
for n in 1 2 3 4 5 6 7 8 9; do [ -b /dev/sda ] || sleep 1; done
udevadm settle
disks+=(/dev/sda)
finish() {{ iscsiadm -m node --logoutall=all >/dev/null; }}\n"
        )
        .leak(),
        ..plain("iscsi")
    });
    assert!(
        assembled.storage.contains(&"  /dev/sda  disk  ext4".to_owned()),
        "{:?}",
        assembled.storage
    );
}
