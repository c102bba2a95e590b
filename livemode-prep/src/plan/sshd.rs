//! sshd in the live system: keys only, whatever the container's own configuration says. Pure.

/// Of several values for a keyword sshd takes the first (sshd_config(5)), so these stand before all others.
const OURS: &str = "\
# LiveMode: root's authorized keys and nothing else.
PermitRootLogin prohibit-password
PubkeyAuthentication yes
AuthorizedKeysFile .ssh/authorized_keys
PasswordAuthentication no
KbdInteractiveAuthentication no
ChallengeResponseAuthentication no
GSSAPIAuthentication no
HostbasedAuthentication no
PermitEmptyPasswords no
";

/// The container's configuration with ours before it.
pub(crate) fn config(own: &str) -> String {
    format!("{OURS}\n{own}")
}
