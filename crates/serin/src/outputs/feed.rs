//! Where outputs read from: the journal, as far as the engine needs it.

use std::sync::Arc;

use serin_event::{Record, Timestamp};
use serin_store::{DeadLetter, ReaderState};
use tokio::sync::watch;

use super::Later;
use crate::runtime::journal::Journal;

/// A journal of records in order of their numbers, with a cursor for each reader.
pub trait Feed: Send + Sync {
    /// Up to `most` durable records after `seq`, in order. Nothing, when there are none or when
    /// they cannot be read just now.
    fn after(&self, seq: u64, most: usize) -> Later<'_, Vec<Arc<Record>>>;

    /// Tells the last durable record's number whenever it grows.
    fn stored(&self) -> watch::Receiver<u64>;

    /// Where a reader stands; `None`: it is new.
    fn saved(&self, reader: &str) -> Option<u64>;

    /// Notes that a reader is done with everything up to `seq`, and its status as JSON text.
    fn save(&self, reader: &str, seq: u64, status: String);

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

    fn saved(&self, reader: &str) -> Option<u64> {
        self.cursor(reader)
    }

    fn save(&self, reader: &str, seq: u64, status: String) {
        self.advance(ReaderState { name: reader.to_owned(), cursor: seq, status, updated: now() });
    }

    fn dead<'a>(&'a self, reader: &'a str, record: &'a Record, reason: &'a str) -> Later<'a, ()> {
        let (reader, reason) = (reader.to_owned(), reason.to_owned());
        Box::pin(self.bury(DeadLetter { reader, seq: record.seq, time: now(), reason }))
    }
}

fn now() -> Timestamp {
    Timestamp(jiff::Timestamp::now().as_microsecond())
}
