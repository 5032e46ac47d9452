//! When it is saved where a task stands: what was delivered after that is delivered again after a
//! crash.

use std::time::Duration;

use tokio::time::Instant;

use super::{LAST_SYNC, Task};
use crate::outputs::call::{Call, guard};
use crate::outputs::status::State;

/// One save, and one sync of what was delivered, in this time, unless the output wants more
/// ([`Output::unsaved_max`](crate::outputs::Output::unsaved_max)). With the time that a commit takes
/// less than a second is sent again.
const SAVE_EVERY: Duration = Duration::from_millis(500);
/// How often a status is saved that tells of trouble, while the cursor stands still.
const STATUS_EVERY: Duration = Duration::from_secs(10);
/// So long a disk is waited for.
const DISK: Duration = Duration::from_secs(1);

impl Task {
    /// When what has moved is to be saved.
    pub(super) fn next_save(&self) -> Instant {
        self.saved_at + SAVE_EVERY
    }

    /// Also when nothing moves: whoever asks for the status from outside reads what was saved.
    pub(super) async fn save_if_due(&mut self) {
        let now = Instant::now();
        let moved = self.has_moved() || self.status.read().state != self.saved_state;
        let stale = self.status.read().state != State::Ok && now >= self.saved_at + STATUS_EVERY;
        let learned = self.status.read().memory != self.saved_memory;
        let most = self.output.unsaved_max();
        let precious = self.unsaved > 0 && most < usize::MAX && moved;
        if learned || precious || (now >= self.saved_at + SAVE_EVERY && (moved || stale)) {
            self.save().await;
        }
        if self.unsaved >= most {
            // A store that cannot write must not stop the alerts.
            let _ = tokio::time::timeout(DISK, self.feed.flush()).await;
            self.unsaved = 0;
        }
    }

    /// Makes durable what was delivered, then moves the cursor past it.
    pub(super) async fn save(&mut self) {
        let low = self.window.low_mark();
        self.saved_at = Instant::now();
        if self.has_moved() && !self.disabled {
            let mut patience = self.output.deadline();
            if let Some(by) = self.stop() {
                patience = patience.min(by.saturating_duration_since(self.saved_at)).max(LAST_SYNC);
            }
            let why = match guard(self.output.sync(), patience).await {
                Call::Done(Ok(())) => None,
                Call::Done(Err(why)) => Some(why),
                Call::Late(_) => Some("writing to the disk takes too long".to_owned()),
                Call::Panicked => Some("the output failed in an unexpected way".to_owned()),
            };
            if let Some(why) = why {
                self.failed(State::BackingOff, &why);
                return;
            }
            let mut status = self.status.write();
            if status.state == State::BackingOff && self.window.items.is_empty() {
                // It was the sync that had failed.
                status.state = State::Ok;
            }
        }
        self.saved = low;
        self.saved_high = self.window.high_mark();
        {
            let mut status = self.status.write();
            status.cursor = low;
            status.tested = self.window.tested();
            self.saved_state = status.state;
            self.saved_memory.clone_from(&status.memory);
        }
        self.feed.save(&self.conf.name, low, self.state_text());
    }

    /// Whether more is dealt with than was saved.
    pub(super) fn has_moved(&self) -> bool {
        self.window.low_mark() > self.saved || self.window.high_mark() > self.saved_high
    }
}
