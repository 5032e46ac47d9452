//! What comes out: rules that matched, correlations that fired.

use std::sync::Arc;

use crate::rule::Ref;

/// A rule matched an event in one of the event's views.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Hit {
    /// `Pack::rules[rule]`.
    pub rule: usize,
    /// `Event::views[view]`: the first in which it matches.
    pub view: usize,
}

/// One firing: level-triggered, so a correlation fires at each event that keeps its condition true.
/// Telling a person once is somebody else's task.
#[derive(Debug, Clone, PartialEq)]
pub struct Detection {
    /// The same for the same input: a hash of the rule, its fingerprint, the group, the end of the
    /// window, and the first and the last of the evidence.
    pub id: [u8; 16],
    /// Which rule or correlation.
    pub rule: Ref,
    /// The end of the window, or the time of the event: microseconds since 1970-01-01 00:00 UTC.
    pub time: i64,
    /// The names and values of the group, in the correlation's order; empty for single events.
    pub group: Vec<(Arc<str>, String)>,
    /// [`crate::Event::id`]s, oldest first, at most [`EVIDENCE`]: of a window, the newest.
    pub evidence: Vec<u64>,
    /// What was compared with the correlation's condition, where it is a number: exact up to the
    /// condition's number, and "at least" beyond.
    pub figure: Option<f64>,
    /// An event older than the watermark had a part in it.
    pub late: bool,
    /// An event far ahead of its arrival had a part in it, and counted from its arrival.
    pub ahead: bool,
    /// The window held more than is kept: the figure is that of the newest part.
    pub saturated: bool,
}

/// The most events that a detection names.
pub const EVIDENCE: usize = 64;
