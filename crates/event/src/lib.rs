//! What Serin knows of an event: its kind, its record, its text forms.
//!
//! Everything that travels between the decoys, the store and the outputs is defined here, and
//! nothing else is: no input, no output, no clock. A kind of event is defined once, in [`kinds`].

mod json;
pub mod kinds;
mod python;
mod record;
mod redact;
mod tainted;
mod value;

pub use json::{escape_into, python_json, quoted};
pub use kinds::{Intent, Kind, Ports, Severity};
pub use python::bytes_literal;
pub use record::{Endpoint, Event, Record, SELFTEST, Timestamp};
pub use redact::is_secret;
pub use tainted::Tainted;
pub use value::Value;
