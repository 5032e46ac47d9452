//! A configuration in the making: entries are judged, and everything wrong is gathered.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};

use serde_json::Value;
use serin_services::Service;
use serin_services::conf::{Complaint, Conf, Folder, FolderPath, Setting as _};

use super::entries::Entries;
use super::environment::{self, Environment};
use super::keys::{self, Known};
use super::report::{Complaints, Note, Place};
use super::sensor::{console, device, limits, run, store};
use super::{
    Catalogue, Config, Dialect, Honeycreds, Ignore, honeycreds, ignore, json, native, opencanary, toml,
};

/// Ports below this one need privileges; the demo profile moves them up.
const FIRST_FREE_PORT: u16 = 1024;
const DEMO_OFFSET: u16 = 20_000;
/// The banner of the demo profile: a mail server, on a port of its own.
const DEMO_BANNER: (u16, &str) = (20_025, "220 mail.example.org ESMTP ready\r\n");

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
        let json = is_json(text);
        let read = if json { json::read(text) } else { toml::read(text, &native::is_output) };
        let entries = read.map_err(|mut note| {
            let named_json = file.extension().is_some_and(|it| it == "conf" || it == "json");
            if !json && named_json {
                note.text.insert_str(0, "an OpenCanary file begins with {; taken as a serin.toml, ");
            }
            Complaints { file: Some(file.to_owned()), list: vec![note] }
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
        self.complaints.push(Note { place, key: key.to_owned(), text: text.into() });
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
    pub(crate) fn finish(
        mut self,
        folder: &dyn Fn(&Path) -> std::io::Result<Folder>,
    ) -> Result<Config, Complaints> {
        match self.dialect {
            Dialect::Demo => self.fill_demo(),
            Dialect::Native => native::judge(&mut self),
            Dialect::OpenCanary => opencanary::judge(&mut self),
        }
        let ignore = self.ignore();
        let honeycreds = self.honeycreds();
        let outputs = match self.dialect {
            Dialect::OpenCanary => opencanary::outputs(&mut self),
            Dialect::Demo | Dialect::Native => native::outputs(&mut self),
        };
        self.folders(folder);
        let conf = self.conf.clone();
        let device = self.gather(device::Settings::read(&conf));
        let console = self.gather(console::Settings::read(&conf));
        let limits = self.gather(limits::Settings::read(&conf));
        let store = self.gather(store::Settings::read(&conf));
        let run = self.gather(run::Settings::read(&conf));
        let listen = self.listen(device.as_ref());
        let ports = self.services();
        let console_at = console.and_then(|it| it.listen.0).filter(|it| self.has_room(*it, &listen, &ports));
        if self.dialect != Dialect::Demo && !self.catalogue.services.iter().any(|it| self.conf.enabled(it)) {
            let text = NOTHING_ENABLED.to_owned();
            self.notes.push(Note { place: Place::Nowhere, key: String::new(), text });
        }
        let sections = device.zip(limits).zip(store.zip(run));
        match sections {
            Some(((device, limits), (store, run))) if self.complaints.is_empty() => {
                self.notes.sort_by(|a, b| a.place.cmp(&b.place));
                Ok(Config {
                    file: self.file,
                    dialect: self.dialect,
                    services: self.conf,
                    node_id: device.node_id,
                    hostname: device.hostname,
                    listen,
                    ignore,
                    honeycreds,
                    outputs,
                    console: console_at,
                    limits: limits.into(),
                    store: store.into(),
                    run: run.into(),
                    notes: self.notes,
                })
            }
            _ => {
                self.complaints.sort_by(|a, b| a.place.cmp(&b.place));
                self.complaints.dedup();
                Err(Complaints { file: self.file, list: self.complaints })
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
                draft.complain(key, serin_services::conf::wrong(wants, &value));
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
            match honeycreds::read(&value) {
                Ok(list) => {
                    let service = key.strip_suffix(".honeycreds").map(str::to_ascii_lowercase);
                    all.set(service.as_deref(), list);
                }
                Err(_) if self.says_nothing(&value) => {}
                Err(complaints) => {
                    // OpenCanary looks at it when somebody logs in, so never where the service is off.
                    let section = key.split('.').next().unwrap_or_default().to_ascii_lowercase();
                    let on = self.conf.get(&format!("{section}.enabled")) == Some(&Value::Bool(true));
                    let idle = self.dialect == Dialect::OpenCanary && !on;
                    for (below, text) in complaints {
                        let path = format!("{key}{below}");
                        if idle { self.note(&path, text) } else { self.complain(&path, text) }
                    }
                }
            }
        }
        all
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
            if !enabled && (self.dialect != Dialect::Native || !self.is_written(service)) {
                continue;
            }
            let built = (service.build)(&self.conf);
            for listening in self.gather(built).unwrap_or_default() {
                if !enabled {
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

/// Whether the text is OpenCanary's: the first thing in it, comments aside, is a `{`.
fn is_json(text: &str) -> bool {
    let mut rest = text.trim_start_matches('\u{feff}').trim_start();
    loop {
        let after = if rest.starts_with("//") || rest.starts_with('#') {
            rest.split_once('\n').map(|it| it.1)
        } else if rest.starts_with("/*") {
            rest.split_once("*/").map(|it| it.1)
        } else {
            return rest.starts_with('{');
        };
        rest = after.unwrap_or_default().trim_start();
    }
}
