//! What opens the source's encrypted volumes in the live system. Pure.
use super::options::{self, Rule, LONGEST_S};
use super::Setting;
use crate::facts::storage::crypttab::{self, Key, Volume};
use crate::facts::storage::StorageFacts;

/// The crypttab's line for an open volume, unless it opens by itself; or why nothing opens it without a keyboard.
pub(super) fn opened(
    index: usize,
    sources: &StorageFacts,
    setting: &Setting,
    warnings: &mut Vec<String>,
) -> Result<Option<Volume>, String> {
    let path = &sources.devices.get(index).path;
    let below = sources.devices.get(index).parents.first();
    let uuid = below.map_or("", |&lower| sources.devices.get(lower).uuid.as_str());
    let name = path.trim_start_matches("/dev/mapper/");
    let by_name = |volume: &&Volume| volume.name == name || sources.named(&volume.device).first() == below;
    let volume = match sources.crypttab.iter().find(by_name) {
        Some(volume) => Some(live(volume, below.copied(), sources, warnings)?),
        None => of_the_line(name, uuid, setting),
    };
    match volume.as_ref().map(Volume::key) {
        Some(Key::File(file)) if sources.keys.contains(file) => Ok(volume.map(unasked)),
        Some(Key::File(file)) => Err(format!(
            "{path} is opened by {file} (/etc/crypttab{}), which is not there",
            line_of(volume.as_ref())
        )),
        Some(Key::Elsewhere) => Ok(volume.map(unasked)),
        Some(Key::Random) => Err(format!("{path} gets a new key at each boot")),
        Some(Key::Passphrase) | None => {
            let tokens = sources.tokens.get(uuid).map(Vec::as_slice).unwrap_or_default();
            let has = |kind: &str| tokens.iter().any(|token| token == kind);
            let is_by_tpm = has(TPM) && volume.as_ref().is_some_and(|v| v.has("tpm2-device"));
            if is_by_tpm || has(CLEVIS) {
                warnings.push(format!(
                    "{path} is opened by its token ({}), which was not tested here",
                    tokens.join(", ")
                ));
                let limited = if is_by_tpm { unasked } else { asked_for_a_while };
                return Ok(volume.map(limited));
            }
            if let Some(key) = crypttab::line_key(setting.arguments, uuid) {
                if !key.is_on_a_device && !sources.keys.contains(&key.path) {
                    return Err(format!(
                        "{path} is opened by {} (rd.luks.key= on the kernel's line), which is not there",
                        key.path
                    ));
                }
                let with_key = |volume| Volume {
                    key: key.written(),
                    ..volume
                };
                return Ok(volume.map(with_key).map(unasked));
            }
            let not_by = match tokens {
                [] => String::new(),
                tokens => format!("; its tokens ({}) do not open it without one", tokens.join(", ")),
            };
            Err(format!(
                "{path} (LUKS {uuid}) is opened by a passphrase only, for which the live system would wait at a keyboard; add \
                 a key file to /etc/crypttab (cryptsetup luksAddKey), or bind it to the TPM (systemd-cryptenroll) or to \
                 clevis{not_by}"
            ))
        }
    }
}

/// Types of tokens (systemd-cryptenroll(1), clevis-luks-bind(1)).
const TPM: &str = "systemd-tpm2";
pub(super) const CLEVIS: &str = "clevis";

/// A volume for which nobody is asked for a passphrase (crypttab(5), systemd 249 and later), and for which no job waits without
/// an end: systemd-cryptsetup-generator(8) has an endless one for each volume without `nofail`.
fn unasked(mut volume: Volume) -> Volume {
    if !volume.has("headless") {
        add(&mut volume, "headless=true");
    }
    with_nofail(volume)
}

/// clevis answers the question for the passphrase in place of an admin, so it must be asked; it has an end, where systemd's
/// default is to wait for ever.
fn asked_for_a_while(mut volume: Volume) -> Volume {
    if !volume.has("headless") {
        add(&mut volume, &format!("timeout={LONGEST_S}s"));
        add(&mut volume, "tries=1");
    }
    with_nofail(volume)
}

fn with_nofail(mut volume: Volume) -> Volume {
    if !volume.has("nofail") {
        add(&mut volume, "nofail");
    }
    volume
}

fn add(volume: &mut Volume, option: &str) {
    if !volume.options.is_empty() {
        volume.options.push(',');
    }
    volume.options.push_str(option);
}

/// The line of a volume that the crypttab does not have.
pub(super) fn unwritten(name: &str, uuid: &str, is_by_clevis: bool) -> Volume {
    let volume = Volume {
        name: name.to_owned(),
        device: format!("UUID={uuid}"),
        key: "none".into(),
        options: String::new(),
        line: 0,
    };
    if is_by_clevis {
        asked_for_a_while(volume)
    } else {
        unasked(volume)
    }
}

/// A volume of the crypttab that is not open now, as the live system has it.
///
/// # Errors
/// When it cannot have it.
pub(super) fn closed(
    volume: &Volume,
    device: usize,
    sources: &StorageFacts,
    warnings: &mut Vec<String>,
) -> Result<Volume, String> {
    live(volume, Some(device), sources, warnings).map(unasked)
}

/// A volume of the crypttab as the live system has it: by a name that its udev gives, with the options that are known
/// there ([`options::VOLUME`]), and with the key that systemd finds by the volume's name.
fn live(
    volume: &Volume,
    device: Option<usize>,
    sources: &StorageFacts,
    warnings: &mut Vec<String>,
) -> Result<Volume, String> {
    let name = &volume.name;
    let line = line_of(Some(volume));
    if volume.to_string().contains(char::REPLACEMENT_CHARACTER) {
        return Err(format!(
            "the line of {name} in /etc/crypttab{line} has bytes that are no UTF-8, which systemd does not read; mend it"
        ));
    }
    let mut kept = Vec::new();
    for option in volume.options() {
        let value = options::value(option);
        let (rule, reason) = options::rule(options::VOLUME, option).unwrap_or((Rule::Drop, "it has no rule"));
        match rule {
            Rule::Carry => kept.push(option),
            Rule::Leave => {}
            Rule::Bound if options::is_short(value) => kept.push(option),
            Rule::File if sources.keys.contains(value) => kept.push(option),
            Rule::File => {
                return Err(format!(
                    "{option} of {name} (/etc/crypttab{line}) is no file that is there"
                ));
            }
            Rule::Refuse => {
                return Err(format!(
                    "the live system cannot do {} of {name} in /etc/crypttab{line} ({reason})",
                    options::name(option)
                ));
            }
            Rule::Bound | Rule::Drop | Rule::Reroot | Rule::Unit => {
                let text = format!(
                    "/etc/crypttab{line}: the live system goes without {option} of {name} ({reason})"
                );
                if !warnings.contains(&text) {
                    warnings.push(text);
                }
            }
        }
    }
    // cryptsetup 2.7 took another default (cryptsetup(8), PLAIN MODE), and the data would be read with that.
    if volume.has("plain") && !volume.has("cipher") {
        return Err(format!(
            "the line of {name} in /etc/crypttab{line} does not say the cipher of the plain volume, whose default newer releases have \
             changed; add cipher= and size= (cryptsetup status {name})"
        ));
    }
    let implied = volume.implied_key().filter(|file| sources.keys.contains(file));
    Ok(Volume {
        options: kept.join(","),
        key: implied.unwrap_or_else(|| volume.key.clone()),
        ..lasting(volume, device, sources)?
    })
}

/// `, line N`, where a volume is of a file.
fn line_of(volume: Option<&Volume>) -> String {
    match volume.map(|volume| volume.line) {
        None | Some(0) => String::new(),
        Some(line) => format!(", line {line}"),
    }
}

/// The same volume by a name of its device that any system's udev gives.
///
/// # Errors
/// When it has none.
fn lasting(volume: &Volume, device: Option<usize>, sources: &StorageFacts) -> Result<Volume, String> {
    let (name, spec) = (&volume.name, &volume.device);
    let Some(device) = device else {
        return Ok(volume.clone());
    };
    let lasting = sources.lasting(spec, device).map_err(|_| {
        format!(
            "{spec} of {name} (/etc/crypttab{}) is a name of the source system's udev rules; name it by another",
            line_of(Some(volume))
        )
    })?;
    Ok(Volume {
        device: lasting.unwrap_or_else(|| spec.clone()),
        ..volume.clone()
    })
}

/// What the kernel's line says of a volume that the crypttab does not have (systemd-cryptsetup-generator(8)).
fn of_the_line(name: &str, uuid: &str, setting: &Setting) -> Option<Volume> {
    let words = setting.arguments.0.iter();
    let options: Vec<String> = words
        .filter(|word| word.key == "rd.luks.options" || word.key == "luks.options")
        .filter_map(|word| {
            let (of, options) = options::of_line(word.value.as_deref()?);
            let is_meant = of.is_none_or(|of| of.eq_ignore_ascii_case(uuid));
            is_meant.then_some(options).filter(|options| !options.is_empty())
        })
        .collect();
    (!uuid.is_empty() && !options.is_empty()).then(|| Volume {
        name: name.to_owned(),
        device: format!("UUID={uuid}"),
        key: "none".into(),
        options: options.join(","),
        line: 0,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::storage::crypttab;
    use crate::facts::storage::devices::Devices;
    use livemode_common::cmdline::Cmdline;

    const UUID: &str = "6c697665-6d6f-4d6f-8d6f-00000000000a";

    /// What opens /dev/mapper/var on sda2, as a line of the crypttab, and what is warned of.
    fn var(lines: &str, line: &str, tokens: &[&str]) -> (Result<Option<String>, String>, Vec<String>) {
        let lsblk = format!(
            r#"{{"blockdevices": [{{"name": "/dev/sda2", "kname": "/dev/sda2", "type": "part", "fstype": "crypto_LUKS",
                "uuid": "{UUID}", "children": [{{"name": "/dev/mapper/var", "kname": "/dev/dm-0", "type": "crypt"}}]}}]}}"#
        );
        let sources = StorageFacts {
            devices: Devices::parse(&lsblk).unwrap(),
            crypttab: crypttab::parse(lines),
            keys: ["/key", "/header"].map(str::to_owned).into(),
            tokens: [(
                UUID.to_owned(),
                tokens.iter().map(|&token| token.to_owned()).collect(),
            )]
            .into(),
            ..StorageFacts::default()
        };
        let setting = Setting {
            arguments: &Cmdline::parse(line),
            ..Setting::of_test()
        };
        let mut warnings = Vec::new();
        let index = sources.devices.at("/dev/mapper/var").unwrap();
        let first = opened(index, &sources, &setting, &mut warnings);
        // Asked again, as of several mounts on one volume, it says nothing new of its options.
        let said = warnings.clone();
        assert_eq!(opened(index, &sources, &setting, &mut warnings), first);
        let of_options = |warnings: &[String]| {
            warnings
                .iter()
                .filter(|text| text.starts_with("/etc/crypttab"))
                .count()
        };
        assert_eq!(of_options(&said), of_options(&warnings));
        (first.map(|volume| volume.map(|volume| volume.to_string())), said)
    }

    #[test]
    fn a_line_has_a_lasting_name_and_options_that_are_known() {
        let uuid = format!("UUID={UUID}");
        for (line, live) in [
            (
                format!("var {uuid} /key luks,discard"),
                format!("var {uuid} /key luks,discard,headless=true,nofail"),
            ),
            (
                format!("var {uuid} /key"),
                format!("var {uuid} /key headless=true,nofail"),
            ),
            (
                format!("other {uuid} /key"),
                format!("other {uuid} /key headless=true,nofail"),
            ),
            (
                "other /dev/sda2 /key".into(),
                format!("other {uuid} /key headless=true,nofail"),
            ),
            (
                "var LABEL=x /key".into(),
                "var LABEL=x /key headless=true,nofail".into(),
            ),
            (
                "var /dev/disk/by-id/x /key".into(),
                format!("var {uuid} /key headless=true,nofail"),
            ),
            (
                "var /dev/mine /key".into(),
                format!("var {uuid} /key headless=true,nofail"),
            ),
            (
                format!("var {uuid} /key:UUID=b"),
                format!("var {uuid} /key:UUID=b headless=true,nofail"),
            ),
            (
                format!("var {uuid} /key headless"),
                format!("var {uuid} /key headless,nofail"),
            ),
            (
                format!("var {uuid} /key tries=3,,keyfile-timeout=9"),
                format!("var {uuid} /key keyfile-timeout=9,headless=true,nofail"),
            ),
            (
                format!("var {uuid} /key header=/header"),
                format!("var {uuid} /key header=/header,headless=true,nofail"),
            ),
        ] {
            assert_eq!(var(&line, "", &[]), (Ok(Some(live)), vec![]), "{line}");
        }
        let other = var("other UUID=x /key", "", &[]);
        assert!(other.0.unwrap_err().contains("is opened by a passphrase only"));
    }

    #[test]
    fn what_does_not_come_along_is_told_and_what_cannot_be_done_is_refused() {
        for (options, warning) in [
            ("nosuch=1", "/etc/crypttab, line 1: the live system goes without nosuch=1 of var (it has no rule)"),
            (
                "keyfile-timeout=0",
                "/etc/crypttab, line 1: the live system goes without keyfile-timeout=0 of var (0 and infinity wait for ever)",
            ),
        ] {
            let (opened, warnings) = var(&format!("var UUID={UUID} /key {options}"), "", &[]);
            assert_eq!(opened, Ok(Some(format!("var UUID={UUID} /key headless=true,nofail"))));
            assert_eq!(warnings, [warning]);
        }
        for (line, why) in [
            (
                "/key header=/gone",
                "header=/gone of var (/etc/crypttab, line 1) is no file that is there",
            ),
            (
                "/key keyscript=/x",
                "the live system cannot do keyscript of var in /etc/crypttab, line 1 (it names",
            ),
            (
                "/gone",
                "/dev/mapper/var is opened by /gone (/etc/crypttab, line 1), which is not there",
            ),
            ("/dev/urandom", "/dev/mapper/var gets a new key at each boot"),
            (
                "/key plain,size=256",
                "the line of var in /etc/crypttab, line 1 does not say the cipher of the plain volume",
            ),
            (
                "/key\u{FFFD}",
                "the line of var in /etc/crypttab, line 1 has bytes that are no UTF-8",
            ),
        ] {
            let (opened, warnings) = var(&format!("var UUID={UUID} {line}"), "", &[]);
            let told = opened.unwrap_err();
            assert!(told.starts_with(why), "{told}");
            assert_eq!(warnings, [""; 0], "{line}");
        }
    }

    #[test]
    fn a_passphrase_alone_opens_nothing_but_a_token_or_a_key_of_the_line_does() {
        let tpm = format!("var UUID={UUID} none tpm2-device=auto");
        let plain = format!("var UUID={UUID} none");
        for (lines, line, tokens, opens) in [
            (&plain, "", &[][..], false),
            (&plain, "", &["systemd-tpm2"], false),
            (&plain, "", &["clevis"], true),
            (&tpm, "", &["systemd-tpm2"], true),
            (&tpm, "", &["systemd-tpm2", "other"], true),
            (&tpm, "", &["other"], false),
            (&tpm, "", &[], false),
            (&plain, "rd.luks.key=/key:UUID=b", &[], true),
            (&String::new(), "rd.luks.key=/key:UUID=b", &[], true),
            (&String::new(), "", &["clevis"], true),
            (&String::new(), "", &["systemd-tpm2"], false),
        ] {
            let (opened, warnings) = var(lines, line, tokens);
            assert_eq!(opened.is_ok(), opens, "{lines} {line} {tokens:?}: {opened:?}");
            let by_token = opens && line.is_empty();
            let told = format!(
                "/dev/mapper/var is opened by its token ({}), which was not tested here",
                tokens.join(", ")
            );
            assert_eq!(
                warnings,
                if by_token { vec![told] } else { vec![] },
                "{lines} {line}"
            );
        }
    }

    #[test]
    fn without_a_line_in_the_crypttab_the_kernels_line_says_the_options() {
        let upper = UUID.to_ascii_uppercase();
        for (line, options) in [
            ("rd.luks.options=discard,tries=3".to_owned(), Some("discard")),
            (
                "luks.options=discard rd.luks.options=readonly,nosuch".to_owned(),
                Some("discard,readonly"),
            ),
            (format!("rd.luks.options={UUID}=discard"), Some("discard")),
            (
                format!("rd.luks.options={upper}=keyfile-size=512"),
                Some("keyfile-size=512"),
            ),
            (
                format!("rd.luks.options={}=discard", UUID.replace('a', "b")),
                None,
            ),
            (
                "rd.luks.options=keyfile-size=512".to_owned(),
                Some("keyfile-size=512"),
            ),
            // As long as a UUID.
            (
                "rd.luks.options=readonly,no-write-workqueue,key-slot=1".to_owned(),
                Some("readonly,no-write-workqueue,key-slot=1"),
            ),
            ("rd.luks.options=tries=3".to_owned(), None),
            ("rd.luks.options".to_owned(), None),
            ("options=discard".to_owned(), None),
        ] {
            let live =
                options.map(|options| format!("var UUID={UUID} none {options},timeout=300s,tries=1,nofail"));
            assert_eq!(var("", &line, &["clevis"]).0, Ok(live), "{line}");
        }
    }
}
