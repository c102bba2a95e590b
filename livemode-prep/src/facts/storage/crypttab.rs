//! crypttab(5): lines in, entries out, and back. Pure.
use std::fmt;

use livemode_common::cmdline::Cmdline;
use livemode_common::fstab::{split_options, Quotes};
use serde::{Deserialize, Serialize};

/// One encrypted volume.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Volume {
    /// Below /dev/mapper.
    pub(crate) name: String,
    pub(crate) device: String,
    pub(crate) key: String,
    pub(crate) options: String,
    /// The line of the file, from 1; 0 where it is none of a file.
    #[serde(default)]
    pub(crate) line: usize,
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
    pub(crate) fn options(&self) -> Vec<&str> {
        split_options(&self.options, Quotes::DoNotCount)
    }

    pub(crate) fn has(&self, option: &str) -> bool {
        self.options()
            .into_iter()
            .any(|o| o == option || o.split_once('=').is_some_and(|(key, _)| key == option))
    }

    /// The file that holds its LUKS header, where the device does not.
    pub(crate) fn header(&self) -> Option<&str> {
        let path = self
            .options()
            .into_iter()
            .find_map(|option| option.strip_prefix("header="))?;
        let is_a_file = path.starts_with('/') && !path.starts_with("/dev/") && !path.contains(':');
        is_a_file.then_some(path)
    }

    /// The file that systemd looks for where the line names no key (crypttab(5), systemd 246 and later).
    pub(crate) fn implied_key(&self) -> Option<String> {
        (self.key() == Key::Passphrase).then(|| format!("/etc/cryptsetup-keys.d/{}.key", self.name))
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

/// A key that `rd.luks.key=` names on the kernel's line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LineKey {
    /// Of one volume, or of all.
    uuid: Option<String>,
    pub(crate) path: String,
    /// Whether it lies on a device of its own, which early boot mounts.
    pub(crate) is_on_a_device: bool,
    device: Option<String>,
}

impl LineKey {
    /// As crypttab(5) has it.
    pub(crate) fn written(&self) -> String {
        match &self.device {
            Some(device) => format!("{}:{device}", self.path),
            None => self.path.clone(),
        }
    }
}

/// The keys of the line, in its order: `[UUID=]PATH[:DEVICE[:VOLUME]]` (systemd-cryptsetup-generator(8), dracut.cmdline(7)).
pub(crate) fn line_keys(arguments: &Cmdline) -> Vec<LineKey> {
    let words = arguments.0.iter();
    let values = words
        .filter(|word| word.key == "rd.luks.key" || word.key == "luks.key")
        .filter_map(|word| word.value.as_deref());
    values
        .filter_map(|value| {
            let (uuid, value) = match value.split_once('=') {
                Some((uuid, rest)) if !uuid.contains(['/', ':']) => (Some(uuid.to_owned()), rest),
                _ => (None, value),
            };
            let (path, device) = match value.split_once(':') {
                Some((path, device)) => (path, Some(device.split(':').next().unwrap_or(device).to_owned())),
                None => (value, None),
            };
            path.starts_with('/').then(|| LineKey {
                uuid,
                path: path.to_owned(),
                is_on_a_device: device.is_some(),
                device,
            })
        })
        .collect()
}

/// The key of one volume: its own goes before that of all.
pub(crate) fn line_key(arguments: &Cmdline, uuid: &str) -> Option<LineKey> {
    let keys = line_keys(arguments);
    let own = |key: &&LineKey| {
        key.uuid
            .as_deref()
            .is_some_and(|of| of.eq_ignore_ascii_case(uuid))
    };
    let found = keys
        .iter()
        .rev()
        .find(own)
        .or_else(|| keys.iter().rev().find(|key| key.uuid.is_none()));
    found.cloned()
}

/// The volumes of a crypttab's text; a line without a device is passed over, as systemd does.
pub(crate) fn parse(text: &str) -> Vec<Volume> {
    let lines = text.lines().map(str::trim).enumerate();
    lines
        .filter(|(_, line)| !line.starts_with('#'))
        .filter_map(|(number, line)| {
            let mut fields = line.split_whitespace().map(str::to_owned);
            Some(Volume {
                name: fields.next()?,
                device: fields.next()?,
                key: fields.next().unwrap_or_default(),
                options: fields.next().unwrap_or_default(),
                line: number + 1,
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

/// Registers of the TPM that measure the kernel's line, the initramfs and the image of a unified kernel (the TPM registry of the
/// UAPI group): an upgrade boots with others.
const OF_WHAT_BOOTS: [&str; 5] = ["8", "9", "11", "12", "13"];

/// What opens a LUKS2 volume besides passphrases, from the tokens that cryptsetup-luksDump(8) lists: their types, with what
/// keeps one from opening it in the live system.
pub(crate) fn tokens(luks_dump: &str) -> Vec<String> {
    let lines = luks_dump.lines().skip_while(|line| *line != "Tokens:").skip(1);
    let mut found: Vec<String> = Vec::new();
    for line in lines.take_while(|line| line.starts_with([' ', '\t'])) {
        let Some((key, value)) = line.trim().split_once(':') else {
            continue;
        };
        let value = value.trim();
        match (key.trim(), found.last_mut()) {
            ("tpm2-pin", Some(last)) if value == "true" => last.push_str(" with a PIN"),
            ("tpm2-hash-pcrs", Some(last)) => {
                let of_what_boots = value
                    .split(['+', ',', ' '])
                    .find(|pcr| OF_WHAT_BOOTS.contains(pcr));
                if let Some(pcr) = of_what_boots {
                    last.push_str(&format!(" bound to PCR {pcr}"));
                }
            }
            (number, _) if line.starts_with("  ") && number.chars().all(|c| c.is_ascii_digit()) => {
                found.push(value.to_owned());
            }
            _ => {}
        }
    }
    found
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
        for (more, token) in [
            ("\ttpm2-pin:         true\n", "systemd-tpm2 with a PIN"),
            ("\ttpm2-pin:         false\n", "systemd-tpm2"),
            ("\ttpm2-hash-pcrs:   7+9\n", "systemd-tpm2 bound to PCR 9"),
            ("\ttpm2-hash-pcrs:   0+7\n", "systemd-tpm2"),
        ] {
            let dump = format!("Tokens:\n  0: systemd-tpm2\n{more}Digests:\n  0: pbkdf2\n");
            assert_eq!(tokens(&dump), [token]);
        }
        assert_eq!(tokens("Tokens:\nDigests:\n  0: pbkdf2\n"), Vec::<String>::new());
    }

    #[test]
    fn the_key_of_a_volume_is_found_on_the_kernels_line() {
        let line = "rd.luks.key=/all rd.luks.key=Ab=/own:LABEL=stick rd.luks.key=/old:UUID=c:vol rd.luks.key=none luks.key";
        let line = Cmdline::parse(line);
        let key = |uuid: &str| line_key(&line, uuid).map(|key| (key.written(), key.is_on_a_device));
        assert_eq!(key("aB"), Some(("/own:LABEL=stick".into(), true)));
        assert_eq!(key("d"), Some(("/old:UUID=c".into(), true)));
        assert_eq!(line_keys(&line).len(), 3);
        let file = line_key(&Cmdline::parse("rd.luks.key=/all"), "d").unwrap();
        assert_eq!((file.written(), file.is_on_a_device), ("/all".into(), false));
        assert_eq!(line_key(&Cmdline::parse("rd.luks.key=b=/x"), "d"), None);
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
