//! The manual pages and completions are made from the same text as `--help`; these tests find where they drift, and write
//! them anew with `LIVEMODE_BLESS=1`.
#![allow(clippy::unwrap_used, dead_code)]
use std::path::PathBuf;

use clap::{Command, CommandFactory};
use clap_complete::Shell;
use livemode_common::config::{Config, KEYS};
use livemode_common::contract;
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
        let has_subcommands = command.get_subcommands().any(|sub| !sub.is_hide_set());
        let after = command.get_after_long_help().map(ToString::to_string);
        let version = command.get_version().unwrap_or_default().to_owned();
        let man = clap_mangen::Man::new(command)
            .section("8")
            .manual("LiveMode")
            .source(format!("LiveMode {version}").trim())
            .date("");
        let mut text = Vec::new();
        man.render_title(&mut text).unwrap();
        man.render_name_section(&mut text).unwrap();
        man.render_synopsis_section(&mut text).unwrap();
        man.render_description_section(&mut text).unwrap();
        man.render_options_section(&mut text).unwrap();
        if has_subcommands {
            man.render_subcommands_section(&mut text).unwrap();
        }
        let text = String::from_utf8(text).unwrap();
        (path, text + &sections(&after.unwrap_or_default()))
    };
    all.map(page).collect()
}

/// The end of `--help` as sections of a page: `Heading:`, then `  term  text`.
fn sections(help: &str) -> String {
    let mut page = String::new();
    for line in help.lines().filter(|line| !line.is_empty()) {
        let escaped = line.replace('\\', "\\e").replace('-', "\\-");
        match (escaped.strip_prefix("  "), escaped.strip_suffix(':')) {
            (Some(entry), _) => match entry.split_once("  ") {
                Some((term, text)) => page.push_str(&format!(".TP\n\\fB{term}\\fR\n{text}\n")),
                None => page.push_str(&format!("{entry}\n")),
            },
            (None, Some(heading)) => page.push_str(&format!(".SH \"{}\"\n", heading.to_uppercase())),
            (None, None) => panic!("neither a heading nor an entry: {line}"),
        }
    }
    page
}

#[test]
fn every_page_has_the_sections_that_admins_look_for() {
    for command in commands() {
        for (path, text) in pages(&command) {
            let is_whole = path.file_stem().unwrap().to_str() == Some(command.get_name());
            let wanted: &[&str] = if is_whole {
                &["EXIT STATUS", "FILES", "EXAMPLES", "SEE ALSO"]
            } else {
                &["EXIT STATUS", "SEE ALSO"]
            };
            for section in wanted {
                assert!(
                    text.contains(&format!(".SH \"{section}\"\n")),
                    "{}: no {section}",
                    path.display()
                );
            }
            assert!(!text.contains("EXTRA"), "{}", path.display());
        }
    }
    let build = std::fs::read_to_string(workspace().join("livemode-prep/man/livemode-prep-build.8")).unwrap();
    assert!(build.contains(".SH \"ENVIRONMENT\"") && build.contains("LEAPP_UNSUPPORTED"));
}

/// The words of the kernel line and what they mean, from the source that all programs read them by.
fn kernel_words() -> Vec<(String, String)> {
    let source = std::fs::read_to_string(workspace().join("livemode-common/src/contract.rs")).unwrap();
    let module = source
        .split("pub mod karg {")
        .nth(1)
        .unwrap()
        .split("\n}")
        .next()
        .unwrap();
    let (mut words, mut text) = (Vec::new(), String::new());
    for line in module.lines().map(str::trim) {
        if let Some(more) = line.strip_prefix("/// ") {
            text = format!("{text} {more}").trim().to_owned();
        } else if line.starts_with("pub const") {
            let word = line.split('"').nth(1).unwrap();
            words.push((word.to_owned(), std::mem::take(&mut text)));
        }
    }
    words
}

#[test]
fn the_page_of_the_kernel_line_is_that_of_the_source() {
    let words = kernel_words();
    assert!(words.len() > 15, "{words:?}");
    let mut page = ".TH livemode.kargs 7 \"\" LiveMode LiveMode\n.SH NAME\nlivemode.kargs \\- what the kernel line of an \
                    upgrade says\n.SH DESCRIPTION\nThe boot entry that\n.BR livemode\\-prep (8)\nmakes has these words. \
                    .BR livemode\\-boot (8)\nand\n.BR livemode\\-run (8)\nread them. What is not plain in a kernel line is \
                    percent\\-encoded. Words of the old system that come along are listed by\n.B livemode\\-prep plan\nand \
                    explained by\n.BR \"livemode\\-prep explain\" .\n.SH WORDS\n"
        .replace(". .BR", ".\n.BR");
    for (word, text) in words {
        // Links of the source's documentation, and its marks.
        let text = text
            .replace("[`crate::records::Manifest::id`]", "id in manifest.json")
            .replace('`', "");
        let [word, text] = [word, text].map(|text| text.replace('\\', "\\e").replace('-', "\\-"));
        page.push_str(&format!(".TP\n\\fB{word}=\\fR\n{text}\n"));
    }
    page.push_str(
        ".SH \"SEE ALSO\"\nlivemode(7), livemode\\-boot(8), livemode\\-run(8), dracut.cmdline(7)\n",
    );
    let path = workspace().join("livemode-prep/man/livemode.kargs.7");
    assert_eq!(golden::compare(&path, &page).unwrap(), None);
}

#[test]
fn the_page_of_the_whole_names_every_command_and_every_place() {
    let page = std::fs::read_to_string(workspace().join("livemode-prep/man/livemode.7")).unwrap();
    let page = page.replace('\\', "");
    for command in commands() {
        assert!(page.contains(command.get_name()), "{}", command.get_name());
    }
    for sub in prep::Cli::command()
        .get_subcommands()
        .filter(|sub| !sub.is_hide_set())
    {
        let named = format!("livemode-prep {}", sub.get_name());
        assert!(page.contains(&named), "no {named}");
    }
    for place in [
        contract::MANIFEST,
        contract::STATE,
        contract::LEAPP_LOG,
        contract::JOURNAL_LOG,
    ] {
        assert!(page.contains(place), "no {place}");
    }
    for other in ["livemode.yaml", "livemode.kargs"] {
        assert!(page.contains(other), "no {other}");
    }
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
