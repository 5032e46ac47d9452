//! What a person is told of events: one incident for what belongs together, opened once, updated,
//! closed.
//!
//! `engine` decides, and knows neither clock nor store; `task` feeds it from the journal and writes
//! what it says, with how far it has read, in one transaction. `correlate` finds what belongs
//! together beyond one source on one service, and is where further kinds of correlation join:
//! whatever yields a finding.

mod clock;
mod correlate;
mod engine;
mod incident;
mod notice;
mod rate;
mod rule;
pub(crate) mod settings;
mod task;
#[cfg(test)]
mod tests;
mod touch;
mod words;

pub(crate) use clock::Clock;
pub(crate) use engine::Totals;
pub(crate) use notice::{Change, Notice, PASSWORDS, USERS, labels};
pub(crate) use task::{Incidents, Orders, READER};
