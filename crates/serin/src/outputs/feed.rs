//! Where outputs read from: the journal, as far as the engine needs it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serin_event::Record;
use serin_store::{DeadLetter, ReaderState};
use tokio::sync::watch;

use super::Later;
use crate::runtime::clock::now;
use crate::runtime::journal::Journal;

/// A journal of records in order of their numbers, with a cursor for each reader.
pub trait Feed: Send + Sync {
    /// Up to `most` durable records after `seq`, in order. Nothing, when there are none or when
    /// they cannot be read just now.
    fn after(&self, seq: u64, most: usize) -> Later<'_, Vec<Arc<Record>>>;

    /// Tells the last durable record's number whenever it grows.
    fn stored(&self) -> watch::Receiver<u64>;

    /// The last number before this sensor's own records; `None` as long as that is not known.
    fn began(&self) -> Option<u64>;

    /// Where a reader stands, which is in use from now on; `None`: it is new.
    ///
    /// # Errors
    ///
    /// When that cannot be read just now. It says nothing about the reader.
    fn saved(&self, reader: &str) -> Result<Option<u64>, String>;

    /// The status that was last saved of a reader, as JSON text.
    ///
    /// # Errors
    ///
    /// When that cannot be read just now.
    fn status(&self, reader: &str) -> Result<Option<String>, String>;

    /// Notes that a reader is done with everything up to `seq`, and its status as JSON text. It is on
    /// the disk soon.
    fn save(&self, reader: &str, seq: u64, status: String);

    /// Returns when what was saved is on the disk, as far as it can be written at all.
    fn flush(&self) -> Later<'_, ()>;

    /// Keeps nothing for this reader any more, which is not in use until it asks where it stands.
    fn forget(&self, reader: &str);

    /// The folder of the sensor's state.
    fn folder(&self) -> PathBuf;

    /// The key of this sensor's keyed hashes: the same after a restart, and known to nobody else.
    fn key(&self) -> Vec<u8>;

    /// Puts aside a record that a reader's receiver can never accept.
    fn dead<'a>(&'a self, reader: &'a str, record: &'a Record, reason: &'a str) -> Later<'a, ()>;
}

impl Feed for Journal {
    fn after(&self, seq: u64, most: usize) -> Later<'_, Vec<Arc<Record>>> {
        Box::pin(Self::after(self, seq, most))
    }

    fn stored(&self) -> watch::Receiver<u64> {
        Self::stored(self)
    }

    fn began(&self) -> Option<u64> {
        Self::began(self)
    }

    fn saved(&self, reader: &str) -> Result<Option<u64>, String> {
        self.cursor(reader)
    }

    fn status(&self, reader: &str) -> Result<Option<String>, String> {
        Self::status(self, reader)
    }

    fn save(&self, reader: &str, seq: u64, status: String) {
        self.advance(ReaderState { name: reader.to_owned(), cursor: seq, status, updated: now() });
        Self::save(self);
    }

    fn flush(&self) -> Later<'_, ()> {
        Box::pin(Self::flush(self))
    }

    fn forget(&self, reader: &str) {
        Self::forget(self, reader);
    }

    fn folder(&self) -> PathBuf {
        self.path().parent().map(Path::to_owned).unwrap_or_default()
    }

    fn key(&self) -> Vec<u8> {
        Self::key(self)
    }

    fn dead<'a>(&'a self, reader: &'a str, record: &'a Record, reason: &'a str) -> Later<'a, ()> {
        let (reader, reason) = (reader.to_owned(), reason.to_owned());
        Box::pin(self.bury(DeadLetter { reader, seq: record.seq, time: now(), reason }))
    }
}
