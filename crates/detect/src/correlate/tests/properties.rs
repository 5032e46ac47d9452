//! What must be true of every stream and every set of correlations: made from fixed seeds.

use fastrand::Rng;

use super::oracle;
use super::*;
use crate::rule::{Figure, RefExpr};

const RULES: usize = 4;
const LATENESS: i64 = 20;

fn settings() -> Settings {
    // Sensors fall silent all the time.
    Settings { lateness: LATENESS, idle: 9, hold: 1000, ahead: 1000, ..Settings::default() }
}

fn expression(random: &mut Rng, rules: usize, depth: usize) -> RefExpr {
    let parts = |random: &mut Rng| (0..2).map(|_| expression(random, rules, depth - 1)).collect();
    match random.u8(0..if depth == 0 { 1 } else { 5 }) {
        1 | 2 => RefExpr::All(parts(random)),
        3 => RefExpr::Any(parts(random)),
        4 => RefExpr::Not(Box::new(expression(random, rules, depth - 1))),
        _ => RefExpr::Seen(random.usize(0..rules)),
    }
}

fn bounds(random: &mut Rng, most: u8) -> Vec<Bound> {
    let number = f64::from(random.u8(1..=most));
    match random.u8(0..12) {
        0 => bound(Op::Lt, number),
        1 => bound(Op::Lte, number),
        2 => bound(Op::Eq, number),
        3 => bound(Op::Neq, number),
        4 => bound(Op::Gt, number - 0.5),
        5 => vec![Bound { op: Op::Gte, number }, Bound { op: Op::Lte, number: number + 2.0 }],
        _ => gte(number),
    }
}

fn kind(random: &mut Rng, rules: usize) -> CorrelationKind {
    let most = u8::try_from(rules).unwrap();
    match random.u8(0..7) {
        0 => CorrelationKind::EventCount(bounds(random, 6)),
        1 => CorrelationKind::ValueCount(vec!["v".into()], bounds(random, 5)),
        2 => CorrelationKind::ValueCount(vec!["v".into(), "h".into()], bounds(random, 6)),
        3 => CorrelationKind::Temporal(if random.bool() { Vec::new() } else { bounds(random, most) }),
        4 => {
            let bounds = if random.bool() { gte(f64::from(most)) } else { bounds(random, most) };
            CorrelationKind::TemporalOrdered(bounds)
        }
        5 => {
            let expr = expression(random, rules, 3);
            CorrelationKind::TemporalExpr { expr, ordered: random.bool() }
        }
        _ => {
            let figure = match random.u8(0..4) {
                0 => Figure::Sum,
                1 => Figure::Average,
                2 => Figure::Percentile(50.0),
                _ => Figure::Percentile(90.0),
            };
            let op = if random.bool() { Op::Gt } else { Op::Lt };
            let number = f64::from(random.u8(0..12)) + 0.33;
            CorrelationKind::Figure(figure, "v".into(), bound(op, number))
        }
    }
}

/// Correlations, each over rules and, at times, over those before it. With `sharded` all of them are
/// grouped by `g` under its own name.
fn correlations(random: &mut Rng, sharded: bool) -> Vec<Correlation> {
    let mut all: Vec<Correlation> = Vec::new();
    for at in 0..random.usize(1..6) {
        let mut refs: Vec<_> = (0..RULES).map(Ref::Rule).chain((0..at).map(Ref::Correlation)).collect();
        random.shuffle(&mut refs);
        refs.truncate(random.usize(1..=3));
        let group: &[&str] = match random.u8(0..4) {
            0 if !sharded => &[],
            1 => &["g", "h"],
            _ => &["g"],
        };
        let kind = kind(random, refs.len());
        let mut it = over(&format!("c{at}"), &refs, group, random.i64(1..30), kind);
        if !sharded && random.u8(0..4) == 0 {
            // An alias: one of the rules names the field otherwise.
            let member = random.usize(0..refs.len());
            it.group_by.iter_mut().take(1).for_each(|it| it.fields[member] = "h".into());
        }
        all.push(it);
    }
    all
}

fn touches(random: &mut Rng, count: u64) -> Vec<Touch> {
    let mut time = 1000;
    let mut all = Vec::new();
    for id in 0..count {
        time += *random.choice(&[0, 0, 1, 1, 2, 3, 5, 12]).unwrap();
        let mut fields = Vec::new();
        for (name, values) in [("g", ["a", "A", "b", "c"]), ("h", ["a", "b", "x", "X"])] {
            match random.usize(0..6) {
                4 => {}
                5 => fields.push((name, Value::Null)),
                it => fields.push((name, Value::Text(values[it].into()))),
            }
        }
        if random.u8(0..5) > 0 {
            let number = random.i64(-2..9);
            let value =
                if random.bool() { Value::Int(number) } else { Value::Text(number.to_string().into()) };
            fields.push(("v", value));
        }
        let hits = (0..RULES).filter(|_| random.u8(0..3) == 0).collect();
        let sensor = random.choice(["one", "two", "three"]).unwrap();
        all.push(Touch { id, time, sensor, fields, hits });
    }
    all.sort_by_key(|it| (it.time, it.sensor, it.id));
    all
}

/// How far a figure is told exactly.
fn reach(kind: &CorrelationKind) -> f64 {
    let (CorrelationKind::EventCount(bounds)
    | CorrelationKind::ValueCount(_, bounds)
    | CorrelationKind::TemporalOrdered(bounds)) = kind
    else {
        return f64::INFINITY;
    };
    let reach = |it: &Bound| match it.op {
        Op::Gte | Op::Lt => it.number.ceil(),
        _ => it.number.floor() + 1.0,
    };
    let more_is_better = bounds.iter().all(|it| matches!(it.op, Op::Gt | Op::Gte));
    if matches!(kind, CorrelationKind::TemporalOrdered(_)) && !more_is_better {
        return f64::INFINITY;
    }
    bounds.iter().map(reach).fold(0.0, f64::max)
}

/// Makes firings comparable: in one order, figures to nine digits and no further than they are told.
fn comparable(mut all: Vec<oracle::Fired>, reach: f64) -> Vec<String> {
    let figure = |it: Option<f64>| it.map(|it| (it.min(reach) * 1e9).round() / 1e9);
    all.sort_by(|a, b| a.partial_cmp(b).unwrap());
    let line = |it: &oracle::Fired| format!("{} {:?} {:?}", it.0, it.1, figure(it.2));
    all.iter().map(line).collect()
}

#[test]
fn it_fires_when_a_look_at_all_events_says_so() {
    let mut fired = 0;
    for seed in 0..400 {
        let mut random = Rng::with_seed(seed);
        let correlations = correlations(&mut random, false);
        let touches = touches(&mut random, 60);
        let found = run(&correlations, at_once(), &touches);
        let expected = oracle::fired(&correlations, &touches);
        for (at, (correlation, expected)) in correlations.iter().zip(expected).enumerate() {
            let reach = reach(&correlation.kind);
            let own = found.iter().filter(|it| it.rule == Ref::Correlation(at));
            let group = |it: &Detection| it.group.iter().map(|it| it.1.clone()).collect();
            let own = own.map(|it| (it.time, group(it), it.figure)).collect();
            fired += expected.len();
            let (own, expected) = (comparable(own, reach), comparable(expected, reach));
            let asked: Vec<_> = correlations.iter().map(|it| (&it.rules, &it.kind, it.timespan)).collect();
            assert_eq!(own, expected, "seed {seed}, {at}: {asked:?}");
        }
    }
    assert!(fired > 10_000, "{fired} firings compared are too few to mean anything");
}

/// Events with the times of their arrival, less than the lateness after they happened, by arrival.
fn delayed(random: &mut Rng, touches: &[Touch]) -> Vec<(i64, Touch)> {
    let mut all: Vec<_> = touches.iter().map(|it| (it.time + random.i64(0..LATENESS), it.clone())).collect();
    random.shuffle(&mut all);
    all.sort_by_key(|it| it.0);
    all
}

#[test]
fn the_order_of_arrival_within_the_lateness_changes_nothing() {
    for seed in 0..200 {
        let mut random = Rng::with_seed(seed);
        let correlations = correlations(&mut random, false);
        let touches = touches(&mut random, 80);
        let sorted = run(&correlations, settings(), &touches);
        assert_eq!(sorted, run(&correlations, at_once(), &touches), "seed {seed}");
        let mut correlator = Correlator::new(&correlations, &rules(RULES), settings());
        let mut out = Vec::new();
        for (arrived, touch) in delayed(&mut random, &touches) {
            observe_at(&mut correlator, &touch, arrived, &mut out);
        }
        correlator.finish(&mut out);
        assert_eq!((out, correlator.stats().late), (sorted, 0), "seed {seed}");
    }
}

#[test]
fn a_replay_tells_what_was_told_live() {
    for seed in 0..200 {
        let mut random = Rng::with_seed(seed);
        let correlations = correlations(&mut random, false);
        let touches = touches(&mut random, 80);
        let replayed = run(&correlations, settings(), &touches);
        let mut correlator = Correlator::new(&correlations, &rules(RULES), settings());
        let (mut out, mut now, mut early) = (Vec::new(), 0, 0);
        for (arrived, touch) in delayed(&mut random, &touches) {
            now = now.max(touch.time);
            while now < arrived && random.bool() {
                now = random.i64(now..arrived);
                correlator.advance(now, &mut out);
                now += 1;
            }
            now = arrived;
            early = out.len();
            observe_at(&mut correlator, &touch, arrived, &mut out);
        }
        assert!(early <= out.len());
        correlator.finish(&mut out);
        assert_eq!((out, correlator.stats().late), (replayed, 0), "seed {seed}");
    }
}

#[test]
fn shards_by_group_tell_together_what_one_tells() {
    for seed in 0..200 {
        let mut random = Rng::with_seed(seed);
        let correlations = correlations(&mut random, true);
        let touches = touches(&mut random, 80);
        let mut whole = run(&correlations, settings(), &touches);
        let of_shard = |shard: usize| {
            let mut own = touches.clone();
            for touch in &mut own {
                let group = touch.fields.iter().find(|it| it.0 == "g").map(|it| &it.1);
                let a = matches!(group, Some(Value::Text(it)) if it.eq_ignore_ascii_case("a"));
                if usize::from(a) != shard {
                    touch.hits.clear();
                }
            }
            run(&correlations, settings(), &own)
        };
        let mut sharded = [of_shard(0), of_shard(1)].concat();
        whole.sort_by_key(|it| it.id);
        sharded.sort_by_key(|it| it.id);
        assert_eq!(sharded, whole, "seed {seed}");
    }
}

#[test]
fn a_restart_at_any_event_changes_nothing() {
    let mut evicted = 0;
    for seed in 0..60 {
        let mut random = Rng::with_seed(seed);
        let correlations = correlations(&mut random, false);
        let arrivals = {
            let touches = touches(&mut random, 60);
            delayed(&mut random, &touches)
        };
        // Also what has to go, and when, must not depend on a restart.
        let quotas = [(100_000, 32 << 20), (2, 32 << 20), (100, 900)];
        let (groups, bytes) = *random.choice(&quotas).unwrap();
        let settings = Settings { groups, bytes, ..settings() };
        let mut steady = Correlator::new(&correlations, &rules(RULES), settings);
        let mut restarted = Correlator::new(&correlations, &rules(RULES), settings);
        let (mut expected, mut out) = (Vec::new(), Vec::new());
        for (arrived, touch) in &arrivals {
            observe_at(&mut steady, touch, *arrived, &mut expected);
            observe_at(&mut restarted, touch, *arrived, &mut out);
            let snapshot = restarted.snapshot();
            assert_eq!(snapshot, steady.snapshot(), "seed {seed}");
            restarted = Correlator::new(&[], &[], settings);
            restarted.restore(&snapshot, &correlations, &rules(RULES)).expect("it was just written");
            assert_eq!(restarted.stats(), steady.stats(), "seed {seed}");
        }
        steady.finish(&mut expected);
        restarted.finish(&mut out);
        assert_eq!(out, expected, "seed {seed}");
        evicted += steady.stats().correlations.iter().map(|it| it.evicted).sum::<u64>();
    }
    assert!(evicted > 100, "{evicted} evictions are too few to mean anything");
}

#[test]
fn what_stays_the_same_keeps_its_state_over_a_reload() {
    for seed in 0..100 {
        let mut random = Rng::with_seed(seed);
        let correlations = correlations(&mut random, false);
        let touches = touches(&mut random, 60);
        let expected = run(&correlations, settings(), &touches);
        // Another one stands before them, at times.
        let other = over("other", &[Ref::Rule(0)], &["g"], 7, CorrelationKind::EventCount(gte(2.0)));
        let mut shifted = vec![other];
        for it in &correlations {
            let mut it = it.clone();
            for one in &mut it.rules {
                if let Ref::Correlation(at) = one {
                    *at += 1;
                }
            }
            shifted.push(it);
        }
        let mut correlator = Correlator::new(&correlations, &rules(RULES), settings());
        let (mut out, mut offset) = (Vec::new(), 0);
        let mut told = Vec::new();
        for touch in &touches {
            observe(&mut correlator, touch, &mut out);
            told.extend(out.drain(..).map(|it| (it, offset)));
            if random.u8(0..8) == 0 {
                offset = usize::from(random.bool());
                let now = if offset == 0 { &correlations } else { &shifted };
                correlator.reload(now, &rules(RULES));
            }
        }
        correlator.finish(&mut out);
        told.extend(out.drain(..).map(|it| (it, offset)));
        let same = told.into_iter().filter_map(|(mut it, offset)| {
            let Ref::Correlation(at) = it.rule else { panic!("{it:?}") };
            it.rule = Ref::Correlation(at.checked_sub(offset)?);
            Some(it)
        });
        assert_eq!(same.collect::<Vec<_>>(), expected, "seed {seed}");
    }
}

#[test]
fn a_damaged_snapshot_is_refused_or_survived() {
    let mut random = Rng::with_seed(7);
    let (mut refused, mut taken) = (0, 0);
    for seed in 0..40 {
        let mut own = Rng::with_seed(seed);
        let correlations = correlations(&mut own, false);
        let touches = touches(&mut own, 60);
        let mut correlator = Correlator::new(&correlations, &rules(RULES), settings());
        for touch in &touches {
            observe(&mut correlator, touch, &mut Vec::new());
        }
        let snapshot = correlator.snapshot();
        for _ in 0..60 {
            // Whole to look at, so that what is inside is read.
            let mut body = snapshot[8..snapshot.len() - 32].to_vec();
            let at = random.usize(0..body.len());
            match random.u8(0..3) {
                0 => body[at] = random.u8(..),
                1 => body.truncate(at),
                _ => body[at] ^= 1 << random.u8(0..8),
            }
            let mut sealed = snapshot::Writer::default();
            sealed.bytes(&body);
            let bytes = snapshot::seal(sealed);
            match correlator.restore(&bytes, &correlations, &rules(RULES)) {
                Ok(()) => taken += 1,
                Err(Broken) => refused += 1,
            }
            for touch in &touches {
                observe(&mut correlator, touch, &mut Vec::new());
            }
            correlator.finish(&mut Vec::new());
        }
    }
    assert!(refused > 200 && taken > 200, "{refused} refused, {taken} taken");
}
