//! What the end-to-end tests stand on: a running Serin with free ports in a folder of its own, and
//! clients whose time is bounded.

#![allow(clippy::missing_panics_doc, reason = "for tests: a panic is how each of these says what is wrong")]

mod client;
mod ports;
mod receiver;
mod rsyslog;
mod sensor;

pub use client::{Outcome, Talk, client, client_in};
pub use ports::free_port;
pub use receiver::{Receiver, Reply, Request};
pub use rsyslog::{Rsyslog, certificates};
pub use sensor::{Event, Sensor, Setup, binary, eventually, genuine, serin};
