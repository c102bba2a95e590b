//! A machine in QEMU, by emulation: /dev/kvm may be there and hang. Everything it prints is read as it comes.
use std::cell::Cell;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Stdio};
use std::time::{Duration, Instant};

use anyhow::{bail, Context, Result};
use livemode_common::cmd::Cmd;

use crate::pulse::{self, Look, Pulse};
use crate::qmp::Qmp;
use crate::slot::Slot;
use crate::uefi::Firmware;

/// Whole life of a machine, on a busy host.
const LIMIT: Duration = Duration::from_secs(900);
/// No sign of life for so long: the emulator has stalled.
const STALL: Duration = Duration::from_secs(120);
/// How often QEMU is asked what it makes of its machine.
const ASK: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(50);
/// Memory of a machine, MiB.
pub const MEMORY_MIB: u64 = 1536;
/// Of the processors that QEMU emulates fast, with what halves the time that LUKS takes: AES, and what Linux has it only with.
const PROCESSOR: &str = "qemu64,+aes,+ssse3,+sse4.1,+pclmulqdq";
/// How QEMU calls the thread of a virtual processor: that of one, or of all where instructions are counted.
const VIRTUAL_PROCESSOR: [&str; 2] = ["CPU ", "ALL CPUs"];
/// What QEMU logs when a guest powers off, and not when it reboots.
const SHUTDOWN_REQUEST: &str = "qemu_system_shutdown_request";
/// Of a console, in an error.
const SHOWN_LINES: usize = 40;

/// A machine to start.
#[derive(Debug, Clone)]
pub struct Machine<'a> {
    /// The disks, which the machine writes to, in its order of names.
    pub disks: &'a [Drive],
    /// What it boots.
    pub boot: Boot<'a>,
    /// The network, as QEMU's `-nic` takes it.
    pub nic: &'a str,
    /// Whether it boots again when the guest reboots or panics; otherwise that is its end.
    pub reboots: bool,
    /// Whether it does so in the same QEMU, for guests that run for moments. After a whole Linux GRUB takes four times as long
    /// there: each page that it writes holds code which QEMU has translated, and takes back piece by piece.
    pub resets_in_place: bool,
    /// Whether its clock counts instructions, one for a nanosecond, while it has something to do (qemu(1), `-icount`): how long it
    /// is busy by that clock does not depend on how busy this machine is.
    pub counts: bool,
    /// What else it has, in QEMU's own words.
    pub more: &'a [&'a str],
}

/// What a machine boots.
#[derive(Debug, Clone, Copy)]
pub enum Boot<'a> {
    /// What is given to QEMU.
    Kernel {
        /// The kernel.
        kernel: &'a Path,
        /// The initramfs.
        initramfs: &'a Path,
        /// The whole kernel command line.
        arguments: &'a str,
    },
    /// What the GRUB of this loader disk ([`crate::grub::loader_disk`]) finds on the other disks. It is the last one; the
    /// machine only reads it.
    Grub(&'a Path),
    /// What the EFI system partition on one of the disks has.
    Uefi(&'a Firmware),
}

impl Boot<'_> {
    fn arguments(&self) -> Vec<String> {
        match self {
            Self::Kernel {
                kernel,
                initramfs,
                arguments,
            } => vec![
                "-kernel".to_owned(),
                kernel.display().to_string(),
                "-initrd".to_owned(),
                initramfs.display().to_string(),
                "-append".to_owned(),
                (*arguments).to_owned(),
            ],
            Self::Grub(loader) => vec![
                "-drive".to_owned(),
                format!(
                    "file={},if=none,format=raw,id=loader,readonly=on",
                    loader.display()
                ),
                "-device".to_owned(),
                "virtio-blk-pci,drive=loader,serial=loader,bootindex=0".to_owned(),
            ],
            Self::Uefi(firmware) => firmware.arguments(),
        }
    }

    /// What it writes to beside the disks.
    fn written(&self) -> Option<&Path> {
        match self {
            Self::Uefi(firmware) => Some(firmware.variables()),
            Self::Kernel { .. } | Self::Grub(_) => None,
        }
    }
}

/// A disk of a machine.
#[derive(Debug, Clone)]
pub struct Drive {
    /// Its content.
    pub file: PathBuf,
    /// What it hangs on.
    pub bus: Bus,
    /// Bytes of a sector: 512 or 4096.
    pub sector: u32,
    /// What udev names it by, in /dev/disk/by-id.
    pub serial: String,
    /// A sector of 512 bytes that takes no write: whoever tries gets an error. Of virtio disks only.
    pub bad_sector: Option<u64>,
}

/// What a disk hangs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bus {
    /// /dev/vda and so on.
    Virtio,
    /// /dev/nvme0n1 and so on.
    Nvme,
    /// Two SCSI paths to one disk: /dev/sda and /dev/sdb.
    TwoPaths,
}

impl Drive {
    /// A plain one.
    pub fn new(file: impl Into<PathBuf>) -> Self {
        Self {
            file: file.into(),
            bus: Bus::Virtio,
            sector: 512,
            serial: String::new(),
            bad_sector: None,
        }
    }

    fn arguments(&self, number: usize) -> Vec<String> {
        let Self {
            file,
            bus,
            sector,
            serial,
            bad_sector,
        } = self;
        let blocks = format!("logical_block_size={sector},physical_block_size={sector}");
        let serial = match serial.as_str() {
            "" => format!("disk{number}"),
            serial => serial.to_owned(),
        };
        // A second path opens the file a second time: what the guest writes by one it must read by the other.
        let sharing = if *bus == Bus::TwoPaths {
            ",file.locking=off,cache=none"
        } else {
            ",cache=unsafe"
        };
        let node = |path: usize| {
            let id = format!("n{number}p{path}");
            [
                "-drive".to_owned(),
                format!("file={},if=none,format=raw,id={id}{sharing}", file.display()),
            ]
        };
        let device = |kind: &str, path: usize, more: &str| {
            [
                "-device".to_owned(),
                format!("{kind},drive=n{number}p{path},serial={serial},{blocks}{more}"),
            ]
        };
        match bus {
            Bus::Virtio => [faulty(node(0), *bad_sector), device("virtio-blk-pci", 0, "")].concat(),
            Bus::Nvme => [node(0), device("nvme", 0, "")].concat(),
            Bus::TwoPaths => {
                let path = |path: usize| {
                    let controller = format!("virtio-scsi-pci,id=s{number}p{path}");
                    let more = format!(",bus=s{number}p{path}.0,wwn=0x500000000000000{number}");
                    let controller = ["-device".to_owned(), controller];
                    [controller, node(path), device("scsi-hd", path, &more)].concat()
                };
                [path(0), path(1)].concat()
            }
        }
    }
}

/// The same disk, whose writes of this sector fail (QEMU's blkdebug).
fn faulty([option, drive]: [String; 2], bad_sector: Option<u64>) -> [String; 2] {
    let Some(sector) = bad_sector else {
        return [option, drive];
    };
    let beneath = "file.driver=blkdebug,file.image.driver=file,file.image.filename=";
    let error = format!(
        "file.inject-error.0.event=none,file.inject-error.0.iotype=write,file.inject-error.0.sector={sector}"
    );
    let drive = drive.replacen("file=", beneath, 1);
    [option, format!("{drive},{error},werror=report")]
}

/// No network at all.
pub const NO_NIC: &str = "none";

impl<'a> Machine<'a> {
    /// One without a network, whose reboot is its end.
    pub fn new(disks: &'a [Drive], boot: Boot<'a>) -> Self {
        Self {
            disks,
            boot,
            nic: NO_NIC,
            reboots: false,
            resets_in_place: false,
            counts: false,
            more: &[],
        }
    }

    /// The same with a clock that counts instructions.
    pub fn counting(self) -> Self {
        Self { counts: true, ..self }
    }

    /// Runs it until it powers off or, where that is its end, reboots; gives what its serial console showed.
    ///
    /// # Errors
    /// When it does neither within the limit; the end of its console is in the error. A stall of the emulator (no
    /// sign of life for long) is tried once more, with the disk as it was.
    pub fn run(&self) -> Result<String> {
        self.with(Running::wait)
    }

    /// Runs it with someone at its console, who ends with it; a stall is tried once more, from the start.
    ///
    /// # Errors
    /// When it cannot be started, and those of `act`.
    pub fn with<T>(&self, act: impl Fn(Running) -> Result<T>) -> Result<T> {
        let saved = |file: &Path| file.with_extension("saved");
        let files = || {
            let disks = self.disks.iter().map(|disk| disk.file.as_path());
            disks.chain(self.boot.written())
        };
        for file in files() {
            crate::disk::copy(file, &saved(file))?;
        }
        let result = match act(self.start()?) {
            Err(error) if error.is::<Stalled>() => {
                eprintln!("the emulator stalled; once more");
                for file in files() {
                    crate::disk::copy(&saved(file), file)?;
                }
                act(self.start()?)
            }
            result => result,
        };
        for file in files() {
            fs::remove_file(saved(file))?;
        }
        result
    }

    /// Starts it.
    ///
    /// # Errors
    /// When QEMU cannot be started.
    pub fn start(&self) -> Result<Running> {
        let slot = Slot::take()?;
        let first = self.disks.first().context("a machine without a disk")?;
        let log = first.file.with_extension("console");
        fs::File::create(&log).with_context(|| format!("creating {}", log.display()))?;
        let control = first.file.with_extension("qmp");
        let requests = first.file.with_extension("requests");
        let qemu = Cmd::new("qemu-system-x86_64")
            // The threads have names, by which the virtual processor's is found.
            .args(["-name", "machine,debug-threads=on"])
            .arg("-qmp")
            .arg(format!("unix:{},server=on,wait=off", control.display()))
            .args(["-trace", SHUTDOWN_REQUEST, "-D"])
            .arg(&requests)
            .args(match self.counts {
                false => &["-accel", "tcg,thread=multi"][..],
                true => &["-accel", "tcg,thread=single", "-icount", "shift=0"],
            })
            .args([
                "-M",
                "q35",
                "-cpu",
                PROCESSOR,
                "-smp",
                "1",
                "-m",
                &MEMORY_MIB.to_string(),
            ])
            .args([
                "-display", "none", "-serial", "stdio", "-monitor", "none", "-nic", self.nic,
            ])
            .args((!self.reboots || !self.resets_in_place).then_some("-no-reboot"))
            .args(["-object", "rng-builtin,id=r0", "-device", "virtio-rng-pci,rng=r0"])
            .args(
                self.disks
                    .iter()
                    .enumerate()
                    .flat_map(|(number, disk)| disk.arguments(number)),
            )
            .args(self.boot.arguments())
            .args(self.more);
        let (process, stdin) = launch(&qemu, &log)?;
        Ok(Running {
            process,
            stdin,
            again: self.reboots.then_some(qemu),
            log,
            control,
            requests,
            stall: STALL,
            started: Instant::now(),
            used: Cell::default(),
            before: Duration::ZERO,
            _slot: slot,
        })
    }
}

/// QEMU, and what types on the machine's serial console. What that shows is added to `log`.
fn launch(qemu: &Cmd, log: &Path) -> Result<(Child, ChildStdin)> {
    let console = fs::OpenOptions::new().append(true).open(log);
    let console = console.with_context(|| format!("opening {}", log.display()))?;
    let mut process = qemu.spawn(|command| {
        command
            .stdin(Stdio::piped())
            .stdout(console)
            .stderr(Stdio::inherit());
    })?;
    let stdin = process.stdin.take().context("no standard input of QEMU")?;
    Ok((process, stdin))
}

/// No sign of life for [`STALL`].
#[derive(Debug)]
pub struct Stalled;

impl std::fmt::Display for Stalled {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the emulator stalled")
    }
}

impl std::error::Error for Stalled {}

/// A machine that runs; it is killed when dropped.
pub struct Running {
    process: Child,
    stdin: ChildStdin,
    /// What starts it once more where a reboot is not its end.
    again: Option<Cmd>,
    log: PathBuf,
    control: PathBuf,
    requests: PathBuf,
    stall: Duration,
    started: Instant,
    /// Processor time that was seen of this QEMU, and of those before it.
    used: Cell<Duration>,
    before: Duration,
    // Given back when QEMU is gone.
    _slot: Slot,
}

impl Running {
    /// What the console has shown so far.
    pub fn console(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// Whether it is up, within its limit.
    ///
    /// # Errors
    /// When its state cannot be asked for.
    pub fn is_up(&mut self) -> Result<bool> {
        Ok(!self.has_ended()? && self.started.elapsed() < LIMIT)
    }

    /// Whether it has ended. One that has rebooted is started once more, and has not.
    fn has_ended(&mut self) -> Result<bool> {
        let Some(status) = self.process.try_wait()? else {
            return Ok(false);
        };
        let requests = fs::read_to_string(&self.requests).unwrap_or_default();
        let is_off = requests.contains(SHUTDOWN_REQUEST) || !status.success();
        match &self.again {
            Some(qemu) if !is_off => (self.process, self.stdin) = launch(qemu, &self.log)?,
            _ => return Ok(true),
        }
        self.before += self.used.take();
        Ok(false)
    }

    /// Waits until the console shows `text`.
    ///
    /// # Errors
    /// When the machine ends or its time does before that.
    pub fn expect(&mut self, text: &str) -> Result<()> {
        self.until(|console| console.contains(text), &format!("'{text}'"))?;
        Ok(())
    }

    /// Waits until the console shows `text` somewhere after `mark`.
    ///
    /// # Errors
    /// As [`Running::expect`].
    pub fn expect_after(&mut self, mark: &str, text: &str) -> Result<()> {
        let after = |console: &str| {
            console
                .split_once(mark)
                .is_some_and(|(_, rest)| rest.contains(text))
        };
        self.until(after, &format!("'{text}' after '{mark}'"))?;
        Ok(())
    }

    /// Types a line on the serial console.
    ///
    /// # Errors
    /// When the machine is gone.
    pub fn type_line(&mut self, text: &str) -> Result<()> {
        self.type_keys(&format!("{text}\r"))
    }

    /// Presses keys of the serial console.
    ///
    /// # Errors
    /// When the machine is gone.
    pub fn type_keys(&mut self, keys: &str) -> Result<()> {
        self.stdin.write_all(keys.as_bytes())?;
        Ok(self.stdin.flush()?)
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// When it does not end within the limit.
    pub fn wait(mut self) -> Result<String> {
        self.until(|_| false, "the machine's end")
    }

    /// Another limit than [`STALL`].
    pub fn stalled_after(mut self, limit: Duration) -> Self {
        self.stall = limit;
        self
    }

    /// QEMU's process.
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Processor time of the virtual processor so far, as far as it was asked for while it ran.
    ///
    /// # Errors
    /// When the kernel's answer cannot be understood.
    pub fn processor_time(&self) -> Result<Duration> {
        let tasks = PathBuf::from(format!("/proc/{}/task", self.pid()));
        // Where QEMU has no such thread yet, or no longer, there is nothing new.
        for task in fs::read_dir(&tasks).into_iter().flatten().flatten() {
            let read = |name: &str| fs::read_to_string(task.path().join(name)).unwrap_or_default();
            let name = read("comm");
            if VIRTUAL_PROCESSOR.iter().any(|begin| name.starts_with(begin)) {
                let used = processor_time(&read("stat"))?;
                self.used.set(used.max(self.used.get()));
            }
        }
        Ok(self.before + self.used.get())
    }

    /// Presses its reset button.
    ///
    /// # Errors
    /// When QEMU does not answer.
    pub fn reset(&self) -> Result<()> {
        Qmp::connect(&self.control)?.reset()
    }

    /// Calls `act` while it stands still, with its disks as a reset would leave them.
    ///
    /// # Errors
    /// When QEMU does not answer, and those of `act`.
    pub fn paused<T>(&self, act: impl FnOnce() -> Result<T>) -> Result<T> {
        let Ok(mut qmp) = Qmp::connect(&self.control) else {
            // No QEMU listens: it is between two boots.
            return act();
        };
        qmp.stop()?;
        let done = act();
        qmp.go_on()?;
        done
    }

    /// Waits until its console is as it should be, which is `what`; the console.
    ///
    /// # Errors
    /// When the machine ends or its time does before that.
    pub fn until(&mut self, mut found: impl FnMut(&str) -> bool, what: &str) -> Result<String> {
        self.until_both(|_, console| found(console), what)
    }

    /// Waits until it and its console are as they should be, which is `what`; the console.
    ///
    /// # Errors
    /// As [`Running::until`].
    pub fn until_both(&mut self, mut found: impl FnMut(&Self, &str) -> bool, what: &str) -> Result<String> {
        let look = |running: &Self, console: &str| -> Result<Look> {
            Ok(Look {
                at: running.started.elapsed(),
                console: console.len() as u64,
                processor: running.processor_time()?,
            })
        };
        let mut pulse = Pulse::new(self.stall, look(self, &self.console())?);
        let mut asked = Instant::now();
        loop {
            let ended = self.has_ended()?;
            let console = self.console();
            if found(self, &console) || (ended && what == "the machine's end") {
                return Ok(console);
            }
            if ended {
                let status = self.process.try_wait()?;
                let status = status.map(|status| status.to_string()).unwrap_or_default();
                bail!(
                    "the machine ended ({status}) before {what}; its console:\n{}",
                    end(&console)
                );
            }
            if self.started.elapsed() > LIMIT {
                bail!(
                    "waiting for {what}: {} s are over; its console:\n{}",
                    LIMIT.as_secs(),
                    end(&console)
                );
            }
            if pulse.has_stalled(look(self, &console)?) {
                return Err(anyhow::Error::new(Stalled)
                    .context(end(&console))
                    .context(format!("waiting for {what}")));
            }
            if asked.elapsed() > ASK {
                asked = Instant::now();
                // One that does not answer has ended meanwhile, or stalled, which shows by itself.
                let status = Qmp::connect(&self.control).and_then(|mut qmp| qmp.status());
                if let Some(fault) = status.ok().and_then(|status| pulse::fault(&status)) {
                    bail!("waiting for {what}: {fault}; its console:\n{}", end(&console));
                }
            }
            std::thread::sleep(POLL);
        }
    }
}

/// The last lines of a console.
fn end(console: &str) -> String {
    let lines: Vec<&str> = console.lines().collect();
    lines[lines.len().saturating_sub(SHOWN_LINES)..].join("\n")
}

/// Processor time of a thread by its line in /proc/PID/task/TID/stat (proc(5)): user and kernel, the fields 14 and 15, in
/// the hundredths of a second that Linux counts in for programs.
fn processor_time(stat: &str) -> Result<Duration> {
    if stat.is_empty() {
        return Ok(Duration::ZERO);
    }
    // The second field is a name in parentheses, of any characters.
    let (_, fields) = stat
        .rsplit_once(')')
        .with_context(|| format!("no name in {stat}"))?;
    let mut ticks = fields.split_whitespace().skip(11).take(2).map(str::parse::<u64>);
    let mut next = || -> Result<u64> { Ok(ticks.next().with_context(|| format!("too short: {stat}"))??) };
    Ok(Duration::from_millis((next()? + next()?) * 10))
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_processor_time_is_that_of_user_and_kernel() {
        let stat = "21542 (CPU 0/TCG) R) S 1 21542 21542 0 -1 4194304 1021 0 3 0 412 38 0 0 20 0 4 0 1 2 3";
        assert_eq!(processor_time(stat).unwrap(), Duration::from_millis(4500));
        assert_eq!(processor_time("").unwrap(), Duration::ZERO);
        assert!(processor_time("1 (x) S 1").is_err());
    }
}
