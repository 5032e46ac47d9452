//! Outputs that tell people: chats, mail, pagers, webhooks.
//!
//! Each is a courier: it puts a card into its receiver's form and hands it over. What becomes a card,
//! and when, is the channel's business: `channel` is the [`Output`](super::Output) around every
//! courier.

mod card;
mod channel;
mod plan;
mod quiet;
mod rate;
#[cfg(test)]
mod tests;

use std::fmt;
use std::path::Path;
use std::time::Duration;

pub(crate) use card::{Card, CardKind};
pub(crate) use channel::{BATCH, Channel, KEYS};
use serin_event::Record;

use super::{Later, Outcome};

/// One kind of receiver of alerts.
pub(crate) trait Courier: Send + fmt::Debug {
    /// The card in the receiver's form. Pure. `record` is there when the card tells of one incident
    /// or event alone, for forms that carry the whole event: it is the last that tells of it. `None`:
    /// the receiver does not want it.
    fn message(&self, card: &Card, record: Option<&Record>) -> Option<Vec<u8>>;

    /// Hands one message over. [`Outcome::Wait`]: some of its recipients have it, and it is one of
    /// [`Courier::partly`] now.
    fn send<'a>(&'a mut self, card: &'a Card, message: Vec<u8>) -> Later<'a, Outcome>;

    /// How strongly it confirms.
    fn confirms(&self) -> &'static str;

    /// How long handing over one message may take.
    fn deadline(&self) -> Duration;

    /// Whether the receiver keeps incidents open until it hears that they are over. It then hears so
    /// of each of them, whatever the settings say; nobody is disturbed by that.
    fn resolves(&self) -> bool {
        false
    }

    /// Messages that some of their recipients have and others do not: of each the numbers of the events
    /// that it tells, and how long it rests. It goes again as it is, beside what happens meanwhile.
    fn partly(&self) -> Vec<(Vec<u64>, Duration)> {
        Vec::new()
    }

    /// Whatever came before this event is over.
    fn forget_before(&mut self, _event: u64) {}

    /// As [`Output::keep_in`](super::Output::keep_in).
    fn keep_in(&mut self, _folder: &Path, _name: &str) {}

    /// As [`Output::recall`](super::Output::recall).
    fn recall(&mut self, _memory: Option<&str>) {}

    /// As [`Output::memory`](super::Output::memory).
    fn memory(&self) -> Option<String> {
        None
    }

    /// What the operator should put right, although alerts still get through.
    fn warning(&self) -> Option<String> {
        None
    }
}
