//! Splunk's HTTP Event Collector, with indexer acknowledgement where the token has it.
//!
//! With acknowledgement, an accepted event is not yet an indexed one: Splunk gives each request a
//! number, and says later, once, that it is indexed. Until then the events wait here as sent, so
//! that several requests are under way while the cursor stands still; what is not confirmed in time
//! is sent again.
//!
//! <https://docs.splunk.com/Documentation/Splunk/latest/Data/AboutHECIDXAck>.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use aws_lc_rs::rand::SystemRandom;
use reqwest::Url;
use serde_json::{Value, json};
use serin_event::{Record, Timestamp, python_json};
use serin_services::conf::{Complaint, Conf};
use serin_services::settings;
use tokio::time::Instant;

use crate::outputs::encode::{self, Format};
use crate::outputs::secret::Secret;
use crate::outputs::transport::http::{self, Answer, Http, Request};
use crate::outputs::transport::tls;
use crate::outputs::{
    Batch, Carries, Delivery, Item, Later, Outcome, Output, OutputType, Passwords, event_id,
};

pub(crate) static OUTPUT: OutputType = OutputType {
    name: "splunk",
    about: "Splunk, through its HTTP Event Collector",
    keys: &[Settings::KEYS, encode::KEYS, http::KEYS, tls::KEYS],
    carries: Carries::Events,
    passwords: Passwords::Keep,
    batch: Batch { events: 4000, bytes: 8 * 1024 * 1024, linger: Duration::from_millis(200) },
    build,
};

settings! { "splunk" {
    /// The address of the collector, such as https://splunk.example:8088.
    url: String = String::new();
    /// The token.
    token: Secret = Secret::default();
    /// The index; empty: the token's own.
    index: String = String::new();
    /// What Splunk shows as source.
    source: String = "serin".into();
    /// What Splunk shows as sourcetype; empty: by the format, such as opencanary.
    sourcetype: String = String::new();
    /// Seconds between two questions whether events are indexed, where the token has indexer
    /// acknowledgement.
    ack_every: Duration = Duration::from_secs(10);
    /// Seconds after which what is not confirmed is sent again.
    ack_timeout: Duration = Duration::from_mins(5);
} }

/// Most events of one request.
const EVENTS_MAX: usize = 500;
/// Most bytes of one request, before compression; a single event may be larger.
const BYTES_MAX: usize = 1024 * 1024;
/// Numbers asked for in one question.
const ASKED_MAX: usize = 1000;
/// What was put off for another event's sake comes again after this time.
const SOON: Duration = Duration::from_millis(20);

fn build(conf: &Conf) -> Result<Box<dyn Output>, Vec<Complaint>> {
    let settings = Settings::read(conf)?;
    let mut complaints = Vec::new();
    let url = http::url("splunk.url", &settings.url).map_err(|it| complaints.push(it)).ok();
    let token = settings.token.reveal_or_complain("splunk.token", &mut complaints);
    if settings.token.is_empty() {
        let text = "wants the collector's token".to_owned();
        complaints.push(Complaint { key: "splunk.token".to_owned(), text });
    }
    let format = Format::of(conf).map_err(|it| complaints.extend(it)).ok();
    let http = Http::new(conf).map_err(|it| complaints.extend(it)).ok();
    match (url, format, http) {
        (Some(url), Some(format), Some(http)) if complaints.is_empty() => Ok(Box::new(Splunk {
            url: http::below(&url, "services/collector"),
            settings,
            token,
            format,
            http,
            channel: guid(),
            sent: BTreeMap::new(),
            acked: BTreeSet::new(),
            asked: None,
            request_events: EVENTS_MAX,
            ailing: false,
            cut: false,
            hurries: false,
            receipt: None,
            warning: tls::warning(conf),
        })),
        _ => Err(complaints),
    }
}

#[derive(Debug)]
struct Splunk {
    url: Url,
    settings: Settings,
    token: String,
    format: Format,
    http: Http,
    /// Names this run to Splunk: the numbers of acknowledgements count within it.
    channel: String,
    /// Events that were accepted and are not known to be indexed, by their number in the store.
    sent: BTreeMap<u64, Sent>,
    /// Events that are indexed, which the engine does not know yet.
    acked: BTreeSet<u64>,
    /// When Splunk was last asked what is indexed.
    asked: Option<Instant>,
    /// Most events of the next request: less than [`EVENTS_MAX`] while a spoiled one is looked for.
    request_events: usize,
    /// Whether the last request failed, so that the next one first asks how Splunk is.
    ailing: bool,
    /// Whether the last answer was cut.
    cut: bool,
    hurries: bool,
    receipt: Option<String>,
    warning: Option<String>,
}

/// What became of one accepted event.
#[derive(Debug, Clone, Copy)]
struct Sent {
    /// The request's number.
    ack: u64,
    at: Instant,
}

impl Splunk {
    fn post(&self, path: &str, body: Vec<u8>) -> Request {
        Request::post(http::below(&self.url, path), "application/json", body)
            .with("Authorization", format!("Splunk {}", self.token))
            .with("X-Splunk-Request-Channel", self.channel.clone())
    }

    /// Sends what is new, asks after what was sent, and says what is known of each event.
    async fn work(&mut self, batch: &[Item]) -> Vec<Outcome> {
        let mut outcomes: BTreeMap<u64, Outcome> = BTreeMap::new();
        let oldest = batch.first().map_or(0, |it| it.record.seq);
        self.sent = self.sent.split_off(&oldest);
        self.acked = self.acked.split_off(&oldest);
        let trouble = match self.send_new(batch, &mut outcomes).await {
            Ok(()) => self.ask().await.err(),
            Err(trouble) => Some(trouble),
        };
        self.ailing = trouble.is_some();
        let wait = self.until_next();
        let known = |item: &Item| {
            let seq = item.record.seq;
            if self.acked.contains(&seq) {
                return Outcome::Delivered;
            }
            match (outcomes.get(&seq), &trouble) {
                (Some(outcome), _) => outcome.clone(),
                (None, Some(trouble)) => trouble.clone(),
                (None, None) => Outcome::Wait(wait),
            }
        };
        batch.iter().map(known).collect()
    }

    /// Sends the events that are not under way, in requests of their own. An error stands for all
    /// that were not sent.
    async fn send_new(
        &mut self,
        batch: &[Item],
        outcomes: &mut BTreeMap<u64, Outcome>,
    ) -> Result<(), Outcome> {
        let is_new =
            |it: &&Item| !self.sent.contains_key(&it.record.seq) && !self.acked.contains(&it.record.seq);
        let new: Vec<&Item> = batch.iter().filter(is_new).collect();
        if self.ailing && !new.is_empty() {
            self.examine().await?;
        }
        let mut rest = new.as_slice();
        while !rest.is_empty() {
            let (request, after) = rest.split_at(self.fitting(rest));
            rest = after;
            let body = request.iter().flat_map(|it| it.body.iter().copied()).collect();
            let answer = self.http.send(self.post("event", body).gzip()).await?;
            match verdict(&answer) {
                // Once that may be chance; sent again and again, it would come again and again.
                Verdict::Cut if !std::mem::replace(&mut self.cut, true) => {
                    return Err(Outcome::retry(answer.told()));
                }
                Verdict::Cut => {
                    outcomes.extend(request.iter().map(|it| (it.record.seq, Outcome::Delivered)));
                    self.receipt = Some(format!("accepted, as far as it says: {}", answer.told()));
                    continue;
                }
                Verdict::Accepted(Some(ack)) => {
                    let at = Instant::now();
                    self.sent.extend(request.iter().map(|it| (it.record.seq, Sent { ack, at })));
                    self.receipt = Some("accepted; indexed where the acknowledgement says so".to_owned());
                }
                Verdict::Accepted(None) => {
                    outcomes.extend(request.iter().map(|it| (it.record.seq, Outcome::Delivered)));
                    self.receipt = Some("accepted; the token has no indexer acknowledgement".to_owned());
                }
                Verdict::Spoiled { at: Some(spoiled), why } if spoiled < request.len() => {
                    for (at, item) in request.iter().enumerate() {
                        let outcome =
                            if at == spoiled { Outcome::Reject(why.clone()) } else { Outcome::Wait(SOON) };
                        outcomes.insert(item.record.seq, outcome);
                    }
                    put_off(rest, outcomes);
                    return Ok(());
                }
                Verdict::Spoiled { why, .. } => {
                    self.request_events = (request.len() / 2).max(1);
                    let single = request.len() == 1;
                    let outcome = if single { Outcome::Reject(why) } else { Outcome::Wait(SOON) };
                    outcomes.extend(request.iter().map(|it| (it.record.seq, outcome.clone())));
                    put_off(rest, outcomes);
                    return Ok(());
                }
                Verdict::Other(outcome) => return Err(outcome),
            }
            self.cut = false;
            self.request_events = self.request_events.saturating_mul(2).min(EVENTS_MAX);
        }
        Ok(())
    }

    /// How many of these fit into one request; at least one.
    fn fitting(&self, items: &[&Item]) -> usize {
        let mut bytes = 0;
        let fits = |it: &&&Item| {
            bytes += it.body.len();
            bytes <= BYTES_MAX
        };
        items.iter().take(self.request_events).take_while(fits).count().max(1).min(items.len())
    }

    /// Asks whether the collector is well before it gets a megabyte.
    async fn examine(&self) -> Result<(), Outcome> {
        let answer = self.http.send(Request::get(http::below(&self.url, "health"))).await?;
        match answer.status {
            503 => Err(Outcome::Retry { why: answer.told(), after: answer.retry_after() }),
            _ => Ok(()),
        }
    }

    /// Asks which requests are indexed, when it is time to.
    async fn ask(&mut self) -> Result<(), Outcome> {
        let numbers: BTreeSet<u64> = self.sent.values().map(|it| it.ack).collect();
        let due = self.asked.is_none_or(|it| it.elapsed() >= self.settings.ack_every);
        if numbers.is_empty() || !(due || self.hurries) {
            return Ok(());
        }
        self.asked = Some(Instant::now());
        let numbers: Vec<_> = numbers.into_iter().take(ASKED_MAX).collect();
        let body = json!({ "acks": numbers }).to_string().into_bytes();
        let mut request = self.post("ack", body);
        request.url.set_query(Some(&format!("channel={}", self.channel)));
        let answer = self.http.send(request).await?;
        let said: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        match (answer.status, said.get("code").and_then(Value::as_u64)) {
            (200, _) => {}
            // Splunk does not know the channel any more: what was sent may be lost.
            (400, Some(10 | 11)) => {
                self.channel = guid();
                self.sent.clear();
                return Ok(());
            }
            // Acknowledgement was switched off meanwhile: accepted is all that can be known.
            (400, Some(14)) => {
                self.acked.extend(std::mem::take(&mut self.sent).into_keys());
                return Ok(());
            }
            (400, _) => return Err(Outcome::Hold(answer.told())),
            _ => return Err(answer.outcome()),
        }
        let indexed = |it: u64| said.pointer(&format!("/acks/{it}")) == Some(&Value::Bool(true));
        // Said once and never again: noted before anything else can fail.
        let done: Vec<u64> = self.sent.iter().filter(|it| indexed(it.1.ack)).map(|(seq, _)| *seq).collect();
        for seq in done {
            self.sent.remove(&seq);
            self.acked.insert(seq);
        }
        self.receipt = Some(format!("indexed; {} events wait for their acknowledgement", self.sent.len()));
        let timeout = self.settings.ack_timeout;
        self.sent.retain(|_, it| it.at.elapsed() < timeout);
        Ok(())
    }

    fn until_next(&self) -> Duration {
        let waited = self.asked.map_or(Duration::ZERO, |it| it.elapsed());
        self.settings.ack_every.saturating_sub(waited)
    }
}

impl Output for Splunk {
    fn encode(&self, record: &Record) -> Option<Vec<u8>> {
        Some(envelope(record, self.format, &self.settings).into_bytes())
    }

    fn deliver<'a>(&'a mut self, batch: &'a [Item]) -> Later<'a, Delivery> {
        Box::pin(async move { Delivery::Each(self.work(batch).await) })
    }

    fn hurry(&mut self) {
        self.hurries = true;
    }

    fn receipt(&self) -> Option<String> {
        self.receipt.clone()
    }

    fn warning(&self) -> Option<String> {
        self.warning.clone()
    }

    fn confirms(&self) -> &'static str {
        "indexed where the token has indexer acknowledgement, else accepted"
    }

    /// Several requests and a question.
    fn deadline(&self) -> Duration {
        self.http.deadline().saturating_mul(4)
    }
}

/// The rest comes again soon: nothing is wrong with it.
fn put_off(rest: &[&Item], outcomes: &mut BTreeMap<u64, Outcome>) {
    outcomes.extend(rest.iter().map(|it| (it.record.seq, Outcome::Wait(SOON))));
}

/// The sourcetype unless the operator names one.
const fn sourcetype(format: Format) -> &'static str {
    match format {
        Format::OpenCanary => "opencanary",
        Format::Serin => "serin:json",
        Format::Ecs => "serin:ecs",
        Format::Ocsf => "serin:ocsf",
        Format::Cef => "cef",
        Format::Leef => "leef",
    }
}

/// One event as the collector takes it. Objects follow each other without commas.
fn envelope(record: &Record, format: Format, settings: &Settings) -> String {
    let event = format.encode(record);
    let event = if event.starts_with('{') { event } else { json!(event).to_string() };
    let usual = sourcetype(format);
    let sourcetype = if settings.sourcetype.is_empty() { usual } else { &settings.sourcetype };
    let mut about = json!({
        "host": &*record.node_id,
        "source": settings.source,
        "sourcetype": sourcetype,
        "fields": { "event_id": event_id(record) },
    });
    if !settings.index.is_empty() {
        about["index"] = json!(settings.index);
    }
    let about = python_json(&about);
    let about = about.strip_suffix('}').unwrap_or_default();
    format!("{about}, \"time\": {}, \"event\": {event}}}\n", seconds(record.time))
}

/// Seconds since 1970 with six digits behind the point, exactly.
fn seconds(time: Timestamp) -> String {
    const MICROS: u64 = 1_000_000;
    let micros = time.0.unsigned_abs();
    format!("{}.{:06}", micros / MICROS, micros % MICROS)
}

/// What an answer says of a request's events.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Verdict {
    /// With the number to ask for, where the token has acknowledgement.
    Accepted(Option<u64>),
    /// One event spoils the request; `at`: this one.
    Spoiled { at: Option<usize>, why: String },
    /// Taken, as far as its status says; the rest of the answer is missing.
    Cut,
    /// The same for all of them.
    Other(Outcome),
}

fn verdict(answer: &Answer) -> Verdict {
    let said: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    let number = |name: &str| said.get(name).and_then(Value::as_u64);
    let why = answer.told();
    match (answer.status, number("code")) {
        (200, Some(0)) => Verdict::Accepted(number("ackId")),
        (200, None) if answer.cut => Verdict::Cut,
        (200, _) => Verdict::Other(Outcome::retry("the answer is not one of an event collector")),
        (413, _) | (400, Some(5 | 6 | 12 | 13 | 15)) => {
            let at = number("invalid-event-number").and_then(|it| usize::try_from(it).ok());
            Verdict::Spoiled { at, why }
        }
        // The index is wrong, or the channel that we made is not accepted: events are not at fault.
        (400, _) => Verdict::Other(Outcome::Hold(why)),
        _ => Verdict::Other(answer.outcome()),
    }
}

/// A random UUID, version 4.
fn guid() -> String {
    let mut bytes = [0; 16];
    // Without randomness the channel is not unique, and nothing worse.
    let _ = aws_lc_rs::rand::SecureRandom::fill(&SystemRandom::new(), &mut bytes);
    let number =
        u128::from_be_bytes(bytes) & !(0xf000 << 64) & !(0xc000 << 48) | (0x4000 << 64) | (0x8000 << 48);
    let hex = format!("{number:032x}");
    let part = |from: usize, to: usize| hex.get(from..to).unwrap_or_default();
    [part(0, 8), part(8, 12), part(12, 16), part(16, 20), part(20, 32)].join("-")
}

#[cfg(test)]
mod tests {
    use reqwest::header::HeaderMap;
    use serin_event::{Event, Tainted, kinds};

    use super::*;

    fn record() -> Record {
        let event = Event::new(&kinds::FTP_LOGIN).with("USERNAME", Tainted::new(b"a\nb", 64));
        Record { seq: 7, ..Record::of(&event, Timestamp(1_795_296_991_077_389), 0, "node") }
    }

    #[test]
    fn an_event_stands_in_its_envelope() {
        let settings = Settings::read(&Conf::new()).unwrap();
        let text = envelope(&record(), Format::OpenCanary, &settings);
        assert_eq!(
            text,
            format!(
                "{{\"fields\": {{\"event_id\": \"node-7\"}}, \"host\": \"node\", \"source\": \"serin\", \
                 \"sourcetype\": \"opencanary\", \"time\": 1795296991.077389, \"event\": {}}}\n",
                record().line()
            )
        );
        let settings = Settings { index: "canaries".into(), sourcetype: "x".into(), ..settings };
        let value: Value = serde_json::from_str(&envelope(&record(), Format::Ecs, &settings)).unwrap();
        assert_eq!((&value["index"], &value["sourcetype"]), (&json!("canaries"), &json!("x")));
        assert_eq!(value["event"]["event"]["id"], "node-7");
    }

    #[test]
    fn every_code_has_its_class() {
        let verdict = |status, body: &str| {
            verdict(&Answer { status, headers: HeaderMap::new(), body: body.into(), cut: false })
        };
        let class = |status, code: u32| match verdict(status, &json!({ "code": code }).to_string()) {
            Verdict::Accepted(_) => "accepted",
            Verdict::Spoiled { .. } => "spoiled",
            Verdict::Other(Outcome::Hold(_)) => "hold",
            Verdict::Other(Outcome::Retry { .. }) => "retry",
            Verdict::Cut | Verdict::Other(_) => "other",
        };
        assert_eq!(class(200, 0), "accepted");
        assert_eq!([class(403, 1), class(401, 2), class(401, 3), class(403, 4)], ["hold"; 4]);
        assert_eq!([5, 6, 12, 13, 15].map(|it| class(400, it)), ["spoiled"; 5]);
        assert_eq!([7, 10, 11].map(|it| class(400, it)), ["hold"; 3]);
        assert_eq!([9, 18, 19, 20, 23].map(|it| class(503, it)), ["retry"; 5]);
        assert_eq!(class(500, 8), "retry");
        assert_eq!(verdict(200, r#"{"code":0,"ackId":3}"#), Verdict::Accepted(Some(3)));
        assert!(matches!(
            verdict(400, r#"{"code":6,"invalid-event-number":2}"#),
            Verdict::Spoiled { at: Some(2), .. }
        ));
        assert!(matches!(verdict(200, "<html>"), Verdict::Other(Outcome::Retry { .. })));
    }

    #[test]
    fn a_channel_is_a_uuid() {
        let (one, two) = (guid(), guid());
        assert_ne!(one, two);
        assert_eq!(one.len(), 36);
        assert_eq!(one.as_bytes()[14], b'4', "{one}");
        assert!(b"89ab".contains(&one.as_bytes()[19]), "{one}");
    }
}
