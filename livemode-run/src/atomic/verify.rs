//! Whether what leapp has made is whole: judged before anything of it reaches the disks. Facts first, then a pure judgement.
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use anyhow::{bail, Result};
use livemode_common::cmd::Cmd;
use livemode_common::contract::VERIFY_DIR;
use livemode_common::fstab;
use livemode_common::loader::bls::Entry;
use livemode_common::store::LAYER_PREFIX;
use livemode_common::sysroot::SysRoot;

use crate::loader::Loader;
use crate::output::Output;

/// rpm on a database that it has to rebuild.
const RPM: Duration = Duration::from_secs(300);
/// What an admin's own check may take.
const CHECK: Duration = Duration::from_secs(600);
/// Packages of which several are installed at the same time, by dnf's own list (installonlypkgs).
const SEVERAL: [&str; 3] = ["kernel", "gpg-pubkey", "installonlypkg"];
/// Where a name of our devices would outlive them.
const PLACES: [&str; 7] = [
    "boot/loader/entries",
    "boot/grub2/grub.cfg",
    "etc/fstab",
    "etc/crypttab",
    "etc/default/grub",
    "etc/kernel/cmdline",
    "etc/dracut.conf.d",
];

/// What is judged.
#[derive(Debug)]
struct Facts {
    /// The names of installed packages with their architecture, or why rpm cannot tell.
    packages: Result<Vec<String>, String>,
    /// What is wrong with the fstab.
    fstab: Option<String>,
    /// The files that name a device which is gone after the upgrade.
    names: Vec<String>,
}

/// The entry of the upgraded system, where all that can be checked is sound.
///
/// # Errors
/// What is not.
pub(crate) fn verify(source: &SysRoot, loader: &Loader, output: &mut Output) -> Result<Entry> {
    output.line("looking whether the upgraded system is whole");
    let target = loader.target()?;
    let mut facts = Facts::gather(source);
    if let Some(initrd) = target.initrd.first() {
        let path = loader.path_of(initrd);
        if initramfs_names_ours(source, &path) {
            facts.names.push(path);
        }
    }
    let faults = judge(&facts);
    if !faults.is_empty() {
        bail!("{}", faults.join("; "));
    }
    admins_checks(source, output)?;
    Ok(target)
}

impl Facts {
    fn gather(source: &SysRoot) -> Self {
        let list = Cmd::new("chroot")
            .arg(source.path())
            .args(["rpm", "-qa", "--qf", "%{NAME}.%{ARCH}\\n"])
            .limit(RPM)
            .read();
        Self {
            packages: list
                .map(|list| list.lines().map(str::to_owned).collect())
                .map_err(|error| format!("{error:#}")),
            fstab: match fs::read(source.at("etc/fstab")) {
                Ok(text) => fstab::parse(text).err().map(|error| error.to_string()),
                Err(error) => Some(error.to_string()),
            },
            names: PLACES
                .iter()
                .flat_map(|place| files(&source.at(place)))
                .filter(|path| names_ours(&fs::read(path).unwrap_or_default()))
                .map(|path| source.inside(&path).display().to_string())
                .collect(),
        }
    }
}

fn judge(facts: &Facts) -> Vec<String> {
    let mut faults = Vec::new();
    match &facts.packages {
        Err(why) => faults.push(format!("rpm does not tell what is installed: {why}")),
        Ok(packages) => {
            let mut counts: BTreeMap<&str, u32> = BTreeMap::new();
            for package in packages {
                *counts.entry(package).or_default() += 1;
            }
            let may_be_several = |package: &str| SEVERAL.iter().any(|name| package.starts_with(name));
            let doubles: Vec<&str> = counts
                .into_iter()
                .filter(|(package, count)| *count > 1 && !may_be_several(package))
                .map(|(package, _)| package)
                .collect();
            if !doubles.is_empty() {
                faults.push(format!("installed twice: {}", doubles.join(", ")));
            }
        }
    }
    if let Some(why) = &facts.fstab {
        faults.push(format!("/etc/fstab cannot be read: {why}"));
    }
    for name in &facts.names {
        faults.push(format!(
            "{name} names a device of the upgrade, which is gone after it"
        ));
    }
    faults
}

fn names_ours(text: &[u8]) -> bool {
    let name = format!("mapper/{LAYER_PREFIX}");
    text.windows(name.len()).any(|window| window == name.as_bytes())
}

/// dracut waits for a device by the name of a file in the initramfs. One that lsinitrd cannot list is not looked into.
fn initramfs_names_ours(source: &SysRoot, path: &str) -> bool {
    let list = Cmd::new("chroot")
        .arg(source.path())
        .args(["lsinitrd", path])
        .limit(CHECK)
        .output();
    // As dracut names it: the path, with \x2f for each slash.
    list.is_ok_and(|(_, list, _)| list.contains(&format!("mapper\\x2f{LAYER_PREFIX}")))
}

/// The file itself, or those of the directory.
fn files(path: &Path) -> Vec<std::path::PathBuf> {
    if !path.is_dir() {
        return vec![path.to_owned()];
    }
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    let mut files: Vec<_> = entries
        .map(|entry| entry.path())
        .filter(|path| path.is_file())
        .collect();
    files.sort();
    files
}

/// The admin's own checks, in the upgraded tree: each must end with 0.
fn admins_checks(source: &SysRoot, output: &mut Output) -> Result<()> {
    let is_program = |path: &Path| {
        fs::metadata(path).is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
    };
    for path in files(&source.at(VERIFY_DIR))
        .into_iter()
        .filter(|path| is_program(path))
    {
        let inside = source.inside(&path);
        output.line(&format!("running {}", inside.display()));
        let (status, said, complaint) = Cmd::new("chroot")
            .arg(source.path())
            .arg(&inside)
            .limit(CHECK)
            .output()?;
        output.bytes(said.as_bytes());
        output.bytes(complaint.as_bytes());
        if !status.success() {
            bail!("{} ended with {status}", inside.display());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_fault_has_its_own_words() {
        let sound = || Facts {
            packages: Ok([
                "bash.x86_64",
                "kernel-core.x86_64",
                "kernel-core.x86_64",
                "glibc.i686",
                "glibc.x86_64",
            ]
            .map(str::to_owned)
            .to_vec()),
            fstab: None,
            names: Vec::new(),
        };
        assert_eq!(judge(&sound()), [""; 0]);
        let twice = Facts {
            packages: Ok(vec!["bash.x86_64".into(), "bash.x86_64".into()]),
            ..sound()
        };
        assert_eq!(judge(&twice), ["installed twice: bash.x86_64"]);
        let all = Facts {
            packages: Err("it hangs".into()),
            fstab: Some("line 3: no fields".into()),
            names: vec!["/etc/fstab".into()],
        };
        assert_eq!(
            judge(&all),
            [
                "rpm does not tell what is installed: it hangs",
                "/etc/fstab cannot be read: line 3: no fields",
                "/etc/fstab names a device of the upgrade, which is gone after it",
            ]
        );
    }

    #[test]
    fn a_name_of_ours_is_found_wherever_it_stands() {
        assert!(names_ours(b"options root=/dev/mapper/livemode-root ro"));
        assert!(!names_ours(b"options root=/dev/mapper/rhel-root livemode-root"));
    }

    #[test]
    fn an_admins_check_that_fails_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let source = SysRoot::new(dir.path());
        fs::create_dir_all(source.at(VERIFY_DIR)).unwrap();
        fs::write(source.at(VERIFY_DIR).join("README"), "no program").unwrap();
        admins_checks(&source, &mut Output::new(&source)).unwrap();
    }
}
