//! What keeps names as they are now: of interfaces, by `.link` files and udev's rules; of machines, by the files that the
//! resolver reads. Pure.
use super::{copied, of_source};
use crate::facts::files::names::{ADJTIME, HOSTS, LINKS, LOCALTIME, NSSWITCH, RULES};
use crate::facts::files::Files;
use crate::facts::nics::Nic;
use crate::plan::findings::Findings;
use crate::plan::items::Item;

/// Modules of nsswitch.conf(5) that a name of a machine may come from and that are files, DNS, or the machine itself.
const PLAIN_SERVICES: [&str; 6] = ["files", "dns", "myhostname", "mymachines", "resolve", "altfiles"];

/// What names the interfaces as they are now, in the live system and in early boot with a network.
pub(crate) fn of_interfaces(files: &Files, nics: &[Nic], findings: &mut Findings) -> Vec<Item> {
    let mut items: Vec<Item> = files.below(LINKS).filter_map(|path| link(files, path)).collect();
    for path in files.below(RULES) {
        items.extend(rules(files, path, findings));
    }
    let links: Vec<String> = files
        .below(LINKS)
        .filter_map(|path| files.text(path))
        .map(str::to_ascii_lowercase)
        .collect();
    let kernel_named: Vec<&str> = nics
        .iter()
        .map(|nic| nic.name.as_str())
        .filter(|name| is_of_kernel(name))
        .collect();
    if kernel_named.len() > 1 {
        findings.warn(format!(
            "{} have names that the kernel gives in the order in which it finds them; a new kernel may find them in another \
             one, and names that are taken cannot be given: rename them (systemd.link(5)) if addresses depend on them",
            kernel_named.join(" and ")
        ));
    }
    let by_profiles = super::named_by_address(files);
    let by_profiles = by_profiles.iter().filter(|nic| {
        !nics
            .iter()
            .any(|known| known.address == nic.address || known.name == nic.name)
    });
    for nic in nics.iter().chain(by_profiles) {
        let Some(address) = &nic.address else {
            findings.warn(format!(
                "{}: its permanent address is not known, so its name is not pinned",
                nic.name
            ));
            continue;
        };
        // An admin's own file names it already, and may say more.
        if links.iter().any(|text| text.contains(address.as_str())) {
            continue;
        }
        let is_shared = nics
            .iter()
            .any(|other| other.name != nic.name && other.address.as_ref() == Some(address));
        items.push(pin(nic, address, is_shared));
    }
    items
}

/// After an admin's files and before those of packages: the first that matches counts (systemd.link(5)).
fn pin(nic: &Nic, address: &str, is_shared: bool) -> Item {
    // A VLAN or bridge on top has the same address, but another type. Two cards may be one to the world (Hyper-V's
    // virtual functions): then the driver tells them apart.
    let driver = nic.driver.iter().filter(|_| is_shared);
    let driver: String = driver.map(|driver| format!("Driver={driver}\n")).collect();
    let name = &nic.name;
    let text = format!(
        "# The name that the source system has for it.\n[Match]\nMACAddress={address}\nType=ether\n{driver}[Link]\nName={name}\n"
    );
    Item::file(&format!("{LINKS}/71-livemode-{name}.link"), text, 0o644)
}

/// An empty file turns off the package's of the same name, as a link to /dev/null does.
fn link(files: &Files, path: &str) -> Option<Item> {
    match files.text(path) {
        Some("") => Some(Item::file(path, "", 0o644)),
        _ => of_source(files, path),
    }
}

/// Of an admin's rules only those that name interfaces: others may run what is not there.
fn rules(files: &Files, path: &str, findings: &mut Findings) -> Option<Item> {
    let text = files.text(path)?;
    if text.is_empty() {
        return Some(Item::file(path, "", 0o644));
    }
    let joined = text.replace("\\\n", " ");
    let mut kept = String::new();
    for line in joined.lines().map(str::trim) {
        let plain: String = line.chars().filter(|c| !c.is_whitespace()).collect();
        // Nothing but interfaces has a NAME since systemd 182.
        let names = ["NAME=\"", "NAME:=\""]
            .iter()
            .any(|assignment| plain.starts_with(assignment) || plain.contains(&format!(",{assignment}")));
        // Read by NetworkManager (its own 85-nm-unmanaged.rules sets it too).
        let unmanaged = plain.contains("ENV{NM_UNMANAGED}");
        if unmanaged {
            findings.warn(format!(
                "{path}: interfaces that NetworkManager leaves alone stay down in the live system, for nothing else is there that \
                 would bring them up"
            ));
        }
        if plain.starts_with('#') || !(names || unmanaged) {
            continue;
        }
        if ["PROGRAM", "RUN", "IMPORT{program}"]
            .iter()
            .any(|word| plain.contains(word))
        {
            findings.warn(format!(
                "{path}: a rule that names interfaces runs a program, and does not come along: {line}"
            ));
            continue;
        }
        kept.push_str(&format!("{line}\n"));
    }
    (!kept.is_empty()).then(|| Item::file(path, format!("# Of the source system's.\n{kept}"), 0o644))
}

/// ethN without a rule.
fn is_of_kernel(name: &str) -> bool {
    name.strip_prefix("eth")
        .is_some_and(|number| !number.is_empty() && number.bytes().all(|c| c.is_ascii_digit()))
}

/// What the resolver reads beside resolv.conf. Not nsswitch.conf: it names modules that the container may lack, and the
/// container's own asks files before DNS, as el's does.
pub(crate) fn of_machines(files: &Files, findings: &mut Findings) -> Vec<Item> {
    let services = files.text(NSSWITCH).and_then(|text| {
        let lines = text
            .lines()
            .map(|line| line.split('#').next().unwrap_or_default().trim());
        lines.filter_map(|line| line.strip_prefix("hosts:")).next_back()
    });
    for service in services.unwrap_or_default().split_whitespace() {
        let is_action = service.starts_with('[') || service.ends_with(']') || service.contains('=');
        if !is_action && !PLAIN_SERVICES.contains(&service) {
            findings.warn(format!(
                "{NSSWITCH} asks {service} for hosts, which the live system does not: put servers that only {service} knows \
                 into /etc/hosts"
            ));
        }
    }
    HOSTS.iter().filter_map(|path| of_source(files, path)).collect()
}

/// A hardware clock in local time, and the zone that this means (adjtime_config(5)).
pub(crate) fn of_clock(files: &Files) -> Vec<Item> {
    let is_local = files
        .text(ADJTIME)
        .is_some_and(|text| text.lines().nth(2).is_some_and(|line| line.trim() == "LOCAL"));
    let paths = [ADJTIME, LOCALTIME].iter().filter(|_| is_local);
    paths
        .filter_map(|path| files.get(path).map(|file| copied(path, file.mode)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::items::Content;

    fn nic(name: &str, address: Option<&str>, driver: &str) -> Nic {
        Nic {
            name: name.into(),
            address: address.map(str::to_owned),
            driver: Some(driver.into()),
        }
    }

    fn texts(items: Vec<Item>) -> Vec<(String, String)> {
        let one = |item: Item| match item {
            Item::File {
                path,
                content: Content::Text(text),
                ..
            } => (path, String::from_utf8(text).unwrap()),
            Item::File { path, content, .. } => (path, content.to_string()),
            other => (other.path(), other.to_string()),
        };
        items.into_iter().map(one).collect()
    }

    fn named(files: &[(&str, &str)], nics: &[Nic]) -> (Vec<(String, String)>, Vec<String>) {
        let mut findings = Findings::default();
        let items = of_interfaces(&Files::of(files), nics, &mut findings);
        (texts(items), findings.warnings)
    }

    #[test]
    fn an_admins_files_and_rules_go_along_and_pin_what_they_name() {
        let (items, warnings) = named(
            &[
                (
                    "/etc/systemd/network/10-lan0.link",
                    "[Match]\nMACAddress=52:54:00:00:00:AA\n[Link]\nName=lan0\n",
                ),
                ("/etc/systemd/network/99-default.link", ""),
                (
                    "/etc/udev/rules.d/70-persistent-net.rules",
                    "# PCI device\nSUBSYSTEM==\"net\", ACTION==\"add\", \\\n  ATTR{address}==\"52:54:00:00:00:11\", NAME=\"san0\"\n\
                     SUBSYSTEM==\"net\", NAME=\"$result\", PROGRAM=\"/lib/udev/rename_device\"\n\
                     SUBSYSTEM==\"net\", ACTION==\"add\", RUN+=\"/usr/local/bin/tune\"\nKERNEL==\"sdb\", SYMLINK+=\"mydisk\"\n",
                ),
                ("/etc/udev/rules.d/80-net-setup-link.rules", ""),
                ("/etc/udev/rules.d/90-old.rules", "KERNEL==\"eth*\", NAME==\"\", NAME := \"lan1\"\n"),
                ("/etc/udev/rules.d/99-disk.rules", "KERNEL==\"sdb\", SYMLINK+=\"mydisk\"\n"),
            ],
            &[nic("lan0", Some("52:54:00:00:00:aa"), "e1000"), nic("san0", Some("52:54:00:00:00:11"), "e1000")],
        );
        let expected = [
            ("/etc/systemd/network/10-lan0.link", "the source's /etc/systemd/network/10-lan0.link"),
            ("/etc/systemd/network/99-default.link", ""),
            (
                "/etc/udev/rules.d/70-persistent-net.rules",
                "# Of the source system's.\nSUBSYSTEM==\"net\", ACTION==\"add\",    ATTR{address}==\"52:54:00:00:00:11\", NAME=\"san0\"\n",
            ),
            ("/etc/udev/rules.d/80-net-setup-link.rules", ""),
            (
                "/etc/udev/rules.d/90-old.rules",
                "# Of the source system's.\nKERNEL==\"eth*\", NAME==\"\", NAME := \"lan1\"\n",
            ),
            (
                "/etc/systemd/network/71-livemode-san0.link",
                "# The name that the source system has for it.\n[Match]\nMACAddress=52:54:00:00:00:11\nType=ether\n[Link]\nName=san0\n",
            ),
        ];
        assert_eq!(
            items,
            expected.map(|(path, text)| (path.to_owned(), text.to_owned()))
        );
        assert_eq!(warnings.len(), 1, "{warnings:?}");
        assert!(warnings[0]
            .contains("runs a program, and does not come along: SUBSYSTEM==\"net\", NAME=\"$result\""));
    }

    #[test]
    fn a_rule_that_keeps_networkmanager_away_goes_along_and_is_told() {
        let rule = "SUBSYSTEM==\"net\", ENV{NM_UNMANAGED}=\"1\"\n";
        let (items, warnings) = named(&[("/etc/udev/rules.d/90-own.rules", rule)], &[]);
        let kept = format!("# Of the source system's.\n{rule}");
        assert_eq!(items, [("/etc/udev/rules.d/90-own.rules".to_owned(), kept)]);
        assert_eq!(warnings.len(), 1, "{warnings:?}");
        assert!(
            warnings[0].contains("stay down in the live system"),
            "{warnings:?}"
        );
    }

    #[test]
    fn two_cards_with_one_address_are_told_apart_by_their_drivers() {
        let mac = Some("00:0d:3a:00:00:01");
        let (items, warnings) = named(
            &[],
            &[nic("eth0", mac, "hv_netvsc"), nic("enP1s1", mac, "mlx5_core")],
        );
        assert_eq!(warnings, Vec::<String>::new());
        assert!(
            items[0].1.contains("Driver=hv_netvsc\n[Link]\nName=eth0\n"),
            "{items:?}"
        );
        assert!(
            items[1].1.contains("Driver=mlx5_core\n[Link]\nName=enP1s1\n"),
            "{items:?}"
        );
    }

    /// initscripts' rename_device goes by HWADDR; the target may not have it.
    #[test]
    fn a_profile_with_address_and_name_pins_the_card_unless_it_is_known() {
        let profile = "DEVICE=lan0\nHWADDR=\"52:54:00:00:00:0A\"\n";
        let files = [
            ("/etc/sysconfig/network-scripts/ifcfg-lan0", profile),
            (
                "/etc/sysconfig/network-scripts/ifcfg-br0",
                "DEVICE=br0\nTYPE=Bridge\nHWADDR=52:54:00:00:00:0B\n",
            ),
            (
                "/etc/sysconfig/network-scripts/ifcfg-x",
                "HWADDR=52:54:00:00:00:0C\n",
            ),
        ];
        let (items, _) = named(&files, &[]);
        assert_eq!(items.len(), 1, "{items:?}");
        assert!(
            items[0]
                .1
                .contains("MACAddress=52:54:00:00:00:0a\nType=ether\n[Link]\nName=lan0\n"),
            "{items:?}"
        );
        let (items, _) = named(&files, &[nic("other0", Some("52:54:00:00:00:0a"), "x")]);
        assert!(
            items.len() == 1 && items[0].0.ends_with("71-livemode-other0.link"),
            "{items:?}"
        );
        // The card that has the name now keeps it.
        let (items, _) = named(&files, &[nic("lan0", Some("52:54:00:00:00:ff"), "x")]);
        assert!(
            items.len() == 1 && items[0].1.contains("MACAddress=52:54:00:00:00:ff\n"),
            "{items:?}"
        );
        let (items, _) = named(&files, &[nic("lan1", Some("52:54:00:00:00:ff"), "x")]);
        assert_eq!(items.len(), 2, "{items:?}");
    }

    #[test]
    fn what_cannot_be_pinned_is_told() {
        let (items, warnings) = named(&[], &[nic("lan0", None, "x")]);
        assert!(items.is_empty());
        assert_eq!(
            warnings,
            ["lan0: its permanent address is not known, so its name is not pinned"]
        );
        let (items, warnings) = named(
            &[],
            &[
                nic("eth0", Some("52:54:00:00:00:01"), "x"),
                nic("eth1", Some("52:54:00:00:00:02"), "x"),
                nic("ethernet", Some("52:54:00:00:00:03"), "x"),
            ],
        );
        assert_eq!(items.len(), 3);
        assert!(
            warnings[0].starts_with("eth0 and eth1 have names that the kernel gives"),
            "{warnings:?}"
        );
    }

    #[test]
    fn hosts_go_along_and_services_that_the_live_system_does_not_ask_are_told() {
        let mut findings = Findings::default();
        let files = Files::of(&[
            ("/etc/hosts", "192.0.2.77 filer01\n"),
            ("/etc/host.conf", "multi on\n"),
            (
                "/etc/nsswitch.conf",
                "passwd: sss files\nhosts: files sss [NOTFOUND=return] [ UNAVAIL=return ] dns myhostname # x\n",
            ),
        ]);
        let paths: Vec<String> = of_machines(&files, &mut findings)
            .iter()
            .map(Item::path)
            .collect();
        assert_eq!(paths, ["/etc/hosts", "/etc/host.conf"]);
        assert_eq!(
            findings.warnings,
            ["/etc/nsswitch.conf asks sss for hosts, which the live system does not: put servers that only sss knows into \
              /etc/hosts"]
        );
    }

    #[test]
    fn a_clock_in_local_time_goes_along() {
        let paths = |adjtime: &str| -> Vec<String> {
            let files = Files::of(&[("/etc/adjtime", adjtime), ("/etc/localtime", "TZif")]);
            of_clock(&files).iter().map(Item::path).collect()
        };
        assert_eq!(paths("0.0 0 0.0\n0\nLOCAL\n"), ["/etc/adjtime", "/etc/localtime"]);
        assert!(paths("0.0 0 0.0\n0\nUTC\n").is_empty());
    }
}
