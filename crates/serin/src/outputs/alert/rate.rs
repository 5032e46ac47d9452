//! How often a channel may speak.

use std::time::Duration;

use tokio::time::Instant;

/// A token bucket: so many messages at once, then as many a minute as the rate says.
#[derive(Debug)]
pub(super) struct Rate {
    /// Seconds until one more message may go; `None`: there is no limit.
    every: Option<Duration>,
    burst: u32,
    /// When the bucket is, or will be, full.
    full_at: Instant,
}

impl Rate {
    /// `rate` messages a minute, 0: no limit. At least one may go at once.
    pub(super) fn new(rate: u32, burst: u32) -> Self {
        let every = Duration::from_mins(1).checked_div(rate);
        Self { every, burst: burst.max(1), full_at: Instant::now() }
    }

    /// How many messages may go now.
    pub(super) fn room(&self, now: Instant) -> usize {
        let Some(every) = self.every else { return usize::MAX };
        let missing = self.full_at.saturating_duration_since(now).as_nanos().div_ceil(every.as_nanos());
        usize::try_from(u128::from(self.burst).saturating_sub(missing)).unwrap_or(usize::MAX)
    }

    /// How long until one may go.
    pub(super) fn wait(&self, now: Instant) -> Duration {
        let Some(every) = self.every else { return Duration::ZERO };
        let one_at = every * (self.burst - 1);
        self.full_at.saturating_duration_since(now).saturating_sub(one_at)
    }

    /// One went.
    pub(super) fn spend(&mut self, now: Instant) {
        let Some(every) = self.every else { return };
        // Never more in debt than an empty bucket: a message sent at the stop costs no later one.
        let empty_at = now + every * self.burst;
        self.full_at = (self.full_at.max(now) + every).min(empty_at);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_burst_goes_at_once_and_the_rest_at_the_rate() {
        let mut rate = Rate::new(12, 3);
        let now = Instant::now();
        assert_eq!((rate.room(now), rate.wait(now)), (3, Duration::ZERO));
        for left in [2, 1, 0] {
            rate.spend(now);
            assert_eq!(rate.room(now), left);
        }
        assert_eq!(rate.wait(now), Duration::from_secs(5));
        rate.spend(now);
        let later = now + Duration::from_secs(5);
        assert_eq!((rate.room(later), rate.wait(later)), (1, Duration::ZERO));
        assert_eq!(rate.room(now + Duration::from_mins(1)), 3);
        let unlimited = Rate::new(0, 0);
        assert_eq!((unlimited.room(now), unlimited.wait(now)), (usize::MAX, Duration::ZERO));
    }
}
