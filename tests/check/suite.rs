//! The tests there are, by cargo's word and theirs, and the tier of each by its name.
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use livemode_common::cmd::Cmd;
use serde_json::Value;

use crate::pool::Job;

/// What a test needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tier {
    /// Nothing.
    Fast,
    /// Nothing but the programs, of which it shows what they say: those for a debugger and those as they are shipped.
    Golden,
    /// Root.
    Root,
    /// QEMU.
    Vm,
    /// The packages.
    Packages,
}

impl Tier {
    fn of(binary: &str, test: &str) -> Self {
        // A unit test is named after its module.
        let name = test.rsplit("::").next().unwrap_or(test);
        match name {
            _ if binary == "packages" => Self::Packages,
            _ if binary == "cli" => Self::Golden,
            _ if name.starts_with("root_") => Self::Root,
            _ if name.starts_with("vm_") => Self::Vm,
            _ => Self::Fast,
        }
    }
}

/// A program that cargo has made of tests.
#[derive(Debug)]
pub struct Binary {
    name: String,
    executable: PathBuf,
    /// Where cargo would start it.
    package: PathBuf,
    tests: Vec<String>,
}

/// All of the workspace.
///
/// # Errors
/// When they cannot be built, or do not say what is in them.
pub fn binaries() -> Result<Vec<Binary>> {
    let build = Cmd::new(std::env::var_os("CARGO").unwrap_or("cargo".into()));
    let build = build.args([
        "test",
        "--workspace",
        "--no-run",
        "--quiet",
        "--message-format=json",
    ]);
    let mut binaries = Vec::new();
    for line in build.read()?.lines() {
        let said: Value = serde_json::from_str(line).with_context(|| format!("reading {line}"))?;
        let (Some(executable), Some(true)) = (said["executable"].as_str(), said["profile"]["test"].as_bool())
        else {
            continue;
        };
        let text = |value: &Value| value.as_str().map(str::to_owned).context("cargo says no name");
        let manifest = text(&said["manifest_path"])?;
        binaries.push(Binary {
            name: text(&said["target"]["name"])?,
            tests: listed(executable)?,
            executable: executable.into(),
            package: Path::new(&manifest)
                .parent()
                .context("a manifest lies in a directory")?
                .to_owned(),
        });
    }
    Ok(binaries)
}

fn listed(executable: &str) -> Result<Vec<String>> {
    let said = Cmd::new(executable).args(["--list", "--format=terse"]).read()?;
    let tests = said.lines().filter_map(|line| line.strip_suffix(": test"));
    Ok(tests.map(str::to_owned).collect())
}

/// What is to be run of a tier, the longest first as far as that is known: each test by itself, but those that take no
/// time all at once.
pub fn jobs(binaries: &[Binary], tier: Tier, known: &BTreeMap<String, f64>) -> Vec<Job> {
    let mut jobs = Vec::new();
    for binary in binaries {
        let tests = binary
            .tests
            .iter()
            .filter(|test| Tier::of(&binary.name, test) == tier);
        let tests: Vec<String> = tests.cloned().collect();
        let job = |name: String, tests: Vec<String>| Job {
            seconds: known.get(&name).copied(),
            name,
            binary: binary.name.clone(),
            executable: binary.executable.clone(),
            package: binary.package.clone(),
            tests,
        };
        if tier == Tier::Fast {
            jobs.extend((!tests.is_empty()).then(|| job(binary.name.clone(), tests)));
        } else {
            jobs.extend(
                tests
                    .into_iter()
                    .map(|test| job(format!("{}::{test}", binary.name), vec![test])),
            );
        }
    }
    // One that was never run may be long.
    let seconds = |job: &Job| job.seconds.unwrap_or(f64::MAX);
    jobs.sort_by(|a, b| seconds(b).total_cmp(&seconds(a)));
    jobs
}

#[cfg(test)]
mod tests {
    use super::*;

    fn binary(name: &str, tests: &[&str]) -> Binary {
        Binary {
            name: name.into(),
            executable: "x".into(),
            package: "/".into(),
            tests: tests.iter().map(|test| (*test).to_owned()).collect(),
        }
    }

    #[test]
    fn each_test_is_of_one_tier() {
        for (binary, test, tier) in [
            ("livemode-boot", "plan::tests::the_root_is_found", Tier::Fast),
            ("builds", "root_plan_writes_nothing", Tier::Root),
            ("livemode_common", "loopback::tests::root_a_race", Tier::Root),
            ("leapp", "vm_the_actors_lead", Tier::Vm),
            ("cli", "every_case_says_what_is_expected", Tier::Golden),
            ("packages", "root_the_packages_install", Tier::Packages),
            ("packages", "the_binaries_need", Tier::Packages),
        ] {
            assert_eq!(Tier::of(binary, test), tier, "{binary} {test}");
        }
    }

    #[test]
    fn the_longest_come_first_and_the_unknown_before_them() {
        let binaries = [
            binary("vm", &["vm_short", "root_x", "vm_long", "vm_new"]),
            binary("fstab", &["a", "b"]),
        ];
        let known = [("vm::vm_short", 1.0), ("vm::vm_long", 9.0)];
        let known = known.map(|(name, seconds)| (name.to_owned(), seconds)).into();
        let names = |tier| -> Vec<String> {
            jobs(&binaries, tier, &known)
                .into_iter()
                .map(|job| job.name)
                .collect()
        };
        assert_eq!(names(Tier::Vm), ["vm::vm_new", "vm::vm_long", "vm::vm_short"]);
        assert_eq!(names(Tier::Fast), ["fstab"]);
        assert_eq!(jobs(&binaries, Tier::Fast, &known)[0].tests, ["a", "b"]);
    }
}
