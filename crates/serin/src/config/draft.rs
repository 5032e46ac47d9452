//! A configuration in the making: entries are judged, and everything wrong is gathered.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};

use serde_json::Value;
use serin_services::Service;
use serin_services::conf::{Complaint, Conf, Folder, FolderPath, Setting as _, wrong};

use super::entries::Entries;
use super::environment::{self, Environment};
use super::honeycreds::Reading;
use super::keys::{self, Known};
use super::report::{Complaints, Note, Place};
use super::sensor::{Heartbeat, console, device, heartbeat, limits, run, selftest, store};
use super::{
    Catalogue, Config, Dialect, Disk, Honeycreds, Ignore, honeycreds, ignore, json, native, opencanary,
    rules, toml,
};
use crate::detections::settings as detections;
use crate::outputs::sharing::respect;

/// Ports below this one need privileges; the demo profile moves them up.
const FIRST_FREE_PORT: u16 = 1024;
const DEMO_OFFSET: u16 = 20_000;
/// The banner of the demo profile: a mail server, on a port of its own. It names no host, so that
/// installations are not alike.
const DEMO_BANNER: (u16, &str) = (20_025, "220 ESMTP ready\r\n");

/// Said where no service is on.
pub(crate) const NOTHING_ENABLED: &str = "no service is enabled: nothing listens but the console";

/// What is known so far.
pub(crate) struct Draft {
    pub(crate) catalogue: Catalogue,
    pub(crate) dialect: Dialect,
    file: Option<PathBuf>,
    /// All settings there are.
    pub(crate) table: Vec<Known>,
    pub(crate) entries: Entries,
    /// What was accepted.
    pub(crate) conf: Conf,
    complaints: Vec<Note>,
    notes: Vec<Note>,
}

impl Draft {
    /// Reads the text in whichever dialect it is written, and applies the environment.
    pub(crate) fn parse(
        catalogue: Catalogue,
        file: &Path,
        text: &str,
        environment: &Environment,
    ) -> Result<Self, Complaints> {
        let Some(first) = beginning(text) else {
            return Err(Complaints::whole(Some(file.to_owned()), "is empty; nothing would listen"));
        };
        let json = first.starts_with('{') || is_json(first);
        let read = if json { json::read(text) } else { toml::read(text, &native::is_output) };
        let entries = read.map_err(|mut note| {
            let named_json = file.extension().is_some_and(|it| it == "conf" || it == "json");
            if !json && named_json {
                note.text.insert_str(0, "an OpenCanary file begins with {; taken as a serin.toml, ");
            }
            Complaints { file: Some(file.to_owned()), list: vec![note], notes: Vec::new() }
        })?;
        let dialect = if json { Dialect::OpenCanary } else { Dialect::Native };
        Ok(Self::new(catalogue, dialect, Some(file.to_owned()), entries, environment))
    }

    /// The demo profile.
    pub(crate) fn demo(catalogue: Catalogue, environment: &Environment) -> Self {
        Self::new(catalogue, Dialect::Demo, None, Entries::default(), environment)
    }

    fn new(
        catalogue: Catalogue,
        dialect: Dialect,
        file: Option<PathBuf>,
        mut entries: Entries,
        environment: &Environment,
    ) -> Self {
        let table = keys::all(catalogue);
        let notes = std::mem::take(&mut entries.notes);
        let conf = Conf::new();
        let mut draft =
            Self { catalogue, dialect, file, table, entries, conf, complaints: Vec::new(), notes };
        if dialect == Dialect::OpenCanary {
            for (key, text) in environment::fill_in(&mut draft.entries, environment) {
                draft.note(&key, text);
            }
        }
        let unknown =
            environment::override_with(environment, &draft.table, &native::is_in_output, &mut draft.entries);
        draft.complaints.extend(unknown);
        draft
    }

    /// Something is wrong with the value of `key`.
    pub(crate) fn complain(&mut self, key: &str, text: impl Into<String>) {
        let place = self.entries.find(key).map_or(Place::Nowhere, |it| it.value.clone());
        let text = self.entries.as_written(key, text.into());
        self.complaints.push(Note { place, key: key.to_owned(), text });
    }

    /// A switch is neither on nor off. Unless it seems to mean off, what it switches is judged as if
    /// it were on: what is wrong there must not come up only after the switch was mended.
    pub(crate) fn refuse_switch(&mut self, key: &str, value: &Value) {
        self.complain(key, wrong("true or false", value));
        let off = match value {
            Value::String(text) => {
                ["", "0", "false", "no", "off"].iter().any(|it| text.eq_ignore_ascii_case(it))
            }
            other => other.is_null() || other.as_f64() == Some(0.0),
        };
        if !off {
            self.conf.set(key, true);
        }
    }

    /// Something is wrong with `key` itself.
    pub(crate) fn complain_of_key(&mut self, key: &str, text: impl Into<String>) {
        let place = self.entries.find(key).map_or(Place::Nowhere, |it| it.key.clone());
        self.complaints.push(Note { place, key: key.to_owned(), text: text.into() });
    }

    /// Something about `key` is worth knowing.
    pub(crate) fn note(&mut self, key: &str, text: impl Into<String>) {
        let place = self.entries.find(key).map_or(Place::Nowhere, |it| it.key.clone());
        self.notes.push(Note { place, key: key.to_owned(), text: text.into() });
    }

    /// Takes over what a reader complained of.
    pub(crate) fn gather<T>(&mut self, result: Result<T, Vec<Complaint>>) -> Option<T> {
        result.map_err(|list| list.into_iter().for_each(|it| self.complain(&it.key, it.text))).ok()
    }

    /// What follows from the file by the rules of its dialect, and then by those of all.
    pub(crate) fn finish(mut self, disk: &Disk<'_>) -> Result<Config, Complaints> {
        match self.dialect {
            Dialect::Demo => self.fill_demo(),
            Dialect::Native => native::judge(&mut self),
            Dialect::OpenCanary => opencanary::judge(&mut self),
        }
        let ignore = self.ignore();
        let harmless = rules::read(&mut self, disk);
        let honeycreds = self.honeycreds();
        let mut outputs = match self.dialect {
            Dialect::OpenCanary => opencanary::outputs(&mut self),
            Dialect::Demo | Dialect::Native => native::outputs(&mut self),
        };
        respect(&ignore, &honeycreds, &mut outputs);
        self.log_files(disk.log_file);
        self.folders(disk.folder);
        let conf = self.conf.clone();
        let device = self.gather(device::Settings::read(&conf));
        let console = self.gather(console::Settings::read(&conf));
        let limits = self.gather(limits::Settings::read(&conf));
        let store = self.gather(store::Settings::read(&conf));
        let run = self.gather(run::Settings::read(&conf));
        let enrich = self.gather(crate::enrich::Settings::read(&conf));
        let heartbeat = heartbeat::Settings::read(&conf).and_then(|it| Heartbeat::read(&it));
        let heartbeat = self.gather(heartbeat);
        let selftest = self.gather(selftest::Settings::read(&conf));
        let incidents = self.gather(crate::incidents::settings::Settings::read(&conf));
        let detection = self.detection(&conf, disk);
        let listen = self.listen(device.as_ref());
        let ports = self.services();
        let console_at = console.and_then(|it| it.listen.0).filter(|it| self.has_room(*it, &listen, &ports));
        self.consequences(device.as_ref());
        self.notes.sort_by(|a, b| a.place.cmp(&b.place));
        let sections = device
            .zip(limits)
            .zip(store.zip(run))
            .zip(heartbeat.zip(selftest).zip(enrich.zip(incidents).zip(detection)));
        match sections {
            Some((
                ((device, limits), (store, run)),
                ((heartbeat, selftest), ((enrich, incidents), detection)),
            )) if self.complaints.is_empty() => Ok(Config {
                file: self.file,
                dialect: self.dialect,
                services: self.conf,
                node_id: device.node_id,
                hostname: device.hostname,
                listen,
                ignore,
                rules: harmless.rules,
                rule_files: harmless.files,
                patterns: harmless.patterns,
                enrich,
                honeycreds,
                outputs,
                console: console_at,
                limits: limits.into(),
                store: store.into(),
                run: run.into(),
                incidents,
                detection,
                heartbeat,
                selftest_every: selftest.every,
                notes: self.notes,
            }),
            _ => {
                self.complaints.sort_by(|a, b| a.place.cmp(&b.place));
                self.complaints.dedup();
                Err(Complaints { file: self.file, list: self.complaints, notes: self.notes })
            }
        }
    }

    /// What the operator decides about detection. What is wrong with rules stops nothing, not even that
    /// they are not there.
    fn detection(&mut self, conf: &Conf, disk: &Disk<'_>) -> Option<detections::Settings> {
        let settings = self.gather(detections::Settings::read(conf))?;
        let odd: Vec<_> = settings.placeholders.0.iter().filter(|it| !it.contains('=')).collect();
        for it in &odd {
            self.complain("detection.placeholders", format!("{it:?} is not NAME=value,value"));
        }
        for (key, text) in (disk.detection)(&settings) {
            self.note(key, text);
        }
        odd.is_empty().then_some(settings)
    }

    /// What the whole amounts to and may not be meant.
    fn consequences(&mut self, device: Option<&device::Settings>) {
        if device.is_some_and(|it| it.node_id.trim().is_empty()) {
            self.note("device.node_id", "is empty: records would carry no name");
        }
        if self.dialect != Dialect::Demo && !self.catalogue.services.iter().any(|it| self.conf.enabled(it)) {
            let text = NOTHING_ENABLED.to_owned();
            self.notes.push(Note { place: Place::Nowhere, key: String::new(), text });
        }
    }

    /// Whether something is wrong with the value of `key`.
    fn is_refused(&self, key: &str) -> bool {
        self.complaints.iter().any(|it| it.key == key)
    }

    /// Looks at the log files that outputs name, also at those of outputs that are wrong otherwise.
    fn log_files(&mut self, look: &dyn Fn(&Path) -> Option<String>) {
        let mut files = native::log_files(&self.entries);
        if self.dialect == Dialect::OpenCanary {
            files.extend(opencanary::log_files(&self.entries));
        }
        for (key, path) in files {
            if let Some(text) = look(Path::new(&path)) {
                self.complain(&key, text);
            }
        }
    }

    fn listen(&self, device: Option<&device::Settings>) -> Vec<IpAddr> {
        let named = device.map(|it| it.listen_addr.0.clone()).unwrap_or_default();
        if !named.is_empty() {
            return named;
        }
        match self.dialect {
            Dialect::Demo => vec![Ipv4Addr::LOCALHOST.into()],
            Dialect::Native => vec![Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()],
            Dialect::OpenCanary => vec![Ipv4Addr::UNSPECIFIED.into()],
        }
    }

    /// Every service, on ports that need no privileges; what the environment says goes before.
    fn fill_demo(&mut self) {
        let mut defaults: BTreeMap<String, Value> = BTreeMap::new();
        for known in &self.table {
            let Some((section, what)) = known.name.split_once('.') else { continue };
            if !self.catalogue.services.iter().any(|it| it.name == section) {
                continue;
            }
            if what == "enabled" {
                defaults.insert(known.name.clone(), true.into());
            } else if what == "port" {
                let port = known.default.as_u64().and_then(|it| u16::try_from(it).ok()).unwrap_or(0);
                let port = if port < FIRST_FREE_PORT { port + DEMO_OFFSET } else { port };
                defaults.insert(known.name.clone(), port.into());
            }
        }
        if keys::find(&self.table, "tcpbanner_1.enabled").is_some() {
            let (port, banner) = DEMO_BANNER;
            defaults.insert("tcpbanner_1.enabled".to_owned(), true.into());
            defaults.insert("tcpbanner_1.port".to_owned(), port.into());
            defaults.insert("tcpbanner_1.initbanner".to_owned(), banner.into());
        }
        for (key, value) in self.entries.iter() {
            defaults.insert(key.clone(), value.clone());
        }
        for (key, value) in defaults {
            if !native::is_in_output(&key) {
                native::accept(self, &key, value);
            }
        }
    }

    fn ignore(&mut self) -> Ignore {
        let mut ignore = Ignore::default();
        let taken = |draft: &mut Self, key: &str, wants: &str| {
            let value = draft.entries.get(key).cloned().filter(|it| !draft.says_nothing(it));
            let Some(value) = value else { return Vec::new() };
            let Some(members) = ignore::members(&value) else {
                draft.complain(key, wrong(wants, &value));
                return Vec::new();
            };
            if draft.dialect == Dialect::OpenCanary && !value.is_array() && !members.is_empty() {
                draft.note(key, "is no list; taken as one, where OpenCanary would not have matched");
            }
            members
        };
        for member in taken(self, "ip.ignorelist", "a list of addresses and networks") {
            self.member("ip.ignorelist", ignore::net(&member), |it| ignore.net(it));
        }
        for member in taken(self, "logtype.ignorelist", "a list of whole numbers") {
            self.member("logtype.ignorelist", ignore::logtype(&member), |it| ignore.logtype(it));
        }
        ignore
    }

    /// What never matches is a mistake in a file of ours, and worth a word in one of OpenCanary's,
    /// which starts with it.
    fn member<T>(&mut self, key: &str, member: ignore::Member<T>, take: impl FnOnce(T)) {
        match member {
            ignore::Member::Taken(it) => take(it),
            ignore::Member::Idle(text) if self.dialect == Dialect::OpenCanary => self.note(key, text),
            ignore::Member::Idle(text) | ignore::Member::Wrong(text) => self.complain(key, text),
        }
    }

    fn honeycreds(&mut self) -> Honeycreds {
        let mut all = Honeycreds::default();
        let lists: Vec<(String, Value)> = self
            .entries
            .iter()
            .filter(|(key, _)| *key == "honeycreds" || key.ends_with(".honeycreds"))
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect();
        for (key, value) in lists {
            if self.says_nothing(&value) {
                self.conf.remove(&key.to_ascii_lowercase());
                continue;
            }
            let Reading { credentials, complaints, unknown, notes } = honeycreds::read(&value);
            let fine = complaints.is_empty();
            // OpenCanary looks at it when somebody logs in, so never where the service is off.
            let section = key.split('.').next().unwrap_or_default().to_ascii_lowercase();
            let on = self.conf.get(&format!("{section}.enabled")) == Some(&Value::Bool(true));
            let idle = self.dialect == Dialect::OpenCanary && !on;
            if !fine {
                self.conf.remove(&key.to_ascii_lowercase());
            }
            for (below, text) in complaints {
                let path = format!("{key}{below}");
                if idle { self.note(&path, text) } else { self.complain(&path, text) }
            }
            for (below, text) in &unknown {
                let path = format!("{key}{below}");
                if self.dialect == Dialect::OpenCanary {
                    self.note(&path, format!("{text} It is ignored, as OpenCanary does"));
                } else {
                    self.complain_of_key(&path, text.as_str());
                }
            }
            for (below, text) in notes {
                self.note(&format!("{key}{below}"), text);
            }
            if fine {
                if !unknown.is_empty() {
                    self.without_unknown_keys(&key, value);
                }
                let service = key.strip_suffix(".honeycreds").map(str::to_ascii_lowercase);
                all.set(service.as_deref(), credentials);
            }
        }
        all
    }

    /// Keeps of bait what is understood: the rest would be a mistake in an imported file.
    fn without_unknown_keys(&mut self, key: &str, mut value: Value) {
        for entry in value.as_array_mut().into_iter().flatten().filter_map(Value::as_object_mut) {
            entry.retain(|key, _| honeycreds::KEYS.contains(&key.as_str()));
        }
        let key = key.to_ascii_lowercase();
        if self.conf.get(&key).is_some() {
            self.conf.set(key, value);
        }
    }

    /// What Python takes for nothing: in an OpenCanary file, no list at all.
    fn says_nothing(&self, value: &Value) -> bool {
        let nothing = match value {
            Value::Null | Value::Bool(false) => true,
            Value::Number(number) => number.as_f64() == Some(0.0),
            Value::String(text) => text.is_empty(),
            Value::Object(map) => map.is_empty(),
            Value::Array(_) | Value::Bool(true) => false,
        };
        nothing && self.dialect == Dialect::OpenCanary
    }

    /// Reads the folders that settings name.
    fn folders(&mut self, folder: &dyn Fn(&Path) -> std::io::Result<Folder>) {
        let named: Vec<(String, String)> = self
            .conf
            .iter()
            .filter(|(key, _)| keys::find(&self.table, key).is_some_and(|it| it.wants == FolderPath::WANTS))
            .filter_map(|(key, value)| Some((key.to_owned(), value.as_str()?.to_owned())))
            .filter(|(_, path)| !path.is_empty())
            .collect();
        for (key, path) in named {
            match folder(Path::new(&path)) {
                Ok(folder) => self.conf.set_folder(key, folder.into()),
                // OpenCanary takes its own pages when the folder is not there.
                Err(error) if self.dialect == Dialect::OpenCanary => {
                    self.note(&key, format!("{path} is not used: {error}"));
                }
                Err(error) => self.complain(&key, format!("{path} cannot be read: {error}")),
            }
        }
    }

    /// Builds what is enabled, for its complaints and its ports.
    fn services(&mut self) -> BTreeMap<u16, String> {
        let mut ports: BTreeMap<u16, String> = BTreeMap::new();
        for service in self.catalogue.services {
            let enabled = self.conf.enabled(service);
            let written = self.dialect == Dialect::Native && self.is_written(service);
            if !enabled && !written {
                continue;
            }
            let (built, complaints) = whole(&self.conf, &service.build);
            for it in complaints {
                self.complain(&it.key, it.text);
            }
            for listening in built.unwrap_or_default() {
                // A port that was refused is not the usual one instead.
                if !enabled || self.is_refused(&listening.key) {
                    continue;
                }
                match ports.get(&listening.port) {
                    Some(other) => {
                        let text = format!("{} is the port of {other} too", listening.port);
                        self.complain(&listening.key, text);
                    }
                    None => {
                        ports.insert(listening.port, listening.key);
                    }
                }
            }
        }
        ports
    }

    /// Whether no service takes the console's port. Nobody asked for the usual one, so it gives way.
    fn has_room(&mut self, console: SocketAddr, listen: &[IpAddr], ports: &BTreeMap<u16, String>) -> bool {
        let meets = |it: &IpAddr| it.is_unspecified() || console.ip().is_unspecified() || *it == console.ip();
        let Some(other) = ports.get(&console.port()).filter(|_| listen.iter().any(meets)) else {
            return true;
        };
        let text = format!("{} is the port of {other} too", console.port());
        if self.entries.get("console.listen").is_some() {
            self.complain("console.listen", text);
        } else {
            self.note("console.listen", format!("{text}; there is no console until this is set"));
        }
        false
    }

    fn is_written(&self, service: &Service) -> bool {
        self.entries.iter().any(|(key, _)| {
            let section = key.split('.').next().unwrap_or_default();
            section == service.name || keys::is_slot(section, service.name)
        })
    }
}

/// Builds something of settings, and gathers everything that is wrong with them: what was refused is
/// left out, so that what is only looked at after it is judged too.
pub(crate) fn whole<T>(
    conf: &Conf,
    build: &dyn Fn(&Conf) -> Result<T, Vec<Complaint>>,
) -> (Option<T>, Vec<Complaint>) {
    let mut conf = conf.clone();
    let mut all: Vec<Complaint> = Vec::new();
    loop {
        let complaints = match build(&conf) {
            Ok(it) => return (Some(it), all),
            Err(complaints) => complaints,
        };
        let before = conf.iter().count();
        for it in &complaints {
            conf.remove(&it.key);
        }
        // Without its value, a setting may be missed next time: that is no news.
        let known: BTreeSet<String> = all.iter().map(|it| it.key.clone()).collect();
        all.extend(complaints.into_iter().filter(|it| !known.contains(&it.key)));
        if conf.iter().count() == before {
            return (None, all);
        }
    }
}

/// Whether the text is one JSON value, though no object: no `serin.toml`, whatever TOML makes of `[1]`.
fn is_json(text: &str) -> bool {
    serde_json::from_str::<Value>(text).is_ok()
}

/// Where the text begins, comments aside; `None`: nowhere.
fn beginning(text: &str) -> Option<&str> {
    let mut rest = text.trim_start_matches('\u{feff}').trim_start();
    loop {
        let after = if rest.starts_with("//") || rest.starts_with('#') {
            rest.split_once('\n').map(|it| it.1)
        } else if rest.starts_with("/*") {
            rest.split_once("*/").map(|it| it.1)
        } else {
            return (!rest.is_empty()).then_some(rest);
        };
        rest = after.unwrap_or_default().trim_start();
    }
}
