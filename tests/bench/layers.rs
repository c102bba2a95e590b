//! An upgrade in layers beside the same in place: what the layers cost while leapp runs, what the merge takes, and how good the store's
//! size was computed. The packages bring more than 300 MB: the container's own programs, under another name.
//!
//! Times are those of the machine's only processor, as in `start.rs`.
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{ensure, Context, Result};
use livemode_common::cmd::Cmd;
use livemode_common::contract::{STATE_DIR, STORE_FILE};
use livemode_common::store::StoreIo;
use livemode_tests::binaries::workspace;
use livemode_tests::cache;
use livemode_tests::subject::Subject;
use livemode_tests::testbed::{self, Suite};

use crate::row::{median, Row};

const ROUNDS: usize = 3;
/// What the new packages bring at least, in bytes.
const CONTENT: u64 = 300 << 20;
/// Of the container, enough for that.
const FROM: [&str; 2] = ["usr/lib", "usr/bin"];
const LEAPP_STARTS: &str = "livemode: attempt 1, step 1 of 2";
const LEAPP_IS_DONE: [&str; 2] = [
    "livemode: making ",
    "livemode: looking whether the upgraded system is whole",
];
const MERGE_BEGINS: &str = "from here there is no way back";
const MERGED: &str = "livemode: / is on its disk";

/// One upgrade.
struct Run {
    leapp: Duration,
    merge: Duration,
    /// What was kept apart, in bytes.
    kept: f64,
}

pub(crate) fn rows() -> Result<Vec<Row>> {
    let package = package()?;
    let subject = |name: &str, atomic: &str| {
        // The disk is another one with another package.
        let config = format!("livemode:\n  atomic: {atomic}\n# {}\n", package.display());
        Subject::apart_with(&std::env::temp_dir(), Suite::Bookworm, name, &config, |root| {
            install(root, &package)
        })
    };
    let (ours, theirs) = (
        subject("bench-layers", "require")?,
        subject("bench-in-place", "off")?,
    );
    let computed = {
        let disk = ours.mounted()?;
        let (_, header) = StoreIo::of_file(&disk.at(STATE_DIR).join(STORE_FILE), false)?;
        header.layers.iter().map(|layer| layer.changes.bytes).sum::<u64>() as f64
    };
    let (mut in_layers, mut in_place) = (Vec::new(), Vec::new());
    for number in 1..=ROUNDS {
        let (our_run, their_run) = (run(&ours, true)?, run(&theirs, false)?);
        eprintln!(
            "layers, round {number} of {ROUNDS}: {:.1} beside {:.1} CPU s, merge of {:.0} MB {:.1}",
            our_run.leapp.as_secs_f64(),
            their_run.leapp.as_secs_f64(),
            our_run.kept / 1e6,
            our_run.merge.as_secs_f64()
        );
        in_layers.push(our_run);
        in_place.push(their_run);
    }
    let middle = |runs: &[Run], value: fn(&Run) -> f64| median(runs.iter().map(value).collect());
    let kept = middle(&in_layers, |run| run.kept);
    let row = |name: &str, ours, theirs, unit, bar, what| Row {
        name: name.into(),
        ours,
        theirs,
        unit,
        bar,
        what,
    };
    Ok(vec![
        row(
            "redirect_time",
            middle(&in_layers, |run| run.leapp.as_secs_f64()),
            middle(&in_place, |run| run.leapp.as_secs_f64()),
            "CPU s",
            Some(1.15),
            "leapp's two steps with more than 300 MB of packages, in layers beside in place",
        ),
        row(
            "commit_time",
            middle(&in_layers, |run| run.merge.as_secs_f64()),
            kept / 1e9,
            "s, GB",
            None,
            "the merge, in CPU s, beside what was kept apart: the ratio is CPU s for a GB",
        ),
        row(
            "store_estimate",
            computed / 1e6,
            kept / 1e6,
            "MB",
            Some(1.5),
            "the room for what is kept apart, beside what was: less than 1 would not do",
        ),
    ])
}

fn run(subject: &Subject, is_in_layers: bool) -> Result<Run> {
    let machine = subject.fork()?;
    machine.started_until_it_rests(|mut running| {
        let mut at = |text: &str| {
            running.expect(text)?;
            running.processor_time()
        };
        let begun = at(LEAPP_STARTS)?;
        let leapp = at(LEAPP_IS_DONE[usize::from(is_in_layers)])?.saturating_sub(begun);
        if !is_in_layers {
            return Ok(Run {
                leapp,
                merge: Duration::ZERO,
                kept: 0.0,
            });
        }
        let begun = at(MERGE_BEGINS)?;
        let merge = at(MERGED)?.saturating_sub(begun);
        let console = running.console();
        let kept = console
            .split_once("moving ")
            .and_then(|(_, rest)| rest.split_once(" MiB to its disks"))
            .and_then(|(mib, _)| mib.parse::<f64>().ok())
            .with_context(|| format!("it does not say how much it moves: {console}"))?;
        Ok(Run {
            leapp,
            merge,
            kept: kept * f64::from(1 << 20),
        })
    })
}

/// Both versions of the package that brings much, the old one empty.
fn package() -> Result<PathBuf> {
    let container = testbed::container(Suite::Bookworm)?;
    let code = workspace().join("tests/bench/layers.rs");
    cache::entry(
        "bench-package",
        &[&container.to_string_lossy()],
        &[&code],
        |out| {
            fs::create_dir_all(out)?;
            for version in ["1", "2"] {
                let install = if version == "2" {
                    let copies = FROM
                        .map(|dir| format!("cp -r {}/{dir} %{{buildroot}}/opt/bulk/", container.display()));
                    // Links to nowhere would not be packed.
                    format!("{}\nfind %{{buildroot}} -type l -delete", copies.join("\n"))
                } else {
                    String::new()
                };
                let spec = out.join("bulk.spec");
                fs::write(
                &spec,
                format!(
                    "Name: bulk\nVersion: {version}\nRelease: 1\nSummary: Much\nLicense: Apache-2.0\nBuildArch: noarch\nAutoReqProv: \
                     no\n%define __os_install_post %{{nil}}\n%define _binaries_in_noarch_packages_terminate_build 0\n%define _binary_payload \
                     w3.zstdio\n%description\nMuch.\n%install\nmkdir -p %{{buildroot}}/opt/bulk\n{install}\n%files\n/opt/bulk\n"
                ),
            )?;
                Cmd::new("rpmbuild")
                    .args(["--quiet", "-bb", "--define"])
                    .arg(format!("_topdir {}", out.join("top").display()))
                    .arg("--define")
                    .arg(format!("_rpmdir {}", out.join(version).display()))
                    .arg(&spec)
                    .run()?;
            }
            Ok(fs::remove_dir_all(out.join("top"))?)
        },
    )
}

/// The old version is installed; the new one lies in the next release's repository, and where leapp has downloaded it.
fn install(root: &Path, package: &Path) -> Result<()> {
    let file = |version: &str| {
        package
            .join(version)
            .join(format!("noarch/bulk-{version}-1.noarch.rpm"))
    };
    let size = Cmd::new("rpm")
        .args(["-qp", "--qf", "%{LONGSIZE}"])
        .arg(file("2"))
        .read()?;
    ensure!(
        size.trim().parse::<u64>()? >= CONTENT,
        "the package brings {size} bytes only"
    );
    fs::copy(file("1"), root.join("old.rpm"))?;
    Cmd::new("chroot")
        .arg(root)
        .args(["rpm", "-i", "/old.rpm"])
        .run()?;
    fs::remove_file(root.join("old.rpm"))?;
    let repository = root.join("srv/repositories/2");
    let new = repository.join("bulk-2-1.noarch.rpm");
    fs::copy(file("2"), &new)?;
    Cmd::new("createrepo_c").arg("--quiet").arg(&repository).run()?;
    let downloads = root.join("var/lib/leapp/el9userspace/var/cache/dnf/next/packages");
    fs::create_dir_all(&downloads)?;
    Ok(fs::hard_link(&new, downloads.join("bulk-2-1.noarch.rpm"))?)
}
