//! Documents become rules, correlations and filters; what refers to another document is not looked up
//! here but in [`crate::pack`].

pub(crate) mod correlation;
mod detection;
mod meta;

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::expr::Expr;
use crate::refusal::Place;
use crate::rule::{LogSource, Meta};
use crate::yaml::{Entry, Fault, Kind, Map, Node};

/// A document that is meant for us.
pub(crate) struct Document {
    /// As much of it as could be read.
    pub(crate) meta: Meta,
    /// What it is, or why it takes no part.
    pub(crate) body: Result<Body, Fault>,
}

/// What a document is.
pub(crate) enum Body {
    Rule { source: LogSource, expr: Expr },
    Filter(Filter),
    Correlation(correlation::Draft),
}

/// What is added to rules with `and`, as it stands: an exclusion says `not` itself.
pub(crate) struct Filter {
    pub(crate) source: LogSource,
    /// Ids or names, with their lines; empty for every rule with this log source.
    pub(crate) rules: Vec<(u32, String)>,
    pub(crate) expr: Expr,
}

/// Placeholders: names to values.
pub(crate) type Placeholders = BTreeMap<String, Vec<String>>;

/// Reads a document. None if it is something else than Sigma.
pub(crate) fn document(
    root: &Node<'_>,
    file: &Arc<str>,
    placeholders: &Placeholders,
    warnings: &mut Vec<Fault>,
) -> Option<Document> {
    let foreign = |warnings: &mut Vec<Fault>| {
        warnings
            .push(Fault::new(root.line, "no Sigma rule: neither `detection` nor `correlation` nor `filter`"));
        None
    };
    let Kind::Map(map) = &root.kind else { return foreign(warnings) };
    let kinds: Vec<&str> =
        ["detection", "correlation", "filter"].into_iter().filter(|it| map.has(it)).collect();
    if kinds.is_empty() && !map.has("logsource") && !map.has("action") {
        return foreign(warnings);
    }
    let place = Place { file: Arc::clone(file), line: root.line };
    let (meta, usable) = meta::read(map, place, kinds == ["filter"], warnings);
    let body = usable.and_then(|()| match kinds.as_slice() {
        _ if map.has("action") => {
            let why = "`action` belongs to the first version of Sigma; make each document a whole rule";
            Err(Fault::new(root.line, why))
        }
        ["detection"] => detection::rule(map, root.line, placeholders, warnings),
        ["correlation"] => correlation::read(map, warnings).map(Body::Correlation),
        ["filter"] => detection::filter(map, root.line, placeholders, warnings).map(Body::Filter),
        [] => Err(Fault::new(root.line, "there is no `detection`; it says what the rule looks for")),
        [first, second, ..] => {
            Err(Fault::new(root.line, format!("both `{first}` and `{second}`; make it two documents")))
        }
        _ => Err(Fault::new(root.line, "this is neither a rule nor a correlation nor a filter")),
    });
    Some(Document { meta, body })
}

/// The map that an entry must be.
fn map<'n, 'a>(entry: &'n Entry<'a>) -> Result<&'n Map<'a>, Fault> {
    match &entry.value.kind {
        Kind::Map(map) => Ok(map),
        _ => Err(Fault::new(entry.line, format!("`{}` must be a map of keys and values", entry.key))),
    }
}

/// The text that an entry must be.
fn text<'n>(entry: &'n Entry<'_>) -> Result<&'n str, Fault> {
    entry.value.text().ok_or_else(|| Fault::new(entry.line, format!("`{}` must be a text", entry.key)))
}

/// The texts that an entry must be, each with its line. A single one need not be a list.
fn texts<'n>(entry: &'n Entry<'_>) -> Result<Vec<(u32, &'n str)>, Fault> {
    let one = |it: &'n Node<'_>| {
        it.text().map(|text| (it.line, text)).ok_or_else(|| {
            let hint =
                if matches!(it.kind, Kind::Map(_)) { "; one with `: ` in it needs quotes" } else { "" };
            Fault::new(it.line, format!("`{}` must be a list of texts{hint}", entry.key))
        })
    };
    match &entry.value.kind {
        Kind::List(items) => items.iter().map(one).collect(),
        _ => one(&entry.value).map(|it| vec![it]),
    }
}

/// What a text is called in a message: cut, and without control characters.
fn shown(text: &str) -> String {
    let mut shown: String = text.chars().take(SHOWN).flat_map(char::escape_debug).collect();
    if text.chars().nth(SHOWN).is_some() {
        shown.push('…');
    }
    shown
}

/// How much of a text a message shows.
const SHOWN: usize = 60;
