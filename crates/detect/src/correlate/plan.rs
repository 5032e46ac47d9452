//! What a correlation comes to before the first event.

use std::sync::Arc;

use sha2::{Digest as _, Sha256};

use super::Settings;
use super::bounds::Bounds;
use super::count::EventCount;
use super::distinct::ValueCount;
use super::expression::Expression;
use super::figures::Figures;
use super::groups::Quota;
use super::key::{Speller, values};
use super::kind::{Fact, Mark};
use super::ordered::TemporalOrdered;
use super::table::{Firing, Part, Table, Window};
use super::temporal::Temporal;
use crate::detection::Detection;
use crate::event::{Fields, Value};
use crate::expr::Op;
use crate::rule::{Bound, Correlation, CorrelationKind, GroupKey, Meta, Ref, Rule};

/// The longest window: longer than any log, and short enough to reckon with.
const SPAN_MAX: i64 = 1 << 56;

/// What to read of an event besides its group.
#[derive(Debug)]
enum Ask {
    Nothing,
    Values(Vec<Arc<str>>),
    Number(Arc<str>),
}

/// A rule or correlation that a detection can name.
#[derive(Debug, Clone)]
pub(crate) struct Name(Sha256);

impl Name {
    pub(crate) fn new(meta: &Meta) -> Self {
        let name = meta.id.as_ref().unwrap_or(&meta.title);
        let mut hash = Sha256::new();
        hash.update(name.as_bytes());
        hash.update([0]);
        hash.update(meta.fingerprint);
        Self(hash)
    }

    /// The identity of a detection.
    pub(crate) fn identify(&self, key: &[u8], time: i64, evidence: &[u64]) -> [u8; 16] {
        let mut hash = self.0.clone();
        hash.update(time.to_le_bytes());
        for id in [evidence.first(), evidence.last()] {
            hash.update(id.copied().unwrap_or_default().to_le_bytes());
        }
        hash.update(key);
        let digest: [u8; 32] = hash.finalize().into();
        digest.first_chunk().copied().unwrap_or_default()
    }
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Plan {
    name: Name,
    /// The same for the same correlation over the same rules: whose state it is.
    pub(crate) print: [u8; 32],
    group: Vec<GroupKey>,
    ask: Ask,
    /// Whether it matters which of its rules an event matched.
    tells_rules_apart: bool,
    pub(crate) told: bool,
    /// Who refers to it, and as which of its rules.
    pub(crate) parents: Vec<(u32, u32)>,
    /// Its condition asks for more than the memory allows.
    pub(crate) beyond: bool,
}

impl Plan {
    /// Plans a correlation. `prints` are those of the correlations before it.
    pub(crate) fn new(it: &Correlation, rules: &[Rule], prints: &[[u8; 32]]) -> Self {
        let ask = match &it.kind {
            CorrelationKind::ValueCount(fields, _) => Ask::Values(fields.clone()),
            CorrelationKind::Figure(_, field, _) => Ask::Number(field.clone()),
            _ => Ask::Nothing,
        };
        let tells_rules_apart = matches!(
            it.kind,
            CorrelationKind::Temporal(_)
                | CorrelationKind::TemporalOrdered(_)
                | CorrelationKind::TemporalExpr { .. }
        );
        Self {
            name: Name::new(&it.meta),
            print: print(it, rules, prints),
            group: it.group_by.clone(),
            ask,
            tells_rules_apart,
            told: it.told,
            parents: Vec::new(),
            beyond: false,
        }
    }

    /// The part of an event that has these fields, and matched the given one of the rules. `None` when
    /// a field of the group is missing.
    pub(crate) fn part(
        &self,
        correlation: u32,
        member: u32,
        fields: &Fields<'_>,
        speller: &mut Speller,
    ) -> Option<Part> {
        let names = self.group.iter().map(|it| it.fields.get(member as usize).map_or("", |it| it));
        let key = speller.key(names, fields)?;
        let fact = match &self.ask {
            Ask::Nothing => Fact::None,
            Ask::Values(names) => {
                let token = speller.token(names.iter().map(|it| &**it), fields);
                token.map_or(Fact::None, Fact::Token)
            }
            Ask::Number(name) => {
                fields.get(name).and_then(super::key::number).map_or(Fact::None, Fact::Number)
            }
        };
        let member = if self.tells_rules_apart { member } else { 0 };
        Some(Part { correlation, member, key, fact })
    }

    /// The fields of a firing, for those who refer to this correlation.
    pub(crate) fn fields<'f>(&'f self, firing: &'f Firing) -> Fields<'f> {
        let mut fields = Fields::new();
        for (name, value) in self.group.iter().zip(values(&firing.key)) {
            fields.push(&*name.name, Value::Text(value.into()));
        }
        fields
    }

    /// A firing as it is told.
    pub(crate) fn detection(&self, correlation: usize, firing: Firing) -> Detection {
        let Mark { time, .. } = firing.moment.at;
        let names = self.group.iter().map(|it| it.name.clone());
        Detection {
            id: self.name.identify(&firing.key, time, &firing.evidence),
            rule: Ref::Correlation(correlation),
            time,
            group: names.zip(values(&firing.key).map(str::to_owned)).collect(),
            evidence: firing.evidence,
            figure: firing.figure,
            late: firing.moment.late,
            ahead: firing.moment.ahead,
            saturated: firing.saturated,
        }
    }
}

fn print(it: &Correlation, rules: &[Rule], prints: &[[u8; 32]]) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(it.meta.fingerprint);
    for one in &it.rules {
        let print = match *one {
            Ref::Rule(at) => rules.get(at).map(|it| it.meta.fingerprint),
            Ref::Correlation(at) => prints.get(at).copied(),
        };
        hash.update(print.unwrap_or_default());
    }
    hash.finalize().into()
}

/// A correlation's state before the first event, and whether its condition asks for more than can be
/// kept.
pub(crate) fn table(it: &Correlation, settings: &Settings) -> (Box<dyn Table>, bool) {
    let quota = Quota { groups: settings.groups, bytes: settings.bytes };
    let span = it.timespan.clamp(0, SPAN_MAX);
    let rules = it.rules.len();
    // One group with all that its condition asks for must fit.
    let most = (settings.bytes / 128).max(64);
    let of_rules = |bounds: &[Bound]| {
        let all = [Bound { op: Op::Gte, number: super::bounds::figure(rules) }];
        Bounds::new(if bounds.is_empty() { &all } else { bounds })
    };
    let mut beyond = false;
    let table: Box<dyn Table> = match &it.kind {
        CorrelationKind::EventCount(bounds) => {
            let bounds = Bounds::new(bounds);
            beyond = bounds.reach() > most;
            Box::new(Window::new(EventCount::new(bounds, most), span, quota))
        }
        CorrelationKind::ValueCount(_, bounds) => {
            let bounds = Bounds::new(bounds);
            beyond = bounds.reach() > most;
            Box::new(Window::new(ValueCount::new(bounds, most), span, quota))
        }
        CorrelationKind::Temporal(bounds) => {
            Box::new(Window::new(Temporal::new(of_rules(bounds), rules), span, quota))
        }
        CorrelationKind::TemporalOrdered(bounds) => {
            Box::new(Window::new(TemporalOrdered::new(of_rules(bounds), rules), span, quota))
        }
        CorrelationKind::TemporalExpr { expr, ordered } => {
            let expression = Expression::new(expr, rules, *ordered);
            beyond = expression.is_none();
            Box::new(Window::new(expression.unwrap_or_default(), span, quota))
        }
        CorrelationKind::Figure(figure, _, bounds) => {
            Box::new(Window::new(Figures::new(*figure, Bounds::new(bounds)), span, quota))
        }
    };
    (table, beyond)
}
