//! `make demo`: builds an image, boots it in QEMU, upgrades a disk, and shows the result.
use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{ensure, Context, Result};
use livemode_common::cmd::Cmd;
use livemode_tests::binaries::{binary, workspace};
use livemode_tests::disk::{self, Mounted};
use livemode_tests::grub;
use livemode_tests::subject::Subject;
use livemode_tests::testbed::{self, Suite};
use livemode_tests::vm::{Boot, Drive, Machine};

fn main() -> ExitCode {
    livemode_common::failure::report("demo", run())
}

fn run() -> Result<()> {
    let mut seconds = Vec::new();
    let mut stage = |name: &'static str, from: Instant| seconds.push((name, from.elapsed().as_secs_f32()));
    let out = workspace().join("target/demo");
    std::fs::create_dir_all(&out).with_context(|| format!("creating {}", out.display()))?;

    let started = Instant::now();
    let container = testbed::container(Suite::Bookworm)?;
    let source = testbed::source()?;
    stage("trees (kept for the next time)", started);

    let started = Instant::now();
    println!("\n== livemode-prep build");
    let image = out.join("disk.img");
    disk::make(&image, &source, testbed::DISK_MIB)?;
    let mounted = Mounted::new(&image)?;
    let before = mounted.read("etc/demo-release");
    let packages_before = packages(&mounted)?;
    let status = testbed::build(mounted.path(), &container).spawn(|_| ())?.wait()?;
    ensure!(status.success(), "livemode-prep build: {status}");
    drop(mounted);
    stage("build", started);

    let started = Instant::now();
    println!(
        "\n== GRUB picks the live system, which upgrades the disk (console: {})",
        out.join("disk.console").display()
    );
    let loader = grub::loader_disk(grub::SOURCE_PREFIX)?;
    let disks = [Drive::new(&image)];
    let machine = Machine::new(&disks, Boot::Grub(&loader));
    let console = machine.run()?;
    console
        .lines()
        .filter(|l| l.contains("livemode: "))
        .for_each(|l| println!("{}", l.trim_end()));
    stage("boot, upgrade, reboot", started);

    let started = Instant::now();
    println!("\n== GRUB picks the upgraded system");
    let console = machine.run()?;
    console
        .lines()
        .filter(|l| l.contains("report: "))
        .for_each(|l| println!("{}", l.trim_end()));
    ensure!(
        console.contains("report: booted Demo Linux release 2"),
        "the upgraded system did not report"
    );
    stage("boot of the upgraded system", started);

    let mounted = Mounted::new(&image)?;
    println!("\n== result");
    print!(
        "before     {before}after      {}",
        mounted.read("etc/demo-release")
    );
    print!(
        "packages before\n{packages_before}packages after\n{}",
        packages(&mounted)?
    );
    println!("\n== livemode-prep status");
    print!(
        "{}",
        Cmd::new(binary("livemode-prep"))
            .arg("--root")
            .arg(mounted.path())
            .arg("status")
            .read()?
    );
    println!(
        "\n== logs on {}: /var/log/leapp/leapp-upgrade.log, /var/log/leapp/livemode-journal.log",
        image.display()
    );
    drop(mounted);

    let started = Instant::now();
    all_or_nothing(&out)?;
    stage("all or nothing: a cut, the old system, the upgrade", started);
    println!("\n== seconds");
    seconds.iter().for_each(|(name, s)| println!("{s:7.1}  {name}"));
    Ok(())
}

/// The same where what the upgrade writes is kept apart until it is whole, and the power goes in the middle.
fn all_or_nothing(out: &Path) -> Result<()> {
    let subject = Subject::apart(out, "apart", "livemode:\n  atomic: require\n")?;
    let show = |console: &str, what: &str| {
        let lines = console.lines().filter(|line| line.contains(what));
        lines.for_each(|line| println!("{}", line.trim_end()));
    };
    let status = || -> Result<()> {
        let (_, said, _) = subject.prep(|prep| prep.arg("status").output())?;
        print!("{said}");
        Ok(())
    };
    println!("\n== all or nothing: the power goes in the middle of the upgrade");
    let console = subject.started(|mut running| {
        running.expect("attempt 1, step 2 of 2")?;
        Ok(running.console())
    })?;
    show(&console, "livemode: ");
    println!("\n== GRUB picks live, which gives the upgrade up; then the old system, as it was");
    let console = subject.boot_until_it_rests()?;
    show(&console, "livemode: ");
    show(&console, "report: ");
    ensure!(
        console.contains("report: booted Demo Linux release 1"),
        "the old system did not come back"
    );
    println!("\n== livemode-prep status there");
    status()?;
    println!("\n== livemode-prep retry, and the upgrade to its end");
    subject.prep(|prep| prep.arg("retry").run())?;
    let console = subject.boot_until_it_rests()?;
    show(&console, "livemode: ");
    show(&console, "report: ");
    ensure!(
        console.contains("report: booted Demo Linux release 2"),
        "the upgraded system did not report"
    );
    println!("\n== livemode-prep status after it");
    status()
}

fn packages(mounted: &Mounted) -> Result<String> {
    let query =
        Cmd::new("chroot")
            .arg(mounted.path())
            .args(["rpm", "-q", "demo-release", "demo-tool", "demo-data"]);
    let list = query.read()?;
    Ok(list.lines().map(|line| format!("           {line}\n")).collect())
}
