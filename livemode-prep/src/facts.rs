//! What is read and asked before anything is decided, as plain values: `plan` is made from them alone. They can be written
//! to a file and read back, so that what a user reports is a case for a test.
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use livemode_common::config::{Config, Loaded};
use livemode_common::contract::SCHEMA;
use livemode_common::failure::precondition;
use livemode_common::fingerprint::Fingerprint;
use livemode_common::image_ref::ImageRef;
use livemode_common::records::{Manifest, Records};
use livemode_common::sysroot::SysRoot;
use serde::{Deserialize, Serialize};

pub(crate) mod actors;
pub(crate) mod built;
pub(crate) mod files;
pub(crate) mod leapp;
pub(crate) mod loader;
pub(crate) mod nics;
pub(crate) mod program;
pub(crate) mod source;
pub(crate) mod storage;
pub(crate) mod tools;
pub(crate) mod userspace;
pub(crate) mod volumes;

use actors::{Found, Sight};
use files::Files;
use leapp::LeappFacts;
use loader::Loader;
use nics::Nic;
use source::Source;
use storage::StorageFacts;
use tools::Tools;
use userspace::{Asked, Userspace};
use volumes::Volumes;

/// Everything that a plan is made from.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Facts {
    schema: u32,
    pub(crate) config: Config,
    /// What leapp's own loader would not like of the configuration's files.
    pub(crate) config_warnings: Vec<String>,
    /// Where the source system lies on this machine.
    pub(crate) root: PathBuf,
    pub(crate) source: Source,
    pub(crate) storage: StorageFacts,
    /// The file systems that the upgrade writes to.
    #[serde(default)]
    pub(crate) volumes: Volumes,
    /// The source's files that some rule may carry.
    pub(crate) files: Files,
    /// Its network interfaces that are hardware.
    #[serde(default)]
    pub(crate) nics: Vec<Nic>,
    /// The boot loader.
    pub(crate) loader: Option<Loader>,
    /// Programs of this machine.
    pub(crate) tools: Tools,
    /// The target container; none before leapp has made it.
    pub(crate) userspace: Option<Userspace>,
    pub(crate) leapp: LeappFacts,
    /// Whose livemode actors leapp finds.
    pub(crate) actors: Found,
    /// What an earlier build made.
    pub(crate) earlier: Option<Manifest>,
    /// By which the live system will know that this system is as it is now, or why it cannot.
    #[serde(default = "no_fingerprint")]
    pub(crate) fingerprint: Result<Fingerprint, String>,
}

fn no_fingerprint() -> Result<Fingerprint, String> {
    Err("it was not taken".to_owned())
}

/// What to look at.
#[derive(Clone, Copy)]
pub(crate) struct Scope<'a> {
    pub(crate) root: &'a SysRoot,
    pub(crate) leapp: &'a LeappFacts,
    /// The target container.
    pub(crate) container: Option<&'a Path>,
    /// Packages that the container may need; rpm is asked for all of them.
    pub(crate) packages: &'a [String],
    /// Whether the source system's fingerprint is taken: only for a build, for rpm writes to its database's lock file.
    pub(crate) with_fingerprint: bool,
}

impl Facts {
    /// Reads and asks. Nothing is changed; the container's own programs run in a throw-away overlay.
    ///
    /// # Errors
    /// When something that must be known cannot be read, or, with a container, when we are not root.
    pub(crate) fn gather(loaded: Loaded, scope: Scope) -> Result<Self> {
        let Scope { root, leapp, .. } = scope;
        let config = loaded.config;
        // Before the container's programs run in a mount namespace of their own.
        let tools = Tools::look();
        let table = source::MountTable::read(root)?;
        let source = Source::look(root, leapp, &config.squashfs_image_path, &table)?;
        let storage = StorageFacts::look(root, &source, table.is_own)?;
        let asked = Asked {
            packages: scope.packages,
            modaliases: &storage.modaliases(),
        };
        Ok(Self {
            schema: SCHEMA,
            files: Files::look(
                root,
                &config,
                source.fstab.as_deref().unwrap_or_default(),
                &storage.crypttab,
                &source.arguments,
            )?,
            nics: nics::look(root),
            volumes: Volumes::look(root, &source.mounts)?,
            source,
            loader: Some(Loader::look(root, &table)?),
            tools,
            userspace: scope
                .container
                .map(|dir| Userspace::look(dir, asked))
                .transpose()?,
            storage,
            leapp: leapp.clone(),
            actors: Sight::look(root).found,
            earlier: Records::of(root).manifest()?,
            fingerprint: if scope.with_fingerprint {
                Fingerprint::of(root).map_err(|e| format!("{e:#}"))
            } else {
                no_fingerprint()
            },
            root: root.path().to_owned(),
            config_warnings: loaded.warnings,
            config,
        })
    }

    /// Reads facts that were written by [`Self::to_json`].
    ///
    /// # Errors
    /// When they are not there, or are not of this version.
    pub(crate) fn load(path: &Path) -> Result<Self> {
        let fault = |why: String| precondition(format!("reading {}: {why}", path.display()));
        let text = std::fs::read(path).map_err(|e| fault(e.to_string()))?;
        let facts: Self = serde_json::from_slice(&text).map_err(|e| fault(e.to_string()))?;
        if facts.schema != SCHEMA {
            return Err(fault(format!(
                "its schema is {}, this livemode-prep reads {SCHEMA}; write it anew with: livemode-prep facts",
                facts.schema
            )));
        }
        Ok(facts)
    }

    /// As a file for somebody else: passwords and keys in it are masked.
    pub(crate) fn to_json(&self) -> Result<String> {
        let mut facts = self.clone();
        facts.files.mask();
        let url = &mut facts.config.url_to_load_squashfs_image_from;
        *url = ImageRef::Url(url.clone()).shown();
        if let Some(earlier) = &mut facts.earlier {
            mask_url(earlier);
        }
        serde_json::to_string_pretty(&facts).context("writing JSON")
    }
}

/// A record holds the whole URL, in the configuration and on the boot entry's line.
fn mask_url(manifest: &mut Manifest) {
    let url = std::mem::take(&mut manifest.config.url_to_load_squashfs_image_from);
    let shown = ImageRef::Url(url.clone()).shown();
    if !url.is_empty() {
        manifest.boot.arguments = manifest.boot.arguments.replace(&url, &shown);
    }
    manifest.config.url_to_load_squashfs_image_from = shown;
}
