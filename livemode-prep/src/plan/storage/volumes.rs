//! What opens the source's encrypted volumes in the live system. Pure.
use super::options::{self, Rule};
use super::Setting;
use crate::facts::storage::crypttab::{Key, Volume};
use crate::facts::storage::{devices, StorageFacts};

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
    let volume = volume.as_ref();
    match volume.map(Volume::key) {
        Some(Key::File(file)) if sources.keys.contains(file) => Ok(volume.cloned()),
        Some(Key::File(file)) => Err(format!(
            "{path} is opened by {file} (/etc/crypttab), which is not there"
        )),
        Some(Key::Elsewhere) => Ok(volume.cloned()),
        Some(Key::Random) => Err(format!("{path} gets a new key at each boot")),
        Some(Key::Passphrase) | None => {
            let tokens = sources.tokens.get(uuid).map(Vec::as_slice).unwrap_or_default();
            let has = |kind: &str| tokens.iter().any(|token| token == kind);
            if has("clevis") || (has("systemd-tpm2") && volume.is_some_and(|v| v.has("tpm2-device"))) {
                warnings.push(format!(
                    "{path} is opened by its token ({}), which was not tested here",
                    tokens.join(", ")
                ));
                return Ok(volume.cloned());
            }
            if setting.arguments.last("rd.luks.key").is_some() {
                return Ok(volume.cloned());
            }
            Err(format!(
                "{path} (LUKS {uuid}) is opened by a passphrase only, for which the live system would wait at a keyboard; add \
                 a key file to /etc/crypttab (cryptsetup luksAddKey), or bind it to the TPM (systemd-cryptenroll) or to \
                 clevis"
            ))
        }
    }
}

/// A volume of the crypttab as the live system has it: by a name that its udev gives, with the options that are known
/// there ([`options::VOLUME`]).
fn live(
    volume: &Volume,
    device: Option<usize>,
    sources: &StorageFacts,
    warnings: &mut Vec<String>,
) -> Result<Volume, String> {
    let name = &volume.name;
    if volume.to_string().contains(char::REPLACEMENT_CHARACTER) {
        return Err(format!(
            "the line of {name} in /etc/crypttab has bytes that are no UTF-8, which systemd does not read; mend it"
        ));
    }
    let mut kept = Vec::new();
    for option in volume.options.split(',').filter(|option| !option.is_empty()) {
        let value = options::value(option);
        let (rule, reason) = options::rule(options::VOLUME, option).unwrap_or((Rule::Drop, "it has no rule"));
        match rule {
            Rule::Carry => kept.push(option),
            Rule::Leave => {}
            Rule::Bound if options::is_short(value) => kept.push(option),
            Rule::File if sources.keys.contains(value) => kept.push(option),
            Rule::File => {
                return Err(format!(
                    "{option} of {name} (/etc/crypttab) is no file that is there"
                ));
            }
            Rule::Refuse => {
                return Err(format!(
                    "the live system cannot do {} of {name} in /etc/crypttab ({reason})",
                    options::name(option)
                ));
            }
            Rule::Bound | Rule::Drop | Rule::Reroot | Rule::Unit => {
                let text =
                    format!("/etc/crypttab: the live system goes without {option} of {name} ({reason})");
                if !warnings.contains(&text) {
                    warnings.push(text);
                }
            }
        }
    }
    // Nobody is asked for a passphrase (crypttab(5), systemd 249 and later).
    if !volume.has("headless") {
        kept.push("headless=true");
    }
    let spec = &volume.device;
    let is_lasting = device.is_none_or(|device| {
        spec.contains('=') || devices::is_udevs(spec) || sources.devices.is_kernel_name(spec, device)
    });
    Ok(Volume {
        device: if is_lasting {
            spec.clone()
        } else {
            device
                .and_then(|device| sources.lasting_name(device))
                .ok_or_else(|| format!("{spec} of {name} (/etc/crypttab) is a name of the source system's udev rules; name it by another"))?
        },
        options: kept.join(","),
        ..volume.clone()
    })
}

/// What the kernel's line says of a volume that the crypttab does not have (systemd-cryptsetup-generator(8)).
fn of_the_line(name: &str, uuid: &str, setting: &Setting) -> Option<Volume> {
    let words = setting.arguments.0.iter();
    let options: Vec<&str> = words
        .filter(|word| word.key == "rd.luks.options" || word.key == "luks.options")
        .filter_map(|word| {
            let value = word.value.as_deref()?;
            // UUID=OPTIONS, or OPTIONS for all.
            match value.split_once('=') {
                Some((of, options)) if of.len() == 36 && !of.contains(',') => {
                    of.eq_ignore_ascii_case(uuid).then_some(options)
                }
                _ => Some(value),
            }
        })
        .collect();
    let kept = options
        .iter()
        .flat_map(|options| options.split(','))
        .filter(|option| options::rule(options::VOLUME, option).is_some_and(|(rule, _)| rule == Rule::Carry));
    let mut options = kept.collect::<Vec<_>>().join(",");
    if !options.is_empty() {
        options.push_str(",headless=true");
    }
    (!uuid.is_empty() && !options.is_empty()).then(|| Volume {
        name: name.to_owned(),
        device: format!("UUID={uuid}"),
        key: "none".into(),
        options,
    })
}
