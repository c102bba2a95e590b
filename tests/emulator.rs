//! What is taken for a stall of the emulator, and what is not: a tiny guest, whose console is read as that of any machine.
#![allow(clippy::unwrap_used)]
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use livemode_tests::container::Changed;
use livemode_tests::testbed::{self, Suite};
use livemode_tests::vm::{Boot, Drive, Machine, Stalled};
use nix::sys::signal::{kill, Signal};
use nix::unistd::Pid;

/// In the place of the minutes that a real test waits.
const LIMIT: Duration = Duration::from_secs(7);

/// Longer than [`LIMIT`] it waits, and longer than that it works, without a word.
const SILENT: &str = r#"#!/bin/sh
echo "guest: begins"
sleep 10
echo "guest: has waited"
n=0; while [ $n -lt 500000 ]; do n=$((n + 1)); done
echo "guest: has worked"
"#;

const FOR_EVER: &str = "#!/bin/sh\necho 'guest: begins'\nsleep 1000\n";

/// A kernel, and an initramfs of a shell, `sleep` and the script that the kernel starts.
struct Guest {
    dir: tempfile::TempDir,
    kernel: PathBuf,
}

impl Guest {
    fn new(script: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let container = testbed::container(Suite::Bookworm).unwrap();
        let kernel = testbed::source_kernel(&container).unwrap();
        let changed = Changed::of(&container).unwrap();
        fs::create_dir(changed.at("tiny")).unwrap();
        fs::write(changed.at("tiny/init"), script).unwrap();
        let make = "cd /tiny && chmod 755 init && mkdir -p dev bin lib64 lib/x86_64-linux-gnu && \
            cp -L /bin/sh /bin/sleep bin && cp -L /lib64/ld-linux-x86-64.so.2 lib64 && \
            cp -L /lib/x86_64-linux-gnu/libc.so.6 lib/x86_64-linux-gnu && find . | cpio --quiet -o -H newc >/tiny.cpio";
        changed.inside("sh").args(["-c", make]).run().unwrap();
        fs::copy(changed.at("tiny.cpio"), dir.path().join("initramfs")).unwrap();
        fs::File::create(dir.path().join("disk.img"))
            .unwrap()
            .set_len(1 << 20)
            .unwrap();
        Self { dir, kernel }
    }

    fn on<T>(&self, act: impl FnOnce(Machine) -> T) -> T {
        let boot = Boot::Kernel {
            kernel: &self.kernel,
            initramfs: &self.dir.path().join("initramfs"),
            // When its init ends the kernel panics, and with that the machine is over.
            arguments: "console=ttyS0 mitigations=off quiet panic=-1",
        };
        act(Machine::new(
            &[Drive::new(self.dir.path().join("disk.img"))],
            boot,
        ))
    }
}

#[test]
fn vm_a_guest_that_is_silent_for_long_is_not_taken_for_a_stall() {
    let console = Guest::new(SILENT).on(|machine| {
        let mut running = machine.start().unwrap().stalled_after(LIMIT);
        running.expect("guest: begins").unwrap();
        running.expect("guest: has waited").unwrap();
        running.expect("guest: has worked").unwrap();
        running.wait().unwrap()
    });
    assert!(console.contains("Attempted to kill init"), "{console}");
}

#[test]
fn vm_an_emulator_that_runs_nothing_is_taken_for_a_stall() {
    let error = Guest::new(FOR_EVER).on(|machine| {
        let mut running = machine.start().unwrap().stalled_after(LIMIT);
        running.expect("guest: begins").unwrap();
        kill(Pid::from_raw(running.pid().try_into().unwrap()), Signal::SIGSTOP).unwrap();
        running.wait().unwrap_err()
    });
    assert!(error.is::<Stalled>(), "{error:#}");
}
