//! Mails that some of their recipients have while others do not take them yet.
//!
//! Remembered by the numbers of the events that such a mail tells, across restarts too, so that
//! nobody gets twice what another one refuses for now. It goes again as it is, alone, and only to
//! those who lack it; what happens meanwhile is told to everybody.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serin_event::Timestamp;
use tokio::time::Instant;

use crate::outputs::backoff::Backoff;

/// Who lacks a mail that others have so long after it was due goes without it.
const GIVEN_UP: Duration = Duration::from_hours(24);
/// Of so many events at most: they hold places in what a channel looks at.
const EVENTS_MAX: usize = 400;

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Partly(Vec<Mail>);

#[derive(Debug)]
struct Mail {
    entry: Entry,
    backoff: Backoff,
    again: Instant,
}

/// One mail, as it is remembered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Entry {
    /// The numbers of what it tells.
    events: Vec<u64>,
    /// Addresses of those who have it.
    done: Vec<String>,
}

impl Partly {
    /// As [`Self::memory`] said.
    pub(super) fn recall(memory: Option<&str>) -> Self {
        let entries: Vec<Entry> = memory.and_then(|it| serde_json::from_str(it).ok()).unwrap_or_default();
        let mail = |entry| Mail { entry, backoff: Backoff::new(), again: Instant::now() };
        Self(entries.into_iter().map(mail).collect())
    }

    pub(super) fn memory(&self) -> Option<String> {
        let entries: Vec<_> = self.0.iter().map(|it| &it.entry).collect();
        if entries.is_empty() { None } else { serde_json::to_string(&entries).ok() }
    }

    /// The events of each, and how long it rests.
    pub(super) fn all(&self) -> Vec<(Vec<u64>, Duration)> {
        let rest = |it: &Mail| it.again.saturating_duration_since(Instant::now());
        self.0.iter().map(|it| (it.entry.events.clone(), rest(it))).collect()
    }

    /// Who has all of these events already.
    pub(super) fn done(&self, events: &[u64]) -> Vec<String> {
        self.place(events).and_then(|it| self.0.get(it)).map(|it| it.entry.done.clone()).unwrap_or_default()
    }

    /// Somebody else has to wait for these events. How long.
    pub(super) fn keep(&mut self, events: &[u64], done: Vec<String>) -> Duration {
        let place = self.place(events).unwrap_or_else(|| {
            let entry = Entry { events: events.to_vec(), done: Vec::new() };
            self.0.push(Mail { entry, backoff: Backoff::new(), again: Instant::now() });
            self.0.len().saturating_sub(1)
        });
        let Some(mail) = self.0.get_mut(place) else { return Duration::ZERO };
        mail.entry.done = done;
        let rest = mail.backoff.next(None);
        mail.again = Instant::now() + rest;
        rest
    }

    /// Nobody waits for these events any more.
    pub(super) fn settled(&mut self, events: &[u64]) {
        for mail in &mut self.0 {
            mail.entry.events.retain(|it| !events.contains(it));
        }
        self.0.retain(|it| !it.entry.events.is_empty());
    }

    /// What came before this event is over.
    pub(super) fn forget_before(&mut self, event: u64) {
        for mail in &mut self.0 {
            mail.entry.events.retain(|it| *it >= event);
        }
        self.0.retain(|it| !it.entry.events.is_empty());
    }

    /// Whether who does not take a mail of this time, which others have, is to go without.
    pub(super) fn gives_up(&self, events: &[u64], time: Timestamp, now: Timestamp) -> bool {
        let age = u64::try_from(now.0.saturating_sub(time.0)).unwrap_or(0);
        let kept: usize = self.0.iter().map(|it| it.entry.events.len()).sum();
        let full = self.place(events).is_none() && kept.saturating_add(events.len()) > EVENTS_MAX;
        full || Duration::from_micros(age) > GIVEN_UP
    }

    fn place(&self, events: &[u64]) -> Option<usize> {
        self.0.iter().position(|mail| events.iter().all(|it| mail.entry.events.contains(it)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_what_survives_a_restart() {
        let mut partly = Partly::default();
        partly.keep(&[3, 5], vec!["a@example.org".to_owned()]);
        let mut partly = Partly::recall(partly.memory().as_deref());
        assert_eq!(partly.all().into_iter().map(|it| it.0).collect::<Vec<_>>(), [[3, 5]]);
        assert_eq!(partly.done(&[5]), ["a@example.org"]);
        assert!(partly.done(&[3, 4]).is_empty(), "nobody has both");
        partly.settled(&[3]);
        assert_eq!(partly.all().len(), 1);
        partly.forget_before(6);
        assert_eq!(partly.memory(), None);
        assert_eq!(Partly::recall(Some("nonsense")).memory(), None);
    }

    #[test]
    fn who_never_takes_it_goes_without_after_a_day() {
        let mut partly = Partly::default();
        let (time, hour) = (Timestamp(1_000_000), 3_600_000_000);
        assert!(!partly.gives_up(&[1], time, Timestamp(time.0 + 23 * hour)));
        assert!(partly.gives_up(&[1], time, Timestamp(time.0 + 25 * hour)));
        assert!(!partly.gives_up(&[1], time, Timestamp(0)), "the clock was set back");
        let many: Vec<u64> = (1..=400).collect();
        partly.keep(&many, Vec::new());
        assert!(!partly.gives_up(&many, time, time), "what is kept goes on");
        assert!(partly.gives_up(&[401], time, time));
    }
}
