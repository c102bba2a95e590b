//! A source system with /boot on a disk of its own, whose upgrade can be all or nothing.
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use livemode_common::cmd::Cmd;
use livemode_common::contract::{STATE_DIR, STORE_FILE};
use livemode_common::fsio::sha256;
use livemode_common::store::{Piece, StoreIo};

use crate::disk::{self, Mounted};
use crate::source::prep;
use crate::subject::Subject;
use crate::testbed::Suite;
use crate::vm::Running;

/// Of the file system with /boot.
pub const BOOT_UUID: &str = "6c697665-6d6f-4d6f-8d6f-0000000b0075";
const BOOT_MIB: u64 = 200;
/// Where GRUB finds grub.cfg: the loader's disk comes first, then the root, then /boot.
const PREFIX: &str = "(hd2)/grub2";

/// The subject, with its two disks.
pub struct Apart(Subject);

/// A mount below another.
struct Inner(PathBuf);

impl Drop for Inner {
    fn drop(&mut self) {
        if let Err(error) = Cmd::new("umount").arg(&self.0).run() {
            eprintln!("{error:#}");
        }
    }
}

/// Both file systems.
pub struct Tree {
    // Unmounted before the outer one.
    _boot: Inner,
    root: Mounted,
}

impl Tree {
    /// Where the system lies.
    pub fn path(&self) -> &Path {
        self.root.path()
    }

    /// A file as text.
    ///
    /// # Panics
    /// When it cannot be read.
    pub fn read(&self, path: &str) -> String {
        self.root.read(path)
    }
}

impl Apart {
    /// One that is built with this `livemode` section; `name` is the cache's.
    ///
    /// # Errors
    /// When something cannot be made.
    pub fn new(name: &str, config: &str) -> Result<Self> {
        let code = crate::binaries::workspace().join("tests/src/apart.rs");
        let subject = Subject::arranged(Suite::Bookworm, name, config, &code, |source, second| {
            arrange(source.path(), second)
        })?;
        Ok(Self(subject.booted_by(PREFIX)?))
    }

    /// As [`Subject::boot_until_it_rests`].
    ///
    /// # Errors
    /// As that.
    pub fn boot_until_it_rests(&self) -> Result<String> {
        self.0.boot_until_it_rests()
    }

    /// As [`Subject::started`].
    ///
    /// # Errors
    /// As that.
    pub fn started<T>(&self, act: impl Fn(Running) -> Result<T>) -> Result<T> {
        self.0.started(act)
    }

    /// As [`Subject::started_until_it_rests`].
    ///
    /// # Errors
    /// As that.
    pub fn started_until_it_rests<T>(&self, act: impl Fn(Running) -> Result<T>) -> Result<T> {
        self.0.started_until_it_rests(act)
    }

    /// Both file systems, mounted here; no machine may run meanwhile.
    ///
    /// # Errors
    /// When they cannot be mounted.
    pub fn mounted(&self) -> Result<Tree> {
        let root = self.0.mounted()?;
        let boot = mount(&self.0.second_disk(), &root.at("boot"))?;
        Ok(Tree { _boot: boot, root })
    }

    /// The disk with the root, as it is now.
    pub fn disk(&self) -> PathBuf {
        self.0.disk()
    }

    /// `livemode-prep` for the system on the disks; its subcommand is to follow.
    ///
    /// # Errors
    /// When they cannot be mounted, and those of `act`.
    pub fn prep<T>(&self, act: impl FnOnce(Cmd) -> Result<T>) -> Result<T> {
        let tree = self.mounted()?;
        act(prep(tree.path()))
    }

    /// What `livemode-prep status --json` says in the old or the new system.
    ///
    /// # Errors
    /// When it fails.
    pub fn status(&self) -> Result<serde_json::Value> {
        let tree = self.mounted()?;
        let (_, status, complaint) = prep(tree.path()).args(["status", "--json"]).output()?;
        serde_json::from_str(&status).with_context(|| format!("{status}{complaint}"))
    }
}

/// How a subject was before a machine ran: its files, and every block of the disk with the root.
pub struct Before {
    /// By [`tree`].
    pub files: BTreeMap<String, String>,
    disk: PathBuf,
    store: Vec<Piece>,
}

impl Before {
    /// Looks, then copies: to mount a disk changes it.
    ///
    /// # Errors
    /// When the disks cannot be read, or there is no store.
    pub fn of(subject: &Apart) -> Result<Self> {
        let (files, store) = {
            let mounted = subject.mounted()?;
            let store = mounted.path().join(STATE_DIR).join(STORE_FILE);
            let (_, header) = StoreIo::of_file(&store, false)?;
            (tree(mounted.path())?, header.map.pieces().to_vec())
        };
        let disk = subject.disk().with_extension("before");
        disk::copy(&subject.disk(), &disk)?;
        Ok(Self { files, disk, store })
    }

    /// Where the disk differs from what it was, in bytes from its beginning, but for the store on it.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn changed_blocks(&self, now: &Path) -> Result<Vec<u64>> {
        changed(&self.disk, now, &self.store)
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

/// Every file, directory and link below a directory: what is told of it apart from times. Left out: what every boot writes.
///
/// # Errors
/// When something cannot be read.
pub fn tree(top: &Path) -> Result<BTreeMap<String, String>> {
    const WRITTEN_BY_EVERY_BOOT: [&str; 8] = [
        // Logs and what is counted at each boot.
        "/var/log",
        "/var/lib/systemd",
        "/var/cache",
        "/var/tmp",
        "/tmp",
        // What boots next is looked at by itself.
        "/boot/grub2/grubenv",
        // Our own records of it.
        "/var/lib/leapp/livemode",
        "/etc/.updated",
    ];
    let list = Cmd::new("find")
        .arg(top)
        .args(["-mindepth", "1", "-printf", "%P\\t%y %m %U %G %s %l\\n"])
        .read()?;
    let mut tree = BTreeMap::new();
    for line in list.lines() {
        let (path, told) = line.split_once('\t').context("what find says")?;
        let inside = format!("/{path}");
        if WRITTEN_BY_EVERY_BOOT
            .iter()
            .any(|dir| Path::new(&inside).starts_with(dir))
        {
            continue;
        }
        let kind = told.chars().next();
        let told = match kind {
            // The size of a directory is the file system's affair.
            Some('d') => told.rsplitn(3, ' ').last().unwrap_or_default().to_owned(),
            Some('f') => {
                let (sum, _) = sha256(fs::File::open(top.join(path))?, |_| ())?;
                format!("{told} {sum}")
            }
            _ => told.to_owned(),
        };
        tree.insert(inside, told);
    }
    Ok(tree)
}

fn mount(image: &Path, at: &Path) -> Result<Inner> {
    Cmd::new("mount").args(["-o", "loop"]).arg(image).arg(at).run()?;
    Ok(Inner(at.to_owned()))
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

fn arrange(root: &Path, second: &Path) -> Result<Inner> {
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
    mount(second, &boot)
}
