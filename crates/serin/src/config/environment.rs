//! The environment, as data: what a configuration may name, and what overrides it.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde_json::Value;

use super::entries::{Entries, Places};
use super::honeycreds::Secret;
use super::keys::{self, Known};
use super::report::{Note, Place};

/// Variables that begin so and have two underscores after it set a key.
const PREFIX: &str = "SERIN_";
/// Those that are read elsewhere: by the command line, and by the tests.
const OTHERS: &[&str] =
    &["SERIN_CONFIG", "SERIN_FUZZ_RUNS", "SERIN_GENUINE", "SERIN_LOG", "SERIN_STATE_DIR", "SERIN_TEST"];

/// What a process is started with.
#[derive(Debug, Clone, Default)]
pub struct Environment {
    /// Variables whose names and values are text.
    pub variables: BTreeMap<String, String>,
}

impl Environment {
    /// That of this process.
    #[must_use]
    pub fn of_process() -> Self {
        let text = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        };
        Self { variables: std::env::vars_os().filter_map(text).collect() }
    }

    /// The same without what overrides settings: for a file that is to be read as it is.
    #[must_use]
    pub(crate) fn without_overrides(mut self) -> Self {
        self.variables.retain(|name, _| !name.starts_with(PREFIX));
        self
    }

    /// One variable, where it is set and not empty.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(String::as_str).filter(|it| !it.is_empty())
    }

    /// The home folder of the user.
    #[must_use]
    pub fn home(&self) -> Option<PathBuf> {
        self.get("HOME").map(PathBuf::from)
    }

    /// Replaces `$NAME` and `${NAME}` as Python's `expandvars` does: what is not defined stays, and
    /// what was put in is not looked at again.
    fn expand(&self, text: &str) -> String {
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(at) = rest.find('$') {
            let (before, from) = rest.split_at(at);
            out.push_str(before);
            let behind = from.get(1..).unwrap_or_default();
            let (name, length) = if let Some(inner) = behind.strip_prefix('{') {
                inner.split_once('}').map_or(("", 1), |(name, _)| (name, name.len() + 3))
            } else {
                let end = behind.find(|it: char| !it.is_ascii_alphanumeric() && it != '_');
                let name = behind.get(..end.unwrap_or(behind.len())).unwrap_or_default();
                (name, name.len() + 1)
            };
            let (whole, after) = from.split_at(length);
            out.push_str(self.variables.get(name).filter(|_| !name.is_empty()).map_or(whole, String::as_str));
            rest = after;
        }
        out + rest
    }
}

/// Fills in variables in every string of an OpenCanary file, except in passwords of honeycreds that
/// are hashes: those are full of `$`.
pub(crate) fn fill_in(entries: &mut Entries, environment: &Environment) -> Vec<(String, String)> {
    let mut changed = Vec::new();
    for (key, value) in entries.iter_mut() {
        let credentials = key.to_ascii_lowercase().ends_with("honeycreds");
        let before = value.clone();
        fill_in_value(value, environment, credentials);
        if *value != before {
            changed.push((key.clone(), "was filled in from the environment".to_owned()));
        }
    }
    changed
}

fn fill_in_value(value: &mut Value, environment: &Environment, credentials: bool) {
    match value {
        Value::String(text) if text.contains('$') => {
            let hash = credentials && !matches!(Secret::parse(text), Ok(Secret::Plain(_)) | Err(_));
            if !hash {
                *text = environment.expand(text);
            }
        }
        Value::Array(list) => list.iter_mut().for_each(|it| fill_in_value(it, environment, credentials)),
        Value::Object(map) => map.values_mut().for_each(|it| fill_in_value(it, environment, credentials)),
        _ => {}
    }
}

/// Lets `SERIN_SSH__PORT=2222` set `ssh.port`: after `SERIN_`, `__` stands for a dot, and letters
/// are lower-cased. Returns what names no setting.
pub(crate) fn override_with(
    environment: &Environment,
    table: &[Known],
    output: &dyn Fn(&str) -> bool,
    entries: &mut Entries,
) -> Vec<Note> {
    let mut unknown = Vec::new();
    for (name, text) in &environment.variables {
        let Some(key) = name.strip_prefix(PREFIX).filter(|_| !is_elses(name)) else { continue };
        let key = key.to_ascii_lowercase().replace("__", ".");
        let place = Place::Variable(name.clone());
        let places = Places { key: place.clone(), value: place.clone() };
        match keys::find(table, &key) {
            Some(known) => entries.set(&key, value_for(known, text), places),
            None if output(&key) => entries.set(&key, scalar(text), places),
            None if key.contains('.') => {
                let names = table.iter().map(|it| it.name.clone());
                let text = keys::no_such_setting(names, &key);
                unknown.push(Note { place, key, text });
            }
            None => unknown.push(Note { place, key: String::new(), text: no_such_variable(table, &key) }),
        }
    }
    unknown
}

/// Whether a variable that begins like ours is none of ours to judge: one that is read elsewhere, or
/// one of those that Kubernetes and Docker hand in for a service that is called serin.
fn is_elses(name: &str) -> bool {
    let begins = ["SERIN_PORT_", "SERIN_SERVICE_PORT_"].iter().any(|it| name.starts_with(it));
    let is = ["SERIN_PORT", "SERIN_SERVICE_HOST", "SERIN_SERVICE_PORT"].contains(&name);
    OTHERS.contains(&name) || ((begins || is) && !name.contains("__"))
}

/// Said of `SERIN_FTP_PORT` and `SERIN_BOGUS`, which have no section.
fn no_such_variable(table: &[Known], key: &str) -> String {
    let spelt = |name: &str| format!("{PREFIX}{}", name.replace('.', "__").to_ascii_uppercase());
    let names = table.iter().map(|it| it.name.clone());
    match keys::nearest(names, &key.replacen('_', ".", 1)) {
        Some(name) => format!("no such setting; did you mean {}?", spelt(&name)),
        None => "no such setting; one is set by SERIN_SECTION__NAME, with two underscores".to_owned(),
    }
}

/// What takes only text is not read as JSON: `SERIN_FTP__BANNER=5` is the text `5`.
fn value_for(known: &Known, text: &str) -> Value {
    if known.schema["type"] == "string" { text.into() } else { scalar(text) }
}

/// A JSON value, else the text itself.
fn scalar(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|_| text.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(variables: &[(&str, &str)]) -> Environment {
        Environment { variables: variables.iter().map(|it| (it.0.to_owned(), it.1.to_owned())).collect() }
    }

    #[test]
    fn variables_expand_as_in_python() {
        let environment = environment(&[("A", "1$B"), ("B", "2"), ("ÄB", "no")]);
        for (text, wanted) in [
            ("$A", "1$B"),
            ("x${A}y", "x1$By"),
            ("$AB $A-$B", "$AB 1$B-2"),
            ("$$ $", "$$ $"),
            ("$$A", "$1$B"),
            ("${A", "${A"),
            ("${}$", "${}$"),
            ("%A%", "%A%"),
            ("$ÄB", "$ÄB"),
        ] {
            assert_eq!(environment.expand(text), wanted, "{text}");
        }
    }

    #[test]
    fn hashes_of_honeycreds_stay() {
        let hash = format!("$6$abc${}", "x".repeat(86));
        let text = format!(
            r#"{{"a": ["$abc", {{"b": "$6$abc$d"}}], "x.honeycreds": [{{"password": "{hash}"}}, {{"password": "$abc"}}]}}"#
        );
        let mut entries = super::super::json::read(&text).unwrap();
        let changed = fill_in(&mut entries, &environment(&[("abc", "ZZ")]));
        assert_eq!(entries.get("a").unwrap(), &serde_json::json!(["ZZ", { "b": "$6ZZ$d" }]));
        assert_eq!(
            entries.get("x.honeycreds").unwrap(),
            &serde_json::json!([{ "password": hash }, { "password": "ZZ" }])
        );
        assert_eq!(changed.len(), 2);
    }

    #[test]
    fn overrides_are_json_or_text_and_unknown_ones_are_told() {
        let mut entries = Entries::default();
        let environment = environment(&[
            ("SERIN_CONFIG", "x"),
            ("SERIN_STATE_DIR", "x"),
            ("SERIN_LOG", "x"),
            ("SERIN_TEST", "1"),
            ("SERIN_PORT", "tcp://10.96.0.7:21"),
            ("SERIN_PORT_21_TCP_ADDR", "10.96.0.7"),
            ("SERIN_SERVICE_HOST", "10.96.0.7"),
            ("SERIN_SERVICE_PORT_FTP", "21"),
            ("SERIN_BOGUS", "2"),
            ("SERIN_LIMITS_CONNECTIONS", "2"),
            ("SERIN_HONEYCREDS", "[]"),
            ("SERIN_DEVICE__NODE_ID", "5"),
            ("SERIN_LIMITS__CONNECTIONS", "7"),
            ("SERIN_IP__IGNORELIST", "10.0.0.0/8,10.1.1.1"),
            ("SERIN_LIMITS__CONECTIONS", "7"),
            ("SERIN_OUTPUTS__SIEM__PATH", "/x"),
        ]);
        let unknown =
            override_with(&environment, &keys::sensor(), &|it| it.starts_with("outputs."), &mut entries);
        let values: Vec<_> = entries.iter().map(|(key, value)| format!("{key}={value}")).collect();
        assert_eq!(
            values,
            [
                "device.node_id=\"5\"",
                "honeycreds=[]",
                "ip.ignorelist=\"10.0.0.0/8,10.1.1.1\"",
                "limits.connections=7",
                "outputs.siem.path=\"/x\"",
            ]
        );
        let unknown: Vec<_> = unknown.iter().map(ToString::to_string).collect();
        assert_eq!(
            unknown,
            [
                "SERIN_BOGUS  no such setting; one is set by SERIN_SECTION__NAME, with two underscores",
                "SERIN_LIMITS_CONNECTIONS  no such setting; did you mean SERIN_LIMITS__CONNECTIONS?",
                "SERIN_LIMITS__CONECTIONS  limits.conections: no such setting; did you mean limits.connections?"
            ]
        );
    }
}
