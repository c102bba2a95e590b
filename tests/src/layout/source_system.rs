//! The source system of a layout, on its file systems: they are made, mounted, filled, and built for.
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use livemode_common::cmd::Cmd;
use livemode_common::records::Manifest;

use super::{Layout, Volume};
use crate::container::Programs;
use crate::disk::Mounted;
use crate::source;
use crate::testbed::{self, Suite};

/// The file systems, mounted as the source has them; unmounted in reverse.
struct Tree {
    root: PathBuf,
    mounted: Vec<PathBuf>,
}

impl Drop for Tree {
    fn drop(&mut self) {
        for target in self.mounted.iter().rev() {
            if let Err(error) = Cmd::new("umount").arg(target).run() {
                eprintln!("{error:#}");
            }
        }
    }
}

impl Tree {
    fn at(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }

    fn mount(layout: &Layout, dir: &Path) -> Result<Self> {
        let root = dir.join("root");
        fs::create_dir_all(&root)?;
        let mut tree = Self {
            root,
            mounted: Vec::new(),
        };
        for (number, volume) in layout.volumes.iter().enumerate() {
            let target = tree.at(volume.target);
            fs::create_dir_all(&target)?;
            if volume.fstype == "vfat" {
                // Not every kernel that tests run on has it, and nothing is put there before the upgrade.
                continue;
            }
            let image = dir.join(format!("volume{number}"));
            let subvolume = volume.options.split(',').find(|o| o.starts_with("subvol="));
            let options = ["loop"]
                .into_iter()
                .chain(subvolume)
                .collect::<Vec<_>>()
                .join(",");
            // A second subvolume is of the image of the first.
            let image = match layout.volumes.iter().position(|other| other.uuid == volume.uuid) {
                Some(first) if first < number => dir.join(format!("volume{first}")),
                _ => image,
            };
            let mount = Cmd::new("mount").args(["-t", volume.fstype, "-o", &options]);
            mount.arg(&image).arg(&target).run()?;
            tree.mounted.push(target);
        }
        Ok(tree)
    }
}

/// The file systems of a layout, each in a file below `dir`.
pub(super) fn make_file_systems(layout: &Layout, dir: &Path) -> Result<()> {
    let mut made: Vec<&str> = Vec::new();
    for (number, volume) in layout.volumes.iter().enumerate() {
        if made.contains(&volume.uuid) {
            continue;
        }
        made.push(volume.uuid);
        let image = dir.join(format!("volume{number}"));
        fs::File::create(&image)?.set_len(volume.size_mib << 20)?;
        let sector = layout.sector.to_string();
        let mkfs = Cmd::new(format!("mkfs.{}", volume.fstype));
        let mkfs = match volume.fstype {
            "xfs" => mkfs
                .args(["-q", "-m"])
                .arg(format!("uuid={}", volume.uuid))
                .args(["-s", &format!("size={sector}")]),
            "btrfs" => mkfs.args(["-q", "-U", volume.uuid]),
            "vfat" => mkfs.args(["-S", &sector, "-i", &volume.uuid.replace('-', "")]),
            _ => mkfs.args(["-q", "-F", "-b", "4096", "-U", volume.uuid]),
        };
        mkfs.arg(&image).run()?;
        let subvolumes = layout.volumes.iter().filter(|other| other.uuid == volume.uuid);
        let subvolumes: Vec<&str> = subvolumes
            .flat_map(|other| other.options.split(','))
            .filter_map(|option| option.strip_prefix("subvol="))
            .collect();
        if !subvolumes.is_empty() {
            let top = Mounted::new(&image)?;
            for name in subvolumes {
                Cmd::new("btrfs")
                    .args(["subvolume", "create"])
                    .arg(top.at(name))
                    .run()?;
            }
        }
    }
    Ok(())
}

/// What the source sees of itself, as far as `livemode-prep` asks: its mounts, and its devices by UUID.
fn write_views(layout: &Layout, tree: &Tree) -> Result<()> {
    let (mut mounts, by_uuid) = (String::new(), tree.at("dev/disk/by-uuid"));
    fs::create_dir_all(tree.at("proc/self"))?;
    fs::create_dir_all(&by_uuid)?;
    for (number, volume) in layout.volumes.iter().enumerate() {
        let Volume {
            target,
            device,
            fstype,
            ..
        } = volume;
        let subvolume = volume
            .options
            .split(',')
            .find_map(|option| option.strip_prefix("subvol="));
        let inside = subvolume.map_or("/".to_owned(), |name| format!("/{name}"));
        mounts.push_str(&format!(
            "{} 1 0:{number} {inside} {target} rw - {fstype} {device} rw\n",
            30 + number
        ));
        let node = tree.at(device);
        fs::create_dir_all(node.parent().context("a device without a directory")?)?;
        fs::write(&node, "")?;
        let link = by_uuid.join(volume.uuid);
        if !link.is_symlink() {
            let up = "../".repeat(2);
            std::os::unix::fs::symlink(format!("{up}{}", device.trim_start_matches("/dev/")), link)?;
        }
    }
    fs::write(tree.at("proc/self/mountinfo"), mounts)?;
    Ok(())
}

fn write_source(layout: &Layout, tree: &Tree) -> Result<()> {
    Cmd::new("cp")
        .args(["-a", "--no-target-directory"])
        .arg(testbed::source()?)
        .arg(&tree.root)
        .run()?;
    let mut fstab = String::new();
    for volume in layout.volumes {
        let options = if volume.options.is_empty() {
            "defaults"
        } else {
            volume.options
        };
        fstab.push_str(&format!(
            "UUID={} {} {} {options} 0 0\n",
            volume.uuid, volume.target, volume.fstype
        ));
    }
    fs::write(tree.at("etc/fstab"), fstab + layout.fstab)?;
    let arguments = fs::read_to_string(tree.at("etc/kernel/cmdline"))?;
    fs::write(
        tree.at("etc/kernel/cmdline"),
        format!("{} {}\n", arguments.trim(), layout.arguments),
    )?;
    for dir in ["etc/leapp/actor_conf.d", "var/lib/leapp"] {
        fs::create_dir_all(tree.at(dir))?;
    }
    fs::write(tree.at("etc/leapp/actor_conf.d/livemode.yaml"), layout.config)?;
    for (path, content) in layout.files {
        let at = tree.at(path);
        fs::create_dir_all(at.parent().context("a file without a directory")?)?;
        fs::write(&at, content)?;
        fs::set_permissions(&at, fs::Permissions::from_mode(0o600))?;
    }
    (layout.arrange)(&tree.root)
}

/// Runs `build` for the source on its file systems, with lsblk as the fixture has it; what it needs to boot is put beside.
pub(super) fn build(layout: &Layout, dir: &Path) -> Result<(Manifest, Vec<String>)> {
    let tree = Tree::mount(layout, dir)?;
    write_source(layout, &tree)?;
    write_views(layout, &tree)?;
    let programs = Programs::with("lsblk", &format!("cat {}", layout.fixture().display()))?;
    let prep = || source::prep(&tree.root).env("PATH", programs.path());
    let container = testbed::container(Suite::Bookworm)?;
    let plan = prep()
        .args(["plan", "--json", "--boot-entry", layout.boot_entry, "--userspace"])
        .arg(&container)
        .read()?;
    let plan: serde_json::Value = serde_json::from_str(&plan)?;
    let storage = serde_json::from_value(plan["storage"].clone())?;
    let manifest = prep()
        .args([
            "build",
            "--json",
            "--boot-entry",
            layout.boot_entry,
            "--userspace",
        ])
        .arg(&container)
        .read()?;
    let manifest: Manifest = serde_json::from_str(&manifest)?;
    for (from, to) in [
        (&manifest.kernel.path, "kernel"),
        (&manifest.initramfs.path, "initramfs"),
    ] {
        fs::copy(tree.at(from), dir.join(to)).with_context(|| format!("copying {from}"))?;
    }
    (layout.spoil)(&tree.root)?;
    // The views of the source on a directory are not of the source that boots.
    fs::remove_dir_all(tree.at("proc/self"))?;
    fs::remove_dir_all(tree.at("dev/disk"))?;
    Ok((manifest, storage))
}
