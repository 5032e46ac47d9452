//! Between whoever records and whoever reads: one writer thread, group commit, a warm tail.
//!
//! What waits is written in one transaction; a record is handed to readers only after it is
//! durable. While the store cannot be opened or written (full disk, damaged file), records wait in a
//! bounded ring, detection goes on, and what is lost is counted by kind and told as one event.

pub(crate) mod follow;
mod ring;
#[cfg(test)]
mod tests;
mod writer;

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Duration;

use anyhow::Context as _;
use parking_lot::Mutex;
use serin_event::Record;
use serin_store::{DeadLetter, Error, Incident, Options, ReaderState, Retention, Store};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch};

use ring::Ring;
use writer::Writer;

/// The way into the store and out of it again. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Journal {
    shared: Arc<Shared>,
    commands: mpsc::Sender<Command>,
    /// Bytes of records that may still go into the queue.
    room: Arc<Semaphore>,
}

struct Shared {
    tail: Mutex<Ring<Arc<Record>>>,
    /// The last durable record's number.
    stored: watch::Sender<u64>,
    /// That number when the store was opened; not set as long as it could not be.
    began: OnceLock<u64>,
    readers: Mutex<Readers>,
    /// Whether a reader has moved since its state was saved: an idle sensor writes nothing.
    moved: AtomicBool,
    view: Mutex<View>,
    health: Mutex<Health>,
    path: PathBuf,
    key: OnceLock<Vec<u8>>,
}

impl Shared {
    /// Where all readers stand.
    fn cursors(&self) -> Vec<ReaderState> {
        self.readers.lock().states.values().cloned().collect()
    }
}

/// Readers' cursors and states, which may not be saved yet.
#[derive(Default)]
struct Readers {
    states: HashMap<String, ReaderState>,
    /// Those that nobody uses any more. Where they stood is kept, and holds nothing up.
    unused: HashSet<String>,
}

impl Readers {
    fn is_used(&self, name: &str) -> bool {
        self.states.contains_key(name) && !self.unused.contains(name)
    }

    /// Up to where all that are in use have read.
    fn floor(&self) -> u64 {
        let used = self.states.values().filter(|it| !self.unused.contains(&it.name));
        used.map(|it| it.cursor).min().unwrap_or(u64::MAX)
    }
}

/// The database as readers see it.
#[derive(Default)]
struct View {
    /// Opened when it is first needed.
    reader: Option<serin_store::Reader>,
    /// Counts how often the database was opened for writing, and so may have been replaced.
    generation: u64,
}

impl View {
    fn reader(&mut self, path: &Path) -> Result<&serin_store::Reader, Error> {
        let reader = match self.reader.take() {
            Some(reader) => reader,
            None => serin_store::Reader::open(path)?,
        };
        Ok(self.reader.insert(reader))
    }
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

/// What a reader found out, and how far it has read: written together or not at all.
#[derive(Debug)]
pub(crate) struct Settlement {
    /// What it tells.
    pub(crate) records: Vec<Record>,
    /// Incidents that are new or have changed.
    pub(crate) incidents: Vec<Incident>,
    /// Ids of incidents that are to be forgotten.
    pub(crate) gone: Vec<String>,
    /// Where it stands.
    pub(crate) reader: ReaderState,
}

enum Command {
    /// The record, and its share of the queue's bytes.
    Append(Box<Record>, OwnedSemaphorePermit),
    /// Write what waits, and the readers' cursors.
    Save,
    /// Delete what is too old or too much.
    Retire(Retention),
    Bury(DeadLetter),
    /// Forget dead letters of a reader, and answer when that is durable.
    Unbury {
        reader: String,
        seqs: Vec<u64>,
        done: oneshot::Sender<Result<usize, String>>,
    },
    /// Write this in one transaction, after what waits, and say how that went.
    Settle(Box<Settlement>, oneshot::Sender<Result<(), String>>),
    /// Somebody who read found the database damaged, which was of this generation.
    Damaged {
        reason: String,
        generation: u64,
    },
    /// Answer when all before this is durable, or cannot be.
    Flush(oneshot::Sender<()>),
    Stop(oneshot::Sender<()>),
    /// Fails as no command should.
    #[cfg(test)]
    Panic,
}

impl Journal {
    /// Opens the store and starts the writer thread. With the alarm to be told, where there is cause:
    /// a damaged database was moved aside, or the store cannot be used yet and records wait.
    ///
    /// # Errors
    ///
    /// When a person has to look: the store is in use, is another program's, or is forbidden to us.
    pub(crate) fn start(options: Options, node_id: Arc<str>) -> anyhow::Result<(Self, Option<String>)> {
        let (journal, writer, queue, alarm) = Self::assemble(options, node_id)?;
        thread::Builder::new()
            .name("store".to_owned())
            .spawn(move || writer.run(queue))
            .context("the event store's thread")?;
        Ok((journal, alarm))
    }

    fn assemble(
        options: Options,
        node_id: Arc<str>,
    ) -> anyhow::Result<(Self, Writer, mpsc::Receiver<Command>, Option<String>)> {
        let (commands, queue) = mpsc::channel(QUEUE);
        let shared = Arc::new(Shared {
            tail: Mutex::new(Ring::new(TAIL, TAIL_BYTES)),
            stored: watch::Sender::new(0),
            began: OnceLock::new(),
            readers: Mutex::default(),
            moved: AtomicBool::new(false),
            view: Mutex::default(),
            health: Mutex::default(),
            path: options.path.clone(),
            key: OnceLock::new(),
        });
        let opened = Store::open(&options);
        let mut writer = Writer::new(options, node_id, shared.clone());
        let alarm = match opened {
            Ok((store, opened)) => {
                writer.use_store(store);
                opened.alarm()
            }
            Err(error) if passes(&error) => {
                let why = error.to_string();
                writer.in_trouble(&why);
                Some(format!("the event store could not be opened, events wait in memory: {why}"))
            }
            Err(error) => return Err(error).context("the event store"),
        };
        let room = Arc::new(Semaphore::new(QUEUE_BYTES));
        Ok((Self { shared, commands, room }, writer, queue, alarm))
    }

    /// Hands a record to the store. Waits only when the queue is full, which slows down the one
    /// peer whose event it is.
    pub(crate) async fn append(&self, record: Record) {
        let bytes = ring::size(&record).min(QUEUE_BYTES);
        let room = self.room.clone().acquire_many_owned(u32::try_from(bytes).unwrap_or(u32::MAX)).await;
        let sent = match room {
            Ok(room) => self.commands.send(Command::Append(Box::new(record), room)).await.is_ok(),
            // Never closed.
            Err(_) => false,
        };
        if !sent {
            // The writer ends only when the sensor stops.
            self.shared.health.lock().lost += 1;
            tracing::error!("an event came after the event store was closed, and is lost");
        }
    }

    /// Saves the readers' cursors; called once a second. With a full queue the next call does it.
    pub(crate) fn save(&self) {
        let _ = self.commands.try_send(Command::Save);
    }

    /// Deletes what is too old or too much, a little at a time. With a full queue the next call does
    /// it.
    pub(crate) fn retire(&self, retention: Retention) {
        let _ = self.commands.try_send(Command::Retire(retention));
    }

    /// Up to `most` durable records after `seq`, in order.
    pub(crate) async fn after(&self, seq: u64, most: usize) -> Vec<Arc<Record>> {
        if let Some(warm) = self.warm(seq, most) {
            return warm;
        }
        let journal = self.clone();
        let read = move || journal.look(|it| it.after(seq, most));
        match tokio::task::spawn_blocking(read).await {
            Ok(Ok(records)) => records.into_iter().map(Arc::new).collect(),
            Ok(Err(error)) => {
                tracing::warn!(%error, "store cannot be read");
                tokio::time::sleep(RETRY_FIRST).await;
                Vec::new()
            }
            Err(_) => Vec::new(),
        }
    }

    /// Reads from the database. A damage that shows is told to the writer.
    fn look<T>(&self, question: impl FnOnce(&serin_store::Reader) -> Result<T, Error>) -> Result<T, Error> {
        let mut view = self.shared.view.lock();
        let generation = view.generation;
        let answer = view.reader(&self.shared.path).and_then(question);
        if let Err(error @ Error::Corrupt { .. }) = &answer {
            // With a full queue, whoever reads next tells it.
            let _ = self.commands.try_send(Command::Damaged { reason: error.to_string(), generation });
        }
        answer
    }

    /// Looks at the file as another process would: the writer, which keeps pages in memory, may not
    /// notice for a long time that somebody damaged it. Reads from the disk.
    pub(crate) fn inspect(&self) {
        let generation = self.shared.view.lock().generation;
        let seen = serin_store::Reader::open(&self.shared.path).and_then(|it| it.stats());
        if let Err(error @ Error::Corrupt { .. }) = seen {
            let _ = self.commands.try_send(Command::Damaged { reason: error.to_string(), generation });
        }
    }

    /// From memory, where all that follows `seq` is still there.
    fn warm(&self, seq: u64, most: usize) -> Option<Vec<Arc<Record>>> {
        if *self.shared.stored.borrow() <= seq {
            return Some(Vec::new());
        }
        self.shared.tail.lock().after(seq, most)
    }

    /// Tells the last durable record's number whenever it grows.
    pub(crate) fn stored(&self) -> watch::Receiver<u64> {
        self.shared.stored.subscribe()
    }

    /// The last number before this sensor's own records; `None` as long as the store is not open.
    pub(crate) fn began(&self) -> Option<u64> {
        self.shared.began.get().copied()
    }

    /// Where a reader stands, which is in use from now on; `None`: it is new.
    ///
    /// # Errors
    ///
    /// When that cannot be read just now.
    pub(crate) fn cursor(&self, reader: &str) -> Result<Option<u64>, String> {
        {
            let mut readers = self.shared.readers.lock();
            readers.unused.remove(reader);
            if let Some(state) = readers.states.get(reader) {
                return Ok(Some(state.cursor));
            }
        }
        if self.began().is_none() {
            return Err("the event store is not open yet".to_owned());
        }
        let saved = self.look(serin_store::Reader::readers).map_err(|it| it.to_string())?;
        Ok(saved.into_iter().find(|it| it.name == reader).map(|it| it.cursor))
    }

    /// The status that was last saved of a reader.
    ///
    /// # Errors
    ///
    /// When that cannot be read just now.
    pub(crate) fn status(&self, reader: &str) -> Result<Option<String>, String> {
        if let Some(state) = self.shared.readers.lock().states.get(reader) {
            return Ok(Some(state.status.clone()));
        }
        let saved = self.look(serin_store::Reader::readers).map_err(|it| it.to_string())?;
        Ok(saved.into_iter().find(|it| it.name == reader).map(|it| it.status))
    }

    /// Notes where a reader stands; it is saved with the next batch or within a second.
    pub(crate) fn advance(&self, state: ReaderState) {
        self.shared.readers.lock().states.insert(state.name.clone(), state);
        self.shared.moved.store(true, Ordering::Relaxed);
    }

    /// Nobody uses this reader any more: what it has not read need not be kept for it. Should it come
    /// back, it goes on where it stopped.
    pub(crate) fn forget(&self, reader: &str) {
        self.shared.readers.lock().unused.insert(reader.to_owned());
    }

    /// Puts a record aside that a reader can never use.
    pub(crate) async fn bury(&self, letter: DeadLetter) {
        let _ = self.commands.send(Command::Bury(letter)).await;
    }

    /// Forgets dead letters of a reader, and says how many there were.
    ///
    /// # Errors
    ///
    /// When the store cannot write.
    pub(crate) async fn unbury(&self, reader: String, seqs: Vec<u64>) -> Result<usize, String> {
        let (done, answer) = oneshot::channel();
        let closed = || "the event store is closed".to_owned();
        self.commands.send(Command::Unbury { reader, seqs, done }).await.map_err(|_| closed())?;
        answer.await.map_err(|_| closed())?
    }

    /// Writes what a reader found out, and where it stands, in one transaction. Returns when it is
    /// durable.
    ///
    /// # Errors
    ///
    /// When it could not be written, or nobody knows: what the store says now is what counts.
    pub(crate) async fn settle(&self, settlement: Settlement) -> Result<(), String> {
        let (done, settled) = oneshot::channel();
        let closed = || "the event store is closed".to_owned();
        self.commands.send(Command::Settle(Box::new(settlement), done)).await.map_err(|_| closed())?;
        settled.await.map_err(|_| closed())?
    }

    /// How the store is doing.
    pub(crate) fn health(&self) -> Health {
        let mut health = self.shared.health.lock().clone();
        if self.commands.is_closed() {
            health.trouble.get_or_insert_with(|| "the event store is closed".to_owned());
        }
        health
    }

    /// The key of this sensor's keyed hashes, kept beside the database. Where it can be neither read nor
    /// written, one for this run.
    pub(crate) fn key(&self) -> Vec<u8> {
        let key = self.shared.key.get_or_init(|| {
            let path = self.shared.path.with_file_name("pseudonyms.key");
            if let Some(key) = std::fs::read(&path).ok().filter(|it| it.len() == KEY_BYTES) {
                return key;
            }
            let mut key = vec![0; KEY_BYTES];
            if aws_lc_rs::rand::fill(&mut key).is_err() {
                tracing::error!("the system gives no random numbers");
            }
            if let Err(error) = crate::state::write_private(&path, &key) {
                tracing::warn!(%error, path = %path.display(), "hashed passwords will differ after a restart");
            }
            key
        });
        key.clone()
    }

    /// The database file.
    pub(crate) fn path(&self) -> &Path {
        &self.shared.path
    }

    /// Returns when everything appended so far is durable, and where the readers stand, as far as the
    /// store can write at all.
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

/// Whether a store that cannot be opened may open later without anybody's help, or with somebody's
/// who makes room: then a sensor that runs is worth more than one that does not.
fn passes(error: &Error) -> bool {
    use std::io::ErrorKind::{NotADirectory, NotFound, PermissionDenied};
    match error {
        Error::Full { .. } | Error::Slow => true,
        Error::Io { source, .. } => !matches!(source.kind(), NotFound | NotADirectory | PermissionDenied),
        // SQLite says "unable to open" of a full disk and of a file that is not ours.
        Error::Sqlite { path, .. } => {
            let opened = std::fs::OpenOptions::new().read(true).write(true).open(path);
            opened.err().is_none_or(|it| it.kind() != PermissionDenied)
        }
        _ => false,
    }
}

/// Commands on their way to the writer; beyond it, a peer waits.
const QUEUE: usize = 8192;
const KEY_BYTES: usize = 32;
/// Bytes of the records among them: a record can have 15 KB.
const QUEUE_BYTES: usize = 16 << 20;
/// Recent records kept in memory, so that a healthy output never reads the disk.
const TAIL: usize = 4096;
const TAIL_BYTES: usize = 4 << 20;
/// Records that wait in memory while the store cannot write.
const WAITING: usize = 20_000;
const WAITING_BYTES: usize = 64 << 20;
const RETRY_FIRST: Duration = Duration::from_millis(100);
