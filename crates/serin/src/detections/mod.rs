//! Detection: Sigma rules on events as they happen.
//!
//! `engine` runs the rules and decides what is told, and knows neither clock nor store; `task` feeds
//! it from the journal and writes what it tells, with how far it has read, in one transaction. Rules
//! come from the program and from the operator's folders (`library`, `files`); `views` says what an
//! event is in the terms of the log sources that rules are for.

pub(crate) mod engine;
pub(crate) mod files;
pub(crate) mod library;
pub(crate) mod quiet;
mod report;
pub(crate) mod scope;
pub(crate) mod settings;
mod task;
pub(crate) mod views;

pub(crate) use task::{Detections, Orders, READER};
