//! What was appended is there, in order and once.

use super::{record, records, store};
use crate::{Error, Found, Reader, ReaderState, Store};
use serin_event::{Endpoint, Record, Timestamp, kinds};

#[test]
fn records_come_back_as_they_went_in_and_numbered_without_gaps() {
    let (_directory, options, mut store) = store();
    let mut first = records(0..3);
    first[1] = Record {
        utc_offset: 0,
        session: u64::MAX,
        kind: &kinds::HTTP_GET,
        source: Endpoint { host: "2001:db8::1".parse().ok(), port: None },
        target: Endpoint::default(),
        honeycred: Some(true),
        details: "{\"METHOD\": \"GET\"}".into(),
        ..record(9)
    };
    first[2].honeycred = Some(false);
    store.append(&mut first, &[]).unwrap();
    assert_eq!(first.iter().map(|it| it.seq).collect::<Vec<_>>(), [1, 2, 3]);

    let reader = Reader::open(&options.path).unwrap();
    assert_eq!(reader.after(0, 10).unwrap(), first);
    assert_eq!(reader.after(1, 1).unwrap(), first[1..2]);

    // Names that came up after the reader was opened.
    let mut more = vec![Record { kind: &kinds::TELNET_LOGIN, node_id: "canary-2".into(), ..record(4) }];
    store.append(&mut more, &[]).unwrap();
    assert_eq!(reader.after(3, 10).unwrap(), more);
    assert_eq!(reader.get(4).unwrap().unwrap(), more[0]);

    drop(store);
    let (store, opened) = Store::open(&options).unwrap();
    assert_eq!(opened.alarm(), None);
    assert_eq!((opened.found, opened.last_seq, opened.lost), (Found::Existing { clean: true }, 4, 0));
    assert_eq!(store.last_seq(), 4);
}

#[test]
fn readers_states_are_kept_with_the_batch() {
    let (_directory, options, mut store) = store();
    let state = |cursor| ReaderState {
        name: "webhook".to_owned(),
        cursor,
        status: "{\"state\": \"ok\"}".to_owned(),
        updated: Timestamp(5),
    };
    store.append(&mut records(0..5), &[state(2)]).unwrap();
    store.save_readers(&[state(5)]).unwrap();
    let reader = Reader::open(&options.path).unwrap();
    assert_eq!(reader.readers().unwrap(), [state(5)]);
    assert!(store.remove_reader("webhook").unwrap());
    assert_eq!(reader.readers().unwrap(), []);
}

#[test]
fn a_second_writer_is_refused_and_told_who_has_it() {
    let (_directory, options, mut store) = store();
    store.append(&mut records(0..1), &[]).unwrap();
    match Store::open(&options) {
        Err(Error::Locked { pid, .. }) => assert_eq!(pid, Some(std::process::id())),
        other => panic!("{other:?}"),
    }
    drop(store);
    assert!(Store::open(&options).is_ok());
}

#[test]
fn its_files_are_for_the_owner_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let (directory, _options, mut store) = store();
    store.append(&mut records(0..1), &[]).unwrap();
    let mut names = Vec::new();
    for entry in std::fs::read_dir(directory.path()).unwrap() {
        let entry = entry.unwrap();
        assert_eq!(entry.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{entry:?}");
        names.push(entry.file_name().into_string().unwrap());
    }
    names.sort();
    assert_eq!(names, ["serin.db", "serin.db-shm", "serin.db-wal", "serin.db.mark"]);
}

#[test]
fn both_ends_can_move_to_threads_of_their_own() {
    fn is_send<T: Send>(_: &T) {}
    let (_directory, options, store) = store();
    is_send(&store);
    is_send(&Reader::open(&options.path).unwrap());
}

#[test]
fn there_is_nothing_to_read_before_the_first_start() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("serin.db");
    assert!(matches!(Reader::open(&path), Err(Error::Missing { .. })));
    assert!(!path.exists(), "reading makes nothing");
}
