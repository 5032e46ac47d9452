//! The events that an output has read and not dealt with yet.

use std::collections::VecDeque;
use std::sync::Arc;

use serin_event::Record;

use super::Item;

/// Read from the journal and not dealt with yet.
#[derive(Debug, Default)]
pub(crate) struct Window {
    pub(crate) items: VecDeque<Item>,
    pub(crate) bytes: usize,
    /// The highest number read.
    pub(crate) read: u64,
}

impl Window {
    pub(crate) fn push(&mut self, item: Item) {
        self.bytes += item.body.len();
        self.items.push_back(item);
    }

    pub(crate) fn remove(&mut self, at: usize) -> Option<Arc<Record>> {
        let item = self.items.remove(at)?;
        self.bytes -= item.body.len();
        Some(item.record)
    }

    pub(crate) fn clear(&mut self) {
        *self = Self { read: self.read, ..Self::default() };
    }

    /// Everything up to here is dealt with.
    pub(crate) fn low_mark(&self) -> u64 {
        self.items.front().map_or(self.read, |it| it.record.seq.saturating_sub(1))
    }

    /// How many events make a batch; at least one, if there is one.
    pub(crate) fn batch(&self, events: usize, bytes: usize) -> usize {
        let mut left = bytes;
        let fitting = self.items.iter().take(events.max(1)).enumerate().take_while(|(at, item)| {
            let fits = item.body.len() <= left || *at == 0;
            left = left.saturating_sub(item.body.len());
            fits
        });
        fitting.count()
    }
}
