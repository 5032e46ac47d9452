//! How a task goes on where the last one stopped. Where a receiver can be asked what it got last, a
//! crash doubles nothing.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use serin_event::Record;

use super::{FETCH, Task};
use crate::outputs::call::{Call, guard};
use crate::outputs::status::OutputStatus;

impl Task {
    /// Tells the output what it knew before, and takes up what it was done with beyond the cursor.
    pub(super) fn recall(&mut self) -> Result<(), String> {
        let saved = self.feed.status(&self.conf.name)?;
        let saved = saved.and_then(|it| serde_json::from_str::<OutputStatus>(&it).ok()).unwrap_or_default();
        self.output.keep_in(&self.feed.folder(), &self.conf.name);
        self.output.recall(saved.memory.as_deref());
        // Once somebody moved the cursor, it is the cursor that counts.
        if let Some(ahead) = saved.ahead.filter(|_| saved.cursor == self.window.read)
            && ahead.is_within(*self.stored.borrow())
        {
            self.window.resume(ahead);
        }
        self.saved_high = self.window.high_mark();
        let mut status = self.status.write();
        status.memory = self.output.memory();
        status.cursor = self.window.read;
        Ok(())
    }

    /// What is saved beside the cursor.
    pub(super) fn state_text(&self) -> String {
        let status = OutputStatus { ahead: self.window.ahead(), ..self.status() };
        serde_json::to_string(&status).unwrap_or_default()
    }

    /// After a crash between a delivery and the save of the cursor, the receiver has more than the
    /// cursor says. Where it can be asked what it got last, that is not sent twice: the end of what
    /// it has must be the very events that follow the cursor, in order and without a gap.
    pub(super) async fn skip_delivered(&mut self) {
        let deadline = self.output.deadline();
        let Call::Done(latest) = guard(self.output.latest(), deadline).await else { return };
        let Some(last) = latest.last() else { return };
        let cursor = self.window.read;
        if let Some(here) = self.feed.after(cursor.saturating_sub(1), 1).await.first()
            && here.seq == cursor
            && self.identity(&self.policy.conceal(here.clone())).as_ref() == Some(last)
        {
            return;
        }
        let places: HashMap<&[u8], usize> =
            latest.iter().enumerate().map(|(at, identity)| (identity.as_slice(), at)).collect();
        let (mut read, mut compared, mut found) = (cursor, 0, None);
        // The run of matches: the place of its last event among the latest.
        let mut run: Option<usize> = None;
        'journal: while compared < COMPARED_MAX {
            let records = self.feed.after(read, FETCH).await;
            let Some(newest) = records.last() else { break };
            read = newest.seq;
            compared += records.len();
            for record in records.iter().filter(|it| self.policy.wants(it)) {
                let record = self.policy.conceal(record.clone());
                let place = self.identity(&record).and_then(|it| places.get(it.as_slice()).copied());
                match (place, run) {
                    (Some(place), None) => run = Some(place),
                    (Some(place), Some(before)) if place > before => run = Some(place),
                    (None, None) => continue,
                    _ => break 'journal,
                }
                found = Some(record.seq);
            }
        }
        // A run that ends before the end was written by something else, or long ago.
        if run == Some(latest.len() - 1)
            && let Some(found) = found
        {
            self.window.read = found;
        }
    }

    fn identity(&self, record: &Record) -> Option<Vec<u8>> {
        catch_unwind(AssertUnwindSafe(|| self.output.identity(record))).ok().flatten()
    }
}

/// At the start, so many records after the cursor are compared with what the receiver got last.
const COMPARED_MAX: usize = 200_000;
