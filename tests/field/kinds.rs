//! More of each kind, from the files of a machine on: other escapes, options, layers and names than those of the fixtures.
use livemode_tests::described::{lsblk, Described};

/// What a machine has beside a root file system and /boot, and what is to become of it.
#[derive(Default)]
pub struct Kind {
    pub name: &'static str,
    /// Lines behind those two.
    pub fstab: &'static str,
    pub crypttab: &'static str,
    pub devices: &'static str,
    pub mounted: &'static str,
    /// Files with their content, and links, which begin with `->`.
    pub files: &'static [(&'static str, &'static str)],
    pub arguments: &'static str,
    /// The live system's mounts beside those two, without what all have.
    pub mounts: &'static [&'static str],
    pub live_crypttab: &'static [&'static str],
    pub early_crypttab: &'static [&'static str],
    /// How each refusal and each warning begins.
    pub refusals: &'static [&'static str],
    pub warnings: &'static [&'static str],
}

pub const PLAIN: [&str; 2] = [
    "UUID=11111111-0000-4000-8000-000000000001 /run/upgrade xfs defaults,nofail,x-livemode.required 0 0",
    "UUID=11111111-0000-4000-8000-000000000002 /run/upgrade/boot xfs defaults,nofail,x-livemode.required 0 0",
];
const DISKS: &str = "\
/dev/sda disk
 /dev/sda1 part xfs 11111111-0000-4000-8000-000000000002
 /dev/sda2 part xfs 11111111-0000-4000-8000-000000000001
";

impl Kind {
    pub fn machine(&self) -> Described {
        let fstab = format!(
            "UUID=11111111-0000-4000-8000-000000000001 / xfs defaults 0 0\n\
             UUID=11111111-0000-4000-8000-000000000002 /boot xfs defaults 0 0\n{}",
            self.fstab
        );
        let mounted = format!("/ /dev/sda2 xfs\n/boot /dev/sda1 xfs\n{}", self.mounted);
        let tree = lsblk(&format!("{DISKS}{}", self.devices));
        let machine = Described::new(fstab.as_bytes(), &tree, &mounted).unwrap();
        machine.put("etc/crypttab", self.crypttab.as_bytes()).unwrap();
        let line = format!("root=/dev/sda2 ro console=tty0 {}\n", self.arguments);
        machine.put("proc/cmdline", line.as_bytes()).unwrap();
        for (path, content) in self.files {
            match content.strip_prefix("->") {
                Some(to) => machine.link(path, to).unwrap(),
                None => machine.put(path, content.as_bytes()).unwrap(),
            }
        }
        machine
    }
}

const NETWORK: (&str, &str) = (
    "etc/leapp/actor_conf.d/livemode.yaml",
    "livemode: {setup_network_manager: true}\n",
);

pub fn all() -> Vec<Kind> {
    let kind = Kind::default;
    vec![
        Kind {
            name: "an ESP that systemd-gpt-auto mounts",
            devices: " /dev/sda3 part vfat ABCD-1234\n",
            mounted: "/boot/efi systemd-1 autofs\n/boot/efi /dev/sda3 vfat\n",
            mounts: &["UUID=ABCD-1234 /run/upgrade/boot/efi vfat nofail,x-livemode.required 0 0"],
            warnings: &["/boot/efi is mounted now, though not by /etc/fstab"],
            ..kind()
        },
        Kind {
            name: "an image of a CD by hand",
            devices: "/dev/loop0 loop iso9660 2020-01-01\n",
            mounted: "/var/www/iso /dev/loop0 iso9660\n",
            files: &[("sys/block/loop0/loop/backing_file", "/srv/el.iso\n")],
            mounts: &["/run/upgrade/srv/el.iso /run/upgrade/var/www/iso iso9660 loop,nofail,x-livemode.required 0 0"],
            warnings: &["/var/www/iso is mounted now, though not by /etc/fstab"],
            ..kind()
        },
        Kind {
            name: "a loop device that somebody makes",
            fstab: "/dev/loop7 /srv/x ext4 defaults 0 0\n/dev/loop7 /srv/y ext4 nofail 0 0\n",
            devices: "/dev/loop7 loop ext4 7\n",
            refusals: &["/srv/x (/etc/fstab, line 3): it lies on /dev/loop7 (a file, "],
            warnings: &["/srv/y (/etc/fstab, line 4): it lies on /dev/loop7 (a file, "],
            ..kind()
        },
        Kind {
            name: "binds of the kernel's through other names, and of binds",
            fstab: "/var/run/dbus /srv/jail/dbus none bind 0 0\n/proc /srv/p none rbind 0 0\n/srv/p/x /srv/q none bind 0 0\n\
                    /srv/a /srv/b tmpfs bind 0 0\n/srv//c/ /srv/./d none bind 0 0\n",
            mounts: &[
                "/run/upgrade/srv/a /run/upgrade/srv/b none bind,nofail,x-livemode.required 0 0",
                "/run/upgrade/srv/c /run/upgrade/srv/d none bind,nofail,x-livemode.required 0 0",
            ],
            ..kind()
        },
        Kind {
            name: "an overlay of directories",
            fstab: "overlay /srv/o overlay lowerdir=/a,upperdir=/b,workdir=/c 0 0\n",
            refusals: &["/srv/o (/etc/fstab, line 3): an overlay is made of other directories"],
            ..kind()
        },
        Kind {
            name: "labels that differ in case, escapes, quotes",
            fstab: "LABEL=\"D\" /srv/q\"uote ext4 defaults 0 2 # c\nLABEL='d' /srv/b\\134x ext4 defaults 0 2\n\
                    PARTLABEL=a\\040b /srv/t\\011b ext4 defaults 0 0\nUUID=ABCDEF /srv/u ext4 defaults\r\n",
            devices: "/dev/sdb disk\n /dev/sdb1 part ext4 1 label=D\n /dev/sdb2 part ext4 2 label=d\n \
                      /dev/sdb3 part ext4 abcdef partlabel=a%20b\n",
            mounts: &[
                "LABEL=D /run/upgrade/srv/q\"uote ext4 defaults,nofail,x-livemode.required 0 2",
                "LABEL=d /run/upgrade/srv/b\\134x ext4 defaults,nofail,x-livemode.required 0 2",
                "PARTLABEL=a\\040b /run/upgrade/srv/t\\011b ext4 defaults,nofail,x-livemode.required 0 0",
                "UUID=abcdef /run/upgrade/srv/u ext4 nofail,x-livemode.required 0 0",
            ],
            warnings: &["/srv/u: the live system goes without its option defaults\r"],
            ..kind()
        },
        Kind {
            name: "commas in an option",
            fstab: "UUID=1 /srv/a ext4 rw,context=\"system_u:object_r:httpd_sys_content_t:s0:c1,c2\",nosuid 0 2\n\
                    UUID=1 /srv/b ext4 nosuch=a\\134,nofail,noexec 0 2\n",
            devices: "/dev/sdb disk ext4 1\n",
            mounts: &[
                "UUID=1 /run/upgrade/srv/a ext4 rw,nosuid,nofail,x-livemode.required 0 2",
                "UUID=1 /run/upgrade/srv/b ext4 noexec,nofail,x-livemode.required 0 2",
            ],
            warnings: &["/srv/b: the live system goes without its option nosuch=a\\,nofail (it has no rule)"],
            ..kind()
        },
        Kind {
            name: "disks that wait for somebody",
            fstab: "UUID=1 /srv/a xfs defaults 0 0\nUUID=2 /srv/b xfs defaults 0 0\nUUID=3 /srv/c xfs defaults 0 0\n\
                    UUID=4 /srv/d xfs nofail 0 0\nUUID=5 /srv/e xfs defaults 0 0\nUUID=6 /srv/f xfs defaults 0 0\n\
                    UUID=7 /srv/g xfs defaults 0 0\n",
            devices: "/dev/sdb disk xfs 1\n /dev/drbd0 disk xfs 1\n/dev/zd0 disk xfs 2\n/dev/emcpowera disk\n \
                      /dev/emcpowera1 part xfs 3\n/dev/rbd0 disk xfs 4\n/dev/sdc disk LVM2_member\n /dev/mapper/vg-vm lvm\n  \
                      /dev/mapper/vg-vm1 part xfs 5\n/dev/sdd disk DM_integrity\n /dev/mapper/i crypt xfs 6\n\
                      /dev/sde disk xfs 7 tran=fcoe\n",
            refusals: &[
                "/srv/a (/etc/fstab, line 3): it lies on /dev/drbd0 (no disk that",
                "/srv/b (/etc/fstab, line 4): it lies on /dev/zd0 (no disk that",
                "/srv/c (/etc/fstab, line 5): it lies on /dev/emcpowera (no disk that",
                "/srv/e (/etc/fstab, line 7): it lies on /dev/mapper/vg-vm1 (a partition within a volume, by kpartx)",
                "/srv/f (/etc/fstab, line 8): it lies on /dev/sdd (DM_integrity)",
                "/srv/g (/etc/fstab, line 9): it lies on /dev/sde (FCoE)",
            ],
            warnings: &["/srv/d (/etc/fstab, line 6): it lies on /dev/rbd0 (no disk that"],
            ..kind()
        },
        Kind {
            name: "disks that the kernel brings up",
            fstab: "/dev/dasdb1 /srv/a xfs defaults 0 0\n/dev/cciss/c0d0p1 /srv/b xfs defaults 0 0\n\
                    /dev/nvme1n1p1 /srv/c xfs defaults 0 0\n/dev/md126p1 /srv/d xfs defaults 0 0\n\
                    /dev/mapper/mpatha1 /srv/e xfs defaults 0 0\n/dev/vg/data /srv/f xfs defaults 0 0\n",
            devices: "/dev/dasdb disk\n /dev/dasdb1 part xfs 1\n/dev/cciss/c0d0 disk\n /dev/cciss/c0d0p1 part xfs 2\n\
                      /dev/nvme1n1 disk\n /dev/nvme1n1p1 part xfs 3\n/dev/sdb disk isw_raid_member\n /dev/md126 raid1\n  \
                      /dev/md126p1 part xfs 4\n/dev/sdc disk mpath_member\n /dev/mapper/mpatha mpath\n  \
                      /dev/mapper/mpatha1 part xfs 5\n/dev/sdd disk LVM2_member\n /dev/mapper/vg-data_corig lvm\n  \
                      /dev/mapper/vg-data lvm xfs 6\n",
            mounts: &[
                "UUID=1 /run/upgrade/srv/a xfs defaults,nofail,x-livemode.required 0 0",
                "UUID=2 /run/upgrade/srv/b xfs defaults,nofail,x-livemode.required 0 0",
                "UUID=3 /run/upgrade/srv/c xfs defaults,nofail,x-livemode.required 0 0",
                "UUID=4 /run/upgrade/srv/d xfs defaults,nofail,x-livemode.required 0 0",
                "/dev/mapper/mpatha1 /run/upgrade/srv/e xfs defaults,nofail,x-livemode.required 0 0",
                "/dev/vg/data /run/upgrade/srv/f xfs defaults,nofail,x-livemode.required 0 0",
            ],
            ..kind()
        },
        Kind {
            name: "waits, and paths and units in options",
            fstab: "UUID=1 /srv/a ext4 x-systemd.device-timeout=1h,x-systemd.mount-timeout=0 0 0\n\
                    nas:/b /mnt/b nfs4 retry=9,_netdev,x-systemd.automount,x-systemd.idle-timeout=60 0 0\n\
                    /srv/a/x /var/x none bind,x-systemd.requires=/l/a,x-systemd.wanted-by=a.target 0 0\n",
            devices: "/dev/sdb disk ext4 1\n",
            files: &[NETWORK, ("l", "->srv")],
            mounts: &[
                "UUID=1 /run/upgrade/srv/a ext4 nofail,x-livemode.required 0 0",
                "nas:/b /run/upgrade/mnt/b nfs4 _netdev,nofail,x-livemode.required 0 0",
                "/run/upgrade/srv/a/x /run/upgrade/var/x none \
                 bind,x-systemd.requires-mounts-for=/run/upgrade/srv/a,nofail,x-livemode.required 0 0",
            ],
            warnings: &[
                "/srv/a: the live system goes without its option x-systemd.device-timeout=1h",
                "/srv/a: the live system goes without its option x-systemd.mount-timeout=0",
                "/mnt/b: the live system goes without its option retry=9",
                "/var/x: the live system goes without its option x-systemd.wanted-by=a.target",
            ],
            ..kind()
        },
        Kind {
            name: "links of several kinds, and names by rules",
            fstab: "UUID=1 /data xfs defaults 0 0\nUUID=2 /a/b/c xfs defaults 0 0\n/l/file none swap sw 0 0\n\
                    /dev/disk/by-app/db /opt/db xfs defaults 0 0\n/dev/disk/by-path/pci-1 /opt/p xfs defaults 0 0\n",
            devices: "/dev/sdb disk\n /dev/sdb1 part xfs 1\n /dev/sdb2 part xfs 2\n /dev/sdb3 part xfs 3\n /dev/sdb4 part xfs 4\n",
            files: &[
                ("data", "->../export/data"),
                ("a", "->/x"),
                ("x/b", "->y"),
                ("x/y/c/f", ""),
                ("l", "->/srv"),
                ("srv/file", ""),
                ("dev/disk/by-app/db", "->../../sdb3"),
                ("dev/disk/by-path/pci-1", "->../../sdb4"),
            ],
            mounts: &[
                "UUID=1 /run/upgrade/export/data xfs defaults,nofail,x-livemode.required 0 0",
                "UUID=2 /run/upgrade/x/y/c xfs defaults,nofail,x-livemode.required 0 0",
                "/run/upgrade/srv/file none swap sw,nofail 0 0",
                "UUID=3 /run/upgrade/opt/db xfs defaults,nofail,x-livemode.required 0 0",
                "UUID=4 /run/upgrade/opt/p xfs defaults,nofail,x-livemode.required 0 0",
            ],
            warnings: &["/opt/db: /dev/disk/by-app/db is a name of the source system's udev rules; taking UUID=3"],
            ..kind()
        },
        Kind {
            name: "a header of its own, keys by name, options of other boots",
            fstab: "/dev/mapper/data /data xfs defaults 0 0\n/dev/mapper/more /more xfs defaults 0 0\n",
            crypttab: "# two\ndata /dev/disk/by-id/ata-1 /etc/k luks,header=/etc/h,tries=3,timeout=0,keyfile-erase=yes\n\
                       more UUID=9 none luks,x-systemd.device-timeout=0\n",
            devices: "/dev/sdb disk\n /dev/mapper/data crypt xfs 1\n/dev/sdc disk crypto_LUKS 9\n /dev/mapper/more crypt xfs 2\n",
            files: &[
                ("etc/k", "k"),
                ("etc/h", "h"),
                ("etc/cryptsetup-keys.d/more.key", "k"),
                ("dev/disk/by-id/ata-1", "->../../sdb"),
            ],
            mounts: &[
                "/dev/mapper/data /run/upgrade/data xfs defaults,nofail,x-livemode.required 0 0",
                "/dev/mapper/more /run/upgrade/more xfs defaults,nofail,x-livemode.required 0 0",
            ],
            live_crypttab: &[
                "data /dev/disk/by-id/ata-1 /etc/k luks,header=/etc/h,headless=true,nofail",
                "more UUID=9 /etc/cryptsetup-keys.d/more.key luks,headless=true,nofail",
            ],
            warnings: &[
                "/etc/crypttab, line 2: the live system goes without keyfile-erase=yes of data",
                "/etc/crypttab, line 3: the live system goes without x-systemd.device-timeout=0 of more",
            ],
            ..kind()
        },
        Kind {
            name: "the kernel's line names volumes, options and a key",
            crypttab: "more UUID=9 /etc/k luks,timeout=0,noauto\n",
            devices: "/dev/sdc disk crypto_LUKS 9\n /dev/mapper/more crypt xfs 2\n",
            arguments: "rd.luks.uuid=9 rd.luks.options=timeout=0,discard rd.luks.key=/etc/all",
            files: &[("etc/k", "k"), ("etc/all", "k")],
            early_crypttab: &["more UUID=9 /etc/k luks,headless=true,nofail"],
            warnings: &[
                "/etc/k, which opens UUID=9, goes into the initramfs",
                "/etc/all, which rd.luks.key= names, goes into the initramfs",
            ],
            ..kind()
        },
    ]
}
