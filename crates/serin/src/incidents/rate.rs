//! How many new incidents there are in a minute, and whether that is too many to tell each.

use serde::{Deserialize, Serialize};

/// A count over a minute that slides in two halves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) struct Rate {
    began: i64,
    now: u32,
    before: u32,
    flooded: bool,
}

impl Rate {
    /// Counts one more. Whether there are too many: from `limit` in a minute on, until there are less
    /// than half of that. A limit of 0 is none.
    pub(super) fn count(&mut self, at: i64, limit: u32) -> bool {
        let passed = at.saturating_sub(self.began);
        if passed >= HALF {
            self.before = if passed < 2 * HALF { self.now } else { 0 };
            self.now = 0;
            self.began = at;
        }
        self.now = self.now.saturating_add(1);
        let all = self.now.saturating_add(self.before);
        let over = if self.flooded { all >= limit.div_ceil(2) } else { all > limit };
        self.flooded = limit > 0 && over;
        self.flooded
    }
}

const HALF: i64 = 30_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_begins_at_the_limit_and_ends_at_half_of_it() {
        let mut rate = Rate::default();
        let second = |it: i64| 1_000_000_000 + it * 1_000_000;
        assert!((0..10).all(|_| !rate.count(second(0), 10)));
        assert!(rate.count(second(1), 10));
        assert!(rate.count(second(31), 10), "the last half minute counts");
        assert!(!rate.count(second(200), 10), "it is over");
        assert!((0..1000).all(|_| !rate.count(second(201), 0)), "no limit");
    }
}
