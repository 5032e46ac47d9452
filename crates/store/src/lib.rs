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
//! * [`Error::Corrupt`]: drop the store and call [`Store::replace`], which moves the damaged file aside,
//!   saves what can still be read and starts a new one; then open new readers.
//! * [`Error::Locked`], [`Error::Foreign`], [`Error::TooNew`] at opening: a person has to look. `Locked`
//!   from an append means that another program holds the file for the moment: try again later.
//!
//! ```
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let directory = tempfile::tempdir()?;
//! # let path = directory.path().join("serin.db");
//! use serin_event::{Endpoint, Event, Record, Timestamp, kinds};
//! use serin_store::{Options, Query, Reader, Store};
//!
//! let event = Event::new(&kinds::GIT_CLONE).with("HOST", "git.example").with("REPO", "secrets");
//! let mut records = [Record {
//!     seq: 0,
//!     time: Timestamp(1_795_296_991_777_389),
//!     utc_offset: 0,
//!     node_id: "canary-1".into(),
//!     session: 1,
//!     kind: event.kind,
//!     source: Endpoint { host: "192.0.2.7".parse().ok(), port: Some(40_000) },
//!     target: Endpoint::default(),
//!     honeycred: None,
//!     logdata: event.logdata().into(),
//!     details: event.details().into(),
//! }];
//! let (mut store, opened) = Store::open(&Options::new(&path))?;
//! store.append(&mut records, &[])?;
//! assert_eq!(records[0].seq, opened.last_seq + 1);
//!
//! let reader = Reader::open(&path)?;
//! assert_eq!(reader.after(0, 100)?, records);
//! let of_git = Query { services: vec!["git".into()], newest_first: true, ..Query::default() };
//! assert_eq!(reader.query(&of_git)?, records);
//! # Ok(())
//! # }
//! ```

mod error;
mod incidents;
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
pub use incidents::{Acknowledged, Incident, IncidentQuery, acknowledge};
pub use ipnet::IpNet;
pub use query::Query;
pub use reader::{Reader, Stats};
pub use retain::{Lost, Retained, Retention};
pub use rollup::{Rollup, RollupQuery, RollupSource};
pub use writer::{DeadLetter, Durability, Found, Opened, Options, ReaderState, Store};
