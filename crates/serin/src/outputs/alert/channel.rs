//! The output around every courier: which cards there are, and when they go.

use std::time::Duration;

use serin_event::Record;
use serin_services::conf::{Complaint, Conf, Key};
use serin_services::settings;

use super::{Card, Courier};
use crate::incidents::Notice;
use crate::outputs::{Delivery, Item, Later, Outcome, Output, event_id};

settings! { "alerts" {
    /// Leaves out what is older than this when it could be sent, after an outage for example; it is
    /// counted. 0: never.
    max_age: Duration = Duration::from_hours(1);
} }

/// The settings of every channel.
pub(crate) const KEYS: &[Key] = Settings::KEYS;

/// A courier, and what it is given.
#[derive(Debug)]
pub(crate) struct Channel<C> {
    courier: C,
    #[expect(dead_code, reason = "the first version sends everything")]
    settings: Settings,
}

impl<C: Courier> Channel<C> {
    /// # Errors
    ///
    /// What is wrong with the settings under `alerts`.
    pub(crate) fn new(conf: &Conf, courier: C) -> Result<Self, Vec<Complaint>> {
        Ok(Self { courier, settings: Settings::read(conf)? })
    }
}

impl<C: Courier> Output for Channel<C> {
    fn encode(&self, record: &Record) -> Option<Vec<u8>> {
        let card = Card::of(&Notice::of(record), &record.node_id, event_id(record));
        self.courier.message(&card, Some(record))
    }

    fn deliver<'a>(&'a mut self, batch: &'a [Item]) -> Later<'a, Delivery> {
        Box::pin(async move {
            let mut outcomes = Vec::with_capacity(batch.len());
            for item in batch {
                let card = Card::of(&Notice::of(&item.record), &item.record.node_id, item.event_id());
                let outcome = self.courier.send(&card, item.body.clone()).await;
                let stop = matches!(outcome, Outcome::Retry { .. } | Outcome::Hold(_));
                outcomes.push(outcome);
                if stop {
                    break;
                }
            }
            outcomes.resize(batch.len(), Outcome::Wait(Duration::ZERO));
            Delivery::Each(outcomes)
        })
    }

    fn confirms(&self) -> &'static str {
        self.courier.confirms()
    }

    fn deadline(&self) -> Duration {
        self.courier.deadline()
    }

    fn warning(&self) -> Option<String> {
        self.courier.warning()
    }
}
