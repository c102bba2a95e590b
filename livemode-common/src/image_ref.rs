//! Where the image is: `root=livemode:…` or `root=live:…`.
use std::fmt;
use std::path::PathBuf;

/// What follows `livemode:` or `live:`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ImageRef {
    /// `UUID=…` of the file system that holds it.
    Uuid(String),
    /// `LABEL=…` of the file system that holds it.
    Label(String),
    /// The device itself.
    Device(PathBuf),
    /// The URL to fetch it from.
    Url(String),
}

impl ImageRef {
    /// Reads what follows `livemode:` or `live:`; `None` when it is none of the forms.
    pub fn parse(text: &str) -> Option<Self> {
        if let Some(uuid) = text.strip_prefix("UUID=").filter(|u| !u.is_empty()) {
            return Some(Self::Uuid(uuid.to_owned()));
        }
        if let Some(label) = text.strip_prefix("LABEL=").filter(|l| !l.is_empty()) {
            return Some(Self::Label(label.to_owned()));
        }
        if text.starts_with("/dev/") {
            return Some(Self::Device(text.into()));
        }
        ["http://", "https://", "ftp://"]
            .iter()
            .any(|scheme| text.starts_with(scheme))
            .then(|| Self::Url(text.to_owned()))
    }

    /// As it may be shown to anyone: without the user and password of a URL.
    pub fn shown(&self) -> String {
        let text = self.to_string();
        let authority_end = |rest: &str| rest.find(['/', '?', '#']).unwrap_or(rest.len());
        match text.split_once("://") {
            Some((scheme, rest)) if matches!(self, Self::Url(_)) => {
                let host_at = rest[..authority_end(rest)].rfind('@').map_or(0, |at| at + 1);
                format!("{scheme}://{}", &rest[host_at..])
            }
            _ => text,
        }
    }

    /// The device node that appears when the device is there (udev's persistent names).
    pub fn device(&self) -> Option<PathBuf> {
        match self {
            Self::Uuid(uuid) => Some(format!("/dev/disk/by-uuid/{uuid}").into()),
            Self::Label(label) => Some(format!("/dev/disk/by-label/{}", udev_escape(label)).into()),
            Self::Device(path) => Some(path.clone()),
            Self::Url(_) => None,
        }
    }
}

/// As udev_util_encode_string() names links: what is neither alphanumeric nor one of `#+-.:=@_/` becomes `\xHH`.
fn udev_escape(label: &str) -> String {
    let mut out = String::new();
    for c in label.chars() {
        if c.is_ascii_alphanumeric() || "#+-.:=@_".contains(c) || !c.is_ascii() {
            out.push(c);
        } else {
            out.push_str(&format!("\\x{:02x}", c as u32));
        }
    }
    out
}

impl fmt::Display for ImageRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Uuid(uuid) => write!(f, "UUID={uuid}"),
            Self::Label(label) => write!(f, "LABEL={label}"),
            Self::Device(path) => write!(f, "{}", path.display()),
            Self::Url(url) => f.write_str(url),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_form_is_read_and_names_its_device() {
        for (text, device) in [
            ("UUID=ab-cd", Some("/dev/disk/by-uuid/ab-cd")),
            ("LABEL=my disk", Some(r"/dev/disk/by-label/my\x20disk")),
            ("/dev/vg/lv", Some("/dev/vg/lv")),
            ("http://host/image", None),
        ] {
            let parsed = ImageRef::parse(text).unwrap();
            assert_eq!(parsed.to_string(), text);
            assert_eq!(parsed.device(), device.map(PathBuf::from));
        }
        let secret = ImageRef::parse("ftp://user:pass@word@host:21/a@b").unwrap();
        assert_eq!(secret.shown(), "ftp://host:21/a@b");
        for text in ["", "UUID=", "LABEL=", "nfs:host:/", "relative"] {
            assert_eq!(ImageRef::parse(text), None, "{text}");
        }
    }

    #[test]
    fn only_a_urls_user_is_hidden() {
        for (text, shown) in [
            ("http://host/live.img", "http://host/live.img"),
            ("https://user@host?mail=a@b", "https://host?mail=a@b"),
            ("https://u:p@host#x@y", "https://host#x@y"),
            ("/dev/disk/by-id/x://a@b", "/dev/disk/by-id/x://a@b"),
            ("LABEL=a://b@c", "LABEL=a://b@c"),
        ] {
            assert_eq!(ImageRef::parse(text).unwrap().shown(), shown);
        }
    }

    #[test]
    fn a_label_is_in_the_name_of_its_link_as_udev_writes_it() {
        let device = ImageRef::Label("Ä#+-.:=@_/\t9".into()).device().unwrap();
        assert_eq!(device, PathBuf::from(r"/dev/disk/by-label/Ä#+-.:=@_\x2f\x099"));
    }
}
