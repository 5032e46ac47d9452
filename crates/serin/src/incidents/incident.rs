//! One incident: what belongs to it so far, and what of that was told.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};
use serin_event::{Intent, Severity, Timestamp};

use super::notice::{Change, Notice};
use super::rule::Rule;
use super::settings::{Settings, micros};
use super::touch::{Touch, fingerprint};
use super::words;

/// By what an event finds the incident that it belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) enum Key {
    /// Everything that a source does.
    Source(IpAddr),
    /// What a source does on a service; of what has no source, all on a service.
    Touch(Option<IpAddr>, String),
    /// Whoever tries these credentials.
    Credentials(u64),
    /// What is too much to be told one by one.
    Flood,
    /// What this detection rule finds in this group, which has no source of its own.
    Detection(u64),
}

/// What was last told of an incident.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Told {
    #[serde(with = "severity_name")]
    severity: Severity,
    #[serde(with = "intent_name")]
    intent: Intent,
    rules: usize,
    count: u64,
    at: i64,
}

/// An incident that is going on. Times that end in `_at` are the engine's own, in microseconds; it
/// never goes back.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Incident {
    /// The number of its first event.
    pub(super) seq: u64,
    pub(super) id: String,
    pub(super) node: String,
    /// What tied its events together, the most telling last.
    pub(super) rules: Vec<Rule>,
    #[serde(with = "severity_name")]
    pub(super) severity: Severity,
    #[serde(with = "intent_name")]
    pub(super) intent: Intent,
    pub(super) services: Vec<String>,
    /// The addresses that did it, the first ones.
    pub(super) sources: Vec<IpAddr>,
    pub(super) targets: Vec<IpAddr>,
    pub(super) ports: Vec<u16>,
    pub(super) count: u64,
    first: i64,
    last: i64,
    opened_at: i64,
    /// When the last event was taken in.
    pub(super) seen_at: i64,
    /// How often credentials were tried.
    pub(super) logins: u64,
    pub(super) users: Vec<String>,
    pub(super) passwords: Vec<String>,
    user_prints: Vec<u64>,
    password_prints: Vec<u64>,
    /// Whose bait credentials were used.
    pub(super) bait: Option<String>,
    pub(super) labels: Vec<String>,
    /// The titles of detection rules that fired on it.
    #[serde(default)]
    detections: Vec<String>,
    samples: Vec<String>,
    events: Vec<u64>,
    /// By what further events find it.
    pub(super) keys: Vec<Key>,
    told: Option<Told>,
    /// Whether the store has it.
    #[serde(skip)]
    pub(super) stored: bool,
}

impl Incident {
    /// A new one that this event opens.
    pub(super) fn new(touch: &Touch<'_>, id: String, key: Key, rule: Rule, at: i64) -> Self {
        let time = touch.record.time.0;
        let mut new = Self {
            seq: touch.record.seq,
            id,
            node: touch.record.node_id.to_string(),
            rules: vec![rule],
            severity: rule.severity(),
            intent: Intent::Housekeeping,
            services: Vec::new(),
            sources: Vec::new(),
            targets: Vec::new(),
            ports: Vec::new(),
            count: 0,
            first: time,
            last: time,
            opened_at: at,
            seen_at: at,
            logins: 0,
            users: Vec::new(),
            passwords: Vec::new(),
            user_prints: Vec::new(),
            password_prints: Vec::new(),
            bait: None,
            labels: Vec::new(),
            detections: Vec::new(),
            samples: Vec::new(),
            events: Vec::new(),
            keys: vec![key],
            told: None,
            stored: false,
        };
        new.add(touch, at);
        new
    }

    /// Takes in one more event.
    pub(super) fn add(&mut self, touch: &Touch<'_>, at: i64) {
        let record = touch.record;
        self.seen_at = self.seen_at.max(at);
        self.count = self.count.saturating_add(touch.weight);
        self.first = self.first.min(record.time.0);
        self.last = self.last.max(record.time.0);
        self.severity = self.severity.max(touch.severity);
        self.intent = self.intent.max(touch.intent);
        note(&mut self.services, touch.service.as_ref().to_owned(), SERVICES);
        self.sources.extend(touch.source().filter(|it| is_new(&self.sources, it, SOURCES)));
        self.targets.extend(record.target.host.filter(|it| is_new(&self.targets, it, TARGETS)));
        self.ports.extend(record.target.port.filter(|it| is_new(&self.ports, it, PORTS)));
        if self.samples.len() < SAMPLES {
            // Sentences of incidents reach outputs that must not have passwords.
            self.samples.push(record.concealed(&|_| Some("***".to_owned())).sentence());
        }
        if self.events.len() < EVENTS {
            self.events.push(record.seq);
        }
        for label in &touch.labels {
            note(&mut self.labels, label.clone(), LABELS);
        }
        if touch.is_login() {
            self.add_login(touch);
        }
    }

    fn add_login(&mut self, touch: &Touch<'_>) {
        self.logins = self.logins.saturating_add(1);
        if let Some(user) = &touch.user {
            note(&mut self.user_prints, fingerprint(&[user]), PRINTS);
            note(&mut self.users, user.clone(), NAMES);
        }
        if let Some(password) = &touch.password {
            note(&mut self.password_prints, fingerprint(&[password]), PRINTS);
            note(&mut self.passwords, password.clone(), NAMES);
        }
        if touch.intent == Intent::Bait && self.bait.is_none() {
            self.bait = Some(touch.user.clone().unwrap_or_default());
        }
    }

    /// Takes in another incident that turned out to belong to this one.
    pub(super) fn absorb(&mut self, other: &Self) {
        let other = other.clone();
        self.seen_at = self.seen_at.max(other.seen_at);
        self.opened_at = self.opened_at.min(other.opened_at);
        self.count = self.count.saturating_add(other.count);
        self.first = self.first.min(other.first);
        self.last = self.last.max(other.last);
        self.severity = self.severity.max(other.severity);
        self.intent = self.intent.max(other.intent);
        self.logins = self.logins.saturating_add(other.logins);
        self.bait = self.bait.take().or(other.bait);
        note_all(&mut self.rules, other.rules, RULES);
        self.rules.sort_unstable();
        note_all(&mut self.services, other.services, SERVICES);
        note_all(&mut self.sources, other.sources, SOURCES);
        note_all(&mut self.targets, other.targets, TARGETS);
        note_all(&mut self.ports, other.ports, PORTS);
        note_all(&mut self.users, other.users, NAMES);
        note_all(&mut self.passwords, other.passwords, NAMES);
        note_all(&mut self.user_prints, other.user_prints, PRINTS);
        note_all(&mut self.password_prints, other.password_prints, PRINTS);
        note_all(&mut self.labels, other.labels, LABELS);
        note_all(&mut self.detections, other.detections, DETECTIONS);
        note_all(&mut self.samples, other.samples, SAMPLES);
        note_all(&mut self.events, other.events, EVENTS);
        note_all(&mut self.keys, other.keys, KEYS);
        self.events.sort_unstable();
    }

    /// Notes that a detection rule fired on it, which may make it worse.
    pub(super) fn detected(&mut self, title: &str, raises_to: Option<Severity>) {
        self.severity = self.severity.max(raises_to.unwrap_or(self.severity));
        note(&mut self.detections, title.to_owned(), DETECTIONS);
    }

    /// Notes events that belong to it and were not taken in one by one.
    pub(super) fn note_events(&mut self, events: &[u64]) {
        note_all(&mut self.events, events.to_vec(), EVENTS);
    }

    /// Whether this source is one of those that did it.
    pub(super) fn is_of(&self, source: IpAddr) -> bool {
        self.sources.contains(&source)
    }

    /// Notes that a rule ties it together. Whether that is new.
    pub(super) fn tie(&mut self, rule: Rule) -> bool {
        if self.rules.contains(&rule) {
            return false;
        }
        self.rules.push(rule);
        self.rules.sort_unstable();
        self.severity = self.severity.max(rule.severity());
        true
    }

    /// Further events with this key belong to it. Whether there was room for one more.
    pub(super) fn catch(&mut self, key: Key) -> bool {
        note(&mut self.keys, key, KEYS)
    }

    /// Whether this rule ties it together, among others.
    pub(super) fn has(&self, rule: Rule) -> bool {
        self.rules.contains(&rule)
    }

    /// The most telling of its rules.
    pub(super) fn rule(&self) -> Rule {
        self.rules.last().copied().unwrap_or(Rule::Touch)
    }

    /// The one who did it, where it was one.
    pub(super) fn source(&self) -> Option<IpAddr> {
        match self.sources.as_slice() {
            [one] if !self.has(Rule::Flood) => Some(*one),
            _ => None,
        }
    }

    /// The service, or `several`.
    pub(super) fn service(&self) -> &str {
        match self.services.as_slice() {
            [one] => one,
            _ => "several",
        }
    }

    /// How many users and passwords were tried, as far as they were counted one by one.
    pub(super) fn tried(&self) -> (Counted, Counted) {
        (Counted::of(&self.user_prints, PRINTS), Counted::of(&self.password_prints, PRINTS))
    }

    /// How many sources and ports there are.
    pub(super) fn spread(&self) -> (Counted, Counted) {
        (Counted::of(&self.sources, SOURCES), Counted::of(&self.ports, PORTS))
    }

    /// Whether somebody was told of it.
    pub(super) fn is_told(&self) -> bool {
        self.told.is_some()
    }

    /// When it ends unless something more happens.
    pub(super) fn ends_at(&self, settings: &Settings) -> i64 {
        self.seen_at.saturating_add(settings.window_of(&self.services, self.severity))
    }

    /// When something is to be told of it, as things stand; never where nothing has changed.
    pub(super) fn told_at(&self, settings: &Settings) -> i64 {
        let Some(told) = &self.told else {
            return self.opened_at.saturating_add(settings.gather_of(self.intent, &self.rules));
        };
        if self.severity > told.severity || self.intent > told.intent || self.rules.len() > told.rules {
            i64::MIN
        } else if self.count > told.count {
            told.at.saturating_add(micros(settings.update_every))
        } else {
            i64::MAX
        }
    }

    /// Tells it as it is now.
    pub(super) fn tell(&mut self, at: i64, about: &dyn Fn(IpAddr) -> Map<String, Json>) -> Notice {
        let change = if self.told.is_some() { Change::Updated } else { Change::Opened };
        self.told = Some(Told {
            severity: self.severity,
            intent: self.intent,
            rules: self.rules.len(),
            count: self.count,
            at,
        });
        self.notice(change, about)
    }

    /// What there is to tell.
    pub(super) fn notice(&self, change: Change, about: &dyn Fn(IpAddr) -> Map<String, Json>) -> Notice {
        let about_source = self.source().map(about).unwrap_or_default();
        Notice {
            id: self.id.clone(),
            change,
            severity: self.severity,
            intent: self.intent,
            service: self.service().to_owned(),
            rule: self.rule().name().to_owned(),
            sentence: words::sentence(self, about_source.get("name").and_then(Json::as_str)),
            source: self.source(),
            about_source,
            targets: self.targets.iter().map(ToString::to_string).collect(),
            ports: self.ports.iter().copied().take(PORTS_TOLD).collect(),
            count: self.count,
            first: Timestamp(self.first),
            last: Timestamp(self.last),
            users: self.users.clone(),
            passwords: self.passwords.clone(),
            labels: self.labels.clone(),
            detections: self.detections.clone(),
            samples: self.samples.clone(),
            events: self.events.clone(),
            test: false,
        }
    }

    /// The sentence of its first event.
    pub(super) fn first_sample(&self) -> &str {
        self.samples.first().map_or("", String::as_str)
    }

    /// As the store keeps it, with what was last told or would be told now.
    pub(super) fn row(&self, notice: &Notice, closed: Option<Timestamp>) -> serin_store::Incident {
        let state = if closed.is_some() { String::new() } else { to_json(self) };
        serin_store::Incident {
            id: self.id.clone(),
            seq: self.seq,
            opened: notice.first,
            updated: notice.last,
            closed,
            severity: notice.severity,
            intent: notice.intent,
            service: notice.service.clone(),
            rule: notice.rule.clone(),
            source: notice.source,
            count: notice.count,
            sentence: notice.sentence.clone(),
            test: notice.test,
            notice: notice.to_event().logdata(),
            state,
            acknowledged: None,
        }
    }

    /// From what the store kept.
    pub(super) fn from_row(row: &serin_store::Incident) -> Option<Self> {
        let incident: Self = serde_json::from_str(&row.state).ok()?;
        Some(Self { stored: true, ..incident })
    }
}

/// A number of different things that were counted up to a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Counted {
    pub(super) number: usize,
    /// Whether there may be more.
    pub(super) or_more: bool,
}

impl Counted {
    fn of<T>(list: &[T], limit: usize) -> Self {
        Self { number: list.len(), or_more: list.len() >= limit }
    }
}

fn is_new<T: PartialEq>(list: &[T], value: &T, limit: usize) -> bool {
    list.len() < limit && !list.contains(value)
}

/// Adds what is new, up to the limit. Whether the list has it now.
fn note<T: PartialEq>(list: &mut Vec<T>, value: T, limit: usize) -> bool {
    if list.contains(&value) {
        return true;
    }
    let room = list.len() < limit;
    if room {
        list.push(value);
    }
    room
}

fn note_all<T: PartialEq>(list: &mut Vec<T>, values: Vec<T>, limit: usize) {
    for value in values {
        note(list, value, limit);
    }
}

fn to_json(incident: &Incident) -> String {
    // Names, numbers and lists alone: nothing that JSON cannot hold.
    serde_json::to_string(incident).unwrap_or_default()
}

/// Severities by their names.
mod severity_name {
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};
    use serin_event::Severity;

    #[allow(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
    pub(super) fn serialize<S: Serializer>(it: &Severity, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(it.name())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Severity, D::Error> {
        let name = String::deserialize(from)?;
        Severity::by_name(&name).ok_or_else(|| D::Error::custom("no severity"))
    }
}

/// Intents by their names.
mod intent_name {
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};
    use serin_event::Intent;

    #[allow(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
    pub(super) fn serialize<S: Serializer>(it: &Intent, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(it.name())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Intent, D::Error> {
        let name = String::deserialize(from)?;
        Intent::by_name(&name).ok_or_else(|| D::Error::custom("no intent"))
    }
}

// What one incident keeps at most.
const RULES: usize = 8;
const SERVICES: usize = 32;
const SOURCES: usize = 1000;
const TARGETS: usize = 16;
const PORTS: usize = 256;
const PORTS_TOLD: usize = 32;
const NAMES: usize = 10;
/// Users, and passwords, that are told apart.
const PRINTS: usize = 64;
const LABELS: usize = 8;
const DETECTIONS: usize = 16;
const SAMPLES: usize = 5;
const EVENTS: usize = 20;
/// Further events beyond these keys find no way to it, and open one of their own.
const KEYS: usize = 1024;
