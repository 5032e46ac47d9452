//! Tells a detection once, and counts what follows.
//!
//! Rules fire at each event that fits, and a correlation at each that keeps its condition true. A
//! person, and a receiver of detections, is told at the first, and again after a while if it goes on.

use std::collections::{BTreeSet, HashMap};

/// What makes two detections the same: the rule, and the group or the source.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Key {
    pub(crate) rule: String,
    pub(crate) whom: String,
}

/// What was told lately. Times are those of the events, in microseconds.
#[derive(Debug, Default)]
pub(crate) struct Quiet {
    told: HashMap<Key, Told>,
    /// The same, oldest first.
    oldest: BTreeSet<(i64, Key)>,
}

#[derive(Debug)]
struct Told {
    at: i64,
    /// How often it fired since.
    since: u64,
}

impl Quiet {
    /// Takes in a firing. How many firings are to be told with it now, itself included; `None`: it is
    /// only counted.
    pub(crate) fn fired(&mut self, key: Key, at: i64, repeat: i64) -> Option<u64> {
        let Some(told) = self.told.get_mut(&key) else {
            self.told(key, at);
            return Some(1);
        };
        // A clock that was set back must not silence a rule for hours.
        if at < told.at.saturating_add(repeat) && at > told.at.saturating_sub(repeat) {
            told.since = told.since.saturating_add(1);
            return None;
        }
        let count = told.since.saturating_add(1);
        self.told(key, at);
        Some(count)
    }

    /// It was told at this time.
    pub(crate) fn told(&mut self, key: Key, at: i64) {
        if let Some(before) = self.told.insert(key.clone(), Told { at, since: 0 }) {
            self.oldest.remove(&(before.at, key.clone()));
        }
        self.oldest.insert((at, key));
        while self.told.len() > KEPT {
            let Some((_, key)) = self.oldest.pop_first() else { return };
            self.told.remove(&key);
        }
    }
}

/// Rules times sources that are kept in mind; of more, those that were told longest ago are told again.
const KEPT: usize = 20_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn key(rule: &str, whom: &str) -> Key {
        Key { rule: rule.to_owned(), whom: whom.to_owned() }
    }

    #[test]
    fn the_first_is_told_and_what_goes_on_is_told_with_its_number() {
        let mut quiet = Quiet::default();
        let mut fired = |whom, at| quiet.fired(key("r", whom), at, 100);
        assert_eq!(fired("a", 1000), Some(1));
        assert_eq!((fired("a", 1001), fired("a", 1099)), (None, None));
        assert_eq!(fired("b", 1050), Some(1), "another source is another matter");
        assert_eq!(fired("a", 1100), Some(3));
        assert_eq!(fired("a", 1150), None);
        assert_eq!(fired("a", 900), Some(2), "a clock that was set back");
    }

    #[test]
    fn memory_is_bounded_and_forgets_the_oldest() {
        let mut quiet = Quiet::default();
        for it in 0..i64::try_from(KEPT).unwrap() + 10 {
            assert_eq!(quiet.fired(key("r", &it.to_string()), it, 1_000_000), Some(1));
        }
        assert_eq!((quiet.told.len(), quiet.oldest.len()), (KEPT, KEPT));
        assert_eq!(quiet.fired(key("r", "9"), 10, 1_000_000), Some(1), "forgotten");
        assert_eq!(quiet.fired(key("r", "20000"), 20_001, 1_000_000), None);
    }
}
