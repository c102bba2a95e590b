//! The manual pages and completions are made from the same text as `--help`; these tests find where they drift, and write
//! them anew with `LIVEMODE_BLESS=1`.
#![allow(clippy::unwrap_used, dead_code)]
use std::path::PathBuf;

use clap::{Command, CommandFactory};
use clap_complete::Shell;
use livemode_common::config::{Config, KEYS};
use livemode_tests::binaries::workspace;
use livemode_tests::golden;

#[path = "../livemode-boot/src/args.rs"]
mod boot;
#[path = "../livemode-prep/src/args.rs"]
mod prep;
#[path = "../livemode-run/src/args.rs"]
mod run;

fn commands() -> [Command; 3] {
    [prep::Cli::command(), boot::Cli::command(), run::Cli::command()]
}

/// Path and text of every manual page of a command, subcommands on pages of their own, as git(1) has them.
fn pages(command: &Command) -> Vec<(PathBuf, String)> {
    let mut command = command.clone().disable_help_subcommand(true);
    command.build();
    let package = command.get_name().to_owned();
    let visible = command.get_subcommands().filter(|c| !c.is_hide_set());
    let all = std::iter::once(command.clone()).chain(visible.map(|sub| {
        let name: &'static str = format!("{package}-{}", sub.get_name()).leak();
        sub.clone().name(name).disable_help_flag(true)
    }));
    let page = |command: Command| {
        let path = workspace()
            .join(&package)
            .join("man")
            .join(format!("{}.8", command.get_name()));
        let man = clap_mangen::Man::new(command)
            .section("8")
            .manual("LiveMode")
            .source("LiveMode");
        let mut text = Vec::new();
        man.date("").render(&mut text).unwrap();
        (path, String::from_utf8(text).unwrap())
    };
    all.map(page).collect()
}

#[test]
fn the_manual_pages_are_those_of_the_help() {
    let pages: Vec<(PathBuf, String)> = commands().iter().flat_map(pages).collect();
    assert!(pages.len() > 10, "{} pages", pages.len());
    let drifted = pages
        .iter()
        .filter_map(|(path, text)| golden::compare(path, text).unwrap());
    assert_eq!(drifted.collect::<String>(), "");
}

#[test]
fn the_completions_are_those_of_the_help() {
    let mut drifted = String::new();
    for mut command in commands() {
        let name = command.get_name().to_owned();
        for (shell, file) in [
            (Shell::Bash, name.clone()),
            (Shell::Zsh, format!("_{name}")),
            (Shell::Fish, format!("{name}.fish")),
        ] {
            let mut text = Vec::new();
            clap_complete::generate(shell, &mut command, &name, &mut text);
            let dir = workspace().join("packaging/completions").join(shell.to_string());
            std::fs::create_dir_all(&dir).unwrap();
            let text = String::from_utf8(text).unwrap();
            drifted.extend(golden::compare(&dir.join(file), &text).unwrap());
        }
    }
    assert_eq!(drifted, "");
}

#[test]
fn the_manual_of_the_configuration_has_every_key_and_its_default() {
    let page = std::fs::read_to_string(workspace().join("livemode-prep/man/livemode.yaml.5")).unwrap();
    let defaults = serde_json::to_value(Config::default()).unwrap();
    for key in KEYS {
        let heading = format!(".B {}\n", key.replace('-', "\\-"));
        let text = page.split(&heading).nth(1).unwrap_or_else(|| panic!("no {key}"));
        let text = text.split("\n.TP").next().unwrap();
        let default = match defaults[key].to_string().as_str() {
            "\"\"" => "Default: empty.".to_owned(),
            "[]" => "Default: none.".to_owned(),
            value => format!("Default: {}.", value.trim_matches('"')),
        };
        assert!(
            text.replace('\\', "").contains(&default),
            "{key}: no '{default}' in: {text}"
        );
    }
}
