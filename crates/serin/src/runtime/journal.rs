//! Between whoever records and whoever reads: one writer thread, group commit, a warm tail.
//!
//! What waits is written in one transaction; a record is handed to readers only after it is
//! durable. While the store cannot write (full disk, damaged file), records wait in a bounded ring,
//! detection goes on, and what is lost is counted by kind and told as one event.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use serin_event::{Event, Record, Tainted, Timestamp, Value, kinds};
use serin_store::{DeadLetter, ReaderState, Retention, Store};
use tokio::sync::{mpsc, oneshot, watch};

use super::clock;

/// The way into the store and out of it again. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Journal {
    shared: Arc<Shared>,
    commands: mpsc::Sender<Command>,
}

struct Shared {
    tail: Mutex<VecDeque<Arc<Record>>>,
    /// The last durable record's number.
    stored: watch::Sender<u64>,
    /// Readers' cursors and states that are not saved yet.
    readers: Mutex<HashMap<String, ReaderState>>,
    /// Whether a reader has moved since its state was saved: an idle sensor writes nothing.
    moved: AtomicBool,
    reader: Mutex<serin_store::Reader>,
    health: Mutex<Health>,
    path: PathBuf,
}

/// How the store is doing.
#[derive(Debug, Clone, Default)]
pub(crate) struct Health {
    /// Why nothing can be written at the moment.
    pub(crate) trouble: Option<String>,
    /// Records that wait for the store to write again.
    pub(crate) waiting: usize,
    /// Records lost since the start because the store could not write for too long.
    pub(crate) lost: u64,
    /// How long the last transaction took.
    pub(crate) last_commit: Duration,
}

enum Command {
    Append(Box<Record>),
    /// Write what waits, and the readers' cursors.
    Save,
    /// Delete what is too old or too much.
    Retire(Retention),
    Bury(DeadLetter),
    /// Somebody who read found the database damaged.
    Damaged(String),
    /// Answer when all before this is durable, or cannot be.
    Flush(oneshot::Sender<()>),
    Stop(oneshot::Sender<()>),
}

/// What the writer thread starts with.
pub(crate) struct Opened {
    pub(crate) store: Store,
    pub(crate) reader: serin_store::Reader,
    pub(crate) options: serin_store::Options,
    /// For the one event about lost records.
    pub(crate) node_id: Arc<str>,
}

impl Journal {
    /// Starts the writer thread.
    pub(crate) fn start(opened: Opened) -> std::io::Result<Self> {
        let (journal, mut writer, queue) = Self::assemble(opened);
        thread::Builder::new().name("store".to_owned()).spawn(move || writer.run(queue))?;
        Ok(journal)
    }

    fn assemble(opened: Opened) -> (Self, Writer, mpsc::Receiver<Command>) {
        let last = opened.store.last_seq();
        let (commands, queue) = mpsc::channel(QUEUE);
        let shared = Arc::new(Shared {
            tail: Mutex::new(VecDeque::with_capacity(TAIL)),
            stored: watch::Sender::new(last),
            readers: Mutex::default(),
            moved: AtomicBool::new(false),
            reader: Mutex::new(opened.reader),
            health: Mutex::default(),
            path: opened.options.path.clone(),
        });
        let writer = Writer {
            store: Some(opened.store),
            options: opened.options,
            node_id: opened.node_id,
            shared: shared.clone(),
            waiting: VecDeque::new(),
            lost: BTreeMap::new(),
            retry_at: None,
            failures: 0,
            more_to_retire: None,
        };
        (Self { shared, commands }, writer, queue)
    }

    /// Hands a record to the store. Waits only when the queue is full, which slows down the one
    /// peer whose event it is.
    pub(crate) async fn append(&self, record: Record) {
        // The writer ends only when the sensor stops.
        let _ = self.commands.send(Command::Append(Box::new(record))).await;
    }

    /// Saves the readers' cursors; called once a second.
    pub(crate) async fn save(&self) {
        let _ = self.commands.send(Command::Save).await;
    }

    /// Deletes what is too old or too much, a little at a time.
    pub(crate) async fn retire(&self, retention: Retention) {
        let _ = self.commands.send(Command::Retire(retention)).await;
    }

    /// Up to `most` durable records after `seq`, in order.
    pub(crate) async fn after(&self, seq: u64, most: usize) -> Vec<Arc<Record>> {
        if let Some(warm) = self.warm(seq, most) {
            return warm;
        }
        let shared = self.shared.clone();
        let read = move || shared.reader.lock().after(seq, most);
        match tokio::task::spawn_blocking(read).await {
            Ok(Ok(records)) => records.into_iter().map(Arc::new).collect(),
            Ok(Err(error)) => {
                tracing::warn!(%error, "store cannot be read");
                if let serin_store::Error::Corrupt { .. } = error {
                    let _ = self.commands.send(Command::Damaged(error.to_string())).await;
                }
                tokio::time::sleep(RETRY_FIRST).await;
                Vec::new()
            }
            Err(_) => Vec::new(),
        }
    }

    /// From memory, where all that follows `seq` is still there.
    fn warm(&self, seq: u64, most: usize) -> Option<Vec<Arc<Record>>> {
        if *self.shared.stored.borrow() <= seq {
            return Some(Vec::new());
        }
        let tail = self.shared.tail.lock();
        let first = tail.front()?.seq;
        if first > seq + 1 {
            return None;
        }
        let skip = usize::try_from((seq + 1).saturating_sub(first)).unwrap_or(usize::MAX);
        Some(tail.iter().skip(skip).take(most).cloned().collect())
    }

    /// Tells the last durable record's number whenever it grows.
    pub(crate) fn stored(&self) -> watch::Receiver<u64> {
        self.shared.stored.subscribe()
    }

    /// Where a reader stands; `None`: it is new.
    pub(crate) fn cursor(&self, reader: &str) -> Option<u64> {
        if let Some(state) = self.shared.readers.lock().get(reader) {
            return Some(state.cursor);
        }
        let saved = self.shared.reader.lock().readers();
        saved.ok()?.into_iter().find(|it| it.name == reader).map(|it| it.cursor)
    }

    /// Notes where a reader stands; it is saved with the next batch or within a second.
    pub(crate) fn advance(&self, state: ReaderState) {
        self.shared.readers.lock().insert(state.name.clone(), state);
        self.shared.moved.store(true, Ordering::Relaxed);
    }

    /// Puts a record aside that a reader can never use.
    pub(crate) async fn bury(&self, letter: DeadLetter) {
        let _ = self.commands.send(Command::Bury(letter)).await;
    }

    /// How the store is doing.
    pub(crate) fn health(&self) -> Health {
        self.shared.health.lock().clone()
    }

    /// The database file.
    pub(crate) fn path(&self) -> &std::path::Path {
        &self.shared.path
    }

    /// Returns when everything appended so far is durable, as far as the store can write at all.
    pub(crate) async fn flush(&self) {
        let (done, flushed) = oneshot::channel();
        if self.commands.send(Command::Flush(done)).await.is_ok() {
            let _ = flushed.await;
        }
    }

    /// Writes what waits, and ends the writer.
    pub(crate) async fn stop(&self) {
        let (done, stopped) = oneshot::channel();
        if self.commands.send(Command::Stop(done)).await.is_ok() {
            let _ = stopped.await;
        }
    }
}

struct Writer {
    /// `None` while a damaged database cannot be replaced either.
    store: Option<Store>,
    options: serin_store::Options,
    node_id: Arc<str>,
    shared: Arc<Shared>,
    /// Records that could not be written yet, oldest first.
    waiting: VecDeque<Record>,
    /// Records given up, by kind.
    lost: BTreeMap<&'static str, u64>,
    retry_at: Option<Instant>,
    failures: u32,
    /// A deletion that was left unfinished, so that appending does not wait for it.
    more_to_retire: Option<Retention>,
}

impl Writer {
    fn run(&mut self, mut queue: mpsc::Receiver<Command>) {
        let mut last_batch = 0;
        while let Some(command) = queue.blocking_recv() {
            // Under load, a little patience makes one transaction of many; a lone event goes at once.
            if last_batch > 1 {
                thread::sleep(GATHER);
            }
            let mut batch = Vec::with_capacity(last_batch.max(1));
            let (mut stop, mut save, mut flushed) = (None, false, Vec::new());
            let mut command = Some(command);
            while let Some(next) = command {
                match next {
                    Command::Append(record) => batch.push(*record),
                    Command::Save => save = true,
                    Command::Retire(retention) => self.retire(retention),
                    Command::Bury(letter) => self.bury(&letter),
                    Command::Damaged(reason) => self.replace(&reason),
                    Command::Flush(done) => flushed.push(done),
                    Command::Stop(done) => stop = Some(done),
                }
                command = if batch.len() < BATCH && stop.is_none() { queue.try_recv().ok() } else { None };
            }
            last_batch = batch.len();
            if stop.is_some() {
                // The last chance.
                self.retry_at = None;
            }
            self.write(batch);
            for done in flushed {
                let _ = done.send(());
            }
            if save || stop.is_some() {
                self.save_readers();
            }
            if let Some(retention) = self.more_to_retire.take() {
                self.retire(retention);
            }
            if let Some(done) = stop {
                // Closed before anybody hears of it: the next sensor may open it at once.
                self.store = None;
                let _ = done.send(());
                return;
            }
        }
    }

    /// Writes `batch` after whatever waits already.
    fn write(&mut self, batch: Vec<Record>) {
        if !batch.is_empty() {
            self.line_up(batch);
        }
        // While it cannot write, the store is asked again only now and then.
        let patient = self.retry_at.is_some_and(|it| Instant::now() < it);
        while !patient && !self.waiting.is_empty() {
            let count = self.waiting.len().min(BATCH);
            let mut batch: Vec<Record> = self.waiting.drain(..count).collect();
            let started = Instant::now();
            let outcome = self.store.as_mut().map(|it| it.append(&mut batch, &[]));
            match outcome {
                Some(Ok(())) => self.written(batch, started),
                error => {
                    for unwritten in batch.into_iter().rev() {
                        self.waiting.push_front(unwritten);
                    }
                    match error {
                        Some(Err(error)) => self.failed(&error),
                        _ => self.replace("no database"),
                    }
                    break;
                }
            }
        }
        self.shared.health.lock().waiting = self.waiting.len();
    }

    /// Puts records behind those that wait; the oldest give way when there are too many.
    fn line_up(&mut self, batch: Vec<Record>) {
        self.waiting.extend(batch);
        while self.waiting.len() > RING {
            if let Some(given_up) = self.waiting.pop_front() {
                *self.lost.entry(given_up.kind.name).or_default() += 1;
                self.shared.health.lock().lost += 1;
            }
        }
    }

    fn written(&mut self, batch: Vec<Record>, started: Instant) {
        {
            let mut health = self.shared.health.lock();
            health.last_commit = started.elapsed();
            if health.trouble.take().is_some() {
                tracing::info!("store writes again");
            }
        }
        self.retry_at = None;
        self.failures = 0;
        let newest = batch.last().map_or(0, |it| it.seq);
        {
            let mut tail = self.shared.tail.lock();
            for record in batch {
                if tail.len() == TAIL {
                    tail.pop_front();
                }
                tail.push_back(Arc::new(record));
            }
        }
        self.shared.stored.send_replace(newest);
        if !self.lost.is_empty() {
            let lost = std::mem::take(&mut self.lost);
            let count: u64 = lost.values().sum();
            let kinds: Vec<_> = lost.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
            let text =
                format!("{count} events were lost while the store could not write: {}", kinds.join(", "));
            tracing::error!("{text}");
            self.waiting.push_back(self.note(&text));
        }
    }

    fn failed(&mut self, error: &serin_store::Error) {
        self.in_trouble(&error.to_string());
        if let serin_store::Error::Corrupt { .. } = error {
            self.replace(&error.to_string());
        }
    }

    /// Notes that nothing can be written, and when to try again.
    fn in_trouble(&mut self, why: &str) {
        self.failures = self.failures.saturating_add(1);
        let pause = RETRY_FIRST.saturating_mul(1 << self.failures.min(6)).min(RETRY_LAST);
        self.retry_at = Some(Instant::now() + pause);
        let first = self.shared.health.lock().trouble.replace(why.to_owned()).is_none();
        if first {
            tracing::error!("the store cannot write, events wait in memory: {why}");
        }
    }

    /// Moves a damaged database aside and starts a new one.
    fn replace(&mut self, reason: &str) {
        self.store = None;
        match Store::replace(&self.options, reason) {
            Ok((store, opened)) => {
                if let Ok(reader) = serin_store::Reader::open(&self.options.path) {
                    *self.shared.reader.lock() = reader;
                }
                self.store = Some(store);
                self.retry_at = None;
                if let Some(text) = opened.alarm() {
                    tracing::error!("{text}");
                    self.waiting.push_back(self.note(&text));
                }
            }
            Err(error) => self.in_trouble(&error.to_string()),
        }
    }

    fn retire(&mut self, retention: Retention) {
        let floor = self.shared.readers.lock().values().map(|it| it.cursor).min().unwrap_or(u64::MAX);
        let Some(store) = &mut self.store else { return };
        match store.retain(&retention, clock::now(), floor) {
            Ok(swept) => {
                // Readers that nobody uses any more are still in the store, and miss nothing.
                let used = |name: &str| self.shared.readers.lock().contains_key(name);
                for lost in swept.lost.iter().filter(|it| used(&it.reader)) {
                    let text = format!(
                        "output {} lost {} events, {} to {}: the store reached its largest size",
                        lost.reader, lost.events, lost.seqs.0, lost.seqs.1
                    );
                    tracing::error!("{text}");
                    self.waiting.push_back(self.note(&text));
                }
                self.more_to_retire = swept.more.then_some(retention);
            }
            Err(error) => tracing::warn!(%error, "old events could not be deleted"),
        }
    }

    fn save_readers(&mut self) {
        if !self.shared.moved.swap(false, Ordering::Relaxed) {
            return;
        }
        let states: Vec<ReaderState> = self.shared.readers.lock().values().cloned().collect();
        if let Some(store) = &mut self.store
            && let Err(error) = store.save_readers(&states)
        {
            tracing::warn!(%error, "outputs' positions could not be saved");
        }
    }

    fn bury(&mut self, letter: &DeadLetter) {
        if let Some(store) = &mut self.store
            && let Err(error) = store.bury(std::slice::from_ref(letter))
        {
            tracing::error!(%error, output = letter.reader, seq = letter.seq, "a rejected event could not be put aside");
        }
    }

    /// A record in which the store speaks of itself.
    fn note(&self, text: &str) -> Record {
        let message = Value::Map(vec![(Tainted::new(b"logdata", 16), text.to_owned().into())]);
        let event = Event::new(&kinds::ERROR).with("msg", message);
        let time: Timestamp = clock::now();
        Record {
            seq: 0,
            time,
            utc_offset: clock::utc_offset(time),
            node_id: self.node_id.clone(),
            session: 0,
            kind: event.kind,
            source: serin_event::Endpoint::default(),
            target: serin_event::Endpoint::default(),
            honeycred: None,
            logdata: event.logdata().into(),
            details: "{}".into(),
        }
    }
}

/// Records on their way to the writer; beyond it, a peer waits.
const QUEUE: usize = 8192;
/// Most records of one transaction.
const BATCH: usize = 1000;
/// How long the writer gathers under load.
const GATHER: Duration = Duration::from_millis(4);
/// Recent records kept in memory, so that a healthy output never reads the disk.
const TAIL: usize = 4096;
/// Records that wait in memory while the store cannot write.
const RING: usize = 20_000;
const RETRY_FIRST: Duration = Duration::from_millis(100);
const RETRY_LAST: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;
    use serin_event::{Endpoint, Tainted};

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

    fn opened(path: &std::path::Path) -> Opened {
        let options = serin_store::Options::new(path);
        let (store, _) = Store::open(&options).unwrap();
        let reader = serin_store::Reader::open(path).unwrap();
        Opened { store, reader, options, node_id: "n".into() }
    }

    fn open(path: &std::path::Path) -> Journal {
        Journal::start(opened(path)).unwrap()
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
        assert_eq!(journal.cursor("file"), None);
        journal.append(record("a")).await;
        until_stored(&journal, 1).await;
        let state = ReaderState {
            name: "file".to_owned(),
            cursor: 1,
            status: "{}".to_owned(),
            updated: clock::now(),
        };
        journal.advance(state);
        assert_eq!(journal.cursor("file"), Some(1));
        journal.stop().await;
        drop(journal);
        let journal = open(&path);
        assert_eq!(journal.cursor("file"), Some(1));
        assert_eq!(*journal.stored().borrow(), 1);
        journal.stop().await;
    }

    #[test]
    fn a_damaged_database_is_replaced_and_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("serin.db");
        let (journal, mut writer, _queue) = Journal::assemble(opened(&path));
        writer.write(vec![record("before")]);
        writer.replace("its pages do not fit");
        writer.write(vec![record("after")]);
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
        let (journal, mut writer, _queue) = Journal::assemble(opened(&path));
        // As after a damage that cannot be repaired either.
        writer.store = None;
        writer.options.path = folder.path().join("no such folder/serin.db");
        writer.write((0..RING + 7).map(|it| record(&format!("u{it}"))).collect());
        assert!(journal.health().trouble.is_some());
        assert_eq!((journal.health().waiting, journal.health().lost), (RING, 7));
        assert_eq!(*journal.stored().borrow(), 0);

        writer.options.path = path;
        writer.retry_at = None;
        writer.write(Vec::new());
        writer.retry_at = None;
        writer.write(Vec::new());
        assert!(journal.health().trouble.is_none());
        let last = journal.warm(u64::try_from(RING).unwrap() - 5, 100).unwrap();
        let told = last.last().unwrap().line();
        assert!(told.contains("7 events were lost") && told.contains("7 ftp.login"), "{told}");
        assert_eq!(journal.health().waiting, 0);
    }
}
