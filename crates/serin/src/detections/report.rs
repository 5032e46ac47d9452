//! What is told of a detection.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use serde_json::Value as Json;
use serin_detect::{Correlation, Detection, Level, Meta};
use serin_event::{Endpoint, Event, Record, Severity, Tainted, Timestamp, Value, is_secret, kinds};

use super::files::BUILT_IN;
use super::quiet::Key;
use crate::hex::hex;
use crate::runtime::clock;

/// What is known of an event that a detection is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Subject {
    pub(super) source: Endpoint,
    pub(super) target: Endpoint,
    pub(super) service: String,
    /// What happened, for a person, without passwords.
    pub(super) sentence: String,
}

impl Subject {
    pub(super) fn of(record: &Record) -> Self {
        Self {
            source: record.source,
            target: record.target,
            service: record.kind.service.to_owned(),
            // Detections reach outputs that must not have passwords.
            sentence: record.concealed(&|_| Some("***".to_owned())).sentence(),
        }
    }
}

/// A detection that is to be told.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Report {
    pub(super) meta: Meta,
    pub(super) detection: Detection,
    /// How often the rule fired for the same source or group since it was last told, this time included.
    pub(super) count: u64,
    /// The length of its window in microseconds, where it is a correlation.
    pub(super) window: Option<i64>,
    /// The last of its events, where that is known still.
    pub(super) subject: Option<Subject>,
}

/// What makes this detection the same as another one.
pub(super) fn key(meta: &Meta, detection: &Detection, event: Option<&Record>) -> Key {
    let rule = meta.id.clone().unwrap_or_else(|| meta.title.clone());
    if detection.group.is_empty() {
        let whom = event.map(|it| whom(it.source, it.kind.service)).unwrap_or_default();
        return Key { rule, whom };
    }
    let group = detection.group.iter().map(|it| (it.0.to_string(), cut(&it.1)));
    Key { rule, whom: of_group(group.collect()) }
}

/// The same of one that was told before, and its time; `None`: the record tells of none.
pub(super) fn told_by(record: &Record) -> Option<(Key, i64)> {
    let data: Json = serde_json::from_str(&record.logdata).ok()?;
    let text = |name: &str| data.get(name).and_then(Json::as_str).unwrap_or_default();
    let at = text("TIME").parse().map_or(record.time.0, jiff::Timestamp::as_microsecond);
    let rule = Some(text("RULE_ID")).filter(|it| !it.is_empty()).unwrap_or(text("TITLE")).to_owned();
    let group = data.get("GROUP").and_then(Json::as_object)?;
    if group.is_empty() {
        return Some((Key { rule, whom: whom(record.source, text("SERVICE")) }, at));
    }
    let group = group.iter().map(|it| (it.0.clone(), it.1.as_str().unwrap_or_default().to_owned()));
    Some((Key { rule, whom: of_group(group.collect()) }, at))
}

fn whom(source: Endpoint, service: &str) -> String {
    format!("{} {service}", source.host_text())
}

fn of_group(group: BTreeMap<String, String>) -> String {
    group.into_iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("\n")
}

/// As much of a value as is kept.
fn cut(value: &str) -> String {
    Tainted::new(value.as_bytes(), VALUE).text().into_owned()
}

impl Report {
    pub(super) fn new(
        meta: &Meta,
        correlation: Option<&Correlation>,
        detection: &Detection,
        count: u64,
        subject: Option<Subject>,
    ) -> Self {
        let window = correlation.map(|it| it.timespan);
        Self { meta: meta.clone(), detection: detection.clone(), count, window, subject }
    }

    /// As it is stored and sent.
    pub(super) fn record(&self, node: &Arc<str>, now: Timestamp) -> Record {
        let subject = self.subject.as_ref();
        let mut source = subject.map(|it| it.source).unwrap_or_default();
        if self.window.is_some() {
            source = Endpoint { host: source_of(&self.detection.group), port: None };
        }
        let target = subject.map(|it| it.target).unwrap_or_default();
        Record { source, target, ..Record::of(&self.event(), now, clock::utc_offset(now), node.clone()) }
    }

    fn event(&self) -> Event {
        let Self { meta, detection, .. } = self;
        let text = |it: &Option<String>| it.clone().unwrap_or_default();
        let texts =
            |list: &[String]| Value::List(list.iter().take(LIST).map(|it| it.clone().into()).collect());
        let group = detection.group.iter().map(|(name, value)| {
            (Tainted::new(name.as_bytes(), NAME), Value::from(Tainted::new(value.as_bytes(), VALUE)))
        });
        let place = meta.place.as_ref().map(ToString::to_string).unwrap_or_default();
        let service = self.subject.as_ref().filter(|_| self.window.is_none()).map(|it| it.service.clone());
        Event::new(kinds::detection(severity(meta.level)))
            .with("AUTHOR", text(&meta.author))
            .with("CORRELATION", self.window.is_some())
            .with("COUNT", number(self.count))
            .with("EVENTS", Value::List(detection.evidence.iter().map(|it| number(*it)).collect()))
            .with("FIGURE", detection.figure.map_or(Value::Null, figure))
            .with("GROUP", Value::Map(group.collect()))
            .with("ID", hex(&detection.id))
            .with("LATE", detection.late)
            .with("LEVEL", meta.level.name())
            .with("LICENSE", text(&meta.license))
            .with("RAISES", self.raises())
            .with("REFERENCES", texts(&meta.references))
            .with("PLACE", place)
            .with("RULE_ID", text(&meta.id))
            .with("SATURATED", detection.saturated)
            .with("SENTENCE", self.sentence())
            .with("SERVICE", service.unwrap_or_default())
            .with("TAGS", texts(&meta.tags))
            .with("TIME", Timestamp(detection.time).rfc3339())
            .with("TITLE", meta.title.clone())
    }

    /// Whether its level decides how severe an incident is. The program's own rules for single events do
    /// not: how much an event matters is decided by how far its peer went.
    fn raises(&self) -> bool {
        let own = self.meta.place.as_ref().is_some_and(|it| it.file.starts_with(BUILT_IN));
        self.window.is_some() || !own
    }

    /// For a person, without a full stop.
    fn sentence(&self) -> String {
        let title = show(&self.meta.title, TITLE);
        let Some(window) = self.window else {
            let deed = self.subject.as_ref().map(|it| it.sentence.as_str()).unwrap_or_default();
            return format!("{title}: {deed}");
        };
        let member = |(name, value): &(Arc<str>, String)| {
            // Detections reach outputs that must not have passwords.
            if is_secret(name) { format!("one {name}") } else { format!("{name} {}", show(value, 80)) }
        };
        let group: Vec<_> = self.detection.group.iter().map(member).collect();
        let figure = self.detection.figure.map(|it| format!(": {it}")).unwrap_or_default();
        let within = span(window);
        if group.is_empty() {
            return format!("{title}{figure} within {within}");
        }
        format!("{title}{figure} within {within} for {}", group.join(", "))
    }
}

/// The address that a group is about.
pub(super) fn source_of(group: &[(Arc<str>, String)]) -> Option<IpAddr> {
    const FIELDS: [&str; 4] = ["src_host", "src_ip", "c-ip", "source.ip"];
    group.iter().filter(|it| FIELDS.contains(&&*it.0)).find_map(|it| it.1.parse().ok())
}

/// The same word on both sides.
pub(super) fn severity(level: Level) -> Severity {
    match level {
        Level::Informational => Severity::Informational,
        Level::Low => Severity::Low,
        Level::Medium => Severity::Medium,
        Level::High => Severity::High,
        Level::Critical => Severity::Critical,
    }
}

fn number(number: u64) -> Value {
    Value::from(i64::try_from(number).unwrap_or(i64::MAX))
}

/// A whole number as one, any other as text.
fn figure(it: f64) -> Value {
    it.to_string().parse::<i64>().map_or_else(|_| it.to_string().into(), Value::from)
}

/// Escaped, and no longer than a person reads.
fn show(text: &str, characters: usize) -> String {
    Tainted::new(text.as_bytes(), text.len()).shown(characters)
}

/// `5 minutes`.
fn span(micros: i64) -> String {
    let seconds = micros / 1_000_000;
    for (unit, length) in [("day", 86_400), ("hour", 3600), ("minute", 60)] {
        if seconds >= length && seconds % length == 0 {
            let many = seconds / length;
            return format!("{many} {unit}{}", if many == 1 { "" } else { "s" });
        }
    }
    format!("{seconds} seconds")
}

const TITLE: usize = 256;
/// Tags and references of a rule that are told.
const LIST: usize = 32;
const NAME: usize = 64;
const VALUE: usize = 256;
