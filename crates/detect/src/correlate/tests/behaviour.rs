//! Single decisions, each by an example; among them the mistakes that other engines made.

use super::*;

fn count(group: &[&str], number: f64) -> Vec<Correlation> {
    vec![over("c", &[Ref::Rule(0)], group, 10, CorrelationKind::EventCount(gte(number)))]
}

fn from(id: u64, time: i64, source: &str) -> Touch {
    touch(id, time, &[0], &[("src", source)])
}

#[test]
fn groups_do_not_mix() {
    let temporal = CorrelationKind::Temporal(Vec::new());
    let all = [over("c", &[Ref::Rule(0), Ref::Rule(1)], &["src"], 10, temporal)];
    let touches = [touch(1, 0, &[0], &[("src", "a")]), touch(2, 1, &[1], &[("src", "b")])];
    assert_eq!(run(&all, at_once(), &touches), []);
    let touches = [touch(1, 0, &[0], &[("src", "a")]), touch(2, 1, &[1], &[("src", "A")])];
    let found = run(&all, at_once(), &touches);
    assert_eq!(ends(&found), [(1, "a".to_owned())]);
    assert_eq!((found[0].evidence.as_slice(), found[0].figure), (&[1, 2][..], Some(2.0)));
}

#[test]
fn an_event_without_its_group_is_not_counted() {
    let mut null = touch(2, 1, &[0], &[]);
    null.fields.push(("src", Value::Null));
    let touches = [touch(1, 0, &[0], &[]), null, from(3, 2, "")];
    assert_eq!(ends(&run(&count(&["src"], 1.0), at_once(), &touches)), [(2, String::new())]);
    assert_eq!(run(&count(&[], 3.0), at_once(), &touches).len(), 1);
}

#[test]
fn one_address_is_one_group_however_it_is_written() {
    let touches = [from(1, 0, "::ffff:10.0.0.1"), from(2, 1, "10.0.0.1"), from(3, 2, "0:0::ffff:a00:1")];
    assert_eq!(ends(&run(&count(&["src"], 3.0), at_once(), &touches)), [(2, "10.0.0.1".to_owned())]);
}

#[test]
fn an_alias_reads_another_field_of_each_rule() {
    let kind = CorrelationKind::EventCount(gte(2.0));
    let mut it = over("c", &[Ref::Rule(0), Ref::Rule(1)], &["who"], 10, kind);
    it.group_by[0].fields = vec!["user".into(), "login".into()];
    let touches = [touch(1, 0, &[0], &[("user", "root")]), touch(2, 1, &[1], &[("login", "ROOT")])];
    let found = run(&[it], at_once(), &touches);
    assert_eq!(found[0].group, [(Arc::from("who"), "root".to_owned())]);
}

#[test]
fn an_event_counts_once_though_two_rules_match_it() {
    let refs = [Ref::Rule(0), Ref::Rule(1)];
    let all = [over("c", &refs, &["src"], 10, CorrelationKind::EventCount(gte(2.0)))];
    let both = |id, time| touch(id, time, &[0, 1], &[("src", "a")]);
    assert_eq!(ends(&run(&all, at_once(), &[both(1, 0), both(2, 1)])), [(1, "a".to_owned())]);
    let ordered = CorrelationKind::TemporalOrdered(gte(2.0));
    let all = [over("c", &refs, &["src"], 10, ordered)];
    assert_eq!(ends(&run(&all, at_once(), &[both(1, 0), both(2, 1)])), [(1, "a".to_owned())]);
}

#[test]
fn a_firing_is_an_event_of_those_that_refer_to_it() {
    let child = over("child", &[Ref::Rule(0)], &["src", "user"], 10, CorrelationKind::EventCount(gte(2.0)));
    let users = CorrelationKind::ValueCount(vec!["user".into()], gte(2.0));
    let parent = over("parent", &[Ref::Correlation(0)], &["src"], 100, users);
    let login = |id, time, user| touch(id, time, &[0], &[("src", "a"), ("user", user)]);
    let touches =
        [login(1, 0, "x"), login(2, 1, "x"), login(3, 2, "x"), login(4, 50, "y"), login(5, 51, "y")];
    let mut all = [child, parent];
    let found = run(&all, at_once(), &touches);
    let told: Vec<_> = found.iter().map(|it| (it.rule, it.time)).collect();
    let (child, parent) = (Ref::Correlation(0), Ref::Correlation(1));
    assert_eq!(told, [(child, 1), (child, 2), (child, 51), (parent, 51)]);
    assert_eq!(found[3].evidence, [3, 5], "a firing is known by the event that it ended with");
    all[0].told = false;
    assert_eq!(run(&all, at_once(), &touches), found[3..], "silent, and still counted");
}

#[test]
fn correlations_wait_for_the_lateness_and_no_longer() {
    let settings = Settings { lateness: 5, ..Settings::default() };
    let mut correlator = Correlator::new(&count(&["src"], 2.0), &rules(1), settings);
    let mut out = Vec::new();
    observe(&mut correlator, &from(1, 100, "a"), &mut out);
    observe(&mut correlator, &from(2, 101, "a"), &mut out);
    observe(&mut correlator, &from(3, 105, "b"), &mut out);
    assert_eq!((ends(&out), correlator.stats().waiting), (vec![], 2));
    observe(&mut correlator, &from(4, 106, "b"), &mut out);
    assert_eq!(ends(&out), [(101, "a".to_owned())]);
}

#[test]
fn a_stream_that_falls_silent_is_moved_on_by_the_clock() {
    let settings = Settings { lateness: 5, idle: 3, ..Settings::default() };
    let mut correlator = Correlator::new(&count(&["src"], 1.0), &rules(1), settings);
    let mut out = Vec::new();
    // Its clock is behind ours by 50: what passes here passes there.
    observe_at(&mut correlator, &from(1, 100, "a"), 150, &mut out);
    correlator.advance(152, &mut out);
    correlator.advance(154, &mut out);
    assert_eq!(ends(&out), []);
    correlator.advance(155, &mut out);
    assert_eq!(ends(&out), [(100, "a".to_owned())]);
}

#[test]
fn a_silent_sensor_and_one_far_behind_hold_nobody() {
    let settings = Settings { lateness: 0, idle: 30, hold: 60, ..Settings::default() };
    let mut correlator = Correlator::new(&count(&["src"], 1.0), &rules(1), settings);
    let mut out = Vec::new();
    let at = |id, time, sensor| Touch { sensor, ..from(id, time, "a") };
    observe_at(&mut correlator, &at(1, 100, "one"), 100, &mut out);
    observe_at(&mut correlator, &at(2, 110, "two"), 110, &mut out);
    assert_eq!(out.len(), 1, "sensor one may still tell of 105");
    observe_at(&mut correlator, &at(3, 135, "two"), 135, &mut out);
    assert_eq!(out.len(), 3, "but not after so long");
    let mut out = Vec::new();
    observe_at(&mut correlator, &at(4, 136, "one"), 136, &mut out);
    observe_at(&mut correlator, &at(5, 240, "two"), 137, &mut out);
    assert_eq!(out.len(), 1, "all but the one that is 60 ahead of the other");
    assert_eq!(correlator.stats().waiting, 1);
}

#[test]
fn a_late_event_counts_and_fires_what_had_not_fired() {
    let mut correlator = Correlator::new(&count(&["src"], 3.0), &rules(1), at_once());
    let mut out = Vec::new();
    for (id, time, source) in [(1, 100, "a"), (2, 104, "a"), (3, 107, "b"), (4, 103, "a")] {
        observe(&mut correlator, &from(id, time, source), &mut out);
    }
    assert_eq!(ends(&out), [(104, "a".to_owned())], "the window of the newest event of the group");
    assert_eq!((out[0].late, out[0].evidence.as_slice()), (true, &[1, 4, 2][..]));
    observe(&mut correlator, &from(5, 102, "a"), &mut out);
    assert_eq!(out.len(), 1, "it has fired already");
    observe(&mut correlator, &from(6, 108, "a"), &mut out);
    observe(&mut correlator, &from(7, 120, "a"), &mut out);
    assert!(out.len() == 2 && out[1].late, "the late ones are still in its window");
    observe(&mut correlator, &from(8, 109, "c"), &mut out);
    assert_eq!((correlator.stats().late, correlator.stats().correlations[0].too_late), (3, 1));
}

#[test]
fn an_event_from_the_future_counts_from_its_arrival() {
    let settings = Settings { ahead: 300, ..at_once() };
    let mut correlator = Correlator::new(&count(&["src"], 2.0), &rules(1), settings);
    let mut out = Vec::new();
    observe_at(&mut correlator, &from(1, 100, "a"), 100, &mut out);
    observe_at(&mut correlator, &from(2, 9999, "a"), 105, &mut out);
    assert_eq!(ends(&out), [(105, "a".to_owned())]);
    assert!(out[0].ahead && !out[0].late && correlator.stats().ahead == 1);
    observe_at(&mut correlator, &from(3, 106, "a"), 106, &mut out);
    assert_eq!(correlator.stats().late, 0, "the others are not late for it");
}

#[test]
fn the_room_to_wait_is_bounded() {
    let settings = Settings { lateness: 1000, buffered_events: 10, ..Settings::default() };
    let mut correlator = Correlator::new(&count(&["src"], 1.0), &rules(1), settings);
    let mut out = Vec::new();
    for time in 0..15_i64 {
        observe(&mut correlator, &from(time.unsigned_abs(), time, "a"), &mut out);
    }
    assert_eq!((out.len(), correlator.stats().forced, correlator.stats().waiting), (5, 5, 10));
    observe(&mut correlator, &from(99, 2, "b"), &mut out);
    assert_eq!((correlator.stats().late, out.last().map(|it| it.late)), (1, Some(true)));
    let settings = Settings { lateness: 1000, buffered_bytes: 4000, ..Settings::default() };
    let mut correlator = Correlator::new(&count(&["src"], 1.0), &rules(1), settings);
    for time in 0..1000_i64 {
        observe(&mut correlator, &from(time.unsigned_abs(), time, &"x".repeat(200)), &mut out);
        assert!(correlator.stats().waiting_bytes <= 4000);
    }
    assert!(correlator.stats().forced > 900);
}

#[test]
fn a_flood_of_sources_stays_within_the_quota() {
    let settings = Settings { groups: 1000, bytes: 150_000, ..at_once() };
    let mut all = count(&["src"], 3.0);
    all[0].timespan = 1 << 40;
    let mut correlator = Correlator::new(&all, &rules(1), settings);
    let mut out = Vec::new();
    for time in 0..50_000_i64 {
        observe(&mut correlator, &from(time.unsigned_abs(), time, &format!("flood {time}")), &mut out);
        let own = correlator.stats().correlations[0];
        assert!(own.groups <= 1000 && own.bytes <= 151_000, "{own:?}");
        if time % 20_000 == 0 {
            observe(&mut correlator, &from(0, time, "slow"), &mut out);
            observe(&mut correlator, &from(0, time, "slow"), &mut out);
        }
    }
    assert!(correlator.stats().correlations[0].evicted > 49_000);
    // Hit twice at the beginning, it outlives the flood.
    assert_eq!(out.len(), 4, "at 20,000 and at 40,000, two each");
}

#[test]
fn groups_are_forgotten_once_their_window_has_passed() {
    let mut correlator = Correlator::new(&count(&["src"], 2.0), &rules(1), at_once());
    let mut out = Vec::new();
    for time in 0..1000_i64 {
        observe(&mut correlator, &from(time.unsigned_abs(), time, &time.to_string()), &mut out);
    }
    let own = correlator.stats().correlations[0];
    assert_eq!((own.groups, own.evicted), (11, 0));
    correlator.advance(1 << 40, &mut out);
    let own = correlator.stats().correlations[0];
    assert_eq!((own.groups, own.bytes), (0, 0));
}

#[test]
fn a_live_group_takes_little() {
    let kinds = [
        CorrelationKind::EventCount(gte(5.0)),
        CorrelationKind::ValueCount(vec!["src".into()], gte(5.0)),
        CorrelationKind::Temporal(Vec::new()),
        CorrelationKind::TemporalOrdered(gte(3.0)),
    ];
    for kind in kinds {
        let refs = [Ref::Rule(0), Ref::Rule(1), Ref::Rule(2)];
        let all = [over("c", &refs, &["src"], 1 << 40, kind)];
        let mut correlator = Correlator::new(&all, &rules(3), at_once());
        for time in 0..3000_i64 {
            let source = format!("2001:db8::{:x}", time % 1000);
            let rule = usize::try_from(time / 1000).unwrap();
            let touch = touch(0, time, &[rule], &[("src", &source)]);
            observe(&mut correlator, &touch, &mut Vec::new());
        }
        let own = correlator.stats().correlations[0];
        assert!(own.groups == 1000 && own.bytes / own.groups < 512, "{:?} {own:?}", all[0].kind);
    }
}

#[test]
fn a_condition_that_cannot_be_kept_is_told() {
    let settings = Settings { bytes: 1 << 20, ..at_once() };
    let stats = |number| {
        let correlator = Correlator::new(&count(&["src"], number), &rules(1), settings);
        correlator.stats().correlations[0].beyond
    };
    assert!(!stats(5.0) && stats(1e6) && stats(1e300));
}

#[test]
fn extreme_times_are_survived() {
    let mut all = count(&["src"], 1.0);
    for timespan in [i64::MIN, -1, 0, i64::MAX] {
        all[0].timespan = timespan;
        for lateness in [0, 5] {
            let settings = Settings { lateness, ..Settings::default() };
            let mut correlator = Correlator::new(&all, &rules(1), settings);
            let mut out = Vec::new();
            for (arrived, time) in [(0, 0), (i64::MIN, i64::MAX), (i64::MAX, i64::MIN), (i64::MAX, i64::MAX)]
            {
                observe_at(&mut correlator, &from(1, time, "a"), arrived, &mut out);
                correlator.advance(arrived, &mut out);
            }
            correlator.finish(&mut out);
            assert!(!out.is_empty());
        }
    }
}

#[test]
fn the_same_firing_has_the_same_name_and_no_other_has() {
    let touches: Vec<_> =
        (0..50).map(|it| from(it, it.cast_signed() / 2, if it % 3 == 0 { "a" } else { "b" })).collect();
    let all = count(&["src"], 1.0);
    let found = run(&all, at_once(), &touches);
    assert_eq!(found, run(&all, at_once(), &touches));
    let mut ids: Vec<_> = found.iter().map(|it| it.id).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), touches.len());
    let mut other = all.clone();
    other[0].meta.fingerprint[5] = 7;
    assert_ne!(run(&other, at_once(), &touches)[0].id, found[0].id);
}
