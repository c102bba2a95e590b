//! authorized_keys, as sshd(8) describes the file: how many of its keys sshd could take. Pure.

/// Key types of current OpenSSH that may stand for a user (ssh -Q PubkeyAcceptedAlgorithms, without certificates).
const TYPES: [&str; 8] = [
    "ssh-ed25519",
    "ssh-rsa",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "sk-ssh-ed25519@openssh.com",
    "sk-ecdsa-sha2-nistp256@openssh.com",
    "ssh-dss",
];

/// The number of valid keys.
pub(crate) fn valid(text: &str) -> usize {
    text.lines().filter(|line| is_key(line.trim())).count()
}

/// A line is `[OPTIONS] TYPE BASE64 [COMMENT]`; options may hold blanks in quotes.
fn is_key(line: &str) -> bool {
    if line.is_empty() || line.starts_with('#') {
        return false;
    }
    let words: Vec<&str> = line.split_ascii_whitespace().collect();
    words
        .windows(2)
        .any(|pair| TYPES.contains(&pair[0]) && names_itself(pair[1], pair[0]))
}

/// A key's blob is strings with their length before them, the first of which is its type (RFC 4253, 6.6): one that was
/// cut off does not end where a string does.
fn names_itself(base64: &str, key_type: &str) -> bool {
    let mut strings = Vec::new();
    let blob = decode(base64).unwrap_or_default();
    let mut rest = blob.as_slice();
    while let Some((length, after)) = rest.split_first_chunk() {
        let length = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
        let Some((string, after)) = after.split_at_checked(length) else {
            return false;
        };
        strings.push(string);
        rest = after;
    }
    rest.is_empty() && strings.len() > 1 && strings[0] == key_type.as_bytes()
}

/// RFC 4648, 4.
fn decode(base64: &str) -> Option<Vec<u8>> {
    let digits = base64.trim_end_matches('=');
    if !base64.len().is_multiple_of(4) || base64.len() - digits.len() > 2 {
        return None;
    }
    let (mut bits, mut count, mut bytes) = (0u32, 0, Vec::new());
    for c in digits.bytes() {
        let digit = match c {
            b'A'..=b'Z' => c - b'A',
            b'a'..=b'z' => c - b'a' + 26,
            b'0'..=b'9' => c - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = bits << 6 | u32::from(digit);
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count) as u8);
            bits &= (1 << count) - 1;
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    // Made with ssh-keygen of OpenSSH 9.2.
    const KEY: &str =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIFbrvNI5fjTR7eZh4RDCLY1ld18RMgTfm3azV7ryAGLU admin@host";

    #[test]
    fn only_whole_keys_count() {
        let other = KEY.replace("ssh-ed25519 ", "ssh-rsa ");
        let cut = &KEY[..40];
        let with_options = format!("command=\"echo hello you\",no-pty {KEY}");
        for (text, count) in [
            (KEY.to_owned(), 1),
            (format!("# {KEY}\n\n"), 0),
            (format!("{with_options}\n  {KEY}\n"), 2),
            (other, 0),
            (cut.to_owned(), 0),
            ("ssh-ed25519 not-base64 x".to_owned(), 0),
            (String::new(), 0),
        ] {
            assert_eq!(valid(&text), count, "{text}");
        }
    }
}
