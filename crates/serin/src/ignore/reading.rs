//! Rules as a configuration has them: tables whose mistakes are all told at once.

use std::ops::RangeInclusive;

use ipnet::IpNet;
use serde_json::{Map, Value, json};
use serin_event::kinds;
use serin_services::conf::wrong;

use super::conditions::{Conditions, Text};
use super::schedule::{self, Span};
use super::wildcard::Wildcard;
use super::{Action, Expiry, Rule};

/// What rules say. Each complaint is a path below the list, and a sentence.
#[derive(Debug, Default)]
pub(crate) struct Reading {
    /// The rules; incomplete where there are complaints.
    pub(crate) rules: Vec<Rule>,
    /// What is wrong with a value.
    pub(crate) complaints: Vec<(String, String)>,
    /// Keys that mean nothing.
    pub(crate) unknown: Vec<(String, String)>,
}

/// The keys that say what an event must be like, but for texts.
const CONDITIONS: [&str; 7] = ["source", "destination", "port", "service", "kind", "logtype", "schedule"];
/// The keys that belong to a rule as such.
const OWN: [&str; 5] = ["name", "action", "expires", "comment", "bait"];

/// Reads a list of rules.
pub(crate) fn rules(value: &Value) -> Reading {
    let mut reading = Reading::default();
    let Some(list) = value.as_array() else {
        reading.complaints.push((String::new(), wrong("a list of rules: [[ignore]]", value)));
        return reading;
    };
    for (index, entry) in list.iter().enumerate() {
        let path = format!(".{index}");
        let Some(map) = entry.as_object() else {
            reading.complaints.push((path, wrong("a table with a name, conditions and an action", entry)));
            continue;
        };
        let Some(rule) = reading.rule(&path, map) else { continue };
        if reading.rules.iter().any(|it| it.name == rule.name) {
            let text = format!("another rule is called {:?}; each needs a name of its own", rule.name);
            reading.complaints.push((format!("{path}.name"), text));
        }
        reading.rules.push(rule);
    }
    reading
}

/// The conditions of a table whose other keys are `others`, and everything that is wrong with them.
pub(crate) fn conditions(map: &Map<String, Value>, others: &[&str]) -> (Conditions, Vec<(String, String)>) {
    let mut reading = Reading::default();
    let conditions = reading.conditions("", map);
    reading.unknown_keys("", map, others);
    (conditions, reading.all_complaints())
}

impl Reading {
    /// Everything that is wrong, keys included.
    pub(crate) fn all_complaints(self) -> Vec<(String, String)> {
        self.complaints.into_iter().chain(self.unknown).collect()
    }

    fn rule(&mut self, path: &str, map: &Map<String, Value>) -> Option<Rule> {
        let before = self.complaints.len() + self.unknown.len();
        self.unknown_keys(path, map, &OWN);
        let conditions = self.conditions(path, map);
        let name = self.name(path, map);
        let action = match map.get("action") {
            None => Some(Action::Suppress),
            Some(it) => self.take(path, "action", it, "suppress, lower or drop", |it| {
                it.as_str().and_then(Action::by_name)
            }),
        };
        let expires = map.get("expires").and_then(|it| {
            const WANTS: &str =
                "a date such as 2027-01-31, the last day, or a time such as 2027-01-31T18:00:00Z";
            self.take(path, "expires", it, WANTS, |it| it.as_str().and_then(Expiry::parse))
        });
        let bait =
            map.get("bait").and_then(|it| self.take(path, "bait", it, "true or false", Value::as_bool));
        let comment = map
            .get("comment")
            .and_then(|it| self.take(path, "comment", it, "a string", |it| it.as_str().map(str::to_owned)));
        let fine = self.complaints.len() + self.unknown.len() == before;
        if fine && !conditions.asks() {
            let text = "wants at least one condition beside the schedule: it would ignore everything";
            self.complaints.push((path.to_owned(), text.to_owned()));
        }
        Some(Rule {
            name: name?,
            conditions,
            action: action?,
            expires,
            bait: bait.unwrap_or(false),
            comment: comment.unwrap_or_default(),
        })
    }

    fn name(&mut self, path: &str, map: &Map<String, Value>) -> Option<String> {
        const WANTS: &str = "a name of at most 64 characters";
        let Some(name) = map.get("name") else {
            let text = "wants a name: its hits are counted under it, and events say which rule decided";
            self.complaints.push((path.to_owned(), text.to_owned()));
            return None;
        };
        self.take(path, "name", name, WANTS, |it| {
            let fits = |it: &&str| {
                !it.trim().is_empty() && it.chars().count() <= NAME_MAX && !it.contains(char::is_control)
            };
            it.as_str().filter(fits).map(str::to_owned)
        })
    }

    /// Takes one value, or complains.
    fn take<T>(
        &mut self,
        path: &str,
        key: &str,
        value: &Value,
        wants: &str,
        read: impl FnOnce(&Value) -> Option<T>,
    ) -> Option<T> {
        let taken = read(value);
        if taken.is_none() {
            self.complaints.push((format!("{path}.{key}"), wrong(wants, value)));
        }
        taken
    }

    fn unknown_keys(&mut self, path: &str, map: &Map<String, Value>, others: &[&str]) {
        let known = || {
            let texts = Text::ALL.iter().map(|it| it.0);
            others.iter().copied().chain(CONDITIONS).chain(texts)
        };
        for key in map.keys().filter(|key| !known().any(|it| it == *key)) {
            let nearest = nearest(known(), key);
            let text = match nearest {
                Some(name) => format!("no such key; did you mean {name}?"),
                None => format!("no such key; there are {}", known().collect::<Vec<_>>().join(", ")),
            };
            self.unknown.push((format!("{path}.{key}"), text));
        }
    }

    fn conditions(&mut self, path: &str, map: &Map<String, Value>) -> Conditions {
        const NETS: &str = "addresses and networks such as \"10.0.0.5\" or [\"10.0.0.0/8\", \"fd00::/8\"]";
        let mut conditions = Conditions {
            sources: self.list(path, map, "source", NETS, net),
            destinations: self.list(path, map, "destination", NETS, net),
            ports: self.list(path, map, "port", "ports such as 22 or \"8000-8100\"", ports),
            schedule: self.list(path, map, "schedule", schedule::WANTS, |it| Span::parse(it.as_str()?)),
            logtypes: self.list(path, map, "logtype", "OpenCanary's numbers of kinds, such as 2000", logtype),
            ..Conditions::default()
        };
        for name in self.list(path, map, "service", "names of services", |it| it.as_str().map(str::to_owned))
        {
            if kinds::ALL.iter().any(|it| it.service == name) {
                conditions.services.push(name);
            } else {
                let services = kinds::ALL.iter().map(|it| it.service);
                self.no_such(path, "service", &name, services);
            }
        }
        for name in self.list(path, map, "kind", "names of kinds", |it| it.as_str().map(str::to_owned)) {
            let pattern = Wildcard::new(&name, false);
            let meant: Vec<_> =
                kinds::ALL.iter().map(|it| it.name).filter(|it| pattern.matches(it)).collect();
            if meant.is_empty() {
                self.no_such(path, "kind", &name, kinds::ALL.iter().map(|it| it.name));
            }
            conditions.kinds.extend(meant);
        }
        for (key, text) in Text::ALL {
            const WANTS: &str = "a text, or several, in which * stands for any text and ? for one character";
            let patterns = self.list(path, map, key, WANTS, |it| {
                let pattern = it.as_str().filter(|it| it.len() <= PATTERN_MAX)?;
                Some(Wildcard::new(pattern, text.any_case()))
            });
            if !patterns.is_empty() {
                conditions.texts.push((text, patterns));
            }
        }
        conditions
    }

    fn no_such(&mut self, path: &str, what: &str, name: &str, known: impl Iterator<Item = &'static str>) {
        let text = match nearest(known, name) {
            Some(meant) => format!("there is no {what} {name:?}; did you mean {meant}?"),
            None => format!("there is no {what} {name:?}"),
        };
        self.complaints.push((format!("{path}.{what}"), text));
    }

    /// One value or a list of them. An empty list asks for nothing that could ever be, so it is a mistake.
    fn list<T>(
        &mut self,
        path: &str,
        map: &Map<String, Value>,
        key: &str,
        wants: &str,
        read: impl Fn(&Value) -> Option<T>,
    ) -> Vec<T> {
        let Some(value) = map.get(key) else { return Vec::new() };
        let members = match value {
            Value::Array(list) => list.as_slice(),
            one => std::slice::from_ref(one),
        };
        if members.is_empty() || members.len() > MEMBERS_MAX {
            self.complaints.push((format!("{path}.{key}"), wrong(wants, value)));
        }
        let mut taken = Vec::new();
        for (index, member) in members.iter().take(MEMBERS_MAX).enumerate() {
            if let Some(it) = read(member) {
                taken.push(it);
            } else {
                let place = if value.is_array() { format!(".{index}") } else { String::new() };
                self.complaints.push((format!("{path}.{key}{place}"), wrong(wants, member)));
            }
        }
        taken
    }
}

fn net(value: &Value) -> Option<IpNet> {
    let text = value.as_str()?.trim();
    let net =
        text.parse::<std::net::IpAddr>().map(|it| IpNet::from(it.to_canonical())).or_else(|_| text.parse());
    net.ok().map(|it| it.trunc())
}

fn ports(value: &Value) -> Option<RangeInclusive<u16>> {
    let port = |it: &str| it.trim().parse::<u16>().ok().filter(|it| *it > 0);
    if let Some(number) = value.as_u64() {
        let number = u16::try_from(number).ok().filter(|it| *it > 0)?;
        return Some(number..=number);
    }
    let text = value.as_str()?;
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (port(first)?, port(last)?);
    (first <= last).then_some(first..=last)
}

fn logtype(value: &Value) -> Option<u32> {
    let number = u32::try_from(value.as_u64()?).ok()?;
    kinds::ALL.iter().any(|it| it.logtype == number).then_some(number)
}

fn nearest<'a>(known: impl Iterator<Item = &'a str>, got: &str) -> Option<&'a str> {
    const FARTHEST: usize = 3;
    known
        .map(|it| (strsim::damerau_levenshtein(it, &got.to_ascii_lowercase()), it))
        .min()
        .filter(|(distance, name)| *distance <= FARTHEST.min(name.len() / 2))
        .map(|it| it.1)
}

/// JSON Schema of the list.
pub(crate) fn schema() -> Value {
    let texts = json!({ "type": ["string", "array"], "items": { "type": "string" } });
    let numbers =
        json!({ "type": ["integer", "string", "array"], "items": { "type": ["integer", "string"] } });
    let mut properties = Map::new();
    for key in CONDITIONS.into_iter().chain(Text::ALL.iter().map(|it| it.0)) {
        let schema = if ["port", "logtype"].contains(&key) { &numbers } else { &texts };
        properties.insert(key.to_owned(), schema.clone());
    }
    for key in ["name", "expires", "comment"] {
        properties.insert(key.to_owned(), json!({ "type": "string" }));
    }
    properties.insert("action".to_owned(), json!({ "enum": Action::ALL.map(Action::name) }));
    properties.insert("bait".to_owned(), json!({ "type": "boolean" }));
    json!({ "type": "array", "items": {
        "type": "object", "required": ["name"], "properties": properties, "additionalProperties": false,
    } })
}

/// Characters.
const NAME_MAX: usize = 64;
/// Bytes.
const PATTERN_MAX: usize = 512;
/// Values of one condition.
const MEMBERS_MAX: usize = 10_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn complaints(value: &Value) -> Vec<String> {
        rules(value)
            .all_complaints()
            .into_iter()
            .map(|(path, text)| format!("ignore{path}: {text}"))
            .collect()
    }

    #[test]
    fn a_whole_rule_is_read() {
        let reading = rules(&json!([{
            "name": "backup", "source": ["10.0.0.5", "10.1.0.0/16"], "destination": "192.0.2.1",
            "port": [22, "8000-8100"], "service": "ssh", "kind": ["ssh.*"], "logtype": 4002,
            "user": "svc_*", "path": "/x", "user_agent": "*scan*", "client": "SSH-2.0-x", "hassh": "aa",
            "ja3": "bb", "ja4": "cc", "label": "nessus", "password": "x", "schedule": "Mon-Fri",
            "expires": "2027-01-31", "action": "lower", "comment": "why", "bait": true,
        }]));
        assert_eq!((reading.complaints.len(), reading.unknown.len()), (0, 0), "{reading:?}");
        let rule = &reading.rules[0];
        assert_eq!((rule.action, rule.bait, rule.conditions.texts.len()), (Action::Lower, true, 9));
        assert!(rule.conditions.kinds.contains(&"ssh.login"));
    }

    #[test]
    fn everything_wrong_is_told_at_once_with_the_nearest_key() {
        let told = complaints(&json!([
            { "name": "a", "sorce": "10.0.0.5", "service": "shh", "port": [22, "x"] },
            { "source": "10.0.0.0/33", "kind": "ftp.logn", "expires": "soon", "action": "hide" },
            { "name": "c" },
            { "name": "c", "schedule": "Mon-Fri" },
            5,
            { "name": "d", "source": [] },
        ]));
        for part in [
            "ignore.0.sorce: no such key; did you mean source?",
            "ignore.0.service: there is no service \"shh\"; did you mean ssh?",
            "ignore.0.port.1: wants ports",
            "ignore.1: wants a name",
            "ignore.1.source: wants addresses",
            "ignore.1.kind: there is no kind \"ftp.logn\"; did you mean ftp.login?",
            "ignore.1.expires: wants a date",
            "ignore.1.action: wants suppress, lower or drop, got \"hide\"",
            "ignore.2: wants at least one condition",
            "ignore.3: wants at least one condition",
            "ignore.3.name: another rule is called \"c\"",
            "ignore.4: wants a table",
            "ignore.5.source: wants addresses",
        ] {
            assert!(told.iter().any(|it| it.starts_with(part)), "{part} is not in {told:#?}");
        }
    }
}
