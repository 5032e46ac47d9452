//! What a receiver gets of one record: the shapes that outputs of events can choose from.
//!
//! Every shape is pure, made of the record alone, one line without a line ending. All but the
//! opencanary shape carry the record's identity ([`event_id`]), so that a receiver can tell repeated
//! deliveries apart.

pub(super) mod ecs;
mod facts;
mod ocsf;
mod pairs;
mod serin;
#[cfg(test)]
mod tests;

use serin_event::Record;
use serin_services::conf::{Complaint, Conf, Key};
use serin_services::{choices, settings};

use super::event_id;

choices! {
    /// The shape of what is sent for each record.
    Format {
        OpenCanary = "opencanary",
        Serin = "serin",
        Ecs = "ecs",
        Ocsf = "ocsf",
        Cef = "cef",
        Leef = "leef",
    } wants "opencanary, serin, ecs, ocsf, cef or leef"
}

settings! { "payload" {
    /// What is sent for each event: opencanary is the line that OpenCanary logs, serin the same with
    /// typed fields, a sentence and everything else that is known (its schema is
    /// docs/event.schema.json), ecs the Elastic Common Schema, ocsf the Open Cybersecurity Schema
    /// Framework, cef and leef the formats of ArcSight and QRadar.
    format: Format = Format::OpenCanary;
} }

/// The settings, for outputs whose receivers take any shape.
pub(crate) const KEYS: &[Key] = Settings::KEYS;

impl Format {
    /// As the settings of an output want it.
    ///
    /// # Errors
    ///
    /// What is wrong with them.
    pub(crate) fn of(conf: &Conf) -> Result<Self, Vec<Complaint>> {
        Settings::read(conf).map(|it| it.format)
    }

    /// One record in this shape: one line, without a line ending; JSON shapes are ASCII only.
    pub(crate) fn encode(self, record: &Record) -> String {
        match self {
            Self::OpenCanary => record.line(),
            Self::Serin => serin_event::python_json(&serin::encode(record)),
            Self::Ecs => serin_event::python_json(&ecs::encode(record)),
            Self::Ocsf => serin_event::python_json(&ocsf::encode(record)),
            Self::Cef => pairs::cef(record),
            Self::Leef => pairs::leef(record),
        }
    }

    /// The media type of one encoded record.
    pub(crate) const fn content_type(self) -> &'static str {
        match self {
            Self::OpenCanary | Self::Serin | Self::Ecs | Self::Ocsf => "application/json",
            Self::Cef | Self::Leef => "text/plain; charset=utf-8",
        }
    }
}

/// The name that somebody tried to log in with.
pub(crate) fn user(record: &Record) -> Option<String> {
    facts::Facts::new(record).user()
}

/// `tcp` or `udp`, where there was a packet and it is known.
pub(crate) fn transport(record: &Record) -> Option<&'static str> {
    facts::Facts::new(record).transport()
}
