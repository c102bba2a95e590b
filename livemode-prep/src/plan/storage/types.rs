//! Types of file systems: which are the kernel's own, which come by the network, which are known to work. Pure.

/// Kernel interfaces and RAM: the upgrade's container brings its own.
const VIRTUAL: [&str; 27] = [
    "proc",
    "sysfs",
    "tmpfs",
    "devtmpfs",
    "devpts",
    "cgroup",
    "cgroup2",
    "mqueue",
    "hugetlbfs",
    "debugfs",
    "tracefs",
    "securityfs",
    "configfs",
    "efivarfs",
    "pstore",
    "bpf",
    "ramfs",
    "autofs",
    "binfmt_misc",
    "fusectl",
    "nfsd",
    "rpc_pipefs",
    "selinuxfs",
    "usbfs",
    "cpuset",
    "nsfs",
    "resctrl",
];
/// On a device, mounted by the kernel alone.
const LOCAL: [&str; 20] = [
    "ext2", "ext3", "ext4", "xfs", "btrfs", "vfat", "msdos", "exfat", "iso9660", "udf", "f2fs", "squashfs",
    "erofs", "ntfs3", "hfs", "hfsplus", "jfs", "minix", "nilfs2", "reiserfs",
];
/// By the network, with a rule for each in `needs.rs`; the last two come from a virtual machine's host.
const REMOTE: [&str; 6] = ["nfs", "nfs4", "cifs", "smb3", "9p", "virtiofs"];
/// Mounted by programs that no package of the target's own repositories brings, or that need a cluster.
const BY_PROGRAMS: [&str; 12] = [
    "fuse",
    "fuseblk",
    "ceph",
    "glusterfs",
    "davfs",
    "gfs2",
    "ocfs2",
    "zfs",
    "lustre",
    "gpfs",
    "afs",
    "bcachefs",
];

/// Put together of other directories of the source, which its options name.
pub(super) const OVERLAY: &str = "overlay";

/// Of the kernel, or in RAM.
pub(super) fn is_virtual(fstype: &str) -> bool {
    VIRTUAL.contains(&fstype)
}

/// Not from a device of this machine.
pub(super) fn is_remote(fstype: &str) -> bool {
    REMOTE.contains(&fstype)
}

/// Whether the live system mounts it.
pub(super) fn is_known(fstype: &str) -> bool {
    LOCAL.contains(&fstype) || is_remote(fstype)
}

/// Whether the kernel alone does not mount it.
pub(super) fn needs_a_program(fstype: &str) -> bool {
    BY_PROGRAMS.contains(&fstype) || fstype.starts_with("fuse.")
}
