//! Tests of the store as a whole; each file takes one promise.

mod crash;
mod damage;
mod durability;
mod incidents;
mod queries;
mod retention;

use std::sync::Arc;

use serin_event::{Endpoint, Kind, Record, Timestamp, kinds};

use crate::{Options, Store};

/// 2026-11-22 00:00 UTC.
pub(crate) const NOW: i64 = 1_795_305_600_000_000;

/// Numbers that look random and are the same in each run. Marsaglia's xorshift64.
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }

    pub(crate) fn one_of<T: Clone>(&mut self, list: &[T]) -> T {
        list[usize::try_from(self.below(list.len() as u64)).unwrap()].clone()
    }
}

/// An event like many others, `n` seconds after [`NOW`].
pub(crate) fn record(n: i64) -> Record {
    let node_id: Arc<str> = "canary-1".into();
    let kind: &'static Kind = &kinds::FTP_LOGIN;
    Record {
        seq: 0,
        time: Timestamp(NOW + n * 1_000_000),
        utc_offset: -5 * 3600,
        node_id,
        session: n.cast_unsigned(),
        kind,
        source: Endpoint { host: "192.0.2.7".parse().ok(), port: Some(40_000) },
        target: Endpoint { host: "2001:db8::21".parse().ok(), port: Some(21) },
        honeycred: None,
        logdata: format!("{{\"PASSWORD\": \"{n}\", \"USERNAME\": \"root\"}}").into(),
        details: "{}".into(),
    }
}

pub(crate) fn records(numbers: std::ops::Range<i64>) -> Vec<Record> {
    numbers.map(record).collect()
}

/// A new store in a directory of its own.
pub(crate) fn store() -> (tempfile::TempDir, Options, Store) {
    let directory = tempfile::tempdir().unwrap();
    let options = Options::new(directory.path().join("serin.db"));
    let (store, _) = Store::open(&options).unwrap();
    (directory, options, store)
}
