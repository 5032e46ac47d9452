//! The rules of `serin.toml`: what is not known is a mistake, and stops.

use std::collections::BTreeMap;

use serde_json::{Map, Value};
use serin_services::conf::{Conf, wrong};

use super::draft::{Draft, whole};
use super::entries::Entries;
use super::{keys, later};
use crate::outputs::{self, OutputConf, OutputType};

/// Whether the value of `key` is one output's whole table: `outputs.siem`.
pub(crate) fn is_output(key: &str) -> bool {
    key.strip_prefix("outputs.").is_some_and(|it| !it.contains('.'))
}

/// Whether `key` is one setting of an output: `outputs.siem.path`.
pub(crate) fn is_in_output(key: &str) -> bool {
    key.strip_prefix("outputs.").is_some_and(|it| it.contains('.'))
}

/// Judges every entry.
pub(crate) fn judge(draft: &mut Draft) {
    let entries: Vec<(String, Value)> =
        draft.entries.iter().map(|(key, value)| (key.clone(), value.clone())).collect();
    for (key, value) in entries {
        if is_output(&key) || is_in_output(&key) {
            continue;
        }
        accept(draft, &key, value);
    }
}

/// Takes one setting over, or complains.
pub(crate) fn accept(draft: &mut Draft, key: &str, value: Value) {
    if keys::find(&draft.table, key).is_none() {
        if let Some(service) = later::service_of(key) {
            if keys::is_switch(key) && value == Value::Bool(true) {
                draft.note(key, not_yet(service));
            }
            return;
        }
        let names = draft.table.iter().map(|it| it.name.clone());
        let text = keys::no_such_setting(names, key);
        draft.complain_of_key(key, text);
        return;
    }
    if keys::is_switch(key) && !value.is_boolean() {
        draft.refuse_switch(key, &value);
    } else if keys::is_port(key) && !is_port(&value) {
        draft.complain(key, wrong(keys::PORT, &value));
    } else if let Some(text) = text_rule(key, &value) {
        draft.complain(key, text);
    } else {
        draft.conf.set(key, value);
    }
}

/// What is wrong with a text that clients could not do with, in either dialect.
pub(crate) fn text_rule(key: &str, value: &Value) -> Option<String> {
    const WANTS: &str =
        "an identification such as SSH-2.0-OpenSSH_9.2p1, in one line of at most 253 characters";
    (key == "ssh.version" && !value.as_str().is_some_and(is_ssh_version)).then(|| wrong(WANTS, value))
}

/// `SSH-`, a protocol version, `-`, software, then perhaps a comment behind a blank or colon.
fn is_ssh_version(text: &str) -> bool {
    let Some(rest) = text.strip_prefix("SSH-") else { return false };
    let version = |digits: &str| {
        let mut wanted = digits.chars();
        let given: Vec<char> = rest.chars().take(digits.len()).collect();
        // OpenCanary takes any character for the dot.
        given.len() == digits.len()
            && given.iter().all(|it| wanted.next().is_some_and(|want| want == '.' || want == *it))
    };
    let Some(length) = ["2.0", "1.5", "1.99", "1.0"].iter().find(|it| version(it)).map(|it| it.len()) else {
        return false;
    };
    let rest: String = rest.chars().skip(length).collect();
    let software = rest.strip_prefix('-').unwrap_or_default();
    let printable = |it: u8| (0x20..=0x7e).contains(&it) || it == b'\t';
    text.len() <= 253
        && software.bytes().next().is_some_and(|it| (0x21..=0x7e).contains(&it))
        && software.bytes().all(printable)
}

/// Said of a service that comes later.
pub(crate) fn not_yet(service: &str) -> String {
    format!("this version does not have {service} yet; everything else runs")
}

/// Whether it is a whole number from 1 to 65535.
pub(crate) fn is_port(value: &Value) -> bool {
    value.as_u64().is_some_and(|it| (1..=65535).contains(&it))
}

/// The outputs: `[outputs.NAME]` with a `type` and its settings. Where there is no `[outputs]` at
/// all, events are printed; an empty one means that nothing is.
pub(crate) fn outputs(draft: &mut Draft) -> Vec<OutputConf> {
    if draft.entries.mentions("outputs") || draft.entries.iter().any(|(key, _)| is_in_output(key)) {
        named_outputs(draft)
    } else {
        printed(draft).into_iter().collect()
    }
}

/// The outputs that the file and the environment name.
pub(crate) fn named_outputs(draft: &mut Draft) -> Vec<OutputConf> {
    let (tables, wrong_ones) = tables(&draft.entries);
    for (key, text) in wrong_ones {
        draft.complain(&key, text);
    }
    tables.into_iter().filter_map(|(name, settings)| output(draft, &name, &settings)).collect()
}

/// The log files of these outputs, under their keys.
pub(crate) fn log_files(entries: &Entries) -> Vec<(String, String)> {
    let (tables, _) = tables(entries);
    let files = tables.iter().filter(|it| it.1.get("type").is_some_and(|it| it == "file"));
    files
        .filter_map(|(name, it)| Some((format!("outputs.{name}.path"), it.get("path")?.as_str()?.to_owned())))
        .filter(|it| !it.1.is_empty())
        .collect()
}

type Tables = BTreeMap<String, Map<String, Value>>;

/// The tables of outputs by name, and what is no table.
fn tables(entries: &Entries) -> (Tables, Vec<(String, String)>) {
    let mut tables = Tables::new();
    let mut wrong_ones = Vec::new();
    for (key, value) in entries.iter() {
        let Some(rest) = key.strip_prefix("outputs.") else { continue };
        match (rest.split_once('.'), value) {
            (Some((name, setting)), _) => {
                tables.entry(name.to_owned()).or_default().insert(setting.to_owned(), value.clone());
            }
            (None, Value::Object(map)) => tables.entry(rest.to_owned()).or_default().extend(map.clone()),
            (None, _) => wrong_ones.push((key.clone(), wrong("a table with a type", value))),
        }
    }
    (tables, wrong_ones)
}

/// The output that prints events, when nothing else is asked for.
fn printed(draft: &Draft) -> Option<OutputConf> {
    let output = draft.catalogue.outputs.iter().copied().find(|it| it.name == "console")?;
    Some(OutputConf { name: "console".to_owned(), output, conf: Conf::new() })
}

/// One output from its table.
fn output(draft: &mut Draft, name: &str, settings: &Map<String, Value>) -> Option<OutputConf> {
    let path = format!("outputs.{name}");
    let types = || draft.catalogue.outputs.iter().map(|it| it.name).collect::<Vec<_>>().join(", ");
    let Some(kind) = settings.get("type") else {
        let text = format!("wants a type, one of: {}", types());
        draft.complain_of_key(&path, text);
        return None;
    };
    let Some(output) = draft.catalogue.outputs.iter().copied().find(|it| Some(it.name) == kind.as_str())
    else {
        let text = wrong(&format!("one of: {}", types()), kind);
        draft.complain(&format!("{path}.type"), text);
        return None;
    };
    let mut conf = Conf::new();
    for (setting, value) in settings.iter().filter(|it| it.0 != "type") {
        match output.setting(setting) {
            Some(key) => conf.set(key.name, value.clone()),
            None => unknown_setting(draft, output, name, setting),
        }
    }
    let (built, complaints) = whole(&conf, &|conf| outputs::check(output, conf));
    let fine = built.is_some() && complaints.is_empty();
    for it in complaints {
        let setting = it.key.split_once('.').map_or(&it.key[..], |it| it.1);
        draft.complain(&format!("{path}.{setting}"), it.text);
    }
    fine.then(|| OutputConf { name: name.to_owned(), output, conf })
}

fn unknown_setting(draft: &mut Draft, output: &OutputType, name: &str, setting: &str) {
    let key = format!("outputs.{name}.{setting}");
    let own = |it: &serin_services::conf::Key| it.name.split_once('.').map_or("", |it| it.1).to_owned();
    let names = output.settings().map(|it| format!("outputs.{name}.{}", own(it)));
    let text = keys::no_such_setting(names, &key);
    draft.complain_of_key(&key, text);
}
