//! Servers. One of them, HTTP, does as it is told: serves a file, whole or not, with byte ranges, and breaks where it should.
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Child;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::Result;

/// A port of the loopback that nobody listened on a moment ago.
///
/// # Panics
/// When there is none.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    listener.expect("a port is free").port()
}

/// A server in a process of its own; ended when dropped.
pub struct Process(pub Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// How the server treats its one file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// As it should.
    Whole,
    /// Any request is answered with this status.
    Status(u16),
    /// Each connection is closed after so many bytes; the next may go on from there.
    Breaks(usize),
    /// As [`Manner::Breaks`], and it knows no byte ranges: each begins anew, the second is whole.
    BreaksOnceWithoutRanges(usize),
    /// So many bytes each second.
    Slow(usize),
    /// After so many bytes nothing more comes, and the connection stays open.
    Stalls(usize),
}

/// A server on a port of its own, which answers until the process ends.
pub struct Server {
    port: u16,
    requests: Arc<Mutex<Vec<String>>>,
    paths: Arc<Mutex<Vec<String>>>,
}

impl Server {
    /// Serves `file` under every path.
    ///
    /// # Errors
    /// When there is no port to listen on.
    pub fn start(file: Vec<u8>, manner: Manner) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let port = listener.local_addr()?.port();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let paths = Arc::new(Mutex::new(Vec::new()));
        let (log, asked) = (Arc::clone(&requests), Arc::clone(&paths));
        let file = Arc::new(file);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (log, asked, file) = (Arc::clone(&log), Arc::clone(&asked), Arc::clone(&file));
                // A client that goes away in the middle is the client's affair.
                std::thread::spawn(move || drop(answer(stream, &file, manner, &log, &asked)));
            }
        });
        Ok(Self {
            port,
            requests,
            paths,
        })
    }

    /// Its port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// What each request so far asked for: path and query.
    pub fn paths(&self) -> Vec<String> {
        self.paths.lock().map(|paths| paths.clone()).unwrap_or_default()
    }

    /// The first byte that each request so far asked for, or why it got none.
    pub fn requests(&self) -> Vec<String> {
        self.requests.lock().map(|log| log.clone()).unwrap_or_default()
    }
}

fn answer(
    stream: TcpStream,
    file: &[u8],
    manner: Manner,
    log: &Mutex<Vec<String>>,
    asked: &Mutex<Vec<String>>,
) -> std::io::Result<()> {
    let mut from = None;
    let mut reader = BufReader::new(stream.try_clone()?);
    loop {
        let mut line = String::new();
        reader.by_ref().read_line(&mut line)?;
        if let Some(path) = line.strip_prefix("GET ").and_then(|rest| rest.split(' ').next()) {
            asked.lock().map(|mut asked| asked.push(path.to_owned())).ok();
        }
        if let Some(range) = line.to_ascii_lowercase().strip_prefix("range: bytes=") {
            from = range
                .split('-')
                .next()
                .and_then(|n| n.trim().parse::<usize>().ok());
        }
        if line.trim().is_empty() {
            break;
        }
    }
    let number = log.lock().map_or(0, |mut log| {
        log.push(from.unwrap_or(0).to_string());
        log.len()
    });
    let mut stream = stream;
    if let Manner::Status(status) = manner {
        return write!(
            stream,
            "HTTP/1.1 {status} So\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        );
    }
    let ranges = !matches!(manner, Manner::BreaksOnceWithoutRanges(_));
    let start = from.filter(|_| ranges);
    let body = file.get(start.unwrap_or(0)..).unwrap_or_default();
    let status = match start {
        Some(start) => format!(
            "206 Partial Content\r\nContent-Range: bytes {start}-{}/{}",
            file.len().saturating_sub(1),
            file.len()
        ),
        None => "200 OK".to_owned(),
    };
    write!(
        stream,
        "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    )?;
    let until = match manner {
        Manner::Breaks(bytes) | Manner::Stalls(bytes) => bytes.min(body.len()),
        Manner::BreaksOnceWithoutRanges(bytes) if number == 1 => bytes.min(body.len()),
        _ => body.len(),
    };
    if let Manner::Slow(bytes) = manner {
        for piece in body.chunks(bytes.max(1)) {
            stream.write_all(piece)?;
            std::thread::sleep(Duration::from_secs(1));
        }
        return Ok(());
    }
    stream.write_all(&body[..until])?;
    if matches!(manner, Manner::Stalls(_)) {
        std::thread::sleep(Duration::from_secs(120));
    }
    Ok(())
}
