//! crypttab(5): lines in, entries out, and back. Pure.
use std::fmt;

use serde::{Deserialize, Serialize};

/// One encrypted volume.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Volume {
    /// Below /dev/mapper.
    pub(crate) name: String,
    pub(crate) device: String,
    pub(crate) key: String,
    pub(crate) options: String,
}

/// What opens a volume.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Key<'a> {
    /// A file of the system, as it names it.
    File(&'a str),
    /// A file on another device (`FILE:DEVICE`), or a socket.
    Elsewhere,
    /// Made anew at each boot: what the volume holds is not kept.
    Random,
    /// Somebody types it, unless a token opens the volume.
    Passphrase,
}

impl Volume {
    pub(crate) fn has(&self, option: &str) -> bool {
        self.options
            .split(',')
            .any(|o| o == option || o.split_once('=').is_some_and(|(key, _)| key == option))
    }

    /// The file that holds its LUKS header, where the device does not.
    pub(crate) fn header(&self) -> Option<&str> {
        let path = self
            .options
            .split(',')
            .find_map(|option| option.strip_prefix("header="))?;
        let is_a_file = path.starts_with('/') && !path.starts_with("/dev/") && !path.contains(':');
        is_a_file.then_some(path)
    }

    pub(crate) fn key(&self) -> Key<'_> {
        match self.key.as_str() {
            "" | "-" | "none" => Key::Passphrase,
            "/dev/urandom" | "/dev/random" | "/dev/hw_random" => Key::Random,
            file if file.contains(':') => Key::Elsewhere,
            file if file.starts_with("/dev/") || file.starts_with("/run/") => Key::Elsewhere,
            file => Key::File(file),
        }
    }
}

/// The volumes of a crypttab's text; a line without a device is passed over, as systemd does.
pub(crate) fn parse(text: &str) -> Vec<Volume> {
    let lines = text.lines().map(str::trim).filter(|line| !line.starts_with('#'));
    lines
        .filter_map(|line| {
            let mut fields = line.split_whitespace().map(str::to_owned);
            Some(Volume {
                name: fields.next()?,
                device: fields.next()?,
                key: fields.next().unwrap_or_default(),
                options: fields.next().unwrap_or_default(),
            })
        })
        .collect()
}

impl fmt::Display for Volume {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let or = |field: &str, default: &'static str| {
            if field.is_empty() {
                default.to_owned()
            } else {
                field.to_owned()
            }
        };
        let (key, options) = (or(&self.key, "none"), or(&self.options, "luks"));
        write!(f, "{} {} {key} {options}", self.name, self.device)
    }
}

/// What opens a LUKS2 volume besides passphrases, from the tokens that cryptsetup-luksDump(8) lists: their types.
pub(crate) fn tokens(luks_dump: &str) -> Vec<String> {
    let lines = luks_dump.lines().skip_while(|line| *line != "Tokens:").skip(1);
    lines
        .take_while(|line| line.starts_with([' ', '\t']))
        .filter_map(|line| line.strip_prefix("  ")?.split_once(": "))
        .filter(|(number, _)| number.chars().all(|c| c.is_ascii_digit()))
        .map(|(_, kind)| kind.trim().to_owned())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_opens_a_volume_is_told_apart() {
        let text = "# comment\nroot UUID=a /etc/keys/root.key luks,discard\nswap /dev/sda3 /dev/urandom swap\nhome UUID=b none\n\
                    usb UUID=c /key:LABEL=stick\nbare UUID=d\n";
        let volumes = parse(text);
        let keys: Vec<Key> = volumes.iter().map(Volume::key).collect();
        assert_eq!(
            keys,
            [
                Key::File("/etc/keys/root.key"),
                Key::Random,
                Key::Passphrase,
                Key::Elsewhere,
                Key::Passphrase
            ]
        );
        assert!(volumes[0].has("discard") && !volumes[0].has("disc"));
        assert_eq!(volumes[4].to_string(), "bare UUID=d none luks");
    }

    #[test]
    fn tokens_are_read_from_luks_dump() {
        // cryptsetup 2.4.3 of el9, shortened.
        let dump = "LUKS header information\nVersion:       \t2\nKeyslots:\n  0: luks2\n\tKey:        512 bits\nTokens:\n  0: clevis\n\
                    \tKeyslot:    1\n  1: systemd-tpm2\n\ttpm2-hash-pcrs:   7\nDigests:\n  0: pbkdf2\n";
        assert_eq!(tokens(dump), ["clevis", "systemd-tpm2"]);
        assert_eq!(tokens("Tokens:\nDigests:\n  0: pbkdf2\n"), Vec::<String>::new());
    }

    #[test]
    fn keys_on_devices_and_sockets_are_elsewhere() {
        let key = |key: &str| parse(&format!("name UUID=a {key} luks\n"))[0].clone();
        for elsewhere in ["/key:UUID=b", "/dev/sdb1", "/run/keys.socket"] {
            assert_eq!(key(elsewhere).key(), Key::Elsewhere, "{elsewhere}");
        }
        for random in ["/dev/urandom", "/dev/random", "/dev/hw_random"] {
            assert_eq!(key(random).key(), Key::Random, "{random}");
        }
        for typed in ["-", "none"] {
            assert_eq!(key(typed).key(), Key::Passphrase, "{typed}");
        }
    }

    #[test]
    fn a_header_is_a_file_of_the_system() {
        for (options, header) in [
            ("luks,header=/etc/h", Some("/etc/h")),
            ("luks", None),
            ("header=h", None),
            ("header=/dev/sdb", None),
            ("header=/h:UUID=b", None),
        ] {
            let volume = &parse(&format!("a UUID=a none {options}\n"))[0];
            assert_eq!(volume.header(), header, "{options}");
        }
    }

    #[test]
    fn an_option_is_found_by_its_name_with_or_without_a_value() {
        let volume = &parse("a UUID=a none luks,tpm2-device=auto,x-initrd.attach\n")[0];
        assert!(["luks", "tpm2-device", "tpm2-device=auto", "x-initrd.attach"]
            .iter()
            .all(|o| volume.has(o)));
        assert!(!["tpm2", "auto", ""].iter().any(|o| volume.has(o)));
    }

    #[test]
    fn a_line_is_written_as_it_was_read_and_one_without_a_device_is_none() {
        let text = "root UUID=a /etc/keys/root.key luks,discard";
        let volumes = parse(&format!("alone\n\n  #root UUID=b\n{text}\n"));
        assert_eq!(volumes.iter().map(Volume::to_string).collect::<Vec<_>>(), [text]);
    }
}
