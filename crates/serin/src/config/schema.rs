//! `serin schema` and the reference page: the table of settings, printed.

use std::fmt::Write as _;
use std::io::Write;
use std::process::ExitCode;

use serde_json::{Map, Value, json};
use serin_services::conf::Key;

use super::keys::{self, Known, Section};
use super::{Catalogue, later};
use crate::outputs::{OutputType, delivery};

/// Prints the JSON Schema of `serin.toml`, or of the OpenCanary file. Exit status 0 or 1.
pub fn schema(opencanary: bool, out: &mut dyn Write) -> ExitCode {
    let catalogue = Catalogue::whole();
    let schema = if opencanary { opencanary_schema(catalogue) } else { native_schema(catalogue) };
    let written = writeln!(out, "{schema:#}");
    if written.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The schema of one setting, with its sentence and default.
fn property(known: &Known) -> Value {
    let mut schema = known.schema.clone();
    if let Some(map) = schema.as_object_mut() {
        map.insert("description".to_owned(), known.doc.as_str().into());
        map.insert("default".to_owned(), known.default.clone());
    }
    schema
}

/// `tcpbanner_N` as a regular expression.
fn slots(name: &str) -> String {
    format!("^{}_[0-9]+$", name.trim_end_matches("_N"))
}

pub(crate) fn native_schema(catalogue: Catalogue) -> Value {
    let (mut properties, mut patterns) = (Map::new(), Map::new());
    for section in keys::sections(catalogue) {
        if section.name.is_empty() {
            properties.extend(section.settings.iter().map(|it| (it.name.clone(), property(it))));
        } else {
            let table = table(&section);
            if section.name.ends_with("_N") {
                patterns.insert(slots(&section.name), table);
            } else {
                properties.insert(section.name, table);
            }
        }
    }
    let outputs: Vec<_> = catalogue.outputs.iter().map(|it| output(it)).collect();
    if !outputs.is_empty() {
        let outputs = json!({ "type": "object", "additionalProperties": { "oneOf": outputs } });
        properties.insert("outputs".to_owned(), outputs);
    }
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "serin.toml",
        "type": "object",
        "properties": properties,
        "patternProperties": patterns,
    })
}

/// A table, and the tables inside of it that dotted names make (`alertstring.enabled`, quoted).
fn table(section: &Section) -> Value {
    let properties: Map<_, _> =
        section.settings.iter().map(|it| (it.short().to_owned(), property(it))).collect();
    json!({
        "description": section.about,
        "type": "object",
        "properties": properties,
        "additionalProperties": false,
    })
}

fn output(output: &OutputType) -> Value {
    let mut properties: Map<_, _> =
        output.settings().map(Known::from).map(|it| (it.short().to_owned(), property(&it))).collect();
    properties.insert("type".to_owned(), json!({ "const": output.name }));
    json!({
        "description": output.about,
        "type": "object",
        "properties": properties,
        "required": ["type"],
        "additionalProperties": false,
    })
}

pub(crate) fn opencanary_schema(catalogue: Catalogue) -> Value {
    let (mut properties, mut patterns) = (Map::new(), Map::new());
    for known in keys::all(catalogue) {
        let mut schema = property(&known);
        if let (Some(default), Some(map)) = (&known.opencanary, schema.as_object_mut()) {
            map.insert("default".to_owned(), default.clone());
        }
        match known.name.split_once("_N.") {
            Some((base, rest)) => {
                patterns.insert(format!("^{base}_[0-9]+\\.{}$", rest.replace('.', "\\.")), schema);
            }
            None => {
                properties.insert(known.name.clone(), schema);
            }
        }
    }
    for name in later::names() {
        if !name.contains("_N.") && !properties.contains_key(&name) {
            properties.insert(name, json!({ "description": "Not in this version yet." }));
        }
    }
    let logger = json!({
        "description": "Where events go.",
        "type": "object",
        "required": ["class", "kwargs"],
        "properties": {
            "class": { "const": "PyLogger" },
            "kwargs": {
                "type": "object",
                "required": ["handlers"],
                "properties": {
                    "formatters": { "type": "object" },
                    "handlers": {
                        "type": "object",
                        "additionalProperties": { "type": "object", "required": ["class"] },
                    },
                },
            },
        },
    });
    properties.insert("logger".to_owned(), logger);
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "opencanary.conf",
        "type": "object",
        "required": ["device.node_id", "logger"],
        "properties": properties,
        "patternProperties": patterns,
    })
}

/// The reference page of all settings, in Markdown.
#[must_use]
pub fn settings_page(catalogue: Catalogue) -> String {
    let mut page = String::from(
        "# Settings\n\n\
         Made from the definitions in the code; `UPDATE=1 cargo test -p serin settings_page` rewrites it.\n\n\
         In `serin.toml`, `ftp.port` is `port` in the table `[ftp]`. In an OpenCanary file the names stand as\n\
         they are. In the environment, `SERIN_FTP__PORT` sets `ftp.port`.\n\n\
         A configuration is looked for in this order: `--config FILE`, the variable `SERIN_CONFIG`,\n\
         `/etc/serin/serin.toml`, `/etc/opencanaryd/serin.toml`, `/etc/opencanaryd/opencanary.conf`,\n\
         `~/.serin.toml`, `~/.opencanary.conf`, `./serin.toml`, `./opencanary.conf`. Where there is none, the\n\
         demo profile runs. Which form a file has is seen from its content: OpenCanary's begins with `{`.\n",
    );
    for section in keys::sections(catalogue) {
        let heading = if section.name.is_empty() { "everywhere" } else { &section.name };
        let _ = write!(page, "\n## {heading}\n\n{}\n\n", section.about);
        rows(&mut page, &section.settings);
    }
    page.push_str("\n## outputs: settings of every type\n\n");
    rows(&mut page, &shorts(delivery::KEYS));
    for output in catalogue.outputs {
        let about = output.about.trim_end_matches('.');
        let _ = write!(page, "\n## outputs: type = \"{}\"\n\n{about}.\n\n", output.name);
        let settings: Vec<_> = output.keys.iter().flat_map(|it| shorts(it)).collect();
        rows(&mut page, &settings);
    }
    page
}

/// Settings without their section.
fn shorts(keys: &[Key]) -> Vec<Known> {
    keys.iter().map(Known::from).map(|it| Known { name: it.short().to_owned(), ..it }).collect()
}

fn rows(page: &mut String, settings: &[Known]) {
    page.push_str("| setting | takes | default | what it does |\n|---|---|---|---|\n");
    for known in settings {
        let mut default = format!("`{}`", known.default);
        if let Some(old) = &known.opencanary {
            let _ = write!(default, "; `{old}` in an OpenCanary file");
        }
        let cell = |text: &str| text.replace('|', "\\|");
        let _ = writeln!(
            page,
            "| `{}` | {} | {} | {} |",
            known.name,
            cell(known.wants),
            cell(&default),
            cell(&known.doc)
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_settings_page_is_up_to_date() {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/settings.md");
        let page = settings_page(Catalogue::whole());
        if std::env::var_os("UPDATE").is_some() {
            std::fs::write(&path, page).unwrap();
            return;
        }
        let kept = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(kept == page, "docs/settings.md is stale: UPDATE=1 cargo test -p serin settings_page");
    }
}
