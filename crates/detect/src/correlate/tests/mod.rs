//! Correlations over whole streams of events, against windows that are recomputed from all of them.

mod behaviour;
mod oracle;
mod properties;

use std::sync::Arc;

use super::*;
use crate::event::{Value, View};
use crate::expr::{Expr, Op};
use crate::rule::{Bound, GroupKey, LogSource, Meta};

/// A rule or correlation that is told by this name.
fn meta(name: &str) -> Meta {
    let mut fingerprint = [0; 32];
    for (place, byte) in fingerprint.iter_mut().zip(name.bytes()) {
        *place = byte;
    }
    Meta { title: name.to_owned(), fingerprint, ..Meta::default() }
}

/// Rules called `r0`, `r1` and so on. What they ask does not matter: tests say what they hit.
fn rules(count: usize) -> Vec<Rule> {
    let rule = |it| Rule {
        meta: meta(&format!("r{it}")),
        source: LogSource::default(),
        expr: Expr::All(Vec::new()),
        told: false,
    };
    (0..count).map(rule).collect()
}

/// A correlation over rules, grouped by fields of the same name.
fn over(name: &str, refs: &[Ref], group: &[&str], span: i64, kind: CorrelationKind) -> Correlation {
    let key = |name: &&str| GroupKey { name: Arc::from(*name), fields: vec![Arc::from(*name); refs.len()] };
    Correlation {
        meta: meta(name),
        rules: refs.to_vec(),
        group_by: group.iter().map(key).collect(),
        timespan: span,
        kind,
        told: true,
    }
}

fn bound(op: Op, number: f64) -> Vec<Bound> {
    vec![Bound { op, number }]
}

fn gte(number: f64) -> Vec<Bound> {
    bound(Op::Gte, number)
}

/// An event of a test.
#[derive(Debug, Clone, PartialEq)]
struct Touch {
    id: u64,
    time: i64,
    sensor: &'static str,
    fields: Vec<(&'static str, Value<'static>)>,
    hits: Vec<usize>,
}

fn touch(id: u64, time: i64, hits: &[usize], fields: &[(&'static str, &str)]) -> Touch {
    let fields = fields.iter().map(|it| (it.0, Value::Text(it.1.to_owned().into()))).collect();
    Touch { id, time, sensor: "one", fields, hits: hits.to_vec() }
}

/// Observes an event that arrives when it happens.
fn observe(correlator: &mut Correlator, touch: &Touch, out: &mut Vec<Detection>) {
    observe_at(correlator, touch, touch.time, out);
}

fn observe_at(correlator: &mut Correlator, touch: &Touch, arrived: i64, out: &mut Vec<Detection>) {
    let source = LogSource::default();
    let mut fields = Fields::new();
    for (name, value) in &touch.fields {
        fields.push(*name, value.clone());
    }
    let views = vec![View { source: &source, fields }];
    let event = Event { id: touch.id, time: touch.time, sensor: touch.sensor.into(), views };
    let hits: Vec<_> = touch.hits.iter().map(|&rule| Hit { rule, view: 0 }).collect();
    correlator.observe(&event, &hits, arrived, out);
}

/// No waiting, and room for everything.
fn at_once() -> Settings {
    Settings { lateness: 0, ..Settings::default() }
}

/// All that fires over these events.
fn run(correlations: &[Correlation], settings: Settings, touches: &[Touch]) -> Vec<Detection> {
    let mut correlator = Correlator::new(correlations, &rules(8), settings);
    let mut out = Vec::new();
    for touch in touches {
        observe(&mut correlator, touch, &mut out);
    }
    correlator.finish(&mut out);
    out
}

/// The ends of the windows that fired, and their groups.
fn ends(found: &[Detection]) -> Vec<(i64, String)> {
    let group = |it: &Detection| it.group.iter().map(|it| it.1.as_str()).collect::<Vec<_>>().join(",");
    found.iter().map(|it| (it.time, group(it))).collect()
}
