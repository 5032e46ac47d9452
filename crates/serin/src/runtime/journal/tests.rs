//! The journal against a store that fails, is damaged, is full or not there.

use super::*;
use serin_event::{Endpoint, Event, Tainted, kinds};

use crate::runtime::clock;

fn record(marker: &str) -> Record {
    let event = Event::new(&kinds::FTP_LOGIN)
        .with("USERNAME", Tainted::new(marker.as_bytes(), 64))
        .with("PASSWORD", Tainted::new(b"x", 64));
    Record {
        seq: 0,
        time: clock::now(),
        utc_offset: 0,
        node_id: "n".into(),
        session: 1,
        kind: event.kind,
        source: Endpoint::default(),
        target: Endpoint::default(),
        honeycred: None,
        logdata: event.logdata().into(),
        details: "{}".into(),
    }
}

fn open(path: &Path) -> Journal {
    let (journal, alarm) = Journal::start(Options::new(path), "n".into()).unwrap();
    assert_eq!(alarm, None);
    journal
}

/// One whose writer has no thread.
fn assemble(path: &Path) -> (Journal, Writer, mpsc::Receiver<Command>) {
    let (journal, writer, queue, _) = Journal::assemble(Options::new(path), "n".into()).unwrap();
    (journal, writer, queue)
}

fn write(writer: &mut Writer, records: impl IntoIterator<Item = Record>) {
    records.into_iter().for_each(|it| writer.line_up(it));
    writer.write();
}

async fn until_stored(journal: &Journal, seq: u64) {
    journal.stored().wait_for(|it| *it >= seq).await.unwrap();
}

#[tokio::test]
async fn what_is_appended_is_durable_before_readers_see_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("serin.db");
    let journal = open(&path);
    for number in 0..2500 {
        journal.append(record(&format!("u{number}"))).await;
    }
    until_stored(&journal, 2500).await;
    let stored = serin_store::Reader::open(&path).unwrap().after(0, 5000).unwrap();
    assert_eq!(stored.iter().map(|it| it.seq).collect::<Vec<_>>(), (1..=2500).collect::<Vec<_>>());
    let seen = journal.after(2490, 100).await;
    assert_eq!(seen.iter().map(|it| it.seq).collect::<Vec<_>>(), (2491..=2500).collect::<Vec<_>>());
    journal.stop().await;
}

#[tokio::test]
async fn a_reader_far_behind_is_served_from_disk() {
    let folder = tempfile::tempdir().unwrap();
    let journal = open(&folder.path().join("serin.db"));
    let count = u64::try_from(TAIL).unwrap() + 500;
    for number in 0..count {
        journal.append(record(&format!("u{number}"))).await;
    }
    until_stored(&journal, count).await;
    assert!(journal.warm(0, 10).is_none(), "the tail kept more than it may");
    let first = journal.after(0, 10).await;
    assert_eq!(first.iter().map(|it| it.seq).collect::<Vec<_>>(), (1..=10).collect::<Vec<_>>());
    journal.stop().await;
}

#[tokio::test]
async fn positions_survive_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("serin.db");
    let journal = open(&path);
    assert_eq!(journal.cursor("file"), Ok(None));
    journal.append(record("a")).await;
    until_stored(&journal, 1).await;
    let state =
        ReaderState { name: "file".to_owned(), cursor: 1, status: "{}".to_owned(), updated: clock::now() };
    journal.advance(state);
    assert_eq!(journal.cursor("file"), Ok(Some(1)));
    journal.stop().await;
    drop(journal);
    let journal = open(&path);
    assert_eq!(journal.cursor("file"), Ok(Some(1)));
    assert_eq!(*journal.stored().borrow(), 1);
    journal.stop().await;
}

#[test]
fn a_damaged_database_is_replaced_and_told() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("serin.db");
    let (journal, mut writer, _queue) = assemble(&path);
    write(&mut writer, [record("before")]);
    writer.replace("its pages do not fit");
    write(&mut writer, [record("after")]);
    let stored = *journal.stored().borrow();
    let lines: Vec<String> = journal.warm(0, 10).unwrap_or_default().iter().map(|it| it.line()).collect();
    assert_eq!(stored, 3, "{lines:?}");
    assert!(lines.iter().any(|it| it.contains("its pages do not fit")), "{lines:?}");
    assert!(lines.last().unwrap().contains("after"), "{lines:?}");
}

#[test]
fn while_nothing_can_be_written_events_wait_and_losses_are_counted() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("serin.db");
    let (journal, mut writer, _queue) = assemble(&path);
    // As after a damage that cannot be repaired either.
    writer.store = None;
    writer.options.path = folder.path().join("no such folder/serin.db");
    write(&mut writer, (0..WAITING + 7).map(|it| record(&format!("u{it}"))));
    assert!(journal.health().trouble.is_some());
    assert_eq!((journal.health().waiting, journal.health().lost), (WAITING, 7));
    assert_eq!(*journal.stored().borrow(), 0);

    writer.options.path = path;
    writer.retry_at = None;
    writer.write();
    writer.retry_at = None;
    writer.write();
    assert!(journal.health().trouble.is_none());
    let last = journal.warm(u64::try_from(WAITING).unwrap() - 5, 100).unwrap();
    let told = last.last().unwrap().line();
    assert!(told.contains("7 events were lost") && told.contains("7 ftp.login"), "{told}");
    assert_eq!(journal.health().waiting, 0);
}

fn long(marker: &str) -> Record {
    Record { logdata: format!("{{\"USERNAME\": \"{marker}{}\"}}", "x".repeat(15_000)).into(), ..record("") }
}

fn state(name: &str, cursor: u64) -> ReaderState {
    ReaderState { name: name.to_owned(), cursor, status: "{}".to_owned(), updated: clock::now() }
}

/// What is in the database, as text.
fn on_disk(path: &Path) -> Vec<String> {
    let stored = serin_store::Reader::open(path).unwrap().after(0, 100_000).unwrap();
    stored.iter().map(Record::line).collect()
}

/// How many databases; SQLite may have files of its own beside them.
fn moved_aside(folder: &Path) -> usize {
    let names = std::fs::read_dir(folder).unwrap().map(|it| it.unwrap().file_name());
    let names = names.map(|it| it.to_string_lossy().into_owned());
    names.filter(|it| it.contains(".corrupt-") && !it.ends_with("-wal") && !it.ends_with("-shm")).count()
}

#[test]
fn a_store_that_cannot_be_opened_at_the_start_is_opened_later_and_not_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("serin.db");
    let (journal, mut writer, queue) = assemble(&path);
    write(&mut writer, ["a", "b", "c"].map(record));
    journal.advance(state("file", 2));
    writer.save_readers();
    drop((journal, writer, queue));
    let away = folder.path().join("away");
    std::fs::rename(&path, &away).unwrap();
    // As SQLite fails on a disk without room for its log: "unable to open".
    std::fs::create_dir(&path).unwrap();

    let (journal, mut writer, _queue, alarm) = Journal::assemble(Options::new(&path), "n".into()).unwrap();
    assert!(alarm.is_some_and(|it| it.contains("wait in memory")));
    write(&mut writer, [record("d")]);
    assert!(journal.health().trouble.is_some());
    assert_eq!((journal.health().waiting, journal.began()), (1, None));
    assert!(journal.cursor("file").is_err(), "not known is not new");

    std::fs::remove_dir(&path).unwrap();
    std::fs::rename(&away, &path).unwrap();
    writer.retry_at = None;
    writer.write();
    assert_eq!((journal.health().trouble, journal.health().waiting, journal.health().lost), (None, 0, 0));
    assert_eq!((journal.began(), *journal.stored().borrow()), (Some(3), 4));
    assert_eq!((journal.cursor("file"), journal.cursor("new")), (Ok(Some(2)), Ok(None)));
    assert_eq!((on_disk(&path).len(), moved_aside(folder.path())), (4, 0));
}

#[test]
fn a_store_that_is_in_use_ends_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("serin.db");
    let (_journal, _writer, _queue) = assemble(&path);
    assert!(Journal::assemble(Options::new(&path), "n".into()).is_err());
}

#[test]
fn a_store_that_opens_with_nothing_to_write_is_well_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("serin.db");
    std::fs::create_dir(&path).unwrap();
    let (journal, mut writer, _queue) = assemble(&path);
    std::fs::remove_dir(&path).unwrap();
    writer.retry_at = None;
    writer.write();
    assert_eq!((journal.health().trouble, journal.began()), (None, Some(0)));
}

#[test]
fn a_forgotten_reader_holds_nothing_up_and_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("serin.db");
    let (journal, mut writer, _queue) = assemble(&path);
    write(&mut writer, (0..10).map(|it| record(&it.to_string())));
    journal.advance(state("gone", 3));
    journal.advance(state("file", 8));
    writer.save_readers();
    let old = Retention { keep: Duration::ZERO, keep_counts: Duration::ZERO, max_bytes: u64::MAX };
    writer.retire(old);
    assert_eq!(on_disk(&path).len(), 7, "one reader is not past them");
    journal.forget("gone");
    // A last word of it, which does not bring it back.
    journal.advance(state("gone", 4));
    writer.retire(old);
    assert_eq!(on_disk(&path).len(), 2, "the other is past eight");
    writer.retire(Retention { max_bytes: 1, ..old });
    assert_eq!(on_disk(&path).len(), 0);
    let told = writer.waiting.take(10);
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].line().contains("output file lost 2 events"), "{told:?}");
    assert_eq!(journal.cursor("gone"), Ok(Some(4)), "it goes on where it stopped");
    assert_eq!(journal.shared.readers.lock().floor(), 4, "and counts again");
}

#[test]
fn what_a_dead_reader_misses_is_told_once_however_long_the_deletion_takes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("serin.db");
    let (journal, mut writer, _queue) = assemble(&path);
    write(&mut writer, (0..20_000).map(|it| record(&it.to_string())));
    journal.advance(state("dead", 5));
    journal.advance(state("file", 20_000));
    writer.save_readers();
    let tiny = Retention { keep: Duration::MAX, keep_counts: Duration::MAX, max_bytes: 1 };
    let mut steps = 0;
    while writer.waiting.is_empty() {
        writer.retire(tiny);
        steps += 1;
        assert!(steps < 10_000, "nothing is told");
    }
    assert!(steps > 1, "the deletion was not long enough to show anything");
    writer.retire(tiny);
    let told = writer.waiting.take(10);
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].line().contains("output dead lost 19995 events, 6 to 20000, from "), "{told:?}");
}

#[test]
fn two_who_meet_one_damage_replace_the_database_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("serin.db");
    let (journal, mut writer, _queue) = assemble(&path);
    write(&mut writer, [record("before")]);
    let seen = journal.shared.view.lock().generation;
    writer.damaged("its pages do not fit", seen);
    writer.damaged("its pages do not fit", seen);
    assert_eq!(moved_aside(folder.path()), 1);
    let seen = journal.shared.view.lock().generation;
    writer.damaged("another time", seen);
    assert_eq!(moved_aside(folder.path()), 2);
}

#[tokio::test]
async fn a_damage_that_only_others_see_is_mended_too() {
    use std::os::unix::fs::FileExt as _;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("serin.db");
    let (journal, _) = Journal::start(serin_store::Options::new(&path), "n".into()).unwrap();
    journal.append(record("before")).await;
    journal.flush().await;
    journal.inspect();
    journal.flush().await;
    assert_eq!(moved_aside(folder.path()), 0, "a whole one was taken for damaged");
    for part in ["serin.db", "serin.db-wal"] {
        let file = std::fs::OpenOptions::new().write(true).open(folder.path().join(part)).unwrap();
        file.write_all_at(&[0xa5; 8192], 0).unwrap();
    }
    journal.inspect();
    journal.append(record("after")).await;
    journal.flush().await;
    assert_eq!(moved_aside(folder.path()), 1);
    let kept = on_disk(&path);
    assert!(kept.iter().any(|it| it.contains("after")), "{kept:?}");
    journal.stop().await;
}

#[test]
fn a_gap_in_the_numbers_hides_nothing_from_readers() {
    let folder = tempfile::tempdir().unwrap();
    let (journal, mut writer, _queue) = assemble(&folder.path().join("serin.db"));
    write(&mut writer, ["a", "b", "c"].map(record));
    // After a power cut, or a damage, numbers that may have been used are passed over.
    writer.store = None;
    let mark = folder.path().join("serin.db.mark");
    let noted = std::fs::read_to_string(&mark).unwrap();
    std::fs::write(&mark, noted.replace("00003\n", "00500\n")).unwrap();
    writer.write();
    write(&mut writer, ["d", "e", "f"].map(record));
    let last = *journal.stored().borrow();
    assert!(last > 500, "{last}");
    let seqs = |after| -> Vec<u64> {
        let found = journal.warm(after, 10).unwrap_or_default();
        found.iter().filter(|it| it.kind.name == "ftp.login").map(|it| it.seq).collect()
    };
    assert_eq!(seqs(last - 2), [last - 1, last]);
    assert_eq!(seqs(2).first(), Some(&3));
}

#[tokio::test]
async fn what_is_held_in_memory_is_bounded_by_bytes_too() {
    let folder = tempfile::tempdir().unwrap();
    let (journal, mut writer, mut queue) = assemble(&folder.path().join("serin.db"));
    let one = ring::size(&long(""));
    let mut queued = 0;
    while tokio::time::timeout(Duration::from_millis(200), journal.append(long(""))).await.is_ok() {
        queued += 1;
        assert!(queued < QUEUE, "the queue takes them all");
    }
    assert_eq!(queued, QUEUE_BYTES / one);
    drop(queue.try_recv());
    let room = tokio::time::timeout(Duration::from_secs(10), journal.append(long("")));
    room.await.expect("room again");

    write(&mut writer, (0..1000).map(|_| long("")));
    assert_eq!(journal.shared.tail.lock().len(), TAIL_BYTES / one);
    writer.store = None;
    writer.retry_at = Some(std::time::Instant::now() + Duration::from_hours(1));
    write(&mut writer, (0..6000).map(|_| long("")));
    let fit = WAITING_BYTES / one;
    assert_eq!((journal.health().waiting, journal.health().lost), (fit, 6000 - fit as u64));
}

/// Until `done`; the once-a-second call is made more often.
async fn until(journal: &Journal, what: &str, done: impl Fn() -> bool) {
    let met = async {
        while !done() {
            journal.save();
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let patience = Duration::from_secs(30);
    assert!(tokio::time::timeout(patience, met).await.is_ok(), "{what}: {:?}", journal.health());
}

#[tokio::test]
async fn a_panic_in_the_writer_shows_and_costs_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("serin.db");
    let journal = open(&path);
    journal.append(record("before")).await;
    let _ = journal.commands.send(Command::Panic).await;
    journal.append(record("after")).await;
    let troubled = || journal.health().trouble.is_some_and(|it| it.contains("unexpected"));
    until(&journal, "trouble", troubled).await;
    until(&journal, "recovery", || journal.health().trouble.is_none()).await;
    journal.stop().await;
    let lines = on_disk(&path);
    for once in ["before", "after", "is opened anew"] {
        assert_eq!(lines.iter().filter(|it| it.contains(once)).count(), 1, "{once}: {lines:#?}");
    }
    assert_eq!(moved_aside(folder.path()), 0);
}

#[tokio::test]
async fn a_record_that_makes_the_writer_panic_is_given_up_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("serin.db");
    let (journal, mut writer, queue) = assemble(&path);
    writer.trap = |records| {
        assert!(!records.iter().any(|it| it.logdata.contains("poison")), "on purpose");
    };
    for marker in ["one", "two", "poison", "three", "four"] {
        journal.append(record(marker)).await;
    }
    thread::spawn(move || writer.run(queue));
    until(&journal, "the rest", || journal.health().lost == 1 && journal.health().waiting == 0).await;
    journal.stop().await;
    let lines = on_disk(&path);
    let told: Vec<_> = lines.iter().filter(|it| it.contains("1 events were lost")).collect();
    assert!(told.len() == 1 && told[0].contains("1 ftp.login"), "{lines:#?}");
    for once in ["one", "two", "three", "four"] {
        let marker = format!("\"USERNAME\": \"{once}\"");
        assert_eq!(lines.iter().filter(|it| it.contains(&marker)).count(), 1, "{once}: {lines:#?}");
    }
}

#[test]
fn what_was_committed_before_a_panic_is_not_stored_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("serin.db");
    let (journal, mut writer, _queue) = assemble(&path);
    writer.in_hand = vec![record("committed")];
    writer.store.as_mut().unwrap().append(&mut writer.in_hand, &[]).unwrap();
    writer.recover();
    assert_eq!(*journal.stored().borrow(), 0);
    writer.retry_at = None;
    writer.write();
    let lines = on_disk(&path);
    assert_eq!(lines.iter().filter(|it| it.contains("committed")).count(), 1, "{lines:#?}");
    assert!(journal.warm(0, 10).unwrap()[0].line().contains("committed"), "readers get it");
}

#[tokio::test]
async fn an_event_after_the_end_of_the_writer_is_counted_and_health_tells() {
    let folder = tempfile::tempdir().unwrap();
    let (journal, writer, queue) = assemble(&folder.path().join("serin.db"));
    assert_eq!(journal.health().trouble, None);
    drop((writer, queue));
    journal.append(record("late")).await;
    assert_eq!(journal.health().lost, 1);
    assert!(journal.health().trouble.is_some());
}

#[tokio::test]
async fn what_came_before_the_end_of_the_writer_is_stored() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("serin.db");
    let (journal, writer, queue) = assemble(&path);
    let (done, stopped) = oneshot::channel();
    journal.append(record("first")).await;
    let _ = journal.commands.send(Command::Stop(done)).await;
    journal.append(record("second")).await;
    thread::spawn(move || writer.run(queue));
    stopped.await.unwrap();
    assert_eq!((on_disk(&path).len(), journal.health().lost), (2, 0));
}

#[tokio::test]
async fn once_a_second_calls_do_not_wait_for_a_full_queue() {
    let folder = tempfile::tempdir().unwrap();
    let (journal, _writer, queue) = assemble(&folder.path().join("serin.db"));
    while journal.commands.try_send(Command::Save).is_ok() {}
    journal.save();
    journal.retire(Retention { keep: Duration::ZERO, keep_counts: Duration::ZERO, max_bytes: 0 });
    assert_eq!(queue.len(), QUEUE);
}

#[test]
fn a_cursor_that_cannot_be_read_is_not_one_that_is_not_there() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("serin.db");
    let (journal, mut writer, _queue) = assemble(&path);
    writer.store.as_mut().unwrap().save_readers(&[state("file", 0)]).unwrap();
    writer.write();
    let away = folder.path().join("away");
    std::fs::rename(&path, &away).unwrap();
    assert!(journal.cursor("file").is_err());
    std::fs::rename(&away, &path).unwrap();
    assert_eq!(journal.cursor("file"), Ok(Some(0)));
}
