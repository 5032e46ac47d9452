//! The settings of one file as they stand in it: key, value and place, nothing judged yet.

use std::collections::BTreeMap;

use serde_json::Value;

use super::report::{Note, Place};

/// What one file says.
#[derive(Debug, Default)]
pub(crate) struct Entries {
    values: BTreeMap<String, Value>,
    places: BTreeMap<String, Places>,
    /// What is written where a value cannot be had: `NaN`.
    words: BTreeMap<String, &'static str>,
    /// What is odd about the file's form.
    pub(crate) notes: Vec<Note>,
}

/// Where a key and its value stand. Keys inside of structured values have places too, under their
/// whole path: `logger.kwargs.handlers.file.filename`.
#[derive(Debug, Clone)]
pub(crate) struct Places {
    pub(crate) key: Place,
    pub(crate) value: Place,
}

impl Entries {
    /// Adds a setting; a later one wins.
    pub(crate) fn set(&mut self, key: &str, value: Value, places: Places) {
        self.values.insert(key.to_owned(), value);
        self.places.insert(key.to_owned(), places);
    }

    /// Says where something inside of a structured value stands.
    pub(crate) fn place(&mut self, path: String, places: Places) {
        self.places.insert(path, places);
    }

    /// Says what is written in place of a value.
    pub(crate) fn word(&mut self, path: &str, word: &'static str) {
        self.words.insert(path.to_owned(), word);
    }

    /// A complaint about `path`, with what it got as the file has it.
    pub(crate) fn as_written(&self, path: &str, text: String) -> String {
        match (self.words.get(path), text.rsplit_once(", got ")) {
            (Some(word), Some((wants, _))) => format!("{wants}, got {word}"),
            _ => text,
        }
    }

    /// Where `path` stands, or the nearest thing around it that has a place.
    pub(crate) fn find(&self, path: &str) -> Option<&Places> {
        let mut path = path;
        loop {
            if let Some(places) = self.places.get(path) {
                return Some(places);
            }
            path = path.rsplit_once('.')?.0;
        }
    }

    /// The setting of this name.
    pub(crate) fn get(&self, key: &str) -> Option<&Value> {
        self.values.get(key)
    }

    /// A value's JSON text with the members of its objects as they follow each other in the file, which
    /// the value itself does not know.
    pub(crate) fn in_order(&self, path: &str, value: &Value) -> String {
        match value {
            Value::Object(members) => {
                let mut members: Vec<_> =
                    members.iter().map(|(name, it)| (format!("{path}.{name}"), name, it)).collect();
                members.sort_by_key(|it| self.places.get(&it.0).map(|it| it.key.clone()));
                let texts = members.iter().map(|(path, name, it)| {
                    format!("{}:{}", Value::from(name.as_str()), self.in_order(path, it))
                });
                format!("{{{}}}", texts.collect::<Vec<_>>().join(","))
            }
            Value::Array(values) => {
                let texts =
                    values.iter().enumerate().map(|(at, it)| self.in_order(&format!("{path}.{at}"), it));
                format!("[{}]", texts.collect::<Vec<_>>().join(","))
            }
            other => other.to_string(),
        }
    }

    /// Whether there is a table or setting of exactly this name.
    pub(crate) fn mentions(&self, path: &str) -> bool {
        self.places.contains_key(path)
    }

    /// All settings, by key.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&String, &Value)> {
        self.values.iter()
    }

    /// All values, to be changed in place.
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (&String, &mut Value)> {
        self.values.iter_mut()
    }
}
