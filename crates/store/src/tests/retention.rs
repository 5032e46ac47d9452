//! Old and surplus events go, in small steps, and readers that lose some are named.

use std::time::{Duration, Instant};

use serin_event::{Record, Timestamp};

use super::{NOW, record, records, store};
use crate::{Lost, Query, Reader, ReaderState, Retained, Retention, RollupQuery, Store};

const FOR_EVER: Retention =
    Retention { keep: Duration::MAX, keep_counts: Duration::MAX, max_bytes: u64::MAX };

fn at(second: i64) -> Timestamp {
    Timestamp(NOW + second * 1_000_000)
}

fn reader_at(name: &str, cursor: u64) -> ReaderState {
    ReaderState { name: name.into(), cursor, status: "{}".into(), updated: at(0) }
}

/// Steps until there is nothing more to do, summed up; and the longest step.
fn retain(store: &mut Store, retention: &Retention, now: Timestamp, floor: u64) -> (Retained, Duration) {
    let (mut sum, mut longest) = (Retained::default(), Duration::ZERO);
    for _ in 0..10_000 {
        let started = Instant::now();
        let step = store.retain(retention, now, floor).unwrap();
        longest = longest.max(started.elapsed());
        sum.events += step.events;
        sum.counts += step.counts;
        for lost in step.lost {
            match sum.lost.iter_mut().find(|it| it.reader == lost.reader) {
                Some(sum) => {
                    sum.events += lost.events;
                    (sum.seqs.1, sum.times.1) = (lost.seqs.1, lost.times.1);
                }
                None => sum.lost.push(lost),
            }
        }
        if !step.more {
            return (sum, longest);
        }
    }
    panic!("never done")
}

#[test]
fn what_is_too_old_goes_once_every_reader_has_it() {
    let (_directory, options, mut store) = store();
    store.append(&mut records(0..5_000), &[reader_at("webhook", 1_500)]).unwrap();
    let hour = Retention { keep: Duration::from_hours(1), ..FOR_EVER };
    let reader = Reader::open(&options.path).unwrap();

    assert_eq!(retain(&mut store, &hour, at(3_600), 5_000).0, Retained::default());
    // 2,000 are old enough, 1,500 were delivered.
    let (done, _) = retain(&mut store, &hour, at(5_600), 1_500);
    assert_eq!((done.events, done.lost), (1_500, vec![]));
    assert_eq!(reader.after(0, 1).unwrap()[0].seq, 1_501);
    let (done, _) = retain(&mut store, &hour, at(5_600), u64::MAX);
    assert_eq!(done.events, 500);
    assert_eq!(reader.after(0, 1).unwrap()[0].seq, 2_001);
    assert_eq!(reader.stats().unwrap().events, 3_000);
    let all = Query { since: Some(at(-9)), limit: usize::MAX, ..Query::default() };
    assert_eq!(reader.query(&all).unwrap().len(), 3_000);

    // The counts stay, and go when it is their turn.
    assert_eq!(reader.rollups(&RollupQuery::default()).unwrap()[0].count, 5_000);
    let counts = Retention { keep_counts: Duration::from_mins(1), ..FOR_EVER };
    assert_eq!(retain(&mut store, &counts, at(3_660), 5_000).0.counts, 1);
    assert_eq!(reader.rollups(&RollupQuery::default()).unwrap()[0].count, 5_000 - 3_600);

    // Numbers go on, also when nothing is left.
    assert_eq!(retain(&mut store, &hour, at(1_000_000), 5_000).0.events, 3_000);
    drop(store);
    let (mut store, opened) = Store::open(&options).unwrap();
    assert_eq!(opened.last_seq, 5_000);
    let mut next = [record(0)];
    store.append(&mut next, &[]).unwrap();
    assert_eq!(next[0].seq, 5_001);
}

#[test]
fn the_size_wins_over_readers_that_lag_and_names_them() {
    let (_directory, options, mut store) = store();
    for from in (0..20_000).step_by(1_000) {
        store.append(&mut records(from..from + 1_000), &[]).unwrap();
    }
    store.save_readers(&[reader_at("dead", 100), reader_at("well", 20_000)]).unwrap();
    let reader = Reader::open(&options.path).unwrap();
    let before = reader.stats().unwrap();
    let half = Retention { max_bytes: before.bytes / 2, ..FOR_EVER };
    let (done, _) = retain(&mut store, &half, at(20_000), 100);
    let after = reader.stats().unwrap();
    assert!(after.bytes <= half.max_bytes && after.bytes > half.max_bytes * 9 / 10, "{after:?}");
    assert_eq!(after.events, 20_000 - done.events);
    assert!((8_000..12_000).contains(&done.events), "{}", done.events);
    let expected = Lost {
        reader: "dead".into(),
        events: done.events - 100,
        seqs: (101, done.events),
        times: (at(100), at(done.events.cast_signed() - 1)),
    };
    assert_eq!(done.lost, [expected]);
    assert_eq!(reader.after(0, 1).unwrap()[0].seq, done.events + 1);

    // The file itself got shorter too, but for the spare pages.
    drop(store);
    let bytes = std::fs::metadata(&options.path).unwrap().len();
    assert!(bytes <= after.bytes + 257 * 4096, "{bytes} > {}", after.bytes);
}

#[test]
fn a_size_that_nothing_fits_into_ends_all_the_same() {
    let (_directory, options, mut store) = store();
    store.append(&mut records(0..1_000), &[]).unwrap();
    let nothing = Retention { max_bytes: 1, ..FOR_EVER };
    assert_eq!(retain(&mut store, &nothing, at(0), 0).0.events, 1_000);
    store.append(&mut records(0..10), &[]).unwrap();
    assert_eq!(Reader::open(&options.path).unwrap().after(0, 99).unwrap().len(), 10);
}

#[test]
fn a_wrong_clock_neither_hides_events_nor_keeps_the_others() {
    let (_directory, options, mut store) = store();
    let day = 86_400;
    let mut all: Vec<Record> = (0..3_000).map(record).collect();
    // Once the clock was ten years ahead, for one event; later it was set back by a day.
    all[10].time = at(3_650 * day);
    for late in &mut all[2_000..] {
        late.time = Timestamp(late.time.0 - day * 1_000_000);
    }
    store.append(&mut all, &[]).unwrap();
    let reader = Reader::open(&options.path).unwrap();
    let since = |second| {
        let query = Query { since: Some(at(second)), limit: usize::MAX, ..Query::default() };
        reader.query(&query).unwrap().len()
    };
    assert_eq!(since(0), 2_000);
    assert_eq!(since(1_999), 2);
    assert_eq!(since(-day), 3_000);
    assert_eq!(since(2_500 - day), 2_500);

    let hour = Retention { keep: Duration::from_hours(1), ..FOR_EVER };
    assert_eq!(retain(&mut store, &hour, at(3_600), 3_000).0.events, 1_000);
    assert_eq!(retain(&mut store, &hour, at(day), 3_000).0.events, 1_999);
    assert_eq!(reader.after(0, 9).unwrap()[0].seq, 11);
}

#[test]
fn a_reader_works_beside_the_writer() {
    let (_directory, options, mut store) = store();
    let reader = Reader::open(&options.path).unwrap();
    let follower = std::thread::spawn(move || {
        let mut seen = 0;
        while seen < 20_000 {
            let found = reader.after(seen, 300).unwrap();
            for record in found {
                assert_eq!((record.seq, record.session), (seen + 1, seen));
                seen += 1;
            }
        }
    });
    for from in (0..20_000).step_by(100) {
        store.append(&mut records(from..from + 100), &[]).unwrap();
    }
    follower.join().unwrap();
}

#[test]
fn a_question_that_takes_too_long_is_given_up() {
    let (_directory, options, mut store) = store();
    store.append(&mut records(0..20_000), &[]).unwrap();
    let reader = Reader::open(&options.path).unwrap();
    let query = Query { text: Some("nowhere".into()), ..Query::default() };
    reader.set_patience(Some(Duration::ZERO));
    assert!(matches!(reader.query(&query), Err(crate::Error::Slow)));
    reader.set_patience(None);
    assert_eq!(reader.query(&query).unwrap(), []);
}
