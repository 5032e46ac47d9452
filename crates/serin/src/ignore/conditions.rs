//! What an event must be like for a rule to touch it. All conditions of a rule must hold; of the
//! values of one condition, any one.

use std::borrow::Cow;
use std::cell::OnceCell;
use std::ops::RangeInclusive;

use ipnet::IpNet;
use serde_json::Value as Json;
use serin_event::kinds::Kind;
use serin_event::{Intent, Record};

use super::schedule::Span;
use super::wildcard::Wildcard;
use crate::incidents::{PASSWORDS, USERS};

/// The detail that holds the names of the benign patterns that an event matched.
pub(crate) const LABEL: &str = "LABEL";

/// A text that a peer sent, or that is known of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Text {
    User,
    Password,
    Path,
    UserAgent,
    /// What a client calls itself where that is no user agent: SSH's identification, for one.
    Client,
    Hassh,
    Ja3,
    Ja4,
    /// A benign pattern that the event matched.
    Label,
}

impl Text {
    pub(crate) const ALL: [(&str, Self); 9] = [
        ("user", Self::User),
        ("password", Self::Password),
        ("path", Self::Path),
        ("user_agent", Self::UserAgent),
        ("client", Self::Client),
        ("hassh", Self::Hassh),
        ("ja3", Self::Ja3),
        ("ja4", Self::Ja4),
        ("label", Self::Label),
    ];

    /// The fields of events that hold it.
    fn fields(self) -> &'static [&'static str] {
        match self {
            Self::User => USERS,
            Self::Password => PASSWORDS,
            Self::Path => &["PATH", "FILENAME", "REPO", "URL"],
            Self::UserAgent => &["USERAGENT", "HEADERS"],
            Self::Client => &["REMOTEVERSION", "AppName", "CltIntName"],
            Self::Hassh => &["HASSH"],
            Self::Ja3 => &["JA3"],
            Self::Ja4 => &["JA4"],
            Self::Label => &[LABEL],
        }
    }

    /// Paths and passwords differ by case; names, programs and fingerprints do not.
    pub(crate) const fn any_case(self) -> bool {
        !matches!(self, Self::Path | Self::Password)
    }

    fn is_held_by(self, kind: &Kind) -> bool {
        self == Self::Label || self.fields().iter().any(|it| kind.declares(it))
    }
}

/// One event, whose texts are read when a rule asks for them.
pub(crate) struct Facts<'a> {
    pub(crate) record: &'a Record,
    logdata: OnceCell<Json>,
    details: OnceCell<Json>,
}

impl<'a> Facts<'a> {
    pub(crate) fn of(record: &'a Record) -> Self {
        Self { record, logdata: OnceCell::new(), details: OnceCell::new() }
    }

    /// Whether any text of this sort meets `wanted`.
    fn any(&self, text: Text, wanted: &dyn Fn(&str) -> bool) -> bool {
        let read = |text: &str| serde_json::from_str(text).unwrap_or_default();
        let logdata = self.logdata.get_or_init(|| read(&self.record.logdata));
        text.fields().iter().any(|name| {
            let value = logdata
                .get(*name)
                .or_else(|| self.details.get_or_init(|| read(&self.record.details)).get(*name));
            match value {
                Some(Json::Object(headers)) if *name == "HEADERS" => headers
                    .iter()
                    .filter(|it| it.0.eq_ignore_ascii_case("user-agent"))
                    .any(|it| holds(it.1, wanted)),
                Some(_) if *name == "HEADERS" => false,
                Some(value) => holds(value, wanted),
                None => false,
            }
        })
    }
}

/// Whether a value, or one of a list, meets `wanted`.
fn holds(value: &Json, wanted: &dyn Fn(&str) -> bool) -> bool {
    match value {
        Json::Array(list) => list.iter().any(|it| holds(it, wanted)),
        Json::Null => false,
        other => wanted(&other.as_str().map_or_else(|| Cow::from(other.to_string()), Cow::from)),
    }
}

/// What an event must be like. An empty list asks for nothing.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Conditions {
    pub(crate) sources: Vec<IpNet>,
    pub(crate) destinations: Vec<IpNet>,
    pub(crate) ports: Vec<RangeInclusive<u16>>,
    pub(crate) services: Vec<String>,
    /// Names of kinds.
    pub(crate) kinds: Vec<&'static str>,
    pub(crate) logtypes: Vec<u32>,
    pub(crate) texts: Vec<(Text, Vec<Wildcard>)>,
    pub(crate) schedule: Vec<Span>,
}

impl Conditions {
    /// Whether it asks for anything but a time: a rule that does not would touch everything.
    pub(crate) fn asks(&self) -> bool {
        !(self.sources.is_empty()
            && self.destinations.is_empty()
            && self.ports.is_empty()
            && self.services.is_empty()
            && self.kinds.is_empty()
            && self.logtypes.is_empty()
            && self.texts.is_empty())
    }

    /// Whether an event of this kind can meet them at all. What the sensor says of itself is meant
    /// only where its kind or number is named.
    pub(crate) fn may_meet(&self, kind: &Kind) -> bool {
        let named = self.kinds.contains(&kind.name) || self.logtypes.contains(&kind.logtype);
        let by_kind = self.kinds.is_empty() || self.kinds.contains(&kind.name);
        let by_number = self.logtypes.is_empty() || self.logtypes.contains(&kind.logtype);
        let by_service = self.services.is_empty() || self.services.iter().any(|it| it == kind.service);
        !kind.is_incident()
            && (kind.intent != Intent::Housekeeping || named)
            && by_kind
            && by_number
            && by_service
            && self.texts.iter().all(|it| it.0.is_held_by(kind))
    }

    /// Whether an event whose kind [may](Self::may_meet) does meet them. The cheap ones first.
    pub(crate) fn meet(&self, facts: &Facts<'_>) -> bool {
        let record = facts.record;
        let within = |nets: &[IpNet], host: Option<std::net::IpAddr>| {
            nets.is_empty() || host.is_some_and(|it| nets.iter().any(|net| net.contains(&it)))
        };
        within(&self.sources, record.source.host)
            && within(&self.destinations, record.target.host)
            && (self.ports.is_empty()
                || record.target.port.is_some_and(|it| self.ports.iter().any(|ports| ports.contains(&it))))
            && (self.schedule.is_empty()
                || self.schedule.iter().any(|it| it.contains(record.time, record.utc_offset)))
            && self
                .texts
                .iter()
                .all(|(text, patterns)| facts.any(*text, &|got| patterns.iter().any(|it| it.matches(got))))
    }
}
