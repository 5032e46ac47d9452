//! What the operator wants, read from a native `serin.toml` or an unchanged OpenCanary file.
//!
//! Text becomes `entries` with places (`json`, `toml`), variables of the environment override
//! them, a `draft` judges them by the rules of their dialect (`opencanary`, `native`) against the
//! one table of all settings (`keys`), and a [`Config`] is what is left: plain data. Files and
//! folders are read in `search` alone.

mod check;
mod draft;
mod entries;
mod environment;
mod honeycreds;
pub(crate) mod ignore;
mod import;
mod init;
mod json;
mod keys;
mod later;
mod native;
mod opencanary;
mod report;
pub(crate) mod rules;
mod schema;
pub(crate) mod search;
pub mod sensor;
#[cfg(test)]
mod tests;
mod toml;

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use serin_services::Service;
use serin_services::conf::{Conf, Folder};

use crate::benign::Pattern;
use crate::detections::settings as detections;
use crate::enrich;
use crate::ignore::Ruleset;
use crate::outputs::{self, OutputConf, OutputType};

pub use check::check;
pub use environment::Environment;
pub use honeycreds::{Bait, Credential, Honeycreds, Secret};
pub use ignore::Ignore;
pub use import::import;
pub use init::{PERSONAS, Persona, init};
pub use report::{Complaints, Note, Place};
pub use schema::{schema, settings_page};
pub use search::{Selection, candidates};
pub use sensor::{Durability, Heartbeat};

/// Said by commands that end after complaints.
pub const NOTHING_STARTED: &str = "Nothing was started.";

/// Everything the runtime needs to know.
#[derive(Debug, Clone)]
pub struct Config {
    /// The file it was read from; `None` in the demo profile.
    pub file: Option<PathBuf>,
    /// How it was written.
    pub dialect: Dialect,
    /// The settings of the services, with folders in memory. Who the host claims to be
    /// (`services.identity`) is filled in by the caller, who knows the state directory.
    pub services: Conf,
    /// `device.node_id`.
    pub node_id: String,
    /// `device.hostname`; empty: one is made at the first start.
    pub hostname: String,
    /// Where services listen, never empty. `::` alone is dual stack; beside an IPv4 address it is
    /// IPv6 only.
    pub listen: Vec<IpAddr>,
    /// What is dropped before it is recorded.
    pub ignore: Ignore,
    /// What an operator knows to be harmless.
    pub(crate) rules: Ruleset,
    /// What well-known harmless tools look like.
    pub(crate) patterns: Vec<Pattern>,
    /// How sources are looked up.
    pub(crate) enrich: enrich::Settings,
    /// Files and folders of rules, which are watched.
    pub(crate) rule_files: Vec<PathBuf>,
    /// Bait credentials.
    pub honeycreds: Honeycreds,
    /// Where events go, beside the store.
    pub outputs: Vec<OutputConf>,
    /// Where console, health and metrics are served; `None`: nowhere.
    pub console: Option<SocketAddr>,
    /// What peers may use up.
    pub limits: sensor::Limits,
    /// Where and for how long events are kept.
    pub store: sensor::Store,
    /// What of the events is told to people, and when.
    pub(crate) incidents: crate::incidents::settings::Settings,
    /// Which detection rules there are, and what becomes of what they find.
    pub(crate) detection: detections::Settings,
    /// How the process runs.
    pub run: sensor::Run,
    /// Signs of life.
    pub heartbeat: sensor::Heartbeat,
    /// Between two self-tests; zero: only when asked for.
    pub selftest_every: std::time::Duration,
    /// What the operator should know: services that come later, settings that are ignored, values
    /// that were put right.
    pub notes: Vec<Note>,
}

/// How a configuration is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// Not at all: every service on loopback, on ports that need no privileges.
    Demo,
    /// `serin.toml`.
    Native,
    /// OpenCanary's JSON.
    OpenCanary,
}

/// The services and outputs that a configuration can speak of.
#[derive(Debug, Clone, Copy)]
pub struct Catalogue {
    /// Services.
    pub services: &'static [&'static Service],
    /// Types of output.
    pub outputs: &'static [&'static OutputType],
}

/// Files with their texts.
pub(crate) type Texts = Vec<(PathBuf, String)>;

/// What a configuration may ask of the disk.
pub(crate) struct Disk<'a> {
    /// The files of a folder that it names.
    pub(crate) folder: &'a dyn Fn(&Path) -> std::io::Result<Folder>,
    /// What is wrong with a log file that it names.
    pub(crate) log_file: &'a dyn Fn(&Path) -> Option<String>,
    /// What is worth knowing of the detection rules that it names: settings, and what to say of them.
    pub(crate) detection: &'a dyn Fn(&detections::Settings) -> Vec<(&'static str, String)>,
    /// The texts of a file of rules, or of all such files in a folder.
    pub(crate) rules: &'a dyn Fn(&Path) -> std::io::Result<Texts>,
}

impl Catalogue {
    /// Those of this version.
    #[must_use]
    pub fn whole() -> Self {
        Self { services: serin_services::ALL, outputs: outputs::ALL }
    }
}

impl Config {
    /// The demo profile: what runs when there is no configuration anywhere.
    ///
    /// # Errors
    ///
    /// When the environment overrides something with nonsense.
    pub fn demo(catalogue: Catalogue, environment: &Environment) -> Result<Self, Complaints> {
        draft::Draft::demo(catalogue, environment).finish(&Disk {
            folder: &search::folder,
            log_file: &|_| None,
            detection: &|_| Vec::new(),
            rules: &search::rules,
        })
    }

    /// The settings that differ in `other` and that only a start can change.
    pub(crate) fn at_next_start(&self, other: &Self) -> Vec<&'static str> {
        [
            ("console.listen", self.console != other.console),
            ("device.hostname", self.hostname != other.hostname),
            ("run", self.run != other.run),
            ("store.durability", self.store.durability != other.store.durability),
            ("store.state_dir", self.store.state_dir != other.store.state_dir),
        ]
        .into_iter()
        .filter_map(|(name, differs)| differs.then_some(name))
        .collect()
    }

    /// Reads a configuration from its text. Folders that it names are asked of `folder`.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with it, at once.
    pub fn parse(
        catalogue: Catalogue,
        file: &Path,
        text: &str,
        environment: &Environment,
        folder: &dyn Fn(&Path) -> std::io::Result<Folder>,
    ) -> Result<Self, Complaints> {
        let rules = |path: &Path| folder(path).map(|it| search::rules_in(path, &it));
        let disk = Disk { folder, log_file: &|_| None, detection: &|_| Vec::new(), rules: &rules };
        draft::Draft::parse(catalogue, file, text, environment)?.finish(&disk)
    }
}

/// Finds, reads and checks the configuration; the demo profile where there is none.
///
/// # Errors
///
/// Everything that is wrong with it, at once.
pub fn load(selection: &Selection, environment: &Environment) -> Result<Config, Complaints> {
    let disk = Disk {
        folder: &search::folder,
        log_file: &|_| None,
        detection: &|_| Vec::new(),
        rules: &search::rules,
    };
    load_with(Catalogue::whole(), selection, environment, &disk)
}

/// The same for a given catalogue, with what is asked of the disk.
pub(crate) fn load_with(
    catalogue: Catalogue,
    selection: &Selection,
    environment: &Environment,
    disk: &Disk<'_>,
) -> Result<Config, Complaints> {
    let Some(found) = search::find(selection, environment)? else {
        return draft::Draft::demo(catalogue, environment).finish(disk);
    };
    let result = draft::Draft::parse(catalogue, &found.file, &found.text, environment)
        .and_then(|draft| draft.finish(disk));
    match result {
        Ok(mut config) => {
            config.notes.splice(0..0, found.notes);
            Ok(config)
        }
        Err(mut complaints) => {
            complaints.notes.splice(0..0, found.notes);
            Err(complaints)
        }
    }
}
