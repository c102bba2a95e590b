//! What sshd in the live system takes from the source: who may log in, and the host keys by which clients know it. Pure.
pub(crate) mod listen;

use super::findings::Findings;
use super::items::{Content, Item, SECRET};
use super::network::copied;
use super::ssh_keys;
use crate::facts::files::{Files, SSH};

/// The files that go along, for the authorized keys in the file `keys` of the source.
pub(crate) fn items(files: &Files, keys: &str, findings: &mut Findings) -> Vec<Item> {
    match files.text(keys) {
        Some(text) => judge(keys, text, files.seen_at(), findings),
        None => findings.refuse(format!(
            "setup_opensshd_using_auth_keys: reading {keys}: {}",
            files.why_unreadable(keys).unwrap_or("it is no file")
        )),
    }
    let mut items = vec![Item::File {
        path: "/root/.ssh/authorized_keys".into(),
        content: Content::OfSource(keys.to_owned()),
        mode: SECRET,
        is_secret: true,
    }];
    let host_keys: Vec<&str> = files.below(SSH).filter(|path| is_host_key(path)).collect();
    if !host_keys.iter().any(|path| path.ends_with("_key")) {
        findings.refuse(
            "setup_opensshd_using_auth_keys: the source system has no host keys (/etc/ssh/ssh_host_*_key), so clients could \
             not know the live system; make them with: ssh-keygen -A",
        );
    }
    items.extend(host_keys.into_iter().map(|path| {
        let mode = if path.ends_with(".pub") { 0o644 } else { SECRET };
        copied(path, mode)
    }));
    items
}

/// A fault where no key lets an admin in; of each line that does not, a warning.
fn judge(keys: &str, text: &str, now: u64, findings: &mut Findings) {
    let judged = ssh_keys::judge(text, now);
    for (line, why) in &judged.bad {
        findings.warn(format!("{keys}, line {line} lets no admin in: {why}"));
    }
    if ssh_keys::valid(text) == 0 {
        findings.refuse(format!(
            "setup_opensshd_using_auth_keys: {keys} holds no valid key; each line is 'TYPE BASE64 COMMENT' as in sshd(8), \
             AUTHORIZED_KEYS"
        ));
    } else if judged.good == 0 {
        findings.refuse(format!(
            "setup_opensshd_using_auth_keys: no key of {keys} lets an admin in (the warnings say why); add one that does, or \
             name another file"
        ));
    }
}

fn is_host_key(path: &str) -> bool {
    path.strip_prefix("/etc/ssh/ssh_host_")
        .is_some_and(|name| !name.contains('/') && (name.ends_with("_key") || name.ends_with("_key.pub")))
}

#[cfg(test)]
mod tests {
    use super::*;

    // Made with ssh-keygen of OpenSSH 9.2.
    const KEY: &str =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIFbrvNI5fjTR7eZh4RDCLY1ld18RMgTfm3azV7ryAGLU admin@host\n";

    fn planned(files: &[(&str, &str)]) -> (Vec<String>, Vec<String>) {
        let mut findings = Findings::default();
        let items = items(&Files::of(files), "/root/keys", &mut findings);
        (items.iter().map(Item::path).collect(), findings.refusals)
    }

    #[test]
    fn sshd_needs_a_valid_key_and_the_host_keys() {
        let (_, refusals) = planned(&[("/root/keys", "# nothing\n")]);
        assert!(
            refusals[0].contains("/root/keys holds no valid key"),
            "{refusals:?}"
        );
        assert!(refusals[1].contains("no host keys"), "{refusals:?}");
        let (_, refusals) = planned(&[("/etc/ssh/ssh_host_ed25519_key", "secret")]);
        assert_eq!(
            refusals,
            ["setup_opensshd_using_auth_keys: reading /root/keys: it is no file"]
        );
        let (_, refusals) = planned(&[
            ("/root/keys", KEY),
            ("/etc/ssh/ssh_host_ed25519_key.pub", "public"),
        ]);
        assert_eq!(refusals.len(), 1, "{refusals:?}");
        assert_eq!(
            planned(&[
                ("/root/keys", KEY),
                ("/etc/ssh/ssh_host_ed25519_key", "secret"),
                ("/etc/ssh/ssh_host_ed25519_key.pub", "public"),
                ("/etc/ssh/ssh_host_x/y_key", "no host key"),
                ("/etc/ssh/sshd_config", "")
            ]),
            (
                [
                    "/root/.ssh/authorized_keys",
                    "/etc/ssh/ssh_host_ed25519_key",
                    "/etc/ssh/ssh_host_ed25519_key.pub"
                ]
                .map(str::to_owned)
                .to_vec(),
                vec![]
            )
        );
    }

    #[test]
    fn a_file_that_lets_nobody_in_is_a_fault_and_each_such_line_a_warning() {
        // As cloud-init leaves root's.
        let closed =
            format!("no-port-forwarding,command=\"echo 'Log in as \\\"clouduser\\\".';exit 142\" {KEY}");
        let found = |text: &str| {
            let mut findings = Findings::default();
            let files = [("/root/keys", text), ("/etc/ssh/ssh_host_rsa_key", "secret")];
            items(&Files::of(&files), "/root/keys", &mut findings);
            findings
        };
        let warning = "/root/keys, line 1 lets no admin in: command= lets nobody do anything else";
        let alone = found(&closed);
        assert_eq!(alone.warnings, [warning]);
        assert!(
            alone.refusals[0].contains("no key of /root/keys lets an admin in"),
            "{alone:?}"
        );
        let none = found("rubbish\n");
        assert!(
            none.warnings[0].starts_with("/root/keys, line 1 lets no admin in: no valid key"),
            "{none:?}"
        );
        assert!(none.refusals[0].contains("holds no valid key"), "{none:?}");
        let both = found(&format!("{closed}{KEY}"));
        assert_eq!((both.warnings, both.refusals), (vec![warning.to_owned()], vec![]));
    }

    #[test]
    fn private_host_keys_are_for_root_alone() {
        let files = Files::of(&[
            ("/root/keys", KEY),
            ("/etc/ssh/ssh_host_rsa_key", "secret"),
            ("/etc/ssh/ssh_host_rsa_key.pub", "public"),
        ]);
        let items = items(&files, "/root/keys", &mut Findings::default());
        assert!(
            matches!(
                &items[1],
                Item::File {
                    mode: 0o600,
                    is_secret: true,
                    ..
                }
            ),
            "{items:?}"
        );
    }
}
