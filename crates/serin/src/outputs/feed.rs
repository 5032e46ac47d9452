//! Where outputs read from: the journal, as far as the engine needs it.

use std::sync::Arc;

use serin_event::Record;
use tokio::sync::watch;

use super::Later;

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
