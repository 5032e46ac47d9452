//! What is told of an incident at one moment; the content of records of the kinds `incident.*`.

use std::net::IpAddr;

use serde_json::{Map, Value as Json, json};
use serin_event::{Event, Intent, Record, Severity, Tainted, Timestamp, Value, kinds};

/// What became of an incident.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    /// It is new.
    Opened,
    /// It grew, or became more severe.
    Updated,
    /// Nothing more happened within its window.
    Closed,
}

impl Change {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Opened => "opened",
            Self::Updated => "updated",
            Self::Closed => "closed",
        }
    }

    fn by_name(name: &str) -> Option<Self> {
        [Self::Opened, Self::Updated, Self::Closed].into_iter().find(|it| it.name() == name)
    }
}

/// An incident as it is told at one moment. Texts from peers are escaped where they are shown, not
/// here; lists are bounded by whoever makes it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Notice {
    /// The same for all that is told of one incident: `NODE-SEQ` of its first event.
    pub(crate) id: String,
    pub(crate) change: Change,
    pub(crate) severity: Severity,
    /// How far the peer went.
    pub(crate) intent: Intent,
    /// The service, or `several`.
    pub(crate) service: String,
    /// What tied its events together: `touch` (one source, one service), `host-scan`, …
    pub(crate) rule: String,
    /// What happened, for a person: one sentence without a full stop.
    pub(crate) sentence: String,
    /// Who did it.
    pub(crate) source: Option<IpAddr>,
    /// What else is known of the source: names (`name`), hardware (`mac`, `vendor`), place (`country`,
    /// `asn`, `organisation`); see the enrichment.
    pub(crate) about_source: Map<String, Json>,
    /// Addresses of ours that were touched.
    pub(crate) targets: Vec<String>,
    /// Ports of ours that were touched.
    pub(crate) ports: Vec<u16>,
    /// How many events belong to it so far.
    pub(crate) count: u64,
    /// When the first of them happened.
    pub(crate) first: Timestamp,
    /// When the last of them happened.
    pub(crate) last: Timestamp,
    /// User names that were tried, the first ones.
    pub(crate) users: Vec<String>,
    /// Passwords that were tried, the first ones.
    pub(crate) passwords: Vec<String>,
    /// Benign patterns that it matches: `nessus`.
    pub(crate) labels: Vec<String>,
    /// The titles of detection rules that fired on it.
    pub(crate) detections: Vec<String>,
    /// The sentences of its first events.
    pub(crate) samples: Vec<String>,
    /// The numbers of its events, the first ones.
    pub(crate) events: Vec<u64>,
    /// Whether it is a test and nothing happened.
    pub(crate) test: bool,
}

impl Notice {
    /// Says of itself that it is a test.
    pub(crate) fn test(sentence: String, now: Timestamp) -> Self {
        Self {
            id: format!("test-{}", now.0),
            change: Change::Opened,
            severity: Severity::Informational,
            intent: Intent::Housekeeping,
            service: "sensor".to_owned(),
            rule: "test".to_owned(),
            sentence,
            source: None,
            about_source: Map::new(),
            targets: Vec::new(),
            ports: Vec::new(),
            count: 1,
            first: now,
            last: now,
            users: Vec::new(),
            passwords: Vec::new(),
            labels: Vec::new(),
            detections: Vec::new(),
            samples: Vec::new(),
            events: Vec::new(),
            test: true,
        }
    }

    /// A single event as if it were an incident: for outputs that alert on each.
    pub(crate) fn of_event(record: &Record) -> Self {
        let logdata: Json = serde_json::from_str(&record.logdata).unwrap_or_default();
        let texts = |names: &[&str]| -> Vec<String> {
            names.iter().filter_map(|it| logdata.get(*it)?.as_str()).map(str::to_owned).collect()
        };
        Self {
            id: crate::outputs::event_id(record),
            change: Change::Opened,
            severity: crate::ignore::severity(record),
            intent: record.intent(),
            service: record.kind.service.to_owned(),
            rule: "event".to_owned(),
            sentence: record.sentence(),
            source: record.source.host,
            targets: record.target.host.iter().map(ToString::to_string).collect(),
            ports: record.target.port.into_iter().collect(),
            first: record.time,
            last: record.time,
            users: texts(USERS),
            passwords: texts(PASSWORDS),
            events: vec![record.seq],
            about_source: about_source(record),
            labels: labels(record),
            test: record.is_selftest(),
            ..Self::test(String::new(), record.time)
        }
    }

    /// What a record tells: an incident's, or else a single event's.
    pub(crate) fn of(record: &Record) -> Self {
        if record.kind.is_incident() { Self::read(record) } else { Self::of_event(record) }
    }

    fn read(record: &Record) -> Self {
        let data: Json = serde_json::from_str(&record.logdata).unwrap_or_default();
        let text = |name: &str| data.get(name).and_then(Json::as_str).unwrap_or_default();
        let list =
            |name: &str| data.get(name).and_then(Json::as_array).map(Vec::as_slice).unwrap_or_default();
        let texts = |name: &str| list(name).iter().filter_map(Json::as_str).map(str::to_owned).collect();
        let time = |name: &str| {
            text(name).parse().map_or(record.time, |it: jiff::Timestamp| Timestamp(it.as_microsecond()))
        };
        Self {
            id: text("ID").to_owned(),
            change: Change::by_name(text("CHANGE")).unwrap_or(Change::Updated),
            severity: record.severity(),
            intent: Intent::by_name(text("INTENT")).unwrap_or(Intent::Connect),
            service: text("SERVICE").to_owned(),
            rule: text("RULE").to_owned(),
            sentence: text("SENTENCE").to_owned(),
            source: record.source.host,
            about_source: data.get("SOURCE").and_then(Json::as_object).cloned().unwrap_or_default(),
            targets: texts("TARGETS"),
            ports: list("PORTS").iter().filter_map(|it| u16::try_from(it.as_u64()?).ok()).collect(),
            count: data.get("COUNT").and_then(Json::as_u64).unwrap_or(1),
            first: time("FIRST"),
            last: time("LAST"),
            users: texts("USERS"),
            passwords: texts("PASSWORDS"),
            labels: texts("LABELS"),
            detections: texts("DETECTIONS"),
            samples: texts("SAMPLES"),
            events: list("EVENTS").iter().filter_map(Json::as_u64).collect(),
            test: data.get("TEST") == Some(&json!(true)),
        }
    }

    /// The event that tells it. Its record should have the source's address as source.
    pub(crate) fn to_event(&self) -> Event {
        let texts = |list: &[String]| Value::List(list.iter().map(|it| it.clone().into()).collect());
        let about = self.about_source.iter().map(|(name, value)| {
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            (Tainted::new(name.as_bytes(), 64), text.into())
        });
        Event::new(kinds::incident(self.severity))
            .with("CHANGE", self.change.name())
            .with("COUNT", number(self.count))
            .with("DETECTIONS", texts(&self.detections))
            .with("EVENTS", Value::List(self.events.iter().map(|it| number(*it)).collect()))
            .with("FIRST", self.first.rfc3339())
            .with("ID", self.id.clone())
            .with("INTENT", self.intent.name())
            .with("LABELS", texts(&self.labels))
            .with("LAST", self.last.rfc3339())
            .with("PASSWORDS", texts(&self.passwords))
            .with("PORTS", Value::List(self.ports.iter().map(|it| number(u64::from(*it))).collect()))
            .with("RULE", self.rule.clone())
            .with("SAMPLES", texts(&self.samples))
            .with("SENTENCE", self.sentence.clone())
            .with("SERVICE", self.service.clone())
            .with("SOURCE", Value::Map(about.collect()))
            .with("TARGETS", texts(&self.targets))
            .with("TEST", self.test)
            .with("USERS", texts(&self.users))
    }
}

fn number(number: u64) -> Value {
    Value::from(i64::try_from(number).unwrap_or(i64::MAX))
}

/// What was known of the source when an event was recorded.
pub(crate) fn about_source(record: &Record) -> Map<String, Json> {
    match record.detail(crate::enrich::SOURCE) {
        Some(Json::Object(facts)) => facts,
        _ => Map::new(),
    }
}

/// The benign patterns that an event matched.
pub(crate) fn labels(record: &Record) -> Vec<String> {
    let labels = record.detail(crate::ignore::LABEL).unwrap_or_default();
    labels.as_array().into_iter().flatten().filter_map(Json::as_str).map(str::to_owned).collect()
}

/// Fields that hold the name somebody tried to log in with.
pub(crate) const USERS: &[&str] = &["USERNAME", "UserName", "username", "USER"];
/// Fields that hold the password somebody tried to log in with.
pub(crate) const PASSWORDS: &[&str] = &["PASSWORD", "Password", "VNC Password"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_notice_survives_the_store() {
        let time = Timestamp(1_795_296_991_777_389);
        let notice = Notice {
            id: "node-7".into(),
            change: Change::Closed,
            severity: Severity::High,
            intent: Intent::Login,
            service: "ftp".into(),
            rule: "touch".into(),
            sentence: "10.0.0.5 tried 3 passwords on FTP".into(),
            about_source: json!({ "name": "laptop-7" }).as_object().unwrap().clone(),
            targets: vec!["10.0.0.9".into()],
            ports: vec![21],
            count: 3,
            users: vec!["root".into(), "\u{e9}".into()],
            passwords: vec!["a\"b".into()],
            labels: vec!["nessus".into()],
            detections: vec!["Somebody is in".into()],
            samples: vec!["one".into()],
            events: vec![7, 8, 9],
            test: false,
            ..Notice::test(String::new(), time)
        };
        let record = Record::of(&notice.to_event(), time, 0, "node");
        assert_eq!(Notice::of(&record), notice);
        assert_eq!(record.sentence(), notice.sentence);
        assert_eq!(record.severity(), Severity::High);
    }
}
