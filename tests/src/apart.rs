//! A source system with /boot on a disk of its own, whose upgrade can be all or nothing.
use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use anyhow::Result;
use livemode_common::cmd::Cmd;
use livemode_common::contract::{STATE_DIR, STORE_FILE};
use livemode_common::store::{Piece, StoreIo};

use crate::disk;
use crate::faults::Tree;
use crate::subject::Subject;

/// Of the file system with /boot.
const BOOT_UUID: &str = "6c697665-6d6f-4d6f-8d6f-0000000b0075";
const BOOT_MIB: u64 = 200;
/// Where GRUB finds grub.cfg: the loader's disk comes first, then the root, then /boot.
pub(crate) const PREFIX: &str = "(hd2)/grub2";

/// A mount below another.
pub(crate) struct Inner(PathBuf);

impl Drop for Inner {
    fn drop(&mut self) {
        if let Err(error) = Cmd::new("umount").arg(&self.0).run() {
            eprintln!("{error:#}");
        }
    }
}

/// How a subject was before a machine ran: its files, and every block of the disk with the root.
pub struct Before {
    /// Both file systems.
    pub tree: Tree,
    disk: PathBuf,
    store: Vec<Piece>,
}

impl Before {
    /// Looks, then copies: to mount a disk changes it.
    ///
    /// # Errors
    /// When the disks cannot be read, or there is no store.
    pub fn of(subject: &Subject) -> Result<Self> {
        let (tree, store) = {
            let mounted = subject.mounted()?;
            let store = mounted.at(STATE_DIR).join(STORE_FILE);
            let (_, header) = StoreIo::of_file(&store, false)?;
            (Tree::of(mounted.path())?, header.map.pieces().to_vec())
        };
        let disk = subject.disk().with_extension("before");
        disk::copy(&subject.disk(), &disk)?;
        Ok(Self { tree, disk, store })
    }

    /// Where the disk differs from what it was, in bytes from its beginning, but for the store on it.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn changed_blocks(&self, now: &Path) -> Result<Vec<u64>> {
        changed(&self.disk, now, &self.store)
    }

    /// The files that are not as they were.
    ///
    /// # Errors
    /// When the disks cannot be read.
    pub fn changed_files(&self, subject: &Subject) -> Result<Vec<String>> {
        Ok(Tree::of(subject.mounted()?.path())?.differences(&self.tree, &[]))
    }
}

fn changed(before: &Path, now: &Path, store: &[Piece]) -> Result<Vec<u64>> {
    const CHUNK: usize = 1 << 20;
    let is_of_the_store = |at: u64| {
        store
            .iter()
            .any(|piece| (piece.disk..piece.disk + piece.bytes).contains(&at))
    };
    let (before, now) = (fs::File::open(before)?, fs::File::open(now)?);
    let bytes = now.metadata()?.len();
    let mut changed = Vec::new();
    let (mut old, mut new) = (vec![0; CHUNK], vec![0; CHUNK]);
    for at in (0..bytes).step_by(CHUNK) {
        before.read_exact_at(&mut old, at)?;
        now.read_exact_at(&mut new, at)?;
        if old == new {
            continue;
        }
        let blocks = old.chunks(4096).zip(new.chunks(4096)).zip((at..).step_by(4096));
        let differing = blocks.filter(|((old, new), at)| old != new && !is_of_the_store(*at));
        changed.extend(differing.map(|(_, at)| at));
    }
    Ok(changed)
}

/// The stand-in of leapp does with /boot what the target's packages do: a kernel comes with its entry and becomes the default,
/// grub.cfg is written anew, a file goes.
const KERNEL: &str = r##"
def new_kernel():
    import glob, shutil
    entry = [path for path in glob.glob("/boot/loader/entries/*.conf") if "livemode" not in path][0]
    old = [name for name in os.listdir("/boot") if name.startswith("vmlinuz-6")][0].removeprefix("vmlinuz-")
    shutil.copy("/boot/vmlinuz-" + old, "/boot/vmlinuz-7.0")
    shutil.copy("/boot/initrd.img-source", "/boot/initrd.img-7.0")
    os.makedirs("/lib/modules/7.0")
    open("/lib/modules/7.0/modules.dep", "w").close()
    text = open(entry).read().replace("initrd.img-source", "initrd.img-7.0").replace(old, "7.0")
    open(entry.replace(old, "7.0"), "w").write(text)
    block = open("/boot/grub2/grubenv").read().replace("-" + old + "\n", "-7.0\n")
    with open("/boot/grub2/grubenv", "r+") as file:
        file.write((block + "#" * 1024)[:1024])
    open("/boot/grub2/grub.cfg", "a").write("# by the new system\n")
    for path in glob.glob("/boot/config-*"):
        os.remove(path)
    os.sync()


"##;

fn with_kernel(root: &Path) -> Result<()> {
    let leapp = root.join("usr/bin/leapp");
    let text = fs::read_to_string(&leapp)?
        .replace("    return subprocess.call(\n", "    code = subprocess.call(\n")
        .replace(
            "\"upgrade\"]\n    )\n",
            "\"upgrade\"]\n    )\n    if code == 0:\n        new_kernel()\n        if os.path.exists(\"/etc/leapp-standin-fails-late\"):\n            return 9\n    return code\n",
        )
        .replace(
            "sys.exit(main())",
            &format!("{}sys.exit(main())", KERNEL.trim_start()),
        );
    fs::write(&leapp, text)?;
    Ok(())
}

/// Moves /boot to the second disk, and mounts that.
pub(crate) fn arrange(root: &Path, second: &Path) -> Result<Inner> {
    with_kernel(root)?;
    let boot = root.join("boot");
    fs::write(boot.join("config-demo"), "of the old kernel\n")?;
    for dir in ["boot/loader/entries", "boot/grub2"] {
        for file in fs::read_dir(root.join(dir))? {
            let path = file?.path();
            if path.extension().is_some_and(|end| end == "conf" || end == "cfg") {
                let text = fs::read_to_string(&path)?
                    .replace("linux /boot/", "linux /")
                    .replace("initrd /boot/", "initrd /")
                    .replace("--path /boot/loader", "--path /loader")
                    .replace("6c697665-6d6f-4d6f-8d6f-64656d6f3031", BOOT_UUID);
                fs::write(&path, text)?;
            }
        }
    }
    fs::File::create(second)?.set_len(BOOT_MIB << 20)?;
    Cmd::new("mkfs.ext4")
        .args(["-q", "-F", "-U", BOOT_UUID, "-d"])
        .arg(&boot)
        .arg(second)
        .run()?;
    fs::remove_dir_all(&boot)?;
    fs::create_dir(&boot)?;
    let fstab = root.join("etc/fstab");
    let text = fs::read_to_string(&fstab)?;
    fs::write(
        &fstab,
        format!("{text}UUID={BOOT_UUID} /boot ext4 defaults 0 2\n"),
    )?;
    Cmd::new("mount")
        .args(["-o", "loop"])
        .arg(second)
        .arg(&boot)
        .run()?;
    Ok(Inner(boot))
}
