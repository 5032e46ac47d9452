//! The table of all settings there are: the sensor's, and those of every service.
//!
//! Validation, sample files, schema and reference page walk this table, so that a setting that is
//! defined is known everywhere.

use serde_json::{Value, json};
use serin_services::Service;
use serin_services::conf::Key;

use super::{Catalogue, sensor};

/// One setting: a [`Key`], or one that every service has.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Known {
    /// The whole name; `NAME_N.what` for numbered sections.
    pub(crate) name: String,
    /// What it does.
    pub(crate) doc: String,
    /// What it takes, for a person.
    pub(crate) wants: &'static str,
    /// The default.
    pub(crate) default: Value,
    /// What OpenCanary takes when its file does not have the key.
    pub(crate) opencanary: Option<Value>,
    /// JSON Schema.
    pub(crate) schema: Value,
}

impl From<&Key> for Known {
    fn from(key: &Key) -> Self {
        Self {
            name: key.name.to_owned(),
            doc: key.doc.lines().map(str::trim).collect::<Vec<_>>().join(" "),
            wants: key.wants,
            default: (key.default)(),
            opencanary: key.opencanary.map(|it| it()),
            schema: (key.schema)(),
        }
    }
}

pub(crate) const PORT: &str = "a port from 1 to 65535";
pub(crate) const CREDENTIALS: &str = "a list of objects with username and password";

/// The sections of the sensor, in the order in which a person wants to read them.
pub(crate) fn sensor() -> Vec<Known> {
    let mut all: Vec<Known> = sensor::KEYS.iter().flat_map(|it| it.iter()).map(Known::from).collect();
    let list = |name: &str, doc: &str, wants, schema| Known {
        name: name.to_owned(),
        doc: doc.to_owned(),
        wants,
        default: json!([]),
        opencanary: None,
        schema,
    };
    all.push(list(
        "ip.ignorelist",
        "Addresses and networks whose events are dropped before anything else sees them.",
        "a list of addresses and networks",
        json!({ "type": ["array", "string"], "items": { "type": ["string", "integer"] } }),
    ));
    all.push(list(
        "logtype.ignorelist",
        "Kinds of events, by number, that are dropped before anything else sees them.",
        "a list of whole numbers",
        json!({ "type": ["array", "integer"], "items": { "type": "integer", "minimum": 0 } }),
    ));
    all.push(list(
        "ignore",
        "Rules for what is known to be harmless: kept quiet, made less of, or not kept at all. See ignore.md.",
        "a list of rules: [[ignore]]",
        crate::ignore::reading::schema(),
    ));
    all.push(list(
        "honeycreds",
        "Bait credentials, for every service: whoever uses one has been where it was planted.",
        CREDENTIALS,
        credentials(),
    ));
    all
}

fn credentials() -> Value {
    json!({ "type": "array", "items": {
        "type": "object",
        "properties": { "username": { "type": "string" }, "password": { "type": "string" } },
        "additionalProperties": false,
    } })
}

/// The settings of one service, `enabled` and `port` first.
pub(crate) fn service(service: &Service) -> Vec<Known> {
    let name = service.name;
    let has = |what: &str| service.keys.iter().any(|it| it.name == what);
    let slots = service.keys.iter().any(|it| it.name == format!("{name}_N.port"));
    let mut all = Vec::new();
    if !has(&format!("{name}.enabled")) {
        all.push(Known {
            name: format!("{name}.enabled"),
            doc: "Whether this service runs.".to_owned(),
            wants: "true or false",
            default: json!(false),
            opencanary: None,
            schema: json!({ "type": "boolean" }),
        });
    }
    if !slots && !has(&format!("{name}.port")) {
        all.push(Known {
            name: format!("{name}.port"),
            doc: "Port to listen on.".to_owned(),
            wants: PORT,
            default: json!(service.port),
            opencanary: (service.opencanary_port != service.port).then(|| json!(service.opencanary_port)),
            schema: json!({ "type": "integer", "minimum": 1, "maximum": 65535 }),
        });
    }
    all.extend(service.keys.iter().map(Known::from));
    all.push(Known {
        name: format!("{name}.honeycreds"),
        doc: "Bait credentials: an event that carries one is marked.".to_owned(),
        wants: CREDENTIALS,
        default: json!([]),
        opencanary: None,
        schema: credentials(),
    });
    all
}

/// Every setting of this version.
pub(crate) fn all(catalogue: Catalogue) -> Vec<Known> {
    let mut all = sensor();
    all.extend(catalogue.services.iter().flat_map(|it| service(it)));
    all
}

/// One table of `serin.toml`.
#[derive(Debug)]
pub(crate) struct Section {
    /// `ftp`, or `tcpbanner_N`; empty for what stands outside of any table.
    pub(crate) name: String,
    /// What it is about, a sentence.
    pub(crate) about: String,
    /// Its settings.
    pub(crate) settings: Vec<Known>,
}

/// Every setting of this version by table, in the order in which a person wants to read them.
pub(crate) fn sections(catalogue: Catalogue) -> Vec<Section> {
    let mut sections: Vec<Section> = Vec::new();
    let mut put = |known: Known, about: &dyn Fn(&str) -> String| {
        let name = known.name.split_once('.').map_or("", |it| it.0).to_owned();
        match sections.iter_mut().find(|it| it.name == name) {
            Some(section) => section.settings.push(known),
            None => sections.push(Section { about: about(&name), name, settings: vec![known] }),
        }
    };
    for known in sensor() {
        put(known, &|name| about_sensor(name).to_owned());
    }
    for it in catalogue.services {
        for known in service(it) {
            let about = |name: &str| match name.strip_suffix("_N") {
                Some(base) => format!("One of the numbered sections of {base}; N is 1, 2, 3, ..."),
                None => format!("{}.", it.about.trim_end_matches('.')),
            };
            put(known, &about);
        }
    }
    sections
}

fn about_sensor(section: &str) -> &'static str {
    match section {
        "device" => "The sensor itself.",
        "console" => "The web console.",
        "limits" => "What peers may use up.",
        "store" => "Where and for how long events are kept.",
        "incidents" => "What of the events is told to people, and when.",
        "detection" => "Sigma rules on events.",
        "run" => "How the process runs.",
        "ip" => "Whom to ignore.",
        "rules" => "Rules in files of their own.",
        "benign" => "What well-known harmless tools look like.",
        "enrich" => "Who a source is.",
        "logtype" => "What to ignore.",
        _ => "Bait.",
    }
}

impl Known {
    /// The name inside of its section.
    pub(crate) fn short(&self) -> &str {
        self.name.split_once('.').map_or(&self.name, |it| it.1)
    }
}

/// The setting of this name, numbered sections included.
pub(crate) fn find<'a>(table: &'a [Known], key: &str) -> Option<&'a Known> {
    let pattern = pattern(key);
    table.iter().find(|it| it.name == key || Some(&it.name) == pattern.as_ref())
}

/// `tcpbanner_3.port` as `tcpbanner_N.port`.
fn pattern(key: &str) -> Option<String> {
    let (section, rest) = key.split_once('.')?;
    let base = slot(section)?.0;
    Some(format!("{base}_N.{rest}"))
}

/// Whether `key` ends in `.enabled`, which OpenCanary checks everywhere.
pub(crate) fn is_switch(key: &str) -> bool {
    key.rsplit_once('.').is_some_and(|it| it.1 == "enabled")
}

/// Whether `key` ends in `.port`.
pub(crate) fn is_port(key: &str) -> bool {
    key.rsplit_once('.').is_some_and(|it| it.1 == "port")
}

/// The name and number of a numbered section.
pub(crate) fn slot(section: &str) -> Option<(&str, &str)> {
    let (base, number) = section.rsplit_once('_')?;
    (!number.is_empty() && number.bytes().all(|it| it.is_ascii_digit())).then_some((base, number))
}

/// Whether `section` is a numbered section of `base`.
pub(crate) fn is_slot(section: &str, base: &str) -> bool {
    slot(section).is_some_and(|it| it.0 == base)
}

/// The nearest of `names`, for `did you mean`, in the numbers of `key`.
pub(crate) fn nearest(names: impl Iterator<Item = String>, key: &str) -> Option<String> {
    const FARTHEST: usize = 3;
    let number = key.split('.').next().and_then(slot).map(|it| it.1);
    names
        .map(|name| match number {
            Some(number) => name.replacen("_N.", &format!("_{number}."), 1),
            None => name.replacen("_N.", "_1.", 1),
        })
        .map(|name| (strsim::damerau_levenshtein(&name, key), name))
        .min()
        .filter(|(distance, name)| *distance <= FARTHEST.min(name.len() / 3))
        .map(|it| it.1)
}

/// `no such setting; did you mean ftp.banner?`
pub(crate) fn no_such_setting(names: impl Iterator<Item = String>, key: &str) -> String {
    match nearest(names, key) {
        Some(name) => format!("no such setting; did you mean {name}?"),
        None => "no such setting".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbered_sections_are_found_and_suggested() {
        assert_eq!(pattern("tcpbanner_12.a.b"), Some("tcpbanner_N.a.b".to_owned()));
        assert_eq!(pattern("limits.first_byte"), None);
        let names = || ["ftp.banner", "tcpbanner_N.port"].map(str::to_owned).into_iter();
        assert_eq!(nearest(names(), "ftp.baner"), Some("ftp.banner".to_owned()));
        assert_eq!(nearest(names(), "tcpbanner_3.prot"), Some("tcpbanner_3.port".to_owned()));
        assert_eq!(nearest(names(), "something.else"), None);
    }

    #[test]
    fn every_setting_of_the_sensor_has_a_sentence_and_fits_its_schema() {
        for known in sensor() {
            assert!(known.doc.ends_with('.'), "{}", known.name);
            assert!(!known.wants.is_empty() && known.schema.is_object(), "{}", known.name);
        }
    }
}
