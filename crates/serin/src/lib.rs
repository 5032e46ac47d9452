//! The sensor itself: everything of Serin that touches the world.
//!
//! `config` says what to do, `runtime` does it (sockets, recording, privileges), `outputs` tells
//! the owner, `cli` is how a person drives it all, `state` is where it keeps things.

pub mod cli;
pub mod config;
pub mod outputs;
mod runtime;
pub mod state;
