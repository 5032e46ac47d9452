//! Too much of one source: counted and told together, not one by one.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::seats::host_of;

/// Counts events per source and second, and what was refused.
pub(crate) struct Floods {
    /// Most events of one source in a second; 0: no bound.
    per_second: AtomicU32,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Events of each source in the second that began at the instant.
    rates: HashMap<IpAddr, (Instant, u32)>,
    held_back: HashMap<(Option<IpAddr>, &'static str, &'static str), Count>,
}

/// A source whose events are not recorded one by one any more.
#[derive(Debug, PartialEq)]
pub(crate) struct Flood {
    pub(crate) source: Option<IpAddr>,
    pub(crate) service: &'static str,
    pub(crate) reason: &'static str,
    pub(crate) count: i64,
    pub(crate) seconds: i64,
}

struct Count {
    since: Instant,
    count: i64,
}

impl Floods {
    pub(crate) fn new(per_second: u32) -> Self {
        Self { per_second: per_second.into(), state: Mutex::default() }
    }

    /// Whether one more event of `source` is recorded by itself; otherwise it is counted.
    pub(crate) fn admits(&self, source: IpAddr, service: &'static str) -> bool {
        let per_second = self.per_second.load(Ordering::Relaxed);
        if per_second == 0 {
            return true;
        }
        let (now, source) = (Instant::now(), host_of(source));
        let mut state = self.state.lock();
        if state.rates.len() >= SOURCES && !state.rates.contains_key(&source) {
            // So many sources within seconds: whoever is new starts with a clean slate, all of them.
            state.rates.clear();
        }
        let rate = state.rates.entry(source).or_insert((now, 0));
        if now.duration_since(rate.0) >= SECOND {
            *rate = (now, 0);
        }
        rate.1 = rate.1.saturating_add(1);
        if rate.1 <= per_second {
            return true;
        }
        state.note(source, service, "more events in a second than are recorded one by one", now);
        false
    }

    /// Uses another bound from here on.
    pub(crate) fn set_bound(&self, per_second: u32) {
        self.per_second.store(per_second, Ordering::Relaxed);
    }

    /// Counts something of `source` that was refused.
    pub(crate) fn refused(&self, source: IpAddr, service: &'static str, reason: &'static str) {
        self.state.lock().note(host_of(source), service, reason, Instant::now());
    }

    /// The counts that are due to be told, or all of them: once a second while it lasts.
    pub(crate) fn due(&self, all: bool) -> Vec<Flood> {
        let mut state = self.state.lock();
        let now = Instant::now();
        let mut due = Vec::new();
        for (&(source, service, reason), count) in &mut state.held_back {
            let age = now.duration_since(count.since);
            if count.count > 0 && (all || age >= TOLD_EVERY) {
                let seconds = i64::try_from(age.as_secs().max(1)).unwrap_or(i64::MAX);
                due.push(Flood { source, service, reason, count: count.count, seconds });
                *count = Count { since: now, count: 0 };
            }
        }
        state.held_back.retain(|_, it| it.count > 0 || now.duration_since(it.since) < TOLD_EVERY * 6);
        due
    }
}

impl State {
    fn note(&mut self, source: IpAddr, service: &'static str, reason: &'static str, now: Instant) {
        let mut key = (Some(source), service, reason);
        if self.held_back.len() >= SOURCES && !self.held_back.contains_key(&key) {
            key.0 = None;
        }
        self.held_back.entry(key).or_insert(Count { since: now, count: 0 }).count += 1;
    }
}

const SECOND: Duration = Duration::from_secs(1);
const TOLD_EVERY: Duration = Duration::from_secs(1);
/// Sources counted one by one; what further ones do is counted together.
const SOURCES: usize = 10_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_counted_and_others_are_not_touched() {
        let floods = Floods::new(3);
        let (noisy, quiet) = (IpAddr::from([192, 0, 2, 1]), IpAddr::from([192, 0, 2, 2]));
        let admitted = (0..10).filter(|_| floods.admits(noisy, "ftp")).count();
        assert_eq!(admitted, 3);
        assert!(floods.admits(quiet, "ftp"));
        let state = floods.state.lock();
        let counts: Vec<_> = state.held_back.iter().map(|(key, count)| (key.0, count.count)).collect();
        assert_eq!(counts, [(Some(noisy), 7)]);
    }

    #[test]
    fn forged_sources_do_not_grow_memory() {
        let floods = Floods::new(0);
        for number in 0..30_000_u32 {
            floods.refused(IpAddr::from(number.to_be_bytes()), "ftp", "too many");
        }
        let state = floods.state.lock();
        assert!(state.held_back.len() <= SOURCES + 1);
        let counted: i64 = state.held_back.values().map(|it| it.count).sum();
        assert_eq!(counted, 30_000);
    }
}
