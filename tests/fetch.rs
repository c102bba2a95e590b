//! The image by URL, on the kernel of this machine, as root: the real curl, servers that do as they are told, and a real
//! mount of what has arrived, in a mount namespace of its own.
#![allow(clippy::unwrap_used)]
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use livemode_common::cmd::Cmd;
use livemode_tests::binaries::{binary, workspace};
use livemode_tests::disk::Mounted;
use livemode_tests::server::{free_port, Manner, Process, Server};

/// A small image of random bytes (which do not compress), and where it lies.
struct Image {
    dir: tempfile::TempDir,
    bytes: Vec<u8>,
    sha256: String,
}

impl Image {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let tree = dir.path().join("tree");
        for name in ["proc", "usr"] {
            fs::create_dir_all(tree.join(name)).unwrap();
        }
        let random = fs::File::open("/dev/urandom").unwrap();
        let mut content = Vec::new();
        std::io::Read::read_to_end(&mut std::io::Read::take(random, 4 << 20), &mut content).unwrap();
        fs::write(tree.join("usr/content"), content).unwrap();
        fs::create_dir(dir.path().join("www")).unwrap();
        let path = dir.path().join("www/live.img");
        let pack = Cmd::new("mksquashfs").arg(&tree).arg(&path);
        pack.args(["-quiet", "-no-progress"]).run().unwrap();
        let bytes = fs::read(&path).unwrap();
        let (sha256, _) = livemode_common::fsio::sha256(&bytes[..], |_| ()).unwrap();
        Self { dir, bytes, sha256 }
    }

    fn www(&self) -> PathBuf {
        self.dir.path().join("www")
    }

    /// The kernel command line that asks for it.
    fn arguments(&self, url: &str, more: &str) -> String {
        let (size, sha256) = (self.bytes.len(), &self.sha256);
        format!(
            "root=livemode:{url} livemode.size={size} livemode.digest=sha256:{sha256} livemode.fetch_timeout=60 \
             rd.live.dir=/ rd.live.squashimg=live.img {more}"
        )
    }

    /// Runs `livemode-boot mount`; what it mounts is gone with its namespace. Its exit code and all that it said,
    /// with the boot record behind.
    fn mount(&self, arguments: &str) -> (i32, String) {
        self.mount_and(arguments, "cat /run/livemode/boot.json")
    }

    /// The same, with what `look`, a script, says in the place of the boot record.
    fn mount_and(&self, arguments: &str, look: &str) -> (i32, String) {
        let line = self.dir.path().join("cmdline");
        fs::write(&line, arguments).unwrap();
        let sysroot = self.dir.path().join("sysroot");
        let script = "mount -t tmpfs run /run && \"$0\" mount --cmdline \"$1\" --sysroot \"$2\" && \
                      cmp \"$2/usr/content\" \"$3/tree/usr/content\" && ";
        let call = Cmd::new("unshare")
            .args(["--mount", "--propagation", "private", "sh", "-c"])
            .arg(format!("{script}{look}"))
            .arg(binary("livemode-boot"))
            .arg(&line)
            .arg(&sysroot)
            .arg(self.dir.path());
        let (status, stdout, stderr) = call.output().unwrap();
        (status.code().unwrap(), stdout + &stderr)
    }

    fn assert_mounted(&self, arguments: &str, from: &str) {
        let (code, said) = self.mount(arguments);
        assert_eq!(code, 0, "{said}");
        assert!(said.contains(&format!("\"device\": \"{from}\"")), "{said}");
        assert!(
            said.contains(&format!("\"sha256\": \"{}\"", self.sha256)),
            "{said}"
        );
    }
}

fn http(server: &Server) -> String {
    format!("http://127.0.0.1:{}/live.img", server.port())
}

#[test]
fn root_an_image_comes_by_http() {
    let image = Image::new();
    let server = Server::start(image.bytes.clone(), Manner::Whole).unwrap();
    image.assert_mounted(&image.arguments(&http(&server), ""), &http(&server));
    assert_eq!(server.requests(), ["0"]);
}

/// Memory holds what was fetched once: neither the loop device nor anything else below /run keeps it a second time, once all of
/// it was read.
#[test]
fn root_an_image_by_http_is_in_memory_once() {
    let image = Image::new();
    let server = Server::start(image.bytes.clone(), Manner::Whole).unwrap();
    let look = "device=$(losetup --noheadings --output NAME --associated /run/livemode/fetched/image) && \
                fincore --bytes --noheadings --output RES /run/livemode/fetched/image $device && \
                df --block-size 1 --output=used /run/livemode/fetched /run | tail -n 2";
    let (code, said) = image.mount_and(&image.arguments(&http(&server), ""), look);
    assert_eq!(code, 0, "{said}");
    let numbers: Vec<usize> = said.lines().filter_map(|line| line.trim().parse().ok()).collect();
    let [fetched, device, there, elsewhere] = numbers[..] else {
        panic!("{said}")
    };
    let size = image.bytes.len();
    let is_all = |bytes: usize| (size..size + (64 << 10)).contains(&bytes);
    assert!(is_all(fetched) && is_all(there), "{size}: {said}");
    assert!(device < size / 8 && elsewhere < size / 8, "{size}: {said}");
}

#[test]
fn root_progress_is_told_in_the_kernel_log() {
    let image = Image::new();
    let server = Server::start(image.bytes.clone(), Manner::Slow(500_000)).unwrap();
    image.assert_mounted(&image.arguments(&http(&server), ""), &http(&server));
    let log = Cmd::new("dmesg").read().unwrap();
    let lines: Vec<&str> = log.lines().filter(|line| line.contains(&http(&server))).collect();
    assert!(
        lines[0].ends_with(&format!("livemode: fetching {}", http(&server))),
        "{lines:?}"
    );
    assert!(
        lines
            .iter()
            .any(|line| line.contains(" of 5 MiB, ") && line.ends_with(" %")),
        "{lines:?}"
    );
}

/// As upstream's actors write the entry: no digest, no size.
#[test]
fn root_an_image_of_upstreams_entry_comes_unchecked() {
    let image = Image::new();
    let server = Server::start(image.bytes.clone(), Manner::Breaks(3_000_000)).unwrap();
    let (code, said) = image.mount(&format!("root=live:{} rd.live.image ip=dhcp", http(&server)));
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("\"sha256\": null"), "{said}");
    assert_eq!(server.requests(), ["0", "3000000"]);
}

#[test]
fn root_an_image_comes_by_ftp() {
    let image = Image::new();
    let port = free_port();
    // Debian's own Python: the package is for that one.
    let ftpd = Cmd::new("/usr/bin/python3")
        .args([
            "-m",
            "pyftpdlib",
            "-i",
            "127.0.0.1",
            "-p",
            &port.to_string(),
            "-d",
        ])
        .arg(image.www());
    let spawned = ftpd.spawn(|command| {
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
    });
    let _server = Process(spawned.unwrap());
    let url = format!("ftp://127.0.0.1:{port}/live.img");
    image.assert_mounted(&image.arguments(&url, ""), &url);
    let missing = image.arguments(&format!("ftp://127.0.0.1:{port}/none.img"), "");
    let (code, said) = image.mount(&missing);
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("none.img: the server has no such file"), "{said}");
}

#[test]
fn root_an_image_comes_by_https_from_a_server_that_is_trusted() {
    let image = Image::new();
    let [certificate, key] = ["cert.pem", "key.pem"].map(|name| image.dir.path().join(name));
    let make = Cmd::new("openssl").args([
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-subj",
        "/CN=127.0.0.1",
    ]);
    make.arg("-out")
        .arg(&certificate)
        .arg("-keyout")
        .arg(&key)
        .run()
        .unwrap();
    let mut server = Process(
        Cmd::new(workspace().join("tests/testbed/https.py"))
            .arg(image.www())
            .arg(&certificate)
            .arg(&key)
            .spawn(|command| {
                command
                    .stdin(Stdio::null())
                    .stdout(Stdio::piped())
                    .stderr(Stdio::null());
            })
            .unwrap(),
    );
    let mut port = String::new();
    BufReader::new(server.0.stdout.take().unwrap())
        .read_line(&mut port)
        .unwrap();
    let url = format!("https://127.0.0.1:{}/live.img", port.trim());
    let (code, said) = image.mount(&image.arguments(&url, ""));
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("its certificate is not accepted"), "{said}");
    image.assert_mounted(&image.arguments(&url, "rd.noverifyssl"), &url);
}

#[test]
fn root_a_broken_connection_is_resumed() {
    let image = Image::new();
    let server = Server::start(image.bytes.clone(), Manner::Breaks(2_000_000)).unwrap();
    image.assert_mounted(&image.arguments(&http(&server), ""), &http(&server));
    assert_eq!(server.requests(), ["0", "2000000", "4000000"]);
}

#[test]
fn root_a_server_without_ranges_is_asked_for_the_whole_again() {
    let image = Image::new();
    let server = Server::start(image.bytes.clone(), Manner::BreaksOnceWithoutRanges(2_000_000)).unwrap();
    image.assert_mounted(&image.arguments(&http(&server), ""), &http(&server));
    assert_eq!(server.requests(), ["0", "2000000", "0"]);
}

#[test]
fn root_a_file_that_changed_between_two_pieces_is_fetched_anew_and_judged_by_its_digest() {
    let image = Image::new();
    let mut other = image.bytes.clone();
    other[3_000_000] ^= 1;
    let server = Server::start(other, Manner::Breaks(2_500_000)).unwrap();
    let (code, said) = image.mount(&image.arguments(&http(&server), "livemode.fetch_timeout=8"));
    assert_eq!(code, 1, "{said}");
    assert!(
        said.contains("at last: the server's file has other content"),
        "{said}"
    );
    assert_eq!(server.requests()[..3], ["0", "2500000", "0"]);
}

#[test]
fn root_each_fault_of_a_server_is_named() {
    let image = Image::new();
    let whole = image.bytes.clone();
    let short = whole[..1_000_000].to_vec();
    let long = [whole.clone(), vec![0]].concat();
    let mut other = whole.clone();
    other[100] ^= 1;
    for (file, manner, more, fault) in [
        (
            whole.clone(),
            Manner::Status(404),
            "",
            "the server answered 404: there is no such file",
        ),
        (
            whole.clone(),
            Manner::Status(403),
            "",
            "the server answered 403: access is refused",
        ),
        (
            whole.clone(),
            Manner::Status(503),
            "livemode.fetch_timeout=3",
            "not fetched within 3 s; at last: the server answered 503",
        ),
        (
            short,
            Manner::Whole,
            "",
            "the server's file is too short: 1000000 bytes of ",
        ),
        (
            long,
            Manner::Whole,
            "",
            "the server's file is too long: more than ",
        ),
        (
            other,
            Manner::Whole,
            "",
            "the server's file has other content: sha256 ",
        ),
        (
            whole.clone(),
            Manner::Stalls(1_000_000),
            "livemode.fetch_timeout=22",
            "not fetched within 22 s; at last: it stalled: ",
        ),
        (
            whole.clone(),
            Manner::Whole,
            "livemode.size=9000000000000",
            "not enough memory: 8583069 MiB for the image and 512 MiB for the live system",
        ),
    ] {
        let server = Server::start(file, manner).unwrap();
        let (code, said) = image.mount(&image.arguments(&http(&server), more));
        assert_eq!(code, 1, "{manner:?} {said}");
        assert!(said.contains(fault), "{manner:?}: no '{fault}' in: {said}");
    }
    let nobody = format!("http://127.0.0.1:{}/live.img", free_port());
    let (code, said) = image.mount(&image.arguments(&nobody, "livemode.fetch_timeout=2"));
    assert_eq!(code, 1, "{said}");
    assert!(
        said.contains("not fetched within 2 s; at last: Failed to connect"),
        "{said}"
    );
}

/// A loop device; detached when dropped.
struct Loop(String);

impl Loop {
    fn attach(file: &Path) -> Self {
        Self(
            Cmd::new("losetup")
                .args(["--find", "--show"])
                .arg(file)
                .read()
                .unwrap()
                .trim()
                .to_owned(),
        )
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        Cmd::new("losetup").args(["--detach", &self.0]).run().unwrap();
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn root_the_local_image_serves_when_the_servers_cannot() {
    let image = Image::new();
    let disk = image.dir.path().join("disk.img");
    fs::File::create(&disk).unwrap().set_len(64 << 20).unwrap();
    Cmd::new("mkfs.ext4").arg("-q").arg(&disk).run().unwrap();
    let mounted = Mounted::new(&disk).unwrap();
    fs::write(mounted.at("live.img"), &image.bytes).unwrap();
    drop(mounted);
    let device = Loop::attach(&disk);

    let server = Server::start(Vec::new(), Manner::Status(404)).unwrap();
    let arguments = image.arguments(&http(&server), &format!("livemode.local={}", device.0));
    image.assert_mounted(&arguments, &device.0);

    drop(device);
    let mounted = Mounted::new(&disk).unwrap();
    fs::write(mounted.at("live.img"), &image.bytes[1..]).unwrap();
    drop(mounted);
    let device = Loop::attach(&disk);
    let arguments = image.arguments(&http(&server), &format!("livemode.local={}", device.0));
    let (code, said) = image.mount(&arguments);
    assert_eq!(code, 1, "{said}");
    assert!(
        said.contains("the server answered 404") && said.contains("; and the image /live.img on /dev/loop"),
        "{said}"
    );
}
