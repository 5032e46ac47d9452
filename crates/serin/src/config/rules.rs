//! Ignore rules: those of the configuration itself, and those of the files that it names.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use serin_services::conf::Setting;

use super::draft::Draft;
use super::entries::Entries;
use super::report::Note;
use super::{Disk, json as json_file, keys, toml};
use crate::benign::Pattern;
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

/// What well-known harmless tools look like.
pub(crate) mod benign {
    use super::Files;
    use crate::outputs::delivery::Names;

    serin_services::settings! { "benign" {
        /// Whether events that look like a well-known harmless tool get its name as a label.
        label: bool = true;
        /// Labels whose events alert nobody: they are stored, as if by an ignore rule. Whoever wants to
        /// can look like such a tool; a rule with its source beside the label is safer.
        suppress: Names = Names(Vec::new());
        /// Files with patterns of one's own, one in each, or folders of such files.
        files: Files = Files::default();
    } }
}

/// What is known to be harmless.
pub(crate) struct Harmless {
    pub(crate) rules: Ruleset,
    pub(crate) patterns: Vec<Pattern>,
    /// Files and folders that are to be watched.
    pub(crate) files: Vec<PathBuf>,
}

/// All rules and patterns. What is wrong is complained about.
pub(crate) fn read(draft: &mut Draft, disk: &Disk<'_>) -> Harmless {
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
    let mut files: Vec<PathBuf> = files.into_iter().map(PathBuf::from).collect();
    for path in &files {
        match (disk.rules)(path) {
            Ok(texts) => texts.iter().for_each(|(file, text)| of_file(draft, file, text, &mut rules)),
            Err(error) => draft.complain(FILES, format!("{} cannot be read: {error}", path.display())),
        }
    }
    let benign = draft.gather(benign::Settings::read(&conf));
    let mut patterns = Vec::new();
    if let Some(settings) = benign.filter(|it| it.label) {
        patterns = own_patterns(draft, disk, &settings.files);
        files.extend(settings.files.0.iter().map(PathBuf::from));
        patterns.extend(crate::benign::built_in());
        for name in &settings.suppress.0 {
            suppress(draft, name, &patterns, &mut rules);
        }
    }
    Harmless { rules: Ruleset::new(rules), patterns, files }
}

/// The patterns of the operator's files.
fn own_patterns(draft: &mut Draft, disk: &Disk<'_>, files: &Files) -> Vec<Pattern> {
    const KEY: &str = "benign.files";
    let mut patterns = Vec::new();
    for path in &files.0 {
        let texts = (disk.rules)(Path::new(path)).unwrap_or_else(|error| {
            draft.complain(KEY, format!("{path} cannot be read: {error}"));
            Vec::new()
        });
        for (file, text) in texts {
            match crate::benign::parse(&text) {
                Ok(pattern) => patterns.push(pattern),
                Err(wrongs) => {
                    for it in wrongs {
                        draft.complain(KEY, format!("{}: {it}", file.display()));
                    }
                }
            }
        }
    }
    patterns
}

/// The rule that a name in `benign.suppress` stands for, after all others.
fn suppress(draft: &mut Draft, name: &str, patterns: &[Pattern], rules: &mut Vec<Rule>) {
    if !patterns.iter().any(|it| it.name == name) {
        let names: Vec<_> = patterns.iter().map(|it| it.name.as_str()).collect();
        draft.complain(
            "benign.suppress",
            format!("there is no pattern {name:?}; there are: {}", names.join(", ")),
        );
        return;
    }
    rules.push(Rule::of_label(name));
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
