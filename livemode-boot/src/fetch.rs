//! The image from a URL: curl(1) brings it into RAM, and it is counted and hashed as it arrives. What breaks is
//! resumed, what may heal is tried again with growing pauses, until a deadline; what is simply not there is said at once.
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, Write};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use anyhow::{bail, Context, Result};
use livemode_common::cmd::Cmd;
use livemode_common::contract::LIVE_MEMORY_BYTES;
use livemode_common::fsio::Sha256Writer;
use livemode_common::mount::{MountSpec, MountStack};

use crate::console::{say, Level};
use crate::params::Check;
use crate::plan::Fetch;

const MIB: u64 = 1 << 20;
/// The tmpfs's own pages (Documentation/filesystems/tmpfs.rst), beside the image's.
const TMPFS_SLACK: u64 = MIB;
const CONNECT_TIMEOUT_S: &str = "20";
/// Slower than this for so long is a stall.
const STALL_BYTES_PER_S: &str = "1024";
const STALL_S: &str = "20";
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
const PROGRESS_EVERY: Duration = Duration::from_secs(5);
const CHUNK: usize = 1 << 18;

/// The whole image, in RAM.
pub(crate) struct Fetched {
    pub(crate) file: File,
    pub(crate) size: u64,
    pub(crate) sha256: String,
}

/// Why one attempt has not brought the image.
#[derive(Debug, PartialEq, Eq)]
enum Fault {
    /// It may go away by itself: the fetch is tried again, from where it broke.
    Retry(String),
    /// What has arrived is of no use: the fetch is tried again, from the start.
    Restart(String),
    /// Another try would end the same way: there is none.
    Final(String),
}

/// Fetches the image into a tmpfs that `mounts` takes. One with a digest is refused unless it has it.
pub(crate) fn fetch(
    fetch: &Fetch,
    size: Option<u64>,
    check: &Check,
    mounts: &mut MountStack,
) -> Result<Fetched> {
    let url = &fetch.shown;
    let meminfo = fs::read_to_string("/proc/meminfo").context("reading /proc/meminfo")?;
    let room = room_bytes(&meminfo, size).with_context(|| format!("fetching {url}"))?;
    let dir = &fetch.mount;
    fs::create_dir_all(dir).with_context(|| format!("creating {}", dir.display()))?;
    mounts.mount(&MountSpec::new(
        "livemode",
        dir,
        "tmpfs",
        &format!("mode=0700,size={room}"),
    ))?;

    say(Level::Info, &format!("fetching {url}"));
    let started = Instant::now();
    let timeout = Duration::from_secs(fetch.timeout_s);
    let mut arrived = Arrived::new(fetch)?;
    let mut pause = FIRST_PAUSE;
    loop {
        let from = arrived.bytes;
        let left = timeout.saturating_sub(started.elapsed());
        let ended = attempt(fetch, size, left, &mut arrived);
        let fault = match ended.and_then(|()| accept(&arrived, size, check, from > 0)) {
            Ok(sha256) => return arrived.complete(sha256),
            Err(Fault::Final(fault)) => bail!("{url}: {fault}"),
            Err(Fault::Restart(fault)) => {
                arrived = Arrived::new(fetch)?;
                fault
            }
            Err(Fault::Retry(fault)) => fault,
        };
        if arrived.bytes > from {
            pause = FIRST_PAUSE;
        }
        if started.elapsed() + pause >= timeout {
            bail!(
                "{url}: not fetched within {} s; at last: {fault}",
                fetch.timeout_s
            );
        }
        let s = pause.as_secs();
        say(Level::Warning, &format!("{url}: {fault}; once more in {s} s"));
        std::thread::sleep(pause);
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// What the tmpfs may take: the image's size where it is known. An error when the live system would lack memory.
fn room_bytes(meminfo: &str, size: Option<u64>) -> Result<u64> {
    let line = meminfo.lines().find_map(|l| l.strip_prefix("MemAvailable:"));
    let kib = line
        .and_then(|l| l.split_whitespace().next())
        .and_then(|n| n.parse::<u64>().ok());
    let available = kib.context("no MemAvailable in /proc/meminfo")? * 1024;
    let room = size.map_or(available.saturating_sub(LIVE_MEMORY_BYTES), |size| {
        size + TMPFS_SLACK
    });
    if room == 0 || room + LIVE_MEMORY_BYTES > available {
        let mib = |bytes: u64| bytes.div_ceil(MIB);
        bail!(
            "not enough memory: {} MiB for the image and {} MiB for the live system, {} MiB available",
            mib(size.unwrap_or(0)),
            mib(LIVE_MEMORY_BYTES),
            available / MIB
        );
    }
    Ok(room)
}

/// What has come so far.
struct Arrived {
    file: Sha256Writer<File>,
    bytes: u64,
}

impl Arrived {
    fn new(fetch: &Fetch) -> Result<Self> {
        let path = fetch.file();
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(&path);
        let file = file.with_context(|| format!("creating {}", path.display()))?;
        Ok(Self {
            file: Sha256Writer::new(file),
            bytes: 0,
        })
    }

    fn complete(self, sha256: String) -> Result<Fetched> {
        let mut file = self.file.into_inner();
        file.rewind().context("rewinding the image")?;
        Ok(Fetched {
            file,
            size: self.bytes,
            sha256,
        })
    }
}

/// The digest of what has arrived, if it is the image.
fn accept(arrived: &Arrived, size: Option<u64>, check: &Check, resumed: bool) -> Result<String, Fault> {
    let bytes = arrived.bytes;
    // A fetch that was resumed may have pieces of two files, where the server's has changed in between: what is wrong
    // then is only a verdict about the image after a fetch in one piece.
    let fault = |text| {
        if resumed {
            Fault::Restart(text)
        } else {
            Fault::Final(text)
        }
    };
    if size.is_some_and(|size| bytes < size) {
        let size = size.unwrap_or_default();
        return Err(fault(format!(
            "the server's file is too short: {bytes} bytes of {size}"
        )));
    }
    let found = arrived.file.sha256();
    match check {
        Check::Sha256(expected) if found != *expected => Err(fault(format!(
            "the server's file has other content: sha256 {found} in place of {expected}"
        ))),
        _ => Ok(found),
    }
}

/// One run of curl, from where the last one ended.
fn attempt(fetch: &Fetch, size: Option<u64>, left: Duration, arrived: &mut Arrived) -> Result<(), Fault> {
    let retry = |error: anyhow::Error| Fault::Retry(format!("{error:#}"));
    let spawned = curl(fetch, left, arrived.bytes).spawn(|command| {
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
    });
    let mut child =
        spawned.map_err(|e| Fault::Final(format!("{e:#}; dracut's module url-lib brings curl")))?;
    let received = receive(&mut child, fetch, size, arrived);
    if received.is_err() {
        child.kill().map_err(|e| retry(e.into()))?;
    }
    let mut said = String::new();
    if let Some(mut stderr) = child.stderr.take() {
        stderr.read_to_string(&mut said).map_err(|e| retry(e.into()))?;
    }
    let status = child.wait().map_err(|e| retry(e.into()))?;
    received?;
    if status.success() {
        return Ok(());
    }
    Err(verdict(status.code(), &said))
}

fn curl(fetch: &Fetch, left: Duration, from: u64) -> Cmd {
    let mut curl = Cmd::new("curl")
        .args(["--globoff", "--location", "--fail", "--show-error", "--silent"])
        .args(["--proto", "=http,https,ftp", "--proto-redir", "=http,https"])
        .args(["--connect-timeout", CONNECT_TIMEOUT_S])
        .args(["--speed-limit", STALL_BYTES_PER_S, "--speed-time", STALL_S])
        .args(["--max-time", &left.as_secs().max(1).to_string()]);
    if from > 0 {
        curl = curl.args(["--continue-at", &from.to_string()]);
    }
    if let Some(proxy) = &fetch.proxy {
        curl = curl.args(["--proxy", proxy]);
    }
    if fetch.any_certificate {
        curl = curl.arg("--insecure");
    }
    curl.args(["--", &fetch.url])
}

fn receive(child: &mut Child, fetch: &Fetch, size: Option<u64>, arrived: &mut Arrived) -> Result<(), Fault> {
    let Some(mut body) = child.stdout.take() else {
        return Err(Fault::Final("no output of curl".into()));
    };
    let mut chunk = vec![0; CHUNK];
    let mut told = Instant::now();
    loop {
        let n = match body.read(&mut chunk) {
            Ok(0) => return Ok(()),
            Ok(n) => n,
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(e) => return Err(Fault::Retry(format!("reading from curl: {e}"))),
        };
        if let Some(size) = size.filter(|size| arrived.bytes + n as u64 > *size) {
            return Err(Fault::Final(format!(
                "the server's file is too long: more than {size} bytes"
            )));
        }
        let written = arrived.file.write_all(&chunk[..n]);
        written.map_err(|e| Fault::Final(format!("the image does not fit into memory: {e}")))?;
        arrived.bytes += n as u64;
        if told.elapsed() >= PROGRESS_EVERY {
            say(Level::Info, &progress(&fetch.shown, arrived.bytes, size));
            told = Instant::now();
        }
    }
}

fn progress(url: &str, bytes: u64, size: Option<u64>) -> String {
    match size {
        Some(size) if size > 0 => {
            let (done, all) = (bytes / MIB, size.div_ceil(MIB));
            format!("fetching {url}: {done} of {all} MiB, {} %", bytes * 100 / size)
        }
        _ => format!("fetching {url}: {} MiB", bytes / MIB),
    }
}

/// What curl's exit code (curl(1), EXIT CODES) means for another try.
fn verdict(code: Option<i32>, stderr: &str) -> Fault {
    let said = stderr.trim().lines().last().unwrap_or_default();
    // "curl: (22) The requested URL returned error: 404"
    let said = said.split_once(") ").map_or(said, |(_, text)| text).to_owned();
    let http = said
        .rsplit("error: ")
        .next()
        .and_then(|s| s.get(..3))
        .and_then(|s| s.parse::<u16>().ok());
    match (code, http) {
        (Some(22), Some(status)) => {
            let answer = format!("the server answered {status}{}", meaning(status));
            match status {
                // The range is not satisfiable: the server's file ends before what has arrived, so it is another one by now.
                416 => Fault::Restart(answer),
                408 | 425 | 429 | 500.. => Fault::Retry(answer),
                _ => Fault::Final(answer),
            }
        }
        (Some(28), _) => Fault::Retry(format!("it stalled: {said}")),
        (Some(18), _) => Fault::Retry(format!("the connection broke: {said}")),
        // The server has no byte ranges, or could not resume.
        (Some(33 | 36), _) => Fault::Restart(said),
        (Some(9 | 67), _) => Fault::Final(format!("the server refuses access: {said}")),
        (Some(78), _) => Fault::Final(format!("the server has no such file: {said}")),
        (Some(51 | 60 | 77 | 83 | 90 | 91), _) => Fault::Final(format!(
            "its certificate is not accepted (rd.noverifyssl takes any): {said}"
        )),
        (Some(1 | 2 | 3 | 4 | 19 | 47), _) => Fault::Final(said),
        (Some(code), _) => Fault::Retry(if said.is_empty() {
            format!("curl ended with {code}")
        } else {
            said
        }),
        (None, _) => Fault::Retry("curl was killed".into()),
    }
}

fn meaning(status: u16) -> &'static str {
    match status {
        401 | 403 | 407 => ": access is refused",
        404 | 410 => ": there is no such file",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exit_of_curl_is_named_as_what_it_is() {
        let error = |n| format!("curl: (22) The requested URL returned error: {n}\n");
        for (code, stderr, fault) in [
            (22, error("404"), Fault::Final("the server answered 404: there is no such file".into())),
            (22, error("403 Forbidden"), Fault::Final("the server answered 403: access is refused".into())),
            (22, error("503"), Fault::Retry("the server answered 503".into())),
            (22, error("416"), Fault::Restart("the server answered 416".into())),
            (
                28,
                "curl: (28) Operation too slow. Less than 1024 bytes/sec transferred the last 20 seconds".into(),
                Fault::Retry(
                    "it stalled: Operation too slow. Less than 1024 bytes/sec transferred the last 20 seconds".into(),
                ),
            ),
            (
                18,
                "curl: (18) transfer closed with 5 bytes remaining to read".into(),
                Fault::Retry("the connection broke: transfer closed with 5 bytes remaining to read".into()),
            ),
            (7, "curl: (7) Failed to connect to host".into(), Fault::Retry("Failed to connect to host".into())),
            (
                78,
                "curl: (78) The file does not exist".into(),
                Fault::Final("the server has no such file: The file does not exist".into()),
            ),
        ] {
            assert_eq!(verdict(Some(code), &stderr), fault, "{code} {stderr}");
        }
    }

    #[test]
    fn progress_is_told_in_mib_and_percent() {
        assert_eq!(
            progress("http://host/x", 50 * MIB, Some(200 * MIB)),
            "fetching http://host/x: 50 of 200 MiB, 25 %"
        );
        assert_eq!(
            progress("http://host/x", 50 * MIB, None),
            "fetching http://host/x: 50 MiB"
        );
    }

    #[test]
    fn memory_is_for_one_image_and_the_live_system() {
        let meminfo = "MemTotal:        1500000 kB\nMemAvailable:    1048576 kB\n";
        assert_eq!(room_bytes(meminfo, Some(300 * MIB)).unwrap(), 301 * MIB);
        assert_eq!(room_bytes(meminfo, None).unwrap(), 512 * MIB);
        assert_eq!(
            room_bytes(meminfo, Some(600 * MIB)).unwrap_err().to_string(),
            "not enough memory: 600 MiB for the image and 512 MiB for the live system, 1024 MiB available"
        );
    }
}
