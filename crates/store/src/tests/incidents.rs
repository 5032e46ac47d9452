//! Incidents, what is told of them and a reader's place are written together.

use std::time::Duration;

use rusqlite::Connection;
use serin_event::{Intent, Severity, Timestamp};

use super::{NOW, records, store};
use crate::{
    Acknowledged, Error, Incident, IncidentQuery, Reader, ReaderState, Retention, Store, acknowledge,
};

fn incident(seq: u64) -> Incident {
    Incident {
        id: format!("canary-1-{seq}"),
        seq,
        opened: Timestamp(NOW),
        updated: Timestamp(NOW + 5),
        closed: None,
        severity: Severity::High,
        intent: Intent::Login,
        service: "ftp".into(),
        rule: "touch".into(),
        source: "192.0.2.7".parse().ok(),
        count: 3,
        sentence: "somebody did something".into(),
        test: false,
        notice: "{\"a\": 1}".into(),
        state: "{}".into(),
        acknowledged: None,
    }
}

fn place(cursor: u64) -> ReaderState {
    ReaderState { name: "@incidents".into(), cursor, status: "{}".into(), updated: Timestamp(5) }
}

#[test]
fn notices_incidents_and_the_place_are_there_together() {
    let (_directory, options, mut store) = store();
    let mut told = records(0..2);
    store.settle(&mut told, &[incident(1), incident(2)], &[], &place(7)).unwrap();
    assert_eq!(told.iter().map(|it| it.seq).collect::<Vec<_>>(), [1, 2]);
    let reader = Reader::open(&options.path).unwrap();
    assert_eq!(reader.after(0, 10).unwrap(), told);
    assert_eq!(reader.readers().unwrap(), [place(7)]);
    assert_eq!(reader.incidents(&IncidentQuery::default()).unwrap(), [incident(2), incident(1)]);

    // A later state replaces an earlier one, and nobody's acknowledgement with it.
    let seen = Acknowledged { by: "ann".into(), at: Timestamp(9), note: "a drill".into() };
    assert!(acknowledge(&options.path, "canary-1-1", &seen).unwrap());
    assert!(!acknowledge(&options.path, "canary-1-9", &seen).unwrap());
    let closed = Incident { closed: Some(Timestamp(NOW + 9)), count: 8, ..incident(1) };
    store.settle(&mut [], std::slice::from_ref(&closed), &["canary-1-2".to_owned()], &place(8)).unwrap();
    let now = reader.incident("canary-1-1").unwrap().unwrap();
    assert_eq!(now, Incident { acknowledged: Some(seen), ..closed });
    assert_eq!(reader.incident("canary-1-2").unwrap(), None);
}

#[test]
fn a_question_narrows() {
    let (_directory, options, mut store) = store();
    let low = Incident { severity: Severity::Low, closed: Some(Timestamp(NOW + 9)), ..incident(1) };
    let ssh = Incident { service: "ssh".into(), source: "2001:db8::7".parse().ok(), ..incident(2) };
    let none =
        Incident { source: None, opened: Timestamp(NOW + 50), updated: Timestamp(NOW + 60), ..incident(3) };
    store.settle(&mut records(0..1), &[low, ssh, none], &[], &place(1)).unwrap();
    let reader = Reader::open(&options.path).unwrap();
    let found = |query: IncidentQuery| {
        let found = reader.incidents(&query).unwrap();
        assert_eq!(reader.count_incidents(&query).unwrap(), found.len() as u64);
        found.iter().map(|it| it.seq).collect::<Vec<_>>()
    };
    let all = IncidentQuery::default;
    assert_eq!(found(IncidentQuery { open: Some(true), ..all() }), [3, 2]);
    assert_eq!(found(IncidentQuery { open: Some(false), ..all() }), [1]);
    assert!(found(IncidentQuery { acknowledged: Some(true), ..all() }).is_empty());
    assert_eq!(found(IncidentQuery { min_severity: Some(Severity::Medium), ..all() }), [3, 2]);
    assert_eq!(found(IncidentQuery { services: vec!["ssh".into(), "x".into()], ..all() }), [2]);
    assert_eq!(found(IncidentQuery { sources: vec!["192.0.2.0/24".parse().unwrap()], ..all() }), [1]);
    assert_eq!(found(IncidentQuery { sources: vec!["2001:db8::/32".parse().unwrap()], ..all() }), [2]);
    assert_eq!(found(IncidentQuery { since: Some(Timestamp(NOW + 6)), ..all() }), [3]);
    assert_eq!(found(IncidentQuery { until: Some(Timestamp(NOW + 6)), before: Some(2), ..all() }), [1]);
}

#[test]
fn a_store_from_before_incidents_opens() {
    let (_directory, options, mut store) = store();
    store.append(&mut records(0..3), &[place(2)]).unwrap();
    drop(store);
    // What the first format was.
    let old = Connection::open(&options.path).unwrap();
    old.execute_batch(
        "DROP TABLE incidents; UPDATE counters SET value = 1 WHERE name = 'format'; PRAGMA user_version = 1;",
    )
    .unwrap();
    drop(old);
    let reader = Reader::open(&options.path).unwrap();
    assert_eq!(reader.incidents(&IncidentQuery::default()).unwrap(), []);
    assert_eq!(reader.count_incidents(&IncidentQuery::default()).unwrap(), 0);
    let seen = Acknowledged { by: "ann".into(), at: Timestamp(9), note: String::new() };
    assert!(!acknowledge(&options.path, "canary-1-1", &seen).unwrap());
    drop(reader);

    let (mut store, opened) = Store::open(&options).unwrap();
    assert_eq!((opened.alarm(), opened.last_seq), (None, 3));
    store.settle(&mut records(3..4), &[incident(4)], &[], &place(4)).unwrap();
    let reader = Reader::open(&options.path).unwrap();
    assert_eq!(reader.after(0, 10).unwrap().len(), 4);
    assert_eq!(reader.incidents(&IncidentQuery::default()).unwrap(), [incident(4)]);
}

#[test]
fn closed_incidents_go_when_they_are_old() {
    let (_directory, options, mut store) = store();
    let old = Incident { closed: Some(Timestamp(NOW)), ..incident(1) };
    let young = Incident { closed: Some(Timestamp(NOW + 10_000_000)), ..incident(2) };
    store.settle(&mut records(0..1), &[old, young.clone(), incident(3)], &[], &place(1)).unwrap();
    let keep = Retention { keep: Duration::MAX, keep_counts: Duration::from_secs(5), max_bytes: u64::MAX };
    let swept = store.retain(&keep, Timestamp(NOW + 12_000_000), u64::MAX).unwrap();
    assert_eq!(swept.incidents, 1);
    let reader = Reader::open(&options.path).unwrap();
    assert_eq!(reader.incidents(&IncidentQuery::default()).unwrap(), [incident(3), young]);
}

#[test]
fn incidents_are_saved_from_a_damaged_store() {
    let (_directory, options, mut store) = store();
    store.settle(&mut records(0..1), &[incident(1)], &[], &place(1)).unwrap();
    let seen = Acknowledged { by: "ann".into(), at: Timestamp(9), note: String::new() };
    assert!(acknowledge(&options.path, "canary-1-1", &seen).unwrap());
    drop(store);
    let (_store, opened) = Store::replace(&options, "on purpose").unwrap();
    assert!(opened.alarm().is_some());
    let reader = Reader::open(&options.path).unwrap();
    let kept = reader.incident("canary-1-1").unwrap().unwrap();
    assert_eq!(kept, Incident { acknowledged: Some(seen), ..incident(1) });
    assert!(matches!(
        acknowledge(&options.path.with_file_name("none.db"), "x", kept.acknowledged.as_ref().unwrap()),
        Err(Error::Missing { .. })
    ));
}
