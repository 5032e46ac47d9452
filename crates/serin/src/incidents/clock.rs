//! An engine's time: it never goes back, and after the system's was set back it still goes on.

use serde::{Deserialize, Serialize};
use serin_event::Timestamp;

/// Made of the times of events and of what the caller says the time is. In microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Clock {
    now: i64,
    /// By how much it is ahead of the system's, because that was set back.
    ahead: i64,
    /// What the caller said last.
    told: i64,
}

impl Clock {
    /// The latest time so far.
    pub(crate) fn now(self) -> i64 {
        self.now
    }

    /// The same as the system would say it.
    pub(crate) fn wall(self) -> Timestamp {
        self.as_told(self.now)
    }

    /// A time of this clock, as the system would say it.
    pub(crate) fn as_told(self, at: i64) -> Timestamp {
        Timestamp(at.saturating_sub(self.ahead))
    }

    /// So much earlier, as the system would say it.
    pub(crate) fn before(self, micros: i64) -> Timestamp {
        Timestamp(self.wall().0.saturating_sub(micros))
    }

    /// Something happened then. Events come late, and now and then with a wrong time.
    pub(crate) fn event(&mut self, time: Timestamp) {
        let latest = if self.told == 0 { i64::MAX } else { self.told.saturating_add(FUTURE) };
        self.now = self.now.max(time.0.min(latest).saturating_add(self.ahead));
    }

    /// The time of something that happened before, not later than now.
    pub(crate) fn of_past(self, time: Timestamp) -> i64 {
        time.0.saturating_add(self.ahead).min(self.now)
    }

    /// It is this late now. Said at least every second, so that a step back is seen as one.
    pub(crate) fn tick(&mut self, now: Timestamp) {
        if self.told != 0 && now.0 < self.told.saturating_sub(JITTER) {
            self.ahead = self.now.saturating_sub(now.0);
        }
        self.told = now.0;
        self.now = self.now.max(now.0.saturating_add(self.ahead));
    }
}

/// A smaller step back is just waited for.
const JITTER: i64 = 1_000_000;
/// No event is believed to be so much later than what the time was said to be: its clock was wrong, or
/// nobody said the time for long.
const FUTURE: i64 = 24 * 3600 * 1_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000_000;

    #[test]
    fn it_goes_on_after_the_systems_was_set_back() {
        let mut clock = Clock::default();
        clock.tick(Timestamp(100_000 * SECOND));
        clock.event(Timestamp(100_001 * SECOND));
        assert_eq!(clock.now(), 100_001 * SECOND);
        clock.tick(Timestamp(50_000 * SECOND));
        assert_eq!(clock.now(), 100_001 * SECOND);
        clock.tick(Timestamp(50_007 * SECOND));
        assert_eq!((clock.now(), clock.wall()), (100_008 * SECOND, Timestamp(50_007 * SECOND)));
        clock.event(Timestamp(50_009 * SECOND));
        assert_eq!(clock.now(), 100_010 * SECOND);
        assert_eq!(clock.before(9 * SECOND), Timestamp(50_000 * SECOND));
    }

    #[test]
    fn late_and_impossible_times_do_no_harm() {
        let mut clock = Clock::default();
        clock.tick(Timestamp(1000 * SECOND));
        clock.event(Timestamp(i64::MIN));
        assert_eq!(clock.now(), 1000 * SECOND);
        clock.event(Timestamp(i64::MAX));
        assert_eq!(clock.now(), 1000 * SECOND + FUTURE);
        clock.tick(Timestamp(i64::MIN));
        clock.tick(Timestamp(i64::MAX));
        assert_eq!(clock.of_past(Timestamp(i64::MAX)), clock.now());
    }
}
