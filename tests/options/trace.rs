//! The trace of the upgrade: whole where the power goes, and ended before the disk is full.
use std::fs;

use livemode_common::contract::LEAPP_LOG;
use livemode_tests::subject::Subject;
use livemode_tests::testbed::Suite;

use super::mode;

fn traced() -> Subject {
    let config = "livemode:\n  capture_strace_info_into: /var/log/leapp.strace\n";
    Subject::new(Suite::Bookworm, "strace", config).unwrap()
}

#[test]
fn vm_a_trace_is_whole_when_the_upgrade_fails_and_the_power_goes() {
    let mut subject = traced();
    fs::write(subject.mounted().unwrap().at("etc/leapp-standin-fails"), "").unwrap();
    let file = "var/log/new dir/leapp.strace";
    subject.arguments += &format!(" upgrade.strace=\"/{file}\"");
    let told = "to try again: upgrade    to leave: systemctl reboot";
    subject.started(|mut running| running.expect(told)).unwrap();
    let disk = subject.mounted().unwrap();
    assert_eq!(mode(&disk.at(file)), 0o600);
    let trace = disk.read(file);
    assert!(trace.contains("execve(\"/usr/bin/leapp\""), "no execve of leapp");
    let last = trace.lines().last().unwrap_or_default();
    assert!(
        trace.ends_with('\n') && last.ends_with("+++ exited with 7 +++"),
        "{last}"
    );
}

#[test]
fn vm_a_trace_ends_before_the_disk_is_full_and_the_upgrade_goes_on() {
    let subject = traced();
    let disk = subject.mounted().unwrap();
    let filler = fs::File::create(disk.at("filler")).unwrap();
    let stat = nix::sys::statvfs::fstatvfs(&filler).unwrap();
    // The trace's reserve of 512 MiB, and little more.
    let fill = stat.blocks_available() * stat.fragment_size() - (513 << 20);
    let fill = i64::try_from(fill).unwrap();
    nix::fcntl::fallocate(&filler, nix::fcntl::FallocateFlags::empty(), 0, fill).unwrap();
    drop((filler, disk));
    let console = subject.boot().unwrap();
    assert!(console.contains("livemode: the upgrade succeeded"), "{console}");
    let disk = subject.mounted().unwrap();
    let trace = disk.read("var/log/leapp.strace");
    assert!(trace.contains("execve(\"/usr/bin/leapp\""), "no execve of leapp");
    let end = "livemode: the trace ends here: less than 512 MiB are free on its file system\n";
    assert!(
        trace.ends_with(end),
        "{}",
        trace.lines().last().unwrap_or_default()
    );
    let log = disk.read(LEAPP_LOG);
    assert!(
        log.contains("livemode: the trace is not complete: less than 512 MiB"),
        "{log}"
    );
}
