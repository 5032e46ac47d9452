//! Grafana Loki's push interface.
//!
//! Labels make streams, and every stream costs: there are a few, and never an address or a user among
//! them. Those stand in the line, and where the server takes it in its structured metadata. Entries
//! that are equal in labels, time and line are stored once, so that a retry doubles nothing.
//!
//! <https://grafana.com/docs/loki/latest/reference/loki-http-api/#ingest-logs>.

use std::collections::BTreeMap;
use std::time::Duration;

use base64::Engine as _;
use reqwest::Url;
use serde_json::{Map, Value, json};
use serin_event::{Record, python_json};
use serin_services::conf::{Complaint, Conf};
use serin_services::settings;

use crate::outputs::delivery::Names;
use crate::outputs::encode::{self, Format};
use crate::outputs::secret::Secret;
use crate::outputs::transport::http::{self, Answer, Http, Request};
use crate::outputs::transport::tls;
use crate::outputs::{
    Batch, Carries, Delivery, Item, Later, Outcome, Output, OutputType, Passwords, event_id,
};

pub(crate) static OUTPUT: OutputType = OutputType {
    name: "loki",
    about: "Grafana Loki: a log line for each event",
    keys: &[Settings::KEYS, encode::KEYS, http::KEYS, tls::KEYS],
    carries: Carries::Events,
    passwords: Passwords::Keep,
    batch: Batch { events: 1000, bytes: 1024 * 1024, linger: Duration::from_millis(200) },
    build,
};

settings! { "loki" {
    /// The address, such as https://loki.example:3100.
    url: String = String::new();
    /// The tenant, where the server has several (X-Scope-OrgID).
    tenant: String = String::new();
    /// Labels of every stream beside job, node, service and severity, as NAME=VALUE.
    labels: Names = Names(Vec::new());
    /// Whether to send event id, source and user as structured metadata, which Loki takes from
    /// version 3 on. They stand in the line in any case.
    structured_metadata: bool = false;
    /// For Basic authentication: the user.
    user: String = String::new();
    /// For Basic authentication: the password.
    password: Secret = Secret::default();
    /// A bearer token instead.
    token: Secret = Secret::default();
    /// Whether requests are compressed.
    gzip: bool = true;
} }

fn build(conf: &Conf) -> Result<Box<dyn Output>, Vec<Complaint>> {
    let settings = Settings::read(conf)?;
    let mut complaints = Vec::new();
    let url = http::url("loki.url", &settings.url).map_err(|it| complaints.push(it)).ok();
    let authorization = authorization(&settings, &mut complaints);
    let labels: Option<Vec<_>> = settings.labels.0.iter().map(|it| label(it)).collect();
    if labels.is_none() {
        let text = "wants labels such as env=prod: letters, digits and _ before the sign".to_owned();
        complaints.push(Complaint { key: "loki.labels".to_owned(), text });
    }
    let format = Format::of(conf).map_err(|it| complaints.extend(it)).ok();
    let http = Http::new(conf).map_err(|it| complaints.extend(it)).ok();
    match (url, labels, format, http) {
        (Some(url), Some(labels), Some(format), Some(http)) if complaints.is_empty() => Ok(Box::new(Loki {
            url: http::below(&url, "loki/api/v1/push"),
            authorization,
            labels,
            format,
            settings,
            http,
            warning: tls::warning(conf),
        })),
        _ => Err(complaints),
    }
}

fn authorization(settings: &Settings, complaints: &mut Vec<Complaint>) -> Option<String> {
    if !settings.token.is_empty() {
        let token = settings.token.reveal_or_complain("loki.token", complaints);
        return Some(format!("Bearer {token}"));
    }
    if settings.user.is_empty() {
        return None;
    }
    let password = settings.password.reveal_or_complain("loki.password", complaints);
    let both = format!("{}:{password}", settings.user);
    Some(format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(both)))
}

/// `NAME=VALUE`, with a name that Prometheus allows.
fn label(text: &str) -> Option<(String, String)> {
    let (name, value) = text.split_once('=')?;
    let first = name.bytes().next().is_some_and(|it| it.is_ascii_alphabetic() || it == b'_');
    let rest = name.bytes().all(|it| it.is_ascii_alphanumeric() || it == b'_');
    (first && rest).then(|| (name.to_owned(), value.to_owned()))
}

#[derive(Debug)]
struct Loki {
    url: Url,
    authorization: Option<String>,
    labels: Vec<(String, String)>,
    format: Format,
    settings: Settings,
    http: Http,
    warning: Option<String>,
}

impl Loki {
    fn stream(&self, record: &Record) -> BTreeMap<String, String> {
        let own = [
            ("job", "opencanary"),
            ("node", &*record.node_id),
            ("service", record.kind.service),
            ("severity", record.severity().name()),
        ];
        let own = own.map(|(name, value)| (name.to_owned(), value.to_owned()));
        own.into_iter().chain(self.labels.iter().cloned()).collect()
    }

    /// Streams with their entries in order of time, which some servers insist on.
    fn body(&self, batch: &[Item]) -> Vec<u8> {
        let mut streams: BTreeMap<BTreeMap<String, String>, Vec<&Item>> = BTreeMap::new();
        for item in batch {
            streams.entry(self.stream(&item.record)).or_default().push(item);
        }
        let mut texts = Vec::new();
        for (labels, mut items) in streams {
            items.sort_by_key(|it| (it.record.time, it.record.seq));
            let entries: Vec<_> = items.iter().map(|it| String::from_utf8_lossy(&it.body)).collect();
            let labels = python_json(&json!(labels));
            texts.push(format!("{{\"stream\": {labels}, \"values\": [{}]}}", entries.join(", ")));
        }
        format!("{{\"streams\": [{}]}}", texts.join(", ")).into_bytes()
    }

    async fn push(&self, batch: &[Item]) -> Result<Outcome, Outcome> {
        let mut request = Request::post(self.url.clone(), "application/json", self.body(batch));
        if let Some(value) = &self.authorization {
            request = request.with("Authorization", value.clone());
        }
        if !self.settings.tenant.is_empty() {
            request = request.with("X-Scope-OrgID", self.settings.tenant.clone());
        }
        let answer = self.http.send(if self.settings.gzip { request.gzip() } else { request }).await?;
        Ok(outcome(&answer))
    }
}

/// A refusal of structured metadata is the server's setting and no event's fault.
fn outcome(answer: &Answer) -> Outcome {
    match answer.outcome() {
        Outcome::Reject(why) if why.contains("structured metadata") => {
            Outcome::Hold(format!("{why}; set structured_metadata = false"))
        }
        other => other,
    }
}

impl Output for Loki {
    /// One entry: time, line, and metadata.
    fn encode(&self, record: &Record) -> Option<Vec<u8>> {
        let nanos = i128::from(record.time.0) * 1000;
        let mut entry = vec![json!(nanos.to_string()), json!(self.format.encode(record))];
        if self.settings.structured_metadata {
            let mut about = Map::new();
            about.insert("event_id".to_owned(), json!(event_id(record)));
            if let Some(host) = record.source.host {
                about.insert("src".to_owned(), json!(host.to_string()));
            }
            if let Some(user) = encode::user(record) {
                about.insert("user".to_owned(), json!(user));
            }
            entry.push(about.into());
        }
        Some(python_json(&Value::Array(entry)).into_bytes())
    }

    fn deliver<'a>(&'a mut self, batch: &'a [Item]) -> Later<'a, Delivery> {
        Box::pin(async move { Delivery::Whole(self.push(batch).await.unwrap_or_else(|it| it)) })
    }

    fn warning(&self) -> Option<String> {
        self.warning.clone()
    }

    fn confirms(&self) -> &'static str {
        "stored by Loki"
    }

    fn deadline(&self) -> Duration {
        self.http.deadline()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use reqwest::header::HeaderMap;
    use serin_event::{Event, Timestamp, kinds};

    use super::*;

    fn loki(values: &[(&str, Value)]) -> Loki {
        let mut conf = Conf::new();
        conf.set("loki.url", "http://127.0.0.1:3100");
        for (key, value) in values {
            conf.set(format!("loki.{key}"), value.clone());
        }
        let settings = Settings::read(&conf).unwrap();
        Loki {
            url: http::url("loki.url", &settings.url).unwrap(),
            authorization: authorization(&settings, &mut Vec::new()),
            labels: settings.labels.0.iter().map(|it| label(it).unwrap()).collect(),
            format: Format::OpenCanary,
            http: Http::new(&conf).unwrap(),
            settings,
            warning: None,
        }
    }

    fn item(loki: &Loki, seq: u64, micros: i64) -> Item {
        let event = Event::new(&kinds::TELNET_CONNECTION);
        let record = Record { seq, ..Record::of(&event, Timestamp(micros), 0, "node") };
        Item { body: loki.encode(&record).unwrap(), record: Arc::new(record) }
    }

    #[test]
    fn entries_are_sorted_within_streams_of_few_labels() {
        let loki = loki(&[("labels", json!(["env=prod"])), ("structured_metadata", json!(true))]);
        let batch = [item(&loki, 1, 30), item(&loki, 2, 10)];
        let body: Value = serde_json::from_slice(&loki.body(&batch)).unwrap();
        let streams = body["streams"].as_array().unwrap();
        assert_eq!(streams.len(), 1);
        assert_eq!(
            streams[0]["stream"],
            json!({ "job": "opencanary", "node": "node", "service": "telnet", "severity": "medium",
                    "env": "prod" })
        );
        let values = &streams[0]["values"];
        assert_eq!((&values[0][0], &values[1][0]), (&json!("10000"), &json!("30000")));
        assert_eq!(values[0][1], batch[1].record.line());
        assert_eq!(values[0][2], json!({ "event_id": "node-2" }));
    }

    #[test]
    fn settings_become_labels_and_headers_or_complaints() {
        assert_eq!(label("env=a=b"), Some(("env".into(), "a=b".into())));
        assert_eq!([label("env"), label("1a=b"), label("a-b=c"), label("=x")], [const { None }; 4]);
        let basic = loki(&[("user", json!("u")), ("password", json!("p"))]);
        assert_eq!(basic.authorization.as_deref(), Some("Basic dTpw"));
        let mut conf = Conf::new();
        conf.set("loki.labels", json!(["source ip=1"]));
        let keys: Vec<_> = build(&conf).unwrap_err().into_iter().map(|it| it.key).collect();
        assert_eq!(keys, ["loki.url", "loki.labels"]);
    }

    #[test]
    fn a_server_that_takes_no_metadata_holds_everything() {
        let answer =
            |status, body: &str| Answer { status, headers: HeaderMap::new(), body: body.into(), cut: false };
        let refused = answer(400, "stream includes structured metadata, but this feature is disallowed");
        assert!(matches!(outcome(&refused), Outcome::Hold(_)));
        assert!(matches!(outcome(&answer(400, "entry out of order")), Outcome::Reject(_)));
        assert_eq!(outcome(&answer(204, "")), Outcome::Delivered);
    }
}
