//! The files that give interfaces and machines their names, and the clock its zone.
use std::fs;
use std::path::Path;

use anyhow::Result;
use livemode_common::container::ContainerDir;

use super::{File, Files};

/// What holds for all profiles of initscripts.
pub(crate) const SYSCONFIG: &str = "/etc/sysconfig/network";
/// Routes that no profile has, by initscripts.
pub(crate) const STATIC_ROUTES: &str = "/etc/sysconfig/static-routes";
/// NetworkManager's main file.
pub(crate) const NM_MAIN: &str = "/etc/NetworkManager/NetworkManager.conf";
/// An admin's names of interfaces, by systemd.link(5).
pub(crate) const LINKS: &str = "/etc/systemd/network";
/// An admin's rules of udev.
pub(crate) const RULES: &str = "/etc/udev/rules.d";
/// What the resolver reads beside resolv.conf.
pub(crate) const HOSTS: [&str; 3] = ["/etc/hosts", "/etc/host.conf", "/etc/gai.conf"];
pub(crate) const NSSWITCH: &str = "/etc/nsswitch.conf";
/// Whether the hardware's clock has local time.
pub(crate) const ADJTIME: &str = "/etc/adjtime";
pub(crate) const LOCALTIME: &str = "/etc/localtime";

impl Files {
    /// What gives interfaces and machines their names, and the clock its zone.
    pub(super) fn take_names(&mut self, source: &ContainerDir) -> Result<()> {
        for path in HOSTS
            .iter()
            .chain(&[SYSCONFIG, STATIC_ROUTES, NM_MAIN, NSSWITCH, ADJTIME])
        {
            self.take(source, path, true)?;
        }
        self.take(source, LOCALTIME, false)?;
        for name in source.dir_names(LINKS)? {
            let path = format!("{LINKS}/{name}");
            if name.ends_with(".link") {
                self.take_or_masked(source, &path)?;
            } else if name.ends_with(".link.d") {
                for file in source.dir_names(&path)? {
                    self.take(source, &format!("{path}/{file}"), true)?;
                }
            }
        }
        for name in source.dir_names(RULES)? {
            if name.ends_with(".rules") {
                self.take_or_masked(source, &format!("{RULES}/{name}"))?;
            }
        }
        Ok(())
    }

    /// A link to /dev/null turns off what a package has by this name, as an empty file does: it is taken for one.
    fn take_or_masked(&mut self, source: &ContainerDir, path: &str) -> Result<()> {
        let at = source.path().join(path.trim_start_matches('/'));
        if fs::read_link(at).is_ok_and(|to| to == Path::new("/dev/null")) {
            let text = Some(String::new());
            self.found.insert(path.to_owned(), File { mode: 0o644, text });
            return Ok(());
        }
        self.take(source, path, true)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::look;
    use super::*;

    fn put(dir: &Path, path: &str, text: &str) {
        let path = dir.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
    }

    #[test]
    fn sshds_files_are_followed_and_what_is_turned_off_is_an_empty_file() {
        let dir = tempfile::tempdir().unwrap();
        let s = dir.path();
        put(
            s,
            "etc/ssh/sshd_config",
            "include sshd_config.d/*.conf \"/etc/other\"\n",
        );
        put(s, "etc/ssh/sshd_config.d/50-a.conf", "Include deep/?\n");
        put(s, "etc/ssh/sshd_config.d/.hidden.conf", "");
        put(s, "etc/ssh/deep/b", "Include sshd_config\n");
        put(s, "etc/other", "Port 9\n");
        put(s, "etc/systemd/network/10-a.link", "[Match]\n");
        put(s, "etc/systemd/network/10-a.link.d/x.conf", "");
        put(s, "etc/systemd/network/10-a.network", "");
        put(s, "etc/udev/rules.d/70-x.rules", "");
        let off = s.join("etc/udev/rules.d/80-net-setup-link.rules");
        std::os::unix::fs::symlink("/dev/null", off).unwrap();
        let files = look(s);
        let read = files.paths().filter(|path| files.text(path).is_some());
        assert_eq!(
            read.collect::<Vec<_>>(),
            [
                "/etc/other",
                "/etc/ssh/deep/b",
                "/etc/ssh/sshd_config",
                "/etc/ssh/sshd_config.d/50-a.conf",
                "/etc/systemd/network/10-a.link",
                "/etc/systemd/network/10-a.link.d/x.conf",
                "/etc/udev/rules.d/70-x.rules",
                "/etc/udev/rules.d/80-net-setup-link.rules",
            ]
        );
        assert!(files.seen_at() > 0);
    }
}
