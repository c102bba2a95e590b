//! Reading the records and making them durable.
use std::fs::File;
use std::path::{Path, PathBuf};

use anyhow::{bail, Context, Result};
use serde::Deserialize;

use super::{BootRecord, Change, Manifest, Phase, State};
use crate::contract::{MANIFEST_FILE, SCHEMA, SOURCE_MOUNT, STATE_DIR, STATE_FILE};
use crate::fsio::{atomic_write, now};
use crate::store::{writing_to, Recorder, StoreIo, STORE_DEVICE};
use crate::sysroot::SysRoot;

/// `state.json` and `manifest.json` of one source system; and the [`Recorder`] of its store, where it has one.
#[derive(Debug)]
pub struct Records {
    /// Where the files lie; none while the source system is not mounted.
    dir: Option<PathBuf>,
    recorder: Recorded,
}

/// Where states are recorded beside the file: the later one counts.
#[derive(Debug)]
enum Recorded {
    Nowhere,
    /// In the store's file, on the source system itself.
    InFile(PathBuf),
    /// Beneath the file systems, by the store's device: what is written through the file would be given up with the upgrade.
    Beneath(PathBuf),
    /// In the store, before there is any file system.
    On(Recorder),
}

impl Records {
    /// Those of the source system below `root`, which is this system or, in the live system, the one that is upgraded.
    pub fn of(root: &SysRoot) -> Self {
        let records = Self::in_dir(&root.at(STATE_DIR));
        let is_live = root.path() == Path::new(SOURCE_MOUNT);
        let view = Path::new("/dev/mapper").join(STORE_DEVICE);
        if is_live && view.exists() {
            return records.with(Recorded::Beneath(view));
        }
        let manifest = records.manifest().ok().flatten();
        match manifest.and_then(|manifest| manifest.store) {
            Some(store) => records.with(Recorded::InFile(root.at(store.path))),
            None => records,
        }
    }

    /// Those that lie in `dir`.
    pub fn in_dir(dir: &Path) -> Self {
        Self {
            dir: Some(dir.to_owned()),
            recorder: Recorded::Nowhere,
        }
    }

    /// Those of a store, while the source system is not mounted.
    pub fn of_store(store: StoreIo) -> Self {
        Self {
            dir: None,
            recorder: Recorded::On(Recorder::new(store)),
        }
    }

    fn with(self, recorder: Recorded) -> Self {
        Self { recorder, ..self }
    }

    /// The last state, or `None` before the first.
    ///
    /// # Errors
    /// When the record is there but cannot be read or understood, is torn, or is of another schema than [`SCHEMA`], and no
    /// store has a later one.
    pub fn state(&self) -> Result<Option<State>> {
        let kept = match &self.recorder {
            Recorded::Nowhere => None,
            Recorded::InFile(path) => match StoreIo::of_file(path, false) {
                Ok((store, _)) => Recorder::new(store).state()?,
                // Its file says what is wrong with it where it is needed: to arm, and to build.
                Err(_) => None,
            },
            Recorded::Beneath(view) => Recorder::new(StoreIo::view(view)?).state()?,
            Recorded::On(recorder) => recorder.state()?,
        };
        let filed = match &self.dir {
            Some(dir) => State::load(&dir.join(STATE_FILE)),
            None => Ok(None),
        };
        match (kept, filed) {
            (Some(kept), Ok(Some(filed))) if filed.sequence > kept.sequence => Ok(Some(filed)),
            (Some(kept), _) => Ok(Some(kept)),
            (None, filed) => filed,
        }
    }

    /// What was built, or `None` when nothing is.
    ///
    /// # Errors
    /// When the record is there but cannot be read or understood, or is of another schema than [`SCHEMA`].
    pub fn manifest(&self) -> Result<Option<Manifest>> {
        match &self.dir {
            Some(dir) => read(&dir.join(MANIFEST_FILE)),
            None => Ok(None),
        }
    }

    /// Makes the next state durable, whatever the last one was.
    ///
    /// # Errors
    /// When the record cannot be written.
    pub fn record(&self, change: Change) -> Result<()> {
        let _lock = self.lock()?;
        // A record that cannot be read says nothing that could be kept.
        self.write(self.state().ok().flatten().as_ref(), change)
    }

    /// Makes the next state durable if the last one is of `from`; gives whether it was. The attempt stays.
    ///
    /// # Errors
    /// When the last state cannot be read or the next one cannot be written.
    pub fn advance(&self, from: &[Phase], to: Phase, message: &str) -> Result<bool> {
        self.update(|last| {
            last.filter(|last| from.contains(&last.state))
                .map(|last| Change::new(to, last.attempt, message))
        })
    }

    /// Makes the state that `decide` gives for the last one durable; gives whether it gave one. No other process records
    /// a state in between.
    ///
    /// # Errors
    /// When the last state cannot be read or the next one cannot be written.
    pub fn update(&self, decide: impl FnOnce(Option<&State>) -> Option<Change>) -> Result<bool> {
        let _lock = self.lock()?;
        let last = self.state()?;
        match decide(last.as_ref()) {
            Some(change) => self.write(last.as_ref(), change).map(|()| true),
            None => Ok(false),
        }
    }

    /// Waits until no other process records a state, and keeps others from it until the file is dropped. The directory
    /// itself is locked, so that no file of a lock is left on the source system.
    fn lock(&self) -> Result<File> {
        let file = match (&self.dir, &self.recorder) {
            (Some(dir), _) => File::open(dir).with_context(|| format!("opening {}", dir.display()))?,
            (None, Recorded::On(recorder)) => recorder.store().file().try_clone()?,
            (None, _) => bail!("there is no place for records"),
        };
        file.lock().context("locking the records")?;
        Ok(file)
    }

    /// The store comes first: it is what early boot goes by.
    fn write(&self, last: Option<&State>, change: Change) -> Result<()> {
        let record = State::followed_by(last, change, now());
        let is_kept = match &self.recorder {
            Recorded::Nowhere => false,
            Recorded::InFile(path) => {
                writing_to(path, |store| Recorder::new(store).record(&record)).map(|()| true)?
            }
            Recorded::Beneath(view) => Recorder::new(StoreIo::view(view)?)
                .record(&record)
                .map(|()| true)?,
            Recorded::On(recorder) => recorder.record(&record).map(|()| true)?,
        };
        match &self.dir {
            Some(dir) => match atomic_write(&dir.join(STATE_FILE), &to_json(&record)?, 0o600) {
                Err(_) if is_kept => Ok(()),
                written => written,
            },
            None => Ok(()),
        }
    }
}

impl State {
    /// The state at `path`, or `None` when there is none.
    ///
    /// # Errors
    /// When it is there but cannot be read or understood, is torn, or is of another schema than [`SCHEMA`].
    pub fn load(path: &Path) -> Result<Option<Self>> {
        let state: Option<Self> = read(path)?;
        if state.as_ref().is_some_and(|state| !state.is_whole()) {
            bail!(
                "reading {}: it is not what was written (its checksum differs)",
                path.display()
            );
        }
        Ok(state)
    }
}

impl BootRecord {
    /// The record at `path`, or `None` when there is none.
    ///
    /// # Errors
    /// When it is there but cannot be read or understood, or is of another schema than [`SCHEMA`].
    pub fn load(path: &Path) -> Result<Option<Self>> {
        read(path)
    }
}

/// A record as it is stored: indented JSON with a newline.
///
/// # Errors
/// When the record cannot be put into JSON.
pub fn to_json(record: &impl serde::Serialize) -> Result<Vec<u8>> {
    let mut json = serde_json::to_vec_pretty(record).context("writing JSON")?;
    json.push(b'\n');
    Ok(json)
}

fn read<T: serde::de::DeserializeOwned>(path: &Path) -> Result<Option<T>> {
    let text = match std::fs::read(path) {
        Ok(text) => text,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(e).with_context(|| format!("reading {}", path.display())),
    };
    parse(&text)
        .map(Some)
        .with_context(|| format!("reading {}", path.display()))
}

/// The schema is looked at first: what else a record of another schema holds is nothing to complain about.
fn parse<T: serde::de::DeserializeOwned>(text: &[u8]) -> Result<T> {
    #[derive(Deserialize)]
    struct Versioned {
        #[serde(default)]
        schema: serde_json::Value,
    }
    let Versioned { schema } = serde_json::from_slice(text)?;
    if schema.is_null() {
        bail!("it has no schema: no livemode has written it");
    }
    if schema != SCHEMA {
        bail!("its schema is {schema}, this livemode knows {SCHEMA}: use the livemode version that wrote it");
    }
    Ok(serde_json::from_slice(text)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn records() -> (tempfile::TempDir, Records) {
        let dir = tempfile::tempdir().unwrap();
        let records = Records::in_dir(dir.path());
        (dir, records)
    }

    fn at(records: &Records) -> (Phase, u32, String) {
        let state = records.state().unwrap().unwrap();
        (state.state, state.attempt, state.message)
    }

    #[test]
    fn a_state_advances_from_the_named_ones_only() {
        let (_dir, records) = records();
        let booted = |records: &Records| records.advance(&[Phase::Prepared], Phase::Booted, "up").unwrap();
        assert!(!booted(&records));
        assert_eq!(records.state().unwrap(), None);
        records
            .record(Change {
                exit_code: Some(1),
                ..Change::new(Phase::Prepared, 3, "built")
            })
            .unwrap();
        assert!(booted(&records));
        let state = records.state().unwrap().unwrap();
        assert_eq!(
            (state.state, state.attempt, state.exit_code),
            (Phase::Booted, 3, None)
        );
        records
            .record(Change::new(Phase::Upgrading, 4, "step 1 of 2"))
            .unwrap();
        assert!(!booted(&records));
        assert_eq!(at(&records), (Phase::Upgrading, 4, "step 1 of 2".into()));
    }

    /// Of many that see `prepared` at the same time one advances it, and none writes over what came after.
    #[test]
    fn of_many_who_advance_at_once_one_does() {
        for _ in 0..20 {
            let (dir, records) = records();
            records.record(Change::new(Phase::Prepared, 0, "built")).unwrap();
            let advanced = std::thread::scope(|scope| {
                let journals: Vec<_> = (0..4)
                    .map(|_| {
                        scope.spawn(|| {
                            let records = Records::in_dir(dir.path());
                            records.advance(&[Phase::Prepared], Phase::Booted, "up").unwrap()
                        })
                    })
                    .collect();
                let upgrade = scope.spawn(|| {
                    records
                        .record(Change::new(Phase::Upgrading, 1, "step 1 of 2"))
                        .unwrap()
                });
                upgrade.join().unwrap();
                journals
                    .into_iter()
                    .map(|thread| thread.join().unwrap())
                    .filter(|advanced| *advanced)
                    .count()
            });
            assert!(advanced <= 1, "{advanced} have advanced it");
            assert_eq!(at(&records), (Phase::Upgrading, 1, "step 1 of 2".into()));
        }
    }

    /// The last state is read when nobody else can change it any more, not before.
    #[test]
    fn who_decides_keeps_the_others_waiting() {
        let (dir, records) = records();
        records.record(Change::new(Phase::Prepared, 0, "built")).unwrap();
        let (waiting, begins) = std::sync::mpsc::channel();
        std::thread::scope(|scope| {
            records
                .update(|last| {
                    assert_eq!(last.map(|last| last.state), Some(Phase::Prepared));
                    let dir = dir.path().to_owned();
                    scope.spawn(move || {
                        waiting.send(()).unwrap();
                        Records::in_dir(&dir)
                            .record(Change::new(Phase::Upgrading, 1, "step 1 of 2"))
                            .unwrap();
                    });
                    begins.recv().unwrap();
                    // A lock that another open file holds is not to be had: whoever comes now waits.
                    assert!(File::open(dir_of(&records)).unwrap().try_lock().is_err());
                    Some(Change::new(Phase::Booted, 0, "up"))
                })
                .unwrap();
        });
        assert_eq!(at(&records), (Phase::Upgrading, 1, "step 1 of 2".into()));
    }

    fn dir_of(records: &Records) -> &Path {
        records.dir.as_deref().unwrap()
    }

    #[test]
    fn a_refusal_hides_neither_success_nor_a_failed_attempt() {
        let state = |state, message: &str| State {
            state,
            attempt: 2,
            message: message.into(),
            exit_code: Some(7),
            checksum: Some(String::new()),
            ..State::default()
        };
        let refused = "the image was refused in early boot: too short";
        for (before, after, is_refusal) in [
            (state(Phase::Prepared, "built"), Some(refused), true),
            (
                state(Phase::Upgrading, "step 1 of 2"),
                Some("attempt 2 did not complete; then the image was refused in early boot: too short"),
                false,
            ),
            (
                state(Phase::Failed, "the image was refused in early boot: missing"),
                Some(refused),
                true,
            ),
            (
                state(Phase::Failed, "leapp ended with 7"),
                Some("leapp ended with 7; then the image was refused in early boot: too short"),
                false,
            ),
            (
                state(
                    Phase::Failed,
                    "leapp ended with 7; then the image was refused in early boot: missing",
                ),
                Some("leapp ended with 7; then the image was refused in early boot: too short"),
                false,
            ),
            (state(Phase::Succeeded, "done"), None, false),
        ] {
            let change = before.refused("too short");
            assert_eq!(
                change.as_ref().map(|change| change.message.as_str()),
                after,
                "{before:?}"
            );
            if let Some(change) = change {
                assert_eq!((change.state, change.attempt), (Phase::Failed, 2));
                assert_eq!(change.begun, before.state == Phase::Upgrading);
                assert_eq!(
                    state(change.state, &change.message).is_refusal(),
                    is_refusal,
                    "{before:?}"
                );
            }
        }
        // The words alone make no refusal.
        assert!(!state(Phase::Booted, refused).is_refusal());
    }

    #[test]
    fn a_record_of_another_schema_is_an_error_that_names_it() {
        let (dir, records) = records();
        let text = r#"{"schema":1,"state":"booted","time":1,"attempt":0,"message":"up","exit_code":null}"#;
        for (content, fault) in [
            (text.to_owned(), None),
            (
                text.replace(r#""schema":1"#, r#""schema":2"#),
                Some("its schema is 2, this livemode knows 1: use the livemode version that wrote it"),
            ),
            (
                r#"{"schema":"1b"}"#.into(),
                Some("its schema is \"1b\", this livemode knows 1: use the livemode version that wrote it"),
            ),
            ("{}".into(), Some("it has no schema: no livemode has written it")),
            (
                String::new(),
                Some("EOF while parsing a value at line 1 column 0"),
            ),
        ] {
            for name in [STATE_FILE, MANIFEST_FILE, "boot.json"] {
                std::fs::write(dir.path().join(name), &content).unwrap();
            }
            let path = |name: &str| dir.path().join(name);
            let Some(fault) = fault else {
                assert_eq!(at(&records), (Phase::Booted, 0, "up".into()));
                // Without a checksum it is of an older version; with one it must be what was written.
                let torn = content.replace('}', r#","checksum":"0"}"#);
                std::fs::write(path(STATE_FILE), torn).unwrap();
                let error = format!("{:#}", records.state().unwrap_err());
                assert!(error.contains("not what was written"), "{error}");
                continue;
            };
            let said = |name: &str, error: anyhow::Error| {
                let expected = format!("reading {}: {fault}", path(name).display());
                assert_eq!(format!("{error:#}"), expected);
            };
            said(STATE_FILE, records.state().unwrap_err());
            said(MANIFEST_FILE, records.manifest().unwrap_err());
            said("boot.json", BootRecord::load(&path("boot.json")).unwrap_err());
            // Nor is it written over.
            assert!(content.is_empty() || records.advance(&[Phase::Booted], Phase::Failed, "x").is_err());
            assert_eq!(std::fs::read_to_string(path(STATE_FILE)).unwrap(), content);
        }
        assert_eq!(BootRecord::load(&dir.path().join("gone")).unwrap(), None);
    }
}
