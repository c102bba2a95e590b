//! The kernel arguments of the upgrade's boot entry. Pure.
use livemode_common::cmdline::{Cmdline, Word};
use livemode_common::config::Config;
use livemode_common::contract::karg;
use livemode_common::loader::script::encode;

use super::storage::Needs;
use super::words::{self, Fate};
use crate::facts::leapp::Wanted;

/// The kernel cuts a longer line silently (COMMAND_LINE_SIZE, 2048 on x86, less a loader's own words).
const LIMIT_BYTES: usize = 2000;
/// Seconds after which a panic reboots, so that it can be read.
const PANIC_S: &str = "60";

/// systemd opens a watchdog of the hardware in the initramfs already (systemd 249; kernel-command-line(7)).
const WATCHDOG: &str = "systemd.watchdog_sec";
const WATCHDOG_S: &str = "60";

/// dracut brings the network up for whoever needs it (dracut.cmdline(7)).
const NEED_NETWORK: &str = "rd.neednet";

/// Words of every upgrade.
const FIXED: [(&str, &str); 7] = [
    ("enforcing", "0"),
    ("rd.plymouth", "0"),
    ("plymouth.enable", "0"),
    // Nothing of these waits for a keyboard.
    ("rd.shell", "0"),
    (karg::EMERGENCY, "reboot"),
    ("panic", PANIC_S),
    ("systemd.firstboot", "off"),
];

/// Whether the upgrade decides what this word says, whatever others want.
pub(crate) fn is_own(word: &Word) -> bool {
    let key = word.key.as_str();
    ["livemode.", "rd.live.", "upgrade."]
        .iter()
        .any(|start| key.starts_with(start))
        || [karg::ROOT, "rw", "ro", WATCHDOG].contains(&key)
        || FIXED.iter().any(|(fixed, _)| *fixed == key)
}

/// Where the image is and what it must be.
pub(crate) struct Image<'a> {
    /// The build's name.
    pub(crate) build: &'a str,
    /// Where the store begins, of an upgrade that is all or nothing.
    pub(crate) store: Option<&'a str>,
    /// Where early boot finds GRUB's environment block.
    pub(crate) grubenv: Option<&'a str>,
    /// What early boot finds its file system by: `UUID=…`, or a path.
    pub(crate) reference: &'a str,
    pub(crate) dir: &'a str,
    pub(crate) name: &'a str,
    pub(crate) sha256: &'a str,
    pub(crate) size: u64,
    /// The directory of our records: on the image's file system, or with that of its own.
    pub(crate) state_dir: Option<&'a str>,
}

/// The whole line: ours first, then what comes along of the source's, repeats and order kept. `knows` says whether the
/// target's kernel has a module.
pub(crate) fn arguments(
    image: &Image,
    config: &Config,
    source: &Cmdline,
    storage: &Needs,
    knows: &dyn Fn(&str) -> bool,
) -> Cmdline {
    let local = image.reference;
    let url = &config.url_to_load_squashfs_image_from;
    let mut words = if url.is_empty() {
        vec![Word::pair(karg::ROOT, format!("livemode:{local}"))]
    } else {
        vec![
            Word::pair(karg::ROOT, format!("livemode:{}", encode(url))),
            Word::pair(karg::LOCAL, local),
        ]
    };
    words.extend([
        Word::pair(karg::LIVE_DIR, encode(image.dir)),
        Word::pair(karg::LIVE_IMAGE, encode(image.name)),
        Word::pair(karg::BUILD, image.build),
        Word::pair(karg::DIGEST, format!("sha256:{}", image.sha256)),
        Word::pair(karg::SIZE, image.size.to_string()),
        Word::flag("rw"),
        Word::pair(
            karg::AUTOSTART,
            if config.autostart_upgrade_after_reboot {
                "1"
            } else {
                "0"
            },
        ),
    ]);
    words.extend(
        image
            .state_dir
            .map(|dir| Word::pair(karg::STATE_DIR, encode(dir))),
    );
    words.extend(image.store.map(|place| Word::pair(karg::STORE, encode(place))));
    words.extend(
        image
            .grubenv
            .map(|place| Word::pair(karg::GRUBENV, encode(place))),
    );
    if !config.capture_strace_info_into.is_empty() {
        words.push(Word::pair(karg::STRACE, encode(&config.capture_strace_info_into)));
    }
    words.extend(FIXED.map(|(key, value)| Word::pair(key, value)));
    if config.watchdog {
        words.push(Word::pair(WATCHDOG, WATCHDOG_S));
    }
    let mut ours: Vec<String> = words.iter().map(|w| w.key.clone()).collect();
    // The source's own ip= and their like stay beside these: another interface may need them.
    let network = Cmdline::parse(&config.dracut_network).0;
    if !network.is_empty() {
        words.extend(network.into_iter().filter(|w| w.key != NEED_NETWORK));
        words.push(Word::pair(NEED_NETWORK, "1"));
        ours.push(NEED_NETWORK.to_owned());
    }
    let hindering = storage.hindered_by();
    let is_off = |word: &Word| {
        hindering.contains(&word.key.as_str()) && matches!(word.value.as_deref(), Some("0" | "no" | "off"))
    };
    let kept = words::fates(source, knows)
        .filter(|(word, fate)| {
            matches!(fate, Fate::Carried { .. })
                && !ours.contains(&word.key)
                && !is_off(word)
                && !storage.hidden_by().contains(&word.key.as_str())
        })
        .filter_map(|(word, _)| words::for_early_boot(word));
    // A UUID of the source's may be written in any case, with a prefix, or cut short.
    let says = |known: &Word, word: &Word| {
        let value = |word: &Word| {
            word.value
                .as_deref()
                .unwrap_or_default()
                .trim_start_matches("luks-")
                .to_ascii_lowercase()
        };
        known.key == word.key && !value(known).is_empty() && value(word).starts_with(&value(known))
    };
    let missing = storage
        .arguments()
        .into_iter()
        .filter(|word| !source.0.iter().any(|known| says(known, word)));
    words.extend(missing);
    words.extend(kept);
    Cmdline(words)
}

/// The plan's words, and what leapp's messages add, without what they take away. Of our own words they decide nothing. What
/// leapp's own entry has of itself gives way to a word of ours with that key.
pub(crate) fn adjusted(line: &Cmdline, wanted: &Wanted) -> Cmdline {
    let mut words = line.0.clone();
    for word in &wanted.added {
        if !is_own(word) && !words.contains(word) {
            words.push(word.clone());
        }
    }
    for word in &wanted.on_leapps_entry {
        if !is_own(word) && !words.iter().any(|known| known.key == word.key) {
            words.push(word.clone());
        }
    }
    let unwanted = |word: &Word| {
        let mut removed = wanted.removed.iter();
        removed.any(|unwanted| {
            unwanted.key == word.key && (unwanted.value.is_none() || unwanted.value == word.value)
        })
    };
    words.retain(|word| is_own(word) || !unwanted(word));
    Cmdline(words)
}

/// The sentence that tells of a line that is too long.
pub(crate) fn check_length(line: &str) -> Result<(), String> {
    match line.len() {
        length if length > LIMIT_BYTES => Err(format!(
            "the kernel command line would be {length} bytes long, over {LIMIT_BYTES}; shorten the source's"
        )),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const IMAGE: Image = Image {
        build: "0123456789abcdef",
        store: None,
        grubenv: Some("UUID=3:/grub2/grubenv"),
        reference: "UUID=1-2",
        dir: "/var/lib/leapp",
        name: "live-upgrade.img",
        sha256: "ab",
        size: 9,
        state_dir: Some("/var/lib/leapp/livemode"),
    };

    #[test]
    fn a_url_comes_with_the_local_image_and_every_word_of_the_network() {
        let config = Config {
            url_to_load_squashfs_image_from: "http://host/live.img".into(),
            dracut_network:
                "ip=10.0.0.2::10.0.0.1:24::eth0:none nameserver=10.0.0.1 rd.neednet=1 nameserver=10.0.0.3"
                    .into(),
            ..Config::default()
        };
        let line = arguments(
            &IMAGE,
            &config,
            &Cmdline::parse("root=/dev/sda1 ip=ibft rd.neednet=0"),
            &Needs::default(),
            &|_| true,
        )
        .to_string();
        assert!(
            line.starts_with(
                "root=livemode:http://host/live.img livemode.local=UUID=1-2 rd.live.dir=/var/lib/leapp "
            ),
            "{line}"
        );
        assert!(
            line.ends_with(
                " systemd.firstboot=off systemd.watchdog_sec=60 ip=10.0.0.2::10.0.0.1:24::eth0:none nameserver=10.0.0.1 nameserver=10.0.0.3 \
                 rd.neednet=1 ip=ibft"
            ),
            "{line}"
        );
    }

    #[test]
    fn ours_stand_first_and_repeats_of_the_source_survive() {
        let source = Cmdline::parse(
            "BOOT_IMAGE=(hd0,gpt2)/vmlinuz-5.14 root=/dev/mapper/cs-root ro crashkernel=1G rd.lvm.lv=cs/root rd.lvm.lv=cs/swap \
             rd.luks.uuid=a rd.luks.uuid=b console=tty0 console=ttyS0,115200 rhgb quiet init=/bin/sh systemd.unit=x panic=5",
        );
        let config = Config {
            capture_strace_info_into: "/var/log/my trace".into(),
            ..Config::default()
        };
        assert_eq!(
            arguments(&IMAGE, &config, &source, &Needs::default(), &|_| true).to_string(),
            "root=livemode:UUID=1-2 rd.live.dir=/var/lib/leapp rd.live.squashimg=live-upgrade.img \
             livemode.build=0123456789abcdef livemode.digest=sha256:ab livemode.size=9 rw upgrade.autostart=1 \
             livemode.state=/var/lib/leapp/livemode livemode.grubenv=UUID=3:/grub2/grubenv \
             upgrade.strace=/var/log/my%20trace \
             enforcing=0 rd.plymouth=0 plymouth.enable=0 rd.shell=0 rd.emergency=reboot panic=60 systemd.firstboot=off systemd.watchdog_sec=60 \
             crashkernel=1G rd.luks.uuid=a rd.luks.uuid=b console=tty0 console=ttyS0,115200"
        );
    }

    #[test]
    fn what_the_image_lies_on_is_named_once_and_not_turned_off() {
        use crate::facts::storage::devices::Devices;
        let devices = Devices::parse(
            r#"{"blockdevices": [{"name": "/dev/sda", "kname": "/dev/sda", "type": "disk", "uuid": "0a", "children": [
                {"name": "/dev/mapper/luks", "kname": "/dev/dm-0", "type": "crypt", "children": [
                {"name": "/dev/mapper/vg-lv", "kname": "/dev/dm-1", "type": "lvm"}]}]}]}"#,
        );
        let mut needs = Needs::default();
        needs.add(&devices.unwrap(), 2);
        for (source, end) in [
            ("", "rd.luks.uuid=0a rd.lvm.vg=vg"),
            (
                "rd.lvm=0 rd.luks=no rd.dm=off rd.md=0",
                "rd.luks.uuid=0a rd.lvm.vg=vg rd.md=0",
            ),
            (
                "rd.luks=1 console=0",
                "rd.luks.uuid=0a rd.lvm.vg=vg rd.luks=1 console=0",
            ),
            ("rd.luks.uuid=luks-0A", "rd.lvm.vg=vg rd.luks.uuid=luks-0A"),
            ("rd.luks.uuid=0", "rd.lvm.vg=vg rd.luks.uuid=0"),
            (
                "rd.luks.uuid= rd.lvm.vg",
                "rd.luks.uuid=0a rd.lvm.vg=vg rd.luks.uuid= rd.lvm.vg",
            ),
            (
                "rd.luks.uuid=b rd.luks.name=0a",
                "rd.luks.uuid=0a rd.lvm.vg=vg rd.luks.uuid=b rd.luks.name=0a",
            ),
        ] {
            let line = arguments(
                &IMAGE,
                &Config::default(),
                &Cmdline::parse(source),
                &needs,
                &|_| true,
            )
            .to_string();
            assert!(
                line.ends_with(&format!(" systemd.watchdog_sec=60 {end}")),
                "{line}"
            );
        }
    }

    #[test]
    fn leapps_messages_add_to_the_line_and_take_from_it_but_not_of_ours() {
        let words = |line: &str| Cmdline::parse(line).0;
        let adjusted = |line: &str, added: &str, removed: &str, on_leapps_entry: &str| {
            let wanted = Wanted {
                added: words(added),
                removed: words(removed),
                on_leapps_entry: words(on_leapps_entry),
            };
            super::adjusted(&Cmdline::parse(line), &wanted).to_string()
        };
        let line = "root=livemode:UUID=1 enforcing=0 rd.luks.uuid=a resume=UUID=2 ip=eth0:dhcp console=tty0 console=ttyS0";
        for (added, removed, on_leapps_entry, expected) in [
            ("", "", "", line),
            // What real actors take away: checkresumekernelarg, checkluks.
            (
                "",
                "resume=UUID=2 rd.luks.uuid=a rd.luks.uuid=b",
                "",
                "root=livemode:UUID=1 enforcing=0 ip=eth0:dhcp console=tty0 console=ttyS0",
            ),
            ("", "resume=UUID=3", "", line),
            (
                "",
                "console",
                "",
                "root=livemode:UUID=1 enforcing=0 rd.luks.uuid=a resume=UUID=2 ip=eth0:dhcp",
            ),
            // Ours are ours.
            (
                "root=live:x enforcing=1",
                "root enforcing=0",
                "rd.live.dir=/x rw",
                line,
            ),
            // A second value, once; and removing wins, as leapp has it.
            ("console=ttyS0 quick", "quick", "", line),
        ] {
            assert_eq!(adjusted(line, added, removed, on_leapps_entry), expected);
        }
        assert_eq!(
            adjusted("root=livemode:UUID=1 net=a", "net=b", "", "debug ip=dhcp"),
            "root=livemode:UUID=1 net=a net=b debug ip=dhcp"
        );
        assert_eq!(
            adjusted("ip=eth0:dhcp", "", "", "ip=dhcp rd.neednet=1"),
            "ip=eth0:dhcp rd.neednet=1"
        );
    }

    #[test]
    fn a_line_is_refused_from_the_byte_after_the_limit_on() {
        assert_eq!(check_length(&"x".repeat(LIMIT_BYTES)), Ok(()));
        let refusal = check_length(&"x".repeat(LIMIT_BYTES + 1)).unwrap_err();
        assert!(refusal.contains("2001 bytes long, over 2000"), "{refusal}");
    }
}
