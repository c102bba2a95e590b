//! The words that cross a process: paths, kernel arguments, exit codes. The records are in `records.rs`.
/// Version of every record and of every JSON output.
pub const SCHEMA: u32 = 1;

/// Where leapp keeps configuration files, on the source system.
pub const CONFIG_DIR: &str = "etc/leapp/actor_conf.d";
/// Directory of our records, on the source system.
pub const STATE_DIR: &str = "var/lib/leapp/livemode";
/// What `livemode-prep build` made, in [`STATE_DIR`].
pub const MANIFEST_FILE: &str = "manifest.json";
/// Path of [`MANIFEST_FILE`] on the source system.
pub const MANIFEST: &str = "var/lib/leapp/livemode/manifest.json";
/// Where the upgrade stands, in [`STATE_DIR`].
pub const STATE_FILE: &str = "state.json";
/// Path of [`STATE_FILE`] on the source system.
pub const STATE: &str = "var/lib/leapp/livemode/state.json";
/// What leapp and the scriptlets see in place of GRUB's environment block, in [`STATE_DIR`].
pub const GRUBENV_FILE: &str = "grubenv";
/// The store of an upgrade that is all or nothing, in [`STATE_DIR`] or, as `.livemode-store`, at the top of another file system.
pub const STORE_FILE: &str = "store";
/// Programs of the admin's that look whether the upgraded system is whole, on the source system.
pub const VERIFY_DIR: &str = "etc/livemode/verify.d";
/// leapp's own log, on the source system; only ever appended to.
pub const LEAPP_LOG: &str = "var/log/leapp/leapp-upgrade.log";
/// The live system's journal as text, on the source system; only ever appended to.
pub const JOURNAL_LOG: &str = "var/log/leapp/livemode-journal.log";
/// The last state of an upgrade whose records `livemode-prep remove` has taken away, on the source system.
pub const RESULT: &str = "var/log/leapp/livemode-result.json";
/// Where leapp marks a failed upgrade, on the source system.
pub const LEAPP_FAILED_MARK: &str = "root/tmp_leapp_py3/.leapp_upgrade_failed";

/// The file system that holds the image, in the live system.
pub const RUN_DEVICE: &str = "/run/livemode/device";
/// The file system with GRUB's environment block, while early boot changes that.
pub const RUN_BOOT: &str = "/run/livemode/boot";
/// The file system with our records, while early boot looks at them, where that is not the image's.
pub const RUN_RECORDS: &str = "/run/livemode/records";
/// The image fetched from a URL, in RAM.
pub const RUN_FETCHED: &str = "/run/livemode/fetched";
/// The mounted squashfs, in the live system.
pub const RUN_IMAGE: &str = "/run/livemode/image";
/// The tmpfs that takes the live system's writes.
pub const RUN_OVERLAY: &str = "/run/livemode/overlay";
/// What `livemode-boot` did and how long each step took.
pub const BOOT_RECORD: &str = "/run/livemode/boot.json";
/// The source system, with all of its mounts below.
pub const SOURCE_MOUNT: &str = "/run/upgrade";
/// Present on the live system: do not reboot after success.
pub const NO_REBOOT: &str = "/run/upgrade/.noreboot";
/// Present on the live system: an admin asked for the upgrade by hand.
pub const START_REQUEST: &str = "/run/livemode/start";

/// The number of the attempt whose service has begun in this boot.
pub const RUN_ATTEMPT: &str = "/run/livemode/attempt";

/// Timer that ends a live system which waits for somebody.
pub const HOLD_UNIT: &str = "livemode-hold-limit";

/// Unit that runs the upgrade.
pub const UPGRADE_UNIT: &str = "livemode-upgrade.service";

/// What the live system, dnf and leapp need in memory beside an image that is there, in bytes: early boot fetches none that
/// would not leave it, and `plan` refuses a machine that has less.
pub const LIVE_MEMORY_BYTES: u64 = 512 << 20;

/// Exit code: the operation failed.
pub const EXIT_FAILED: u8 = 1;
/// Exit code: the configuration is invalid.
pub const EXIT_CONFIG: u8 = 3;
/// Exit code: a precondition is not met.
pub const EXIT_PRECONDITION: u8 = 4;

/// Kernel arguments that the boot entry carries and `livemode-boot` or `livemode-run` read.
pub mod karg {
    /// Root of the system that boots: `livemode:UUID=…`.
    pub const ROOT: &str = "root";
    /// Directory of the image on its file system.
    pub const LIVE_DIR: &str = "rd.live.dir";
    /// File name of the image.
    pub const LIVE_IMAGE: &str = "rd.live.squashimg";
    /// `sha256:<64 hex>` or `none`.
    pub const DIGEST: &str = "livemode.digest";
    /// Size of the image in bytes.
    pub const SIZE: &str = "livemode.size";
    /// The build that the entry is of: [`crate::records::Manifest::id`].
    pub const BUILD: &str = "livemode.build";
    /// GRUB's environment block, as `UUID=…:/path`: early boot clears and sets in it what boots next.
    pub const GRUBENV: &str = "livemode.grubenv";
    /// The store of an upgrade that is all or nothing: `UUID=…@BYTE`, the device of its file system and where it begins there.
    pub const STORE: &str = "livemode.store";
    /// Directory of our records, which early boot decides by and where it records a refusal: on the image's file system, or on
    /// another as `UUID=…:/directory`.
    pub const STATE_DIR: &str = "livemode.state";
    /// With an image from a URL: the file system with the local image, which serves when the fetch fails.
    pub const LOCAL: &str = "livemode.local";
    /// Seconds that fetching the image may take in all, retries included.
    pub const FETCH_TIMEOUT: &str = "livemode.fetch_timeout";
    /// Proxy for curl(1) (dracut.cmdline(7)).
    pub const PROXY: &str = "proxy";
    /// Take any certificate (dracut.cmdline(7)).
    pub const NO_VERIFY_SSL: &str = "rd.noverifyssl";
    /// Seconds after boot until which the image's device is waited for.
    pub const TIMEOUT: &str = "livemode.timeout";
    /// Seconds a refusal or a failure stays on the console before the way back is taken.
    pub const COUNTDOWN: &str = "livemode.countdown";
    /// Seconds without a word from leapp after which it has hung; 0: it is waited for without a limit.
    pub const SILENCE: &str = "livemode.silence";
    /// Limit of the tmpfs overlay, as tmpfs(5) reads `size=`.
    pub const OVERLAY_SIZE: &str = "livemode.overlay_size";
    /// `0` or `1`: start the upgrade by itself.
    pub const AUTOSTART: &str = "upgrade.autostart";
    /// File on the source system for the trace of the upgrade.
    pub const STRACE: &str = "upgrade.strace";
    /// What dracut does instead of a prompt: `reboot`, `poweroff` or `halt` (dracut.cmdline(7)).
    pub const EMERGENCY: &str = "rd.emergency";
}

/// What is placed into `/boot`, under the names that leapp gives it. Paths below the source system's root.
pub struct BootPaths {
    /// The target's kernel.
    pub kernel: String,
    /// The kernel's checksum, which FIPS mode asks for.
    pub hmac: String,
    /// The initramfs that mounts the image.
    pub initramfs: String,
}

impl BootPaths {
    /// The three paths below the source system's root, for a machine name as uname(2) gives it.
    pub fn for_arch(arch: &str) -> Self {
        Self {
            kernel: format!("boot/vmlinuz-upgrade.{arch}"),
            hmac: format!("boot/.vmlinuz-upgrade.{arch}.hmac"),
            initramfs: format!("boot/initramfs-upgrade.{arch}.img"),
        }
    }

    /// The same under names of our own, which no actor of leapp's removes.
    pub fn own(arch: &str) -> Self {
        Self {
            kernel: format!("boot/vmlinuz-livemode.{arch}"),
            hmac: format!("boot/.vmlinuz-livemode.{arch}.hmac"),
            initramfs: format!("boot/initramfs-livemode.{arch}.img"),
        }
    }
}
