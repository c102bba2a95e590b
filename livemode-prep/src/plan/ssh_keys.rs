//! authorized_keys, as sshd(8) describes the file: which of its keys let an admin in, and why others do not. Pure.
use ssh_key::public::KeyData;
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

const NO_KEY: &str = "no valid key; a line is 'TYPE BASE64 COMMENT'";
/// Of RSA, in bits: what the crypto policies of el9 and newer ask for (RequiredRSASize).
const LEAST_RSA_BITS: usize = 2048;
/// Options of a line (sshd(8), AUTHORIZED_KEYS FILE FORMAT); with another one sshd does not take the line.
const OPTIONS: [&str; 22] = [
    "agent-forwarding",
    "cert-authority",
    "command",
    "environment",
    "expiry-time",
    "from",
    "no-agent-forwarding",
    "no-port-forwarding",
    "no-pty",
    "no-touch-required",
    "no-user-rc",
    "no-x11-forwarding",
    "permitlisten",
    "permitopen",
    "port-forwarding",
    "principals",
    "pty",
    "restrict",
    "tunnel",
    "user-rc",
    "verify-required",
    "x11-forwarding",
];

/// What a file of keys is worth.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Judged {
    /// How many of its keys let an admin in.
    pub(crate) good: usize,
    /// The lines that let nobody in: the number from 1, and why.
    pub(crate) bad: Vec<(usize, String)>,
}

/// Judges each line. `now` is in seconds since 1970.
pub(crate) fn judge(text: &str, now: u64) -> Judged {
    let mut judged = Judged::default();
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        match fault(line, now) {
            None => judged.good += 1,
            Some(why) => judged.bad.push((number + 1, why)),
        }
    }
    judged
}

/// Why a line lets no admin in.
fn fault(line: &str, now: u64) -> Option<String> {
    let (options, key) = split(line);
    let mut words = key.split_ascii_whitespace();
    let (Some(key_type), base64) = (words.next(), words.next().unwrap_or_default()) else {
        return Some(NO_KEY.to_owned());
    };
    if !TYPES.contains(&key_type) || !names_itself(base64, key_type) {
        return Some(NO_KEY.to_owned());
    }
    if key_type == "ssh-dss" {
        return Some("sshd no longer takes keys of type ssh-dss".to_owned());
    }
    if let Some(bits) = rsa_bits(base64).filter(|bits| key_type == "ssh-rsa" && *bits < LEAST_RSA_BITS) {
        return Some(format!(
            "an RSA key of {bits} bits, and the target's crypto policy asks for {LEAST_RSA_BITS}"
        ));
    }
    of_options(&options, now)
}

fn of_options(options: &[(String, Option<String>)], now: u64) -> Option<String> {
    let mut has_terminal = true;
    for (name, value) in options {
        match name.as_str() {
            "command" => return Some("command= lets nobody do anything else".to_owned()),
            "restrict" | "no-pty" => has_terminal = false,
            "pty" => has_terminal = true,
            "expiry-time" => match value.as_deref().and_then(seconds) {
                Some(end) if end > now => {}
                Some(_) => return Some("its expiry-time is over".to_owned()),
                None => return Some("its expiry-time cannot be read".to_owned()),
            },
            name if !OPTIONS.contains(&name) => return Some(format!("sshd knows no option {name}")),
            _ => {}
        }
    }
    (!has_terminal).then(|| "no-pty or restrict gives no terminal".to_owned())
}

/// The number of keys that are whole, whatever their options say.
pub(crate) fn valid(text: &str) -> usize {
    let is_key = |line: &&str| {
        let key = split(line.trim()).1;
        let mut words = key.split_ascii_whitespace();
        let key_type = words.next().unwrap_or_default();
        TYPES.contains(&key_type) && names_itself(words.next().unwrap_or_default(), key_type)
    };
    let lines = text.lines().filter(|line| !line.trim_start().starts_with('#'));
    lines.filter(is_key).count()
}

/// A line is `[OPTIONS] TYPE BASE64 [COMMENT]`: its options, names in lower case, and the rest. Options hold blanks and
/// commas in double quotes, in which `\"` is a quote.
fn split(line: &str) -> (Vec<(String, Option<String>)>, &str) {
    let first = line.split_ascii_whitespace().next().unwrap_or_default();
    if TYPES.contains(&first) {
        return (Vec::new(), line);
    }
    let mut options = Vec::new();
    let (mut name, mut value, mut quoted, mut escaped) = (String::new(), None::<String>, false, false);
    for (at, c) in line.char_indices().chain([(line.len(), ' ')]) {
        let ends = !quoted && (c == ',' || c.is_ascii_whitespace());
        if ends {
            options.push((std::mem::take(&mut name).to_ascii_lowercase(), value.take()));
            if c != ',' {
                return (options, line[at..].trim_start());
            }
            continue;
        }
        match (c, &mut value) {
            ('\\', Some(_)) if quoted && line[at + 1..].starts_with('"') => escaped = true,
            ('"', value) if !escaped => {
                quoted = !quoted;
                value.get_or_insert_default();
            }
            ('=', value) if !quoted && value.is_none() => *value = Some(String::new()),
            (c, Some(value)) => {
                value.push(c);
                escaped = false;
            }
            (c, None) => name.push(c),
        }
    }
    (options, "")
}

/// `YYYYMMDD`, `YYYYMMDDHHMM` or `YYYYMMDDHHMMSS`, with a `Z` or without, in seconds since 1970. A zone of the source's own
/// does not count: it shifts the end by hours.
fn seconds(time: &str) -> Option<u64> {
    let digits = time.trim_end_matches(['Z', 'z']);
    if !digits.bytes().all(|c| c.is_ascii_digit()) || ![8, 12, 14].contains(&digits.len()) {
        return None;
    }
    let part = |from: usize, to: usize| {
        digits
            .get(from..to)
            .map_or(Some(0), |text| text.parse::<u64>().ok())
    };
    let (year, month, day) = (part(0, 4)?, part(4, 6)?, part(6, 8)?);
    if !(1970..=9999).contains(&year) || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    // Days since 1970 by the civil calendar, years from March.
    let (y, m) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    let days = 365 * y + y / 4 - y / 100 + y / 400 + (153 * m + 2) / 5 + day - 1 - 719_468;
    let clock = part(8, 10)? * 3600 + part(10, 12)? * 60 + part(12, 14)?;
    Some(days * 86_400 + clock)
}

/// The length of an RSA key's modulus.
fn rsa_bits(base64: &str) -> Option<usize> {
    let key = PublicKey::from_openssh(&format!("ssh-rsa {base64}")).ok()?;
    let KeyData::Rsa(key) = key.key_data() else {
        return None;
    };
    let modulus = key.n.as_positive_bytes()?;
    let first = modulus.first()?;
    Some(modulus.len() * 8 - first.leading_zeros() as usize)
}

/// Whether BASE64 is a whole key of that type.
fn names_itself(base64: &str, key_type: &str) -> bool {
    PublicKey::from_openssh(&format!("{key_type} {base64}")).is_ok()
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

    /// 2026-01-01.
    const NOW: u64 = 1_767_225_600;
    // Made with ssh-keygen -t rsa -b 1024 of OpenSSH 9.2.
    const SHORT: &str = "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAAAgQDgAxW/oAUZhimOX+3v0g2q6K1KNQZvSNFoxrViT5kID2I7TAgWW8xJKxlsBK50iOO+j/9Nie8g3MJFd4NpR+doh0cUiW0TVuiPswtABuwurlWIdfKALsWqex5v/V17JsH0Bm/gfC75A+37t1MJyfJSnUVaKVe4x7yf/AHKiJyLQw== x";

    #[test]
    fn a_key_that_lets_no_admin_in_is_told_with_its_line() {
        for (options, why) in [
            (
                "command=\"echo 'Log in as \\\"clouduser\\\", not as \\\"root\\\".';echo;sleep 10;exit 142\"",
                "command=",
            ),
            (
                "no-port-forwarding,no-X11-forwarding,COMMAND=\"a, b\"",
                "command=",
            ),
            ("no-pty", "no terminal"),
            ("restrict", "no terminal"),
            ("pty,restrict", "no terminal"),
            ("from=\"10.0.0.0/8\",NO-PTY", "no terminal"),
            ("expiry-time=\"20251231\"", "is over"),
            ("expiry-time=\"202601010000Z\"", "is over"),
            ("expiry-time=\"soon\"", "cannot be read"),
            ("nosuch", "no option nosuch"),
        ] {
            let judged = judge(&format!("# admins\n\n{options} {KEY}\n"), NOW);
            assert_eq!((judged.good, judged.bad.len()), (0, 1), "{options}");
            assert_eq!(judged.bad[0].0, 3);
            assert!(judged.bad[0].1.contains(why), "{options}: {:?}", judged.bad);
        }
        for options in [
            "restrict,pty",
            "from=\"10.0.0.0/8,*.example.com\"",
            "environment=\"A=command=b no-pty\"",
            "expiry-time=\"20260102\"",
            "expiry-time=\"20260101000001\"",
            "no-agent-forwarding,permitopen=\"localhost:80\"",
            "cert-authority,principals=\"root\"",
        ] {
            let judged = judge(&format!("{options} {KEY}"), NOW);
            assert_eq!(judged, Judged { good: 1, bad: vec![] }, "{options}");
        }
    }

    #[test]
    fn what_is_no_key_or_too_weak_a_key_is_told() {
        let text = format!(
            "{KEY}\nrubbish\n{SHORT}\n1024 35 123 old\nssh-dss AAAA x\n{}",
            &KEY[..40]
        );
        let judged = judge(&text, NOW);
        assert_eq!(judged.good, 1);
        let lines: Vec<usize> = judged.bad.iter().map(|(line, _)| *line).collect();
        assert_eq!(lines, [2, 3, 4, 5, 6]);
        assert!(judged.bad[1].1.contains("of 1024 bits"), "{:?}", judged.bad);
    }

    #[test]
    fn an_rsa_key_must_have_2048_bits() {
        assert_eq!(judge(OTHER_KEYS[4], NOW), Judged { good: 1, bad: vec![] });
        // The first byte of the modulus counts from its first bit.
        for (first, told) in [
            (0x80, None),
            (0x7f, Some("an RSA key of 2047 bits")),
            (0x01, Some("of 2041 bits")),
        ] {
            let number = |bytes: &[u8]| ssh_key::Mpint::from_positive_bytes(bytes).unwrap();
            let modulus = [&[first][..], &[0xff; 255]].concat();
            let key = ssh_key::public::RsaPublicKey {
                e: number(&[1, 0, 1]),
                n: number(&modulus),
            };
            let line = PublicKey::from(KeyData::Rsa(key)).to_openssh().unwrap();
            let why = fault(&line, NOW);
            assert_eq!(why.is_some(), told.is_some(), "{why:?}");
            assert!(
                why.unwrap_or_default().contains(told.unwrap_or_default()),
                "{first}"
            );
        }
    }

    #[test]
    fn options_are_taken_apart_as_sshd_does() {
        for (line, options, rest) in [
            ("A,b=c r", vec![("a", None), ("b", Some("c"))], "r"),
            (r#"a="x\y",b r"#, vec![("a", Some(r"x\y")), ("b", None)], "r"),
            (r#"a="x\"y" r"#, vec![("a", Some("x\"y"))], "r"),
            (r#"a=x\"y z" r"#, vec![("a", Some(r"x\y z"))], "r"),
            (
                r#"a="b=c",d=e=f r"#,
                vec![("a", Some("b=c")), ("d", Some("e=f"))],
                "r",
            ),
        ] {
            let own = |word: &str| word.to_owned();
            let options = options
                .into_iter()
                .map(|(name, value)| (own(name), value.map(own)))
                .collect();
            assert_eq!(split(line), (options, rest), "{line}");
        }
    }

    #[test]
    fn a_time_is_read_as_seconds() {
        for (time, expected) in [
            ("19700101", Some(0)),
            ("20260101", Some(NOW)),
            ("20240229", Some(1_709_164_800)),
            ("202403010000Z", Some(1_709_251_200)),
            ("20260101000059", Some(NOW + 59)),
            ("20260101123456z", Some(NOW + 12 * 3600 + 34 * 60 + 56)),
            ("2026010112", None),
            ("2026", None),
            ("20261301", None),
            ("2026010a", None),
        ] {
            assert_eq!(seconds(time), expected, "{time}");
        }
    }
}
