//! Reading the records and making them durable.
use std::fs::File;
use std::path::{Path, PathBuf};

use anyhow::{bail, Context, Result};
use serde::Deserialize;

use super::{BootRecord, Change, Manifest, Phase, State};
use crate::contract::{MANIFEST_FILE, SCHEMA, STATE_DIR, STATE_FILE};
use crate::fsio::{atomic_write, now};
use crate::sysroot::SysRoot;

/// `state.json` and `manifest.json` of one source system.
#[derive(Debug)]
pub struct Records {
    dir: PathBuf,
}

impl Records {
    /// Those of the source system below `root`.
    pub fn of(root: &SysRoot) -> Self {
        Self::in_dir(&root.at(STATE_DIR))
    }

    /// Those that lie in `dir`.
    pub fn in_dir(dir: &Path) -> Self {
        Self { dir: dir.to_owned() }
    }

    /// The last state, or `None` before the first.
    ///
    /// # Errors
    /// When the record is there but cannot be read or understood, is torn, or is of another schema than [`SCHEMA`].
    pub fn state(&self) -> Result<Option<State>> {
        State::load(&self.dir.join(STATE_FILE))
    }

    /// What was built, or `None` when nothing is.
    ///
    /// # Errors
    /// When the record is there but cannot be read or understood, or is of another schema than [`SCHEMA`].
    pub fn manifest(&self) -> Result<Option<Manifest>> {
        read(&self.dir.join(MANIFEST_FILE))
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
        let dir = || self.dir.display();
        let file = File::open(&self.dir).with_context(|| format!("opening {}", dir()))?;
        file.lock().with_context(|| format!("locking {}", dir()))?;
        Ok(file)
    }

    fn write(&self, last: Option<&State>, change: Change) -> Result<()> {
        let record = State::followed_by(last, change, now());
        atomic_write(&self.dir.join(STATE_FILE), &to_json(&record)?, 0o600)
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
        &records.dir
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
