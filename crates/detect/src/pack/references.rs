//! Correlations find what they refer to, and stand behind it.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap};
use std::sync::Arc;

use super::{Builder, Target};
use crate::canonical;
use crate::condition::Condition;
use crate::expr::Op;
use crate::read::correlation::{Draft, DraftKind};
use crate::rule::{Bound, Correlation, CorrelationKind, GroupKey, Meta, Ref, RefExpr};
use crate::yaml::Fault;

/// Correlations while they find their places.
struct Linked {
    done: Vec<Correlation>,
    /// Which of `done` say `generate`.
    generate: Vec<bool>,
    /// How many correlations stand below each of `done`, at most.
    chain: Vec<usize>,
    /// By draft.
    places: Vec<Spot>,
}

/// Where a draft ended up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Spot {
    /// What it refers to has no place yet.
    Waiting,
    Refused,
    /// [`Linked::done`].
    Done(usize),
}

impl Builder<'_> {
    /// Looks all references up. Children come first, else the order is that of the files; what is left
    /// over refers to itself. Also says which of the correlations say `generate`.
    pub(super) fn link(&mut self) -> (Vec<Correlation>, Vec<bool>) {
        let drafts = std::mem::take(&mut self.drafts);
        let children: Vec<BTreeSet<usize>> = drafts.iter().map(|it| self.children(&it.1)).collect();
        let mut parents: Vec<Vec<usize>> = vec![Vec::new(); drafts.len()];
        for (at, children) in children.iter().enumerate() {
            for child in children {
                if let Some(parents) = parents.get_mut(*child) {
                    parents.push(at);
                }
            }
        }
        let mut waiting: Vec<usize> = children.iter().map(BTreeSet::len).collect();
        let mut ready: BinaryHeap<Reverse<usize>> =
            (0..).zip(&waiting).filter(|it| *it.1 == 0).map(|it| Reverse(it.0)).collect();
        let mut linked = Linked {
            done: Vec::new(),
            generate: Vec::new(),
            chain: Vec::new(),
            places: vec![Spot::Waiting; drafts.len()],
        };
        while let Some(Reverse(at)) = ready.pop() {
            let Some((meta, draft)) = drafts.get(at) else { continue };
            let spot = match self.place(meta, draft, &mut linked) {
                Ok(place) => Spot::Done(place),
                Err(fault) => {
                    self.refuse(meta, fault);
                    Spot::Refused
                }
            };
            if let Some(it) = linked.places.get_mut(at) {
                *it = spot;
            }
            for parent in parents.get(at).into_iter().flatten() {
                let Some(left) = waiting.get_mut(*parent) else { continue };
                *left = left.saturating_sub(1);
                if *left == 0 {
                    ready.push(Reverse(*parent));
                }
            }
        }
        for (at, (meta, draft)) in drafts.iter().enumerate() {
            if linked.places.get(at) == Some(&Spot::Waiting) {
                let line = draft.rules.first().map_or(draft.line, |it| it.0);
                self.refuse(meta, Fault::new(line, circle(at, &drafts, &children, &linked.places)));
            }
        }
        (linked.done, linked.generate)
    }

    /// The correlations that one refers to.
    fn children(&self, draft: &Draft) -> BTreeSet<usize> {
        let correlation = |it: &(u32, String)| match self.target(&it.1) {
            Some(Target::Correlation(at)) => Some(at),
            _ => None,
        };
        draft.rules.iter().filter_map(correlation).collect()
    }

    /// Builds a correlation whose children have their places, and gives it its own.
    fn place(&mut self, meta: &Meta, draft: &Draft, linked: &mut Linked) -> Result<usize, Fault> {
        let mut rules: Vec<Ref> = Vec::new();
        for (line, name) in &draft.rules {
            let it = self.reference(*line, name, &linked.places)?;
            if !rules.contains(&it) {
                rules.push(it);
            } else if matches!(draft.kind, DraftKind::TemporalOrdered(_)) {
                return Err(Fault::new(
                    *line,
                    format!("`{name}` is listed twice; an order needs different rules"),
                ));
            } else {
                self.warn(meta, Fault::new(*line, format!("`{name}` is listed twice")));
            }
        }
        let below = |it: &Ref| match it {
            Ref::Correlation(at) => linked.chain.get(*at).map_or(1, |it| it.saturating_add(1)),
            Ref::Rule(_) => 0,
        };
        let chain = rules.iter().map(below).max().unwrap_or(0);
        if chain > CHAIN {
            return Err(Fault::new(draft.line, format!("over {CHAIN} correlations build on each other")));
        }
        let group_by = self.group_by(meta, draft, &rules, &linked.places)?;
        let kind = self.kind(draft, &rules, &linked.places)?;
        if let CorrelationKind::Temporal(bounds) | CorrelationKind::TemporalOrdered(bounds) = &kind {
            let holds = |seen: usize| bounds.iter().all(|it| it.op.holds(count(seen), it.number));
            if !(1..=rules.len()).any(holds) {
                let why = format!("the condition can never hold: `rules` lists {}", rules.len());
                self.warn(meta, Fault::new(draft.line, why));
            }
        }
        let fingerprint = |it: &Ref| match it {
            Ref::Rule(at) => self.rules.get(*at).and_then(Option::as_ref).map(|it| it.meta.fingerprint),
            Ref::Correlation(at) => linked.done.get(*at).map(|it| it.meta.fingerprint),
        };
        let fingerprints: Vec<[u8; 32]> = rules.iter().filter_map(fingerprint).collect();
        let mut correlation =
            Correlation { meta: meta.clone(), rules, group_by, timespan: draft.timespan, kind, told: true };
        correlation.meta.fingerprint = canonical::correlation(&correlation, &fingerprints);
        linked.done.push(correlation);
        linked.generate.push(draft.generate);
        linked.chain.push(chain);
        Ok(linked.done.len().saturating_sub(1))
    }

    fn reference(&self, line: u32, name: &str, places: &[Spot]) -> Result<Ref, Fault> {
        let why = match self.target(name) {
            Some(Target::Rule(at)) => return Ok(Ref::Rule(at)),
            Some(Target::Correlation(at)) => match places.get(at) {
                Some(Spot::Done(at)) => return Ok(Ref::Correlation(*at)),
                _ => format!("`{name}` was refused, so this is too"),
            },
            Some(Target::Refused) => format!("`{name}` was refused, so this is too"),
            Some(Target::Filter) => format!("`{name}` is a filter, not a rule"),
            None => format!("there is no rule with the id or name `{name}`"),
        };
        Err(Fault::new(line, why))
    }

    fn group_by(
        &mut self,
        meta: &Meta,
        draft: &Draft,
        rules: &[Ref],
        places: &[Spot],
    ) -> Result<Vec<GroupKey>, Fault> {
        let mut aliases = Vec::new();
        for alias in &draft.aliases {
            let mut fields = Vec::new();
            for (line, name, field) in &alias.fields {
                let it = self.reference(*line, name, places)?;
                if !rules.contains(&it) {
                    let why =
                        format!("the alias `{}` names `{name}`, which `rules` does not list", alias.name);
                    return Err(Fault::new(*line, why));
                }
                fields.push((it, field));
            }
            if !draft.group_by.contains(&alias.name) {
                self.warn(meta, Fault::new(alias.line, format!("`group-by` does not use `{}`", alias.name)));
            }
            aliases.push((alias, fields));
        }
        let mut keys: Vec<GroupKey> = Vec::new();
        for name in &draft.group_by {
            if keys.iter().any(|it| *it.name == **name) {
                continue;
            }
            let own: Arc<str> = Arc::from(name.as_str());
            let alias = aliases.iter().find(|it| it.0.name == *name);
            let mut fields = Vec::new();
            for rule in rules {
                let field = alias.and_then(|it| it.1.iter().find(|it| it.0 == *rule));
                if let (Some((alias, _)), None) = (alias, field) {
                    let why =
                        format!("the alias `{name}` says nothing of one of the rules; it looks for `{name}`");
                    self.warn(meta, Fault::new(alias.line, why));
                }
                fields.push(field.map_or_else(|| Arc::clone(&own), |it| Arc::from(it.1.as_str())));
            }
            keys.push(GroupKey { name: own, fields });
        }
        Ok(keys)
    }

    fn kind(&self, draft: &Draft, rules: &[Ref], places: &[Spot]) -> Result<CorrelationKind, Fault> {
        let real = |field: &str| {
            if draft.aliases.iter().any(|it| it.name == field) {
                let why = format!("`{field}` is an alias; those are for `group-by` only");
                return Err(Fault::new(draft.line, why));
            }
            Ok(Arc::from(field))
        };
        let all_of = |bounds: &[Bound]| match bounds {
            [] => vec![Bound { op: Op::Gte, number: count(rules.len()) }],
            bounds => bounds.to_vec(),
        };
        Ok(match &draft.kind {
            DraftKind::EventCount(bounds) => CorrelationKind::EventCount(bounds.clone()),
            DraftKind::ValueCount(fields, bounds) => {
                let fields = fields.iter().map(|it| real(it)).collect::<Result<_, _>>()?;
                CorrelationKind::ValueCount(fields, bounds.clone())
            }
            DraftKind::Temporal(bounds) => CorrelationKind::Temporal(all_of(bounds)),
            DraftKind::TemporalOrdered(bounds) => CorrelationKind::TemporalOrdered(all_of(bounds)),
            DraftKind::TemporalExpr { condition, ordered } => {
                let expr = self.expression(condition, draft.line, rules, places)?;
                CorrelationKind::TemporalExpr { expr, ordered: *ordered }
            }
            DraftKind::Figure(figure, field, bounds) => {
                CorrelationKind::Figure(*figure, real(field)?, bounds.clone())
            }
        })
    }

    fn expression(
        &self,
        condition: &Condition,
        line: u32,
        rules: &[Ref],
        places: &[Spot],
    ) -> Result<RefExpr, Fault> {
        let all = |parts: &[Condition]| {
            parts.iter().map(|it| self.expression(it, line, rules, places)).collect::<Result<Vec<_>, _>>()
        };
        Ok(match condition {
            Condition::Name(name) => {
                let it = self.reference(line, name, places)?;
                let at = rules.iter().position(|rule| *rule == it);
                RefExpr::Seen(at.ok_or_else(|| Fault::new(line, format!("`rules` does not list `{name}`")))?)
            }
            Condition::Of(_, target) => {
                return Err(Fault::new(line, format!("`of {target}` has no place here")));
            }
            Condition::All(parts) => RefExpr::All(all(parts)?),
            Condition::Any(parts) => RefExpr::Any(all(parts)?),
            Condition::Not(inner) => RefExpr::Not(Box::new(self.expression(inner, line, rules, places)?)),
        })
    }
}

#[expect(clippy::cast_precision_loss, reason = "a correlation has at most 1,000 rules")]
fn count(rules: usize) -> f64 {
    rules as f64
}

/// Says by which way a correlation comes back to itself, or to one that does.
fn circle(start: usize, drafts: &[(Meta, Draft)], children: &[BTreeSet<usize>], places: &[Spot]) -> String {
    let mut way = vec![start];
    let mut at = start;
    while way.len() <= WAY {
        let next = children.get(at).into_iter().flatten().find(|it| places.get(**it) == Some(&Spot::Waiting));
        let Some(next) = next else { break };
        at = *next;
        way.push(at);
        if way.iter().filter(|it| **it == at).count() > 1 {
            break;
        }
    }
    let titles: Vec<&str> =
        way.iter().filter_map(|it| drafts.get(*it)).map(|it| it.0.title.as_str()).collect();
    format!("refers to itself, or to one that does: {}", titles.join(" → "))
}

/// How many correlations may build on each other.
const CHAIN: usize = 16;
/// How many titles a message names.
const WAY: usize = 8;
