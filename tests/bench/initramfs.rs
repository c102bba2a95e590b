//! The initramfs: our call of dracut beside upstream's, in the same container.
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use livemode_common::cmd::Cmd;
use livemode_tests::baseline;
use livemode_tests::binaries::{binary, workspace};

use crate::row::{cpu_s, Row};
use crate::subject::Subject;

/// Two finished ones.
pub(crate) struct Both {
    dir: tempfile::TempDir,
    ours: Made,
    theirs: Made,
}

struct Made {
    cpu_s: f64,
    drivers: usize,
}

pub(crate) fn make_both(subject: &Subject) -> Result<Both> {
    let container = subject.copy()?;
    let tree = workspace();
    baseline::add_watcher(&container)?;
    baseline::add_module(&tree.join("livemode-boot/dracut/90livemode"), &container)?;
    let libexec = container.at("usr/libexec/livemode");
    fs::create_dir_all(&libexec)?;
    fs::copy(binary("livemode-boot"), libexec.join("livemode-boot"))?;

    let dir = tempfile::tempdir()?;
    let make = |name: &str, call: Cmd| -> Result<Made> {
        // The last --add of both: says in both when the root is mounted.
        let output = format!("/var/tmp/{name}");
        let call = call.args(["--add", baseline::WATCHER, &output]);
        eprintln!("{call}");
        let cpu_s = cpu_s(&call)?;
        fs::copy(container.at(&output[1..]), dir.path().join(name)).context("copying the initramfs")?;
        let list = container.inside("lsinitrd").arg(&output).read()?;
        let is_driver = |line: &&str| {
            let name = line.split_whitespace().last().unwrap_or_default();
            [".ko", ".ko.xz", ".ko.zst"].iter().any(|end| name.ends_with(end))
        };
        Ok(Made {
            cpu_s,
            drivers: list.lines().filter(is_driver).count(),
        })
    };
    let mut arguments = subject.arguments_of("dracut")?;
    arguments.pop().context("no output of dracut in the plan")?;
    let ours = make("ours", container.inside("dracut").args(arguments))?;
    let upstream =
        container
            .inside("dracut")
            .args(baseline::UPSTREAM)
            .args(["--kver", subject.kernel_version(), "-f"]);
    let theirs = make("theirs", upstream)?;
    Ok(Both { dir, ours, theirs })
}

impl Both {
    pub(crate) fn ours(&self) -> PathBuf {
        self.dir.path().join("ours")
    }

    pub(crate) fn theirs(&self) -> PathBuf {
        self.dir.path().join("theirs")
    }

    pub(crate) fn rows(&self) -> Result<Vec<Row>> {
        let size = |path: &Path| -> Result<f64> { Ok(fs::metadata(path)?.len() as f64) };
        Ok(vec![
            Row {
                name: "initramfs_cpu".into(),
                ours: self.ours.cpu_s,
                theirs: self.theirs.cpu_s,
                unit: "CPU s",
                bar: Some(1.0),
                what: "making the initramfs, beside upstream's dracut call",
            },
            Row {
                name: "initramfs_size".into(),
                ours: size(&self.ours())?,
                theirs: size(&self.theirs())?,
                unit: "bytes",
                bar: None,
                what: "the initramfs",
            },
            Row {
                name: "initramfs_drivers".into(),
                ours: self.ours.drivers as f64,
                theirs: self.theirs.drivers as f64,
                unit: "count",
                bar: None,
                what: "kernel modules in it",
            },
        ])
    }
}
