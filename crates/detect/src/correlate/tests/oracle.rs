//! The same question answered another way: every window is recomputed from the whole list of events,
//! with sorting, sets and brute force instead of state. Nothing is shared with the engine.

use std::collections::BTreeSet;

use super::*;
use crate::rule::{Figure, RefExpr};

/// What fired: the end of the window, the group, the figure.
pub(super) type Fired = (i64, Vec<String>, Option<f64>);

/// A place in the order of all events; several firings of one event stand one after the other.
type Place = (usize, usize, usize);

/// An event as a correlation sees it.
#[derive(Debug, Clone, PartialEq)]
struct Seen {
    time: i64,
    place: Place,
    members: Vec<usize>,
    group: Vec<String>,
    fields: Vec<(String, Value<'static>)>,
}

fn text(value: &Value<'_>) -> Option<String> {
    match value {
        Value::Text(text) => Some(text.to_lowercase()),
        Value::Int(number) => Some(number.to_string()),
        _ => None,
    }
}

/// All firings of all correlations: for each correlation its own.
pub(super) fn fired(correlations: &[Correlation], touches: &[Touch]) -> Vec<Vec<Fired>> {
    let mut touches = touches.to_vec();
    touches.sort_by_key(|it| (it.time, it.sensor, it.id));
    let horizon = touches.iter().map(|it| it.time).max().unwrap_or(0);
    let mut all: Vec<Vec<(Fired, Place)>> = Vec::new();
    for correlation in correlations {
        let mut seen = Vec::new();
        for (place, touch) in touches.iter().enumerate() {
            let fields: Vec<_> = touch.fields.iter().map(|it| (it.0.to_owned(), it.1.clone())).collect();
            let members = (0..correlation.rules.len())
                .filter(|&it| touch.hits.iter().any(|hit| correlation.rules[it] == Ref::Rule(*hit)));
            see(correlation, touch.time, (place, 0, 0), &members.collect::<Vec<_>>(), &fields, &mut seen);
        }
        for (member, one) in correlation.rules.iter().enumerate() {
            let Ref::Correlation(child) = *one else { continue };
            for (nth, ((end, group, _), place)) in all[child].iter().enumerate() {
                let names = correlations[child].group_by.iter().map(|it| it.name.to_string());
                let values = group.iter().map(|it| Value::Text(it.clone().into()));
                let fields: Vec<_> = names.zip(values).collect();
                see(correlation, *end, (place.0, place.1 + 1 + child, nth), &[member], &fields, &mut seen);
            }
        }
        seen.sort_by_key(|it: &Seen| (it.time, it.place));
        let groups: BTreeSet<_> = seen.iter().map(|it| it.group.clone()).collect();
        let mut found = Vec::new();
        for group in groups {
            let own: Vec<_> = seen.iter().filter(|it| it.group == group).cloned().collect();
            for (end, figure, place) in firings(correlation, &own, horizon) {
                found.push(((end, group.clone(), figure), place));
            }
        }
        found.sort_by(|a, b| (a.0.0, a.1, &a.0.1).partial_cmp(&(b.0.0, b.1, &b.0.1)).unwrap());
        all.push(found);
    }
    all.into_iter().map(|it| it.into_iter().map(|it| it.0).collect()).collect()
}

/// Adds an event to what a correlation sees, once for each group it is in.
fn see(
    correlation: &Correlation,
    time: i64,
    place: Place,
    members: &[usize],
    fields: &[(String, Value<'static>)],
    seen: &mut Vec<Seen>,
) {
    for &member in members {
        let value = |name: &str| fields.iter().find(|it| it.0 == name).and_then(|it| text(&it.1));
        let group: Option<Vec<_>> = correlation.group_by.iter().map(|it| value(&it.fields[member])).collect();
        let Some(group) = group else { continue };
        match seen.iter_mut().find(|it| it.place == place && it.group == group) {
            Some(same) => same.members.push(member),
            None => {
                seen.push(Seen { time, place, members: vec![member], group, fields: fields.to_vec() });
            }
        }
    }
}

/// Of one group, whose events are in order.
fn firings(correlation: &Correlation, own: &[Seen], horizon: i64) -> Vec<(i64, Option<f64>, Place)> {
    let span = correlation.timespan;
    let rules = correlation.rules.len();
    let mut fired = Vec::new();
    for (at, event) in own.iter().enumerate() {
        let window: Vec<_> = own[..=at].iter().filter(|it| it.time >= event.time - span).collect();
        if let Some(figure) = ask(&correlation.kind, rules, &window) {
            fired.push((event.time, figure, event.place));
        }
    }
    let CorrelationKind::TemporalExpr { expr, ordered } = &correlation.kind else { return fired };
    let mut begun = BTreeSet::new();
    for event in own.iter().filter(|it| it.time + span <= horizon && begun.insert(it.time)) {
        let end = event.time + span;
        let window: Vec<_> = own.iter().filter(|it| it.time >= event.time && it.time <= end).collect();
        let at_begin = |rule: usize| own.iter().any(|it| it.time == event.time && it.members.contains(&rule));
        let holds = ways(expr, rules).into_iter().any(|way| {
            let (with, without) = (&way.0, &way.1);
            !without.is_empty()
                && (with.is_empty() || with.iter().any(|it| at_begin(*it)))
                && way_holds(with, without, *ordered, &window)
        });
        if holds {
            fired.push((end, None, (usize::MAX, 0, 0)));
        }
    }
    fired
}

fn holds(bounds: &[Bound], figure: f64) -> bool {
    bounds.iter().all(|it| it.op.holds(figure, it.number))
}

/// What fires for this window; its last event is the one that asks.
#[expect(clippy::option_option, reason = "it fires or not, with a figure or without")]
fn ask(kind: &CorrelationKind, rules: usize, window: &[&Seen]) -> Option<Option<f64>> {
    #[expect(clippy::cast_precision_loss, reason = "counts of tests are small")]
    let count = |it: usize| it as f64;
    let field =
        |seen: &Seen, name: &str| seen.fields.iter().find(|it| it.0 == name).and_then(|it| text(&it.1));
    let (figure, bounds) = match kind {
        CorrelationKind::EventCount(bounds) => (count(window.len()), bounds),
        CorrelationKind::ValueCount(names, bounds) => {
            let tuple = |it: &&Seen| names.iter().map(|name| field(it, name)).collect::<Option<Vec<_>>>();
            (count(window.iter().filter_map(tuple).collect::<BTreeSet<_>>().len()), bounds)
        }
        CorrelationKind::Temporal(bounds) => {
            let seen: BTreeSet<_> = window.iter().flat_map(|it| &it.members).collect();
            if bounds.is_empty() {
                return (seen.len() == rules).then_some(Some(count(rules)));
            }
            (count(seen.len()), bounds)
        }
        CorrelationKind::TemporalOrdered(bounds) => return in_order(bounds, rules, window),
        CorrelationKind::TemporalExpr { expr, ordered } => {
            let ways = ways(expr, rules).into_iter().filter(|it| it.1.is_empty());
            let held = ways.into_iter().any(|it| way_holds(&it.0, &[], *ordered, window));
            return held.then_some(None);
        }
        CorrelationKind::Figure(figure, name, bounds) => {
            let number = |it: &&Seen| field(it, name)?.parse::<f64>().ok();
            let mut numbers: Vec<_> = window.iter().filter_map(number).collect();
            numbers.sort_by(f64::total_cmp);
            let last = numbers.len().checked_sub(1)?;
            let value = match figure {
                Figure::Sum => numbers.iter().sum(),
                Figure::Average => numbers.iter().sum::<f64>() / count(numbers.len()),
                Figure::Percentile(share) => {
                    let position = count(last) * share / 100.0;
                    let below = (0..=last).rev().find(|it| count(*it) <= position).unwrap();
                    let above = (below + 1).min(last);
                    numbers[below] + (numbers[above] - numbers[below]) * (position - count(below))
                }
            };
            (value, bounds)
        }
    };
    holds(bounds, figure).then_some(Some(figure))
}

#[expect(clippy::option_option, reason = "it fires or not, with a figure or without")]
fn in_order(bounds: &[Bound], rules: usize, window: &[&Seen]) -> Option<Option<f64>> {
    #[expect(clippy::cast_precision_loss, reason = "counts of tests are small")]
    let count = |it: usize| it as f64;
    let subsets = || (0..1_u32 << rules).map(|set| (0..rules).filter(move |it| set >> it & 1 == 1));
    let possible = subsets().map(Iterator::collect::<Vec<_>>).filter(|it| chain(it, window));
    let longest = possible.map(|it| it.len()).max().unwrap_or(0);
    let present: BTreeSet<_> = window.iter().flat_map(|it| it.members.iter().copied()).collect();
    let more_is_better = bounds.iter().all(|it| matches!(it.op, Op::Gt | Op::Gte));
    let figure = if more_is_better { longest } else { present.len() };
    let fits = more_is_better || longest == present.len();
    (fits && holds(bounds, count(figure))).then_some(Some(count(figure)))
}

/// Whether these rules matched one after the other, each by an event of its own.
fn chain(steps: &[usize], window: &[&Seen]) -> bool {
    let mut rest = window.iter();
    steps.iter().all(|step| rest.any(|it| it.members.contains(step)))
}

/// The ways for an expression to hold, by trying all: minimal sets of rules that match and rules that
/// do not, as the expression is written.
fn ways(expr: &RefExpr, rules: usize) -> Vec<(Vec<usize>, Vec<usize>)> {
    fn terms(expr: &RefExpr, negative: bool) -> Vec<(BTreeSet<usize>, BTreeSet<usize>)> {
        match expr {
            RefExpr::Seen(it) if negative => vec![(BTreeSet::new(), BTreeSet::from([*it]))],
            RefExpr::Seen(it) => vec![(BTreeSet::from([*it]), BTreeSet::new())],
            RefExpr::Not(it) => terms(it, !negative),
            RefExpr::All(parts) | RefExpr::Any(parts) => {
                if matches!(expr, RefExpr::Any(_)) != negative {
                    return parts.iter().flat_map(|it| terms(it, negative)).collect();
                }
                let mut found = vec![Default::default()];
                for part in parts {
                    let own = terms(part, negative);
                    let both =
                        |a: &(BTreeSet<usize>, BTreeSet<usize>), b: &(_, _)| (&a.0 | &b.0, &a.1 | &b.1);
                    found = found.iter().flat_map(|a| own.iter().map(move |b| both(a, b))).collect();
                }
                found
            }
        }
    }
    let all = terms(expr, false).into_iter().filter(|it| it.0.is_disjoint(&it.1));
    all.map(|it| (it.0.into_iter().filter(|it| *it < rules).collect(), it.1.into_iter().collect())).collect()
}

fn way_holds(with: &[usize], without: &[usize], ordered: bool, window: &[&Seen]) -> bool {
    let seen = |rule: &usize| window.iter().any(|it| it.members.contains(rule));
    let there = if ordered { chain(with, window) } else { with.iter().all(seen) };
    there && !without.iter().any(seen)
}
