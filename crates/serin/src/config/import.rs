//! `serin import`: the `serin.toml` that does what an OpenCanary configuration does.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use serde_json::Value;

use super::report::{Complaints, name_of};
use super::{Catalogue, Config, Environment, keys, search, toml};

/// Prints the `serin.toml` for the OpenCanary configuration in `file`, and as comments what could
/// not be carried over. Exit status 0 or 1.
pub fn import(file: &Path, out: &mut dyn Write) -> ExitCode {
    let read = search::read(file)
        .map_err(|error| Complaints::whole(Some(file.to_owned()), format!("cannot be read: {error}")));
    let environment = Environment::of_process().without_overrides();
    let catalogue = Catalogue::whole();
    let result = read.and_then(|text| Config::parse(catalogue, file, &text, &environment, &search::folder));
    let (text, status) = match result {
        Ok(config) => (text_of(&config, catalogue), ExitCode::SUCCESS),
        Err(complaints) => (complaints.to_string(), ExitCode::FAILURE),
    };
    if out.write_all(text.as_bytes()).is_ok() { status } else { ExitCode::FAILURE }
}

/// The whole of `serin.toml`. What equals its default is left out.
pub(crate) fn text_of(config: &Config, catalogue: Catalogue) -> String {
    let mut text = format!("# Made from {} by serin import.\n", name_of(config.file.as_deref()));
    if !config.notes.is_empty() {
        text.push_str("#\n# To know:\n");
        for note in &config.notes {
            // A note on one line, whatever the file said.
            let _ = writeln!(text, "#   {}", note.to_string().replace(char::is_control, " "));
        }
    }
    if let Some(list) = config.services.get("honeycreds") {
        text.push_str("\n# For every service.\n");
        let _ = writeln!(text, "honeycreds = {}", toml::text(list));
    }
    if let Some(list) = config.services.get(super::rules::LIST) {
        text.push_str("\n# What is known to be harmless.\n");
        let _ = writeln!(text, "ignore = {}", toml::text(list));
    }
    for (section, settings) in sections(config, catalogue) {
        let _ = writeln!(text, "\n[{section}]");
        for (name, value) in settings {
            let _ = writeln!(text, "{} = {}", toml::name(&name), toml::text(&value));
        }
    }
    outputs(config, &mut text);
    text
}

type Sections = BTreeMap<String, BTreeMap<String, Value>>;

fn sections(config: &Config, catalogue: Catalogue) -> Sections {
    let table = keys::all(catalogue);
    let mut sections = Sections::new();
    let mut put = |key: &str, value: Value| {
        if let Some((section, name)) = key.split_once('.') {
            sections.entry(section.to_owned()).or_default().insert(name.to_owned(), value);
        }
    };
    for (key, value) in config.services.iter() {
        let default = keys::find(&table, key).map(|it| &it.default);
        // The port of a slot depends on its number when it is absent.
        let slot = key.split_once('.').is_some_and(|it| keys::slot(it.0).is_some());
        if default != Some(value) || (slot && keys::is_port(key)) {
            put(key, value.clone());
        }
    }
    put("device.node_id", config.node_id.as_str().into());
    put("device.listen_addr", config.listen.iter().map(ToString::to_string).collect());
    // As they were understood: what never matches is a mistake in a serin.toml.
    let nets: Vec<Value> = config.ignore.nets().map(|it| it.to_string().into()).collect();
    let logtypes: Vec<Value> = config.ignore.logtypes().map(Value::from).collect();
    for (key, list) in [("ip.ignorelist", nets), ("logtype.ignorelist", logtypes)] {
        if !list.is_empty() {
            put(key, list.into());
        }
    }
    sections
}

fn outputs(config: &Config, text: &mut String) {
    if config.outputs.is_empty() {
        text.push_str("\n# Events go to the store alone.\n[outputs]\n");
    }
    for output in &config.outputs {
        let _ = writeln!(text, "\n[outputs.{}]", toml::name(&output.name));
        let _ = writeln!(text, "type = {}", toml::text(&output.output.name.into()));
        for (key, value) in output.conf.iter() {
            let name = key.split_once('.').map_or(key, |it| it.1);
            let _ = writeln!(text, "{} = {}", toml::name(name), toml::text(value));
        }
    }
}
