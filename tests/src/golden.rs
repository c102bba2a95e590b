//! Golden cases: a directory with a `command`, the files it reads, and what it is `expected` to say.
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result};
use livemode_common::cmd::Cmd;

use crate::binaries::{binary, workspace};

/// Set to write what was said in place of what was expected; then look at the difference that git shows.
const BLESS: &str = "LIVEMODE_BLESS";

/// The directories below `tests/cases`, sorted.
///
/// # Errors
/// When they cannot be read.
pub fn cases() -> Result<Vec<PathBuf>> {
    let dir = workspace().join("tests/cases");
    let entries = fs::read_dir(&dir).with_context(|| format!("reading {}", dir.display()))?;
    let mut cases: Vec<PathBuf> = entries.map(|e| Ok(e?.path())).collect::<Result<_>>()?;
    cases.sort();
    Ok(cases)
}

/// Runs the case's command in its directory (`CASE` in what it says); the difference to what is expected, if there is one.
///
/// # Errors
/// When the case cannot be read or its program cannot be started.
pub fn difference(case: &Path) -> Result<Option<String>> {
    let read = |name: &str| {
        let path = case.join(name);
        fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))
    };
    let line = read("command")?;
    let mut words = line.split_whitespace();
    let program = words.next().context("an empty command")?;
    let output = Cmd::new(binary(program))
        .args(words)
        .env("COLUMNS", "100")
        .spawn(|command| {
            command.current_dir(case).stdin(Stdio::null());
            command.stdout(Stdio::piped()).stderr(Stdio::piped());
        })?
        .wait_with_output()?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let said = format!(
        "exit {}\n--- stdout\n{}--- stderr\n{}",
        output.status.code().map_or("by signal".into(), |c| c.to_string()),
        text(&output.stdout),
        text(&output.stderr)
    )
    .replace(&case.display().to_string(), "CASE");
    let found = compare(&case.join("expected"), &said)?;
    Ok(found.map(|found| format!("== {line}{found}")))
}

/// The difference of what was said to a file's content, if there is one; with `LIVEMODE_BLESS` set the file gets it.
///
/// # Errors
/// When the file cannot be read or written.
pub fn compare(file: &Path, said: &str) -> Result<Option<String>> {
    if std::env::var_os(BLESS).is_some() {
        fs::write(file, said).with_context(|| format!("writing {}", file.display()))?;
        return Ok(None);
    }
    let expected = fs::read_to_string(file).with_context(|| format!("reading {}", file.display()))?;
    let difference = || format!("-- {}\n{expected}\n-- said\n{said}\n", file.display());
    Ok((said != expected).then(difference))
}
