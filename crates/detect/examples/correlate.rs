//! Measures correlations on one core, one line for each kind (or for those whose
//! names begin with the argument): events a second at 100,000 groups, what a
//! group takes, and what a flood of ten million sources does to the quota.

use std::fs;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use serin_detect::expr::{Expr, Op};
use serin_detect::rule::{Bound, CorrelationKind, Figure, GroupKey, Ref};
use serin_detect::{
    Correlation, Correlator, Event, Fields, Hit, LogSource, Meta, Rule, Settings, Value, View,
};

const GROUPS: u64 = 100_000;
/// Events that are made before they are observed: the making is not measured.
const BATCH: usize = 16_384;
const EVENTS: u64 = 3_000_000;
const FLOOD: u64 = 10_000_000;
const RULES: usize = 3;
/// Microseconds from one event to the next.
const STEP: i64 = 10;
/// The window, in microseconds.
const SPAN: i64 = 300_000_000;

fn main() {
    let gte = |number| vec![Bound { op: Op::Gte, number }];
    let only = std::env::args().nth(1).unwrap_or_default();
    let kinds = [
        ("event_count of 60, never true", CorrelationKind::EventCount(gte(60.0))),
        (
            "event_count of 5, rarely true",
            CorrelationKind::EventCount(vec![Bound { op: Op::Eq, number: 4.0 }]),
        ),
        ("event_count, mostly true", CorrelationKind::EventCount(gte(5.0))),
        ("value_count, rarely true", CorrelationKind::ValueCount(vec!["port".into()], gte(40.0))),
        ("value_count, mostly true", CorrelationKind::ValueCount(vec!["port".into()], gte(5.0))),
        ("temporal, never true", CorrelationKind::Temporal(gte(4.0))),
        ("temporal, mostly true", CorrelationKind::Temporal(gte(3.0))),
        ("temporal_ordered", CorrelationKind::TemporalOrdered(gte(3.0))),
        ("value_avg", CorrelationKind::Figure(Figure::Average, "port".into(), gte(1e9))),
        ("value_median", CorrelationKind::Figure(Figure::Percentile(50.0), "port".into(), gte(1e9))),
    ];
    for (name, kind) in kinds.into_iter().filter(|it| it.0.starts_with(&only)) {
        run(name, kind, EVENTS, GROUPS);
    }
    if "a flood".starts_with(&only) {
        run("a flood of sources", CorrelationKind::EventCount(gte(5.0)), FLOOD, FLOOD);
    }
}

fn run(name: &str, kind: CorrelationKind, events: u64, groups: u64) {
    let refs: Vec<_> = (0..RULES).map(Ref::Rule).collect();
    let group = GroupKey { name: "src_host".into(), fields: vec![Arc::from("src_host"); RULES] };
    let correlation = Correlation {
        meta: Meta { title: name.to_owned(), ..Meta::default() },
        rules: refs,
        group_by: vec![group],
        timespan: SPAN,
        kind,
        told: true,
    };
    let rule = |_| Rule {
        meta: Meta::default(),
        source: LogSource::default(),
        expr: Expr::All(Vec::new()),
        told: false,
    };
    let rules: Vec<_> = (0..RULES).map(rule).collect();
    let mut correlator = Correlator::new(&[correlation], &rules, Settings::default());
    let source = LogSource::default();
    let (mut random, mut fired, mut out, mut took) = (1_u64, 0, Vec::new(), Duration::ZERO);
    for first in (0..events).step_by(BATCH) {
        let events: Vec<_> = (first..(first + BATCH as u64).min(events))
            .map(|id| {
                random =
                    random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                event(id, random >> 33, groups, &source)
            })
            .collect();
        let before = on_the_core();
        for (event, rule) in &events {
            correlator.observe(event, &[Hit { rule: *rule, view: 0 }], event.time, &mut out);
            fired += out.len();
            out.clear();
        }
        took += on_the_core().saturating_sub(before);
    }
    correlator.finish(&mut out);
    let stats = correlator.stats().correlations[0];
    println!(
        "{name:29} {:8} events/s, {:6} groups of {:4} bytes, {} evicted, {fired} fired, {} MiB at most",
        u128::from(events) * 1_000_000_000 / took.as_nanos().max(1),
        stats.groups,
        stats.bytes / stats.groups.max(1),
        stats.evicted,
        peak().unwrap_or_default() / 1024,
    );
}

/// An event and the rule that it matches.
fn event(id: u64, draw: u64, groups: u64, source: &LogSource) -> (Event<'_>, usize) {
    let mut fields = Fields::with_capacity(4);
    fields.push("logtype", Value::Int(4002));
    let host = if groups > GROUPS { id } else { draw % groups };
    fields.push("src_host", Value::Text(address(host).into()));
    fields.push("port", Value::Int(i64::try_from(draw >> 8 & 0xFFFF).unwrap_or_default()));
    let time = i64::try_from(id).unwrap_or_default() * STEP;
    let views = vec![View { source, fields }];
    let rule = usize::try_from(draw % RULES as u64).unwrap_or_default();
    (Event { id, time, sensor: "bench".into(), views }, rule)
}

fn address(number: u64) -> String {
    let [.., a, b, c] = number.to_be_bytes();
    format!("10.{a}.{b}.{c}")
}

/// For how long this program has run on a core, whatever else the machine does.
fn on_the_core() -> Duration {
    static START: OnceLock<Instant> = OnceLock::new();
    let told = fs::read_to_string("/proc/self/schedstat").ok();
    let told = told.and_then(|it| it.split_whitespace().next()?.parse().ok());
    told.map_or_else(|| START.get_or_init(Instant::now).elapsed(), Duration::from_nanos)
}

/// The most memory that was ever in use, in KiB; resets it where the system allows.
fn peak() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|it| it.strip_prefix("VmHWM:"))?;
    let peak = line.split_whitespace().next()?.parse().ok();
    let _ = fs::write("/proc/self/clear_refs", "5");
    peak
}
