//! The sensor itself: everything of Serin that touches the world.
//!
//! `config` says what to do, `runtime` does it (sockets, recording, privileges), `ignore` what is
//! harmless, `incidents` decides what a person is told, `outputs` tells it, `cli` is how a person drives it all, `state` is where it keeps things.

mod benign;
pub mod cli;
pub mod config;
mod detections;
mod enrich;
mod hex;
mod ignore;
mod incidents;
pub mod outputs;
mod runtime;
pub mod selftest;
pub mod state;
