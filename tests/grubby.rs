//! What is strange about grubby, which leapp makes its boot entry with: of the stand-in (tests/testbed/grubby.sh), and of the
//! real script where `make grubby` names it. And that the upgrade is right all the same.
#![allow(clippy::unwrap_used)]
use std::fs;

use livemode_common::cmd::Cmd;
use livemode_tests::source::SourceDisk;

const MACHINE: &str = "abcdef0123456789abcdef0123456789";
const ENTRIES: &str = "boot/loader/entries";
const KERNEL: &str = "/boot/vmlinuz-upgrade.x86_64";

struct System(SourceDisk);

impl System {
    fn new() -> Self {
        let disk = SourceDisk::with_grubby().unwrap();
        fs::write(disk.at(&KERNEL[1..]), "kernel").unwrap();
        Self(disk)
    }

    fn grubby(&self, arguments: &[&str]) -> (bool, String) {
        let call = Cmd::new("chroot")
            .arg(self.0.root())
            .arg("/usr/sbin/grubby")
            .args(arguments)
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        let (status, stdout, _) = call.output().unwrap();
        (status.success(), stdout)
    }

    /// Adds an entry as leapp does.
    fn add(&self, title: &str, arguments: &str) {
        let add = [
            "--add-kernel",
            KERNEL,
            "--initrd",
            "/boot/i",
            "--title",
            title,
            "--copy-default",
            "--make-default",
        ];
        let (done, said) = self.grubby(&[&add[..], &["--args", arguments]].concat());
        assert!(done, "{said}");
    }

    fn entries(&self) -> Vec<String> {
        let names = fs::read_dir(self.0.at(ENTRIES)).unwrap();
        let mut names: Vec<String> = names
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .map(|name| name.trim_start_matches(MACHINE).to_owned())
            .collect();
        names.sort();
        names
    }

    fn options(&self, id: &str) -> String {
        let entry = self.0.read(&format!("{ENTRIES}/{MACHINE}{id}.conf"));
        let options = entry.lines().find_map(|line| line.strip_prefix("options "));
        options.unwrap().to_owned()
    }
}

#[test]
fn root_a_kernels_second_entry_is_custom_and_the_first_by_name_is_meant() {
    let system = System::new();
    let old = system.0.variable("saved_entry");
    system.add("Upgrade", "a=1");
    assert_eq!(
        system.0.variable("saved_entry"),
        format!("{MACHINE}-upgrade.x86_64")
    );
    system.add("Again", "b=1");
    system.add("Third", "c=1");
    let custom = |number: u32| format!("-upgrade.x86_64.{number}~custom.conf");
    let names = system.entries();
    assert_eq!(names.len(), 4, "{names:?}");
    for name in [&custom(0), &custom(1), "-upgrade.x86_64.conf"] {
        assert!(names.iter().any(|known| known == name), "{name}: {names:?}");
    }
    // --make-default goes by the title, and --set-default by the kernel: it takes the first.
    let first = format!("{MACHINE}-upgrade.x86_64.1~custom");
    assert_eq!(system.0.variable("saved_entry"), first);
    assert!(system.grubby(&["--set-default", "TITLE=Upgrade"]).0);
    assert_eq!(
        system.0.variable("saved_entry"),
        format!("{MACHINE}-upgrade.x86_64")
    );
    assert!(system.grubby(&["--set-default", KERNEL]).0);
    assert_eq!(system.0.variable("saved_entry"), first);
    // All of them go, and the default with them.
    assert!(system.grubby(&[&format!("--remove-kernel={KERNEL}")]).0);
    assert_eq!(system.entries().len(), 1);
    assert_eq!(system.0.variable("saved_entry"), "");
    assert_ne!(old, "");
    assert!(!system.grubby(&["--remove-kernel", KERNEL]).0, "there is none");
}

#[test]
fn root_copied_arguments_are_appended_and_updated_ones_replaced() {
    let system = System::new();
    system.add("Upgrade", "root=live:x console=ttyS9 word");
    let options = system.options("-upgrade.x86_64");
    assert!(options.ends_with("root=live:x console=ttyS9 word"), "{options}");
    assert_eq!(options.matches("root=").count(), 2, "appended: {options}");
    let update = |words: &[&str]| {
        let (done, said) = system.grubby(&[&["--update-kernel", KERNEL], words].concat());
        assert!(done, "{said}");
        system.options("-upgrade.x86_64")
    };
    let options = update(&["--args", "root=live:y"]);
    assert!(options.ends_with(" root=live:y"), "{options}");
    assert_eq!(options.matches("root=").count(), 1, "{options}");
    // Without a value any is meant; with one, that alone.
    let options = update(&["--remove-args", "console=ttyS0 word=1"]);
    assert!(
        !options.contains("console=ttyS0") && options.contains("console=ttyS9"),
        "{options}"
    );
    assert!(options.contains(" word"), "{options}");
    let options = update(&["--remove-args", "console word"]);
    assert!(
        !options.contains("console=") && !options.contains(" word"),
        "{options}"
    );
}

#[test]
fn root_an_environment_block_that_cannot_be_written_is_no_error() {
    let system = System::new();
    let env = system.0.at("boot/grub2/grubenv");
    fs::rename(&env, system.0.at("boot/grub2/away")).unwrap();
    assert!(system.grubby(&["--set-default", "0"]).0);
    assert!(!env.exists());
}
