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
use crate::ignore::{self, Action};
use crate::runtime::clock;

/// What is remembered of an event, for what is told of a correlation.
#[derive(Debug, Clone, Copy)]
pub(super) struct Brief {
    pub(super) seq: u64,
    pub(super) source: Endpoint,
    pub(super) target: Endpoint,
}

impl Brief {
    pub(super) fn of(record: &Record) -> Self {
        Self { seq: record.seq, source: record.source, target: record.target }
    }
}

/// A detection that is to be told.
#[derive(Debug, Clone)]
pub(super) struct Report {
    meta: Meta,
    detection: Detection,
    /// Its time, as the system says it.
    time: Timestamp,
    /// How often the rule fired for the same source or group since it was last told, this time included.
    count: u64,
    about: Subject,
}

/// What it is about.
#[derive(Debug, Clone)]
enum Subject {
    /// One event.
    Event {
        source: Endpoint,
        target: Endpoint,
        service: &'static str,
        /// What happened, for a person, without passwords.
        sentence: String,
        /// An ignore rule makes less of it.
        lowered: bool,
    },
    /// Several events within a window of so many microseconds.
    Window { timespan: i64, group: Vec<Member>, sources: Vec<IpAddr>, target: Endpoint },
}

/// One of the fields that make a group.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Member {
    name: String,
    value: String,
}

/// The group that a correlation fired for. A secret stays known as one under any alias: its name tells
/// the field as well.
fn members(correlation: &Correlation, detection: &Detection) -> Vec<Member> {
    let member = |(name, value): &(Arc<str>, String)| {
        let key = correlation.group_by.iter().find(|it| it.name == *name);
        let secret = key.and_then(|it| it.fields.iter().find(|it| is_secret(it)));
        let name = match secret {
            Some(field) if !is_secret(name) => format!("{name}:{field}"),
            _ => name.to_string(),
        };
        Member { name: cut(&name, NAME), value: cut(value, VALUE) }
    };
    detection.group.iter().map(member).collect()
}

/// What makes the detection of one event the same as another one.
pub(super) fn key_of_event(meta: &Meta, record: &Record) -> Key {
    Key { rule: name_of(meta), whom: whom(record.source, record.kind.service) }
}

/// What makes a firing of a correlation the same as another one.
pub(super) fn key_of_window(correlation: &Correlation, detection: &Detection) -> Key {
    let group = members(correlation, detection).into_iter().map(|it| (it.name, it.value));
    Key { rule: name_of(&correlation.meta), whom: of_group(group.collect()) }
}

fn name_of(meta: &Meta) -> String {
    meta.id.clone().unwrap_or_else(|| meta.title.clone())
}

/// The same of one that was told before, and its time; `None`: the record tells of none.
pub(super) fn told_by(record: &Record) -> Option<(Key, i64)> {
    let data: Json = serde_json::from_str(&record.logdata).ok()?;
    let text = |name: &str| data.get(name).and_then(Json::as_str).unwrap_or_default();
    let at = text("TIME").parse().map_or(record.time.0, jiff::Timestamp::as_microsecond);
    let rule = Some(text("RULE_ID")).filter(|it| !it.is_empty()).unwrap_or(text("TITLE")).to_owned();
    let whom = if data.get("CORRELATION") == Some(&Json::Bool(true)) {
        let group = data.get("GROUP").and_then(Json::as_object)?;
        let group = group.iter().map(|it| (it.0.clone(), it.1.as_str().unwrap_or_default().to_owned()));
        of_group(group.collect())
    } else {
        whom(record.source, text("SERVICE"))
    };
    Some((Key { rule, whom }, at))
}

fn whom(source: Endpoint, service: &str) -> String {
    format!("{} {service}", source.host_text())
}

fn of_group(group: BTreeMap<String, String>) -> String {
    group.into_iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("\n")
}

/// As much of a text as is kept.
fn cut(text: &str, bytes: usize) -> String {
    Tainted::new(text.as_bytes(), bytes).text().into_owned()
}

impl Report {
    /// A rule matched this event.
    pub(super) fn of_event(
        meta: &Meta,
        detection: &Detection,
        time: Timestamp,
        count: u64,
        record: &Record,
    ) -> Self {
        let about = Subject::Event {
            source: record.source,
            target: record.target,
            service: record.kind.service,
            // Detections reach outputs that must not have passwords.
            sentence: record.concealed(&|_| Some("***".to_owned())).sentence(),
            lowered: ignore::decision(record).is_some_and(|it| it.1 == Action::Lower),
        };
        Self { meta: meta.clone(), detection: detection.clone(), time, count, about }
    }

    /// A correlation fired. `events`: what is still known of its evidence.
    pub(super) fn of_window(
        correlation: &Correlation,
        detection: &Detection,
        time: Timestamp,
        count: u64,
        events: &[Brief],
    ) -> Self {
        let mut sources = Vec::new();
        for host in events.iter().rev().filter_map(|it| it.source.host) {
            if sources.len() < LIST && !sources.contains(&host) {
                sources.push(host);
            }
        }
        let about = Subject::Window {
            timespan: correlation.timespan,
            group: members(correlation, detection),
            sources,
            target: events.last().map(|it| it.target).unwrap_or_default(),
        };
        Self { meta: correlation.meta.clone(), detection: detection.clone(), time, count, about }
    }

    /// As it is stored and sent.
    pub(super) fn record(&self, node: &Arc<str>, now: Timestamp) -> Record {
        let (source, target) = match &self.about {
            Subject::Event { source, target, .. } => (*source, *target),
            Subject::Window { group, target, .. } => {
                (Endpoint { host: source_of(group), port: None }, *target)
            }
        };
        Record { source, target, ..Record::of(&self.event(), now, clock::utc_offset(now), node.clone()) }
    }

    fn event(&self) -> Event {
        let Self { meta, detection, .. } = self;
        let text = |it: &Option<String>| it.clone().unwrap_or_default();
        let texts =
            |list: &[String]| Value::List(list.iter().take(LIST).map(|it| it.clone().into()).collect());
        let (service, group, sources) = match &self.about {
            Subject::Event { service, .. } => (*service, &[][..], &[][..]),
            Subject::Window { group, sources, .. } => ("", group.as_slice(), sources.as_slice()),
        };
        let group = group.iter().map(|it| {
            let value = Value::from(Tainted::new(it.value.as_bytes(), VALUE));
            (Tainted::new(it.name.as_bytes(), NAME), value)
        });
        let sources = sources.iter().map(|it| it.to_string().into());
        let place = meta.place.as_ref().map(ToString::to_string).unwrap_or_default();
        Event::new(kinds::detection(severity(meta.level)))
            .with("AUTHOR", text(&meta.author))
            .with("CORRELATION", matches!(self.about, Subject::Window { .. }))
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
            .with("SERVICE", service)
            .with("SOURCES", Value::List(sources.collect()))
            .with("TAGS", texts(&meta.tags))
            .with("TIME", self.time.rfc3339())
            .with("TITLE", meta.title.clone())
    }

    /// Whether its level decides how severe an incident is. The program's own rules for single events do
    /// not: how much an event matters is decided by how far its peer went. Nor does what an ignore rule
    /// makes less of.
    fn raises(&self) -> bool {
        let own = self.meta.place.as_ref().is_some_and(|it| it.file.starts_with(BUILT_IN));
        match self.about {
            Subject::Event { lowered, .. } => !own && !lowered,
            Subject::Window { .. } => true,
        }
    }

    /// For a person, without a full stop.
    fn sentence(&self) -> String {
        let title = show(&self.meta.title, TITLE);
        let (timespan, group) = match &self.about {
            Subject::Event { sentence, .. } => return format!("{title}: {sentence}"),
            Subject::Window { timespan, group, .. } => (*timespan, group),
        };
        let member = |it: &Member| {
            // Detections reach outputs that must not have passwords.
            if is_secret(&it.name) {
                format!("one {}", show(&it.name, NAME))
            } else {
                format!("{} {}", show(&it.name, NAME), show(&it.value, 80))
            }
        };
        let group: Vec<_> = group.iter().map(member).collect();
        let figure = self.detection.figure.map(|it| format!(": {it}")).unwrap_or_default();
        let within = span(timespan);
        if group.is_empty() {
            return format!("{title}{figure} within {within}");
        }
        format!("{title}{figure} within {within} for {}", group.join(", "))
    }
}

/// The address that a group is about.
fn source_of(group: &[Member]) -> Option<IpAddr> {
    const FIELDS: [&str; 4] = ["src_host", "src_ip", "c-ip", "source.ip"];
    group.iter().filter(|it| FIELDS.contains(&it.name.as_str())).find_map(|it| it.value.parse().ok())
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
