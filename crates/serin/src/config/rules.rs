//! Ignore rules: those of the configuration itself, and those of the files that it names.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use serin_services::conf::Setting;

use super::draft::Draft;
use super::entries::Entries;
use super::report::Note;
use super::{Disk, json as json_file, keys, toml};
use crate::ignore::reading::{self, Reading};
use crate::ignore::{Rule, Ruleset};

/// The name of the list, here and in files.
pub(crate) const LIST: &str = "ignore";
/// The setting that names files.
const FILES: &str = "rules.files";

/// Files or folders.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Files(pub(crate) Vec<String>);

impl Setting for Files {
    const WANTS: &'static str = "a file or folder, or a list of them";

    fn read(value: &Value) -> Result<Self, ()> {
        let one = |it: &Value| it.as_str().filter(|it| !it.is_empty()).map(str::to_owned).ok_or(());
        match value {
            Value::String(text) if text.is_empty() => Ok(Self::default()),
            Value::Array(list) => list.iter().map(one).collect::<Result<_, _>>().map(Self),
            other => one(other).map(|it| Self(vec![it])),
        }
    }

    fn show(&self) -> Value {
        json!(self.0)
    }

    fn schema() -> Value {
        json!({ "type": ["string", "array"], "items": { "type": "string" } })
    }
}

/// Ignore rules in files of their own.
pub(crate) mod settings {
    use super::Files;

    serin_services::settings! { "rules" {
        /// Files with `[[ignore]]` tables, or folders of such files (`*.toml`, `*.json`, in the order of
        /// their names). They come after the rules of the configuration, and a change in them is taken
        /// within a second.
        files: Files = Files::default();
    } }
}

/// All rules, and the files and folders that are to be watched. What is wrong is complained about.
pub(crate) fn read(draft: &mut Draft, disk: &Disk<'_>) -> (Ruleset, Vec<PathBuf>) {
    let mut rules = Vec::new();
    if let Some(value) = draft.entries.get(LIST).cloned() {
        let Reading { rules: own, complaints, unknown } = reading::rules(&value);
        for (path, text) in complaints {
            draft.complain(&format!("{LIST}{path}"), text);
        }
        for (path, text) in unknown {
            draft.complain_of_key(&format!("{LIST}{path}"), text);
        }
        rules = own;
    }
    let conf = draft.conf.clone();
    let files = draft.gather(settings::Settings::read(&conf)).map(|it| it.files.0).unwrap_or_default();
    let files: Vec<PathBuf> = files.into_iter().map(PathBuf::from).collect();
    for path in &files {
        match (disk.rules)(path) {
            Ok(texts) => texts.iter().for_each(|(file, text)| of_file(draft, file, text, &mut rules)),
            Err(error) => draft.complain(FILES, format!("{} cannot be read: {error}", path.display())),
        }
    }
    (Ruleset::new(rules), files)
}

/// The rules of one file.
fn of_file(draft: &mut Draft, file: &Path, text: &str, rules: &mut Vec<Rule>) {
    let mut complain = |note: Note| draft.complain(FILES, format!("{}:{note}", file.display()));
    let (found, notes) = parse(text);
    for note in notes {
        complain(note);
    }
    for rule in found {
        if rules.iter().any(|it| it.name == rule.name) {
            let text = format!("{}: another rule is called {:?} already", file.display(), rule.name);
            draft.complain(FILES, text);
        } else {
            rules.push(rule);
        }
    }
}

/// Rules from the text of a file, and everything that is wrong with it.
pub(crate) fn parse(text: &str) -> (Vec<Rule>, Vec<Note>) {
    let json = text.trim_start_matches('\u{feff}').trim_start().starts_with('{');
    let entries = if json { json_file::read(text) } else { toml::read(text, &|it| it == LIST) };
    let entries = match entries {
        Ok(entries) => entries,
        Err(note) => return (Vec::new(), vec![note]),
    };
    let mut notes = Vec::new();
    let note = |entries: &Entries, key: String, text: String| {
        let place = entries.find(&key).map_or(super::Place::Nowhere, |it| it.key.clone());
        Note { place, key, text }
    };
    for (key, _) in entries.iter().filter(|it| it.0 != LIST) {
        let text = keys::no_such_setting(std::iter::once(LIST.to_owned()), key);
        notes.push(note(&entries, key.clone(), format!("{text}; such a file holds [[ignore]] tables")));
    }
    let list = entries.get(LIST).cloned().unwrap_or(Value::Array(Vec::new()));
    let Reading { rules, complaints, unknown } = reading::rules(&list);
    for (path, text) in complaints.into_iter().chain(unknown) {
        notes.push(note(&entries, format!("{LIST}{path}"), text));
    }
    notes.sort_by(|a, b| a.place.cmp(&b.place));
    (rules, notes)
}
