//! How long to wait after a failure: full jitter, so that many sensors do not come back at once.

use std::hash::{BuildHasher as _, RandomState};
use std::time::Duration;

/// The longest wait after the first failure.
const BASE: Duration = Duration::from_secs(1);
/// The longest wait ever, unless the receiver asks for more.
const CAP: Duration = Duration::from_mins(5);
/// What a receiver may ask for at most.
const PATIENCE: Duration = Duration::from_hours(1);

/// The waits of one output.
#[derive(Debug)]
pub(crate) struct Backoff {
    failures: u32,
    /// State of a small generator (splitmix64); nothing secret depends on it.
    random: u64,
}

impl Backoff {
    pub(crate) fn new() -> Self {
        Self { failures: 0, random: RandomState::new().hash_one(0) }
    }

    /// After a success the next failure is a first one again.
    pub(crate) fn reset(&mut self) {
        self.failures = 0;
    }

    /// The wait after one more failure: random, up to a limit that doubles; at least what the
    /// receiver asked for, within reason.
    pub(crate) fn next(&mut self, asked: Option<Duration>) -> Duration {
        let limit = BASE.saturating_mul(1 << self.failures.min(16)).min(CAP);
        self.failures = self.failures.saturating_add(1);
        let wait = limit.mul_f64(self.fraction());
        asked.map_or(wait, |it| wait.max(it.min(PATIENCE)))
    }

    /// From 0 up to, but not including, 1.
    fn fraction(&mut self) -> f64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.random;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let top = u32::try_from((bits ^ (bits >> 31)) >> 32).unwrap_or(0);
        f64::from(top) / (f64::from(u32::MAX) + 1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_the_cap_and_are_spread() {
        let mut backoff = Backoff { failures: 0, random: 7 };
        for failure in 0..40_u32 {
            let limit = Duration::from_secs(1 << failure.min(9)).min(CAP);
            assert!(backoff.next(None) <= limit, "after failure {failure}");
        }
        let waits: Vec<_> = (0..1000).map(|_| backoff.next(None).as_secs_f64()).collect();
        let mean = waits.iter().sum::<f64>() / 1000.0;
        assert!((140.0..160.0).contains(&mean), "{mean}");
        assert!(waits.iter().any(|it| *it < 10.0) && waits.iter().any(|it| *it > 290.0));
        backoff.reset();
        assert!(backoff.next(None) <= BASE);
    }

    #[test]
    fn a_receiver_may_ask_for_patience_within_reason() {
        let mut backoff = Backoff { failures: 0, random: 7 };
        assert_eq!(backoff.next(Some(Duration::from_secs(90))), Duration::from_secs(90));
        assert_eq!(backoff.next(Some(Duration::from_secs(999_999))), PATIENCE);
    }
}
