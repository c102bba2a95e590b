//! Whose livemode actors leapp would find.
use std::fs;

use livemode_common::sysroot::SysRoot;
use serde::{Deserialize, Serialize};

/// leapp's own livemode actors, where they lie while leapp finds them.
pub(crate) const LEAPPS: &str =
    "usr/share/leapp-repository/repositories/system_upgrade/common/actors/livemode";
/// leapp follows the links that are here.
pub(crate) const LINK: &str = "etc/leapp/repos.d/livemode";

/// Whose actors leapp finds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Found {
    Nobodys,
    Leapps,
    Ours,
    Both,
}

impl Found {
    pub(crate) fn look(root: &SysRoot) -> Self {
        let linked = fs::symlink_metadata(root.path().join(LINK)).is_ok();
        match (root.at(LEAPPS).is_dir(), linked) {
            (false, false) => Self::Nobodys,
            (true, false) => Self::Leapps,
            (false, true) => Self::Ours,
            (true, true) => Self::Both,
        }
    }

    /// A sentence for an admin.
    pub(crate) fn describe(self) -> &'static str {
        match self {
            Self::Nobodys => "leapp finds no livemode actors",
            Self::Leapps => "leapp finds its own livemode actors",
            Self::Ours => "leapp finds the livemode actors of this package",
            Self::Both => {
                "leapp was updated and has brought its own livemode actors back: which of two would run is not defined; \
                 run: livemode-prep actors refresh"
            }
        }
    }
}
