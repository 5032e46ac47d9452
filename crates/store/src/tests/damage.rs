//! A damaged, truncated, foreign or full file: never a panic, never a silent loss.

use std::os::unix::fs::FileExt;
use std::path::Path;

use rusqlite::Connection;
use serin_event::{Record, Timestamp};

use super::{Dice, record, records, store};
use crate::mark::beside;
use crate::{DeadLetter, Error, Found, Options, Reader, ReaderState, Store};

const EVENTS: i64 = 3_000;

/// Files of a store that was closed, or of one that was killed and has its last events in the log.
struct Made {
    _directory: tempfile::TempDir,
    options: Options,
    all: Vec<Record>,
    /// Contents by the ending of the name.
    files: Vec<(&'static str, Vec<u8>)>,
}

impl Made {
    fn new(killed: bool) -> Self {
        let (directory, options, mut store) = store();
        let mut all = records(0..EVENTS);
        let reader =
            ReaderState { name: "webhook".into(), cursor: 2_000, status: "{}".into(), updated: Timestamp(1) };
        for batch in all.chunks_mut(100) {
            store.append(batch, std::slice::from_ref(&reader)).unwrap();
        }
        let files = |endings: &[&'static str]| {
            endings.iter().map(|it| (*it, std::fs::read(beside(&options.path, it)).unwrap())).collect()
        };
        let files = if killed {
            files(&["", "-wal", ".mark"])
        } else {
            drop(store);
            files(&["", ".mark"])
        };
        Self { _directory: directory, options, all, files }
    }

    /// A new directory with these files, after `change` had its way with them.
    fn copy(&self, change: impl FnOnce(&Path)) -> (tempfile::TempDir, Options) {
        let directory = tempfile::tempdir().unwrap();
        let options = Options { path: directory.path().join("serin.db"), ..self.options.clone() };
        for (ending, bytes) in &self.files {
            std::fs::write(beside(&options.path, ending), bytes).unwrap();
        }
        change(&options.path);
        (directory, options)
    }

    /// Opens what is there as a sensor would, and returns the records and whether a loss was told;
    /// nothing if it is refused.
    fn open(&self, options: &Options) -> Option<(Vec<Record>, bool)> {
        let (mut store, mut opened) = match Store::open(options) {
            Err(Error::Foreign { .. } | Error::TooNew { .. }) => return None,
            opened => opened.unwrap(),
        };
        let mut next = [record(0)];
        let used = Reader::open(&options.path)
            .and_then(|it| it.after(0, usize::MAX))
            .and_then(|records| store.append(&mut next, &[]).map(|()| records));
        let records = match used {
            Ok(records) => records,
            Err(Error::Corrupt { reason, .. }) => {
                drop(store);
                (store, opened) = Store::replace(options, &reason).unwrap();
                let records = Reader::open(&options.path).unwrap().after(0, usize::MAX).unwrap();
                store.append(&mut next, &[]).unwrap();
                records
            }
            Err(other) => panic!("{other}"),
        };
        // Whatever happened, the store works, and no number is used twice.
        assert_eq!(next[0].seq, store.last_seq());
        assert!(next[0].seq > self.all.len() as u64, "{}", next[0].seq);
        Some((records, opened.lost > 0 || matches!(opened.found, Found::MovedAside { .. })))
    }

    fn flip_and_open(&self, ending: &str, dice: &mut Dice, what: &mut Tally) {
        let length = self.files.iter().find(|it| it.0 == ending).unwrap().1.len() as u64;
        let at = if dice.below(4) == 0 { dice.below(300.min(length)) } else { dice.below(length) };
        let bits = u8::try_from(1 + dice.below(255)).unwrap();
        let (_directory, options) = self.copy(|path| {
            let file = std::fs::File::options().read(true).write(true).open(beside(path, ending)).unwrap();
            let mut byte = [0];
            file.read_exact_at(&mut byte, at).unwrap();
            file.write_all_at(&[byte[0] ^ bits], at).unwrap();
        });
        let Some((records, told)) = self.open(&options) else {
            what.refused += 1;
            return;
        };
        let seqs: Vec<u64> = records.iter().map(|it| it.seq).collect();
        let complete = seqs.iter().copied().eq(1..=self.all.len() as u64);
        assert!(
            complete || told,
            "byte {at} of {ending:?} ^ {bits}: {} events and nobody is told",
            seqs.len()
        );
        what.moved += usize::from(told);
        // At most the one record in which the byte lies is another one.
        let differ = records.iter().zip(&self.all).filter(|(a, b)| a != b).count();
        assert!(told || differ <= 1, "byte {at} of {ending:?} ^ {bits}: {differ} records differ");
        what.salvaged += records.len();
    }
}

#[derive(Debug, Default)]
struct Tally {
    refused: usize,
    moved: usize,
    salvaged: usize,
}

#[test]
fn flipped_bytes_are_read_over_or_told() {
    let mut dice = Dice(4711);
    let mut what = Tally::default();
    let made = Made::new(false);
    for _ in 0..100 {
        made.flip_and_open("", &mut dice, &mut what);
    }
    assert!(what.moved > 10 && what.refused < 10, "{what:?}");
    assert!(what.salvaged > 100 * 2_000, "most can still be read: {what:?}");

    let mut what = Tally::default();
    let made = Made::new(true);
    for _ in 0..60 {
        made.flip_and_open("-wal", &mut dice, &mut what);
    }
    assert!(what.moved > 10, "a damaged log loses its end, which must be told: {what:?}");
}

#[test]
fn truncated_files_are_read_over_or_told() {
    let mut dice = Dice(42);
    for killed in [false, true] {
        let made = Made::new(killed);
        for _ in 0..15 {
            let ending = if killed { "-wal" } else { "" };
            let length = made.files.iter().find(|it| it.0 == ending).unwrap().1.len() as u64;
            let (_directory, options) = made.copy(|path| {
                let file = std::fs::File::options().write(true).open(beside(path, ending)).unwrap();
                file.set_len(1 + dice.below(length - 1)).unwrap();
            });
            let (records, told) = made.open(&options).unwrap();
            assert!(told || records.len() == made.all.len());
        }
    }
}

#[test]
fn a_damaged_store_is_kept_aside_and_what_it_holds_is_saved() {
    let made = Made::new(false);
    let (directory, options) = made.copy(|path| {
        // A page in the middle, of all zeros.
        let file = std::fs::File::options().write(true).open(path).unwrap();
        let page = file.metadata().unwrap().len() / 8192 * 4096;
        file.write_all_at(&[0; 4096], page).unwrap();
    });
    let (store, opened) = Store::open(&options).unwrap();
    let alarm = opened.alarm().unwrap();
    assert!(alarm.contains("was damaged (") && alarm.contains("serin.db.corrupt-"), "{alarm}");
    let Found::MovedAside { to, salvaged, cursors, .. } = opened.found else { panic!("{:?}", opened.found) };
    assert!(to.starts_with(directory.path()) && to.exists());
    assert!(to.file_name().unwrap().to_str().unwrap().starts_with("serin.db.corrupt-20"), "{to:?}");
    assert!(cursors && salvaged > 2_900 && salvaged < 3_000, "{salvaged}");

    let reader = Reader::open(&options.path).unwrap();
    assert_eq!(reader.readers().unwrap()[0].cursor, 2_000);
    let records = reader.after(0, usize::MAX).unwrap();
    assert_eq!(records.len() as u64, salvaged);
    for record in &records {
        assert_eq!(record, &made.all[usize::try_from(record.seq).unwrap() - 1]);
    }
    assert_eq!(reader.stats().unwrap().events, salvaged);
    drop(store);
    assert_eq!(Store::open(&options).unwrap().1.found, Found::Existing { clean: true });
}

#[test]
fn a_store_can_be_replaced_while_readers_look_at_it() {
    let (_directory, options, mut store) = store();
    let mut all = records(0..700);
    store.append(&mut all, &[]).unwrap();
    let old = Reader::open(&options.path).unwrap();
    drop(store);
    let (store, opened) = Store::replace(&options, "a page was bad").unwrap();
    let Found::MovedAside { salvaged, reason, .. } = opened.found else { panic!("{:?}", opened.found) };
    assert_eq!((salvaged, reason.as_str()), (700, "a page was bad"));
    assert_eq!(old.after(0, 999).unwrap(), all);
    assert_eq!(Reader::open(&options.path).unwrap().after(0, 999).unwrap(), all);

    // Half-way through a replacement the disk was full: there is an empty file, and nothing to keep.
    drop((store, old));
    std::fs::write(&options.path, "").unwrap();
    let (_store, opened) = Store::replace(&options, "no database").unwrap();
    assert_eq!(opened.found, Found::Fresh);
}

#[test]
fn no_number_is_used_again_when_the_database_is_gone_or_old() {
    let made = Made::new(false);
    let (_directory, options) = made.copy(|path| std::fs::remove_file(path).unwrap());
    let (store, opened) = Store::open(&options).unwrap();
    assert_eq!(opened.alarm().unwrap(), "the event database is gone, and with it up to 3000 events");
    assert_eq!((opened.found, opened.last_seq, opened.lost), (Found::Fresh, 3_000, 3_000));
    drop(store);

    // The database of yesterday, the mark of today.
    let yesterday = made.copy(|_| ());
    let (mut store, _) = Store::open(&yesterday.1).unwrap();
    store.append(&mut records(0..500), &[]).unwrap();
    drop(store);
    std::fs::write(&yesterday.1.path, &made.files[0].1).unwrap();
    let (store, opened) = Store::open(&yesterday.1).unwrap();
    assert_eq!((opened.last_seq, opened.lost), (3_500, 500));
    assert_eq!(opened.alarm().unwrap(), "the newest 500 events of the event database are gone");
    assert_eq!(store.last_seq(), 3_500);
}

#[test]
fn without_its_mark_a_store_still_opens() {
    let made = Made::new(true);
    let (_directory, options) = made.copy(|path| std::fs::write(beside(path, ".mark"), "nonsense").unwrap());
    let (store, opened) = Store::open(&options).unwrap();
    assert_eq!((opened.found, opened.last_seq), (Found::Existing { clean: false }, 3_000));
    drop(store);
}

#[test]
fn databases_that_are_not_for_us_are_refused_and_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let options = Options::new(directory.path().join("serin.db"));
    let other = Connection::open(&options.path).unwrap();
    other.execute_batch("CREATE TABLE places (url TEXT); PRAGMA application_id = 7").unwrap();
    drop(other);
    let before = std::fs::read(&options.path).unwrap();
    let error = Store::open(&options).unwrap_err();
    assert!(
        error
            .to_string()
            .ends_with("is a database of another program; move it away or choose another state directory"),
        "{error}"
    );
    assert_eq!(std::fs::read(&options.path).unwrap(), before);
    assert!(matches!(Reader::open(&options.path), Err(Error::Foreign { .. })));

    let (_directory, options, store) = store();
    drop(store);
    let newer = Connection::open(&options.path).unwrap();
    newer
        .execute_batch("PRAGMA user_version = 99; UPDATE counters SET value = 99 WHERE name = 'format'")
        .unwrap();
    drop(newer);
    let error = Store::open(&options).unwrap_err();
    assert!(matches!(error, Error::TooNew { found: 99, known: 2, .. }), "{error}");
    assert!(matches!(Reader::open(&options.path), Err(Error::TooNew { .. })));
}

#[test]
fn a_full_disk_stores_nothing_of_a_batch_and_goes_on_when_there_is_room() {
    let (_directory, options, mut store) = store();
    store.append(&mut records(0..100), &[]).unwrap();
    let pages: i64 = store.connection.query_row("PRAGMA page_count", (), |row| row.get(0)).unwrap();
    store.connection.pragma_update(None, "max_page_count", pages + 3).unwrap();
    let mut batch = records(100..1_000);
    for _ in 0..3 {
        assert!(matches!(store.append(&mut batch, &[]), Err(Error::Full { .. })));
        assert!(batch.iter().all(|it| it.seq == 0));
        assert_eq!(store.last_seq(), 100);
    }
    let reader = Reader::open(&options.path).unwrap();
    assert_eq!(reader.after(0, usize::MAX).unwrap().len(), 100);
    store.connection.pragma_update(None, "max_page_count", 1_000_000).unwrap();
    store.append(&mut batch, &[]).unwrap();
    assert_eq!(batch[0].seq, 101);
    assert_eq!(reader.after(0, usize::MAX).unwrap()[100..], batch);
    assert_eq!(reader.stats().unwrap().events, 1_000);
}

#[test]
fn a_kind_that_this_version_does_not_know_is_read_all_the_same() {
    let (_directory, options, mut store) = store();
    store.append(&mut records(0..2), &[]).unwrap();
    store
        .connection
        .execute_batch("UPDATE kinds SET name = 'teapot.brew', logtype = 30001, ports = 'text'")
        .unwrap();
    let read = Reader::open(&options.path).unwrap().after(0, 10).unwrap();
    assert_eq!(read.len(), 2);
    assert_eq!(
        (read[0].kind.name, read[0].kind.service, read[0].kind.logtype),
        ("teapot.brew", "teapot", 30001)
    );
    assert!(read[0].line().contains("\"logtype\": 30001"));
}

#[test]
fn dead_letters_are_kept_until_they_are_taken_back() {
    let (_directory, options, mut store) = store();
    store.append(&mut records(0..5), &[]).unwrap();
    let letter = |seq, reason: &str| DeadLetter {
        reader: "webhook".into(),
        seq,
        time: Timestamp(7),
        reason: reason.into(),
    };
    store.bury(&[letter(4, "400 Bad Request"), letter(2, "413")]).unwrap();
    store.bury(&[letter(4, "422")]).unwrap();
    let reader = Reader::open(&options.path).unwrap();
    assert_eq!(reader.dead_letters("webhook", 10).unwrap(), [letter(2, "413"), letter(4, "422")]);
    assert_eq!(reader.dead_letters("file", 10).unwrap(), []);
    assert_eq!(store.unbury("webhook", &[2, 3]).unwrap(), 1);
    assert_eq!(reader.dead_letters("webhook", 10).unwrap(), [letter(4, "422")]);

    let many: Vec<_> = (10..10_020).map(|seq| letter(seq, "400")).collect();
    store.bury(&many).unwrap();
    let kept = reader.dead_letters("webhook", usize::MAX).unwrap();
    assert_eq!((kept.len(), kept[0].seq), (10_000, 20));
}
