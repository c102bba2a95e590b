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

/// The packages.
fn rpms() -> Vec<PathBuf> {
    ["x86_64/livemode-", "noarch/livemode-leapp-"]
        .map(|start| {
            let (dir, name) = start.split_once('/').unwrap();
            let dir = workspace().join("target/rpm").join(dir);
            let entries =
                fs::read_dir(&dir).unwrap_or_else(|e| panic!("{}: {e}; run: make rpm", dir.display()));
            let found: Vec<PathBuf> = entries.map(|e| e.unwrap().path()).collect();
            assert_eq!(found.len(), 1, "{found:?}");
            assert!(found[0].display().to_string().contains(name), "{found:?}");
            found[0].clone()
        })
        .into()
}

/// A repository in a directory, for dnf, and what it takes to fill it.
struct Repository {
    dir: tempfile::TempDir,
}

impl Repository {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("repository")).unwrap();
        Self { dir }
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("repository")
    }

    /// A package with these lines in its head and these empty files.
    fn add(&self, name: &str, version: u32, head: &str, files: &[&str]) {
        let spec = self.dir.path().join("package.spec");
        let make: String = files
            .iter()
            .map(|file| {
                format!("install -D /dev/null %{{buildroot}}{file}\necho {version} >%{{buildroot}}{file}\n")
            })
            .collect();
        let text = format!(
            "Name: {name}\nVersion: {version}\nRelease: 1\nSummary: x\nLicense: x\nBuildArch: noarch\n{head}\
             %description\nx\n%install\n{make}%files\n{}\n",
            files.join("\n")
        );
        fs::write(&spec, text).unwrap();
        let build = Cmd::new("rpmbuild").args(["--quiet", "-bb", "--define"]);
        let build = build
            .arg(format!("_topdir {}", self.dir.path().join("top").display()))
            .arg("--define");
        build
            .arg(format!("_rpmdir {}", self.path().display()))
            .arg(&spec)
            .run()
            .unwrap();
        self.index();
    }

    fn index(&self) {
        Cmd::new("createrepo_c")
            .arg("--quiet")
            .arg(self.path())
            .run()
            .unwrap();
    }

    /// dnf on a system in a directory, with this repository alone.
    fn dnf(&self, root: &Path, arguments: &[&str]) -> String {
        let dnf = Cmd::new("dnf").args(["-y", "--releasever=1", "--disablerepo=*", "--nogpgcheck"]);
        let dnf = dnf
            .arg(format!("--installroot={}", root.display()))
            .arg(format!("--repofrompath=test,file://{}", self.path().display()));
        let (status, stdout, stderr) = dnf
            .args(["--setopt=reposdir=/dev/null", "--refresh"])
            .args(arguments)
            .output()
            .unwrap();
        assert!(status.success(), "{stdout}{stderr}");
        stdout + &stderr
    }
}

/// Our packages, and one that provides by name what they need of the machine: this one's is no RPM distribution.
fn ours() -> Repository {
    let repository = Repository::new();
    let mut provided = String::new();
    for rpm in rpms() {
        fs::copy(&rpm, repository.path().join(rpm.file_name().unwrap())).unwrap();
        let needed = Cmd::new("rpm").arg("-qRp").arg(&rpm).read().unwrap();
        for need in needed.lines() {
            if !need.starts_with("rpmlib(") && !need.starts_with("livemode ") {
                provided.push_str(&format!("Provides: {need}\n"));
            }
        }
    }
    repository.add("machine", 1, &provided, &[]);
    repository
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
fn rpmlint_finds_nothing_but_what_a_distribution_brings() {
    let lint = Cmd::new("rpmlint")
        .arg("-c")
        .arg(workspace().join("packaging/rpmlint.toml"))
        .args(rpms());
    let (_, stdout, stderr) = lint.output().unwrap();
    assert!(
        stdout.contains("2 packages and 0 specfiles checked"),
        "{stdout}{stderr}"
    );
    let found: Vec<&str> = stdout
        .lines()
        .filter(|line| line.contains(": E: ") || line.contains(": W: "))
        .collect();
    assert_eq!(found, Vec::<&str>::new());
}

#[test]
fn the_manual_pages_are_packed_and_the_changelog_is_ours() {
    let rpm = &rpms()[0];
    let files = Cmd::new("rpm").arg("-qlp").arg(rpm).read().unwrap();
    let pages: Vec<&str> = files
        .lines()
        .filter(|path| path.starts_with("/usr/share/man/"))
        .collect();
    assert!(
        pages.len() > 20 && pages.iter().all(|page| page.ends_with(".gz")),
        "{pages:?}"
    );
    assert!(pages.contains(&"/usr/share/man/man7/livemode.7.gz"), "{pages:?}");
    let changelog = Cmd::new("rpm")
        .args(["-qp", "--changelog"])
        .arg(rpm)
        .read()
        .unwrap();
    let ours = fs::read_to_string(workspace().join("CHANGELOG.md")).unwrap();
    let first = ours.lines().find(|line| line.starts_with("- ")).unwrap();
    assert!(changelog.contains(first), "{changelog}");
}

#[test]
fn the_packages_are_the_tree_of_make_install() {
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
    let files = Cmd::new("rpm").arg("-qlp").args(rpms()).read().unwrap();
    let packed: BTreeSet<String> = files
        .lines()
        // rpm packs manual pages.
        .map(|path| path.strip_suffix(".gz").unwrap_or(path).to_owned())
        .filter(|path| installed.contains(path) || Path::new(path).extension().is_some())
        .collect();
    assert_eq!(packed, installed);
}

#[test]
fn root_the_packages_install_with_dnf_and_build_from_their_files() {
    let (repository, dir) = (ours(), tempfile::tempdir().unwrap());
    let root = dir.path().join("root");
    repository.dnf(&root, &["--setopt=tsflags=noscripts", "install", "livemode"]);

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

#[test]
fn root_an_update_of_leapp_triggers_ours_and_removing_ours_gives_its_own_back() {
    const LEAPPS: &str =
        "/usr/share/leapp-repository/repositories/system_upgrade/common/actors/livemode/live_mode_reporter/actor.py";
    const LINKS: &str = "/etc/leapp/repos.d";
    const REPOSITORIES: &str = "/usr/share/leapp-repository/repositories";
    const INFO: &str = "/usr/share/leapp-repository/repositories/system_upgrade/common/.leapp/info";
    let (repository, source) = (ours(), SourceDisk::whole().unwrap());
    let (root, leapps) = (source.root(), source.at(&LEAPPS[1..]));
    let info = r#"{"name": "system_upgrade_common", "id": "1-2-3"}"#;
    let post = |version: u32| {
        format!(
            "%post\necho '{info}' >{INFO}\necho \"name = 'live_mode_reporter' # {version}\" >{LEAPPS}\n\
             mkdir -p {LINKS}; ln -sfn {REPOSITORIES} {LINKS}/repositories\n"
        )
    };
    repository.add("leapp-repository", 1, &post(1), &[LEAPPS, INFO]);
    repository.dnf(root, &["install", "leapp-repository", "livemode-leapp"]);
    let actors = |action: &str| {
        let call = Cmd::new("chroot")
            .arg(root)
            .args(["/usr/sbin/livemode-prep", "actors", action]);
        call.read().unwrap()
    };
    assert!(
        actors("status").contains("its own"),
        "installing the package changes nothing"
    );
    actors("install");
    assert!(!leapps.exists());

    repository.add("leapp-repository", 2, &post(2), &[LEAPPS, INFO]);
    let said = repository.dnf(root, &["update", "leapp-repository"]);
    assert!(
        said.contains("leapp was updated: its own livemode actors are put aside again"),
        "{said}"
    );
    assert!(!leapps.exists());
    assert!(actors("status").contains("of this package"));

    repository.dnf(root, &["remove", "--noautoremove", "livemode-leapp"]);
    assert_eq!(
        fs::read_to_string(&leapps).unwrap(),
        "name = 'live_mode_reporter' # 2\n"
    );
    assert!(!source.at("etc/leapp/repos.d/livemode").is_symlink());
    assert!(!source
        .at("usr/share/leapp-repository/custom-repositories/livemode")
        .exists());
}
