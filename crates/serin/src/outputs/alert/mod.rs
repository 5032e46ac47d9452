//! Outputs that tell people: chats, mail, pagers, webhooks.
//!
//! Each is a courier: it puts a card into its receiver's form and hands it over. What becomes a card,
//! and when, is the channel's business: `channel` is the [`Output`](super::Output) around every
//! courier.

mod card;
mod channel;

use std::fmt;
use std::time::Duration;

pub(crate) use card::Card;
pub(crate) use channel::{Channel, KEYS};
use serin_event::Record;

use super::{Later, Outcome};

/// One kind of receiver of alerts.
pub(crate) trait Courier: Send + fmt::Debug {
    /// The card in the receiver's form. Pure. `record` is there when the card tells of one record
    /// alone, for forms that carry the whole event. `None`: the receiver does not want it.
    fn message(&self, card: &Card, record: Option<&Record>) -> Option<Vec<u8>>;

    /// Hands one message over.
    fn send<'a>(&'a mut self, card: &'a Card, message: Vec<u8>) -> Later<'a, Outcome>;

    /// How strongly it confirms.
    fn confirms(&self) -> &'static str;

    /// How long handing over one message may take.
    fn deadline(&self) -> Duration;

    /// What the operator should put right, although alerts still get through.
    fn warning(&self) -> Option<String> {
        None
    }
}
