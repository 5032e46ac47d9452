//! What rules would have hidden: the same matching over stored events.

use std::collections::HashSet;
use std::net::IpAddr;

use serin_event::{Record, Timestamp};

use super::{Facts, Rule};

/// What one rule would have done. Its expiry is not looked at: the question is what it means.
pub(crate) struct DryRun<'a> {
    pub(crate) rule: &'a Rule,
    pub(crate) hits: u64,
    /// Distinct sources, as far as they are told apart.
    sources: HashSet<IpAddr>,
    /// The first events, at most [`SAMPLES`].
    pub(crate) samples: Vec<Record>,
    /// When the last of them was.
    pub(crate) last: Option<Timestamp>,
}

impl<'a> DryRun<'a> {
    pub(crate) fn new(rule: &'a Rule) -> Self {
        Self { rule, hits: 0, sources: HashSet::new(), samples: Vec::new(), last: None }
    }

    /// Takes the next event. Whether the rule would have decided about it.
    pub(crate) fn take(&mut self, facts: &Facts<'_>) -> bool {
        if !self.rule.is_met(facts) || facts.record.is_selftest() {
            return false;
        }
        self.hits += 1;
        self.last = Some(facts.record.time);
        if self.sources.len() < SOURCES_MAX {
            self.sources.extend(facts.record.source.host);
        }
        if self.samples.len() < SAMPLES {
            self.samples.push(facts.record.clone());
        }
        true
    }

    /// Distinct sources: `3`, or `100000 or more`.
    pub(crate) fn sources(&self) -> String {
        let more = if self.sources.len() < SOURCES_MAX { "" } else { " or more" };
        format!("{}{more}", self.sources.len())
    }
}

/// Events shown of each rule.
const SAMPLES: usize = 5;
/// Sources told apart.
const SOURCES_MAX: usize = 100_000;
