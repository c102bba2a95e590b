//! leapp's messages by the name of their model, as its framework dumps them. Of a model that many actors produce there is
//! a list.
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Result;
use livemode_common::cmdline::{Cmdline, Word};
use livemode_common::failure::precondition;
use livemode_common::fstab::Entry;
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(crate) struct LeappFacts {
    storage_info: Option<StorageInfo>,
    kernel_cmdline: Option<KernelCmdline>,
    target_user_space_info: Option<TargetUserSpaceInfo>,
    pub(crate) boot_content: Option<BootContent>,
    upgrade_initramfs_tasks: Vec<InitramfsTasks>,
    upgrade_kernel_cmdline_arg_tasks: Vec<ArgumentTasks>,
    late_target_kernel_cmdline_arg_tasks: Vec<ArgumentTasks>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct StorageInfo {
    fstab: Vec<Entry>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct KernelCmdline {
    parameters: Vec<Parameter>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Parameter {
    key: String,
    value: Option<String>,
}

impl Parameter {
    fn word(&self) -> Word {
        Word {
            key: self.key.clone(),
            value: self.value.clone(),
        }
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct TargetUserSpaceInfo {
    path: PathBuf,
}

/// The kernel and the initramfs that leapp's own generator has made, as the source system sees them.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct BootContent {
    pub(crate) kernel_path: PathBuf,
    pub(crate) initram_path: PathBuf,
    pub(crate) kernel_hmac_path: Option<PathBuf>,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
struct InitramfsTasks {
    include_dracut_modules: Vec<Named>,
    include_kernel_modules: Vec<Named>,
    include_files: Vec<String>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Named {
    name: String,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
struct ArgumentTasks {
    to_add: Vec<Parameter>,
    to_remove: Vec<Parameter>,
}

/// What others want of the kernel line.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub(crate) added: Vec<Word>,
    /// One without a value stands for the key with any.
    pub(crate) removed: Vec<Word>,
    /// What leapp's own entry has and the upgraded system's must not: so leapp tells what it has added of itself, such as
    /// `debug` (emit_removal_of_args_meant_only_for_upgrade_kernel of its addupgradebootentry.py).
    pub(crate) on_leapps_entry: Vec<Word>,
}

/// What others want in the initramfs; sorted, no doubles.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Requested {
    pub(crate) dracut_modules: Vec<String>,
    pub(crate) kernel_modules: Vec<String>,
    pub(crate) files: Vec<String>,
}

impl Requested {
    /// Both, sorted, no doubles.
    pub(crate) fn with(self, other: &Self) -> Self {
        let both =
            |mine: Vec<String>, theirs: &[String]| sorted(mine.into_iter().chain(theirs.iter().cloned()));
        Self {
            dracut_modules: both(self.dracut_modules, &other.dracut_modules),
            kernel_modules: both(self.kernel_modules, &other.kernel_modules),
            files: both(self.files, &other.files),
        }
    }
}

impl LeappFacts {
    pub(crate) fn load(path: &Path) -> Result<Self> {
        let text = fs::read(path).map_err(|e| precondition(format!("reading {}: {e}", path.display())))?;
        serde_json::from_slice(&text).map_err(|e| precondition(format!("reading {}: {e}", path.display())))
    }

    pub(crate) fn userspace(&self) -> Option<PathBuf> {
        self.target_user_space_info.as_ref().map(|info| info.path.clone())
    }

    pub(crate) fn fstab(&self) -> Option<&[Entry]> {
        self.storage_info.as_ref().map(|storage| storage.fstab.as_slice())
    }

    /// The source's own kernel arguments.
    pub(crate) fn arguments(&self) -> Option<Cmdline> {
        let line = self.kernel_cmdline.as_ref()?;
        Some(Cmdline(line.parameters.iter().map(Parameter::word).collect()))
    }

    pub(crate) fn requested(&self) -> Requested {
        let tasks = &self.upgrade_initramfs_tasks;
        let named = |list: fn(&InitramfsTasks) -> &[Named]| {
            sorted(tasks.iter().flat_map(|t| list(t).iter().map(|n| n.name.clone())))
        };
        Requested {
            dracut_modules: named(|t| &t.include_dracut_modules),
            kernel_modules: named(|t| &t.include_kernel_modules),
            files: sorted(tasks.iter().flat_map(|t| t.include_files.iter().cloned())),
        }
    }

    /// What the messages want of the upgrade's kernel line.
    pub(crate) fn wanted(&self) -> Wanted {
        let words = |tasks: &[ArgumentTasks], list: fn(&ArgumentTasks) -> &[Parameter]| {
            let all = tasks
                .iter()
                .flat_map(|task| list(task).iter().map(Parameter::word));
            all.collect::<Vec<_>>()
        };
        let tasks = &self.upgrade_kernel_cmdline_arg_tasks;
        Wanted {
            added: words(tasks, |task| &task.to_add),
            removed: words(tasks, |task| &task.to_remove),
            on_leapps_entry: words(&self.late_target_kernel_cmdline_arg_tasks, |task| &task.to_remove),
        }
    }
}

fn sorted(names: impl Iterator<Item = String>) -> Vec<String> {
    let mut names: Vec<String> = names.collect();
    names.sort();
    names.dedup();
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    // As the framework 0.21 dumps them.
    const FACTS: &str = r#"{
        "BootContent": {"kernel_path": "/boot/vmlinuz-upgrade.x86_64", "initram_path": "/boot/initramfs-upgrade.x86_64.img",
                        "kernel_hmac_path": "/boot/.vmlinuz-upgrade.x86_64.hmac"},
        "FirmwareFacts": {"firmware": "efi"},
        "UpgradeInitramfsTasks": [
            {"include_dracut_modules": [{"name": "livemode", "module_path": null}], "include_files": ["/etc/a"],
             "include_kernel_modules": []},
            {"include_dracut_modules": [], "include_files": [], "include_kernel_modules": [{"name": "raid1", "module_path": null}]}],
        "UpgradeKernelCmdlineArgTasks": [
            {"to_add": [{"key": "root", "value": "live:UUID=1"}, {"key": "fips", "value": "1"}, {"key": "net", "value": null}],
             "to_remove": [{"key": "console", "value": "tty0"}, {"key": "fips", "value": "1"}]}],
        "LateTargetKernelCmdlineArgTasks": [
            {"to_add": [], "to_remove": [{"key": "debug", "value": null}, {"key": "root", "value": "live:UUID=2"}]}]
    }"#;

    #[test]
    fn what_others_ask_for_is_known() {
        let facts: LeappFacts = serde_json::from_str(FACTS).unwrap();
        assert_eq!(
            facts.requested(),
            Requested {
                dracut_modules: vec!["livemode".into()],
                kernel_modules: vec!["raid1".into()],
                files: vec!["/etc/a".into()],
            }
        );
    }

    #[test]
    fn what_others_want_of_the_line_is_known() {
        let facts: LeappFacts = serde_json::from_str(FACTS).unwrap();
        let words = |line: &str| Cmdline::parse(line).0;
        assert_eq!(
            facts.wanted(),
            Wanted {
                added: words("root=live:UUID=1 fips=1 net"),
                removed: words("console=tty0 fips=1"),
                on_leapps_entry: words("debug root=live:UUID=2"),
            }
        );
    }

    #[test]
    fn the_systems_own_messages_are_read_where_they_are() {
        let none = LeappFacts::default();
        assert_eq!(
            (none.userspace(), none.fstab(), none.arguments()),
            (None, None, None)
        );
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("facts.json");
        let text = r#"{
            "StorageInfo": {"fstab": [{"fs_spec": "UUID=1", "fs_file": "/", "fs_vfstype": "xfs", "fs_mntops": "defaults"}]},
            "KernelCmdline": {"parameters": [{"key": "ro", "value": null}, {"key": "console", "value": "tty0"}]},
            "TargetUserSpaceInfo": {"path": "/var/lib/leapp/el9userspace", "scratch": "/x"}}"#;
        fs::write(&file, text).unwrap();
        let facts = LeappFacts::load(&file).unwrap();
        assert_eq!(
            facts.userspace().unwrap(),
            Path::new("/var/lib/leapp/el9userspace")
        );
        let fstab: Vec<String> = facts.fstab().unwrap().iter().map(Entry::to_string).collect();
        assert_eq!(fstab, ["UUID=1 / xfs defaults 0 0"]);
        assert_eq!(facts.arguments().unwrap().to_string(), "ro console=tty0");
        let why = |path: &Path| LeappFacts::load(path).unwrap_err().to_string();
        assert!(why(&dir.path().join("gone")).contains("/gone: No such file"));
        fs::write(&file, "[").unwrap();
        assert!(why(&file).contains("/facts.json: "));
    }
}
