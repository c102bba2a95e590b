//! `livemode-run` under faults, without a machine: in a mount namespace that looks like the live system, with a small disk
//! as the source system and scripts in place of systemd-nspawn, systemctl and journalctl.
#![allow(clippy::unwrap_used)]
use std::fs;

const LEAPP_LOG: &str = "var/log/leapp/leapp-upgrade.log";
const JOURNAL_LOG: &str = "var/log/leapp/livemode-journal.log";
const MARK: &str = "root/tmp_leapp_py3/.leapp_upgrade_failed";
const FAILED: &str = "THE UPGRADE FAILED: step 1 of 2: leapp ended with exit status: 7";

#[path = "run/live.rs"]
mod live;

use live::{manifest, state, Live, MANIFEST, STATE};

/// That the texts stand in `text` in this order.
#[track_caller]
fn in_order(text: &str, parts: &[&str]) {
    let mut rest = text;
    for part in parts {
        let at = rest
            .find(part)
            .unwrap_or_else(|| panic!("no {part:?} there, or not in order:\n{text}"));
        rest = &rest[at + part.len()..];
    }
}

#[test]
fn root_a_failure_is_said_though_it_cannot_be_recorded() {
    let live = Live::new("echo an actor raised an error; rm -r /run/upgrade/var/lib/leapp/livemode; exit 7");
    let said = live.run("$RUN upgrade");
    let told = [
        FAILED,
        "recording the failure: opening",
        "No such file or directory",
    ];
    in_order(&said.out, &told);
    in_order(
        &live.after(LEAPP_LOG).unwrap(),
        &["an actor raised an error", FAILED, told[1]],
    );
    in_order(
        &said.out,
        &["the failure is not recorded", "may try again by itself"],
    );
    assert_eq!(
        said.err,
        "livemode-run: the upgrade failed: step 1 of 2: leapp ended with exit status: 7\n"
    );
    assert_eq!(said.code, Some(1));
    // One record that cannot be left does not keep the other from being left.
    assert_eq!(live.after(MARK).as_deref(), Some(""));
}

#[test]
fn root_a_failure_is_said_though_the_disk_is_full() {
    let live = Live::new("echo an actor raised an error; fill; line x; exit 7");
    let said = live.run("$RUN upgrade");
    let full = "No space left on device";
    in_order(
        &said.out,
        &[
            "leapp-upgrade.log of the source system is not complete: No space",
            FAILED,
            "recording the failure: ",
            full,
        ],
    );
    assert_eq!(said.code, Some(1), "{said:?}");
    assert!(
        said.err.ends_with("leapp ended with exit status: 7\n"),
        "{said:?}"
    );
    // What was last recorded stays, whole.
    assert_eq!(live.state(), "upgrading 1: step 1 of 2");
}

#[test]
fn root_a_log_that_cannot_be_opened_fails_the_upgrade_and_that_is_recorded() {
    let live = Live::new("true");
    live.source("var/log/leapp", "a file");
    let said = live.run("$RUN upgrade");
    in_order(
        &said.out,
        &["THE UPGRADE FAILED: creating /run/upgrade/var/log/leapp"],
    );
    assert!(
        live.state().starts_with("failed 1: creating "),
        "{}",
        live.state()
    );
    assert_eq!(live.after(MARK).as_deref(), Some(""));
}

/// Of the system calls of one run those that make durable or name a file, in their order.
fn calls(live: &Live) -> Vec<&'static str> {
    let text = fs::read_to_string(live.at("calls")).unwrap();
    let call = |line: &str| {
        let is_state = line.contains("rename") && line.contains("/state.json\"");
        match () {
            () if is_state => Some("state"),
            () if line.contains("sync()") => Some("sync"),
            () if line.contains("syncfs(") => Some("syncfs"),
            () if line.contains("systemd-nspawn") => Some("leapp"),
            () => None,
        }
    };
    text.lines()
        .filter(|line| !line.contains("ENOENT"))
        .filter_map(call)
        .collect()
}

#[test]
fn root_success_is_recorded_when_all_that_leapp_wrote_is_on_the_disk() {
    let traced =
        r#"strace -f -o "$DIR/calls" -e trace=execve,sync,syncfs,rename,renameat,renameat2 $RUN upgrade"#;
    let expected = ["state", "leapp", "state", "leapp", "sync", "syncfs", "state"];
    for (noreboot, rest) in [(false, &["sync"][..]), (true, &[])] {
        let live = Live::new("echo ok > /run/upgrade/upgraded");
        if noreboot {
            live.source(".noreboot", "");
        }
        let said = live.run(traced);
        assert_eq!(said.code, Some(0), "{said:?}");
        assert_eq!(calls(&live), [&expected[..], rest].concat(), "{said:?}");
        assert_eq!(
            live.state(),
            "succeeded 1: leapp has finished; the next boot is the upgraded system"
        );
        // The first call ends the wait after an earlier failure.
        let calls = fs::read_to_string(live.at("systemctl")).unwrap();
        let rebooted = calls.lines().skip(1).collect::<Vec<_>>();
        let reboot: &[&str] = if noreboot { &[] } else { &["--no-block reboot"] };
        assert_eq!(rebooted, reboot, "{calls}");
    }
}

#[test]
fn root_the_journal_copy_goes_on_when_the_disk_has_room_again() {
    let live = Live::new("true");
    live.program(
        "journalctl",
        r#"log=/run/upgrade/var/log/leapp/livemode-journal.log
        echo first; until_ok "grep -q first $log"
        fill; line x; until_ok "grep -q 'is not complete: No space left' $DIR/said"
        line y; rm /run/upgrade/filler /run/upgrade/rest; sync; echo last
        until_ok "grep -q last $log""#,
    );
    live.source(STATE, &state("prepared", 0, "built", 1));
    let said = live.run(r#"$RUN journal > "$DIR/said""#);
    assert!(said.err.contains("journalctl --follow"), "{said:?}");
    let log = live.after(JOURNAL_LOG).unwrap();
    in_order(
        &log,
        &[
            "first\n",
            "livemode: ",
            " bytes are missing here: No space left on device",
            "last\n",
        ],
    );
    let told = fs::read_to_string(live.at("said")).unwrap();
    assert_eq!(told.matches("is not complete").count(), 1, "{told}");
    assert_eq!(live.state(), "booted 0: the live system is up");
}

#[test]
fn root_nothing_is_written_below_a_source_that_is_not_mounted() {
    let live = Live::new("true");
    live.program("journalctl", "echo first; exec sleep 60");
    let said = live.run(
        r#"$RUN upgrade; echo "upgrade ended with $?"
        $RUN journal > "$DIR/said" & journal=$!
        trap 'kill $journal' EXIT
        until_ok 'grep -q "not mounted at /run/upgrade: the journal is in memory only" "$DIR/said"'
        find /run/upgrade -mindepth 1
        attach; until_ok 'grep -q first /run/upgrade/var/log/leapp/livemode-journal.log'
        trap - EXIT; kill $journal"#,
    );
    assert_eq!(said.out, "upgrade ended with 4\n", "{said:?}");
    assert!(
        said.err.contains(
            "livemode-run: the source system is not mounted at /run/upgrade; see 'systemctl --failed'"
        ),
        "{said:?}"
    );
    assert_eq!(live.state(), "booted 0: the live system is up");
}

#[test]
fn root_a_source_that_goes_away_is_named_and_nothing_is_made_in_its_place() {
    let live = Live::new("umount --lazy /run/upgrade; exit 7");
    let said = live.run("$RUN upgrade");
    in_order(
        &said.out,
        &[
            FAILED,
            "recording the failure: opening /run/upgrade/var/lib/leapp/livemode: No such file",
            "leaving leapp's mark of a failure: the source system is not mounted at /run/upgrade",
            "the failure is not recorded",
        ],
    );
    assert!(
        said.err
            .ends_with("leapp ended with exit status: 7\numount: /run/upgrade: not mounted.\n"),
        "{said:?}"
    );
    assert_eq!(fs::read_dir(live.at("after")).unwrap().count(), 0);
}

#[test]
fn root_trouble_with_the_trace_stops_no_upgrade() {
    let trouble: [(&str, &str, &[&str]); 3] = [
        (
            "upgrade.strace=/var/log/trace",
            "mkdir -p /run/livemode/trace/full",
            &[
                "no trace is kept of this step: removing the old FIFO",
                "step 1 of 2: systemd-nspawn",
            ],
        ),
        (
            "upgrade.strace=/circle/trace",
            "ln -s circle /run/upgrade/circle",
            &["no trace can be kept: ", "step 1 of 2: systemd-nspawn"],
        ),
        // One that may not trace, as a hardened kernel has it.
        (
            "upgrade.strace=/var/log/trace",
            r#"printf '#!/bin/sh\necho PTRACE_SEIZE: Operation not permitted >&2; exit 1' > "$DIR/bin/strace"; chmod +x "$DIR/bin/strace""#,
            &[
                "no trace can be kept: strace",
                "PTRACE_SEIZE",
                "step 1 of 2: systemd-nspawn",
            ],
        ),
    ];
    for (word, prepare, told) in trouble {
        let mut live = Live::new("echo leapp runs");
        live.cmdline = Box::leak(format!("root=livemode:UUID=x {word}").into_boxed_str());
        let said = live.run(&format!("{prepare}; $RUN upgrade"));
        in_order(&said.out, told);
        in_order(&said.out, &["leapp runs", "leapp runs", "the upgrade succeeded"]);
        assert_eq!(said.code, Some(0), "{said:?}");
        assert!(live.state().starts_with("succeeded 1"), "{}", live.state());
    }
}

#[test]
fn root_a_trace_leaves_room_for_the_upgrade() {
    let mut live = Live::new("echo leapp runs");
    live.cmdline = "root=livemode:UUID=x upgrade.strace=/var/log/trace";
    let said = live.run("$RUN upgrade");
    assert_eq!(said.code, Some(0), "{said:?}");
    assert!(said.out.contains("step 1 of 2: strace -f"), "{said:?}");
    // The stand-in runs; the disk is too small for a trace that leaves room for an upgrade.
    assert!(
        said.out
            .contains("the trace is not complete: less than 512 MiB are free"),
        "{said:?}"
    );
}

#[test]
fn root_after_a_failure_the_next_boot_waits_until_someone_asks() {
    let held = "livemode-run: attempt 1 has failed: leapp ended with 7; the next one waits until someone types: upgrade\n";
    for (phase, attempt, message, prepare, refused) in [
        ("failed", 1, "leapp ended with 7", "", Some(held)),
        (
            "failed",
            1,
            "leapp ended with 7",
            "touch /run/livemode/start; ",
            None,
        ),
        (
            "failed",
            0,
            "the image was refused in early boot: too short",
            "",
            None,
        ),
        ("upgrading", 1, "step 1 of 2", "", None),
        ("booted", 0, "the live system is up", "", None),
    ] {
        let live = Live::new("true");
        live.source(STATE, &state(phase, attempt, message, 1));
        let said = live.run(&format!("{prepare}$RUN wanted"));
        assert_eq!(said.err, refused.unwrap_or_default(), "{phase} {message}");
        assert_eq!(said.code, Some(if refused.is_some() { 4 } else { 0 }));
    }
}

#[test]
fn root_who_types_upgrade_is_told_how_its_service_ended() {
    let failed = "livemode-run: the upgrade is failed: step 1 of 2: leapp ended with exit status: 7\n";
    for (leapp, code, fault) in [("true", 0, ""), ("exit 7", 1, failed)] {
        let live = Live::new(leapp);
        live.source(STATE, &state("failed", 1, "leapp ended with 7", 1));
        live.source(".noreboot", "");
        // The service runs in the background, as systemd has it, and only where its condition holds.
        live.program(
            "systemctl",
            r#"case $1 in
                is-active) [ -e "$DIR/active" ] && echo active || echo inactive ;;
                show) echo 0123abcd ;;
                start)
                    LIVEMODE_UNIT=1 $RUN wanted || exit 0
                    touch "$DIR/active"
                    { LIVEMODE_UNIT=1 $RUN upgrade > "$DIR/said" 2>&1; rm "$DIR/active"; } > /dev/null 2>&1 &
            esac"#,
        );
        live.program("journalctl", "exec sleep 60");
        let said = live.run("export RUN; env -u LIVEMODE_UNIT $RUN upgrade");
        assert_eq!((said.code, said.err.as_str()), (Some(code), fault), "{said:?}");
        assert!(
            said.out.contains("Following it; ^C ends only this view.\n"),
            "{said:?}"
        );
        let told = fs::read_to_string(live.at("said")).unwrap();
        assert!(told.contains("livemode: attempt 2, step 1 of 2: "), "{told}");
    }
}

#[test]
fn root_records_of_another_version_are_named_and_kept() {
    let advice = "its schema is 2, this livemode knows 1: use the livemode version that wrote it";
    // What is not understood is not written over.
    let live = Live::new("echo leapp runs");
    let newer = state("booted", 0, "the live system is up", 2);
    live.source(STATE, &newer);
    let said = live.run("$RUN upgrade; $RUN wanted; $RUN status");
    let fault = format!("reading /run/upgrade/{STATE}: {advice}");
    assert_eq!(
        said.err.matches(&format!("livemode-run: {fault}\n")).count(),
        3,
        "{said:?}"
    );
    let line = format!("livemode: the upgrade does not start: {fault}\n");
    assert_eq!(said.out, line);
    assert_eq!(live.after(LEAPP_LOG), Some(line));
    assert_eq!(live.after(STATE), Some(newer));

    let live = Live::new("echo leapp runs");
    live.source(MANIFEST, &manifest(2));
    let said = live.run("$RUN upgrade");
    in_order(
        &said.out,
        &[&format!(
            "THE UPGRADE FAILED: reading /run/upgrade/{MANIFEST}: {advice}"
        )],
    );
    assert!(live.state().starts_with("failed 1: reading "), "{}", live.state());

    let live = Live::new("echo leapp runs");
    fs::write(live.at("boot.json"), r#"{"schema":2}"#).unwrap();
    let said = live.run("$RUN upgrade");
    in_order(
        &said.out,
        &[&format!(
            "THE UPGRADE FAILED: reading /run/livemode/boot.json: {advice}"
        )],
    );
}
