//! A source system that a few lines describe: what lsblk, the kernel and its own files say of it. Nothing of it runs; what
//! `livemode-prep` makes of it does not depend on this machine.
use std::fs;
use std::os::unix::fs::{symlink, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use livemode_common::cmd::Cmd;
use serde_json::{json, Map, Value};

use crate::binaries::{binary, workspace};

/// The machine.
pub struct Described {
    dir: tempfile::TempDir,
}

impl Described {
    /// One with this fstab and these block devices, and with what is mounted, in lines of `TARGET SOURCE TYPE [ROOT]`.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn new(fstab: &[u8], lsblk: &Value, mounted: &str) -> Result<Self> {
        let machine = Self {
            dir: tempfile::Builder::new().prefix("livemode-described-").tempdir()?,
        };
        machine.put("etc/fstab", fstab)?;
        machine.put("proc/cmdline", b"root=/dev/sda2 ro console=tty0\n")?;
        let mut mountinfo = String::new();
        for (number, line) in mounted.lines().enumerate() {
            let word: Vec<&str> = line.split(' ').collect();
            let root = word.get(3).unwrap_or(&"/");
            mountinfo += &format!(
                "{number} 1 0:{number} {root} {} rw - {} {} rw\n",
                word[0], word[2], word[1]
            );
        }
        machine.put("proc/self/mountinfo", mountinfo.as_bytes())?;
        for dir in ["var/lib/leapp", "boot", "dev/disk/by-uuid"] {
            fs::create_dir_all(machine.root().join(dir))?;
        }
        for device in devices(lsblk) {
            let path = device["name"]
                .as_str()
                .unwrap_or_default()
                .trim_start_matches('/');
            machine.put(path, b"")?;
            let is_member = device["fstype"]
                .as_str()
                .is_some_and(|kind| kind.ends_with("_member"));
            let link = device["uuid"].as_str().filter(|_| !is_member);
            let link = link.map(|uuid| machine.root().join("dev/disk/by-uuid").join(uuid));
            if let Some(link) = link.filter(|link| !link.is_symlink()) {
                symlink(Path::new("../../..").join(path), link)?;
            }
        }
        let programs = machine.dir.path().join("programs");
        fs::create_dir(&programs)?;
        fs::write(machine.dir.path().join("lsblk.json"), lsblk.to_string())?;
        fs::create_dir(machine.empty_container())?;
        for dir in ["etc", "usr", "var"] {
            fs::create_dir(machine.empty_container().join(dir))?;
        }
        let script = format!("#!/bin/sh\ncat {}/lsblk.json\n", machine.dir.path().display());
        fs::write(programs.join("lsblk"), script)?;
        fs::set_permissions(programs.join("lsblk"), fs::Permissions::from_mode(0o755))?;
        Ok(machine)
    }

    /// Its root directory.
    pub fn root(&self) -> PathBuf {
        self.dir.path().join("root")
    }

    /// A container that has nothing in it, not even a kernel.
    pub fn empty_container(&self) -> PathBuf {
        self.dir.path().join("container")
    }

    /// Writes one of its files.
    ///
    /// # Errors
    /// When that fails.
    pub fn put(&self, path: &str, content: &[u8]) -> Result<()> {
        let path = self.root().join(path);
        let dir = path.parent().context("a file lies in a directory")?;
        fs::create_dir_all(dir)?;
        fs::write(&path, content).with_context(|| format!("writing {}", path.display()))
    }

    /// Makes a symbolic link in it.
    ///
    /// # Errors
    /// When that fails.
    pub fn link(&self, path: &str, to: &str) -> Result<()> {
        let path = self.root().join(path);
        let dir = path.parent().context("a link lies in a directory")?;
        fs::create_dir_all(dir)?;
        Ok(symlink(to, path)?)
    }

    /// `livemode-prep` on it.
    pub fn prep(&self) -> Cmd {
        let path = std::env::var("PATH").unwrap_or_default();
        let programs = self.dir.path().join("programs");
        Cmd::new(binary("livemode-prep"))
            .env("PATH", format!("{}:{path}", programs.display()))
            .arg("--root")
            .arg(self.root())
    }

    /// Its plan, with the container, the loader and the programs of a plain machine.
    ///
    /// # Errors
    /// When there is none.
    pub fn plan(&self) -> Result<Value> {
        let facts = self
            .prep()
            .args(["facts", "--userspace"])
            .arg(self.empty_container());
        let mut facts: Value = serde_json::from_str(&facts.read()?)?;
        let plain = fs::read_to_string(workspace().join("livemode-prep/fixtures/facts.json"))?;
        let mut plain: Value = serde_json::from_str(&plain)?;
        for key in ["userspace", "loader", "tools"] {
            facts[key] = plain[key].take();
        }
        let kernel = &mut facts["userspace"]["kernels"][0];
        kernel["file_systems"] = json!({"iso9660": "isofs", "nfs4": "nfs"});
        let modules = kernel["modules"].as_array_mut().context("it has modules")?;
        modules.extend(["isofs", "f2fs", "udf"].map(Value::from));
        let file = self.dir.path().join("facts.json");
        fs::write(&file, facts.to_string())?;
        let plan = Cmd::new(binary("livemode-prep")).args(["plan", "--json", "--facts"]);
        let (_, stdout, stderr) = plan.arg(file).output()?;
        serde_json::from_str(&stdout).with_context(|| format!("reading the plan: {stderr}"))
    }
}

/// What lsblk would say of a tree of devices, by lines of `PATH TYPE [FSTYPE [UUID [COLUMN=VALUE]...]]`, each further in than
/// what it stands on; `-` stands for nothing, `%20` for a blank.
pub fn lsblk(tree: &str) -> Value {
    let mut stack: Vec<(usize, Map<String, Value>)> = Vec::new();
    let mut top = Vec::new();
    let fold = |stack: &mut Vec<(usize, Map<String, Value>)>, top: &mut Vec<Value>, depth: usize| {
        while stack.last().is_some_and(|(above, _)| *above >= depth) {
            let Some((_, node)) = stack.pop() else { break };
            match stack.last_mut() {
                Some((_, parent)) => {
                    let children = parent.entry("children").or_insert_with(|| json!([]));
                    if let Some(children) = children.as_array_mut() {
                        children.push(Value::Object(node));
                    }
                }
                None => top.push(Value::Object(node)),
            }
        }
    };
    for line in tree.lines().filter(|line| !line.trim().is_empty()) {
        let depth = line.len() - line.trim_start().len();
        fold(&mut stack, &mut top, depth);
        let mut words = line.split_whitespace();
        let mut node = Map::new();
        let path = words.next().unwrap_or_default();
        node.insert("name".into(), path.into());
        node.insert("kname".into(), path.into());
        for column in ["type", "fstype", "uuid"] {
            let value = words.next().filter(|word| *word != "-");
            node.insert(column.into(), value.into());
        }
        for (column, value) in words.filter_map(|word| word.split_once('=')) {
            let value = value.replace("%20", " ");
            node.insert(column.into(), value.into());
        }
        stack.push((depth, node));
    }
    fold(&mut stack, &mut top, 0);
    json!({"blockdevices": top})
}

/// Each device that lsblk names, in its order.
pub fn devices(lsblk: &Value) -> Vec<&Value> {
    fn add<'a>(nodes: &'a Value, found: &mut Vec<&'a Value>) {
        for node in nodes.as_array().into_iter().flatten() {
            found.push(node);
            add(&node["children"], found);
        }
    }
    let mut found = Vec::new();
    add(&lsblk["blockdevices"], &mut found);
    found
}
