//! Which connection of a source to a port is the first of its minute: of many alike, ISC gets that one.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;

use serin_event::{Record, Timestamp};

/// So many connections are remembered; of more in one minute none is told.
const CONNECTIONS_MAX: usize = 20_000;
/// So many of those that were told are remembered across a restart: the last ones.
const TOLD_MAX: usize = 2000;
/// What was told is remembered so long at least: an event of the same minute may still come.
const KEPT: i64 = 5;

/// A source, the port that it came to, and the minute, counted from 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Connection {
    minute: i64,
    source: IpAddr,
    port: u16,
}

impl Connection {
    pub(super) fn of(record: &Record, source: IpAddr) -> Self {
        Self { minute: minute(record.time), source, port: record.target.port.unwrap_or(0) }
    }
}

/// What was told already, as it is remembered: minute, source, port, and the number of the event.
pub(super) type Told = Vec<(i64, IpAddr, u16, u64)>;

/// The events that came first, by number: whenever such an event is read again, it is still the first.
#[derive(Debug, Default)]
pub(super) struct FirstOfMinute {
    seen: BTreeMap<i64, HashMap<(IpAddr, u16), u64>>,
    count: usize,
}

impl FirstOfMinute {
    /// As a restart finds it.
    pub(super) fn recall(told: &Told) -> Self {
        let mut first = Self::default();
        for (minute, source, port, seq) in told {
            first.is_first(Connection { minute: *minute, source: *source, port: *port }, *seq);
        }
        first
    }

    /// Whether this event is the one that tells of the connection.
    pub(super) fn is_first(&mut self, connection: Connection, seq: u64) -> bool {
        let Connection { minute, source, port } = connection;
        let known = self.seen.get(&minute).and_then(|it| it.get(&(source, port)));
        if let Some(known) = known {
            return *known == seq;
        }
        while self.count >= CONNECTIONS_MAX {
            match self.seen.first_entry() {
                Some(oldest) if *oldest.key() < minute => {
                    self.count = self.count.saturating_sub(oldest.remove().len());
                }
                _ => return false,
            }
        }
        self.seen.entry(minute).or_default().insert((source, port), seq);
        self.count += 1;
        true
    }
}

/// Notes that ISC was told of a connection.
pub(super) fn note(told: &mut Told, connection: Connection, seq: u64) {
    told.push((connection.minute, connection.source, connection.port, seq));
    let over = told.len().saturating_sub(TOLD_MAX);
    told.drain(..over);
}

/// Forgets what no event can be alike to any more: `oldest` is the time of the oldest one that waits.
pub(super) fn forget(told: &mut Told, oldest: Timestamp, now: Timestamp) {
    let kept = minute(oldest).min(minute(now).saturating_sub(KEPT));
    told.retain(|it| it.0 >= kept);
}

fn minute(time: Timestamp) -> i64 {
    time.0.div_euclid(60_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connection(minute: i64, source: u32) -> Connection {
        Connection { minute, source: IpAddr::V4(source.into()), port: 80 }
    }

    #[test]
    fn the_first_of_a_minute_stays_the_first() {
        let mut first = FirstOfMinute::default();
        assert!(first.is_first(connection(5, 1), 10) && first.is_first(connection(6, 1), 11));
        // Of the minute before, although the next one began: it is alike still.
        assert!(!first.is_first(connection(5, 1), 12) && first.is_first(connection(5, 1), 10));
        assert!(first.is_first(connection(5, 2), 13));
        let mut told = Told::new();
        note(&mut told, connection(5, 1), 10);
        let mut first = FirstOfMinute::recall(&told);
        assert!(first.is_first(connection(5, 1), 10) && !first.is_first(connection(5, 1), 14));
        assert!(first.is_first(connection(6, 1), 11), "it was not told");
    }

    #[test]
    fn neither_a_flood_nor_time_makes_it_grow() {
        let mut first = FirstOfMinute::default();
        let mut told = Told::new();
        for source in 0..30_000 {
            let taken = first.is_first(connection(5, source), source.into());
            assert_eq!(taken, source < 20_000);
            note(&mut told, connection(5, source), source.into());
        }
        assert!(!first.is_first(connection(4, 1), 1), "the past is full too");
        assert!(first.is_first(connection(6, 1), 40_000), "a new minute begins");
        assert_eq!((first.count, first.seen.len()), (1, 1));
        assert_eq!((told.len(), told[0].3), (TOLD_MAX, 28_000));
        let at = |minute: i64| Timestamp(minute * 60_000_000);
        forget(&mut told, at(5), at(500));
        forget(&mut told, at(500), at(10));
        assert_eq!(told.len(), TOLD_MAX, "an event of that minute waits, or may come");
        forget(&mut told, at(500), at(11));
        assert!(told.is_empty());
    }
}
