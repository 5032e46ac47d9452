//! Where events go. An output encodes and delivers; the engine does everything else.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use serin_event::Record;
use serin_services::conf::{Complaint, Conf, Key};

/// All types of output, in alphabetical order. Everything else walks this list.
pub static ALL: &[&OutputType] = &[];

/// A type of output, as data: the counterpart of a service's registration record.
#[derive(Debug)]
pub struct OutputType {
    /// As in the configuration: `type = "file"`.
    pub name: &'static str,
    /// For a person, one line.
    pub about: &'static str,
    /// Its settings; the section is the type's name (`file.path`).
    pub keys: &'static [Key],
    /// Builds it from its settings.
    pub build: fn(&Conf) -> Result<Box<dyn Output>, Vec<Complaint>>,
}

/// One configured output.
#[derive(Debug, Clone)]
pub struct OutputConf {
    /// The operator's name for it; its cursor belongs to this name.
    pub name: String,
    /// Which type of [`ALL`].
    pub output: &'static OutputType,
    /// Its settings, under the type's section.
    pub conf: Conf,
}

/// What a receiver made of one event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Confirmed, as strongly as the protocol allows.
    Delivered,
    /// The receiver had it already.
    Duplicate,
    /// Try again, not before the time given.
    Retry {
        /// In the receiver's words.
        why: String,
        /// When the receiver asked for patience.
        after: Option<Duration>,
    },
    /// The configuration is wrong: keep everything, tell the operator.
    Hold(String),
    /// This event can never be accepted: it goes to the dead letters.
    Reject(String),
}

/// What an output is to the engine.
pub trait Output: Send + fmt::Debug {
    /// One record in the receiver's form. Pure; `None`: the receiver does not want it.
    fn encode(&self, record: &Record) -> Option<Vec<u8>>;

    /// Hands a batch over; one outcome for each, in order.
    fn deliver<'a>(
        &'a mut self,
        batch: &'a [Vec<u8>],
    ) -> Pin<Box<dyn Future<Output = Vec<Outcome>> + Send + 'a>>;
}
pub(crate) mod manager;
pub use manager::OutputStatus;
