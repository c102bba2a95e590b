//! A log on the source system's disk, which outlives trouble with that disk: what cannot be written is counted and said
//! in the log itself, and the next bytes are tried again.
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use anyhow::{bail, Context, Result};
use livemode_common::fsio;
use livemode_common::sysroot::SysRoot;

use crate::live;

/// Opens the file for appending, anew after each error.
type Opener = Box<dyn FnMut() -> Result<File> + Send>;

pub(crate) struct LogFile {
    opener: Opener,
    /// Absent before the first bytes and after an error.
    file: Option<File>,
    /// How many bytes are missing at the end of the file.
    lost_bytes: u64,
    /// What is missing at the end of the file is missing because of this.
    lost_because_of: String,
    /// The kinds of trouble that were told.
    told: Vec<String>,
}

impl LogFile {
    /// The log at `path`, as the source system sees it. Its directory is made, but nothing is, while the source system is
    /// not mounted: that would be the live system's own directory.
    pub(crate) fn on_source(source: &SysRoot, path: &'static str) -> Self {
        let source = source.clone();
        Self::new(move || {
            if !live::is_mounted(source.path())? {
                bail!("{}", live::not_mounted(source.path()));
            }
            open(&source.at(path))
        })
    }

    fn new(opener: impl FnMut() -> Result<File> + Send + 'static) -> Self {
        Self {
            opener: Box::new(opener),
            file: None,
            lost_bytes: 0,
            lost_because_of: String::new(),
            told: Vec::new(),
        }
    }

    /// Opens it, if it is not open.
    ///
    /// # Errors
    /// When it can be neither made nor opened.
    pub(crate) fn open(&mut self) -> Result<&mut File> {
        if self.file.is_none() {
            self.file = Some((self.opener)()?);
        }
        Ok(self.file.as_mut().expect("it was just opened"))
    }

    /// Appends the bytes. Gives what is to be told elsewhere: trouble of a kind that was not told yet.
    pub(crate) fn append(&mut self, bytes: &[u8]) -> Option<String> {
        let mut written = 0;
        let result = self.try_append(bytes, &mut written);
        self.after(result, bytes.len() - written)
    }

    /// Makes durable what was appended. Gives what is to be told elsewhere, as [`LogFile::append`].
    pub(crate) fn sync(&mut self) -> Option<String> {
        let result = self.file.as_ref().map_or(Ok(()), File::sync_data);
        self.after(result.map_err(Into::into), 0)
    }

    fn try_append(&mut self, bytes: &[u8], written: &mut usize) -> Result<()> {
        let gap = (self.lost_bytes > 0).then(|| {
            let (lost, because) = (self.lost_bytes, &self.lost_because_of);
            format!("\nlivemode: {lost} bytes are missing here: {because}\n")
        });
        let file = self.open()?;
        if let Some(gap) = gap {
            file.write_all(gap.as_bytes())?;
            self.lost_bytes = 0;
        }
        let file = self.open()?;
        while *written < bytes.len() {
            match file.write(&bytes[*written..]) {
                Ok(0) => return Err(io::Error::from(io::ErrorKind::WriteZero).into()),
                Ok(n) => *written += n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e.into()),
            }
        }
        Ok(())
    }

    fn after(&mut self, result: Result<()>, lost: usize) -> Option<String> {
        let because = format!("{:#}", result.err()?);
        self.file = None;
        self.lost_bytes += lost as u64;
        self.lost_because_of.clone_from(&because);
        if self.told.contains(&because) {
            return None;
        }
        self.told.push(because.clone());
        Some(because)
    }
}

/// Opens a log for appending; its directory is made.
fn open(path: &Path) -> Result<File> {
    if let Some(dir) = path.parent() {
        fs::create_dir_all(dir).with_context(|| format!("creating {}", dir.display()))?;
    }
    fsio::append(path, 0o600)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{symlink, PermissionsExt};

    const FULL: &str = "No space left on device (os error 28)";

    #[test]
    fn what_does_not_fit_is_told_once_and_later_lines_arrive() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let mut log = LogFile::new({
            let path = path.clone();
            move || open(&path)
        });
        assert_eq!(log.append(b"one\n"), None);
        // The disk becomes full.
        fs::rename(&path, dir.path().join("kept")).unwrap();
        symlink("/dev/full", &path).unwrap();
        log.file = None;
        assert_eq!(log.append(b"two\n"), Some(FULL.into()));
        assert_eq!(log.append(b"three\n"), None);
        // It has room again.
        fs::rename(dir.path().join("kept"), &path).unwrap();
        assert_eq!(log.append(b"four\n"), None);
        assert_eq!(log.append(b"five\n"), None);
        let told = format!("one\n\nlivemode: 10 bytes are missing here: {FULL}\nfour\nfive\n");
        assert_eq!(fs::read_to_string(&path).unwrap(), told);
        // Full once more: that is known.
        fs::remove_file(&path).unwrap();
        symlink("/dev/full", &path).unwrap();
        log.file = None;
        assert_eq!(log.append(b"six\n"), None);
        assert_eq!(log.lost_bytes, 4);
    }

    #[test]
    fn a_log_that_cannot_be_opened_is_trouble_of_another_kind() {
        let mut faults = vec!["gone", "gone", "broken"].into_iter();
        let mut log = LogFile::new(move || bail!("{}", faults.next().unwrap_or("over")));
        assert_eq!(log.append(b"a"), Some("gone".into()));
        assert_eq!(log.append(b"bc"), None);
        assert_eq!(log.append(b"d"), Some("broken".into()));
        assert_eq!((log.lost_bytes, log.lost_because_of.as_str()), (4, "broken"));
        // Nothing is open that could be synced.
        assert_eq!(log.sync(), None);
        assert_eq!(log.open().unwrap_err().to_string(), "over");
    }

    #[test]
    fn a_log_that_cannot_be_synced_is_opened_anew() {
        let mut log = LogFile::new(|| {
            let (_, writer) = std::io::pipe().unwrap();
            Ok(File::from(std::os::fd::OwnedFd::from(writer)))
        });
        log.open().unwrap();
        assert_eq!(log.sync(), Some("Invalid argument (os error 22)".into()));
        assert!(log.file.is_none());
        assert_eq!(log.lost_bytes, 0);
    }

    #[test]
    fn nothing_is_made_below_a_source_that_is_not_mounted() {
        let dir = tempfile::tempdir().unwrap();
        let mut log = LogFile::on_source(&SysRoot::new(dir.path()), "var/log/leapp/x.log");
        let fault = format!("the source system is not mounted at {}", dir.path().display());
        assert_eq!(log.append(b"line\n"), Some(fault));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_log_is_for_root_alone_and_its_directory_is_made() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("var/log/x.log");
        open(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }
}
