//! Where the loader of an entry keeps what boots next, to be read and written by whoever can reach it.
use std::path::{Path, PathBuf};

use anyhow::{bail, Result};
use serde::{Deserialize, Serialize};

use super::efivars;
use super::grubenv::Grubenv;
use super::own::{changed, Boots, Choice, Choices};
use super::systemd_boot::{with_any_counters, DEFAULT, ONE_SHOT};
use crate::sysroot::SysRoot;

/// Which loader has the upgrade's entry, and what is to be known of it. Paths as the source system sees them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Keeper {
    /// GRUB.
    Grub {
        /// Its environment block.
        grubenv: String,
        /// Where early boot finds that block: `UUID=…:/path`. Without it, it does not.
        grubenv_on: Option<String>,
    },
    /// systemd-boot.
    SystemdBoot {
        /// Where the EFI system partition is mounted.
        esp: String,
        /// What LoaderEntryDefault held before.
        former_choice: Option<String>,
    },
}

impl Keeper {
    /// Where early boot finds GRUB's environment block.
    pub fn grubenv_on(&self) -> Option<&str> {
        match self {
            Self::Grub { grubenv_on, .. } => grubenv_on.as_deref(),
            Self::SystemdBoot { .. } => None,
        }
    }

    /// What names the entry of this id to the loader, whatever its file is called by now.
    pub fn called(&self, id: &str) -> String {
        match self {
            Self::Grub { .. } => id.to_owned(),
            Self::SystemdBoot { .. } => with_any_counters(id),
        }
    }

    /// The store of a system; the firmware's variables are seen in the directory `variables`.
    pub fn store(&self, root: &SysRoot, variables: &Path) -> Store {
        match self {
            Self::Grub { grubenv, .. } => Store::Grubenv(root.at(grubenv)),
            Self::SystemdBoot { .. } => Store::Variables(variables.to_owned()),
        }
    }
}

/// What holds a loader's choices.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Store {
    /// GRUB's environment block, this file.
    Grubenv(PathBuf),
    /// The firmware's variables, in this directory.
    Variables(PathBuf),
}

impl Store {
    /// Whether it is gone: a loader may have been replaced.
    pub fn is_gone(&self) -> bool {
        match self {
            Self::Grubenv(path) => !path.exists(),
            Self::Variables(_) => false,
        }
    }

    /// What is chosen.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn chosen(&self, choice: Choice) -> Result<Option<String>> {
        match self {
            Self::Grubenv(path) => Ok(Grubenv::read(path)?.chosen(choice)),
            Self::Variables(dir) => Ok(Variables::read(dir)?.chosen(choice)),
        }
    }

    /// Makes `boots` true; `ours` is the id of the upgrade's entry. Gives whether anything had to be changed.
    ///
    /// # Errors
    /// When it cannot be read or written.
    pub fn set(&self, ours: &str, boots: Boots) -> Result<bool> {
        match self {
            Self::Grubenv(path) => {
                let env = Grubenv::read(path)?;
                let new = changed(&env, ours, boots);
                if new == env {
                    return Ok(false);
                }
                new.write_in_place(path)?;
            }
            Self::Variables(dir) => {
                let variables = Variables::read(dir)?;
                let new = changed(&variables, ours, boots);
                if new == variables {
                    return Ok(false);
                }
                new.write(dir)?;
            }
        }
        Ok(true)
    }

    /// Tells the loader which entry boots by default; without one it takes one of itself.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn choose_default(&self, id: Option<&str>) -> Result<()> {
        match self {
            Self::Grubenv(path) => {
                let mut env = Grubenv::read(path)?;
                env.choose(Choice::Default, id);
                env.write_in_place(path)
            }
            Self::Variables(dir) => efivars::write(dir, DEFAULT, id),
        }
    }
}

/// systemd-boot's two variables.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Variables {
    once: Option<String>,
    default: Option<String>,
}

impl Variables {
    fn read(dir: &Path) -> Result<Self> {
        // A directory without any would be taken for one in which nothing is chosen.
        if std::fs::read_dir(dir)
            .ok()
            .and_then(|mut files| files.next())
            .is_none()
        {
            bail!(
                "{0} shows no variables of the firmware; first: mount -t efivarfs efivarfs {0}",
                dir.display()
            );
        }
        Ok(Self {
            once: efivars::read(dir, ONE_SHOT)?,
            default: efivars::read(dir, DEFAULT)?,
        })
    }

    /// The default first: a cut in between leaves what early boot decides once more.
    fn write(&self, dir: &Path) -> Result<()> {
        efivars::write(dir, DEFAULT, self.default.as_deref())?;
        efivars::write(dir, ONE_SHOT, self.once.as_deref())
    }
}

impl Choices for Variables {
    fn chosen(&self, choice: Choice) -> Option<String> {
        match choice {
            Choice::Once => self.once.clone(),
            Choice::Default => self.default.clone(),
        }
    }

    fn choose(&mut self, choice: Choice, id: Option<&str>) {
        let set = id.map(str::to_owned);
        match choice {
            Choice::Once => self.once = set,
            Choice::Default => self.default = set,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_stores_are_told_the_same() {
        let dir = tempfile::tempdir().unwrap();
        let block = dir.path().join("grubenv");
        std::fs::write(&block, Grubenv::default().to_bytes().unwrap()).unwrap();
        for store in [Store::Grubenv(block), Store::Variables(dir.path().to_owned())] {
            assert!(!store.is_gone());
            let chosen = || [Choice::Once, Choice::Default].map(|choice| store.chosen(choice).unwrap());
            let is = |once: Option<&str>, default: Option<&str>| {
                assert_eq!(
                    chosen(),
                    [once, default].map(|set| set.map(str::to_owned)),
                    "{store:?}"
                );
            };
            is(None, None);
            assert!(store.set("ours", Boots::UpgradeOnce).unwrap());
            assert!(!store.set("ours", Boots::UpgradeOnce).unwrap());
            is(Some("ours"), None);
            store.set("ours", Boots::Upgrade).unwrap();
            is(Some("ours"), Some("ours"));
            store.set("ours", Boots::Old(None)).unwrap();
            is(None, None);
            store.set("ours", Boots::New("new")).unwrap();
            is(None, Some("new"));
            store.choose_default(None).unwrap();
            is(None, None);
        }
    }

    #[test]
    fn variables_that_cannot_be_seen_are_not_taken_for_unset() {
        let dir = tempfile::tempdir().unwrap();
        let why = Store::Variables(dir.path().join("none")).set("ours", Boots::Old(None));
        assert!(why.unwrap_err().to_string().contains("first: mount -t efivarfs"));
        assert!(Store::Grubenv(dir.path().join("grubenv")).is_gone());
    }

    #[test]
    fn a_keeper_reads_as_older_versions_wrote_it() {
        let grub: Keeper =
            serde_json::from_str(r#"{"grubenv": "/boot/grub2/grubenv", "grubenv_on": null}"#).unwrap();
        assert_eq!((grub.called("a-6").as_str(), grub.grubenv_on()), ("a-6", None));
        let found: Keeper = serde_json::from_str(
            r#"{"grubenv": "/boot/grub2/grubenv", "grubenv_on": "UUID=1:/grub2/grubenv"}"#,
        )
        .unwrap();
        assert_eq!(found.grubenv_on(), Some("UUID=1:/grub2/grubenv"));
        let other = Keeper::SystemdBoot {
            esp: "/efi".into(),
            former_choice: None,
        };
        let text = serde_json::to_string(&other).unwrap();
        assert_eq!(serde_json::from_str::<Keeper>(&text).unwrap(), other);
        assert_eq!(other.called("a-6.conf"), "a-6[+.]*conf");
    }
}
