//! The events that an output has read and not dealt with yet.

use std::collections::VecDeque;
use std::sync::Arc;

use serin_event::Record;

/// Read from the journal and not dealt with yet.
#[derive(Debug, Default)]
pub(crate) struct Window {
    pub(crate) records: VecDeque<Arc<Record>>,
    /// Beside `records`, so that a batch is a slice.
    pub(crate) payloads: VecDeque<Vec<u8>>,
    pub(crate) bytes: usize,
    /// The highest number read.
    pub(crate) read: u64,
}

impl Window {
    pub(crate) fn push(&mut self, record: Arc<Record>, payload: Vec<u8>) {
        self.bytes += payload.len();
        self.payloads.push_back(payload);
        self.records.push_back(record);
    }

    pub(crate) fn remove(&mut self, at: usize) -> Option<Arc<Record>> {
        self.bytes -= self.payloads.remove(at).map_or(0, |it| it.len());
        self.records.remove(at)
    }

    pub(crate) fn clear(&mut self) {
        *self = Self { read: self.read, ..Self::default() };
    }

    /// Everything up to here is dealt with.
    pub(crate) fn low_mark(&self) -> u64 {
        self.records.front().map_or(self.read, |it| it.seq.saturating_sub(1))
    }

    /// How many events make a batch; at least one, if there is one.
    pub(crate) fn batch(&self, events: usize, bytes: usize) -> usize {
        let mut left = bytes;
        let fitting = self.payloads.iter().take(events.max(1)).enumerate().take_while(|(at, payload)| {
            let fits = payload.len() <= left || *at == 0;
            left = left.saturating_sub(payload.len());
            fits
        });
        fitting.count()
    }
}
