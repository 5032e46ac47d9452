//! Reading, beside the writer: from other threads and other processes.

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rusqlite::{Connection, OpenFlags};
use serin_event::{Record, Timestamp};

use crate::error::Error;
use crate::mark::beside;
use crate::recovery::{self, State};
use crate::schema::{COLUMNS, Names, integer, text, unsigned};
use crate::writer::{DeadLetter, ReaderState};

/// A read-only view of the store. Each call sees everything that was appended before it. Cheap to
/// keep and can be sent to other threads; each thread needs its own.
#[derive(Debug)]
pub struct Reader {
    connection: Connection,
    path: PathBuf,
    names: RefCell<Names>,
    patience: RefCell<Option<Duration>>,
    /// When SQLite gives up the question at hand.
    deadline: Arc<Mutex<Option<Instant>>>,
}

/// How much is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stats {
    /// Events.
    pub events: u64,
    /// The highest number used so far.
    pub last_seq: u64,
    /// Bytes of the database that are in use, without what waits in the write-ahead log.
    pub bytes: u64,
    /// Bytes of the write-ahead log.
    pub wal_bytes: u64,
    /// Number and time of the event with the lowest number.
    pub oldest: Option<(u64, Timestamp)>,
    /// Number and time of the event with the highest number.
    pub newest: Option<(u64, Timestamp)>,
}

impl Reader {
    /// Opens the store at `path` for reading.
    ///
    /// # Errors
    ///
    /// [`Error::Missing`] if there is none, [`Error::Foreign`] and [`Error::TooNew`] if it is not
    /// for us, [`Error::Corrupt`] if it is damaged.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, Error> {
        let path = path.as_ref();
        match path.try_exists() {
            Ok(true) => {}
            Ok(false) => return Err(Error::Missing { path: path.to_owned() }),
            Err(source) => return Err(Error::Io { what: "read", path: path.to_owned(), source }),
        }
        let reader = Self::open_unchecked(path)?;
        match reader.state()? {
            State::Empty => return Err(Error::Missing { path: path.to_owned() }),
            State::Version(_) => {}
        }
        let names = Names::read(&reader.connection).map_err(|it| reader.failed(it))?;
        reader.names.replace(names);
        Ok(reader)
    }

    /// Opens whatever is there, damaged or not.
    pub(crate) fn open_unchecked(path: &Path) -> Result<Self, Error> {
        let failed = |source| Error::from_sqlite(path, source);
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let mut connection = Connection::open_with_flags(path, flags).map_err(failed)?;
        connection.busy_timeout(recovery::BUSY_TIMEOUT).map_err(failed)?;
        connection.set_prepared_statement_cache_capacity(32);
        let deadline = Arc::new(Mutex::new(None));
        let seen = deadline.clone();
        let late = move || {
            let deadline: Option<Instant> = *seen.lock().unwrap_or_else(PoisonError::into_inner);
            deadline.is_some_and(|it| Instant::now() > it)
        };
        connection.progress_handler(OPERATIONS_BETWEEN_LOOKS, Some(late)).map_err(failed)?;
        let names = RefCell::new(Names::read(&connection).unwrap_or_default());
        Ok(Self { connection, path: path.to_owned(), names, patience: RefCell::new(None), deadline })
    }

    /// What the file is.
    pub(crate) fn state(&self) -> Result<State, Error> {
        recovery::state(&self.connection, &self.path)
    }

    /// How long each further question may take before it ends with [`Error::Slow`]; `None`, as at
    /// first, for as long as it takes.
    pub fn set_patience(&self, patience: Option<Duration>) {
        self.patience.replace(patience);
    }

    /// The events with numbers above `seq`, in order, at most `limit`.
    ///
    /// # Errors
    ///
    /// [`Error::Corrupt`] if the file is damaged there.
    pub fn after(&self, seq: u64, limit: usize) -> Result<Vec<Record>, Error> {
        let sql = const_sql("seq > ?1 ORDER BY seq LIMIT ?2");
        self.records(&sql, (seq.cast_signed(), limit_of(limit)))
    }

    /// Gives the events with numbers up to `last` to `take`, in order, at most the `most` newest. Few are
    /// in memory at one time, however large they are.
    ///
    /// # Errors
    ///
    /// [`Error::Corrupt`] if the file is damaged there.
    pub fn replay(&self, last: u64, most: u64, take: &mut dyn FnMut(&Record)) -> Result<(), Error> {
        const PAGE: usize = 64;
        let mut after = last.saturating_sub(most);
        loop {
            let page = self.after(after, PAGE)?;
            for record in page.iter().take_while(|it| it.seq <= last) {
                take(record);
            }
            match page.last() {
                Some(record) if record.seq < last => after = record.seq,
                _ => return Ok(()),
            }
        }
    }

    /// The events with numbers below `seq`, the highest first, at most `limit`.
    pub(crate) fn before(&self, seq: u64, limit: usize) -> Result<Vec<Record>, Error> {
        let sql = const_sql("seq < ?1 ORDER BY seq DESC LIMIT ?2");
        self.records(&sql, (seq.min(i64::MAX as u64).cast_signed(), limit_of(limit)))
    }

    /// The event with this number.
    ///
    /// # Errors
    ///
    /// As [`Reader::after`].
    pub fn get(&self, seq: u64) -> Result<Option<Record>, Error> {
        Ok(self.records(&const_sql("seq = ?1"), [seq.cast_signed()])?.pop())
    }

    /// All readers' states, by name.
    ///
    /// # Errors
    ///
    /// As [`Reader::after`].
    pub fn readers(&self) -> Result<Vec<ReaderState>, Error> {
        self.ask(|connection, _| {
            let mut statement = connection
                .prepare_cached("SELECT name, cursor, status, updated FROM readers ORDER BY name")?;
            let rows = statement.query_map((), |row| {
                Ok(ReaderState {
                    name: text(row, 0),
                    cursor: unsigned(row, 1),
                    status: text(row, 2),
                    updated: Timestamp(integer(row, 3)),
                })
            })?;
            rows.collect()
        })
    }

    /// A reader's dead letters, by number, at most `limit`. Their events may be gone by now: see
    /// [`Reader::get`].
    ///
    /// # Errors
    ///
    /// As [`Reader::after`].
    pub fn dead_letters(&self, reader: &str, limit: usize) -> Result<Vec<DeadLetter>, Error> {
        self.ask(|connection, _| {
            let mut statement = connection.prepare_cached(
                "SELECT seq, time, reason FROM dead_letters WHERE reader = ?1 ORDER BY seq LIMIT ?2",
            )?;
            let rows = statement.query_map((reader, limit_of(limit)), |row| {
                Ok(DeadLetter {
                    reader: reader.to_owned(),
                    seq: unsigned(row, 0),
                    time: Timestamp(integer(row, 1)),
                    reason: text(row, 2),
                })
            })?;
            rows.collect()
        })
    }

    /// How much is stored. Takes no longer for more events.
    ///
    /// # Errors
    ///
    /// As [`Reader::after`].
    pub fn stats(&self) -> Result<Stats, Error> {
        let wal_bytes = std::fs::metadata(beside(&self.path, "-wal")).map_or(0, |it| it.len());
        self.ask(|connection, _| {
            let number =
                |sql: &str| connection.prepare_cached(sql)?.query_row((), |row| Ok(unsigned(row, 0)));
            let end = |sql: &str| {
                let mut statement = connection.prepare_cached(sql)?;
                let mut rows = statement.query(())?;
                Ok::<_, rusqlite::Error>(
                    rows.next()?.map(|row| (unsigned(row, 0), Timestamp(integer(row, 1)))),
                )
            };
            Ok(Stats {
                events: number("SELECT value FROM counters WHERE name = 'events'")?,
                last_seq: number("SELECT value FROM counters WHERE name = 'last_seq'")?,
                bytes: number(USED_BYTES)?,
                wal_bytes,
                oldest: end("SELECT seq, time FROM events ORDER BY seq LIMIT 1")?,
                newest: end("SELECT seq, time FROM events ORDER BY seq DESC LIMIT 1")?,
            })
        })
    }

    /// The records of the rows that `sql`, which selects [`COLUMNS`], finds.
    pub(crate) fn records(&self, sql: &str, params: impl rusqlite::Params) -> Result<Vec<Record>, Error> {
        self.start();
        let read = (|| {
            let mut statement = self.connection.prepare_cached(sql)?;
            let mut rows = statement.query(params)?;
            let mut records = Vec::new();
            let mut renewed = false;
            while let Some(row) = rows.next()? {
                if !renewed && !self.names.borrow().cover(row) {
                    // Once is enough: the statement and the names see the same state of the store.
                    self.names.replace(Names::read(&self.connection)?);
                    renewed = true;
                }
                records.push(self.names.borrow().record(row));
            }
            Ok(records)
        })();
        read.map_err(|source| self.failed(source))
    }

    /// One question, with the names up to date.
    pub(crate) fn ask<T>(
        &self,
        question: impl FnOnce(&Connection, &Names) -> rusqlite::Result<T>,
    ) -> Result<T, Error> {
        self.start();
        let asked = (|| {
            self.names.replace(Names::read(&self.connection)?);
            question(&self.connection, &self.names.borrow())
        })();
        asked.map_err(|source| self.failed(source))
    }

    fn start(&self) {
        let deadline = self.patience.borrow().map(|it| Instant::now() + it);
        *self.deadline.lock().unwrap_or_else(PoisonError::into_inner) = deadline;
    }

    fn failed(&self, source: rusqlite::Error) -> Error {
        Error::from_sqlite(&self.path, source)
    }
}

/// SQLite's instructions between two looks at the deadline: a few milliseconds at most.
const OPERATIONS_BETWEEN_LOOKS: i32 = 10_000;

/// Bytes of the pages that hold something.
pub(crate) const USED_BYTES: &str = "SELECT (page_count - freelist_count) * page_size \
    FROM pragma_page_count(), pragma_freelist_count(), pragma_page_size()";

fn const_sql(condition: &str) -> String {
    format!("SELECT {COLUMNS} FROM events WHERE {condition}")
}

pub(crate) fn limit_of(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}
