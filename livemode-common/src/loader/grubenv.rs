//! GRUB's environment block (grub-editenv(1); GRUB's lib/envblk.c): a file of fixed size with `name=value` lines, which GRUB
//! itself can write to, by the file's blocks. So it is changed in place, never by a rename.
use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;

use anyhow::{bail, Context, Result};

use super::own::{Choice, Choices};

/// Size of a new block, in bytes.
const SIZE: usize = 1024;
/// More than any block has: what is larger is another file.
const LARGEST: u64 = 1 << 16;
const SIGNATURE: &[u8] = b"# GRUB Environment Block\n";
const FILLER: u8 = b'#';

/// The id of the entry that boots unless another one is asked for.
pub const SAVED_ENTRY: &str = "saved_entry";
/// The id of the entry that boots once.
pub const NEXT_ENTRY: &str = "next_entry";

/// An environment block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grubenv {
    /// Its lines as they are written, without those of the signature and the filler.
    lines: Vec<String>,
    /// Bytes of the file.
    size: usize,
}

impl Default for Grubenv {
    fn default() -> Self {
        Self {
            lines: Vec::new(),
            size: SIZE,
        }
    }
}

impl Grubenv {
    /// Reads a block.
    ///
    /// # Errors
    /// When it is none: GRUB then boots as if there were no variables, and cannot write to it.
    pub fn parse(block: &[u8]) -> Result<Self> {
        let Some(rest) = block.strip_prefix(SIGNATURE) else {
            bail!("it does not begin as GRUB's environment block does");
        };
        let end = rest
            .iter()
            .rposition(|byte| *byte != FILLER)
            .map_or(0, |at| at + 1);
        let text = std::str::from_utf8(&rest[..end]).ok();
        let Some(text) = text.filter(|text| !text.contains('\0')) else {
            bail!("it holds bytes that are no text");
        };
        Ok(Self {
            lines: text.split_terminator('\n').map(str::to_owned).collect(),
            size: block.len(),
        })
    }

    /// The block in a file.
    ///
    /// # Errors
    /// When the file cannot be read or is none.
    pub fn read(path: &Path) -> Result<Self> {
        let context = || format!("reading {}", path.display());
        let size = fs::metadata(path).with_context(context)?.len();
        if size > LARGEST {
            bail!(
                "{}: {size} bytes are no environment block of GRUB",
                path.display()
            );
        }
        Self::parse(&fs::read(path).with_context(context)?).with_context(context)
    }

    /// The same; but a block that is none, as a write leaves that was cut in two, holds nothing for GRUB, which boots the first
    /// entry of its menu then. It is made anew, with `default` as what boots.
    ///
    /// # Errors
    /// When there is no such file, it is no block's, or it cannot be read or written.
    pub fn read_or_mend(path: &Path, default: &str) -> Result<Self> {
        let fault = match Self::read(path) {
            Ok(env) => return Ok(env),
            Err(fault) => fault,
        };
        let is_a_block = fs::metadata(path).is_ok_and(|meta| meta.is_file() && meta.len() <= LARGEST);
        if !is_a_block {
            return Err(fault);
        }
        let mut env = Self::default();
        env.set(SAVED_ENTRY, default);
        let file = OpenOptions::new().write(true).open(path);
        file.and_then(|file| file.set_len(env.size as u64))
            .with_context(|| format!("making {} anew", path.display()))?;
        env.write_in_place(path)?;
        Ok(env)
    }

    /// The value of a variable that is set and not empty.
    pub fn get(&self, name: &str) -> Option<String> {
        let line = self.lines.iter().find(|line| is_of(line, name))?;
        let value = unescape(&line[name.len() + 1..]);
        Some(value).filter(|value| !value.is_empty())
    }

    /// The names of all variables, in the block's order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let lines = self.lines.iter().filter(|line| !line.starts_with('#'));
        lines.filter_map(|line| line.split_once('=').map(|(name, _)| name))
    }

    /// Sets a variable. What else the block holds, comments too, stays in its place.
    pub fn set(&mut self, name: &str, value: &str) {
        let line = format!("{name}={}", escape(value));
        match self.lines.iter().position(|known| is_of(known, name)) {
            Some(at) => self.lines[at] = line,
            None => self.lines.push(line),
        }
    }

    /// Takes a variable away.
    pub fn unset(&mut self, name: &str) {
        self.lines.retain(|line| !is_of(line, name));
    }

    /// The whole block, as large as it was.
    ///
    /// # Errors
    /// When it does not fit.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        let mut bytes = SIGNATURE.to_vec();
        for line in &self.lines {
            bytes.extend(line.as_bytes());
            bytes.push(b'\n');
        }
        if bytes.len() > self.size {
            bail!(
                "the variables take {} bytes, and GRUB's environment block has {}; take away what nobody needs: grub2-editenv - \
                 unset NAME",
                bytes.len(),
                self.size
            );
        }
        bytes.resize(self.size, FILLER);
        Ok(bytes)
    }

    /// Writes it over the file's blocks, makes that durable, and reads it back. A link is followed.
    ///
    /// # Errors
    /// When the file has another size by now, cannot be written, or reads otherwise afterwards.
    pub fn write_in_place(&self, path: &Path) -> Result<()> {
        let bytes = self.to_bytes().with_context(|| path.display().to_string())?;
        let context = || format!("writing {}", path.display());
        let file = OpenOptions::new().read(true).write(true).open(path);
        let file = file.with_context(context)?;
        let size = file.metadata().with_context(context)?.len();
        if size != self.size as u64 {
            bail!(
                "{}: it has {size} bytes in place of {}",
                path.display(),
                self.size
            );
        }
        let mut now = vec![0; self.size];
        file.read_exact_at(&mut now, 0).with_context(context)?;
        if now != bytes {
            file.write_all_at(&bytes, 0).with_context(context)?;
        }
        file.sync_all().with_context(context)?;
        file.read_exact_at(&mut now, 0).with_context(context)?;
        if now != bytes {
            bail!("{} reads otherwise than it was written", path.display());
        }
        Ok(())
    }
}

impl Choices for Grubenv {
    fn chosen(&self, choice: Choice) -> Option<String> {
        self.get(name_of(choice))
    }

    fn choose(&mut self, choice: Choice, id: Option<&str>) {
        match id {
            Some(id) => self.set(name_of(choice), id),
            None => self.unset(name_of(choice)),
        }
    }
}

fn name_of(choice: Choice) -> &'static str {
    match choice {
        Choice::Once => NEXT_ENTRY,
        Choice::Default => SAVED_ENTRY,
    }
}

fn is_of(line: &str, name: &str) -> bool {
    line.strip_prefix(name).is_some_and(|rest| rest.starts_with('='))
}

/// GRUB puts a backslash before these two.
fn escape(value: &str) -> String {
    value.replace('\\', "\\\\").replace('\n', "\\\n")
}

fn unescape(value: &str) -> String {
    let mut out = String::new();
    let mut chars = value.chars();
    while let Some(c) = chars.next() {
        out.extend(if c == '\\' { chars.next() } else { Some(c) });
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_torn_block_is_made_anew_and_a_whole_one_stays() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("grubenv");
        let whole = block("saved_entry=mine\nkernelopts=ro\n");
        for (content, default, others) in [
            (whole.clone(), "mine", Some("ro")),
            (vec![0; SIZE], "old", None),
            (whole[..10].to_vec(), "old", None),
            (Vec::new(), "old", None),
        ] {
            fs::write(&path, &content).unwrap();
            let env = Grubenv::read_or_mend(&path, "old").unwrap();
            assert_eq!(env.get(SAVED_ENTRY).as_deref(), Some(default));
            assert_eq!(env.get("kernelopts").as_deref(), others);
            assert_eq!(Grubenv::read(&path).unwrap(), env);
            assert_eq!(fs::metadata(&path).unwrap().len(), 1024);
        }
        assert!(Grubenv::read_or_mend(dir.path(), "old").is_err());
        assert!(Grubenv::read_or_mend(&dir.path().join("gone"), "old").is_err());
        // What is that large is something else.
        fs::write(&path, vec![0; 1 << 17]).unwrap();
        assert!(Grubenv::read_or_mend(&path, "old").is_err());
        assert_eq!(fs::metadata(&path).unwrap().len(), 1 << 17);
    }

    fn block(lines: &str) -> Vec<u8> {
        let mut block = [SIGNATURE, lines.as_bytes()].concat();
        block.resize(SIZE, FILLER);
        block
    }

    #[test]
    fn a_variable_is_changed_and_all_else_stays() {
        let before = block(
            "# WARNING: Do not edit\nsaved_entry=abc-5.14\nkernelopts=root=UUID=x ro\nboot_success=1\n",
        );
        let mut env = Grubenv::parse(&before).unwrap();
        assert_eq!(env.to_bytes().unwrap(), before);
        assert_eq!(env.get(SAVED_ENTRY).as_deref(), Some("abc-5.14"));
        assert_eq!(env.get("kernelopts").as_deref(), Some("root=UUID=x ro"));
        assert_eq!(env.get("saved"), None);
        env.set(SAVED_ENTRY, "abc-livemode");
        env.set(NEXT_ENTRY, "abc-livemode");
        env.unset("boot_success");
        assert_eq!(
            env.to_bytes().unwrap(),
            block(
                "# WARNING: Do not edit\nsaved_entry=abc-livemode\nkernelopts=root=UUID=x ro\nnext_entry=abc-livemode\n"
            )
        );
        assert_eq!(
            env.names().collect::<Vec<_>>(),
            [SAVED_ENTRY, "kernelopts", NEXT_ENTRY]
        );
    }

    #[test]
    fn a_line_without_an_end_and_a_block_of_the_largest_size_are_read() {
        let env = Grubenv::parse(&block("saved_entry=ab")).unwrap();
        assert_eq!(env.get(SAVED_ENTRY).as_deref(), Some("ab"));
        let file = tempfile::NamedTempFile::new().unwrap();
        let mut largest = block("saved_entry=ab\n");
        largest.resize(LARGEST as usize, FILLER);
        fs::write(file.path(), &largest).unwrap();
        assert!(Grubenv::read(file.path()).is_ok());
        largest.push(FILLER);
        fs::write(file.path(), &largest).unwrap();
        assert!(Grubenv::read(file.path()).is_err());
    }

    #[test]
    fn a_variable_that_grub_has_cleared_is_not_set() {
        let env = Grubenv::parse(&block("next_entry=\nsaved_entry=x\n")).unwrap();
        assert_eq!(env.get(NEXT_ENTRY), None);
    }

    #[test]
    fn what_grub_escapes_is_read_and_written_so() {
        let mut env = Grubenv::default();
        env.set("a", "x\\y");
        assert_eq!(env.to_bytes().unwrap(), block("a=x\\\\y\n"));
        assert_eq!(env.get("a").as_deref(), Some("x\\y"));
    }

    #[test]
    fn what_is_no_block_is_refused() {
        let torn = [&block("saved_entry=x\n")[..512], &[0; 512]].concat();
        for (bytes, why) in [
            (vec![], "does not begin"),
            (vec![0; SIZE], "does not begin"),
            (b"saved_entry=x\n".to_vec(), "does not begin"),
            (torn, "bytes that are no text"),
        ] {
            let error = Grubenv::parse(&bytes).unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
        }
    }

    #[test]
    fn what_does_not_fit_is_refused_and_the_file_stays() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("grubenv");
        fs::write(&path, block("saved_entry=x\n")).unwrap();
        let mut env = Grubenv::read(&path).unwrap();
        // What is left of the 1024 bytes: 25 of the signature, 14 of the first line, and "a=" with its newline.
        env.set("a", &"y".repeat(SIZE - 25 - 14 - 3));
        env.write_in_place(&path).unwrap();
        let full = fs::read(&path).unwrap();
        env.set("b", "");
        let error = format!("{:#}", env.write_in_place(&path).unwrap_err());
        assert!(
            error.contains("take 1027 bytes, and GRUB's environment block has 1024"),
            "{error}"
        );
        assert_eq!(fs::read(&path).unwrap(), full);
    }

    #[test]
    fn it_is_written_over_the_same_file_through_a_link_and_only_at_its_size() {
        use std::os::unix::fs::MetadataExt;
        let dir = tempfile::tempdir().unwrap();
        let (path, link) = (dir.path().join("efi"), dir.path().join("grubenv"));
        fs::write(&path, block("saved_entry=x\n")).unwrap();
        std::os::unix::fs::symlink("efi", &link).unwrap();
        let inode = fs::metadata(&path).unwrap().ino();
        let mut env = Grubenv::read(&link).unwrap();
        env.set(NEXT_ENTRY, "y");
        env.write_in_place(&link).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().ino(), inode);
        assert_eq!(Grubenv::read(&path).unwrap(), env);
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());

        fs::write(&path, SIGNATURE).unwrap();
        let error = env.write_in_place(&link).unwrap_err().to_string();
        assert!(error.contains("25 bytes in place of 1024"), "{error}");
        fs::write(&path, vec![FILLER; 1 << 17]).unwrap();
        let error = Grubenv::read(&link).unwrap_err().to_string();
        assert!(error.contains("131072 bytes are no environment block"), "{error}");
    }
}
