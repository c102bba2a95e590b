//! What makes the live system's network that of the source: NetworkManager's profiles and what they name. Profiles in
//! ifcfg files become keyfiles where the target's NetworkManager no longer reads them. Pure.
use super::findings::Findings;
use super::items::{Content, Item, SECRET};
use crate::facts::files::names::{NM_MAIN, SYSCONFIG};
use crate::facts::files::{Files, CONNECTIONS, NM_CONF, RESOLVED, RESOLV_CONF, SCRIPTS};
use crate::facts::nics::Nic;
use ifcfg::aliases::{is_range, parent_of};
use ifcfg::place::place;
use ifcfg::{device_of, global_gateway, Profile};

mod for_all;
mod ifcfg;
pub(crate) mod names;

const OF_TEAM: &str =
    "a team needs the package NetworkManager-team in the image, which el10 no longer has; add it to \
                       additional_packages, or make a bond of the team";

/// What lies beside an `ifcfg-NAME` as `PREFIX-NAME`, and may hold secrets.
const BESIDE_IFCFG: [&str; 6] = ["ifcfg-", "route-", "route6-", "rule-", "rule6-", "keys-"];

/// The files that go along.
pub(crate) fn items(files: &Files, reads_ifcfg: bool, findings: &mut Findings) -> Vec<Item> {
    let mut items: Vec<Item> = [CONNECTIONS, NM_CONF]
        .iter()
        .flat_map(|dir| files.below(dir))
        .filter_map(|path| of_source(files, path))
        .collect();
    items.extend(for_all::main_file(files));
    for_all::static_routes(files, findings);
    items.extend(of_scripts(files, reads_ifcfg, findings));
    items.extend(named_files(files, findings));
    items.extend(resolv_conf(files));
    for path in files
        .below(NM_CONF)
        .chain([NM_MAIN])
        .filter(|path| leaves_alone(files.text(path).unwrap_or_default()))
    {
        findings.warn(format!(
            "{path}: interfaces that NetworkManager leaves alone stay down in the live system, for nothing else is there that \
             would bring them up"
        ));
    }
    let keyfiles = files.below(CONNECTIONS).filter_map(|path| files.text(path));
    if keyfiles
        .flat_map(str::lines)
        .any(|line| line.replace(' ', "") == "type=team")
    {
        findings.warn(OF_TEAM);
    }
    items
}

/// Profiles in ifcfg files: as they are, where the target's NetworkManager reads them and has the same of them.
fn of_scripts(files: &Files, reads_ifcfg: bool, findings: &mut Findings) -> Vec<Item> {
    let scripts: Vec<&str> = files
        .below(SCRIPTS)
        .filter(|path| is_script(name_of(path)))
        .collect();
    let names: Vec<&str> = scripts
        .iter()
        .filter_map(|path| name_of(path).strip_prefix("ifcfg-"))
        .collect();
    let (more, names): (Vec<&str>, Vec<&str>) = names.iter().partition(|name| parent(files, name).is_some());
    let profiles: Vec<Profile> = names.iter().map(|name| profile(files, name, &more)).collect();
    let global = files.text(SYSCONFIG).unwrap_or_default();
    let mut items = Vec::new();
    let mut takes_global_gateway = false;
    for profile in &profiles {
        if profile.is_unmanaged() {
            const WHY: &str =
                "NM_CONTROLLED=no: in the live system NetworkManager brings it up, for nothing else is there that would";
            findings.warn(format!("{}: {WHY}", place(files, profile.name, WHY)));
        }
        if profile.is_team() {
            findings.warn(OF_TEAM);
        }
        // NetworkManager adds what lies beside the profile under its name and a colon, and knows no ranges.
        let is_beside = |name: &str| !is_range(name) && name.starts_with(&format!("{}:", profile.name));
        let are_read = profile.aliases.iter().all(|(name, _)| is_beside(name));
        if reads_ifcfg && !profile.is_unmanaged() && are_read {
            let own = |file: &str| {
                let beside = BESIDE_IFCFG.iter().find_map(|prefix| file.strip_prefix(prefix));
                beside.is_some_and(|name| {
                    name == profile.name || profile.aliases.iter().any(|(alias, _)| *alias == name)
                })
            };
            let own = scripts.iter().filter(|path| own(name_of(path)));
            items.extend(own.filter_map(|path| of_source(files, path)));
            continue;
        }
        let converted = ifcfg::to_keyfile(profile);
        takes_global_gateway |= converted.takes_global_gateway;
        for lost in converted.lost {
            findings.warn(format!("{}: {lost}", place(files, profile.name, &lost)));
        }
        items.push(keyfile(profile.name, converted.keyfile));
    }
    for name in more {
        if !profiles
            .iter()
            .any(|profile| profile.aliases.iter().any(|(alias, _)| *alias == name))
        {
            findings.warn(format!(
                "{SCRIPTS}/ifcfg-{name}: no profile is for its interface, so its addresses do not come along"
            ));
        }
    }
    let is_converted = items.iter().any(|item| item.path().starts_with(CONNECTIONS));
    if let (false, true, Some(gateway)) = (
        takes_global_gateway,
        is_converted && !reads_ifcfg,
        global_gateway(global),
    ) {
        findings.warn(format!(
            "{SYSCONFIG}: GATEWAY={gateway} lies in no network of a profile with an address of its own, so none has it"
        ));
    }
    if reads_ifcfg && !items.is_empty() {
        items.extend(of_source(files, SYSCONFIG));
    }
    items
}

/// A file of the source at the same path, with its own mode, where it is there.
pub(super) fn of_source(files: &Files, path: &str) -> Option<Item> {
    Some(copied(path, files.get(path)?.mode))
}

/// A file of the source at the same path; secret where others may not read it.
pub(super) fn copied(path: &str, mode: u32) -> Item {
    Item::File {
        path: path.to_owned(),
        content: Content::OfSource(path.to_owned()),
        mode,
        is_secret: mode & 0o004 == 0,
    }
}

/// Whether a file of NetworkManager.conf(5) keeps it from some interfaces.
fn leaves_alone(text: &str) -> bool {
    let values = text.lines().filter_map(|line| line.trim().split_once('='));
    values
        .map(|(key, value)| (key.trim().trim_end_matches('+'), value.trim()))
        .any(|(key, value)| match key {
            "unmanaged-devices" => !value.is_empty() && value != "none",
            "managed" => ["0", "no", "false", "off"].contains(&value),
            _ => false,
        })
}

fn name_of(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

fn is_script(name: &str) -> bool {
    BESIDE_IFCFG.iter().any(|prefix| name.starts_with(prefix)) && name != "ifcfg-lo"
}

/// The interface that a file only adds addresses to, by its name or by the interface that it names.
fn parent(files: &Files, name: &str) -> Option<String> {
    let text = files.text(&format!("{SCRIPTS}/ifcfg-{name}")).unwrap_or_default();
    let device = device_of(text);
    let parent = device
        .as_deref()
        .filter(|device| device.contains(':'))
        .and_then(parent_of);
    parent.or(parent_of(name)).map(str::to_owned)
}

fn profile<'a>(files: &'a Files, name: &'a str, more: &[&'a str]) -> Profile<'a> {
    let text = |prefix: &str| {
        files
            .text(&format!("{SCRIPTS}/{prefix}-{name}"))
            .unwrap_or_default()
    };
    let mut profile = Profile {
        name,
        ifcfg: text("ifcfg"),
        keys: text("keys"),
        route: text("route"),
        route6: text("route6"),
        rule: text("rule"),
        rule6: text("rule6"),
        aliases: Vec::new(),
        global: files.text(SYSCONFIG).unwrap_or_default(),
    };
    let device = profile.device();
    let own = more
        .iter()
        .filter(|alias| parent(files, alias).as_deref() == Some(device.as_str()));
    profile.aliases = own
        .map(|alias| {
            (
                *alias,
                files
                    .text(&format!("{SCRIPTS}/ifcfg-{alias}"))
                    .unwrap_or_default(),
            )
        })
        .collect();
    profile
}

/// The cards that ifcfg files name by their addresses.
pub(super) fn named_by_address(files: &Files) -> Vec<Nic> {
    let profiles = files
        .below(SCRIPTS)
        .filter(|path| name_of(path).starts_with("ifcfg-"));
    let named = profiles.filter_map(|path| ifcfg::named_card(files.text(path)?));
    named
        .map(|(name, address)| Nic {
            name,
            address: Some(address),
            driver: None,
        })
        .collect()
}

fn keyfile(name: &str, text: String) -> Item {
    Item::File {
        path: format!("{CONNECTIONS}/{name}.nmconnection"),
        content: Content::Text(text.into_bytes()),
        mode: SECRET,
        is_secret: true,
    }
}

/// Certificates and keys that a profile gives as a value.
fn named_files(files: &Files, findings: &mut Findings) -> Vec<Item> {
    let mut items: Vec<Item> = Vec::new();
    for (profile, key, path) in files.named_by_profiles() {
        let is_certificate =
            key.starts_with("IEEE_8021X_") && (key.ends_with("_CERT") || key.ends_with("_PRIVATE_KEY"));
        match of_source(files, &path) {
            Some(item) if !items.contains(&item) => items.push(item),
            Some(_) => {}
            None if is_certificate => {
                findings.warn(format!("{profile}: {key} names {path}, which is not there"))
            }
            None => {}
        }
    }
    items
}

/// The resolver's file, or the one of systemd-resolved where it only leads to that.
fn resolv_conf(files: &Files) -> Option<Item> {
    let path = [RESOLV_CONF, RESOLVED].into_iter().find(|path| {
        files
            .text(path)
            .is_some_and(|text| *path == RESOLVED || !only_asks_itself(text))
    })?;
    Some(Item::File {
        path: RESOLV_CONF.into(),
        content: Content::OfSource(path.to_owned()),
        mode: 0o644,
        is_secret: false,
    })
}

/// Of no use without the resolver behind it.
fn only_asks_itself(resolv_conf: &str) -> bool {
    let servers = resolv_conf
        .lines()
        .filter_map(|line| line.trim().strip_prefix("nameserver"));
    let mut servers = servers.map(str::trim).peekable();
    servers.peek().is_some() && servers.all(|server| server.starts_with("127."))
}

#[cfg(test)]
mod tests;
