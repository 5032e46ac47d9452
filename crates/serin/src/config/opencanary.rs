//! The rules of OpenCanary's file: it must load as it is, and what OpenCanary would have refused or
//! overlooked is told.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};
use serin_services::conf::wrong;

use super::draft::Draft;
use super::entries::Entries;
use super::keys::Known;
use super::native::{is_port, not_yet};
use super::{keys, later, native};
use crate::outputs::{self, OutputConf};

/// Said where `handlers` is empty.
pub(crate) const NO_HANDLERS: &str = "is empty: events go to the store alone";

/// Judges every entry, then fills in what OpenCanary takes for what is absent.
pub(crate) fn judge(draft: &mut Draft) {
    let entries: Vec<(String, Value)> =
        draft.entries.iter().map(|(key, value)| (key.clone(), value.clone())).collect();
    for (key, value) in entries {
        if key != "logger" && !native::is_in_output(&key) {
            accept(draft, &key, value);
        }
    }
    match draft.entries.get("device.node_id") {
        None => draft.complain("device.node_id", "is missing: the name of this sensor, in every record"),
        Some(Value::String(_)) => {}
        Some(other) => {
            let text = wrong("a string", other);
            draft.complain("device.node_id", text);
        }
    }
    fill(draft);
}

/// Takes one setting over, with a note or a complaint where it needs one.
fn accept(draft: &mut Draft, key: &str, value: Value) {
    // `SIP.honeycreds` and `sip.honeycreds` are both in use.
    let name = if key.ends_with(".honeycreds") { key.to_ascii_lowercase() } else { key.to_owned() };
    let known = keys::find(&draft.table, &name).is_some();
    let service = later::service_of(&name);
    if !known && service.is_none() {
        if later::UNUSED.contains(&key) {
            if key == "portscan.iptables_path" {
                draft.note(key, "is no longer read, by OpenCanary neither");
            }
        } else {
            let names = draft.table.iter().map(|it| it.name.clone()).chain(later::names());
            let nearest =
                keys::nearest(names, key).map(|it| format!("did you mean {it}? It is ")).unwrap_or_default();
            let nearest = dotted(draft, key, &value).unwrap_or(nearest);
            draft.note(key, format!("no such setting; {nearest}ignored, as OpenCanary does"));
        }
        return;
    }
    let Some(value) = checked(draft, key, &name, value) else { return };
    if let Some(text) = text_rule(key, &value) {
        draft.complain(key, text);
    } else if known {
        draft.conf.set(name, value);
    } else if keys::is_switch(key) && value == Value::Bool(true) {
        let service = service.unwrap_or_default();
        if key == format!("{service}.enabled") {
            draft.note(key, not_yet(service));
        }
    }
}

/// Said of `"ftp": {"enabled": true}`: how it is written in this file.
fn dotted(draft: &Draft, key: &str, value: &Value) -> Option<String> {
    let (member, value) = value.as_object()?.iter().next()?;
    let begins = format!("{key}.");
    let section = begins.replace(|it: char| it.is_ascii_digit(), "N");
    let mut names = draft.table.iter().map(|it| it.name.clone()).chain(later::names());
    let value = if value.is_object() || value.is_array() { String::new() } else { format!(": {value}") };
    names
        .any(|it| it.starts_with(&begins) || it.starts_with(&section))
        .then(|| format!("keys are dotted, such as \"{key}.{member}\"{value}. It is "))
}

/// Switches and ports, which OpenCanary checks in every section; other values that Python takes for
/// what was meant. `None`: there is no value.
fn checked(draft: &mut Draft, key: &str, name: &str, value: Value) -> Option<Value> {
    if keys::is_switch(key) && !value.is_boolean() {
        draft.refuse_switch(key, &value);
        return None;
    }
    if !keys::is_port(key) {
        if value.is_null() && key != "device.node_id" {
            draft.note(key, "is null; taken as absent");
            return None;
        }
        let meant = keys::find(&draft.table, name).and_then(|it| meant(it, &value));
        if let Some(meant) = &meant {
            draft.note(key, format!("{value} is read as {meant}"));
        }
        return Some(meant.unwrap_or(value));
    }
    if is_port(&value) {
        return Some(value);
    }
    let meant = match &value {
        Value::Bool(true) => Some(json!(1)),
        Value::String(text) if text.bytes().all(|it| it.is_ascii_digit()) => {
            text.parse::<u16>().ok().filter(|it| *it > 0).map(|it| json!(it))
        }
        _ => None,
    };
    match &meant {
        Some(port) => draft.note(key, format!("{value} is read as {port}")),
        None => draft.complain(key, wrong(keys::PORT, &value)),
    }
    meant
}

/// A number where a switch is wanted, and digits in quotes where a number is.
fn meant(known: &Known, value: &Value) -> Option<Value> {
    match (known.schema["type"].as_str()?, value) {
        ("boolean", Value::Number(number)) => Some(json!(number.as_f64()? != 0.0)),
        ("integer" | "number", Value::String(digits)) if digits.bytes().all(|it| it.is_ascii_digit()) => {
            digits.parse::<u32>().ok().map(|it| json!(it))
        }
        _ => None,
    }
}

/// What is wrong with a text that OpenCanary checks at start.
fn text_rule(key: &str, value: &Value) -> Option<String> {
    let rule: (fn(&str) -> bool, &str) = match key {
        "device.name" => (is_device_name, "1 to 100 letters, digits or any of +-#_"),
        "device.desc" => (is_device_desc, "1 to 100 letters, digits, blanks or any of +-#_"),
        _ => return native::text_rule(key, value),
    };
    (!value.as_str().is_some_and(rule.0)).then(|| wrong(rule.1, value))
}

fn is_device_name(text: &str) -> bool {
    (1..=100).contains(&text.len())
        && text.bytes().all(|it| it.is_ascii_alphanumeric() || b"+-#_".contains(&it))
}

fn is_device_desc(text: &str) -> bool {
    is_device_name(&text.replace(' ', "_"))
}

/// What OpenCanary takes for keys that are absent, where that is not our default.
fn fill(draft: &mut Draft) {
    let sections: BTreeSet<String> =
        draft.entries.iter().filter_map(|(key, _)| Some(key.split_once('.')?.0.to_owned())).collect();
    let mut absent = Vec::new();
    for known in &draft.table {
        let Some(value) = &known.opencanary else { continue };
        match known.name.split_once("_N.") {
            Some((base, what)) => {
                let slots = sections.iter().filter(|it| keys::is_slot(it, base));
                absent.extend(slots.map(|it| (format!("{it}.{what}"), value.clone())));
            }
            None => absent.push((known.name.clone(), value.clone())),
        }
    }
    for (key, value) in absent {
        if draft.conf.get(&key).is_none() {
            draft.conf.set(key, value);
        }
    }
}

/// The outputs: `logger.kwargs.handlers`, and those that are set beside it in our own way.
pub(crate) fn outputs(draft: &mut Draft) -> Vec<OutputConf> {
    let kwargs = logger(draft);
    let formatters = kwargs.get("formatters").and_then(Value::as_object).cloned().unwrap_or_default();
    let handlers = kwargs.get("handlers").and_then(Value::as_object).cloned();
    if handlers.as_ref().is_some_and(Map::is_empty) {
        draft.note("logger.kwargs.handlers", NO_HANDLERS);
    }
    let handlers = handlers.unwrap_or_default();
    let mut outputs: Vec<OutputConf> =
        handlers.iter().filter_map(|(name, it)| handler(draft, name, it, &formatters)).collect();
    outputs.extend(native::named_outputs(draft));
    outputs
}

/// The log files that handlers name, under their keys.
pub(crate) fn log_files(entries: &Entries) -> Vec<(String, String)> {
    let handlers = entries.get("logger").and_then(|it| it.get("kwargs")?.get("handlers")?.as_object());
    let file = |(name, it): (&String, &Value)| {
        let path = it.get("filename")?.as_str().filter(|it| !it.is_empty())?;
        Some((format!("logger.kwargs.handlers.{name}.filename"), path.to_owned()))
    };
    handlers.into_iter().flatten().filter_map(file).collect()
}

/// The arguments of the logger, as far as there are any.
fn logger(draft: &mut Draft) -> Map<String, Value> {
    let Some(logger) = draft.entries.get("logger").cloned() else {
        draft.complain("logger", "is missing: it says where events go");
        return Map::new();
    };
    match logger.get("class") {
        None => draft.complain("logger", "wants a class: \"PyLogger\""),
        Some(class) if class != "PyLogger" => draft.complain("logger.class", wrong("\"PyLogger\"", class)),
        Some(_) => {}
    }
    match logger.get("kwargs") {
        Some(Value::Object(kwargs)) if kwargs.get("handlers").is_some_and(Value::is_object) => {
            return kwargs.clone();
        }
        Some(_) => draft.complain("logger.kwargs", "wants handlers: an object of names and definitions"),
        None => draft.complain("logger", "wants kwargs, with handlers"),
    }
    Map::new()
}

/// One handler, by the name of its Python class.
fn handler(
    draft: &mut Draft,
    name: &str,
    definition: &Value,
    formatters: &Map<String, Value>,
) -> Option<OutputConf> {
    let path = format!("logger.kwargs.handlers.{name}");
    let kwargs = definition.as_object();
    let class = kwargs.and_then(|it| it.get("class")).and_then(Value::as_str);
    if class.is_none() {
        draft.complain(&path, "wants a class, such as logging.FileHandler");
    }
    let kwargs = kwargs?;
    let wanted = kwargs.get("formatter").filter(|it| !it.is_null());
    let formatter = wanted.and_then(Value::as_str).and_then(|it| formatters.get(it)?.as_object());
    if let (Some(wanted), None) = (wanted, formatter) {
        let known: Vec<_> = formatters.keys().map(String::as_str).collect();
        let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
        let text = format!("there is no formatter {wanted}; there are: {known}");
        draft.complain(&format!("{path}.formatter"), text);
    }
    let Some(class) = class else {
        let complaints = formatter.map(|it| outputs::check_formatter(name, it)).unwrap_or_default();
        return draft.gather(Err(complaints));
    };
    let in_order = |argument: &str| {
        let value = kwargs.get(argument)?;
        Some(draft.entries.in_order(&format!("{path}.{argument}"), value))
    };
    let output = outputs::from_handler(name, class, kwargs, formatter, &in_order);
    draft.gather(output)
}
