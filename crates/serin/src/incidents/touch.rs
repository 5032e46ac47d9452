//! What of a record matters to incidents.

use std::borrow::Cow;
use std::net::IpAddr;

use serde_json::Value as Json;
use serin_event::{Intent, Record, Severity, kinds};

use super::notice::{PASSWORDS, USERS, labels};
use crate::ignore::{self, Action};

/// One event of a peer.
#[derive(Debug)]
pub(super) struct Touch<'a> {
    pub(super) record: &'a Record,
    pub(super) service: Cow<'a, str>,
    pub(super) intent: Intent,
    /// What it counts for, where an ignore rule does not lower it.
    pub(super) severity: Severity,
    /// How many events it stands for: an aggregate counts for all it says.
    pub(super) weight: u64,
    pub(super) user: Option<String>,
    pub(super) password: Option<String>,
    /// Benign patterns that it matches.
    pub(super) labels: Vec<String>,
}

/// What a record is to incidents.
#[derive(Debug)]
pub(super) enum Sort<'a> {
    /// The sensor speaks of itself or of an incident, or tries itself: how its self-test went is told by
    /// that.
    Own,
    /// An ignore rule says that nobody is to be told.
    Suppressed,
    /// A detection rule fired.
    Detection(Found),
    /// Somebody did something.
    Touch(Touch<'a>),
}

/// What a detection rule found.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) title: String,
    /// What it makes of the incident, where the rule is one that decides that.
    pub(super) raises_to: Option<Severity>,
    pub(super) source: Option<IpAddr>,
    /// Where it is about a single event.
    pub(super) service: Option<String>,
    pub(super) events: Vec<u64>,
    /// Who did it, where that is not one source.
    pub(super) sources: Vec<IpAddr>,
    /// Stands for the rule and its group.
    pub(super) print: u64,
}

impl Found {
    fn of(record: &Record) -> Self {
        let data: Json = serde_json::from_str(&record.logdata).unwrap_or_default();
        let text = |name: &str| data.get(name).and_then(Json::as_str).unwrap_or_default();
        let is = |name: &str| data.get(name) == Some(&Json::Bool(true));
        let list =
            |name: &str| data.get(name).and_then(Json::as_array).map(Vec::as_slice).unwrap_or_default();
        let (events, sources) = (list("EVENTS"), list("SOURCES"));
        Self {
            title: text("TITLE").chars().take(TITLE).collect(),
            raises_to: is("RAISES").then(|| record.severity()),
            source: record.source.host,
            service: Some(text("SERVICE")).filter(|it| !it.is_empty()).map(shorten),
            events: events.iter().filter_map(Json::as_u64).collect(),
            sources: sources.iter().filter_map(|it| it.as_str()?.parse().ok()).collect(),
            print: fingerprint(&[text("TITLE"), &data.get("GROUP").map(Json::to_string).unwrap_or_default()]),
        }
    }
}

/// Sigma's longest title.
const TITLE: usize = 256;

/// Sorts a record.
pub(super) fn sort(record: &Record) -> Sort<'_> {
    if record.kind.is_detection() {
        return Sort::Detection(Found::of(record));
    }
    if record.kind.is_incident() || record.intent() == Intent::Housekeeping || record.is_selftest() {
        return Sort::Own;
    }
    match ignore::decision(record).map(|it| it.1) {
        Some(Action::Suppress) => Sort::Suppressed,
        action => Sort::Touch(Touch::of(record, action == Some(Action::Lower))),
    }
}

impl<'a> Touch<'a> {
    /// A detection that belongs to no incident yet.
    pub(super) fn of_detection(record: &'a Record, found: &Found) -> Self {
        Self {
            record,
            service: found.service.clone().map_or(Cow::Borrowed("several"), Cow::Owned),
            intent: Intent::Interact,
            severity: record.severity(),
            weight: 1,
            user: None,
            password: None,
            labels: Vec::new(),
        }
    }

    fn of(record: &'a Record, lowered: bool) -> Self {
        let intent = record.intent();
        let shared = record.kind.service == kinds::CONNECTION_TOUCHED.service;
        // Most events need not be read.
        let data: Json = if intent >= Intent::Login || shared {
            serde_json::from_str(&record.logdata).unwrap_or_default()
        } else {
            Json::Null
        };
        let text = |name: &str| data.get(name).and_then(Json::as_str);
        let first = |names: &[&str]| names.iter().find_map(|it| text(it));
        let service = match text("SERVICE").filter(|_| shared) {
            Some(service) => Cow::Owned(shorten(service)),
            None => Cow::Borrowed(record.kind.service),
        };
        let weight = if record.kind.name == kinds::CONNECTION_FLOOD.name {
            data.get("COUNT").and_then(Json::as_u64).unwrap_or(1).max(1)
        } else {
            1
        };
        let user = first(USERS).or_else(|| text("username")).map(shorten);
        let severity = record.severity();
        Self {
            record,
            service,
            intent,
            severity: if lowered { lower(severity) } else { severity },
            weight,
            user: user.filter(|it| !it.is_empty()),
            password: first(PASSWORDS).map(shorten),
            labels: labels(record).iter().map(|it| shorten(it)).collect(),
        }
    }

    /// Who did it.
    pub(super) fn source(&self) -> Option<IpAddr> {
        self.record.source.host
    }

    /// Whether credentials were tried.
    pub(super) fn is_login(&self) -> bool {
        self.intent >= Intent::Login
    }
}

fn lower(severity: Severity) -> Severity {
    Severity::ALL.into_iter().rev().find(|it| *it < severity).unwrap_or(severity)
}

/// Not more than a person reads.
fn shorten(text: &str) -> String {
    const CHARACTERS: usize = 64;
    text.chars().take(CHARACTERS).collect()
}

/// Stands for a text where texts are compared or counted: the same in every run. FNV-1a, 64 bits.
pub(super) fn fingerprint(parts: &[&str]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for part in parts {
        for byte in part.bytes().chain([0xff]) {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
    hash
}
