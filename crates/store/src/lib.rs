//! The event store: one SQLite database that is journal, index and cursor store at once.
//!
//! [`Store`] is the one writer. It numbers records without gaps, and a record counts as stored when
//! [`Store::append`] returns. [`Reader`]s see what is stored, from other threads and from other
//! processes, while the writer writes. Whoever consumes events keeps a cursor here
//! ([`ReaderState`]), so that each goes on where it stopped.
//!
//! The crate has no threads of its own and knows no protocol. Who calls decides when to append, when
//! to sweep ([`Store::retain`]), and what to do with an [`Error`]:
//!
//! * [`Error::Full`]: keep the records in memory and try again later; nothing of the batch is stored.
//! * [`Error::Corrupt`]: drop the store and its readers and call [`Store::replace`], which moves the
//!   damaged file aside, saves what can still be read and starts a new one.
//! * [`Error::Locked`], [`Error::Foreign`], [`Error::TooNew`]: a person has to look.

mod error;
mod mark;
mod query;
mod reader;
mod recovery;
mod retain;
mod rollup;
mod schema;
#[cfg(test)]
mod tests;
mod writer;

pub use error::Error;
pub use ipnet::IpNet;
pub use query::Query;
pub use reader::{Reader, Stats};
pub use retain::{Lost, Retained, Retention};
pub use rollup::{Rollup, RollupQuery, RollupSource};
pub use writer::{DeadLetter, Durability, Found, Opened, Options, ReaderState, Store};
