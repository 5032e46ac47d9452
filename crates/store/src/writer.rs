//! The one writer: appends events, keeps readers' cursors and dead letters.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rusqlite::{Connection, Transaction, TransactionBehavior, params};
use serin_event::{Kind, Record, Timestamp};

use crate::mark::Mark;
use crate::reader::limit_of;
use crate::rollup::Rollups;
use crate::schema::{Host, SPAN, ports_name};
use crate::{Error, recovery};

/// Where the store is, and how careful it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// The database. Its directory must exist; SQLite keeps `-wal` and `-shm` beside it, the store
    /// `.mark`.
    pub path: PathBuf,
    /// What [`Store::append`] waits for.
    pub durability: Durability,
    /// How long opening may check a database whose last writer did not end orderly. After an
    /// orderly end a 25th of it must do.
    pub check_limit: Duration,
    /// How long opening may save events from a damaged database into the new one.
    pub salvage_limit: Duration,
}

impl Options {
    /// The usual care for the database at `path`.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            durability: Durability::Full,
            check_limit: Duration::from_millis(500),
            salvage_limit: Duration::from_secs(3),
        }
    }
}

/// What an appended record has survived when [`Store::append`] returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Durability {
    /// A power cut: each batch is synced.
    #[default]
    Full,
    /// The death of the process. A power cut may take the last seconds.
    Normal,
}

/// What was there when the store was opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opened {
    /// The state of the file.
    pub found: Found,
    /// The highest number used so far; the next event gets the one after it.
    pub last_seq: u64,
    /// How many events were committed and are gone from the end of the store, which is possible
    /// when the medium damaged the file, somebody replaced it by an older one or deleted it (then
    /// all that ever were), or the power failed under [`Durability::Normal`]. What a file that was
    /// moved aside still holds is not counted.
    pub lost: u64,
}

impl Opened {
    /// What whoever runs the sensor must hear: that the database was damaged, that events or the
    /// positions of readers are gone. Nothing if all is well.
    #[must_use]
    pub fn alarm(&self) -> Option<String> {
        let mut said = Vec::new();
        if let Found::MovedAside { to, reason, salvaged, cursors } = &self.found {
            said.push(format!(
                "the event database was damaged ({reason}) and moved to {}; a new one is in use, with {salvaged} \
                 events of the old",
                to.display()
            ));
            if !cursors {
                said.push("how far the outputs were could not be read".to_owned());
            }
        }
        if self.lost > 0 {
            said.push(match self.found {
                Found::Fresh => format!("the event database is gone, and with it up to {} events", self.lost),
                _ => format!("the newest {} events of the event database are gone", self.lost),
            });
        }
        (!said.is_empty()).then(|| said.join("; "))
    }
}

/// The state of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// There was none, or nothing in it; a new one was made.
    Fresh,
    /// A good one. `clean` is false when the last writer was killed; it was checked then.
    Existing {
        /// Whether the last writer ended orderly.
        clean: bool,
    },
    /// A damaged one: it was renamed and a new one made. An alarm for whoever runs the sensor.
    MovedAside {
        /// Where it is now, with its `-wal` beside it.
        to: PathBuf,
        /// What is wrong with it.
        reason: String,
        /// How many of its events, the newest first, are in the new store too.
        salvaged: u64,
        /// Whether the cursors of the readers could be saved.
        cursors: bool,
    },
}

/// Where a reader stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReaderState {
    /// The reader's name: an output, the detector.
    pub name: String,
    /// It is done with all events up to and including this number.
    pub cursor: u64,
    /// What else it wants to find again, and to show: JSON text, its own business.
    pub status: String,
    /// When it was saved.
    pub updated: Timestamp,
}

/// An event that an output's receiver refused for good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// The output.
    pub reader: String,
    /// The event.
    pub seq: u64,
    /// When it was given up.
    pub time: Timestamp,
    /// The receiver's words.
    pub reason: String,
}

/// Dead letters kept for each reader; beyond it the oldest go.
const DEAD_LETTERS_MAX: u32 = 10_000;

/// The writer. One per database: a second one, in any process, is refused.
#[derive(Debug)]
pub struct Store {
    // Dropped in this order: the mark says "clean" only after the database is closed.
    pub(crate) connection: Connection,
    pub(crate) mark: Mark,
    pub(crate) path: PathBuf,
    pub(crate) last: u64,
    ids: Ids,
    rollups: Rollups,
}

impl Store {
    /// Opens the store, or makes one (mode 0600). A damaged one is moved aside and replaced.
    ///
    /// # Errors
    ///
    /// [`Error::Locked`] if another writer has it, [`Error::Foreign`] and [`Error::TooNew`] if it is
    /// not for us, [`Error::Full`] and [`Error::Io`] if the file system refuses.
    pub fn open(options: &Options) -> Result<(Self, Opened), Error> {
        recovery::open(options, None)
    }

    /// Moves the database aside because of `reason`, saves what can still be read and starts anew:
    /// the answer to [`Error::Corrupt`]. Drop the damaged [`Store`] first. [`crate::Reader`]s that are
    /// open keep seeing the old file, so open new ones afterwards. To be repeated when it failed.
    ///
    /// # Errors
    ///
    /// As [`Store::open`].
    pub fn replace(options: &Options, reason: &str) -> Result<(Self, Opened), Error> {
        recovery::open(options, Some(reason))
    }

    pub(crate) fn new(connection: Connection, mark: Mark, path: &Path, last: u64) -> Self {
        let path = path.to_owned();
        Self { connection, mark, path, last, ids: Ids::default(), rollups: Rollups::default() }
    }

    /// The highest number used; 0 in a new store.
    #[must_use]
    pub fn last_seq(&self) -> u64 {
        self.last
    }

    /// Stores the records, in order, and the readers' states, in one transaction. Gives each record
    /// its number, without gaps.
    ///
    /// # Errors
    ///
    /// Nothing is stored then, and each record's `seq` is 0. See the crate's documentation for what
    /// to do.
    pub fn append(&mut self, records: &mut [Record], readers: &[ReaderState]) -> Result<(), Error> {
        if records.is_empty() && readers.is_empty() {
            return Ok(());
        }
        self.append_with(records, readers, |_| Ok(()))
    }

    /// The same, with whatever else belongs into the transaction.
    pub(crate) fn append_with(
        &mut self,
        records: &mut [Record],
        readers: &[ReaderState],
        also: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<()>,
    ) -> Result<(), Error> {
        for (record, seq) in records.iter_mut().zip(self.last + 1..) {
            record.seq = seq;
        }
        let last = self.last + records.len() as u64;
        let stored = self.mark.reserve(last).and_then(|()| self.write(records, readers, last, also));
        if let Err(error) = stored {
            for record in records {
                record.seq = 0;
            }
            return Err(error);
        }
        self.last = last;
        if !records.is_empty() {
            self.mark.acknowledge(last);
        }
        Ok(())
    }

    /// Stores records that already have their numbers, below [`Store::last_seq`].
    pub(crate) fn restore(&mut self, records: &[Record]) -> Result<(), Error> {
        self.write(records, &[], self.last, |_| Ok(()))
    }

    fn write(
        &mut self,
        records: &[Record],
        readers: &[ReaderState],
        last: u64,
        also: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<()>,
    ) -> Result<(), Error> {
        let written = (|| {
            let transaction = Transaction::new_unchecked(&self.connection, TransactionBehavior::Immediate)?;
            insert(&transaction, &mut self.ids, &mut self.rollups, records)?;
            self.rollups.write(&transaction)?;
            if !records.is_empty() {
                let mut count = transaction
                    .prepare_cached("UPDATE counters SET value = value + ?1 WHERE name = 'events'")?;
                count.execute([limit_of(records.len())])?;
                let mut number =
                    transaction.prepare_cached("UPDATE counters SET value = ?1 WHERE name = 'last_seq'")?;
                number.execute([last.cast_signed()])?;
            }
            write_readers(&transaction, readers)?;
            also(&transaction)?;
            transaction.commit()
        })();
        written.map_err(|source| {
            // They may speak of rows that were rolled back.
            self.ids = Ids::default();
            self.rollups = Rollups::default();
            Error::from_sqlite(&self.path, source)
        })
    }

    /// Saves where readers stand, without events.
    ///
    /// # Errors
    ///
    /// As [`Store::append`].
    pub fn save_readers(&mut self, readers: &[ReaderState]) -> Result<(), Error> {
        self.append(&mut [], readers)
    }

    /// Forgets a reader, its cursor and its dead letters. Whether there was one.
    ///
    /// # Errors
    ///
    /// As [`Store::append`].
    pub fn remove_reader(&mut self, name: &str) -> Result<bool, Error> {
        self.change(|transaction| {
            transaction.execute("DELETE FROM dead_letters WHERE reader = ?1", [name])?;
            Ok(transaction.execute("DELETE FROM readers WHERE name = ?1", [name])? > 0)
        })
    }

    /// Keeps events that their receivers refused for good. A later reason replaces an earlier one. Only
    /// the newest 10,000 of each reader are kept.
    ///
    /// # Errors
    ///
    /// As [`Store::append`].
    pub fn bury(&mut self, letters: &[DeadLetter]) -> Result<(), Error> {
        self.change(|transaction| {
            for letter in letters {
                let mut statement = transaction.prepare_cached(
                    "INSERT OR REPLACE INTO dead_letters (reader, seq, time, reason) VALUES (?1, ?2, ?3, ?4)",
                )?;
                statement.execute(params![
                    letter.reader,
                    letter.seq.cast_signed(),
                    letter.time.0,
                    letter.reason
                ])?;
                let mut statement = transaction.prepare_cached(
                    "DELETE FROM dead_letters WHERE reader = ?1 AND seq <= \
                     (SELECT seq FROM dead_letters WHERE reader = ?1 ORDER BY seq DESC LIMIT 1 OFFSET ?2)",
                )?;
                statement.execute(params![letter.reader, DEAD_LETTERS_MAX])?;
            }
            Ok(())
        })
    }

    /// Forgets dead letters of a reader, after they were delivered or looked at. Those not there are
    /// passed over. How many there were.
    ///
    /// # Errors
    ///
    /// As [`Store::append`].
    pub fn unbury(&mut self, reader: &str, seqs: &[u64]) -> Result<usize, Error> {
        self.change(|transaction| {
            let mut statement =
                transaction.prepare_cached("DELETE FROM dead_letters WHERE reader = ?1 AND seq = ?2")?;
            let mut gone = 0;
            for seq in seqs {
                gone += statement.execute(params![reader, seq.cast_signed()])?;
            }
            Ok(gone)
        })
    }

    /// One transaction.
    pub(crate) fn change<T>(
        &self,
        work: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T>,
    ) -> Result<T, Error> {
        let changed = (|| {
            let transaction = Transaction::new_unchecked(&self.connection, TransactionBehavior::Immediate)?;
            let outcome = work(&transaction)?;
            transaction.commit()?;
            Ok(outcome)
        })();
        changed.map_err(|source| Error::from_sqlite(&self.path, source))
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        // SQLite does this when the last connection closes, but only if that one may write. A reader that
        // is in the middle of something is not waited for: the log is read again at the next opening.
        let _ = self.connection.busy_timeout(Duration::from_millis(100));
        let _ = self.connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", (), |_| Ok(()));
    }
}

/// The numbers of kinds and node names in this database.
#[derive(Debug, Default)]
struct Ids {
    kinds: HashMap<&'static str, i64>,
    nodes: HashMap<Arc<str>, i64>,
}

impl Ids {
    fn kind(&mut self, transaction: &Transaction<'_>, kind: &'static Kind) -> rusqlite::Result<i64> {
        if let Some(id) = self.kinds.get(kind.name) {
            return Ok(*id);
        }
        // What an older version wrote of the kind is brought up to date.
        let id = transaction.query_row(
            "INSERT INTO kinds (name, logtype, intent, severity, ports) VALUES (?1, ?2, ?3, ?4, ?5) \
             ON CONFLICT (name) DO UPDATE SET logtype = ?2, intent = ?3, severity = ?4, ports = ?5 RETURNING id",
            params![
                kind.name,
                kind.logtype,
                kind.intent.name(),
                kind.severity.name(),
                ports_name(kind.ports)
            ],
            |row| row.get(0),
        )?;
        self.kinds.insert(kind.name, id);
        Ok(id)
    }

    fn node(&mut self, transaction: &Transaction<'_>, node: &Arc<str>) -> rusqlite::Result<i64> {
        if let Some(id) = self.nodes.get(node) {
            return Ok(*id);
        }
        let id = transaction.query_row(
            "INSERT INTO nodes (name) VALUES (?1) ON CONFLICT (name) DO UPDATE SET name = ?1 RETURNING id",
            [&**node],
            |row| row.get(0),
        )?;
        self.nodes.insert(node.clone(), id);
        Ok(id)
    }
}

fn insert(
    transaction: &Transaction<'_>,
    ids: &mut Ids,
    rollups: &mut Rollups,
    records: &[Record],
) -> rusqlite::Result<()> {
    let mut statement = transaction.prepare_cached(
        "INSERT INTO events (seq, time, utc_offset, node, kind, session, src_host, src_port, dst_host, \
         dst_port, honeycred, logdata, details) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )?;
    let mut spans: BTreeMap<u64, (Timestamp, Timestamp)> = BTreeMap::new();
    for record in records {
        let kind = ids.kind(transaction, record.kind)?;
        let source = record.source.host.map(Host::from);
        let target = record.target.host.map(Host::from);
        statement.execute(params![
            record.seq.cast_signed(),
            record.time.0,
            record.utc_offset,
            ids.node(transaction, &record.node_id)?,
            kind,
            record.session.cast_signed(),
            source.as_ref().map(Host::bytes),
            record.source.port,
            target.as_ref().map(Host::bytes),
            record.target.port,
            record.honeycred,
            &*record.logdata,
            Some(&*record.details).filter(|it| *it != "{}"),
        ])?;
        rollups.add(record, kind, source);
        let span = spans.entry(record.seq / SPAN).or_insert((record.time, record.time));
        *span = (span.0.min(record.time), span.1.max(record.time));
    }
    let mut statement = transaction.prepare_cached(
        "INSERT INTO spans (span, earliest, latest) VALUES (?1, ?2, ?3) ON CONFLICT (span) \
         DO UPDATE SET earliest = min(earliest, ?2), latest = max(latest, ?3)",
    )?;
    for (span, (earliest, latest)) in spans {
        statement.execute(params![span.cast_signed(), earliest.0, latest.0])?;
    }
    Ok(())
}

fn write_readers(transaction: &Transaction<'_>, readers: &[ReaderState]) -> rusqlite::Result<()> {
    let mut statement = transaction.prepare_cached(
        "INSERT INTO readers (name, cursor, status, updated) VALUES (?1, ?2, ?3, ?4) ON CONFLICT (name) \
         DO UPDATE SET cursor = ?2, status = ?3, updated = ?4",
    )?;
    for reader in readers {
        statement.execute(params![
            reader.name,
            reader.cursor.cast_signed(),
            reader.status,
            reader.updated.0
        ])?;
    }
    Ok(())
}
