//! The events that an output has read and not dealt with yet.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serin_event::Record;

use super::Item;

/// Read from the journal and not dealt with yet.
#[derive(Debug, Default)]
pub(crate) struct Window {
    pub(crate) items: VecDeque<Item>,
    pub(crate) bytes: usize,
    /// The highest number read.
    pub(crate) read: u64,
    /// The highest number dealt with, while events before it wait.
    done: u64,
    /// What an earlier run left behind its cursor.
    before: Ahead,
    /// Events of self-tests among the items.
    tests: usize,
}

/// What is dealt with beyond a cursor, because events before it wait: all numbers up to `to`, except
/// those that wait. Bounded by what a window holds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ahead {
    to: u64,
    waiting: BTreeSet<u64>,
}

impl Ahead {
    /// Whether nothing of it comes after this number: the journal lost its end, otherwise, and gives
    /// the numbers away once more.
    pub(crate) fn is_within(&self, newest: u64) -> bool {
        self.to <= newest
    }
}

impl Window {
    /// An empty one; what follows this number is to be read.
    pub(crate) fn after(seq: u64) -> Self {
        Self { read: seq, ..Self::default() }
    }

    pub(crate) fn push(&mut self, item: Item) {
        self.bytes += item.body.len();
        self.tests += usize::from(item.record.is_selftest());
        self.items.push_back(item);
    }

    pub(crate) fn remove(&mut self, at: usize) -> Option<Arc<Record>> {
        let item = self.items.remove(at)?;
        self.bytes -= item.body.len();
        self.tests = self.tests.saturating_sub(usize::from(item.record.is_selftest()));
        self.done = self.done.max(item.record.seq);
        Some(item.record)
    }

    pub(crate) fn clear(&mut self) {
        *self = Self::after(self.read);
    }

    /// Up to here nothing of a self-test waits.
    pub(crate) fn tested(&self) -> u64 {
        if self.tests == 0 { self.read } else { self.low_mark() }
    }

    /// Everything up to here is dealt with.
    pub(crate) fn low_mark(&self) -> u64 {
        self.items.front().map_or(self.read, |it| it.record.seq.saturating_sub(1))
    }

    /// What is dealt with beyond [`Self::low_mark`].
    pub(crate) fn ahead(&self) -> Option<Ahead> {
        let waiting = || {
            let read = self.items.iter().map(|it| it.record.seq).filter(|it| *it < self.done);
            let unread = self.before.waiting.range(self.read.saturating_add(1)..).copied();
            read.chain(unread).collect()
        };
        (self.done > self.low_mark()).then(|| Ahead { to: self.done, waiting: waiting() })
    }

    /// Goes on where an earlier run stopped.
    pub(crate) fn resume(&mut self, ahead: Ahead) {
        self.done = ahead.to;
        self.before = ahead;
    }

    /// Whether an earlier run dealt with this number.
    pub(crate) fn is_done(&self, seq: u64) -> bool {
        seq <= self.before.to && !self.before.waiting.contains(&seq)
    }

    /// The highest number dealt with, whatever waits before it.
    pub(crate) fn high_mark(&self) -> u64 {
        self.done.max(self.low_mark())
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
