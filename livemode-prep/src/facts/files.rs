//! The source's files that some rule of the plan may carry into the live system: which are there, their modes, and the
//! text of those that a rule reads. Which of them go along is decided later.
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;

use anyhow::Result;
use livemode_common::cmdline::Cmdline;
use livemode_common::config::Config;
use livemode_common::container::ContainerDir;
use livemode_common::fsio;
use livemode_common::fstab::Entry;
use livemode_common::sysroot::SysRoot;
use serde::{Deserialize, Serialize};

use super::storage::crypttab::{line_keys, Key, Volume};

pub(crate) mod names;
pub(crate) mod sshd;

/// NetworkManager's profiles.
pub(crate) const CONNECTIONS: &str = "/etc/NetworkManager/system-connections";
/// NetworkManager's own configuration.
pub(crate) const NM_CONF: &str = "/etc/NetworkManager/conf.d";
/// Profiles as el8 has them: `ifcfg-NAME` and what lies beside each.
pub(crate) const SCRIPTS: &str = "/etc/sysconfig/network-scripts";
pub(crate) const SSH: &str = "/etc/ssh";
pub(crate) const RESOLV_CONF: &str = "/etc/resolv.conf";
/// systemd-resolved's file for who does not ask it, in place of its stub.
pub(crate) const RESOLVED: &str = "/run/systemd/resolve/resolv.conf";
/// An entry of the fstab may name a file with a password (mount.cifs(8)).
pub(crate) const CREDENTIALS: [&str; 2] = ["credentials=", "cred="];

/// Directories whose files a rule reads.
const TEXTS: [&str; 3] = [CONNECTIONS, NM_CONF, SCRIPTS];
/// Files and directories, with all below, that are only carried: configuration and identities of the storage's layers.
const CONFIGURATION: [&str; 20] = [
    "/etc/idmapd.conf",
    "/etc/iscsi",
    "/etc/krb5.conf",
    "/etc/krb5.keytab",
    "/etc/lvm/devices",
    "/etc/lvm/lvm.conf",
    "/etc/lvm/lvmlocal.conf",
    "/etc/mdadm",
    "/etc/mdadm.conf",
    "/etc/mdadm.conf.d",
    "/etc/multipath",
    "/etc/multipath.conf",
    "/etc/nfs.conf",
    "/etc/nfsmount.conf",
    "/etc/nvme/hostid",
    "/etc/nvme/hostnqn",
    "/etc/request-key.d",
    SSH,
    "/var/lib/iscsi",
    "/var/lib/multipath",
];
/// Deeper trees than iscsiadm's database, /var/lib/iscsi/nodes/TARGET/PORTAL/default, are no configuration.
const DEPTH: u32 = 8;
/// Words in the name of a profile's key whose value is a secret (nm-settings-keyfile(5), ifcfg's keys files).
const SECRETS: [&str; 7] = ["psk", "password", "wep", "secret", "pin", "passphrase", "key"];
const MASK: &str = "<masked>";

/// One file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct File {
    pub(crate) mode: u32,
    /// Where a rule reads it.
    pub(crate) text: Option<String>,
}

/// Those that are there, by their paths as the source sees them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Files {
    found: BTreeMap<String, File>,
    /// Why a file that the configuration names cannot be read.
    unreadable: BTreeMap<String, String>,
    /// When they were looked at, in seconds since 1970.
    #[serde(default)]
    seen_at: u64,
}

impl Files {
    pub(crate) fn look(
        root: &SysRoot,
        config: &Config,
        fstab: &[Entry],
        crypttab: &[Volume],
        arguments: &Cmdline,
    ) -> Result<Self> {
        let source = ContainerDir::new(root.path());
        let mut files = Self {
            seen_at: fsio::now(),
            ..Self::default()
        };
        for dir in TEXTS {
            for name in source.dir_names(dir)? {
                files.take(&source, &format!("{dir}/{name}"), true)?;
            }
        }
        for path in [RESOLV_CONF, RESOLVED] {
            files.take(&source, path, true)?;
        }
        let keys = &config.setup_opensshd_using_auth_keys;
        if !keys.is_empty() {
            files.take(&source, keys, true)?;
        }
        files.take_sshd(&source)?;
        files.take_names(&source)?;
        for path in CONFIGURATION {
            files.take_all(&source, path, DEPTH)?;
        }
        let named_by_profiles: Vec<String> = files.named_by_profiles().map(|(_, _, path)| path).collect();
        let key_files = crypttab.iter().filter_map(|volume| match volume.key() {
            Key::File(file) => Some(file.to_owned()),
            _ => None,
        });
        let credentials = fstab.iter().flat_map(Entry::options).filter_map(credentials_file);
        let named = named_by_profiles
            .into_iter()
            .chain(key_files)
            .chain(crypttab.iter().filter_map(Volume::header).map(str::to_owned))
            .chain(credentials.map(str::to_owned))
            .chain(crypttab.iter().filter_map(Volume::implied_key))
            .chain(line_keys(arguments).into_iter().map(|key| key.path));
        for path in named.collect::<Vec<_>>() {
            files.take(&source, &path, false)?;
        }
        Ok(files)
    }

    fn take(&mut self, source: &ContainerDir, path: &str, with_text: bool) -> Result<()> {
        let at = source.resolve(path)?;
        if self.found.contains_key(path) {
            return Ok(());
        }
        let meta = match fs::metadata(&at) {
            Ok(meta) if meta.is_file() => meta,
            Ok(_) => return Ok(()),
            Err(error) => {
                self.unreadable.insert(path.to_owned(), error.to_string());
                return Ok(());
            }
        };
        let text = match with_text.then(|| fs::read(&at)) {
            Some(Ok(bytes)) => Some(String::from_utf8_lossy(&bytes).into_owned()),
            Some(Err(error)) => {
                self.unreadable.insert(path.to_owned(), error.to_string());
                return Ok(());
            }
            None => None,
        };
        let mode = meta.permissions().mode() & 0o777;
        self.found.insert(path.to_owned(), File { mode, text });
        Ok(())
    }

    fn take_all(&mut self, source: &ContainerDir, path: &str, depth: u32) -> Result<()> {
        let at = source.resolve(path)?;
        if at.is_file() {
            return self.take(source, path, false);
        }
        if at.is_dir() && depth > 0 {
            for name in source.dir_names(path)? {
                self.take_all(source, &format!("{path}/{name}"), depth - 1)?;
            }
        }
        Ok(())
    }

    /// When the files were looked at, in seconds since 1970.
    pub(crate) fn seen_at(&self) -> u64 {
        self.seen_at
    }

    /// The paths of all of them, sorted.
    pub(crate) fn paths(&self) -> impl Iterator<Item = &str> {
        self.found.keys().map(String::as_str)
    }

    pub(crate) fn get(&self, path: &str) -> Option<&File> {
        self.found.get(path)
    }

    /// The text of a file that is there and that a rule reads.
    pub(crate) fn text(&self, path: &str) -> Option<&str> {
        self.get(path)?.text.as_deref()
    }

    /// Why a file that something names cannot be read.
    pub(crate) fn why_unreadable(&self, path: &str) -> Option<&str> {
        self.unreadable.get(path).map(String::as_str)
    }

    /// The file at `path`, or all below the directory there, sorted; without hidden files and what editors and package
    /// managers leave, which NetworkManager passes over too.
    pub(crate) fn below(&self, path: &str) -> impl Iterator<Item = &str> {
        let dir = format!("{path}/");
        let path = path.to_owned();
        self.found.keys().map(String::as_str).filter(move |file| {
            *file == path
                || file
                    .strip_prefix(&dir)
                    .is_some_and(|inside| !inside.split('/').any(is_left_behind))
        })
    }

    /// Every file that a profile names: the profile, the key, and the path. An ifcfg file names certificates also by a
    /// name beside itself.
    pub(crate) fn named_by_profiles(&self) -> impl Iterator<Item = (&str, &str, String)> {
        let texts = TEXTS
            .iter()
            .flat_map(|&dir| self.below(dir).map(move |profile| (dir, profile)));
        texts.flat_map(|(dir, profile)| {
            let text = self.text(profile).unwrap_or_default();
            let values = text.lines().filter_map(|line| line.trim().split_once('='));
            values.filter_map(move |(key, value)| Some((profile, key, named_path(dir, key, value)?)))
        })
    }

    /// Takes what is secret out of the texts.
    pub(crate) fn mask(&mut self) {
        for (path, file) in &mut self.found {
            let in_profiles = TEXTS.iter().any(|dir| path.starts_with(dir));
            if let (true, Some(text)) = (in_profiles, &mut file.text) {
                *text = masked(text);
            }
        }
    }
}

/// The file with a password that a mount option names.
pub(crate) fn credentials_file(option: &str) -> Option<&str> {
    CREDENTIALS.iter().find_map(|key| option.strip_prefix(key))
}

fn named_path(dir: &str, key: &str, value: &str) -> Option<String> {
    let value = value.trim().trim_matches(['"', '\'']);
    let value = value.strip_prefix("file://").unwrap_or(value);
    let beside = dir == SCRIPTS && key.starts_with("IEEE_8021X_");
    let path = match value.strip_prefix('/') {
        Some(_) => value.to_owned(),
        None if beside && !value.is_empty() && !value.contains('/') => format!("{dir}/{value}"),
        None => return None,
    };
    let is_virtual = ["/dev/", "/proc/", "/sys/", "/run/"]
        .iter()
        .any(|top| path.starts_with(top));
    (!is_virtual).then_some(path)
}

fn is_left_behind(name: &str) -> bool {
    const ENDS: [&str; 6] = [".bak", "~", ".rpmsave", ".rpmnew", ".rpmorig", ".orig"];
    name.starts_with('.') || ENDS.iter().any(|end| name.ends_with(end))
}

/// A text whose secret values are gone; paths stay, for a rule follows them.
fn masked(text: &str) -> String {
    let lines = text.lines().map(|line| match line.split_once('=') {
        Some((key, value))
            if SECRETS.iter().any(|word| key.to_ascii_lowercase().contains(word)) && !value.contains('/') =>
        {
            format!("{key}={MASK}\n")
        }
        _ => format!("{line}\n"),
    });
    lines.collect()
}

#[cfg(test)]
impl Files {
    /// For a test: these paths with mode 0600 and these texts.
    pub(crate) fn of(files: &[(&str, &str)]) -> Self {
        let file = |text: &str| File {
            mode: 0o600,
            text: Some(text.to_owned()),
        };
        Self {
            found: files
                .iter()
                .map(|(path, text)| ((*path).to_owned(), file(text)))
                .collect(),
            unreadable: BTreeMap::new(),
            seen_at: 0,
        }
    }
}

/// Whether [`Files::look`] looks there.
#[cfg(test)]
pub(crate) fn is_looked_at(path: &str) -> bool {
    CONFIGURATION
        .iter()
        .any(|known| std::path::Path::new(path).starts_with(known))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    /// Those of a system on a directory, with nothing in its configuration, fstab and crypttab.
    pub(in crate::facts::files) fn look(root: &Path) -> Files {
        let (config, arguments) = (Config::default(), Cmdline::default());
        Files::look(&SysRoot::new(root), &config, &[], &[], &arguments).unwrap()
    }

    fn put(dir: &Path, path: &str, text: &str, mode: u32) {
        let path = dir.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn what_profiles_name_is_looked_at_too_and_what_editors_left_is_not_carried() {
        let dir = tempfile::tempdir().unwrap();
        let s = dir.path();
        put(
            s,
            "etc/NetworkManager/system-connections/office.nmconnection",
            "[802-1x]\nca-cert=file:///etc/pki/ca.pem\n",
            0o600,
        );
        put(
            s,
            "etc/NetworkManager/system-connections/office.nmconnection~",
            "",
            0o600,
        );
        put(
            s,
            "etc/sysconfig/network-scripts/ifcfg-eth0",
            "IEEE_8021X_CLIENT_CERT=own.pem\nNAME=/dev/null\n",
            0o644,
        );
        put(s, "etc/sysconfig/network-scripts/own.pem", "x", 0o640);
        put(s, "etc/pki/ca.pem", "x", 0o644);
        put(s, "etc/lvm/devices/system.devices", "x", 0o600);
        let files = look(s);
        assert_eq!(
            files.below(CONNECTIONS).collect::<Vec<_>>(),
            ["/etc/NetworkManager/system-connections/office.nmconnection"]
        );
        assert_eq!(files.get("/etc/pki/ca.pem").map(|file| file.mode), Some(0o644));
        assert_eq!(
            files.get("/etc/lvm/devices/system.devices").map(|file| file.mode),
            Some(0o600)
        );
        let named: Vec<_> = files.named_by_profiles().collect();
        assert_eq!(
            named,
            [
                (
                    "/etc/NetworkManager/system-connections/office.nmconnection",
                    "ca-cert",
                    "/etc/pki/ca.pem".to_owned()
                ),
                (
                    "/etc/sysconfig/network-scripts/ifcfg-eth0",
                    "IEEE_8021X_CLIENT_CERT",
                    "/etc/sysconfig/network-scripts/own.pem".to_owned()
                )
            ]
        );
    }

    #[test]
    fn a_report_shows_no_secret() {
        let mut files = Files::of(&[
            (
                "/etc/NetworkManager/system-connections/a.nmconnection",
                "[wifi-security]\npsk=hunter2\n[802-1x]\nprivate-key=/etc/pki/k.pem\nidentity=me\n",
            ),
            ("/etc/sysconfig/network-scripts/keys-eth0", "WPA_PSK='hunter2'\n"),
        ]);
        files.mask();
        assert_eq!(
            files.text("/etc/NetworkManager/system-connections/a.nmconnection"),
            Some("[wifi-security]\npsk=<masked>\n[802-1x]\nprivate-key=/etc/pki/k.pem\nidentity=me\n")
        );
        assert_eq!(
            files.text("/etc/sysconfig/network-scripts/keys-eth0"),
            Some("WPA_PSK=<masked>\n")
        );
    }
}
