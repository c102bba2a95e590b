//! What both sides work on: one target container, and what `livemode-prep plan` would do with it.
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use livemode_common::cmd::Cmd;
use livemode_tests::container::Changed;
use livemode_tests::source::SourceDisk;
use livemode_tests::testbed::{self, Suite};
use serde_json::Value;

pub(crate) struct Subject {
    container: PathBuf,
    plan: Value,
}

impl Subject {
    pub(crate) fn new() -> Result<Self> {
        let container = testbed::container(Suite::Bookworm)?;
        let source = SourceDisk::bare()?;
        let plan = source.prep().args(["plan", "--json", "--userspace"]);
        let plan = serde_json::from_str(&plan.arg(&container).read()?)?;
        Ok(Self { container, plan })
    }

    pub(crate) fn container(&self) -> &Path {
        &self.container
    }

    pub(crate) fn kernel_version(&self) -> &str {
        self.plan["kernel_version"].as_str().unwrap_or_default()
    }

    /// A throw-away copy of the container.
    pub(crate) fn copy(&self) -> Result<Changed> {
        Changed::of(&self.container)
    }

    /// A whole copy of the container below `dir`, in which dnf has installed what was missing.
    pub(crate) fn with_packages(&self, dir: &Path) -> Result<PathBuf> {
        let changed = self.copy()?;
        let dnf = changed.inside("dnf").args(self.arguments_of("dnf")?);
        dnf.run()?;
        let container = dir.join("container");
        let copy = Cmd::new("cp").args(["-a", "--reflink=auto"]);
        copy.arg(changed.path()).arg(&container).run()?;
        Ok(container)
    }

    /// The words after `program` of the command that `build` would run.
    pub(crate) fn arguments_of(&self, program: &str) -> Result<Vec<String>> {
        let commands = self.plan["commands"]
            .as_array()
            .context("no commands in the plan")?;
        let words = commands.iter().filter_map(Value::as_array).find_map(|words| {
            let words: Vec<&str> = words.iter().filter_map(Value::as_str).collect();
            let at = words.iter().position(|w| *w == program)?;
            Some(words[at + 1..].iter().map(|w| (*w).to_owned()).collect())
        });
        words.with_context(|| format!("no {program} in the plan"))
    }
}
