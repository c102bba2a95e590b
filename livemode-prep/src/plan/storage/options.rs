//! Which options of a mount and of an encrypted volume come along into the live system, each with its reason. Pure.
use livemode_common::fstab::{split_options, Quotes};

#[cfg(test)]
use crate::facts::files::CREDENTIALS;

/// What becomes of an option.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rule {
    /// It means the same in the live system.
    Carry,
    /// It is of the source's own boot, or of nothing that an upgrade does: it goes without a word.
    Leave,
    /// It goes, and that is said.
    Drop,
    /// Its value is a path of the source: the same one below /run/upgrade.
    Reroot,
    /// Its value is a path that must be mounted, or a unit of the source's, which the live system does not have.
    Unit,
    /// Its value is a time: no longer than [`LONGEST_S`].
    Bound,
    /// Its value is a file of the source, which comes along.
    File,
    /// Without it the mount would mean something else, and the live system cannot do it.
    Refuse,
}

/// The longest that a device or a mount may be waited for, in seconds.
pub(crate) const LONGEST_S: u64 = 300;

/// Options by their names (what stands before `=`), and why.
pub(crate) type Table = &'static [(&'static [&'static str], Rule, &'static str)];

/// Of fstab(5). Others are dropped, and that is said. docs/storage.md shows this table.
pub(crate) const MOUNT: Table = &[
    (
        &[
            "defaults", "rw", "ro", "suid", "nosuid", "dev", "nodev", "exec", "noexec", "sync", "async", "dirsync",
            "atime", "noatime", "diratime", "nodiratime", "relatime", "norelatime", "strictatime", "nostrictatime",
            "lazytime", "nolazytime", "mand", "nomand", "iversion", "noiversion", "silent", "loud", "nosymfollow",
        ],
        Rule::Carry,
        "the kernel's own, for every type (mount(8))",
    ),
    (
        &[
            "bind", "rbind", "private", "rprivate", "shared", "rshared", "slave", "rslave", "unbindable",
            "runbindable", "loop", "offset", "sizelimit",
        ],
        Rule::Carry,
        "what is mounted, and how it is shared (mount(8))",
    ),
    (&["_netdev"], Rule::Carry, "the live system orders it after the network too"),
    (&["x-systemd.rw-only"], Rule::Carry, "systemd's, without a name of the source in it"),
    (
        &[
            "acl", "noacl", "user_xattr", "nouser_xattr", "errors", "data", "commit", "stripe",
            "journal_checksum", "nojournal_checksum", "delalloc", "nodelalloc", "auto_da_alloc", "noauto_da_alloc",
            "discard", "nodiscard", "inode_readahead_blks", "dioread_nolock", "dioread_lock", "block_validity",
            "noblock_validity", "init_itable", "noinit_itable", "max_batch_time", "min_batch_time",
        ],
        Rule::Carry,
        "ext4(5), in every kernel of el8 to el10",
    ),
    (
        &[
            "inode32", "inode64", "largeio", "nolargeio", "logbufs", "logbsize", "allocsize", "sunit", "swidth",
            "swalloc", "noalign", "norecovery", "filestreams", "wsync", "nouuid",
        ],
        Rule::Carry,
        "xfs(5), in every kernel of el8 to el10",
    ),
    (
        &[
            "quota", "noquota", "usrquota", "grpquota", "prjquota", "uquota", "gquota", "pquota", "uqnoenforce",
            "gqnoenforce", "pqnoenforce", "usrjquota", "grpjquota", "jqfmt",
        ],
        Rule::Carry,
        "quotas are kept while the upgrade writes",
    ),
    (
        &[
            "subvol", "subvolid", "compress", "compress-force", "ssd", "nossd", "ssd_spread", "nossd_spread",
            "space_cache", "nospace_cache", "autodefrag", "noautodefrag", "degraded", "datacow", "nodatacow",
            "datasum", "nodatasum", "thread_pool", "metadata_ratio", "max_inline", "flushoncommit",
            "noflushoncommit", "treelog", "notreelog", "skip_balance", "enospc_debug", "user_subvol_rm_allowed",
        ],
        Rule::Carry,
        "btrfs(5): which subvolume, and how it is written",
    ),
    (
        &[
            "uid", "gid", "umask", "dmask", "fmask", "mode", "codepage", "iocharset", "shortname", "utf8", "quiet",
            "flush", "check", "tz", "nls", "norock", "nojoliet", "map", "unhide", "session",
        ],
        Rule::Carry,
        "vfat, exfat, udf and iso9660: names and owners (mount(8))",
    ),
    (
        &[
            "vers", "nfsvers", "minorversion", "proto", "port", "mountport", "mountproto", "mountvers", "mounthost",
            "hard", "soft", "softerr", "timeo", "retrans", "rsize", "wsize", "acregmin", "acregmax", "acdirmin",
            "acdirmax", "actimeo", "ac", "noac", "cto", "nocto", "lock", "nolock", "local_lock", "sec", "resvport",
            "noresvport", "sharecache", "nosharecache", "lookupcache", "rdirplus", "nordirplus", "nconnect",
            "clientaddr", "tcp", "rdma", "nfsv3", "migration", "nomigration", "fg",
        ],
        Rule::Carry,
        "nfs(5): server, version, security",
    ),
    (
        &[
            "username", "user", "password", "pass", "domain", "dom", "workgroup", "guest", "file_mode", "dir_mode",
            "forceuid", "noforceuid", "forcegid", "noforcegid", "perm", "noperm", "dynperm", "cache", "multiuser",
            "cifsacl", "noserverino", "serverino", "mfsymlinks", "sfu", "mapposix", "mapchars", "nobrl", "nolock",
            "seal", "sign", "ip", "addr", "netbiosname", "servern", "cruid", "backupuid", "backupgid", "nodfs",
            "echo_interval", "max_credits", "posix", "noposixpaths", "unix", "nounix", "nohandlecache", "resilienthandles",
            "persistenthandles", "snapshot", "prefixpath", "idsfromsid", "modefromsid",
        ],
        Rule::Carry,
        "mount.cifs(8): user, version, modes",
    ),
    (
        &["trans", "version", "msize", "access", "dfltuid", "dfltgid", "aname", "uname", "cachetag"],
        Rule::Carry,
        "9p of a virtual machine's host",
    ),
    (&["pri", "sw"], Rule::Carry, "swapon(8)"),
    (&["nouser", "users", "owner", "group", "nousers", "noowner", "nogroup"], Rule::Leave, "who may mount by hand"),
    (
        &[
            "nofail", "noauto", "auto", "x-initrd.mount", "x-systemd.automount", "comment", "x-systemd.idle-timeout",
            "x-systemd.makefs", "x-systemd.growfs", "x-systemd.pcrfs", "x-systemd.validatefs",
        ],
        Rule::Leave,
        "of the source's own boot: nothing is mounted late there, nor made or grown here",
    ),
    (
        &["context", "fscontext", "defcontext", "rootcontext", "seclabel"],
        Rule::Leave,
        "SELinux does not enforce in the live system, whose policy may not know the label",
    ),
    (&["intr", "nointr", "attr2", "noattr2", "ikeep", "noikeep"], Rule::Leave, "newer kernels ignore or refuse it"),
    (
        &["delaylog", "nodelaylog", "barrier", "nobarrier", "osyncisdsync", "osyncisosync", "irixsgid", "ihashsize", "biosize"],
        Rule::Leave,
        "newer kernels refuse it, and data are safe without it",
    ),
    (&["x-gvfs-show", "x-gvfs-hide", "x-gvfs-name", "x-gvfs-icon", "x-gvfs-symbolic-icon"], Rule::Leave, "of desktops"),
    (
        &["udp", "proto=udp", "mountproto=udp"],
        Rule::Drop,
        "el9's kernel has no NFS by UDP, and takes TCP without it",
    ),
    (
        &["sec=lanman", "sec=ntlm", "sec=ntlmi"],
        Rule::Drop,
        "kernels from 5.15 on refuse it, and take NTLMSSP without it",
    ),
    (&["bg", "retry"], Rule::Drop, "mount.nfs would try for as long as a week"),
    (&["x-systemd.device-timeout", "x-systemd.mount-timeout"], Rule::Bound, "0 and infinity wait for ever"),
    (&["x-systemd.requires-mounts-for", "x-systemd.wants-mounts-for"], Rule::Reroot, "a path of the source"),
    (
        &[
            "x-systemd.requires", "x-systemd.wants", "x-systemd.after", "x-systemd.before", "x-systemd.wanted-by",
            "x-systemd.required-by", "x-systemd.device-bound",
        ],
        Rule::Unit,
        "a unit of the source, which the live system does not have; a path becomes x-systemd.requires-mounts-for",
    ),
    (&CREDENTIALS_KEYS, Rule::File, "a file with a password comes along"),
    (
        &["X-mount.subdir", "x-mount.subdir", "X-mount.idmap", "logdev", "rtdev", "journal_path", "journal_dev", "device"],
        Rule::Refuse,
        "another device or directory is meant by it, which we do not follow",
    ),
    (
        &["secretfile", "keyfile", "IdentityFile", "passfile", "secret", "verity.roothashfile", "verity.hashdevice"],
        Rule::Refuse,
        "it names a file that does not come along",
    ),
];

const CREDENTIALS_KEYS: [&str; 2] = ["credentials", "cred"];

/// Of crypttab(5). Others are dropped, and that is said.
pub(crate) const VOLUME: Table = &[
    (
        &[
            "luks",
            "discard",
            "no-read-workqueue",
            "no-write-workqueue",
            "same-cpu-crypt",
            "submit-from-crypt-cpus",
            "key-slot",
            "keyslot",
            "keyfile-offset",
            "keyfile-size",
            "readonly",
            "read-only",
            "cipher",
            "size",
            "hash",
            "plain",
            "offset",
            "skip",
            "sector-size",
            "swap",
            "tmp",
            "bitlk",
            "tcrypt",
            "tcrypt-hidden",
            "tcrypt-system",
            "tcrypt-veracrypt",
            "veracrypt",
        ],
        Rule::Carry,
        "how the volume is written",
    ),
    (
        &[
            "tpm2-device",
            "tpm2-pcrs",
            "fido2-device",
            "fido2-cid",
            "fido2-rp",
            "pkcs11-uri",
            "headless",
            "_netdev",
            "nofail",
        ],
        Rule::Carry,
        "what opens it, and whether it is waited for",
    ),
    (
        &[
            "noauto",
            "x-initrd.attach",
            "tries",
            "verify",
            "loud",
            "quiet",
            "force-luks",
            "timeout",
            "noearly",
            "password-echo",
            "try-empty-password",
            "tpm2-measure-pcr",
            "tpm2-measure-bank",
            "luks-type",
            "initramfs",
        ],
        Rule::Leave,
        "of the source's own boot, or of a keyboard",
    ),
    (
        &["x-systemd.device-timeout", "keyfile-timeout", "token-timeout"],
        Rule::Bound,
        "0 and infinity wait for ever",
    ),
    (&["header"], Rule::File, "the header comes along"),
    (
        &[
            "tpm2-signature",
            "tpm2-pcrlock",
            "tcrypt-keyfile",
            "tpm2-pin",
            "keyscript",
        ],
        Rule::Refuse,
        "it names a file that does not come along, or asks at a keyboard",
    ),
];

/// The value of `rd.luks.options=`: of which volume it speaks, all without a UUID, and its options that come along.
pub(crate) fn of_line(value: &str) -> (Option<&str>, String) {
    const UUID_LENGTH: usize = 36;
    let (of, options) = match value.split_once('=') {
        Some((of, options)) if of.len() == UUID_LENGTH && !of.contains(',') => (Some(of), options),
        _ => (None, value),
    };
    let is_kept = |option: &&str| match rule(VOLUME, option) {
        Some((Rule::Carry, _)) => true,
        Some((Rule::Bound, _)) => is_short(self::value(option)),
        _ => false,
    };
    let kept: Vec<&str> = split_options(options, Quotes::DoNotCount)
        .into_iter()
        .filter(is_kept)
        .collect();
    (of, kept.join(","))
}

/// The rule of an option, and its reason; none for one that is not in the table.
pub(crate) fn rule(table: Table, option: &str) -> Option<(Rule, &'static str)> {
    // One value of an option may have a rule of its own.
    let of = |text: &str| table.iter().find(|(names, ..)| names.contains(&text));
    of(option)
        .or_else(|| of(name(option)))
        .map(|&(_, rule, reason)| (rule, reason))
}

/// What stands before `=`.
pub(crate) fn name(option: &str) -> &str {
    option.split_once('=').map_or(option, |(key, _)| key)
}

/// What stands behind it.
pub(crate) fn value(option: &str) -> &str {
    option.split_once('=').map_or("", |(_, value)| value)
}

/// Whether a span of systemd.time(7) ends, and within [`LONGEST_S`].
pub(crate) fn is_short(span: &str) -> bool {
    let mut seconds = 0u64;
    let mut rest = span.trim();
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let Ok(number) = rest[..digits].parse::<u64>() else {
            return false;
        };
        rest = rest[digits..].trim_start();
        let letters = rest
            .find(|c: char| !c.is_ascii_alphabetic())
            .unwrap_or(rest.len());
        let factor = match &rest[..letters] {
            "" | "s" | "sec" | "second" | "seconds" => 1,
            "m" | "min" | "minute" | "minutes" => 60,
            // Of no length that matters, or too long.
            "ms" | "msec" => 0,
            _ => return false,
        };
        seconds = seconds.saturating_add(number.saturating_mul(factor));
        rest = rest[letters..].trim_start();
    }
    (1..=LONGEST_S).contains(&seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_ends_within_minutes_or_is_cut() {
        for (span, short) in [
            ("30", true),
            ("1m30s", true),
            ("5min", true),
            ("2min 5 s", true),
            ("1s 500ms", true),
            ("500ms", false),
            ("0", false),
            ("infinity", false),
            ("6min", false),
            ("1h", false),
            ("", false),
        ] {
            assert_eq!(is_short(span), short, "{span}");
        }
    }

    #[test]
    fn each_option_has_one_rule_and_the_files_that_we_look_at_come_along() {
        for table in [MOUNT, VOLUME] {
            let mut seen = std::collections::BTreeMap::new();
            for (names, rule, _) in table {
                for name in *names {
                    let former = seen.insert(*name, *rule);
                    assert!(former.is_none_or(|former| former == *rule), "{name}");
                }
            }
        }
        for key in CREDENTIALS {
            assert_eq!(rule(MOUNT, key).unwrap().0, Rule::File, "{key}");
        }
    }

    #[test]
    fn the_manual_shows_every_rule() {
        let text = include_str!("../../../../docs/storage.md");
        for (names, ..) in MOUNT.iter().chain(VOLUME) {
            for name in *names {
                assert!(
                    text.contains(&format!("`{name}`")),
                    "docs/storage.md does not name {name}"
                );
            }
        }
    }
}
