//! authorized_keys, as sshd(8) describes the file: how many of its keys sshd could take. Pure.
use ssh_key::PublicKey;

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

/// A line is `[OPTIONS] TYPE BASE64 [COMMENT]`. As sshd does, the line is tried as a key without options first.
fn is_key(line: &str) -> bool {
    !line.starts_with('#') && (starts_with_key(line) || after_options(line).is_some_and(starts_with_key))
}

/// Whether TYPE is one of [`TYPES`] and BASE64 is a whole key of that type.
fn starts_with_key(text: &str) -> bool {
    let mut words = text.split_ascii_whitespace();
    let (Some(kind), Some(base64)) = (words.next(), words.next()) else {
        return false;
    };
    TYPES.contains(&kind) && PublicKey::from_openssh(&format!("{kind} {base64}")).is_ok()
}

/// What follows the options: they end at the first blank outside of double quotes; `\"` is no quote (sshd(8)).
fn after_options(line: &str) -> Option<&str> {
    let mut is_quoted = false;
    let mut is_escaped = false;
    let end = line.find(|c: char| {
        match c {
            '"' if !is_escaped => is_quoted = !is_quoted,
            ' ' | '\t' if !is_quoted => return true,
            _ => {}
        }
        is_escaped = c == '\\';
        false
    })?;
    Some(&line[end..])
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

    // Made with ssh-keygen of OpenSSH 9.2, as is the certificate.
    const OTHER_KEYS: [&str; 5] = [
        concat!("ssh-dss AAAAB3NzaC1kc3MAAACBAIKo1nw4aPzd3AnmoIDx9/OVa0P55dnv2piB9BJejNlwg2pHZcAmZ0Cp4J5XY68VgKTyagju1tAVCpF4ab", "xggwthn085vmaq+HW50iqsQIJB8SPNDlIL3nq/0aytlnZ4p9IRRlnsX63ANM9/i5pl/flq+Td0BK1cyw7LG1K5QuffAAAAFQCqgsFskhRoTN7b", "W0MNQeNXbMINAQAAAIA0wkOpyvbJIBOuZ3dfYVCyLVSJ/5cysPrkdecngRT53Orb9TkX/L3nVp3DS+u1KugYhxxbdQv5rsOtB8FEckl97Uuz4A", "wTq2A+pH9GI9AK3UzY6JA9ljB+bb4QKEAzunHl5tOW51oxWMxlFcnp97YEc/C8Yx0NOy9MqgJV1GXWewAAAIAMbmJ94QZjrc683B51Q24HiZq1", "d7/ktT5XTWkVb/kfJIBbW/OsOaoZTo7wR+x7GRa4hN/GETxkOgLYTvbtVQH49y+M5f5O40dgEKsD0466d0ApzazJ5QkfNil9D4csJvp+7BsBdW", "9kyBQfB7L/ZPN3oPsloeX0wpoBbUowWYiPEQ=="),
        concat!("ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBLYOcI0gv0CMWwdQ/ilJ7GuYARRtT8qGfftunf", "Xf1D5oPUu3n+NAXmRfbGYaWlYnbo0v8Rtm/83TDZ+9EJ/jKUw="),
        concat!("ecdsa-sha2-nistp384 AAAAE2VjZHNhLXNoYTItbmlzdHAzODQAAAAIbmlzdHAzODQAAABhBD7Z7QAKTASYtkp/Bf5PcMgyVyBKmWKRVebPkW", "rlNPlZQEuu9qRcaJS4VkJ0M1j8HcLqIxPhk4D2foBF/ZuGTdva5TZUvSYbbBnROIwvVEmqz7Q7i1V8y2oPjexLz20Thg=="),
        concat!("ecdsa-sha2-nistp521 AAAAE2VjZHNhLXNoYTItbmlzdHA1MjEAAAAIbmlzdHA1MjEAAACFBAD/arsWb6wcScdLQtEHJhFbYAAkm5uS86y+MT", "MinXzvZ534u+umr40wzooxKn5RQorTKd5xTBH2I2PoR63Ofqka1AFNkBYcSkypZbPohP8pQ/icuiVHnrcc2JYFNuLvzB2wJNqlzodgwb+iKSeW", "qwIfFFEI5s7PLezdgB07o/XRpmq0eQ=="),
        concat!("ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABAQDCuY8rVfLEnJf+q0vtABg0frfofq7DRj3LqX6cNaAr410scMUuUceOY69EdTIrCUFR6O943v", "FpHySfP9F5ClQkd0wCzyMBhG4PBWDzhaD7oftAfVlwIZVKs+8sDOedBRkk+n5loY+SIZQqhJsuQ1w1tiHpHajSGBQFT3/5G7lYCKXC7O/eyQMT", "g/23YblYgZNBcQHjHbmk4ie0d/lecFZH7lrGStIk1pLFve6oPgwetXEmBhNs/V1kvwSmRhlbuy8rYfH9ZLIor99R4y5BeZKC2kCz9fxRs4TGt1", "r+qeES+1A//1hT/odRdxF9dM/9PIysrFbpmUmVSSBAh+KyIsBB"),
    ];
    const CERTIFICATE: &str = concat!("ssh-ed25519-cert-v01@openssh.com AAAAIHNzaC1lZDI1NTE5LWNlcnQtdjAxQG9wZW5zc2guY29tAAAAICwbiMiDoEhBYCyF2S08LuP1W", "hEf4ejnVodoDHGAd+l1AAAAIBC78aYKhxm7kd1FqJTLSc+p6axPlPg5ffVVZ6Gwx6MCAAAAAAAAAAAAAAABAAAAAmlkAAAACAAAAARyb290AAA", "AAAAAAAD//////////wAAAAAAAACCAAAAFXBlcm1pdC1YMTEtZm9yd2FyZGluZwAAAAAAAAAXcGVybWl0LWFnZW50LWZvcndhcmRpbmcAAAAAA", "AAAFnBlcm1pdC1wb3J0LWZvcndhcmRpbmcAAAAAAAAACnBlcm1pdC1wdHkAAAAAAAAADnBlcm1pdC11c2VyLXJjAAAAAAAAAAAAAAAzAAAAC3N", "zaC1lZDI1NTE5AAAAIBC78aYKhxm7kd1FqJTLSc+p6axPlPg5ffVVZ6Gwx6MCAAAAUwAAAAtzc2gtZWQyNTUxOQAAAEAzrmz1gA79XENQw5IbU", "myps4zGSh1d1BUjTPIB0Grgo6NIEHPPius8Kapy58AVq8TvDh2zUk3Nfjfb9rvxny8P");

    #[test]
    fn each_type_counts_and_none_that_is_cut_off() {
        for key in OTHER_KEYS {
            assert_eq!(valid(key), 1, "{key}");
            let (kind, base64) = key.split_once(' ').unwrap();
            // Whole groups of four digits, so that the rest is still Base64.
            for digits in [4, 40, base64.len() / 8 * 4, base64.len() - 4] {
                assert_eq!(
                    valid(&format!("{kind} {}", &base64[..digits])),
                    0,
                    "{kind} {digits}"
                );
            }
        }
    }

    #[test]
    fn certificates_do_not_count() {
        assert_eq!(valid(CERTIFICATE), 0);
        assert_eq!(valid(&format!("{CERTIFICATE}\ncert-authority {KEY}")), 1);
    }

    #[test]
    fn options_end_at_the_first_blank_outside_of_quotes() {
        for (options, count) in [
            ("no-pty", 1),
            (r#"from="10.0.0.*",command="say \"hello you\"""#, 1),
            (r#"command="a\\" b""#, 1),
            ("command=\"never closed", 0),
            ("no-pty no-X11", 0),
        ] {
            assert_eq!(valid(&format!("{options} {KEY}")), count, "{options}");
        }
        assert_eq!(
            valid(&format!("command=\"echo {KEY}\"")),
            0,
            "only within the quotes"
        );
        assert_eq!(valid("no-pty"), 0);
    }
}
