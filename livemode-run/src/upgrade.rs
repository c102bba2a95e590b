//! Runs the upgrade: each state is on the source's disk before the step it describes.
use std::fs;
use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;

use anyhow::{Context, Result};
use livemode_common::contract::{BOOT_RECORD, LEAPP_LOG};
use livemode_common::failure::precondition;
use livemode_common::fsio;
use livemode_common::records::{Manifest, Phase, Records};
use livemode_common::sysroot::SysRoot;

use crate::facts::Facts;
use crate::finish;
use crate::plan::{UpgradePlan, SOURCE_CMDLINE};
use crate::trace::{self, Trace};

/// Says something to the journal (and so to the consoles) and to leapp's log.
pub(crate) struct Output(fs::File);

impl Output {
    fn open(source: &SysRoot) -> Result<Self> {
        let path = source.at(LEAPP_LOG);
        if let Some(dir) = path.parent() {
            fs::create_dir_all(dir).with_context(|| format!("creating {}", dir.display()))?;
        }
        fsio::append(&path, 0o600).map(Self)
    }

    pub(crate) fn line(&mut self, text: &str) {
        self.bytes(format!("livemode: {text}\n").as_bytes());
    }

    fn bytes(&mut self, bytes: &[u8]) {
        // A full disk or a journal that is being restarted must not end an upgrade that runs.
        let mut stdout = std::io::stdout();
        let _ = stdout.write_all(bytes).and_then(|()| stdout.flush());
        let _ = self.0.write_all(bytes);
    }
}

pub(crate) fn run(source: &SysRoot, cmdline: &Path) -> Result<()> {
    let journal = Records::of(source);
    let mut facts = Facts::gather(source, cmdline)?;
    if facts.not_mounted.iter().any(|target| target == source.path()) {
        return Err(precondition(format!(
            "the source system is not mounted at {}; see 'systemctl --failed', mount it, then type: upgrade",
            source.path().display()
        )));
    }
    if facts.is_a_copy {
        return Err(precondition(format!(
            "the system at {} is a copy of the one that the image lies on: two disks have its UUID; detach the copy, reboot, \
             and start the upgrade again",
            source.path().display()
        )));
    }
    let mut output = Output::open(source)?;
    let attempt = match journal.state()? {
        Some(state) if state.state == Phase::Succeeded => {
            output.line("the upgrade has succeeded already; it does not run again");
            return finish::success(source, &mut output);
        }
        Some(state) => state.attempt + 1,
        None => 1,
    };
    let source_arguments = match ready(&facts) {
        Ok(manifest) => format!("{}\n", manifest.source_arguments),
        Err(fault) => return finish::failure(source, &journal, attempt, &fault, None, &mut output),
    };
    if let Some(Err(error)) = facts.trace.as_deref().map(trace::prepare) {
        output.line(&format!(
            "no trace can be kept: {error:#}; the upgrade goes on without one"
        ));
        facts.trace = None;
    }
    let plan = UpgradePlan::new(source, &facts);
    fsio::atomic_write(Path::new(SOURCE_CMDLINE), source_arguments.as_bytes(), 0o444)?;
    for (number, command) in plan.commands.iter().enumerate() {
        let step = format!("step {} of {}", number + 1, plan.commands.len());
        journal.record(Phase::Upgrading, attempt, &step, None)?;
        output.line(&format!("attempt {attempt}, {step}: {command}"));
        let run = traced(plan.trace.as_deref(), &mut output, |output| {
            command.stream(|bytes| output.bytes(bytes))
        });
        let status = match run {
            Ok(status) => status,
            Err(error) => {
                return finish::failure(
                    source,
                    &journal,
                    attempt,
                    &format!("{step}: {error:#}"),
                    None,
                    &mut output,
                )
            }
        };
        if !status.success() {
            let code = status.code().or_else(|| status.signal().map(|s| 128 + s));
            let fault = format!("{step}: leapp ended with {status}");
            return finish::failure(source, &journal, attempt, &fault, code, &mut output);
        }
    }
    journal.record(
        Phase::Succeeded,
        attempt,
        "leapp has finished; the next boot is the upgraded system",
        Some(0),
    )?;
    output.line("the upgrade succeeded");
    finish::success(source, &mut output)
}

/// Runs the command with its trace kept. What is wrong with the trace is told, and stops nothing.
fn traced<T>(
    path: Option<&Path>,
    output: &mut Output,
    run: impl FnOnce(&mut Output) -> Result<T>,
) -> Result<T> {
    let trace = path.map(Trace::start).transpose().context("keeping the trace")?;
    let result = run(output);
    match trace.map(Trace::end) {
        Some(Ok(Some(why))) => output.line(&format!("the trace is not complete: {why}")),
        Some(Err(error)) => output.line(&format!("the trace is not complete: {error:#}")),
        Some(Ok(None)) | None => {}
    }
    result
}

/// What was built, unless something of it does not fit what was booted.
fn ready(facts: &Facts) -> Result<&Manifest, String> {
    let Some(manifest) = &facts.manifest else {
        return Err(
            "the source system has no manifest: nothing is prepared there; run livemode-prep build".into(),
        );
    };
    match &facts.booted_sha256 {
        Some(sha256) if *sha256 != manifest.image.sha256 => {
            return Err(format!(
                "{BOOT_RECORD} and the manifest name different images: this boot entry is of another build"
            ))
        }
        _ => {}
    }
    if facts.not_mounted.is_empty() {
        return Ok(manifest);
    }
    let targets: Vec<String> = facts
        .not_mounted
        .iter()
        .map(|t| t.display().to_string())
        .collect();
    Err(format!(
        "not mounted, though the source system requires it: {}",
        targets.join(", ")
    ))
}
