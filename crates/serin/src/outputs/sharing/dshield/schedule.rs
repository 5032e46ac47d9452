//! When to post, and what: few posts, each row once, nothing old.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serin_event::Timestamp;

use super::commands::Commands;
use super::first::Told;
use super::rows::Kind;

/// However much there is to tell: posts are at least so far apart.
pub(super) const FLOOR: Duration = Duration::from_mins(1);
/// So many rows do not wait for company.
const ENOUGH: usize = 100;
/// ISC wants no older rows.
const OLDEST: Duration = Duration::from_hours(24);
/// A row whose posts had no known result is posted so often at most: once, and three times again.
pub(super) const POSTS_MAX: u8 = 4;

/// What must be known after a restart; saved with the cursor.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Memory {
    /// When the last post began.
    pub(super) posted: Option<i64>,
    /// Rows whose posts had no known result, by the number of the event, and how many those were.
    pub(super) unanswered: BTreeMap<Kind, BTreeMap<u64, u8>>,
    /// Events that wait with one row while that of this type is done with, by number.
    pub(super) partly: BTreeMap<u64, Kind>,
    /// Connections that were told and may be met again.
    pub(super) connections: Told,
    pub(super) commands: Commands,
    /// Rows that ISC confirmed.
    pub(super) confirmed: BTreeMap<Kind, u64>,
    /// The last confirmation, and when it came.
    pub(super) said: String,
    pub(super) said_at: Option<i64>,
    /// Rows that were not sent, by reason.
    pub(super) withheld: BTreeMap<String, u64>,
    /// Whether the operator was told what is sent.
    pub(super) introduced: bool,
}

impl Memory {
    /// How often this row was posted without an answer.
    pub(super) fn unanswered(&self, kind: Kind, seq: u64) -> u8 {
        self.unanswered.get(&kind).and_then(|it| it.get(&seq)).copied().unwrap_or(0)
    }

    /// These rows are being posted: should that be cut off, nobody knows what became of them.
    pub(super) fn post(&mut self, kind: Kind, numbers: &[u64]) {
        let posts = self.unanswered.entry(kind).or_default();
        for number in numbers {
            let count = posts.entry(*number).or_default();
            *count = count.saturating_add(1);
        }
    }

    /// What became of these posts is known.
    pub(super) fn answered(&mut self, kind: Kind, numbers: &[u64]) {
        if let Some(posts) = self.unanswered.get_mut(&kind) {
            posts.retain(|it, _| !numbers.contains(it));
        }
        self.unanswered.retain(|_, it| !it.is_empty());
    }

    /// Nothing of this event waits any more.
    pub(super) fn settled(&mut self, seq: u64) {
        for kind in Kind::ALL {
            self.answered(kind, &[seq]);
        }
        self.partly.remove(&seq);
        self.commands.settled(seq);
    }

    /// Nothing before this number waits.
    pub(super) fn forget_before(&mut self, seq: u64) {
        for posts in self.unanswered.values_mut() {
            *posts = posts.split_off(&seq);
        }
        self.unanswered.retain(|_, it| !it.is_empty());
        self.partly = self.partly.split_off(&seq);
        self.commands.forget_before(seq);
    }

    /// For a person.
    pub(super) fn told(&self) -> String {
        let sum: u64 = self.confirmed.values().sum();
        let mut text = format!("ISC confirmed {sum} rows");
        // Writing to a String cannot fail.
        let kinds: Vec<_> =
            self.confirmed.iter().map(|(kind, count)| format!("{count} {}", kind.name())).collect();
        if !kinds.is_empty() {
            let _ = write!(text, " ({})", kinds.join(", "));
        }
        if let Some(at) = self.said_at {
            let _ = write!(text, ", the last at {}: {}", Timestamp(at).rfc3339(), self.said);
        }
        let unanswered: usize = self.unanswered.values().map(BTreeMap::len).sum();
        if unanswered > 0 {
            let _ = write!(text, "; {unanswered} posted without an answer");
        }
        if !self.withheld.is_empty() {
            let reasons: Vec<_> = self.withheld.iter().map(|(why, count)| format!("{count} {why}")).collect();
            let _ = write!(text, "; withheld: {}", reasons.join(", "));
        }
        text
    }
}

/// One waiting row, as far as the time table wants to know it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Waiting {
    pub(super) kind: Kind,
    pub(super) time: Timestamp,
}

/// What to do now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Plan {
    /// Post rows of this type.
    Post(Kind),
    /// Come back after this time.
    Wait(Duration),
}

/// When this sensor posts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Schedule {
    pub(super) interval: Duration,
    /// Spreads the posts of many sensors.
    pub(super) seed: u64,
}

impl Schedule {
    /// What to do at `now`. `posted` is when the last post began, `hurry` that the sensor stops.
    pub(super) fn plan(&self, waiting: &[Waiting], posted: Option<i64>, now: Timestamp, hurry: bool) -> Plan {
        let due_in = |kind: Kind| {
            let of_kind = || waiting.iter().filter(move |it| it.kind == kind);
            let oldest = of_kind().map(|it| it.time.0).min()?;
            if hurry || of_kind().count() >= ENOUGH {
                return Some(Duration::ZERO);
            }
            Some(self.spread(posted).saturating_sub(since(oldest, now)))
        };
        let due =
            Kind::ALL.into_iter().filter_map(|kind| Some((due_in(kind)?, oldest(waiting, kind)?, kind)));
        // What is due first; of several the one that waits longest.
        let Some((wait, _, kind)) = due.min() else { return Plan::Wait(self.interval) };
        let floor = posted.map_or(Duration::ZERO, |it| FLOOR.saturating_sub(since(it, now)));
        let wait = wait.max(floor);
        if wait.is_zero() { Plan::Post(kind) } else { Plan::Wait(wait) }
    }

    /// The interval, up to a tenth longer or shorter: another one after each post.
    fn spread(&self, posted: Option<i64>) -> Duration {
        let mut bits = self.seed ^ posted.unwrap_or(0).cast_unsigned();
        bits = (bits ^ (bits >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
        bits = (bits ^ (bits >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
        let thousandths = 900 + u32::try_from((bits ^ (bits >> 33)) % 201).unwrap_or(100);
        (self.interval * thousandths / 1000).max(FLOOR)
    }
}

fn oldest(waiting: &[Waiting], kind: Kind) -> Option<Timestamp> {
    waiting.iter().filter(|it| it.kind == kind).map(|it| it.time).min()
}

/// Whether ISC does not want a row of this time any more.
pub(super) fn is_stale(time: Timestamp, now: Timestamp) -> bool {
    since(time.0, now) > OLDEST
}

/// From a time in microseconds until now; nothing when the clock was set back since.
fn since(time: i64, now: Timestamp) -> Duration {
    Duration::from_micros(u64::try_from(now.0.saturating_sub(time)).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_795_296_991_000_000);

    fn ago(seconds: i64) -> Timestamp {
        Timestamp(NOW.0 - seconds * 1_000_000)
    }

    fn rows(kind: Kind, count: usize, age: i64) -> Vec<Waiting> {
        vec![Waiting { kind, time: ago(age) }; count]
    }

    fn schedule() -> Schedule {
        Schedule { interval: Duration::from_mins(15), seed: 7 }
    }

    #[test]
    fn a_row_waits_for_company_but_not_forever() {
        let it = schedule();
        let Plan::Wait(time) = it.plan(&rows(Kind::Cowrie, 1, 0), None, NOW, false) else { panic!("posted") };
        assert!((810..=990).contains(&time.as_secs()), "{time:?}");
        assert_eq!(it.plan(&rows(Kind::Cowrie, 1, 991), None, NOW, false), Plan::Post(Kind::Cowrie));
        assert_eq!(it.plan(&rows(Kind::Cowrie, 100, 0), None, NOW, false), Plan::Post(Kind::Cowrie));
        assert_eq!(
            it.plan(&rows(Kind::Cowrie, 1, 0), None, NOW, true),
            Plan::Post(Kind::Cowrie),
            "at the end"
        );
        assert_eq!(it.plan(&[], None, NOW, true), Plan::Wait(Duration::from_mins(15)));
    }

    #[test]
    fn nothing_shortens_the_time_between_two_posts() {
        let it = schedule();
        for hurry in [false, true] {
            for age in [0, 991, 80_000] {
                let full = [rows(Kind::Cowrie, 500, age), rows(Kind::Firewall, 500, age)].concat();
                for (last, left) in [(0, 60), (1, 59), (59, 1)] {
                    let plan = it.plan(&full, Some(ago(last).0), NOW, hurry);
                    assert_eq!(plan, Plan::Wait(Duration::from_secs(left)), "{hurry} {age} {last}");
                }
                assert!(matches!(it.plan(&full, Some(ago(60).0), NOW, hurry), Plan::Post(_)));
            }
        }
        // The clock was set back by an hour: a minute from then on, at most.
        let plan = it.plan(&rows(Kind::Cowrie, 100, 0), Some(ago(-3600).0), NOW, false);
        assert_eq!(plan, Plan::Wait(FLOOR));
    }

    #[test]
    fn a_short_interval_ends_at_the_floor_too() {
        let it = Schedule { interval: FLOOR, seed: 7 };
        for posted in 0..1000 {
            assert!(it.spread(Some(posted)) >= FLOOR);
        }
    }

    #[test]
    fn posts_are_spread_by_a_tenth_around_the_interval() {
        let waits: Vec<_> = (0..1000).map(|posted| schedule().spread(Some(posted)).as_secs()).collect();
        assert!(waits.iter().all(|it| (810..=990).contains(it)));
        assert!(waits.iter().any(|it| *it < 830) && waits.iter().any(|it| *it > 970));
    }

    #[test]
    fn types_take_turns_by_age() {
        let both = [rows(Kind::Cowrie, 100, 10), rows(Kind::Firewall, 1, 2000)].concat();
        assert_eq!(schedule().plan(&both, None, NOW, false), Plan::Post(Kind::Firewall));
    }

    #[test]
    fn what_is_older_than_a_day_is_stale() {
        assert!(!is_stale(ago(86_400), NOW) && is_stale(ago(86_401), NOW));
    }
}
