//! The boot loader as it is now, by its files: what it will boot is judged from them (`livemode_common::loader`).
pub(crate) mod systemd_boot;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Result;
use livemode_common::loader::files::{self, ENTRIES};
use livemode_common::loader::grub_cfg::GrubCfg;
use livemode_common::loader::grubenv::Grubenv;
use livemode_common::loader::menu::Menu;
use livemode_common::loader::next_boots::Grub;
use livemode_common::loader::store::Keeper;
use livemode_common::sysroot::SysRoot;
use serde::{Deserialize, Serialize};

use self::systemd_boot::SystemdBootFiles;
use super::source::{FileSystem, MountTable, Place};

const EFI_VARIABLES: &str = "sys/firmware/efi";
/// GRUB's directory beside the kernels.
const GRUB_DIR: &str = "boot/grub2";
/// The vendors' directories of the EFI system partition.
const VENDORS: &str = "boot/efi/EFI";
/// Types of file systems on which GRUB can write over a file's blocks (GRUB manual, "Environment block").
const WRITABLE: [&str; 5] = ["ext2", "ext3", "ext4", "xfs", "vfat"];

/// What is known of it.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Loader {
    /// Whether the firmware is UEFI.
    pub(crate) is_efi: bool,
    /// GRUB, where its configuration is there.
    pub(crate) grub: Option<GrubFiles>,
    /// systemd-boot, where that has booted this system; or why its files are not known.
    #[serde(default)]
    pub(crate) systemd_boot: Option<Result<SystemdBootFiles, String>>,
}

/// GRUB's files, as the source system sees them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct GrubFiles {
    /// The configuration that the firmware's stub leads to.
    pub(crate) cfg: PathBuf,
    /// The environment block, links followed.
    pub(crate) env: PathBuf,
    /// Its file system.
    pub(crate) env_device: FileSystem,
    /// Where entries lie.
    pub(crate) entries: PathBuf,
    /// /boot on its own file system: what GRUB's paths begin with.
    pub(crate) boot: PathBuf,
    /// All that GRUB goes by.
    pub(crate) grub: Grub,
}

impl Loader {
    pub(crate) fn look(root: &SysRoot, table: &MountTable) -> Result<Self> {
        let is_efi = root.at(EFI_VARIABLES).is_dir();
        let grub = match configuration(root, is_efi) {
            None => None,
            Some(found) => Some(GrubFiles::look(root, table, found)?),
        };
        let systemd_boot = systemd_boot::look(root, table)?;
        Ok(Self {
            is_efi,
            grub,
            systemd_boot,
        })
    }

    /// The menu of the loader that has the entry, as it is now.
    pub(crate) fn menu(self, keeper: &Keeper) -> Result<Menu, String> {
        match keeper {
            Keeper::Grub { .. } => {
                let files = self.grub.ok_or("there is no configuration of GRUB")?;
                Ok(Menu::Grub(files.grub))
            }
            Keeper::SystemdBoot { .. } => {
                let files = self
                    .systemd_boot
                    .ok_or("systemd-boot has not booted this system")?;
                Ok(Menu::SystemdBoot(files?.loader))
            }
        }
    }
}

impl GrubFiles {
    fn look(root: &SysRoot, table: &MountTable, found: Result<PathBuf, String>) -> Result<Self> {
        let cfg = found
            .clone()
            .unwrap_or_else(|_| Path::new("/").join(GRUB_DIR).join("grub.cfg"));
        let dir = root.at(cfg.parent().unwrap_or(Path::new("/")));
        let link = dir.join("grubenv");
        let env = link.canonicalize().unwrap_or(link.clone());
        let device_of = |path: &Path| table.file_system_under(&Place::look(path.to_owned())?);
        let env_device = device_of(env.parent().unwrap_or(root.path()))?;
        let boot = device_of(&root.at("boot"))?;
        let entries = files::entries(root);
        let missing = files::missing(root, &boot.dir, &entries);
        let is_elsewhere = device_of(&dir)?.source != env_device.source;
        Ok(Self {
            grub: Grub {
                cfg: found.and_then(|cfg| read_cfg(root, &cfg)),
                env: if is_elsewhere {
                    Err(format!(
                        "{} leads to another file system, where GRUB does not follow it; make it a file of its own: rm {0} && \
                         grub2-editenv {0} create",
                        root.inside(&link).display()
                    ))
                } else {
                    read_env(root, &env)
                },
                env_is_fixed: is_fixed(root, &env_device),
                entries,
                missing,
            },
            entries: Path::new("/").join(ENTRIES),
            boot: boot.dir,
            env: root.inside(&env),
            env_device,
            cfg,
        })
    }
}

/// The configuration that GRUB reads, or why that is not known; none where there is no GRUB.
fn configuration(root: &SysRoot, is_efi: bool) -> Option<Result<PathBuf, String>> {
    let beside = Path::new("/").join(GRUB_DIR).join("grub.cfg");
    let bios = root.at(&beside).is_file().then(|| Ok(beside.clone()));
    if !is_efi {
        return bios;
    }
    let mut stubs = vendors(root);
    if stubs.len() > 1 {
        // What an earlier system has left may lie beside that of the one that runs.
        let own = vendor(root);
        if stubs
            .iter()
            .any(|stub| stub.parent().and_then(Path::file_name) == own.as_deref().map(str::as_ref))
        {
            stubs.retain(|stub| stub.parent().and_then(Path::file_name) == own.as_deref().map(str::as_ref));
        }
    }
    match stubs.as_slice() {
        [] => bios,
        [stub] => Some(match fs::read_to_string(root.at(stub)) {
            // el9's only leads to the one beside the kernels.
            Ok(text) if text.contains("configfile") && !text.contains("blscfg") => Ok(beside),
            Ok(_) => Ok(stub.clone()),
            Err(e) => Err(format!("reading {}: {e}", stub.display())),
        }),
        several => {
            let names: Vec<String> = several.iter().map(|path| path.display().to_string()).collect();
            Some(Err(format!(
                "which of these the firmware boots is not clear: {}; remove the directories of systems that are gone",
                names.join(", ")
            )))
        }
    }
}

fn vendors(root: &SysRoot) -> Vec<PathBuf> {
    let dirs = fs::read_dir(root.at(VENDORS)).into_iter().flatten().flatten();
    let mut stubs: Vec<PathBuf> = dirs
        .map(|dir| {
            Path::new("/")
                .join(VENDORS)
                .join(dir.file_name())
                .join("grub.cfg")
        })
        .collect();
    stubs.retain(|stub| root.at(stub).is_file());
    stubs.sort();
    stubs
}

/// The directory's name that this system's GRUB was built with.
fn vendor(root: &SysRoot) -> Option<String> {
    let text = fs::read_to_string(root.at("etc/os-release")).ok()?;
    let id = text.lines().find_map(|line| line.strip_prefix("ID="))?;
    Some(match id.trim_matches(['"', '\'']) {
        "rhel" | "ol" => "redhat".to_owned(),
        id => id.to_owned(),
    })
}

fn read_cfg(root: &SysRoot, cfg: &Path) -> Result<GrubCfg, String> {
    let text = |path: &Path| fs::read(root.at(path)).map(|text| String::from_utf8_lossy(&text).into_owned());
    let own = text(cfg).map_err(|e| format!("reading {}: {e}", cfg.display()))?;
    // An admin's own lines, which 41_custom reads in at the end.
    let custom = text(&cfg.with_file_name("custom.cfg")).unwrap_or_default();
    Ok(GrubCfg::parse(&format!("{own}\n{custom}")))
}

fn read_env(root: &SysRoot, env: &Path) -> Result<Vec<(String, String)>, String> {
    let shown = root.inside(env).display().to_string();
    if !env.is_file() {
        return Err(format!(
            "{shown} is missing; make it: grub2-editenv {shown} create"
        ));
    }
    let block =
        Grubenv::read(env).map_err(|e| format!("{e:#}; make it anew: grub2-editenv {shown} create"))?;
    Ok(Grub::variables(&block))
}

/// Why GRUB cannot write to a file there ("diskfilter writes are not supported", "sparse file not allowed").
fn is_fixed(root: &SysRoot, device: &FileSystem) -> Option<String> {
    if !WRITABLE.contains(&device.fstype.as_str()) {
        return Some(format!("GRUB does not write to {}", device.fstype));
    }
    let node = root
        .at(&device.source)
        .canonicalize()
        .or_else(|_| Path::new(&device.source).canonicalize());
    let name = node.ok()?.file_name()?.to_owned();
    let sys = Path::new("/sys/class/block").join(name);
    if sys.join("md").is_dir() {
        return Some("GRUB does not write to software RAID".to_owned());
    }
    let uuid = fs::read_to_string(sys.join("dm/uuid")).ok()?;
    // Paths of multipath and partitions on them are the firmware's disks.
    let is_plain = uuid.starts_with("mpath-") || (uuid.starts_with("part") && uuid.contains("-mpath-"));
    (!is_plain).then(|| {
        format!(
            "GRUB does not write to device-mapper's {}",
            uuid.split('-').next().unwrap_or_default()
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source() -> (tempfile::TempDir, SysRoot) {
        let dir = tempfile::tempdir().unwrap();
        let root = SysRoot::new(dir.path());
        (dir, root)
    }

    fn write(root: &SysRoot, path: &str, text: &str) {
        let path = root.at(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    #[test]
    fn the_configuration_is_the_one_that_the_firmware_leads_to() {
        let (_dir, root) = source();
        assert_eq!(configuration(&root, false), None);
        assert_eq!(configuration(&root, true), None);
        write(&root, "boot/grub2/grub.cfg", "blscfg\n");
        let beside = Some(Ok(PathBuf::from("/boot/grub2/grub.cfg")));
        assert_eq!(configuration(&root, false), beside);
        assert_eq!(configuration(&root, true), beside);
        write(&root, "boot/efi/EFI/centos/grub.cfg", "blscfg\n");
        let centos = Some(Ok(PathBuf::from("/boot/efi/EFI/centos/grub.cfg")));
        assert_eq!(configuration(&root, true), centos);
        assert_eq!(configuration(&root, false), beside);
        write(
            &root,
            "boot/efi/EFI/redhat/grub.cfg",
            "search --fs-uuid --set=dev x\nset prefix=($dev)/grub2\nconfigfile $prefix/grub.cfg\n",
        );
        let why = configuration(&root, true).unwrap().unwrap_err();
        assert!(
            why.contains("EFI/centos/grub.cfg, /boot/efi/EFI/redhat/grub.cfg"),
            "{why}"
        );
        write(&root, "etc/os-release", "NAME=x\nID=\"rhel\"\n");
        assert_eq!(configuration(&root, true), beside);
    }

    #[test]
    fn a_block_that_is_missing_or_torn_is_told_with_the_remedy() {
        let (_dir, root) = source();
        let env = root.at("boot/grub2/grubenv");
        let why = read_env(&root, &env).unwrap_err();
        assert_eq!(
            why,
            "/boot/grub2/grubenv is missing; make it: grub2-editenv /boot/grub2/grubenv create"
        );
        write(&root, "boot/grub2/grubenv", "saved_entry=x\n");
        let why = read_env(&root, &env).unwrap_err();
        assert!(
            why.ends_with("make it anew: grub2-editenv /boot/grub2/grubenv create"),
            "{why}"
        );
    }

    #[test]
    fn grub_writes_to_few_file_systems() {
        let (_dir, root) = source();
        let on = |fstype: &str| {
            let device = FileSystem {
                fstype: fstype.into(),
                source: "/dev/none".into(),
                ..FileSystem::default()
            };
            is_fixed(&root, &device)
        };
        assert_eq!(on("xfs"), None);
        assert_eq!(on("btrfs").as_deref(), Some("GRUB does not write to btrfs"));
    }

    #[test]
    fn an_admins_own_lines_count() {
        let (_dir, root) = source();
        write(
            &root,
            "boot/grub2/grub.cfg",
            "load_env\nset default=\"${saved_entry}\"\nblscfg\n",
        );
        let read = || read_cfg(&root, Path::new("/boot/grub2/grub.cfg")).unwrap();
        assert!(read().strange.is_empty());
        write(&root, "boot/grub2/custom.cfg", "set default=\"mine\"\n");
        assert_eq!(read().strange, ["set default=\"mine\""]);
    }
}
