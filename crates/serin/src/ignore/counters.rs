//! How often each rule was met and when last; kept beside the database, so that it survives restarts.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use serin_event::Timestamp;

use super::Ruleset;

/// What is known of one rule's work.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Tally {
    /// Events that met it, ever.
    pub(crate) hits: u64,
    /// When the last of them was: microseconds since 1970.
    pub(crate) last: Option<i64>,
    /// Whether the operator was told that it expired.
    #[serde(default)]
    told: bool,
}

impl Tally {
    /// When it was last met.
    pub(crate) fn last(&self) -> Option<Timestamp> {
        self.last.map(Timestamp)
    }
}

/// The tallies of all rules by name.
#[derive(Debug)]
pub(crate) struct Counters {
    path: PathBuf,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    tallies: BTreeMap<String, Tally>,
    /// Whether there is something to write.
    changed: bool,
}

impl Counters {
    /// Those of the last run, where there are any. A file that cannot be read counts as none.
    pub(crate) fn open(path: PathBuf) -> Self {
        let state = State { tallies: Self::read(&path), changed: false };
        Self { path, state: Mutex::new(state) }
    }

    /// The tallies in a file.
    pub(crate) fn read(path: &Path) -> BTreeMap<String, Tally> {
        std::fs::read(path).ok().and_then(|it| serde_json::from_slice(&it).ok()).unwrap_or_default()
    }

    /// An event met this rule.
    pub(crate) fn hit(&self, rule: &str, time: Timestamp) {
        let mut state = self.state.lock();
        state.changed = true;
        if let Some(tally) = state.tallies.get_mut(rule) {
            tally.hits = tally.hits.saturating_add(1);
            tally.last = Some(time.0);
        } else if state.tallies.len() < NAMES_MAX {
            state.tallies.insert(rule.to_owned(), Tally { hits: 1, last: Some(time.0), told: false });
        }
    }

    /// The rules that have expired since the operator was last told, in words.
    pub(crate) fn newly_expired(&self, rules: &Ruleset, now: Timestamp, utc_offset: i32) -> Vec<String> {
        let mut state = self.state.lock();
        let mut told = Vec::new();
        for rule in rules.rules() {
            let Some(expires) = rule.expires else { continue };
            let over = expires.is_past(now, utc_offset);
            let known = state.tallies.get(&rule.name).is_some_and(|it| it.told);
            if over == known {
                continue;
            }
            if state.tallies.len() >= NAMES_MAX && !state.tallies.contains_key(&rule.name) {
                continue;
            }
            // A rule that was prolonged is told again when it ends again.
            state.tallies.entry(rule.name.clone()).or_default().told = over;
            state.changed = true;
            if over {
                let hits = state.tallies.get(&rule.name).map_or(0, |it| it.hits);
                told.push(format!(
                    "the ignore rule {:?} expired ({expires}): what it met {hits} times alerts again",
                    rule.name
                ));
            }
        }
        told
    }

    /// Forgets the names that no rule has any more, when there are many of them.
    pub(crate) fn tidy(&self, rules: &Ruleset) {
        let mut state = self.state.lock();
        if state.tallies.len() >= NAMES_MAX / 2 {
            state.tallies.retain(|name, _| rules.rules().iter().any(|it| it.name == *name));
        }
    }

    /// Writes what changed, if anything did. Blocks on the disk.
    pub(crate) fn save(&self) {
        let text = {
            let mut state = self.state.lock();
            if !state.changed {
                return;
            }
            state.changed = false;
            serde_json::to_vec(&state.tallies).unwrap_or_default()
        };
        if let Err(error) = crate::state::write_private(&self.path, &text) {
            self.state.lock().changed = true;
            tracing::warn!(%error, path = %self.path.display(), "hits of ignore rules are not saved");
        }
    }
}

/// Names that are counted.
const NAMES_MAX: usize = 10_000;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn hits_outlast_the_process_and_a_damaged_file_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ignore.json");
        let counters = Counters::open(path.clone());
        counters.save();
        assert!(!path.exists(), "nothing happened, nothing is written");
        counters.hit("a", Timestamp(5));
        counters.hit("a", Timestamp(7));
        counters.save();
        assert_eq!(Counters::open(path.clone()).state.lock().tallies, Counters::read(&path));
        assert_eq!(
            (Counters::read(&path)["a"].hits, Counters::read(&path)["a"].last()),
            (2, Some(Timestamp(7)))
        );
        std::fs::write(&path, "{").unwrap();
        assert!(Counters::read(&path).is_empty());
    }

    #[test]
    fn an_expiry_is_told_once_and_again_after_a_new_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ignore.json");
        let rules = |expires: &str| {
            let rules = json!([{ "name": "a", "service": "ftp", "expires": expires }]);
            Ruleset::new(super::super::reading::rules(&rules).rules)
        };
        let now = Timestamp(1_795_348_800_000_000);
        let counters = Counters::open(path.clone());
        assert_eq!(counters.newly_expired(&rules("2026-11-22"), now, 0), Vec::<String>::new());
        let told = counters.newly_expired(&rules("2026-11-21"), now, 0);
        assert_eq!(told, ["the ignore rule \"a\" expired (2026-11-21): what it met 0 times alerts again"]);
        counters.save();
        let again = Counters::open(path);
        assert!(again.newly_expired(&rules("2026-11-21"), now, 0).is_empty(), "told before the restart");
        assert!(again.newly_expired(&rules("2026-12-21"), now, 0).is_empty());
        assert_eq!(again.newly_expired(&rules("2026-11-20"), now, 0).len(), 1);
    }
}
