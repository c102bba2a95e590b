//! What is to be the live system: a mount namespace with a small disk as the source system, and scripts in the place of programs.
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};

use livemode_common::cmd::Cmd;
use livemode_tests::binaries::binary;
use tempfile::TempDir;

pub(crate) const STATE: &str = "var/lib/leapp/livemode/state.json";
pub(crate) const MANIFEST: &str = "var/lib/leapp/livemode/manifest.json";
/// `until COMMAND`: waits for it with a limit. `fill`: leaves no byte free on the source's disk.
const FUNCTIONS: &str = r#"
until_ok() { n=0; while ! eval "$1"; do n=$((n+1)); [ $n -lt 600 ] || { echo "waited in vain: $1" >&2; exit 99; }; sleep 0.1; done; }
fill() { dd if=/dev/zero of=/run/upgrade/filler bs=64k 2>/dev/null; dd if=/dev/zero of=/run/upgrade/rest bs=1k 2>/dev/null; sync; }
line() { head -c 8192 /dev/zero | tr '\0' "$1"; echo; }
"#;

/// What is to be the live system: `dir/bin` stands first in PATH, `dir/source` is what the source's disk holds, and what it
/// holds at the end is put into `dir/after`.
pub(crate) struct Live {
    pub(crate) dir: TempDir,
    pub(crate) cmdline: &'static str,
}

impl Live {
    /// One in which something is prepared, and leapp does as the script says.
    pub(crate) fn new(leapp: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let live = Self {
            dir,
            cmdline: "root=livemode:UUID=x upgrade.autostart=1",
        };
        fs::create_dir(live.at("bin")).unwrap();
        fs::create_dir(live.at("after")).unwrap();
        live.program("systemd-nspawn", leapp);
        live.program("systemctl", r#"echo "$*" >> "$DIR/systemctl""#);
        live.source(MANIFEST, &manifest(1));
        live.source(STATE, &state("booted", 0, "the live system is up", 1));
        live
    }

    pub(crate) fn at(&self, path: impl AsRef<Path>) -> PathBuf {
        self.dir.path().join(path)
    }

    pub(crate) fn program(&self, name: &str, script: &str) {
        let path = self.at("bin").join(name);
        fs::write(&path, format!("#!/bin/sh\n{FUNCTIONS}\n{script}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// Puts a file on the source's disk.
    pub(crate) fn source(&self, path: &str, content: &str) {
        let path = self.at("source").join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    /// What the source's disk holds afterwards.
    pub(crate) fn after(&self, path: &str) -> Option<String> {
        fs::read_to_string(self.at("after").join(path)).ok()
    }

    pub(crate) fn state(&self) -> String {
        let state: serde_json::Value = serde_json::from_str(&self.after(STATE).unwrap()).unwrap();
        format!("{} {}: {}", state["state"], state["attempt"], state["message"]).replace('"', "")
    }

    /// Runs the script in the live system; `$RUN` is the program.
    pub(crate) fn run(&self, script: &str) -> Said {
        fs::write(self.at("cmdline"), self.cmdline).unwrap();
        let boot = r#"{"schema":1,"device":"/dev/vda1","image":"/i","size":1,"sha256":"aa","steps":[]}"#;
        if !self.at("boot.json").exists() {
            fs::write(self.at("boot.json"), boot).unwrap();
        }
        let script = format!(
            r#"set -e
            {FUNCTIONS}
            mount -t tmpfs none /run
            mkdir -p /run/livemode /run/upgrade
            cp "$DIR/boot.json" /run/livemode/
            truncate -s 16M "$DIR/disk"
            mkfs.ext4 -q -m 0 "$DIR/disk"
            attach() {{ mount -o loop "$DIR/disk" /run/upgrade; cp -a "$DIR/source/." /run/upgrade; }}
            RUN="{} --cmdline $DIR/cmdline"
            [ -n "$DETACHED" ] || attach
            set +e
            {script}
            status=$?
            rm -rf /run/upgrade/filler /run/upgrade/rest /run/upgrade/lost+found
            cp -a /run/upgrade/. "$DIR/after"
            umount /run/upgrade
            exit $status"#,
            binary("livemode-run").display()
        );
        let path = format!("{}:{}", self.at("bin").display(), std::env::var("PATH").unwrap());
        let output = Cmd::new("unshare")
            .args(["--mount", "--propagation", "private", "sh", "-c", &script])
            .env("DIR", self.dir.path())
            .env("PATH", path)
            .env("LIVEMODE_UNIT", "1")
            .env("DETACHED", if script.contains("attach;") { "1" } else { "" })
            .spawn(|command| {
                command.stdin(Stdio::null());
                command.stdout(Stdio::piped()).stderr(Stdio::piped());
            })
            .unwrap()
            .wait_with_output()
            .unwrap();
        Said::from(&output)
    }
}

#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl From<&Output> for Said {
    fn from(output: &Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Self {
            code: output.status.code(),
            out: text(&output.stdout),
            err: text(&output.stderr),
        }
    }
}

pub(crate) fn state(state: &str, attempt: u32, message: &str, schema: u32) -> String {
    serde_json::json!({
        "schema": schema, "state": state, "time": 1, "attempt": attempt, "message": message, "exit_code": null
    })
    .to_string()
}

pub(crate) fn manifest(schema: u32) -> String {
    let artifact = serde_json::json!({"path": "/i", "size": 1, "sha256": "aa"});
    serde_json::json!({
        "schema": schema, "image": artifact, "kernel": artifact, "hmac": null, "initramfs": artifact,
        "kernel_version": "6.1", "compressor": "zstd", "boot": {"loader": "none", "arguments": ""},
        "source_arguments": "root=UUID=x ro", "config": livemode_common::config::Config::default(),
        "versions": {}, "created": 1
    })
    .to_string()
}
