//! OpenTelemetry logs over HTTP, as JSON.
//!
//! <https://opentelemetry.io/docs/specs/otlp/#otlphttp>; names of attributes:
//! <https://opentelemetry.io/docs/specs/semconv/>.

use std::time::Duration;

use reqwest::Url;
use serde_json::{Value, json};
use serin_event::{Record, Severity, python_json};
use serin_services::conf::{Complaint, Conf};
use serin_services::settings;

use crate::outputs::encode::{self, Format};
use crate::outputs::secret::Secret;
use crate::outputs::transport::http::{self, Answer, Http, Request};
use crate::outputs::transport::tls;
use crate::outputs::{
    Batch, Carries, Delivery, Item, Later, Outcome, Output, OutputType, Passwords, event_id,
};

pub(crate) static OUTPUT: OutputType = OutputType {
    name: "otlp",
    about: "An OpenTelemetry collector: a log record for each event, over HTTP",
    keys: &[Settings::KEYS, encode::KEYS, http::KEYS, tls::KEYS],
    carries: Carries::Events,
    passwords: Passwords::Keep,
    batch: Batch { events: 500, bytes: 1024 * 1024, linger: Duration::from_millis(200) },
    build,
};

settings! { "otlp" {
    /// The collector's address, such as https://collector.example:4318; /v1/logs is put behind it.
    url: String = String::new();
    /// A header that the collector wants, as NAME: VALUE; most often Authorization: Bearer TOKEN.
    header: Secret = Secret::default();
    /// Whether requests are compressed.
    gzip: bool = true;
} }

fn build(conf: &Conf) -> Result<Box<dyn Output>, Vec<Complaint>> {
    let settings = Settings::read(conf)?;
    let mut complaints = Vec::new();
    let url = http::url("otlp.url", &settings.url).map_err(|it| complaints.push(it)).ok();
    let header = settings.header.reveal_or_complain("otlp.header", &mut complaints);
    let header = header.split_once(':').map(|it| (it.0.trim().to_owned(), it.1.trim().to_owned()));
    if header.is_none() && !settings.header.is_empty() {
        let text = "wants a header such as Authorization: Bearer TOKEN".to_owned();
        complaints.push(Complaint { key: "otlp.header".to_owned(), text });
    }
    let format = Format::of(conf).map_err(|it| complaints.extend(it)).ok();
    let http = Http::new(conf).map_err(|it| complaints.extend(it)).ok();
    match (url, format, http) {
        (Some(url), Some(format), Some(http)) if complaints.is_empty() => Ok(Box::new(Otlp {
            url: http::below(&url, "v1/logs"),
            header,
            format,
            gzip: settings.gzip,
            http,
            refused: 0,
            said: String::new(),
            warning: tls::warning(conf),
        })),
        _ => Err(complaints),
    }
}

#[derive(Debug)]
struct Otlp {
    url: Url,
    header: Option<(String, String)>,
    format: Format,
    gzip: bool,
    http: Http,
    /// Records that the collector took and threw away.
    refused: u64,
    /// What it said about that.
    said: String,
    warning: Option<String>,
}

impl Otlp {
    async fn export(&mut self, batch: &[Item]) -> Result<Outcome, Outcome> {
        let mut request = Request::post(self.url.clone(), "application/json", body(batch));
        if let Some((name, value)) = &self.header {
            request = request.with(name, value.clone());
        }
        let answer = self.http.send(if self.gzip { request.gzip() } else { request }).await?;
        let outcome = outcome(&answer);
        if outcome == Outcome::Delivered {
            self.note_refused(&answer);
        }
        Ok(outcome)
    }

    /// A partial success must not be sent again, and does not say which records it means.
    fn note_refused(&mut self, answer: &Answer) {
        let said: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        let Some(partial) = said.get("partialSuccess") else { return };
        let count = partial.get("rejectedLogRecords").and_then(number).unwrap_or(0);
        if count > 0 {
            const SHOWN: usize = 200;
            self.refused = self.refused.saturating_add(count);
            let told = partial.get("errorMessage").and_then(Value::as_str).unwrap_or_default();
            self.said = told.chars().take(SHOWN).filter(|it| !it.is_control()).collect();
        }
    }
}

/// 64-bit numbers are text in this JSON; readers take both.
fn number(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| value.as_str()?.parse().ok())
}

/// The standard lets only these statuses be tried again. What is wrong with the configuration keeps
/// the events nevertheless.
fn outcome(answer: &Answer) -> Outcome {
    match answer.status {
        200..=299 | 401 | 402 | 403 | 404 | 407 | 429 | 502 | 503 | 504 | 300..=399 => answer.outcome(),
        _ => Outcome::Reject(answer.told()),
    }
}

impl Output for Otlp {
    /// One log record.
    fn encode(&self, record: &Record) -> Option<Vec<u8>> {
        Some(python_json(&log_record(record, self.format)).into_bytes())
    }

    fn deliver<'a>(&'a mut self, batch: &'a [Item]) -> Later<'a, Delivery> {
        Box::pin(async move { Delivery::Whole(self.export(batch).await.unwrap_or_else(|it| it)) })
    }

    fn warning(&self) -> Option<String> {
        if self.refused > 0 {
            let (count, said) = (self.refused, &self.said);
            return Some(format!("the collector threw {count} records away: {said}"));
        }
        self.warning.clone()
    }

    fn confirms(&self) -> &'static str {
        "taken by the collector"
    }

    fn deadline(&self) -> Duration {
        self.http.deadline()
    }
}

/// All records of a batch come from one sensor.
fn body(batch: &[Item]) -> Vec<u8> {
    let node = batch.first().map_or("", |it| &*it.record.node_id);
    let version = env!("CARGO_PKG_VERSION");
    let resource = python_json(&json!({ "attributes": [
        text("service.name", "serin"), text("service.instance.id", node), text("service.version", version),
    ] }));
    let scope = python_json(&json!({ "name": "serin", "version": version }));
    let records: Vec<_> = batch.iter().map(|it| String::from_utf8_lossy(&it.body)).collect();
    let records = records.join(", ");
    format!(
        "{{\"resourceLogs\": [{{\"resource\": {resource}, \"scopeLogs\": [{{\"scope\": {scope}, \
         \"logRecords\": [{records}]}}]}}]}}"
    )
    .into_bytes()
}

fn text(key: &str, value: &str) -> Value {
    json!({ "key": key, "value": { "stringValue": value } })
}

fn integer(key: &str, value: u64) -> Value {
    json!({ "key": key, "value": { "intValue": value.to_string() } })
}

fn log_record(record: &Record, format: Format) -> Value {
    let nanos = (i128::from(record.time.0) * 1000).to_string();
    let (number, name) = severity(record.severity());
    let mut attributes = vec![
        text("event.id", &event_id(record)),
        integer("opencanary.logtype", record.kind.logtype.into()),
        text("opencanary.intent", record.intent().name()),
    ];
    for (end, which) in [(record.source, "source"), (record.target, "destination")] {
        if let Some(host) = end.host {
            attributes.push(text(&format!("{which}.address"), &host.to_string()));
        }
        if let Some(port) = end.port {
            attributes.push(integer(&format!("{which}.port"), port.into()));
        }
    }
    if let Some(transport) = encode::transport(record) {
        attributes.push(text("network.transport", transport));
    }
    if let Some(user) = encode::user(record) {
        attributes.push(text("user.name", &user));
    }
    if record.is_selftest() {
        attributes.push(json!({ "key": "opencanary.selftest", "value": { "boolValue": true } }));
    }
    json!({
        "timeUnixNano": nanos,
        "observedTimeUnixNano": nanos,
        "severityNumber": number,
        "severityText": name,
        "eventName": format!("opencanary.{}", record.kind.name),
        "body": { "stringValue": format.encode(record) },
        "attributes": attributes,
    })
}

/// The data model's `SeverityNumber` with the short name of its range.
const fn severity(severity: Severity) -> (u8, &'static str) {
    match severity {
        Severity::Informational => (9, "INFO"),
        Severity::Low => (10, "INFO2"),
        Severity::Medium => (13, "WARN"),
        Severity::High => (14, "WARN2"),
        Severity::Critical => (17, "ERROR"),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use reqwest::header::HeaderMap;
    use serin_event::{Endpoint, Event, Tainted, Timestamp, kinds};

    use super::*;

    fn record() -> Record {
        let event = Event::new(&kinds::FTP_LOGIN).with("USERNAME", Tainted::new(b"root", 64));
        let source = Endpoint { host: "10.0.0.5".parse().ok(), port: Some(42350) };
        Record { seq: 7, source, ..Record::of(&event, Timestamp(1_795_296_991_777_389), 0, "node") }
    }

    fn answer(status: u16, body: &str) -> Answer {
        Answer { status, headers: HeaderMap::new(), body: body.into(), cut: false }
    }

    #[test]
    fn a_batch_is_one_resource_with_its_records() {
        let encoded = python_json(&log_record(&record(), Format::OpenCanary));
        let item = Item { body: encoded.into_bytes(), record: Arc::new(record()) };
        let body: Value = serde_json::from_slice(&body(&[item.clone(), item])).unwrap();
        let resource = &body["resourceLogs"][0];
        assert_eq!(resource["resource"]["attributes"][1], text("service.instance.id", "node"));
        let records = resource["scopeLogs"][0]["logRecords"].as_array().unwrap();
        assert_eq!(records.len(), 2);
        assert_eq!(records[0]["timeUnixNano"], "1795296991777389000");
        assert_eq!(records[0]["severityNumber"], 14);
        assert_eq!(records[0]["eventName"], "opencanary.ftp.login");
        assert_eq!(records[0]["body"]["stringValue"], record().line());
        let attributes = records[0]["attributes"].as_array().unwrap();
        for expected in [
            text("event.id", "node-7"),
            integer("opencanary.logtype", 2000),
            text("source.address", "10.0.0.5"),
            integer("source.port", 42350),
            text("network.transport", "tcp"),
            text("user.name", "root"),
        ] {
            assert!(attributes.contains(&expected), "{expected}");
        }
    }

    #[test]
    fn only_what_the_standard_allows_is_tried_again() {
        let class = |status| match outcome(&answer(status, "")) {
            Outcome::Delivered => "delivered",
            Outcome::Retry { .. } => "retry",
            Outcome::Hold(_) => "hold",
            _ => "reject",
        };
        assert_eq!([200, 202].map(class), ["delivered"; 2]);
        assert_eq!([429, 502, 503, 504].map(class), ["retry"; 4]);
        assert_eq!([301, 401, 403, 404].map(class), ["hold"; 4]);
        assert_eq!([400, 408, 413, 422, 500, 501].map(class), ["reject"; 6]);
    }

    #[test]
    fn a_partial_success_is_counted_and_told() {
        let mut conf = Conf::new();
        conf.set("otlp.url", "http://127.0.0.1:4318");
        let mut otlp = Otlp {
            url: http::url("otlp.url", "http://127.0.0.1:4318").unwrap(),
            header: None,
            format: Format::OpenCanary,
            gzip: false,
            http: Http::new(&conf).unwrap(),
            refused: 0,
            said: String::new(),
            warning: None,
        };
        otlp.note_refused(&answer(200, "{}"));
        assert_eq!(otlp.warning(), None);
        let partial = r#"{"partialSuccess":{"rejectedLogRecords":"3","errorMessage":"too\nold"}}"#;
        otlp.note_refused(&answer(200, partial));
        assert_eq!(otlp.warning().as_deref(), Some("the collector threw 3 records away: tooold"));
    }

    #[test]
    fn a_header_has_a_name_and_a_value() {
        let mut conf = Conf::new();
        conf.set("otlp.url", "http://127.0.0.1:4318");
        conf.set("otlp.header", "Authorization: Bearer x");
        assert!(build(&conf).is_ok());
        conf.set("otlp.header", "Bearer x");
        assert_eq!(build(&conf).unwrap_err()[0].key, "otlp.header");
    }
}
