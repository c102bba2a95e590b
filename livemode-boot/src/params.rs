//! What the kernel command line asks of us.
use std::path::{Component, Path, PathBuf};

use livemode_common::cmdline::Cmdline;
use livemode_common::contract::karg;
use livemode_common::image_ref::ImageRef;
use livemode_common::loader::script::decode;
use serde::Serialize;

/// The wait for the device ends before dracut's own limit for the initqueue (rd.retry=, 180 s), after which it would ask for a shell;
/// after two thirds of it (120 s) dracut starts degraded arrays, which still may bring the device.
const DEFAULT_TIMEOUT_S: u64 = 150;
const DEFAULT_COUNTDOWN_S: u64 = 30;
/// Long enough for a gigabyte at 10 Mbit/s, or a server that restarts; after that the local image serves.
const DEFAULT_FETCH_TIMEOUT_S: u64 = 900;
/// Limit of the overlay: half of the memory (a percentage, as tmpfs(5) reads it). The rest stays for dnf and leapp.
const DEFAULT_OVERLAY_SIZE: &str = "50%";
/// What upstream and dmsquash-live take without rd.live.dir= and rd.live.squashimg=.
const DEFAULT_DIR: &str = "LiveOS";
const DEFAULT_IMAGE: &str = "squashfs.img";

/// Whether the image is hashed before it is used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Check {
    /// It is, and must have this SHA-256, in hex.
    Sha256(String),
    /// It is not; this is the warning that is shown.
    Off(&'static str),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BootParams {
    pub(crate) image: ImageRef,
    /// Where the image lies if `image` is a URL and cannot be had.
    pub(crate) local: Option<ImageRef>,
    /// The image, below the device's root; without a leading slash.
    pub(crate) path: PathBuf,
    pub(crate) check: Check,
    pub(crate) size_bytes: Option<u64>,
    pub(crate) timeout_s: u64,
    pub(crate) fetch_timeout_s: u64,
    pub(crate) proxy: Option<String>,
    pub(crate) any_certificate: bool,
    pub(crate) overlay_size: String,
    /// Where the records are, below the device's root.
    pub(crate) state_dir: Option<PathBuf>,
    /// The device that they lie on, where that is not the image's.
    pub(crate) state_on: Option<ImageRef>,
    /// The build that the entry is of.
    pub(crate) build: Option<String>,
    pub(crate) grubenv: Option<Located>,
    pub(crate) store: Option<StoreAt>,
}

/// Where a store begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StoreAt {
    pub(crate) on: ImageRef,
    /// Bytes from the beginning of that device.
    pub(crate) at: u64,
}

impl StoreAt {
    /// `UUID=…@BYTE`.
    fn parse(text: &str) -> Option<Self> {
        let (on, at) = text.rsplit_once('@')?;
        Some(Self {
            on: ImageRef::parse(on).filter(|on| on.device().is_some())?,
            at: at.parse().ok()?,
        })
    }
}

/// A file on a file system of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Located {
    pub(crate) on: ImageRef,
    /// Below that file system's root; without a leading slash.
    pub(crate) path: PathBuf,
}

impl Located {
    /// `UUID=…:/path`.
    fn parse(text: &str) -> Option<Self> {
        let (on, path) = text.rsplit_once(":/")?;
        Some(Self {
            on: ImageRef::parse(on).filter(|on| on.device().is_some())?,
            path: below(Path::new(path))?,
        })
    }
}

impl BootParams {
    pub(crate) fn parse(line: &str) -> Result<Self, String> {
        let line = Cmdline::parse(line);
        let root = line.last(karg::ROOT).ok_or("the command line has no root=")?;
        let (reference, ours) = match (root.strip_prefix("livemode:"), root.strip_prefix("live:")) {
            (Some(reference), _) => (reference, true),
            (_, Some(reference)) => (reference, false),
            _ => return Err(format!("root={root} is neither livemode:… nor live:…")),
        };
        // Ours are encoded; those of upstream's entries stand as they are.
        let read = |text: &str| if ours { decode(text) } else { text.to_owned() };
        let image = ImageRef::parse(&read(reference)).ok_or_else(|| {
            format!("root={root}: expected UUID=…, LABEL=…, /dev/… or a URL after the scheme")
        })?;
        let dir = read(line.last(karg::LIVE_DIR).unwrap_or(DEFAULT_DIR));
        let name = read(line.last(karg::LIVE_IMAGE).unwrap_or(DEFAULT_IMAGE));
        let path = below(&Path::new(&dir).join(&name)).filter(|_| !name.contains('/'));
        let path = path.ok_or_else(|| {
            let (dir_key, name_key) = (karg::LIVE_DIR, karg::LIVE_IMAGE);
            format!("{dir_key}={dir} {name_key}={name} is no path of a file")
        })?;
        let state = line.last(karg::STATE_DIR).map(|place| {
            let place = read(place);
            let located = Located::parse(&place).map(|located| (Some(located.on), located.path));
            located
                .or_else(|| Some((None, below(Path::new(&place))?)))
                .ok_or_else(|| format!("{}={place} is no path of a directory", karg::STATE_DIR))
        });
        let (state_on, state_dir) = state
            .transpose()?
            .map_or((None, None), |(on, dir)| (on, Some(dir)));
        let grubenv = line.last(karg::GRUBENV).map(|place| {
            Located::parse(&read(place))
                .ok_or_else(|| format!("{}={place}: expected UUID=…:/path", karg::GRUBENV))
        });
        let store = line.last(karg::STORE).map(|place| {
            StoreAt::parse(&read(place))
                .ok_or_else(|| format!("{}={place}: expected UUID=…@BYTE", karg::STORE))
        });
        let check = match (line.last(karg::DIGEST), ours) {
            (Some("none"), _) => Check::Off("livemode.digest=none: the image is used unchecked"),
            (Some(digest), _) => Check::Sha256(sha256_hex(digest)?),
            (None, true) => {
                return Err(format!(
                    "{} is missing; it says what the image must be",
                    karg::DIGEST
                ))
            }
            (None, false) => Check::Off("no livemode.digest=: the image is used unchecked"),
        };
        Ok(Self {
            image,
            local: local(&line)?,
            path,
            check,
            size_bytes: number(&line, karg::SIZE)?,
            timeout_s: number(&line, karg::TIMEOUT)?.unwrap_or(DEFAULT_TIMEOUT_S),
            fetch_timeout_s: number(&line, karg::FETCH_TIMEOUT)?.unwrap_or(DEFAULT_FETCH_TIMEOUT_S),
            proxy: line.last(karg::PROXY).map(str::to_owned),
            any_certificate: line
                .0
                .iter()
                .any(|w| w.key == karg::NO_VERIFY_SSL && w.value.as_deref() != Some("0")),
            overlay_size: overlay_size(&line)?,
            state_dir,
            state_on,
            build: line.last(karg::BUILD).map(str::to_owned),
            grubenv: grubenv.transpose()?,
            store: store.transpose()?,
        })
    }
}

/// The path without its leading slash, unless it leads upwards.
fn below(path: &Path) -> Option<PathBuf> {
    let path = path.strip_prefix("/").unwrap_or(path);
    path.components()
        .all(|c| matches!(c, Component::Normal(_) | Component::CurDir))
        .then(|| path.to_owned())
}

fn local(line: &Cmdline) -> Result<Option<ImageRef>, String> {
    let reference = line.last(karg::LOCAL).map(|text| {
        let device = ImageRef::parse(text).filter(|image| image.device().is_some());
        device.ok_or_else(|| format!("{}={text}: expected UUID=…, LABEL=… or /dev/…", karg::LOCAL))
    });
    reference.transpose()
}

/// How long a refusal stays on the console, whatever else is wrong with the line.
pub(crate) fn countdown_s(line: &Cmdline) -> u64 {
    number(line, karg::COUNTDOWN)
        .ok()
        .flatten()
        .unwrap_or(DEFAULT_COUNTDOWN_S)
}

fn sha256_hex(digest: &str) -> Result<String, String> {
    digest
        .strip_prefix("sha256:")
        .filter(|hex| hex.len() == 64 && hex.bytes().all(|b| b.is_ascii_hexdigit()))
        .map(str::to_ascii_lowercase)
        .ok_or_else(|| {
            format!(
                "{}={digest}: expected sha256: and 64 hex digits, or none",
                karg::DIGEST
            )
        })
}

fn number(line: &Cmdline, key: &str) -> Result<Option<u64>, String> {
    line.last(key)
        .map(|text| {
            text.parse()
                .map_err(|_| format!("{key}={text}: expected a number"))
        })
        .transpose()
}

fn overlay_size(line: &Cmdline) -> Result<String, String> {
    let size = line.last(karg::OVERLAY_SIZE).unwrap_or(DEFAULT_OVERLAY_SIZE);
    let digits = size.trim_end_matches(|c: char| "kKmMgG%".contains(c));
    if digits.parse::<u64>().is_err() || size.len() > digits.len() + 1 {
        return Err(format!(
            "{}={size}: expected a number with k, m, g or %",
            karg::OVERLAY_SIZE
        ));
    }
    Ok(size.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    #[test]
    fn our_own_line_is_read() {
        let line = format!(
            "root=livemode:UUID=ab-cd rd.live.dir=/var/a%20b rd.live.squashimg=i.img livemode.build=b1 livemode.digest=sha256:{DIGEST} livemode.size=42 livemode.state=/var/lib/leapp/livemode livemode.grubenv=UUID=1-2:/grub2/grubenv livemode.store=UUID=3-4@4096 ro"
        );
        assert_eq!(
            BootParams::parse(&line),
            Ok(BootParams {
                image: ImageRef::Uuid("ab-cd".into()),
                path: "var/a b/i.img".into(),
                check: Check::Sha256(DIGEST.into()),
                size_bytes: Some(42),
                local: None,
                timeout_s: 150,
                fetch_timeout_s: 900,
                proxy: None,
                any_certificate: false,
                overlay_size: "50%".into(),
                state_dir: Some("var/lib/leapp/livemode".into()),
                state_on: None,
                build: Some("b1".into()),
                grubenv: Some(Located {
                    on: ImageRef::Uuid("1-2".into()),
                    path: "grub2/grubenv".into(),
                }),
                store: Some(StoreAt {
                    on: ImageRef::Uuid("3-4".into()),
                    at: 4096,
                }),
            })
        );
    }

    #[test]
    fn an_entry_of_upstream_boots_with_a_warning() {
        let params = BootParams::parse(
            "root=live:UUID=x rd.live.dir=/var/lib/leapp rd.live.squashimg=live-upgrade.img",
        );
        let params = params.unwrap();
        assert_eq!(
            params.check,
            Check::Off("no livemode.digest=: the image is used unchecked")
        );
        assert_eq!(params.path, Path::new("var/lib/leapp/live-upgrade.img"));
    }

    #[test]
    fn records_may_lie_on_another_device_than_the_image() {
        let of = |place: &str| {
            let line =
                format!("root=livemode:/dev/vda1 livemode.digest=sha256:{DIGEST} livemode.state={place}");
            let params = BootParams::parse(&line).unwrap();
            (params.state_on, params.state_dir.unwrap())
        };
        assert_eq!(of("/var/a%20b"), (None, "var/a b".into()));
        let on = Some(ImageRef::Uuid("1-2".into()));
        assert_eq!(
            of("UUID=1-2:/lib/leapp/livemode"),
            (on, "lib/leapp/livemode".into())
        );
    }

    #[test]
    fn what_cannot_be_meant_is_named() {
        let sound = format!("root=livemode:/dev/vda1 livemode.digest=sha256:{DIGEST}");
        for (line, fault) in [
            ("quiet".to_owned(), "the command line has no root="),
            (
                "root=UUID=x".to_owned(),
                "root=UUID=x is neither livemode:… nor live:…",
            ),
            (
                "root=livemode:UUID=x".to_owned(),
                "livemode.digest is missing; it says what the image must be",
            ),
            (
                "root=livemode:UUID=x livemode.digest=sha256:12".to_owned(),
                "livemode.digest=sha256:12: expected sha256: and 64 hex digits, or none",
            ),
            (
                format!("{sound} livemode.size=big"),
                "livemode.size=big: expected a number",
            ),
            (
                format!("{sound} rd.live.dir=/a/../.."),
                "rd.live.dir=/a/../.. rd.live.squashimg=squashfs.img is no path of a file",
            ),
            (
                format!("{sound} livemode.local=http://host/x"),
                "livemode.local=http://host/x: expected UUID=…, LABEL=… or /dev/…",
            ),
            (
                format!("{sound} livemode.grubenv=/grub2/grubenv"),
                "livemode.grubenv=/grub2/grubenv: expected UUID=…:/path",
            ),
            (
                format!("{sound} livemode.grubenv=UUID=1:/../x"),
                "livemode.grubenv=UUID=1:/../x: expected UUID=…:/path",
            ),
            (
                format!("{sound} livemode.store=UUID=1"),
                "livemode.store=UUID=1: expected UUID=…@BYTE",
            ),
            (
                format!("{sound} livemode.state=../x"),
                "livemode.state=../x is no path of a directory",
            ),
            (
                format!("{sound} livemode.overlay_size=1m,x"),
                "livemode.overlay_size=1m,x: expected a number with k, m, g or %",
            ),
        ] {
            assert_eq!(BootParams::parse(&line).unwrap_err(), fault);
        }
    }

    #[test]
    fn what_no_loader_would_pass_on_comes_encoded_in_our_own_entries_only() {
        let line = format!("root=livemode:http://host/i%3Fa=1%26b=2%3Bc livemode.digest=sha256:{DIGEST}");
        let params = BootParams::parse(&line).unwrap();
        assert_eq!(params.image, ImageRef::Url("http://host/i?a=1&b=2;c".into()));
        let params = BootParams::parse("root=live:http://host/a%20b rd.live.squashimg=50%25").unwrap();
        assert_eq!(params.image, ImageRef::Url("http://host/a%20b".into()));
        assert_eq!(params.path, Path::new("LiveOS/50%25"));
    }

    #[test]
    fn words_about_a_fetch_are_read() {
        let sound = format!("root=livemode:https://host/i livemode.digest=sha256:{DIGEST}");
        let of = |words: &str| BootParams::parse(&format!("{sound} {words}")).unwrap();
        let params =
            of("livemode.local=LABEL=data livemode.fetch_timeout=7 livemode.timeout=8 proxy=http://p:1");
        assert_eq!(params.local, Some(ImageRef::Label("data".into())));
        assert_eq!((params.fetch_timeout_s, params.timeout_s), (7, 8));
        assert_eq!(params.proxy.as_deref(), Some("http://p:1"));
        for (word, any) in [
            ("", false),
            ("rd.noverifyssl", true),
            ("rd.noverifyssl=1", true),
            ("rd.noverifyssl=0", false),
            ("other", false),
        ] {
            assert_eq!(of(word).any_certificate, any, "{word}");
        }
    }

    #[test]
    fn a_digest_is_64_hex_digits_of_either_case() {
        assert_eq!(
            sha256_hex(&format!("sha256:{}", DIGEST.to_uppercase())),
            Ok(DIGEST.to_owned())
        );
        for wrong in [
            DIGEST,
            "sha256:",
            &format!("sha256:{DIGEST}0"),
            &format!("sha256:{}x", &DIGEST[1..]),
        ] {
            assert!(sha256_hex(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_overlay_has_a_number_with_one_unit_or_none() {
        let of = |size: &str| overlay_size(&Cmdline::parse(&format!("livemode.overlay_size={size}")));
        for size in ["4096", "64k", "2G", "75%"] {
            assert_eq!(of(size), Ok(size.to_owned()));
        }
        for size in ["", "g", "1gg", "1.5g", "2G,mode=0777"] {
            assert!(of(size).is_err(), "{size}");
        }
    }

    #[test]
    fn a_refusal_is_shown_for_as_long_as_the_line_says_whatever_else_is_wrong() {
        for (line, seconds) in [
            ("livemode.countdown=3 livemode.size=x", 3),
            ("livemode.countdown=soon", 30),
            ("quiet", 30),
        ] {
            assert_eq!(countdown_s(&Cmdline::parse(line)), seconds, "{line}");
        }
    }

    #[test]
    fn the_name_of_the_image_is_no_path() {
        let sound = format!("root=livemode:/dev/vda1 livemode.digest=sha256:{DIGEST} rd.live.dir=/a");
        assert!(BootParams::parse(&format!("{sound} rd.live.squashimg=b/c.img")).is_err());
        assert!(BootParams::parse(&format!("{sound} rd.live.squashimg=c.img")).is_ok());
    }
}
