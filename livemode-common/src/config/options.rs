//! The options, under the names that leapp's configuration has for them.
use serde::{Deserialize, Serialize};

/// What follows a failure that has left the source system as it was.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnFailure {
    /// The old system boots again, by itself.
    #[default]
    Return,
    /// The live system stays up, for somebody to look.
    Hold,
}

/// Whether what the upgrade writes is kept apart until it is whole.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Atomic {
    /// Where this machine can; else the upgrade runs in place.
    #[default]
    Auto,
    /// Or there is no upgrade.
    Require,
    /// The upgrade runs in place.
    Off,
}

/// The options of the `livemode` section: the nine that leapp knows, then our own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Config {
    /// Where the squashfs image is put, on the source system.
    pub squashfs_image_path: String,
    /// More packages to install into the image.
    pub additional_packages: Vec<String>,
    /// Whether the upgrade starts by itself after the reboot.
    pub autostart_upgrade_after_reboot: bool,
    /// Whether NetworkManager runs in the image, with the source's profiles.
    pub setup_network_manager: bool,
    /// dracut's network arguments, parted by blanks; empty for no network in early boot.
    pub dracut_network: String,
    /// URL to load the image from; empty for the local image.
    pub url_to_load_squashfs_image_from: String,
    /// Whether root in the image has an empty password.
    pub setup_passwordless_root: bool,
    /// The authorized_keys file for sshd in the image; empty for no sshd.
    pub setup_opensshd_using_auth_keys: String,
    /// File on the source system for leapp's strace; empty for none.
    pub capture_strace_info_into: String,
    /// Whether what the upgrade writes is kept apart until it is whole.
    pub atomic: Atomic,
    /// What follows a failure that has left the source system as it was.
    pub on_failure: OnFailure,
    /// Minutes after which a live system that waits for somebody boots the old system, where that is as it was; 0 for no
    /// limit.
    pub hold_limit: u32,
    /// Whether a watchdog of the hardware resets a machine that hangs.
    pub watchdog: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            squashfs_image_path: "/var/lib/leapp/live-upgrade.img".into(),
            additional_packages: Vec::new(),
            autostart_upgrade_after_reboot: true,
            setup_network_manager: false,
            dracut_network: String::new(),
            url_to_load_squashfs_image_from: String::new(),
            setup_passwordless_root: false,
            setup_opensshd_using_auth_keys: String::new(),
            capture_strace_info_into: String::new(),
            atomic: Atomic::Auto,
            on_failure: OnFailure::Return,
            hold_limit: 0,
            watchdog: true,
        }
    }
}

/// The keys, in the order of the documentation.
pub const KEYS: [&str; 13] = [
    "squashfs_image_path",
    "additional_packages",
    "autostart_upgrade_after_reboot",
    "setup_network_manager",
    "dracut_network",
    "url_to_load_squashfs_image_from",
    "setup_passwordless_root",
    "setup_opensshd_using_auth_keys",
    "capture_strace_info_into",
    "atomic",
    "on_failure",
    "hold_limit",
    "watchdog",
];
