//! How an output is doing: for `serin outputs status`, `/health` and metrics.

use serde::{Deserialize, Serialize};
use serin_event::Timestamp;

use super::window::Ahead;
use crate::runtime::clock::now;

/// Whether events get through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// They do.
    #[default]
    Ok,
    /// Not just now; it is tried again by itself.
    BackingOff,
    /// Not before the operator puts something right. Everything is kept.
    Hold,
    /// The receiver has gone for good; until the next start nothing is sent.
    Disabled,
}

/// How one output is doing.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct OutputStatus {
    /// The operator's name for it.
    pub name: String,
    /// Its type.
    #[serde(rename = "type")]
    pub output: String,
    /// Whether events get through.
    pub state: State,
    /// It is done with all events up to and including this number.
    pub cursor: u64,
    /// Events that it still has to deal with.
    pub lag_events: u64,
    /// How old the oldest of them is, in seconds.
    pub lag_seconds: u64,
    /// Events that are being handed over at this moment.
    pub in_flight: u64,
    /// Events delivered since the start.
    pub sent: u64,
    /// Events that the receiver had already, since the start.
    pub duplicate: u64,
    /// Times that an event had to be tried again, since the start.
    pub retried: u64,
    /// Events put aside because the receiver will never take them, since the start.
    pub rejected: u64,
    /// Events that left the journal before they could be delivered, since the start.
    pub lost: u64,
    /// The last failure, in the receiver's words.
    pub last_error: Option<String>,
    /// When events last got through: RFC 3339, UTC.
    pub last_success: Option<String>,
    /// What the output must know after a restart; for nobody else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<String>,
    /// What it is done with beyond the cursor; only where that is saved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ahead: Option<Ahead>,
    /// What the receiver confirmed, in words.
    #[serde(default)]
    pub receipt: Option<String>,
    /// The last event of a self-test that it dealt with.
    #[serde(default)]
    pub selftest: Option<TestSeen>,
    /// Up to here it is done with the events of self-tests, whatever else waits.
    #[serde(skip)]
    pub tested: u64,
    /// What should be put right although events get through.
    pub warning: Option<String>,
}

/// What became of one event of a self-test.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TestSeen {
    /// The event's number.
    pub seq: u64,
    /// How strongly the receiver confirmed it.
    pub confirmed: String,
    /// Why it will never take it.
    pub problem: Option<String>,
}

impl OutputStatus {
    /// Whether nobody has to look after it: a short interruption is no reason to.
    #[must_use]
    pub fn is_well(&self) -> bool {
        const SHORT_SECONDS: u64 = 60;
        match self.state {
            State::Ok => self.warning.is_none(),
            State::BackingOff => self.lag_seconds < SHORT_SECONDS,
            State::Hold | State::Disabled => false,
        }
    }

    pub(super) fn succeeded(&mut self) {
        self.state = State::Ok;
        self.last_success = Some(now().rfc3339());
    }

    pub(super) fn failed(&mut self, state: State, why: &str) {
        self.state = state;
        self.last_error = Some(why.to_owned());
    }

    /// `oldest`: when the oldest event was recorded that still has to be dealt with.
    pub(super) fn lags(&mut self, events: u64, oldest: Option<Timestamp>) {
        let age = oldest.map_or(0, |it| (now().0 - it.0).max(0) / 1_000_000);
        self.lag_events = events;
        self.lag_seconds = u64::try_from(age).unwrap_or(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_needs_somebody_is_not_well() {
        let well =
            |state, lag_seconds| OutputStatus { state, lag_seconds, ..OutputStatus::default() }.is_well();
        assert!(well(State::Ok, 0) && well(State::BackingOff, 59));
        assert!(!well(State::BackingOff, 60) && !well(State::Hold, 0) && !well(State::Disabled, 0));
        let warned = OutputStatus { warning: Some("cannot rotate".into()), ..OutputStatus::default() };
        assert!(!warned.is_well());
    }

    #[test]
    fn states_have_the_names_that_scripts_see() {
        let status =
            OutputStatus { state: State::BackingOff, output: "file".into(), ..OutputStatus::default() };
        let json = serde_json::to_value(&status).unwrap();
        assert_eq!((json["state"].as_str(), json["type"].as_str()), (Some("backing-off"), Some("file")));
        assert_eq!(serde_json::from_value::<OutputStatus>(json).unwrap(), status);
    }
}
