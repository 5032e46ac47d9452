//! Sigma rules: read, matched against events as they happen, and correlated.
//!
//! A [`Pack`] is what some rule files came to: rules, correlations, and what was refused and why. A
//! [`Detector`] runs a pack over events in their order of arrival and says what fired. Neither knows
//! of files, clocks or sockets: texts and [`Event`]s go in, [`Detection`]s come out, and the same
//! input gives the same output, byte for byte.
//!
//! The language is Sigma 2.1 with the decisions of `docs/detection.md`. Events are compared as they
//! are: a rule says which log source it is for, and an event says in which log sources it can be
//! seen, with which fields ([`View`]).

// What a rule file or an event holds must not be able to stop us.
#![cfg_attr(
    not(test),
    warn(
        clippy::arithmetic_side_effects,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic,
        clippy::unwrap_used
    )
)]

mod canonical;
mod condition;
pub mod correlate;
pub mod detection;
pub mod detector;
pub mod evaluate;
pub mod event;
pub mod expr;
pub mod json;
pub mod matcher;
pub mod modifier;
pub mod pack;
pub mod pattern;
mod read;
pub mod refusal;
pub mod rule;
pub mod scalar;
mod yaml;

pub use correlate::{Correlator, Settings, Stats};
pub use detection::{Detection, Hit};
pub use detector::Detector;
pub use event::{Event, Fields, Value, View};
pub use matcher::{Matcher, Scratch};
pub use pack::{Options, Pack};
pub use refusal::{Place, Refusal, Warning};
pub use rule::{Correlation, Level, LogSource, Meta, Rule};
