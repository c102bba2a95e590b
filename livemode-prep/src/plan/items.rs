//! One change to a tree: of the container for dracut, or of the live system. The lists of them are all that a build writes
//! there. Everything belongs to root.
use std::fmt;

use serde_json::{json, Value};

use super::edits::Edit;

/// Where units of an admin's lie.
pub(crate) const UNIT_DIR: &str = "/etc/systemd/system";
/// Where units of packages lie.
pub(crate) const PACKAGE_UNIT_DIR: &str = "/usr/lib/systemd/system";
/// Where an admin's programs that make units at boot lie, and links that turn off those of packages.
pub(crate) const GENERATOR_DIR: &str = "/etc/systemd/system-generators";
/// Where those of packages lie.
pub(crate) const PACKAGE_GENERATOR_DIR: &str = "/usr/lib/systemd/system-generators";
/// Of files that only root may read.
pub(crate) const SECRET: u32 = 0o600;

/// What a file has in it.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Content {
    /// Made by the plan.
    Text(Vec<u8>),
    /// Copied from this path of the source when the build writes it.
    OfSource(String),
    /// One of our own programs.
    Program(&'static str),
    /// The container's own file, once all packages are in it, changed.
    Edited(Edit),
}

/// One change.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Item {
    File {
        path: String,
        content: Content,
        mode: u32,
        /// Whether nobody but root may see its content, here as well.
        is_secret: bool,
    },
    Link {
        path: String,
        to: String,
    },
    /// The mode of a directory, which is made where it is missing.
    Directory {
        path: String,
        mode: u32,
    },
    /// The first of these units that the container has is started by a target.
    Started {
        units: Vec<String>,
        by: &'static str,
    },
    /// A unit that a target starts where the container has it.
    Offered {
        unit: &'static str,
        by: &'static str,
    },
    /// No unit is started by a link in the admin's directory: what packages enabled there is off.
    Cleared,
    /// Of the units that packages have started by these targets without a link in the admin's directory, the others are
    /// masked.
    Only {
        targets: &'static [&'static str],
        allowed: &'static [&'static str],
    },
    /// Of the programs of packages that make units at boot (systemd.generator(7)), the others do not run.
    Generators {
        allowed: Vec<&'static str>,
    },
    /// No target starts the unit.
    Stopped {
        unit: &'static str,
    },
    /// The unit cannot be started at all.
    Masked {
        unit: &'static str,
    },
    /// The first of these units that the container has also gets this name, unless a unit has it already.
    Alias {
        unit: &'static str,
        of: Vec<&'static str>,
    },
}

impl Item {
    /// A file that anyone may read.
    pub(crate) fn file(path: &str, content: impl Into<Vec<u8>>, mode: u32) -> Self {
        Self::File {
            path: path.to_owned(),
            content: Content::Text(content.into()),
            mode,
            is_secret: false,
        }
    }

    /// A unit that a target starts.
    pub(crate) fn started(unit: &str, by: &'static str) -> Self {
        Self::Started {
            units: vec![unit.to_owned()],
            by,
        }
    }

    /// Where it is written; of a service the first of its names.
    pub(crate) fn path(&self) -> String {
        match self {
            Self::File { path, .. } | Self::Link { path, .. } | Self::Directory { path, .. } => path.clone(),
            Self::Started { units, by } => wanted_by(by, units.first().map_or("", String::as_str)),
            Self::Offered { unit, by } => wanted_by(by, unit),
            Self::Cleared => format!("{UNIT_DIR}/*.wants/*"),
            Self::Only { .. } => format!("{UNIT_DIR}/*"),
            Self::Generators { .. } => format!("{GENERATOR_DIR}/*"),
            Self::Stopped { unit } => format!("{UNIT_DIR}/*.wants/{unit}"),
            Self::Masked { unit } | Self::Alias { unit, .. } => format!("{UNIT_DIR}/{unit}"),
        }
    }

    /// As a program reads it.
    pub(crate) fn to_json(&self) -> Value {
        let mut json = json!({"path": self.path(), "owner": "root:root"});
        let more = match self {
            Self::File {
                content,
                mode,
                is_secret,
                ..
            } => {
                json!({"kind": "file", "mode": format!("{mode:04o}"), "secret": is_secret, "content": content.to_string()})
            }
            Self::Link { to, .. } => json!({"kind": "link", "to": to}),
            Self::Directory { mode, .. } => json!({"kind": "directory", "mode": format!("{mode:04o}")}),
            Self::Started { units, by } => json!({"kind": "started", "units": units, "by": by}),
            Self::Offered { unit, by } => json!({"kind": "offered", "unit": unit, "by": by}),
            Self::Cleared => json!({"kind": "cleared"}),
            Self::Only { targets, allowed } => {
                json!({"kind": "only", "targets": targets, "allowed": allowed})
            }
            Self::Generators { allowed } => json!({"kind": "generators", "allowed": allowed}),
            Self::Stopped { unit } => json!({"kind": "stopped", "unit": unit}),
            Self::Masked { unit } => json!({"kind": "masked", "unit": unit}),
            Self::Alias { unit, of } => json!({"kind": "alias", "unit": unit, "of": of}),
        };
        if let (Some(json), Value::Object(more)) = (json.as_object_mut(), more) {
            json.extend(more);
        }
        json
    }
}

/// Whether a list of units has one; a name that ends in `*` stands for all that begin so.
pub(crate) fn is_allowed(allowed: &[&str], unit: &str) -> bool {
    allowed.iter().any(|known| match known.strip_suffix('*') {
        Some(beginning) => unit.starts_with(beginning),
        None => *known == unit,
    })
}

/// The link by which a target starts a unit.
pub(crate) fn wanted_by(target: &str, unit: &str) -> String {
    format!("{UNIT_DIR}/{target}.wants/{unit}")
}

impl fmt::Display for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(_) => f.write_str("made"),
            Self::OfSource(path) => write!(f, "the source's {path}"),
            Self::Program(name) => write!(f, "the program {name}"),
            Self::Edited(Edit::OnlyKeysLogIn(_)) => {
                f.write_str("the container's own, with only keys to log in by")
            }
            Self::Edited(Edit::EmptyRootPassword) => {
                f.write_str("the container's own, with an empty password of root's")
            }
        }
    }
}

/// Without the content: it may be secret.
impl fmt::Debug for Item {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl fmt::Display for Item {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File {
                path,
                content,
                mode,
                is_secret,
            } => {
                let secret = if *is_secret { ", secret" } else { "" };
                write!(f, "file       {mode:04o} root:root {path} ({content}{secret})")
            }
            Self::Link { path, to } => write!(f, "link       {path} to {to}"),
            Self::Directory { path, mode } => write!(f, "directory  {mode:04o} root:root {path}"),
            Self::Started { units, by } => write!(f, "started    {} by {by}", units.join(" or ")),
            Self::Offered { unit, by } => write!(f, "started    {unit} by {by}, if it is there"),
            Self::Cleared => write!(f, "cleared    {UNIT_DIR}/*.wants and *.requires"),
            Self::Only { targets, allowed } => write!(
                f,
                "masked     all that packages have started by {}, but {}",
                targets.join(", "),
                allowed.join(", ")
            ),
            Self::Generators { allowed } => {
                write!(
                    f,
                    "masked     all generators of units, but {}",
                    allowed.join(", ")
                )
            }
            Self::Stopped { unit } => write!(f, "stopped    {unit}"),
            Self::Masked { unit } => write!(f, "masked     {unit}"),
            Self::Alias { unit, of } => write!(f, "alias      {unit} for {}", of.join(" or ")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_allows_all_that_begin_so() {
        let allowed = ["dbus.socket", "systemd-udevd*"];
        for (unit, is) in [
            ("dbus.socket", true),
            ("dbus.sockets", false),
            ("systemd-udevd-varlink.socket", true),
            ("rpcbind.socket", false),
        ] {
            assert_eq!(is_allowed(&allowed, unit), is, "{unit}");
        }
    }

    #[test]
    fn an_item_says_all_of_itself_but_its_content() {
        let key = Item::File {
            path: "/etc/ssh/key".into(),
            content: Content::OfSource("/etc/ssh/key".into()),
            mode: SECRET,
            is_secret: true,
        };
        assert_eq!(
            key.to_string(),
            "file       0600 root:root /etc/ssh/key (the source's /etc/ssh/key, secret)"
        );
        assert_eq!(
            key.to_json(),
            json!({"path": "/etc/ssh/key", "owner": "root:root", "kind": "file", "mode": "0600", "secret": true,
                   "content": "the source's /etc/ssh/key"})
        );
        let sshd = Item::Started {
            units: vec!["sshd.service".into(), "ssh.service".into()],
            by: "multi-user.target",
        };
        assert_eq!(
            (sshd.path().as_str(), sshd.to_string().as_str()),
            (
                "/etc/systemd/system/multi-user.target.wants/sshd.service",
                "started    sshd.service or ssh.service by multi-user.target"
            )
        );
        assert_eq!(
            Item::Stopped { unit: "x.timer" }.to_json(),
            json!({"path": "/etc/systemd/system/*.wants/x.timer", "owner": "root:root", "kind": "stopped", "unit": "x.timer"})
        );
        for (item, text) in [
            (
                Item::file("/a", "secret text", 0o644),
                "file       0644 root:root /a (made)",
            ),
            (
                Item::Link {
                    path: "/a".into(),
                    to: "b".into(),
                },
                "link       /a to b",
            ),
            (
                Item::Directory {
                    path: "/root/.ssh".into(),
                    mode: 0o700,
                },
                "directory  0700 root:root /root/.ssh",
            ),
            (Item::Masked { unit: "a.service" }, "masked     a.service"),
            (
                Item::Offered {
                    unit: "a.socket",
                    by: "sockets.target",
                },
                "started    a.socket by sockets.target, if it is there",
            ),
            (
                Item::Cleared,
                "cleared    /etc/systemd/system/*.wants and *.requires",
            ),
            (
                Item::Only {
                    targets: &["a.target", "b.target"],
                    allowed: &["c.service", "d.socket"],
                },
                "masked     all that packages have started by a.target, b.target, but c.service, d.socket",
            ),
            (
                Item::Generators {
                    allowed: vec!["a-generator", "b-generator"],
                },
                "masked     all generators of units, but a-generator, b-generator",
            ),
            (
                Item::Alias {
                    unit: "dbus.service",
                    of: vec!["a.service", "b.service"],
                },
                "alias      dbus.service for a.service or b.service",
            ),
        ] {
            assert_eq!(format!("{item:?}"), text);
        }
    }
}
