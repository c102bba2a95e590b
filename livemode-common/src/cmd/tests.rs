//! Programs that are started, read and ended.
use std::io::Write;

use super::*;

#[test]
fn a_command_is_shown_as_a_shell_would_read_it() {
    let cmd = Cmd::new("mksquashfs")
        .arg("/a dir")
        .args(["-b", "1M"])
        .arg("it's");
    assert_eq!(cmd.to_string(), r"mksquashfs '/a dir' -b 1M 'it'\''s'");
}

#[test]
fn a_failure_carries_the_command_its_status_and_its_stderr() {
    let error = Cmd::new("sh")
        .args(["-c", "echo no such thing >&2; exit 7"])
        .run()
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "sh -c 'echo no such thing >&2; exit 7': exit status: 7: no such thing"
    );
}

#[test]
fn a_long_stderr_is_cut_from_its_beginning_between_letters() {
    assert_eq!(tail("short\n"), "short");
    let long = format!("ä{}", "x".repeat(STDERR_TAIL));
    assert_eq!(tail(&long), &long[2..]);
    let long = format!("ä{}", "x".repeat(STDERR_TAIL - 1));
    assert_eq!(tail(&long), &long[2..], "the cut is in the middle of a letter");
    assert_eq!(tail(&format!("{}\n", "x".repeat(STDERR_TAIL))).len(), STDERR_TAIL);
}

/// Writes 1 MiB to stderr, which no pipe holds, and a word to stdout.
const MUCH: &str = "head -c 1048576 /dev/zero | tr '\\0' x >&2; echo done";

fn sh(script: &str) -> Cmd {
    Cmd::new("sh").args(["-c", script])
}

#[test]
fn what_no_pipe_holds_is_read_while_the_program_runs() {
    let mut pids = Vec::new();
    let (status, said) = sh(MUCH)
        .watch(Duration::from_millis(1), |pid| pids.push(pid))
        .unwrap();
    assert!(status.success());
    assert!(said.contains("\n[1032192 bytes left out]\n"), "{}", said.len());
    assert!(!pids.is_empty() && pids.iter().all(|pid| *pid == pids[0]));

    let (status, stdout, stderr) = sh(MUCH).output().unwrap();
    assert!(status.success());
    assert_eq!((stdout.as_str(), stderr.len()), ("done\n", 1 << 20));

    let mut bytes = 0;
    let status = sh(MUCH).stream(|piece| bytes += piece.len()).unwrap();
    assert!(status.success());
    assert_eq!(bytes, (1 << 20) + "done\n".len());
}

#[test]
fn a_limit_ends_the_program_and_what_it_started() {
    type Run = fn(&Cmd) -> Result<()>;
    // Each starts a program that holds the output open or, where that is closed, the script itself.
    let waits = "sleep 3600 & echo $! >\"$FILE\"; echo waiting >&2; wait";
    let ends = "sleep 3600 & echo $! >\"$FILE\"; echo waiting >&2";
    let closes = "echo waiting >&2; exec >&- 2>&-; sleep 3600 & echo $! >\"$FILE\"; wait";
    let ways: [(&str, Run, &str); 5] = [
        (waits, Cmd::run, ": waiting"),
        (ends, |cmd| cmd.read().map(drop), ": waiting"),
        (closes, |cmd| cmd.output().map(drop), ": waiting"),
        (
            waits,
            |cmd| cmd.watch(Duration::ZERO, |_| ()).map(drop),
            ": waiting",
        ),
        (waits, |cmd| cmd.stream(|_| ()).map(drop), ""),
    ];
    let check = |(script, way, said): (&str, Run, &str)| {
        let file = tempfile::NamedTempFile::new().unwrap();
        let cmd = sh(script).env("FILE", file.path()).limit(Duration::from_secs(4));
        let error = way(&cmd).unwrap_err();
        let expected = format!("{cmd}: took longer than its limit of 4s; it was ended{said}");
        assert_eq!(error.to_string(), expected);
        let started = std::fs::read_to_string(file.path()).unwrap();
        assert!(!started.is_empty() && !stays_alive(started.trim()), "{cmd}");
    };
    std::thread::scope(|scope| {
        ways.into_iter()
            .for_each(|way| drop(scope.spawn(move || check(way))))
    });
}

/// Whether a process is still there after a while: a killed one takes a moment to go, or stays as a zombie.
fn stays_alive(pid: &str) -> bool {
    (0..500).all(|_| {
        std::thread::sleep(Duration::from_millis(10));
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let state = stat.rsplit(") ").next().and_then(|rest| rest.chars().next());
        !matches!(state, None | Some('Z' | 'X'))
    })
}

#[test]
fn a_limit_that_is_not_reached_changes_nothing() {
    let hour = Duration::from_secs(3600);
    assert_eq!(sh("echo x").limit(hour).read().unwrap(), "x\n");
    let (status, said) = sh("exec >&- 2>&-; exit 3")
        .limit(Duration::MAX)
        .watch(hour, |_| ())
        .unwrap();
    assert_eq!((status.code(), said.as_str()), (Some(3), ""));
}

#[test]
fn a_program_that_is_not_there_is_named() {
    let error = Cmd::new("/no/such/program").run().unwrap_err();
    assert!(
        format!("{error:#}").starts_with("starting /no/such/program: "),
        "{error:#}"
    );
}

#[test]
fn a_word_is_quoted_where_a_shell_would_not_take_it_as_it_is() {
    for (word, quoted) in [
        ("", "''"),
        ("a$b", "'a$b'"),
        ("ip=dhcp:x,y+z@w%1/._-", "ip=dhcp:x,y+z@w%1/._-"),
        ("é", "'é'"),
    ] {
        assert_eq!(shell_quote(word), quoted);
    }
    let cmd = Cmd::new("chroot").args(["/mnt", "rpm"]).arg("-q");
    assert_eq!(cmd.words(), ["chroot", "/mnt", "rpm", "-q"]);
}

#[test]
fn what_it_says_is_given_whatever_the_status() {
    let cmd = sh("printf '%s' \"$WORD\"; echo said >&2; exit 3").env("WORD", "a b");
    let (status, stdout, stderr) = cmd.output().unwrap();
    assert_eq!(
        (status.code(), stdout.as_str(), stderr.as_str()),
        (Some(3), "a b", "said\n")
    );
    let (status, said) = cmd.watch(Duration::ZERO, |_| ()).unwrap();
    assert_eq!((status.code(), said.as_str()), (Some(3), "said\n"));
    let mut all = Vec::new();
    let status = cmd.stream(|piece| all.extend_from_slice(piece)).unwrap();
    assert_eq!((status.code(), all.as_slice()), (Some(3), &b"a bsaid\n"[..]));
}

/// Starts it in a thread that ends at once.
fn orphan(cmd: Cmd) -> Child {
    let start = move || {
        cmd.spawn(|command| {
            command.stdin(Stdio::piped());
        })
    };
    std::thread::spawn(start).join().unwrap().unwrap()
}

#[test]
fn a_program_dies_with_the_thread_that_started_it() {
    use std::os::unix::process::ExitStatusExt;
    let mut child = orphan(Cmd::new("sleep").arg("3600"));
    assert_eq!(child.wait().unwrap().signal(), Some(9));
}

#[test]
fn one_that_is_to_outlive_us_goes_on_in_a_group_of_its_own() {
    let mut child = orphan(sh("read code; exit $code").outlive_us());
    let group = nix::unistd::getpgid(Some(nix::unistd::Pid::from_raw(child.id().cast_signed())));
    assert_eq!(group.unwrap().as_raw(), child.id().cast_signed());
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(b"7\n").unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(7));
}

#[test]
fn a_program_is_found_where_systems_have_them() {
    let dir = tempfile::tempdir().unwrap();
    for path in [
        "usr/sbin/grubby",
        "sbin/grubby",
        "bin/rpm/is a directory",
        "opt/tool",
    ] {
        let path = dir.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, "").unwrap();
    }
    let found = |name| find_program(dir.path(), name);
    assert_eq!(found("grubby"), Some("/usr/sbin/grubby".into()));
    assert_eq!(found("rpm"), None);
    assert_eq!(found("tool"), None);
}
