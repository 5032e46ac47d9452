//! Records held in memory, bounded by their number and by their bytes.

use std::borrow::Borrow;
use std::collections::VecDeque;

use serin_event::Record;

/// Records in order, with what they take up.
pub(super) struct Ring<T> {
    records: VecDeque<T>,
    bytes: usize,
    most: usize,
    most_bytes: usize,
}

impl<T: Borrow<Record>> Ring<T> {
    /// For at most so many records of so many bytes together. Whoever adds drops what is too much.
    pub(super) fn new(most: usize, most_bytes: usize) -> Self {
        Self { records: VecDeque::new(), bytes: 0, most, most_bytes }
    }

    /// Whether it holds more than it may.
    pub(super) fn is_over(&self) -> bool {
        self.records.len() > self.most || self.bytes > self.most_bytes
    }

    pub(super) fn push_back(&mut self, record: T) {
        self.bytes += size(record.borrow());
        self.records.push_back(record);
    }

    pub(super) fn push_front(&mut self, record: T) {
        self.bytes += size(record.borrow());
        self.records.push_front(record);
    }

    pub(super) fn pop_front(&mut self) -> Option<T> {
        let record = self.records.pop_front()?;
        self.bytes -= size(record.borrow());
        Some(record)
    }

    /// Takes the first `most` out.
    pub(super) fn take(&mut self, most: usize) -> Vec<T> {
        std::iter::from_fn(|| self.pop_front()).take(most).collect()
    }

    pub(super) fn len(&self) -> usize {
        self.records.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.records.is_empty()
    }
}

impl<T: Borrow<Record> + Clone> Ring<T> {
    /// Up to `most` records after number `seq`, where the numbers rise. `None` if some that follow
    /// `seq` may be gone from here.
    pub(super) fn after(&self, seq: u64, most: usize) -> Option<Vec<T>> {
        if self.records.front()?.borrow().seq > seq + 1 {
            return None;
        }
        // Not by counting: after a damage the numbers go on with a gap.
        let first = self.records.partition_point(|it| it.borrow().seq <= seq);
        Some(self.records.range(first..).take(most).cloned().collect())
    }
}

/// Bytes that a record takes up, nearly.
pub(super) fn size(record: &Record) -> usize {
    size_of::<Record>() + record.logdata.len() + record.details.len()
}
