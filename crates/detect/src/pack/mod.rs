//! Rule files come to a pack: everything read, filters applied, references looked up.
//!
//! One bad rule takes nothing else down: it is refused with its place and the reason, and so is what
//! refers to it. Files are taken in the order of their names, so that the same files give the same
//! pack however they were found.

mod filters;
mod references;

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::canonical;
use crate::read::correlation::Draft;
use crate::read::{self, Body, Filter};
use crate::refusal::{Place, Refusal, Warning};
use crate::rule::{Correlation, Meta, Ref, Rule};
use crate::yaml::{self, Fault};

/// What some rule files came to.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Pack {
    /// Rules about single events, in the order of the files.
    pub rules: Vec<Rule>,
    /// Rules about several events; what one refers to stands before it.
    pub correlations: Vec<Correlation>,
    /// What takes no part, in the order of the files.
    pub refused: Vec<Refusal>,
    /// What is doubtful, in the order of the files.
    pub warnings: Vec<Warning>,
    /// SHA-256 of what decides the behaviour of all of it.
    pub fingerprint: [u8; 32],
}

/// What rules leave to whoever uses them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Options {
    /// What `%name%` stands for in values with the modifier `expand`, by name without percent signs.
    pub placeholders: BTreeMap<String, Vec<String>>,
}

impl Pack {
    /// Reads rule files, each with the name it has in messages and its bytes. Never fails: what cannot
    /// be used is in [`Pack::refused`].
    #[must_use]
    pub fn read<'f>(files: impl IntoIterator<Item = (&'f str, &'f [u8])>, options: &Options) -> Self {
        let mut files: Vec<_> = files.into_iter().collect();
        files.sort_by_key(|it| it.0);
        let mut builder = Builder::new(options);
        for (name, bytes) in files {
            builder.file(&Arc::from(name), bytes);
        }
        builder.finish()
    }

    /// What a rule or correlation says of itself. None for a place in another pack.
    #[must_use]
    pub fn meta(&self, at: Ref) -> Option<&Meta> {
        match at {
            Ref::Rule(it) => self.rules.get(it).map(|it| &it.meta),
            Ref::Correlation(it) => self.correlations.get(it).map(|it| &it.meta),
        }
    }

    /// All rules, then all correlations.
    pub fn refs(&self) -> impl Iterator<Item = Ref> {
        let rules = (0..self.rules.len()).map(Ref::Rule);
        rules.chain((0..self.correlations.len()).map(Ref::Correlation))
    }

    /// The rule or correlation with this id, in either case, or with this name.
    #[must_use]
    pub fn find(&self, id_or_name: &str) -> Option<Ref> {
        let called = |it: &Meta| {
            it.id.as_ref().is_some_and(|it| it.eq_ignore_ascii_case(id_or_name))
                || it.name.as_deref() == Some(id_or_name)
        };
        self.refs().find(|it| self.meta(*it).is_some_and(called))
    }
}

/// What an id or a name finds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Target {
    /// [`Builder::rules`].
    Rule(usize),
    /// [`Builder::drafts`].
    Correlation(usize),
    Filter,
    Refused,
}

/// A pack while it is read.
struct Builder<'o> {
    options: &'o Options,
    /// None where one was refused after all.
    rules: Vec<Option<Rule>>,
    drafts: Vec<(Meta, Draft)>,
    filters: Vec<(Meta, Filter)>,
    refused: Vec<Refusal>,
    warnings: Vec<Warning>,
    /// Who has which id, in lower case, and which name.
    taken: BTreeMap<String, (Target, Place)>,
    /// What all rules weigh together, see [`canonical::weight`].
    weight: usize,
}

impl<'o> Builder<'o> {
    fn new(options: &'o Options) -> Self {
        Self {
            options,
            rules: Vec::new(),
            drafts: Vec::new(),
            filters: Vec::new(),
            refused: Vec::new(),
            warnings: Vec::new(),
            taken: BTreeMap::new(),
            weight: 0,
        }
    }

    fn file(&mut self, file: &Arc<str>, bytes: &[u8]) {
        let here = Meta { place: Some(Place { file: Arc::clone(file), line: 1 }), ..Meta::default() };
        let text = match std::str::from_utf8(bytes) {
            Ok(text) => text,
            Err(error) => {
                let before = bytes.iter().take(error.valid_up_to()).filter(|it| **it == b'\n').count();
                let line = u32::try_from(before).unwrap_or(u32::MAX).saturating_add(1);
                return self.refuse(&here, Fault::new(line, "not UTF-8; save the file as UTF-8"));
            }
        };
        let (documents, unreadable) = yaml::read(text);
        for it in unreadable {
            self.refuse(&Meta { title: it.title.unwrap_or_default(), ..here.clone() }, it.fault);
        }
        for root in documents {
            let mut warnings = Vec::new();
            let read = read::document(&root, file, &self.options.placeholders, &mut warnings);
            let meta = read.as_ref().map_or(&here, |it| &it.meta);
            for fault in warnings {
                self.warn(meta, fault);
            }
            if let Some(document) = read {
                self.document(document);
            }
        }
    }

    fn document(&mut self, document: read::Document) {
        let read::Document { mut meta, body } = document;
        let names: Vec<String> = names(&meta).collect();
        let place = meta.place.clone().unwrap_or_else(|| Place { file: Arc::from(""), line: 1 });
        let body = body.and_then(|it| self.free(&names, place.line).map(|()| it));
        let body = body.and_then(|it| self.room(&mut meta, &it, place.line).map(|()| it));
        let target = match body {
            Ok(Body::Rule { source, expr }) => {
                self.rules.push(Some(Rule { meta, source, expr, told: true }));
                Target::Rule(self.rules.len().saturating_sub(1))
            }
            Ok(Body::Correlation(draft)) => {
                self.drafts.push((meta, draft));
                Target::Correlation(self.drafts.len().saturating_sub(1))
            }
            Ok(Body::Filter(filter)) => {
                self.filters.push((meta, filter));
                Target::Filter
            }
            Err(fault) => {
                self.refuse(&meta, fault);
                Target::Refused
            }
        };
        for name in names {
            let entry = self.taken.entry(name).or_insert_with(|| (target, place.clone()));
            // What was refused has no claim.
            if entry.0 == Target::Refused {
                *entry = (target, place.clone());
            }
        }
    }

    /// Refuses an id or name that another document has.
    fn free(&self, names: &[String], line: u32) -> Result<(), Fault> {
        for name in names {
            if let Some((_, place)) = self.taken.get(name).filter(|it| it.0 != Target::Refused) {
                return Err(Fault::new(line, format!("`{name}` already stands for the rule at {place}")));
            }
        }
        Ok(())
    }

    /// Takes the fingerprint of a rule, and refuses what makes the pack too large.
    fn room(&mut self, meta: &mut Meta, body: &Body, line: u32) -> Result<(), Fault> {
        let Body::Rule { source, expr } = body else { return Ok(()) };
        let (fingerprint, weight) = canonical::rule(source, expr);
        meta.fingerprint = fingerprint;
        self.weight = self.weight.saturating_add(weight);
        if self.weight > WEIGHT {
            return Err(Fault::new(line, "the rules before this one are too large together; use fewer"));
        }
        Ok(())
    }

    fn finish(mut self) -> Pack {
        self.apply_filters();
        let (correlations, generate) = self.link();
        let rules = self.rules.into_iter().flatten().collect();
        let mut pack = Pack {
            rules,
            correlations,
            refused: self.refused,
            warnings: self.warnings,
            fingerprint: [0; 32],
        };
        pack.tell(&generate);
        let rules = pack.rules.iter().map(|it| (&it.meta, it.told));
        let all = rules.chain(pack.correlations.iter().map(|it| (&it.meta, it.told)));
        pack.fingerprint = canonical::pack(all);
        pack.refused.sort_by(|a, b| (&a.place, &a.why).cmp(&(&b.place, &b.why)));
        pack.warnings.sort_by(|a, b| (&a.place, &a.why).cmp(&(&b.place, &b.why)));
        pack
    }

    fn refuse(&mut self, meta: &Meta, fault: Fault) {
        let (place, rule) = told_of(meta, fault.line);
        self.refused.push(Refusal { place, rule, why: fit_to_print(fault.why) });
    }

    fn warn(&mut self, meta: &Meta, fault: Fault) {
        let (place, rule) = told_of(meta, fault.line);
        self.warnings.push(Warning { place, rule, why: fit_to_print(fault.why) });
    }
}

impl Pack {
    /// Decides what is told: everything, but not what correlations refer to, unless one of them says
    /// so. `generate` says which of them do.
    fn tell(&mut self, generate: &[bool]) {
        let mut silent = BTreeMap::new();
        for (correlation, generate) in self.correlations.iter().zip(generate) {
            for it in &correlation.rules {
                let silent = silent.entry(*it).or_insert(true);
                *silent &= !generate;
            }
        }
        for (it, silent) in silent {
            match it {
                Ref::Rule(at) => {
                    if let Some(it) = self.rules.get_mut(at) {
                        it.told = !silent;
                    }
                }
                Ref::Correlation(at) => {
                    if let Some(it) = self.correlations.get_mut(at) {
                        it.told = !silent;
                    }
                }
            }
        }
    }
}

fn told_of(meta: &Meta, line: u32) -> (Place, Option<String>) {
    let file = meta.place.as_ref().map_or_else(|| Arc::from(""), |it| Arc::clone(&it.file));
    (Place { file, line }, Some(meta.title.clone()).filter(|it| !it.is_empty()))
}

/// A message may repeat what a file holds: not so that a terminal obeys it, and not at any length.
fn fit_to_print(why: String) -> String {
    // Beside control characters: what changes the direction of text, or ends a line.
    let obeyed = |it: char| {
        it.is_control()
            || matches!(it, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    if why.len() <= WHY && !why.contains(obeyed) {
        return why;
    }
    let mut printed = String::with_capacity(why.len());
    for it in why.chars().take(WHY) {
        if obeyed(it) {
            printed.extend(it.escape_unicode());
        } else {
            printed.push(it);
        }
    }
    printed
}

/// What references may call it.
fn names(meta: &Meta) -> impl Iterator<Item = String> {
    meta.id.as_ref().map(|it| it.to_ascii_lowercase()).into_iter().chain(meta.name.clone())
}

/// How many characters of a message are kept.
const WHY: usize = 600;
/// The most that all rules together may weigh; SigmaHQ's 3,800 weigh less than a tenth of it.
const WEIGHT: usize = 256 << 20;

#[cfg(test)]
mod tests;
