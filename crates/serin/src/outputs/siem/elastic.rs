//! Elasticsearch and OpenSearch, through the bulk interface.
//!
//! Documents go into a data stream with the event's identity as `_id`, so that an event that comes
//! again (after a crash, or when an answer was lost) is a 409 and no second document. Each document
//! has its own outcome: one that the mapping refuses does not keep the others back.
//!
//! <https://www.elastic.co/docs/api/doc/elasticsearch/operation/operation-bulk>.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use reqwest::{Method, Url};
use serde_json::{Value, json};
use serin_event::{Record, python_json};
use serin_services::conf::{Complaint, Conf};
use serin_services::{choices, settings};

use crate::outputs::encode::ecs;
use crate::outputs::secret::Secret;
use crate::outputs::transport::http::{self, Answer, Http, Request};
use crate::outputs::transport::tls;
use crate::outputs::{
    Batch, Carries, Delivery, Item, Later, Outcome, Output, OutputType, Passwords, event_id,
};

pub(crate) static OUTPUT: OutputType = OutputType {
    name: "elastic",
    about: "Elasticsearch or OpenSearch: a document for each event, in a data stream",
    keys: &[Settings::KEYS, http::KEYS, tls::KEYS],
    carries: Carries::Events,
    passwords: Passwords::Keep,
    batch: Batch { events: 1000, bytes: 5 * 1024 * 1024, linger: Duration::from_millis(200) },
    build,
};

choices! {
    /// What a document looks like.
    Shape { Ecs = "ecs", OpenCanary = "opencanary" } wants "ecs or opencanary"
}

settings! { "elastic" {
    /// The address, such as https://search.example:9200.
    url: String = String::new();
    /// The data stream, or the index or alias.
    index: String = "logs-opencanary.events-default".into();
    /// What a document looks like: the Elastic Common Schema, or OpenCanary's line in the field
    /// message, for the ingest pipeline of Elastic's own OpenCanary integration.
    format: Shape = Shape::Ecs;
    /// Whether ECS documents also carry OpenCanary's line, as event.original.
    original: bool = false;
    /// Whether to install an index template with the types of the fields before the first delivery. Its
    /// name is that of the data stream with -serin behind it.
    template: bool = false;
    /// For Basic authentication: the user.
    user: String = String::new();
    /// For Basic authentication: the password.
    password: Secret = Secret::default();
    /// An API key instead: as Elasticsearch shows it (encoded), or ID:KEY.
    api_key: Secret = Secret::default();
    /// A bearer token instead.
    token: Secret = Secret::default();
    /// Whether requests are compressed.
    gzip: bool = true;
} }

/// Of the answer to a bulk request so much is read: with `filter_path` a document needs 30 bytes when
/// all is well, and a few hundred when not.
const ANSWER_MAX: usize = 4 * 1024 * 1024;
/// Longer identities are refused.
const ID_MAX: usize = 512;
/// So much of a receiver's reason is kept.
const REASON_MAX: usize = 300;

fn build(conf: &Conf) -> Result<Box<dyn Output>, Vec<Complaint>> {
    let settings = Settings::read(conf)?;
    let mut complaints = Vec::new();
    let url = http::url("elastic.url", &settings.url).map_err(|it| complaints.push(it)).ok();
    let authorization = authorization(&settings, &mut complaints);
    let index = &settings.index;
    if index.is_empty() || index.contains(|it: char| !it.is_ascii_graphic() || "\\/*?\"<>|,#".contains(it)) {
        let text = format!("wants the name of a data stream or index, got {index:?}");
        complaints.push(Complaint { key: "elastic.index".to_owned(), text });
    }
    let http = Http::new(conf).map_err(|it| complaints.extend(it)).ok();
    match (url, http) {
        (Some(url), Some(http)) if complaints.is_empty() => Ok(Box::new(Elastic {
            url,
            authorization,
            template_is_there: !settings.template,
            settings,
            http,
            warning: tls::warning(conf),
        })),
        _ => Err(complaints),
    }
}

/// The header's value, from whichever credential was configured.
fn authorization(settings: &Settings, complaints: &mut Vec<Complaint>) -> Option<String> {
    let given = [&settings.password, &settings.api_key, &settings.token];
    if given.iter().filter(|it| !it.is_empty()).count() > 1 {
        let text = "goes with neither api_key nor token: one way to log in is enough".to_owned();
        complaints.push(Complaint { key: "elastic.password".to_owned(), text });
    }
    if !settings.token.is_empty() {
        let token = settings.token.reveal_or_complain("elastic.token", complaints);
        return Some(format!("Bearer {token}"));
    }
    if !settings.api_key.is_empty() {
        let key = settings.api_key.reveal_or_complain("elastic.api_key", complaints);
        let encoded = if key.contains(':') { BASE64.encode(key) } else { key };
        return Some(format!("ApiKey {encoded}"));
    }
    if settings.user.is_empty() {
        return None;
    }
    let password = settings.password.reveal_or_complain("elastic.password", complaints);
    Some(format!("Basic {}", BASE64.encode(format!("{}:{password}", settings.user))))
}

#[derive(Debug)]
struct Elastic {
    url: Url,
    settings: Settings,
    authorization: Option<String>,
    http: Http,
    template_is_there: bool,
    warning: Option<String>,
}

impl Elastic {
    async fn request(&self, request: Request) -> Result<Answer, Outcome> {
        let request = match &self.authorization {
            Some(value) => request.with("Authorization", value.clone()),
            None => request,
        };
        self.http.send(if self.settings.gzip { request.gzip() } else { request }).await
    }

    async fn install_template(&mut self) -> Result<(), Outcome> {
        let name = format!("_index_template/{}-serin", self.settings.index);
        let body = template(&self.settings.index).to_string().into_bytes();
        let request = Request::post(http::below(&self.url, &name), "application/json", body);
        let answer = self.request(Request { method: Method::PUT, ..request }).await?;
        match answer.outcome() {
            Outcome::Delivered => {
                self.template_is_there = true;
                Ok(())
            }
            // A template that is refused says nothing about events: they are kept.
            Outcome::Reject(why) => Err(Outcome::Hold(format!("the index template is refused: {why}"))),
            other => Err(other),
        }
    }

    async fn bulk(&mut self, batch: &[Item]) -> Result<Delivery, Outcome> {
        if !self.template_is_there {
            self.install_template().await?;
        }
        let mut url = http::below(&self.url, "_bulk");
        url.set_query(Some("filter_path=errors,items.*.status,items.*.error.type,items.*.error.reason"));
        let body = batch.iter().flat_map(|it| it.body.iter().copied()).collect();
        let request = Request::post(url, "application/x-ndjson", body).reading(ANSWER_MAX);
        let answer = self.request(request).await?;
        if answer.status != 200 {
            return Ok(Delivery::Whole(answer.outcome()));
        }
        Ok(outcomes(&answer, batch.len()))
    }
}

impl Output for Elastic {
    /// Two lines: what to do, and the document.
    fn encode(&self, record: &Record) -> Option<Vec<u8>> {
        let action = json!({ "create": { "_index": self.settings.index, "_id": id(record) } });
        let document = document(record, &self.settings);
        Some(format!("{action}\n{}\n", python_json(&document)).into_bytes())
    }

    fn deliver<'a>(&'a mut self, batch: &'a [Item]) -> Later<'a, Delivery> {
        Box::pin(async move { self.bulk(batch).await.unwrap_or_else(Delivery::Whole) })
    }

    fn warning(&self) -> Option<String> {
        self.warning.clone()
    }

    fn confirms(&self) -> &'static str {
        "each document stored, none twice"
    }

    fn deadline(&self) -> Duration {
        self.http.deadline()
    }
}

/// The event's identity, or a digest of one that is too long.
fn id(record: &Record) -> String {
    let id = event_id(record);
    if id.len() <= ID_MAX {
        return id;
    }
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, id.as_bytes());
    BASE64.encode(digest)
}

fn document(record: &Record, settings: &Settings) -> Value {
    match settings.format {
        Shape::Ecs => {
            let mut document = ecs::encode(record);
            if settings.original
                && let Some(event) = document.get_mut("event").and_then(Value::as_object_mut)
            {
                event.insert("original".to_owned(), json!(record.line()));
            }
            document
        }
        Shape::OpenCanary => json!({
            "@timestamp": record.time.rfc3339(),
            "message": record.line(),
            "event": { "id": event_id(record), "dataset": "opencanary.events", "module": "opencanary" },
            "data_stream": { "type": "logs", "dataset": "opencanary.events", "namespace": "default" },
        }),
    }
}

/// One outcome for each document, from an answer of status 200.
fn outcomes(answer: &Answer, count: usize) -> Delivery {
    let said: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    let Some(items) = said.get("items").and_then(Value::as_array) else {
        // A proxy's greeting, or an answer that was cut.
        return Delivery::Whole(Outcome::retry("the answer is not one to a bulk request"));
    };
    let outcome = |item: &Value| {
        let result = item.as_object().and_then(|it| it.values().next()).unwrap_or(&Value::Null);
        document_outcome(result, answer)
    };
    Delivery::Each(items.iter().take(count).map(outcome).collect())
}

fn document_outcome(result: &Value, answer: &Answer) -> Outcome {
    let error = |name: &str| result.pointer(&format!("/error/{name}")).and_then(Value::as_str);
    let kind = error("type").unwrap_or("no type");
    let reason: String = error("reason").unwrap_or("no reason given").chars().take(REASON_MAX).collect();
    let status = result.get("status").and_then(Value::as_u64).unwrap_or(0);
    let why = format!("HTTP {status} for one document: {kind}: {reason}");
    match (status, kind) {
        (200..=299, _) => Outcome::Delivered,
        (409, _) => Outcome::Duplicate,
        (429 | 500..=599, _) => Outcome::Retry { why, after: answer.retry_after() },
        (401 | 403 | 404, _) | (_, "invalid_index_name_exception") => Outcome::Hold(why),
        (400..=499, _) => Outcome::Reject(why),
        _ => Outcome::retry(why),
    }
}

/// Types for the fields of the ECS shape; what is not named becomes a keyword.
fn template(index: &str) -> Value {
    let field = |kind: &str| json!({ "type": kind });
    let end = json!({ "properties": {
        "ip": field("ip"), "port": field("long"), "bytes": field("long"),
        "as": { "properties": { "number": field("long") } },
    } });
    json!({
        "index_patterns": [index],
        "data_stream": {},
        // Above the templates that Elasticsearch brings, which have 100.
        "priority": 200,
        "_meta": { "description": "Events of Serin" },
        "template": { "mappings": {
            "dynamic_templates": [{ "text": {
                "match_mapping_type": "string",
                "mapping": { "type": "keyword", "ignore_above": 1024 },
            } }],
            "date_detection": false,
            "properties": {
                "@timestamp": field("date"),
                "message": field("text"),
                "source": end,
                "destination": end,
                "related": { "properties": { "ip": field("ip") } },
                "event": { "properties": {
                    "created": field("date"), "start": field("date"), "end": field("date"),
                    "duration": field("long"), "sequence": field("long"), "severity": field("long"),
                    "original": { "type": "keyword", "index": false, "doc_values": false },
                } },
                "http": { "properties": { "response": { "properties": {
                    "status_code": field("long"),
                } } } },
                "opencanary": { "properties": {
                    "honeycred": field("boolean"),
                    "incident": { "properties": { "count": field("long") } },
                } },
            },
        } },
    })
}

#[cfg(test)]
mod tests {
    use reqwest::header::HeaderMap;
    use serin_event::{Event, Tainted, Timestamp, kinds};

    use super::*;

    fn settings(values: &[(&str, Value)]) -> Conf {
        let mut conf = Conf::new();
        conf.set("elastic.url", "https://search.example:9200/prefix");
        for (key, value) in values {
            conf.set(format!("elastic.{key}"), value.clone());
        }
        conf
    }

    fn record() -> Record {
        let event = Event::new(&kinds::FTP_LOGIN).with("USERNAME", Tainted::new(b"a\nb", 64));
        Record { seq: 7, ..Record::of(&event, Timestamp(1_795_296_991_777_389), 0, "node") }
    }

    #[test]
    fn a_document_is_two_lines_with_an_identity() {
        let output = build(&settings(&[("format", json!("opencanary"))])).unwrap();
        let body = String::from_utf8(output.encode(&record()).unwrap()).unwrap();
        let (action, rest) = body.split_once('\n').unwrap();
        assert_eq!(action, r#"{"create":{"_id":"node-7","_index":"logs-opencanary.events-default"}}"#);
        let document: Value = serde_json::from_str(rest.strip_suffix('\n').unwrap()).unwrap();
        assert_eq!(document["message"], record().line());
        let output = build(&settings(&[("original", json!(true))])).unwrap();
        let body = String::from_utf8(output.encode(&record()).unwrap()).unwrap();
        assert_eq!(body.matches('\n').count(), 2, "{body}");
        let document: Value = serde_json::from_str(body.split('\n').nth(1).unwrap()).unwrap();
        assert_eq!(document["event"]["original"], record().line());
        let long = Record { node_id: "n".repeat(600).into(), ..record() };
        assert!(id(&long).len() < 64);
    }

    #[test]
    fn each_document_has_its_own_outcome() {
        let body = json!({ "errors": true, "items": [
            { "create": { "status": 201 } },
            { "create": { "status": 409, "error": { "type": "version_conflict_engine_exception" } } },
            { "create": { "status": 429, "error": { "type": "es_rejected", "reason": "full" } } },
            { "create": { "status": 400, "error": { "type": "document_parsing_exception", "reason": "no" } } },
            { "create": { "status": 403, "error": { "type": "security_exception" } } },
            { "create": { "status": 400, "error": { "type": "invalid_index_name_exception" } } },
            { "create": {} }, "odd",
        ] });
        let answer = |body: Vec<u8>| Answer { status: 200, headers: HeaderMap::new(), body, cut: false };
        let Delivery::Each(outcomes) = outcomes(&answer(body.to_string().into_bytes()), 8) else { panic!() };
        let names: Vec<_> = outcomes
            .iter()
            .map(|it| match it {
                Outcome::Delivered => "delivered",
                Outcome::Duplicate => "duplicate",
                Outcome::Retry { .. } => "retry",
                Outcome::Reject(_) => "reject",
                Outcome::Hold(_) => "hold",
                _ => "other",
            })
            .collect();
        assert_eq!(names, ["delivered", "duplicate", "retry", "reject", "hold", "hold", "retry", "retry"]);
        for lie in ["", "<html>", "{}", "[1]", "{\"items\":7}"] {
            let delivery = super::outcomes(&answer(lie.into()), 2);
            assert!(matches!(delivery, Delivery::Whole(Outcome::Retry { .. })), "{lie}");
        }
    }

    #[test]
    fn credentials_take_the_form_of_their_header() {
        let header = |values: &[(&str, Value)]| {
            let settings = Settings::read(&settings(values)).unwrap();
            let mut complaints = Vec::new();
            (authorization(&settings, &mut complaints), complaints.len())
        };
        assert_eq!(header(&[]), (None, 0));
        let basic = header(&[("user", json!("elastic")), ("password", json!("pw"))]);
        assert_eq!(basic, (Some("Basic ZWxhc3RpYzpwdw==".to_owned()), 0));
        let plain = header(&[("api_key", json!("id:key"))]);
        assert_eq!(plain, (Some("ApiKey aWQ6a2V5".to_owned()), 0));
        assert_eq!(header(&[("api_key", json!("aWQ6a2V5"))]), plain);
        assert_eq!(header(&[("token", json!("t0ken"))]).0.as_deref(), Some("Bearer t0ken"));
        assert_eq!(header(&[("token", json!("t")), ("api_key", json!("a:b"))]).1, 1);
    }

    #[test]
    fn wrong_settings_are_named_at_once() {
        let mut conf = settings(&[("index", json!("Bad Name"))]);
        conf.set("elastic.url", "search.example");
        let keys: Vec<_> = build(&conf).unwrap_err().into_iter().map(|it| it.key).collect();
        assert_eq!(keys, ["elastic.url", "elastic.index"]);
    }
}
