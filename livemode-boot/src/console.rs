//! Saying something in the initramfs: to the kernel log, which keeps it and shows it on every console.
use std::fs::OpenOptions;
use std::io::Write;

/// Levels of syslog(2).
#[derive(Clone, Copy)]
pub(crate) enum Level {
    Error = 3,
    Warning = 4,
    Info = 6,
}

/// One line into the kernel log. The kernel shows it on every console whose log level lets it through; an
/// error that it would keep to itself (`quiet`, `loglevel=`) is written to the console as well.
pub(crate) fn say(level: Level, text: &str) {
    let line = format!("<{}>livemode: {text}\n", level as u8);
    // /dev/kmsg takes one record for each write(2) (Documentation/ABI/testing/dev-kmsg).
    let logged = OpenOptions::new()
        .write(true)
        .open("/dev/kmsg")
        .and_then(|mut f| f.write_all(line.as_bytes()));
    if logged.is_err() || (matches!(level, Level::Error) && console_level() <= Level::Error as u8) {
        show(&format!("livemode: {text}"));
    }
}

/// The first number of /proc/sys/kernel/printk: messages below this level are shown (proc_sys_kernel(5)).
fn console_level() -> u8 {
    let text = std::fs::read_to_string("/proc/sys/kernel/printk").unwrap_or_default();
    text.split_whitespace()
        .next()
        .and_then(|n| n.parse().ok())
        .unwrap_or(0)
}

fn show(text: &str) {
    let console = OpenOptions::new().write(true).open("/dev/console");
    if console.and_then(|mut f| writeln!(f, "{text}\r")).is_err() {
        eprintln!("{text}");
    }
}
