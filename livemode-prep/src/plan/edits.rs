//! Changes to files that are the container's own, from text to text. Pure.

/// A change to a file of the container's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Edit {
    /// sshd takes root's authorized keys and nothing else, and listens by these lines of sshd_config(5).
    OnlyKeysLogIn(String),
    /// Root's password is empty.
    EmptyRootPassword,
}

/// Of several values for a keyword sshd takes the first (sshd_config(5)), so these stand before all others.
const SSHD: &str = "\
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

const SHADOW_FIELDS: usize = 9;

impl Edit {
    /// The changed text of a file; none where it cannot be changed so.
    pub(crate) fn apply(&self, text: &str) -> Option<String> {
        match self {
            Self::OnlyKeysLogIn(listen) => Some(format!("{SSHD}{listen}\n{text}")),
            Self::EmptyRootPassword => without_root_password(text),
        }
    }
}

/// The second field of root's line becomes empty, as passwd(5) and shadow(5) have it.
fn without_root_password(text: &str) -> Option<String> {
    let mut found = false;
    let mut out = String::new();
    for line in text.lines() {
        let mut fields: Vec<&str> = line.split(':').collect();
        if fields[0] == "root" && fields.len() > 1 {
            fields[1] = "";
            // shadow(5): 0 asks for a new password at the first log-in, before which nobody types `upgrade`.
            if fields.len() == SHADOW_FIELDS && fields[2] == "0" {
                fields[2] = "";
            }
            found = true;
        }
        out.push_str(&fields.join(":"));
        out.push('\n');
    }
    found.then_some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ours_stand_before_the_containers_own_words() {
        let edit = Edit::OnlyKeysLogIn("Port 2222\n".into());
        let text = edit.apply("PermitRootLogin yes\n").unwrap();
        assert!(text.starts_with("# LiveMode"), "{text}");
        assert!(
            text.ends_with("PermitEmptyPasswords no\nPort 2222\n\nPermitRootLogin yes\n"),
            "{text}"
        );
    }

    #[test]
    fn only_roots_password_becomes_empty() {
        assert_eq!(
            without_root_password("root:*:19000:0:99999:7:::\nbin:!:1::\n").unwrap(),
            "root::19000:0:99999:7:::\nbin:!:1::\n"
        );
        assert_eq!(
            without_root_password("root:!:0:0:99999:7:::\n").unwrap(),
            "root:::0:99999:7:::\n"
        );
        assert_eq!(
            without_root_password("root:x:0:0:root:/root:/bin/bash\n").unwrap(),
            "root::0:0:root:/root:/bin/bash\n"
        );
        for text in ["bin:!:1::\n", "root\n", ""] {
            assert_eq!(without_root_password(text), None, "{text}");
        }
    }
}
