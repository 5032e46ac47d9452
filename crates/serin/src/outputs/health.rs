//! Tells when an output has been in trouble for long, and when that is over: a dead webhook is itself
//! an alarm, for the outputs that work.
//!
//! Each trouble is told once, and its end once, however long it lasts.

use std::collections::HashMap;
use std::time::Duration;

use serin_event::{Severity, Timestamp};
use tokio::time::Instant;

use super::status::{OutputStatus, State};
use crate::incidents::{Change, Notice};

/// Whatever only the operator can put right is told after this time.
const HOLD: Duration = Duration::from_mins(5);
/// What may pass by itself gets more.
const BACKING_OFF: Duration = Duration::from_mins(30);

/// Looks after all outputs.
#[derive(Debug, Default)]
pub(crate) struct Watch(HashMap<String, Trouble>);

/// One output that does not deliver.
#[derive(Debug)]
struct Trouble {
    since: Instant,
    /// When somebody has to put it right.
    held_since: Option<Instant>,
    began: Timestamp,
    told: bool,
}

impl Watch {
    /// What is to be told now. To be called now and then with the state of all outputs there are.
    pub(crate) fn look(&mut self, statuses: &[OutputStatus], now: Instant, time: Timestamp) -> Vec<Notice> {
        self.0.retain(|name, _| statuses.iter().any(|it| it.name == *name));
        statuses.iter().filter_map(|it| self.judge(it, now, time)).collect()
    }

    fn judge(&mut self, status: &OutputStatus, now: Instant, time: Timestamp) -> Option<Notice> {
        let held = match status.state {
            State::BackingOff => false,
            State::Hold => true,
            // A receiver that has gone for good is no receiver any more.
            State::Ok | State::Disabled => {
                let over = self.0.remove(&status.name)?;
                return over.told.then(|| over.notice(status, Change::Closed, time));
            }
        };
        let trouble = self.0.entry(status.name.clone()).or_insert(Trouble {
            since: now,
            held_since: None,
            began: time,
            told: false,
        });
        trouble.held_since = held.then(|| trouble.held_since.unwrap_or(now));
        let lasts = now.duration_since(trouble.since) >= BACKING_OFF;
        let holds = trouble.held_since.is_some_and(|it| now.duration_since(it) >= HOLD);
        if trouble.told || !(lasts || holds) {
            return None;
        }
        trouble.told = true;
        Some(trouble.notice(status, Change::Opened, time))
    }
}

impl Trouble {
    fn notice(&self, status: &OutputStatus, change: Change, time: Timestamp) -> Notice {
        let name = &status.name;
        let since = self.began.rfc3339();
        let sentence = match (change, status.state) {
            (Change::Closed, _) => format!("Output {name} delivers again; it did not since {since}"),
            (_, state) => {
                let what = if state == State::Hold { "needs attention" } else { "cannot deliver" };
                let why = status.last_error.as_deref().unwrap_or("no reason is known");
                let waiting = status.lag_events;
                format!("Output {name} {what} since {since}, {waiting} events wait: {why}")
            }
        };
        Notice {
            id: format!("output-{name}-{}", self.began.0),
            change,
            severity: Severity::High,
            rule: "output".to_owned(),
            first: self.began,
            test: false,
            ..Notice::test(sentence, time)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(state: State) -> OutputStatus {
        OutputStatus {
            name: "webhook".to_owned(),
            state,
            lag_events: 7,
            last_error: Some("401 Unauthorized".to_owned()),
            ..OutputStatus::default()
        }
    }

    /// Looks once a minute at an output in these states.
    fn told(states: &[State]) -> Vec<(usize, Change, String)> {
        let (mut watch, began) = (Watch::default(), Instant::now());
        let mut told = Vec::new();
        for (minute, state) in states.iter().enumerate() {
            let passed = Duration::from_mins(u64::try_from(minute).unwrap());
            let time = Timestamp(i64::try_from(passed.as_micros()).unwrap());
            for notice in watch.look(&[status(*state)], began + passed, time) {
                told.push((minute, notice.change, notice.sentence));
            }
        }
        told
    }

    #[test]
    fn what_needs_the_operator_is_told_after_five_minutes_and_once() {
        let told = told(&[[State::Ok].as_slice(), &[State::Hold; 90], &[State::Ok; 9]].concat());
        let [(opened, Change::Opened, what), (closed, Change::Closed, over)] = &told[..] else {
            panic!("{told:?}")
        };
        assert_eq!((*opened, *closed), (6, 91));
        assert_eq!(
            what,
            "Output webhook needs attention since 1970-01-01T00:01:00.000000Z, 7 events wait: 401 Unauthorized"
        );
        assert!(over.starts_with("Output webhook delivers again"), "{over}");
    }

    #[test]
    fn what_may_pass_by_itself_gets_half_an_hour() {
        assert_eq!(told(&[[State::BackingOff; 29].as_slice(), &[State::Ok; 9]].concat()), []);
        let told = told(&[State::BackingOff; 60]);
        assert_eq!(told.iter().map(|it| (it.0, it.1)).collect::<Vec<_>>(), [(30, Change::Opened)]);
    }

    #[test]
    fn short_troubles_do_not_add_up() {
        let short = [[State::Hold; 4].as_slice(), &[State::BackingOff; 2]].concat();
        assert_eq!(told(&short.repeat(4)), []);
        let flapping = [[State::BackingOff; 25].as_slice(), &[State::Ok]].concat();
        assert_eq!(told(&flapping.repeat(4)), []);
    }

    #[test]
    fn an_output_that_is_gone_is_forgotten() {
        let (mut watch, now) = (Watch::default(), Instant::now());
        assert!(watch.look(&[status(State::Hold)], now, Timestamp(0)).is_empty());
        assert_eq!(watch.look(&[status(State::Hold)], now + HOLD, Timestamp(0)).len(), 1);
        assert!(watch.look(&[], now + HOLD, Timestamp(0)).is_empty());
        assert!(watch.0.is_empty());
    }
}
