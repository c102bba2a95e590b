//! What `make dist` and `make rpm` have made: runs on el8, installs with dnf, and builds from the installed files.
#![allow(clippy::unwrap_used)]
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use livemode_common::cmd::Cmd;
use livemode_tests::binaries::workspace;
use livemode_tests::source::{listing, SourceDisk};
use livemode_tests::testbed::{self, Suite};

const DIST: &str = "target/dist";
/// glibc of el8.
const OLDEST: (u32, u32) = (2, 28);

/// The one package.
fn rpm() -> PathBuf {
    let dir = workspace().join("target/rpm/x86_64");
    let entries = fs::read_dir(&dir).unwrap_or_else(|e| panic!("{}: {e}; run: make rpm", dir.display()));
    let packages: Vec<PathBuf> = entries.map(|e| e.unwrap().path()).collect();
    assert_eq!(packages.len(), 1, "{packages:?}");
    packages[0].clone()
}

#[test]
fn the_binaries_need_no_newer_glibc_than_el8_has() {
    for name in ["livemode-prep", "livemode-boot", "livemode-run"] {
        let symbols = Cmd::new("objdump")
            .arg("-T")
            .arg(workspace().join(DIST).join(name))
            .read()
            .unwrap();
        let versions: BTreeSet<(u32, u32)> = symbols
            .split("GLIBC_")
            .skip(1)
            .filter_map(|rest| {
                let mut numbers = rest.split([')', ' ', '\n', '.']).map(|n| n.parse().ok());
                Some((numbers.next()??, numbers.next().flatten().unwrap_or(0)))
            })
            .collect();
        let newest = versions.last().copied().unwrap();
        assert!(
            newest <= OLDEST && newest > (2, 14),
            "{name} needs GLIBC {newest:?}"
        );
    }
}

#[test]
fn the_package_is_the_tree_of_make_install() {
    let root = tempfile::tempdir().unwrap();
    let install = Cmd::new("make")
        .arg("-C")
        .arg(workspace())
        .args(["--silent", "install"]);
    install
        .arg(format!("DESTDIR={}", root.path().display()))
        .arg(format!("BUILT={DIST}"))
        .run()
        .unwrap();
    let installed: BTreeSet<String> = listing(root.path())
        .unwrap()
        .into_keys()
        .filter(|path| path.is_file())
        .map(|path| format!("/{}", path.strip_prefix(root.path()).unwrap().display()))
        .collect();
    let files = Cmd::new("rpm").arg("-qlp").arg(rpm()).read().unwrap();
    let packed: BTreeSet<String> = files
        .lines()
        // rpm packs manual pages.
        .map(|path| path.strip_suffix(".gz").unwrap_or(path).to_owned())
        .filter(|path| installed.contains(path) || Path::new(path).extension().is_some())
        .collect();
    assert_eq!(packed, installed);
}

#[test]
fn root_the_package_installs_with_dnf_and_builds_from_its_files() {
    let dir = tempfile::tempdir().unwrap();
    let repository = dir.path().join("repository");
    fs::create_dir(&repository).unwrap();
    fs::copy(rpm(), repository.join("livemode.rpm")).unwrap();
    // What the machine itself provides, by name: this one's is no RPM distribution.
    let needed = Cmd::new("rpm").arg("-qRp").arg(rpm()).read().unwrap();
    let provided: String = needed
        .lines()
        .filter(|need| !need.starts_with("rpmlib("))
        .map(|need| format!("Provides: {need}\n"))
        .collect();
    let spec = dir.path().join("machine.spec");
    let head = "Name: machine\nVersion: 1\nRelease: 1\nSummary: x\nLicense: x\nBuildArch: noarch\n";
    fs::write(&spec, format!("{head}{provided}%description\nx\n%files\n")).unwrap();
    let build = Cmd::new("rpmbuild").args(["--quiet", "-bb", "--define"]);
    let build = build
        .arg(format!("_topdir {}", dir.path().join("top").display()))
        .arg("--define");
    build
        .arg(format!("_rpmdir {}", repository.display()))
        .arg(&spec)
        .run()
        .unwrap();
    Cmd::new("createrepo_c")
        .arg("--quiet")
        .arg(&repository)
        .run()
        .unwrap();

    let root = dir.path().join("root");
    let install = Cmd::new("dnf").args([
        "-y",
        "--quiet",
        "--releasever=1",
        "--disablerepo=*",
        "--nogpgcheck",
    ]);
    install
        .arg(format!("--installroot={}", root.display()))
        .arg(format!("--repofrompath=test,file://{}", repository.display()))
        .args(["--setopt=reposdir=/dev/null", "install", "livemode"])
        .run()
        .unwrap();

    let source = SourceDisk::bare().unwrap();
    let installed = Cmd::new(root.join("usr/sbin/livemode-prep")).env("LEAPP_UNSUPPORTED", "1");
    let build = installed
        .arg("--root")
        .arg(source.root())
        .args(["build", "--json", "--userspace"]);
    build
        .arg(testbed::container(Suite::Bookworm).unwrap())
        .run()
        .unwrap();
    assert_eq!(source.problems(), serde_json::json!([]));
}
