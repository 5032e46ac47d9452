//! Reads the native file, `serin.toml`, into flat dotted keys with their places.

use serde_json::{Map, Value};
use toml_edit::{Document, Item, TableLike};

use super::entries::{Entries, Places};
use super::report::{Lines, Note, Place};

/// Reads one TOML document. Tables become dotted keys (`[ftp] port` is `ftp.port`), except where
/// `whole` says that the key's value is the table itself.
///
/// # Errors
///
/// The first syntax error.
pub(crate) fn read(text: &str, whole: &dyn Fn(&str) -> bool) -> Result<Entries, Note> {
    let lines = Lines::new(text);
    let document = Document::parse(text.to_owned()).map_err(|error| {
        let offset = error.span().map_or(0, |it| it.start);
        let message = error.message().lines().next().unwrap_or_default();
        Note { place: lines.place(offset), key: String::new(), text: format!("not TOML: {message}") }
    })?;
    let mut flat = Flat { lines: &lines, whole, entries: Entries::default() };
    flat.table(document.as_table(), "");
    Ok(flat.entries)
}

struct Flat<'a> {
    lines: &'a Lines<'a>,
    whole: &'a dyn Fn(&str) -> bool,
    entries: Entries,
}

impl Flat<'_> {
    fn table(&mut self, table: &dyn TableLike, path: &str) {
        for (name, item) in table.iter() {
            let path = join(path, name);
            let places = self.places(table, name, item);
            match item.as_table_like() {
                Some(inner) if !(self.whole)(&path) => {
                    self.entries.place(path.clone(), places);
                    self.table(inner, &path);
                }
                _ => {
                    self.entries.set(&path, value_of(item), places);
                    self.inside(item, &path);
                }
            }
        }
    }

    /// Remembers the places inside of a structured value.
    fn inside(&mut self, item: &Item, path: &str) {
        if let Some(table) = item.as_table_like() {
            for (name, item) in table.iter() {
                let path = join(path, name);
                let places = self.places(table, name, item);
                self.entries.place(path.clone(), places);
                self.inside(item, &path);
            }
        } else if let Some(tables) = item.as_array_of_tables() {
            for (index, table) in tables.iter().enumerate() {
                let path = join(path, &index.to_string());
                let place = self.at(table.span());
                self.entries.place(path.clone(), Places { key: place.clone(), value: place });
                self.inside(&Item::Table(table.clone()), &path);
            }
        } else if let Some(array) = item.as_array() {
            for (index, value) in array.iter().enumerate() {
                let path = join(path, &index.to_string());
                let place = self.at(value.span());
                self.entries.place(path.clone(), Places { key: place.clone(), value: place });
                self.inside(&Item::Value(value.clone()), &path);
            }
        }
    }

    fn places(&self, table: &dyn TableLike, name: &str, item: &Item) -> Places {
        let key = self.at(table.get_key_value(name).and_then(|it| it.0.span()));
        let value = item.span().map_or_else(|| key.clone(), |it| self.at(Some(it)));
        Places { key, value }
    }

    fn at(&self, span: Option<std::ops::Range<usize>>) -> Place {
        span.map_or(Place::Nowhere, |it| self.lines.place(it.start))
    }
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

/// The same in JSON; dates and times become text.
fn value_of(item: &Item) -> Value {
    match item {
        Item::None => Value::Null,
        Item::Value(value) => plain(value),
        Item::Table(table) => object(table),
        Item::ArrayOfTables(tables) => tables.iter().map(|it| object(it)).collect(),
    }
}

fn plain(value: &toml_edit::Value) -> Value {
    use toml_edit::Value as Toml;
    match value {
        Toml::String(it) => it.value().as_str().into(),
        Toml::Integer(it) => (*it.value()).into(),
        Toml::Float(it) => (*it.value()).into(),
        Toml::Boolean(it) => (*it.value()).into(),
        Toml::Datetime(it) => it.value().to_string().into(),
        Toml::Array(array) => array.iter().map(plain).collect(),
        Toml::InlineTable(table) => object(table),
    }
}

fn object(table: &dyn TableLike) -> Value {
    table.iter().map(|(name, item)| (name.to_owned(), value_of(item))).collect::<Map<_, _>>().into()
}

/// A value as it stands in a `serin.toml`, on one line. What TOML cannot say (null) is left out of
/// lists and tables, and is an empty string elsewhere.
pub(crate) fn text(value: &Value) -> String {
    match value {
        Value::Null => "\"\"".to_owned(),
        Value::Bool(_) | Value::Number(_) => value.to_string(),
        // JSON's escapes are TOML's, but for one character that JSON leaves alone.
        Value::String(_) => value.to_string().replace('\u{7f}', "\\u007f"),
        Value::Array(list) => {
            let list: Vec<_> = list.iter().filter(|it| !it.is_null()).map(text).collect();
            format!("[{}]", list.join(", "))
        }
        Value::Object(map) => {
            let members = map.iter().filter(|it| !it.1.is_null());
            let members: Vec<_> = members.map(|(key, it)| format!("{} = {}", name(key), text(it))).collect();
            if members.is_empty() { "{}".to_owned() } else { format!("{{ {} }}", members.join(", ")) }
        }
    }
}

/// A name as it stands before `=`: quoted where it has dots or blanks.
pub(crate) fn name(name: &str) -> String {
    toml_edit::Key::new(name).to_string().trim().to_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn tables_become_dotted_keys_with_places() {
        let text = "[ftp]\nport = 21\n\"log.x\" = true\n[outputs.siem]\ntype = 'file'\n[[telnet.honeycreds]]\nusername = 'a'\n";
        let entries = read(text, &|it| it == "outputs.siem").unwrap();
        let values: Vec<_> = entries.iter().map(|(key, value)| (key.as_str(), value.clone())).collect();
        assert_eq!(
            values,
            [
                ("ftp.log.x", json!(true)),
                ("ftp.port", json!(21)),
                ("outputs.siem", json!({ "type": "file" })),
                ("telnet.honeycreds", json!([{ "username": "a" }])),
            ]
        );
        assert_eq!(entries.find("ftp.port").unwrap().value, Place::At { line: 2, column: 8 });
        assert_eq!(entries.find("outputs.siem.type").unwrap().key, Place::At { line: 5, column: 1 });
        let inside = entries.find("telnet.honeycreds.0.username").unwrap();
        assert_eq!(inside.value, Place::At { line: 7, column: 12 });
    }

    #[test]
    fn what_is_written_is_read_again() {
        let value = json!({ "a.b": ["\r\n\u{7f}\"\\ü", -1, 1.5, true, { "c": {} }], "": [] });
        let text = format!("[s]\nx = {}\n", text(&value));
        let entries = read(&text, &|it| it == "s.x").unwrap();
        assert_eq!(entries.get("s.x"), Some(&value), "{text}");
    }

    #[test]
    fn a_syntax_error_has_a_place() {
        let error = read("[ftp]\nport = = 21\n", &|_| false).unwrap_err().to_string();
        assert!(error.starts_with("2:8  not TOML: "), "{error}");
    }
}
