//! What a rule says of itself: everything but what it looks for. Mistakes here are warnings, except
//! where a match could not be told rightly without it.

use jiff::civil::Date;

use super::{shown, text, texts};
use crate::refusal::Place;
use crate::rule::{Level, Meta};
use crate::yaml::{Entry, Fault, Kind, Map};

/// Reads it as far as it can be read; the second is why the rule must be refused. A filter needs no
/// level.
pub(super) fn read(
    map: &Map<'_>,
    place: Place,
    is_filter: bool,
    warnings: &mut Vec<Fault>,
) -> (Meta, Result<(), Fault>) {
    let mut reader = Reader { map, warnings };
    let line = place.line;
    let mut meta = Meta {
        title: reader.text("title").unwrap_or_default(),
        id: reader.text("id"),
        name: reader.text("name"),
        status: reader.text("status"),
        description: reader.text("description"),
        author: reader.author(),
        license: reader.text("license"),
        references: reader.texts("references"),
        tags: reader.texts("tags"),
        falsepositives: reader.texts("falsepositives"),
        fields: reader.texts("fields"),
        place: Some(place),
        ..Meta::default()
    };
    reader.lint(&meta);
    if !is_filter {
        reader.lint_rule(&meta, line);
    }
    let level = level(map);
    if let Ok(level) = level {
        meta.level = level.unwrap_or_default();
    }
    let titled = match map.get("title") {
        Some(entry) if meta.title.trim().is_empty() => {
            Err(Fault::new(entry.line, "the title must be a text"))
        }
        None => Err(Fault::new(line, "there is no `title`; alerts are told with it")),
        Some(_) => Ok(()),
    };
    (meta, titled.and(level.map(|_| ())))
}

/// A wrong level is refused: taken for another, the alert would reach nobody, or everybody.
fn level(map: &Map<'_>) -> Result<Option<Level>, Fault> {
    let Some(entry) = map.get("level").filter(|it| !it.value.is_null()) else { return Ok(None) };
    let word = text(entry)?;
    let level = Level::ALL.into_iter().find(|it| it.name().eq_ignore_ascii_case(word));
    let names = Level::ALL.map(Level::name).join(", ");
    match level {
        Some(level) => Ok(Some(level)),
        None if word.eq_ignore_ascii_case("info") => {
            Err(Fault::new(entry.line, "the level `info` is spelt `informational`"))
        }
        None => Err(Fault::new(entry.line, format!("`{}` is no level; there are {names}", shown(word)))),
    }
}

struct Reader<'r, 'a> {
    map: &'r Map<'a>,
    warnings: &'r mut Vec<Fault>,
}

impl<'a> Reader<'_, 'a> {
    fn entry(&self, key: &str) -> Option<&Entry<'a>> {
        self.map.get(key).filter(|it| !it.value.is_null())
    }

    fn text(&mut self, key: &str) -> Option<String> {
        let read = text(self.entry(key)?).map(str::to_owned);
        read.map_err(|fault| self.warnings.push(fault)).ok()
    }

    fn texts(&mut self, key: &str) -> Vec<String> {
        let Some(entry) = self.entry(key) else { return Vec::new() };
        let read = texts(entry).map(|it| it.into_iter().map(|it| it.1.to_owned()).collect());
        read.unwrap_or_else(|fault| {
            self.warnings.push(fault);
            Vec::new()
        })
    }

    /// A text by the specification; some write a list.
    fn author(&mut self) -> Option<String> {
        let authors = self.texts("author");
        (!authors.is_empty()).then(|| authors.join(", "))
    }

    fn warn(&mut self, key: &str, why: String) {
        let line = self.map.get(key).map_or(1, |it| it.line);
        self.warnings.push(Fault::new(line, why));
    }

    fn lint(&mut self, meta: &Meta) {
        if meta.title.chars().count() > TITLE {
            self.warn("title", format!("the title is longer than {TITLE} characters"));
        }
        if meta.description.as_ref().is_some_and(|it| it.chars().count() > DESCRIPTION) {
            self.warn("description", format!("the description is longer than {DESCRIPTION} characters"));
        }
        if let Some(id) = meta.id.as_ref().filter(|it| !is_uuid(it)) {
            self.warn("id", format!("the id `{}` is no UUID", shown(id)));
        }
        if let Some(status) = meta.status.as_ref().filter(|it| !STATUS.contains(&it.as_str())) {
            let known = STATUS.join(", ");
            self.warn("status", format!("`{}` is no status; there are {known}", shown(status)));
        }
        for key in ["date", "modified"] {
            if let Some(date) = self.text(key).filter(|it| !is_date(it)) {
                self.warn(key, format!("`{}` is no date such as 2026-11-22", shown(&date)));
            }
        }
        for tag in meta.tags.iter().filter(|it| !is_tag(it)) {
            self.warn("tags", format!("the tag `{}` is not like `attack.t1110`", shown(tag)));
        }
        if let Err(fault) = self.entry("related").map_or(Ok(()), related) {
            self.warnings.push(fault);
        }
    }

    fn lint_rule(&mut self, meta: &Meta, line: u32) {
        if meta.id.is_none() {
            let why = "there is no `id`; other documents can then refer to the rule by its name at most";
            self.warnings.push(Fault::new(line, why));
        }
        if self.entry("level").is_none() {
            self.warnings.push(Fault::new(line, "there is no `level`; it counts as informational"));
        }
    }
}

fn related(entry: &Entry<'_>) -> Result<(), Fault> {
    let wrong = |line| Fault::new(line, "`related` must be a list of maps with an `id` and a `type`");
    let Kind::List(items) = &entry.value.kind else { return Err(wrong(entry.line)) };
    for item in items {
        let Kind::Map(map) = &item.kind else { return Err(wrong(item.line)) };
        let kind = map.get("type").ok_or_else(|| wrong(item.line)).and_then(text)?;
        map.get("id").ok_or_else(|| wrong(item.line)).and_then(text)?;
        if !RELATED.contains(&kind) {
            let known = RELATED.join(", ");
            return Err(Fault::new(
                item.line,
                format!("`{}` is no relation; there are {known}", shown(kind)),
            ));
        }
    }
    Ok(())
}

/// Sigma specification 2.1, `id`: five groups of hexadecimal digits.
fn is_uuid(text: &str) -> bool {
    let lengths: Vec<usize> = text.split('-').map(str::len).collect();
    lengths == [8, 4, 4, 4, 12] && text.bytes().all(|it| it == b'-' || it.is_ascii_hexdigit())
}

fn is_date(text: &str) -> bool {
    let shape = text.len() == 10
        && text
            .bytes()
            .enumerate()
            .all(|(at, it)| if at == 4 || at == 7 { it == b'-' } else { it.is_ascii_digit() });
    shape && text.parse::<Date>().is_ok()
}

/// Sigma specification 2.1, `tags`: `^[a-z0-9_-]+\.[a-z0-9._-]+$`.
fn is_tag(text: &str) -> bool {
    let word = |it: u8| it.is_ascii_lowercase() || it.is_ascii_digit() || it == b'_' || it == b'-';
    text.split_once('.').is_some_and(|(namespace, name)| {
        !namespace.is_empty()
            && !name.is_empty()
            && namespace.bytes().all(word)
            && name.bytes().all(|it| word(it) || it == b'.')
    })
}

const STATUS: &[&str] = &["stable", "test", "experimental", "deprecated", "unsupported"];
const RELATED: &[&str] = &["derived", "obsolete", "merged", "renamed", "similar"];
/// Sigma specification 2.1, `title`.
const TITLE: usize = 256;
/// Sigma specification 2.1, `description`.
const DESCRIPTION: usize = 65_535;
