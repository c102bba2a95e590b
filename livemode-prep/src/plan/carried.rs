//! What the live system takes over from the source for the options that ask for it: network profiles, host keys, the
//! authorized keys; and, always, what brings the source's storage up. Read here, written into the image by `live_system`.
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use livemode_common::config::Config;
use livemode_common::container::ContainerDir;
use livemode_common::sysroot::SysRoot;

use crate::plan::storage::Storage;

mod storage;

const CONNECTIONS: &str = "/etc/NetworkManager/system-connections";
const NM_CONF: &str = "/etc/NetworkManager/conf.d";
const SCRIPTS: &str = "/etc/sysconfig/network-scripts";
/// Its presence in the target says that NetworkManager still reads ifcfg files there.
const IFCFG_PLUGIN: [&str; 2] = ["/usr/lib64/NetworkManager", "/usr/lib/NetworkManager"];
const IFCFG_PLUGIN_NAME: &str = "libnm-settings-plugin-ifcfg-rh.so";
/// What lies beside an `ifcfg-NAME` as `PREFIX-NAME`, and may hold secrets.
const BESIDE_IFCFG: [&str; 6] = ["ifcfg-", "route-", "route6-", "rule-", "rule6-", "keys-"];
/// systemd-resolved's file for who does not ask it, in place of its stub.
const RESOLVED: &str = "/run/systemd/resolve/resolv.conf";
const SECRET: u32 = 0o600;

/// One file of the live system.
#[derive(Clone)]
pub(crate) struct File {
    /// In the live system.
    pub(crate) path: String,
    pub(crate) content: Vec<u8>,
    pub(crate) mode: u32,
}

impl std::fmt::Debug for File {
    /// Without the content: it may be secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {:o}", self.path, self.mode)
    }
}

/// What is taken over, what stands against it, and what an admin should know of it.
#[derive(Debug, Default)]
pub(crate) struct Carried {
    pub(crate) files: Vec<File>,
    pub(crate) faults: Vec<String>,
    pub(crate) warnings: Vec<String>,
}

/// Reads what the configuration asks for; nothing of it when it asks for nothing. Which form the profiles of the network
/// must have, `target` says, where it is there already.
pub(crate) fn gather(
    root: &SysRoot,
    config: &Config,
    storage: &Storage,
    target: Option<&ContainerDir>,
) -> Result<Carried> {
    let mut carried = Carried::default();
    let source = ContainerDir::new(root.path());
    storage::gather(&source, storage, &mut carried)?;
    if config.setup_network_manager {
        network(&source, target, &mut carried)?;
    }
    if !config.setup_opensshd_using_auth_keys.is_empty() {
        ssh(&source, &config.setup_opensshd_using_auth_keys, &mut carried)?;
    }
    Ok(carried)
}

fn network(source: &ContainerDir, target: Option<&ContainerDir>, carried: &mut Carried) -> Result<()> {
    for dir in [CONNECTIONS, NM_CONF] {
        for name in names(source, dir)? {
            let path = format!("{dir}/{name}");
            take(source, &path, None, carried)?;
            take_named_files(source, &path, dir, carried)?;
        }
    }
    let scripts: Vec<String> = names(source, SCRIPTS)?
        .into_iter()
        .filter(|name| BESIDE_IFCFG.iter().any(|prefix| name.starts_with(prefix)) && name != "ifcfg-lo")
        .collect();
    let has_plugin = |target: &ContainerDir, dir: &str| {
        names(target, dir).is_ok_and(|below| has_below(target, dir, &below))
    };
    let reads_ifcfg = target.is_some_and(|target| IFCFG_PLUGIN.iter().any(|dir| has_plugin(target, dir)));
    for name in &scripts {
        let path = format!("{SCRIPTS}/{name}");
        take_named_files(source, &path, SCRIPTS, carried)?;
        if reads_ifcfg {
            take(source, &path, None, carried)?;
        }
    }
    if !reads_ifcfg {
        for name in scripts.iter().filter_map(|name| name.strip_prefix("ifcfg-")) {
            convert(source, name, carried)?;
        }
    }
    resolv_conf(source, carried)
}

/// The plugin lies in a directory with NetworkManager's version for a name.
fn has_below(target: &ContainerDir, dir: &str, names: &[String]) -> bool {
    let direct = target.exists(format!("{dir}/{IFCFG_PLUGIN_NAME}"));
    direct
        || names
            .iter()
            .any(|name| target.exists(format!("{dir}/{name}/{IFCFG_PLUGIN_NAME}")))
}

fn convert(source: &ContainerDir, name: &str, carried: &mut Carried) -> Result<()> {
    let read = |prefix: &str| -> Result<Option<String>> {
        let path = format!("{SCRIPTS}/{prefix}-{name}");
        source.exists(&path).then(|| source.read(&path)).transpose()
    };
    let profile = crate::plan::network::ifcfg::Profile {
        name,
        ifcfg: &read("ifcfg")?.unwrap_or_default(),
        keys: &read("keys")?.unwrap_or_default(),
        route: &read("route")?.unwrap_or_default(),
        route6: &read("route6")?.unwrap_or_default(),
        rule: &read("rule")?.unwrap_or_default(),
        rule6: &read("rule6")?.unwrap_or_default(),
    };
    let converted = crate::plan::network::ifcfg::to_keyfile(&profile);
    for lost in converted.lost {
        carried.warnings.push(format!("{SCRIPTS}/ifcfg-{name}: {lost}"));
    }
    carried.files.push(File {
        path: format!("{CONNECTIONS}/{name}.nmconnection"),
        content: converted.keyfile.into_bytes(),
        mode: SECRET,
    });
    Ok(())
}

/// Certificates and keys: every absolute path (or `file://` URL, or, for ifcfg files, name beside them) that a profile
/// gives as a value and that is a file.
fn take_named_files(source: &ContainerDir, profile: &str, beside: &str, carried: &mut Carried) -> Result<()> {
    let text = String::from_utf8_lossy(&read(source, profile)?).into_owned();
    let values = text.lines().filter_map(|line| line.trim().split_once('='));
    for (key, value) in values {
        let value = value.trim().trim_matches(['"', '\'']);
        let value = value.strip_prefix("file://").unwrap_or(value);
        let is_certificate = beside == SCRIPTS && key.starts_with("IEEE_8021X_");
        let path = match value.strip_prefix('/') {
            Some(_) => value.to_owned(),
            None if is_certificate && !value.is_empty() && !value.contains('/') => {
                format!("{beside}/{value}")
            }
            None => continue,
        };
        let virtual_file = ["/dev/", "/proc/", "/sys/", "/run/"]
            .iter()
            .any(|top| path.starts_with(top));
        let known = carried.files.iter().any(|file| file.path == path);
        let is_file = source.resolve(&path).is_ok_and(|at| at.is_file());
        if is_file && !virtual_file && !known {
            take(source, &path, None, carried)?;
        } else if is_certificate && !is_file && looks_like_a_file(key) {
            carried
                .warnings
                .push(format!("{profile}: {key} names {path}, which is not there"));
        }
    }
    Ok(())
}

fn looks_like_a_file(key: &str) -> bool {
    ["_CERT", "_PRIVATE_KEY"].iter().any(|end| key.ends_with(end))
}

fn resolv_conf(source: &ContainerDir, carried: &mut Carried) -> Result<()> {
    let own = "/etc/resolv.conf";
    for path in [own, RESOLVED] {
        if !source.resolve(path)?.is_file() {
            continue;
        }
        let text = source.read(path)?;
        let mut servers = text
            .lines()
            .filter_map(|l| l.trim().strip_prefix("nameserver"))
            .map(str::trim);
        // Of no use without the resolver behind it.
        if path == own && servers.clone().count() > 0 && servers.all(|s| s.starts_with("127.")) {
            continue;
        }
        carried.files.push(File {
            path: own.into(),
            content: text.into_bytes(),
            mode: 0o644,
        });
        return Ok(());
    }
    Ok(())
}

fn ssh(source: &ContainerDir, keys: &str, carried: &mut Carried) -> Result<()> {
    let at = source.resolve(keys)?;
    match fs::read(&at) {
        Ok(content) => {
            if crate::plan::ssh_keys::valid(&String::from_utf8_lossy(&content)) == 0 {
                carried.faults.push(format!(
                    "setup_opensshd_using_auth_keys: {keys} holds no valid key; each line is 'TYPE BASE64 COMMENT' as in \
                     sshd(8), AUTHORIZED_KEYS"
                ));
            }
            carried.files.push(File {
                path: "/root/.ssh/authorized_keys".into(),
                content,
                mode: SECRET,
            });
        }
        Err(e) => carried
            .faults
            .push(format!("setup_opensshd_using_auth_keys: reading {keys}: {e}")),
    }
    let names = names(source, "/etc/ssh")?;
    let host_keys: Vec<&String> = names
        .iter()
        .filter(|name| {
            name.starts_with("ssh_host_") && (name.ends_with("_key") || name.ends_with("_key.pub"))
        })
        .collect();
    if !host_keys.iter().any(|name| name.ends_with("_key")) {
        carried.faults.push(
            "setup_opensshd_using_auth_keys: the source system has no host keys (/etc/ssh/ssh_host_*_key), so clients \
             could not know the live system; make them with: ssh-keygen -A"
                .into(),
        );
    }
    for name in host_keys {
        let mode = if name.ends_with(".pub") { 0o644 } else { SECRET };
        take(source, &format!("/etc/ssh/{name}"), Some(mode), carried)?;
    }
    Ok(())
}

/// The names in a directory, sorted, without those that NetworkManager passes over too: hidden files, and what editors
/// and package managers leave.
fn names(system: &ContainerDir, dir: &str) -> Result<Vec<String>> {
    const LEFT_BEHIND: [&str; 6] = [".bak", "~", ".rpmsave", ".rpmnew", ".rpmorig", ".orig"];
    let mut names = system.dir_names(dir)?;
    names.retain(|name| !name.starts_with('.') && !LEFT_BEHIND.iter().any(|end| name.ends_with(end)));
    names.sort();
    Ok(names)
}

/// Takes a file over to the same path, with its own mode where none is given; a directory is passed over.
fn take(source: &ContainerDir, path: &str, mode: Option<u32>, carried: &mut Carried) -> Result<()> {
    let at = source.resolve(path)?;
    if !at.is_file() {
        return Ok(());
    }
    let own = fs::metadata(&at).with_context(|| format!("looking at {}", at.display()))?;
    carried.files.push(File {
        path: path.to_owned(),
        content: read(source, path)?,
        mode: mode.unwrap_or(own.permissions().mode() & 0o777),
    });
    Ok(())
}

fn read(source: &ContainerDir, path: &str) -> Result<Vec<u8>> {
    let at: PathBuf = source.resolve(Path::new(path))?;
    if at.is_dir() {
        return Ok(Vec::new());
    }
    fs::read(&at).with_context(|| format!("reading {}", at.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(root: &Path, path: &str, content: &str, mode: u32) {
        let at = root.join(path);
        fs::create_dir_all(at.parent().unwrap()).unwrap();
        fs::write(&at, content).unwrap();
        fs::set_permissions(&at, fs::Permissions::from_mode(mode)).unwrap();
    }

    fn gathered(source: &Path, target: &Path, config: &Config) -> Carried {
        gather(
            &SysRoot::new(source),
            config,
            &Storage::default(),
            Some(&ContainerDir::new(target)),
        )
        .unwrap()
    }

    fn listed(carried: &Carried) -> Vec<String> {
        let mut files: Vec<String> = carried.files.iter().map(|f| format!("{f:?}")).collect();
        files.sort();
        files
    }

    #[test]
    fn profiles_certificates_and_the_resolver_are_carried_over_with_their_modes() {
        let (source, target) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let config = Config {
            setup_network_manager: true,
            ..Config::default()
        };
        assert_eq!(
            listed(&gathered(source.path(), target.path(), &config)),
            Vec::<String>::new()
        );

        let s = source.path();
        put(
            s,
            "etc/NetworkManager/system-connections/office.nmconnection",
            "[802-1x]\nca-cert=/etc/pki/ca.pem\nprivate-key=file:///etc/pki/key.pem\n[x]\nlog=/dev/null\n",
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
            "etc/NetworkManager/conf.d/10-dns.conf",
            "[main]\ndns=none\n",
            0o644,
        );
        put(s, "etc/pki/ca.pem", "ca", 0o644);
        put(s, "etc/pki/key.pem", "key", 0o640);
        put(
            s,
            "etc/sysconfig/network-scripts/ifcfg-eth0",
            "IEEE_8021X_CA_CERT=own.pem\nIEEE_8021X_CLIENT_CERT=gone.pem\n",
            0o644,
        );
        put(s, "etc/sysconfig/network-scripts/own.pem", "own", 0o644);
        put(
            s,
            "etc/sysconfig/network-scripts/keys-eth0",
            "WPA_PSK=secret\n",
            0o600,
        );
        put(s, "etc/sysconfig/network-scripts/ifcfg-lo", "", 0o644);
        put(s, "etc/resolv.conf", "nameserver 127.0.0.53\n", 0o644);
        put(
            s,
            "run/systemd/resolve/resolv.conf",
            "nameserver 10.0.0.1\n",
            0o644,
        );

        let shared = [
            "/etc/NetworkManager/conf.d/10-dns.conf 644",
            "/etc/NetworkManager/system-connections/office.nmconnection 600",
            "/etc/pki/ca.pem 644",
            "/etc/pki/key.pem 640",
            "/etc/resolv.conf 644",
            "/etc/sysconfig/network-scripts/own.pem 644",
        ];
        let with = |more: &[&str]| {
            let mut all: Vec<String> = shared.iter().chain(more).map(|s| (*s).to_owned()).collect();
            all.sort();
            all
        };
        let carried = gathered(s, target.path(), &config);
        assert_eq!(
            listed(&carried),
            with(&["/etc/NetworkManager/system-connections/eth0.nmconnection 600"])
        );
        assert!(
            carried
                .warnings
                .iter()
                .any(|w| w.contains("IEEE_8021X_CLIENT_CERT names ")),
            "{:?}",
            carried.warnings
        );

        put(
            target.path(),
            "usr/lib64/NetworkManager/1.42.2/libnm-settings-plugin-ifcfg-rh.so",
            "",
            0o755,
        );
        assert_eq!(
            listed(&gathered(s, target.path(), &config)),
            with(&[
                "/etc/sysconfig/network-scripts/ifcfg-eth0 644",
                "/etc/sysconfig/network-scripts/keys-eth0 600"
            ])
        );
    }

    #[test]
    fn sshd_needs_a_valid_key_and_the_host_keys() {
        let source = tempfile::tempdir().unwrap();
        let config = Config {
            setup_opensshd_using_auth_keys: "/root/keys".into(),
            ..Config::default()
        };
        let faults = |carried: &Carried| carried.faults.join("\n");
        let carried = gathered(source.path(), source.path(), &config);
        assert!(
            faults(&carried).contains("reading /root/keys: No such file"),
            "{carried:?}"
        );
        assert!(faults(&carried).contains("no host keys"), "{carried:?}");

        put(source.path(), "root/keys", "# nothing\n", 0o644);
        put(source.path(), "etc/ssh/ssh_host_ed25519_key", "secret", 0o640);
        put(source.path(), "etc/ssh/ssh_host_ed25519_key.pub", "public", 0o644);
        let carried = gathered(source.path(), source.path(), &config);
        assert!(
            faults(&carried).contains("/root/keys holds no valid key"),
            "{carried:?}"
        );
        assert_eq!(
            listed(&carried),
            [
                "/etc/ssh/ssh_host_ed25519_key 600",
                "/etc/ssh/ssh_host_ed25519_key.pub 644",
                "/root/.ssh/authorized_keys 600",
            ]
        );
    }
}
