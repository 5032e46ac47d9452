//! Attackers' addresses for a MISP: one event for each day and sensor, in it an attribute for each
//! source, and a sighting whenever that comes again.
//!
//! Ids follow from the sensor's name, the day and the address (UUID version 5), so what is sent again
//! changes nothing. <https://www.misp-project.org/openapi/>

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::IpAddr;
use std::time::Duration;

use aws_lc_rs::digest::{Context, SHA1_FOR_LEGACY_USE_ONLY};
use parking_lot::Mutex;
use reqwest::Url;
use reqwest::header::HeaderValue;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use serin_event::{Intent, Record, Timestamp};
use serin_services::conf::{Complaint, Conf};
use serin_services::settings;
use tokio::time::{Instant, sleep_until};

use super::policy::{self, AddressPolicy};
use crate::outputs::delivery::Names;
use crate::outputs::secret::Secret;
use crate::outputs::transport::http::{Answer, Http, Request};
use crate::outputs::transport::{http, tls};
use crate::outputs::trial;
use crate::outputs::{Batch, Carries, Delivery, Item, Later, Outcome, Output, OutputType, Passwords};

pub(crate) static OUTPUT: OutputType = OutputType {
    name: "misp",
    about: "Attackers' addresses for a MISP, one event a day",
    keys: &[Settings::KEYS, policy::KEYS, http::KEYS, tls::KEYS],
    carries: Carries::Events,
    passwords: Passwords::Drop,
    batch: Batch { events: 5, bytes: 64 * 1024, linger: Duration::ZERO },
    build,
};

settings! { "misp" {
    /// The address of the MISP.
    url: String = String::new();
    /// The key of an account there that may add events.
    apikey: Secret = Secret::default();
    /// Who may see the events: 0 your organisation, 1 this community, 2 connected communities, 3 all.
    distribution: u16 = 0;
    /// The tags of the events.
    tags: Names = Names(vec!["tlp:green".into()]);
    /// Whether the addresses are meant for detection, such as in a firewall or an IDS.
    to_ids: bool = true;
    /// Seconds until a source that comes again is told again, as a sighting.
    sighting_every: Duration = Duration::from_hours(1);
} }

/// Between two requests.
const PACE: Duration = Duration::from_secs(1);
/// So many sources are remembered of a day, and so many days.
const SOURCES_MAX: usize = 10_000;
const DAYS_MAX: usize = 3;
const DISTRIBUTION_MAX: u16 = 3;
/// RFC 9562, section 6.6: the namespace of URLs.
const NAMESPACE: [u8; 16] =
    [0x6b, 0xa7, 0xb8, 0x11, 0x9d, 0xad, 0x11, 0xd1, 0x80, 0xb4, 0x00, 0xc0, 0x4f, 0xd4, 0x30, 0xc8];

fn build(conf: &Conf) -> Result<Box<dyn Output>, Vec<Complaint>> {
    Ok(Box::new(Misp::new(conf, AddressPolicy::new(conf)?)?))
}

#[derive(Debug)]
struct Misp {
    policy: AddressPolicy,
    http: Http,
    warning: Option<String>,
    url: Url,
    key: String,
    settings: Settings,
    memory: Mutex<Memory>,
    /// When the next request may go.
    next: Option<Instant>,
}

/// What must be known after a restart.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Memory {
    /// By date and sensor, what the MISP has.
    days: BTreeMap<String, Day>,
    /// When each source was last told: number and time of the event.
    told: BTreeMap<IpAddr, (u64, i64)>,
    attributes: u64,
    sightings: u64,
}

#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Day {
    /// Whether there is an event.
    made: bool,
    /// The sources that have an attribute in it.
    sources: Vec<IpAddr>,
}

/// How a request ended.
enum Said {
    /// It is there now.
    Done,
    /// It was there before.
    Known,
    /// What it belongs to is not there.
    Missing,
    Other(Outcome),
}

impl Misp {
    fn new(conf: &Conf, policy: AddressPolicy) -> Result<Self, Vec<Complaint>> {
        let settings = Settings::read(conf)?;
        let mut complaints = Vec::new();
        let key = settings.apikey.reveal_or_complain("misp.apikey", &mut complaints);
        let url = super::address("misp.url", &settings.url, &mut complaints);
        let mut complain = |setting: &str, text: &str| {
            complaints.push(Complaint { key: format!("misp.{setting}"), text: text.to_owned() });
        };
        if settings.apikey.is_empty() || HeaderValue::from_str(&key).is_err() {
            complain("apikey", "wants the key of an account");
        }
        if settings.distribution > DISTRIBUTION_MAX {
            complain("distribution", "wants a number from 0 to 3");
        }
        let (Some(url), []) = (url, complaints.as_slice()) else { return Err(complaints) };
        let (http, warning) = (Http::new(conf)?, tls::warning(conf));
        Ok(Self { policy, http, warning, url, key, settings, memory: Mutex::default(), next: None })
    }

    /// Whether it is time to tell of this source; if so, that is noted.
    fn due(&self, source: IpAddr, record: &Record) -> bool {
        let mut memory = self.memory.lock();
        let every = i64::try_from(self.settings.sighting_every.as_micros()).unwrap_or(i64::MAX);
        let is_recent = |at: i64| record.time.0.saturating_sub(at) < every;
        match memory.told.get(&source) {
            // Read again after a restart.
            Some((seq, _)) if *seq == record.seq => return true,
            Some((_, at)) if is_recent(*at) => return false,
            _ => {}
        }
        if memory.told.len() >= SOURCES_MAX {
            memory.told.retain(|_, it| is_recent(it.1));
            let oldest = memory.told.iter().min_by_key(|it| it.1.1).map(|it| *it.0);
            oldest.filter(|_| memory.told.len() >= SOURCES_MAX).map(|it| memory.told.remove(&it));
        }
        memory.told.insert(source, (record.seq, record.time.0));
        true
    }

    async fn post(&mut self, path: &str, body: &Value, there: &str) -> Said {
        if let Some(next) = self.next {
            sleep_until(next).await;
        }
        let request = Request::post(self.at(path), "application/json", body.to_string().into_bytes());
        let answer = self.http.send(self.signed(request)).await;
        self.next = Some(Instant::now() + PACE);
        match answer {
            Ok(answer) => understood(&answer, there),
            Err(outcome) => Said::Other(outcome),
        }
    }

    fn at(&self, path: &str) -> Url {
        let mut url = self.url.clone();
        url.set_path(&format!("{}{path}", self.url.path().trim_end_matches('/')));
        url
    }

    fn signed(&self, request: Request) -> Request {
        request.with("Authorization", self.key.clone()).with("Accept", "application/json")
    }

    async fn tell(&mut self, item: &Item) -> Outcome {
        let record = &*item.record;
        let (Ok(source), Ok(attribute)) = (self.policy.source(record), serde_json::from_slice(&item.body))
        else {
            return Outcome::Reject("its source may not be told".to_owned());
        };
        let (day, event) = (day(record), event_uuid(record));
        let (made, known) = {
            let memory = self.memory.lock();
            let known = memory.days.get(&day);
            (known.is_some_and(|it| it.made), known.is_some_and(|it| it.sources.contains(&source)))
        };
        if !made {
            match self.post("/events/add", &self.event(record), "Event").await {
                Said::Done | Said::Known => self.memory.lock().day(&day).made = true,
                Said::Missing => return Outcome::retry("MISP does not know its own page to add events"),
                Said::Other(outcome) => return outcome,
            }
        }
        let said = if known {
            self.post("/sightings/add", &sighting(record, source), "Sighting").await
        } else {
            self.post(&format!("/attributes/add/{event}"), &attribute, "Attribute").await
        };
        let mut memory = self.memory.lock();
        match said {
            Said::Done | Said::Known if !known => {
                let sources = &mut memory.day(&day).sources;
                if sources.len() < SOURCES_MAX {
                    sources.push(source);
                }
                memory.attributes += u64::from(matches!(said, Said::Done));
                if matches!(said, Said::Done) { Outcome::Delivered } else { Outcome::Duplicate }
            }
            Said::Done | Said::Known => {
                memory.sightings += 1;
                Outcome::Delivered
            }
            Said::Missing => {
                // Somebody took it away over there: it is made again.
                memory.days.remove(&day);
                Outcome::retry("MISP does not have the event of the day any more; it is made again")
            }
            Said::Other(outcome) => outcome,
        }
    }

    /// The event of a day.
    fn event(&self, record: &Record) -> Value {
        let tags: Vec<_> = self.settings.tags.0.iter().map(|it| json!({ "name": it })).collect();
        let date = date(record.time);
        json!({ "Event": {
            "uuid": event_uuid(record),
            "info": format!("Serin {} {date}", record.node_id),
            "date": date,
            "distribution": self.settings.distribution.to_string(),
            // Low; and nothing more will come of it than more of the same.
            "threat_level_id": "3",
            "analysis": "2",
            "Tag": tags,
        } })
    }

    /// The attribute of a source: no word that it chose itself.
    fn attribute(&self, record: &Record, source: IpAddr) -> Value {
        let time = record.time.rfc3339();
        json!({
            "uuid": uuid(&bytes(&event_uuid(record)), &source.to_string()),
            "type": "ip-src",
            "category": "Network activity",
            "value": source.to_string(),
            "to_ids": self.settings.to_ids,
            "comment": format!("Honeypot: {}", record.kind.name),
            "first_seen": time,
            "last_seen": time,
        })
    }

    /// Whether the key is right, without anything being added.
    async fn try_key(&self) -> Outcome {
        match self.http.send(self.signed(Request::get(self.at("/users/view/me")))).await {
            Ok(answer) => match understood(&answer, "User") {
                Said::Done | Said::Known => Outcome::Delivered,
                Said::Missing => Outcome::Hold(answer.told()),
                Said::Other(outcome) => outcome,
            },
            Err(outcome) => outcome,
        }
    }
}

impl Memory {
    fn day(&mut self, day: &str) -> &mut Day {
        while self.days.len() > DAYS_MAX {
            self.days.pop_first();
        }
        self.days.entry(day.to_owned()).or_default()
    }
}

/// What an answer means; a success has the member `there`, or says that something was saved.
fn understood(answer: &Answer, there: &str) -> Said {
    let said: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    let text = answer.text().to_ascii_lowercase();
    let says = |texts: &[&str]| texts.iter().any(|it| text.contains(it));
    let is = |name: &str| said.get(name).is_some();
    match answer.outcome() {
        Outcome::Delivered if answer.cut || is(there) || said.get("saved") == Some(&Value::Bool(true)) => {
            Said::Done
        }
        Outcome::Delivered => {
            Said::Other(Outcome::Hold(format!("this does not answer like MISP: {}", answer.told())))
        }
        // MISP tells everything that it does not like by one of these.
        _ if matches!(answer.status, 403 | 404) && says(&["already exists", "not unique"]) => Said::Known,
        _ if matches!(answer.status, 403 | 404) && says(&["invalid event", "no valid attributes"]) => {
            Said::Missing
        }
        _ if answer.status == 403 && is("errors") && said.get("saved") == Some(&Value::Bool(false)) => {
            Said::Other(Outcome::Reject(answer.told()))
        }
        other => Said::Other(other),
    }
}

fn sighting(record: &Record, source: IpAddr) -> Value {
    json!({
        "value": source.to_string(),
        "source": &*record.node_id,
        "type": "0",
        "timestamp": record.time.0.div_euclid(1_000_000).to_string(),
    })
}

fn date(time: Timestamp) -> String {
    time.datetime(0).date().to_string()
}

fn day(record: &Record) -> String {
    format!("{} {}", date(record.time), record.node_id)
}

fn event_uuid(record: &Record) -> String {
    uuid(&NAMESPACE, &format!("serin:misp:{}", day(record)))
}

/// A UUID that follows from a name. RFC 9562, section 5.5.
fn uuid(namespace: &[u8], name: &str) -> String {
    let mut hash = Context::new(&SHA1_FOR_LEGACY_USE_ONLY);
    hash.update(namespace);
    hash.update(name.as_bytes());
    let mut uuid = String::with_capacity(36);
    for (number, byte) in hash.finish().as_ref().iter().take(16).enumerate() {
        let byte = match number {
            6 => byte & 0x0f | 0x50,
            8 => byte & 0x3f | 0x80,
            _ => *byte,
        };
        if matches!(number, 4 | 6 | 8 | 10) {
            uuid.push('-');
        }
        // Writing to a String cannot fail.
        let _ = write!(uuid, "{byte:02x}");
    }
    uuid
}

/// The bytes of a UUID.
fn bytes(uuid: &str) -> Vec<u8> {
    let digits: Vec<u8> = uuid.chars().filter_map(|it| u8::try_from(it.to_digit(16)?).ok()).collect();
    digits.chunks_exact(2).filter_map(|it| Some(it.first()? << 4 | it.last()?)).collect()
}

impl Output for Misp {
    fn encode(&self, record: &Record) -> Option<Vec<u8>> {
        if trial::is_trial(record) {
            return Some(Vec::new());
        }
        let told = policy::is_accusable(record) && record.intent() > Intent::Connect;
        let source = self.policy.source(record).ok().filter(|_| told)?;
        self.due(source, record).then(|| self.attribute(record, source).to_string().into_bytes())
    }

    fn deliver<'a>(&'a mut self, batch: &'a [Item]) -> Later<'a, Delivery> {
        Box::pin(async move {
            let mut outcomes = Vec::with_capacity(batch.len());
            for item in batch {
                let trial = trial::is_trial(&item.record);
                let outcome = if trial { self.try_key().await } else { self.tell(item).await };
                let stop = matches!(outcome, Outcome::Retry { .. } | Outcome::Hold(_));
                outcomes.push(outcome);
                if stop {
                    break;
                }
            }
            outcomes.resize(batch.len(), Outcome::Wait(Duration::ZERO));
            Delivery::Each(outcomes)
        })
    }

    fn recall(&mut self, memory: Option<&str>) {
        if let Some(memory) = memory.and_then(|it| serde_json::from_str(it).ok()) {
            *self.memory.lock() = memory;
        }
    }

    fn memory(&self) -> Option<String> {
        serde_json::to_string(&*self.memory.lock()).ok()
    }

    fn receipt(&self) -> Option<String> {
        let memory = self.memory.lock();
        let (attributes, sightings) = (memory.attributes, memory.sightings);
        (attributes + sightings > 0)
            .then(|| format!("MISP took {attributes} attributes and {sightings} sightings"))
    }

    fn confirms(&self) -> &'static str {
        "accepted by MISP"
    }

    fn warning(&self) -> Option<String> {
        self.warning.clone()
    }

    fn deadline(&self) -> Duration {
        // Each item is two requests at most.
        (self.http.deadline() + PACE) * u32::try_from(OUTPUT.batch.events * 2).unwrap_or(1)
    }
}

#[cfg(test)]
mod tests {
    use reqwest::header::HeaderMap;
    use serin_event::{Endpoint, Event, Kind, kinds};

    use super::*;

    fn output() -> Misp {
        let mut conf = Conf::new();
        conf.set("misp.url", "http://127.0.0.1:1/misp/");
        conf.set("misp.apikey", "k");
        Misp::new(&conf, AddressPolicy::for_documentation(&[], &[])).unwrap()
    }

    fn record(seq: u64, kind: &'static Kind, source: &str, minute: i64) -> Record {
        let mut event = Event::new(kind);
        if kind.declares("PASSWORD") {
            event = event.with("USERNAME", "root").with("PASSWORD", "s3cret");
        }
        Record {
            seq,
            source: Endpoint { host: source.parse().ok(), port: Some(4242) },
            target: Endpoint { host: "198.51.100.9".parse().ok(), port: Some(22) },
            ..Record::of(&event, Timestamp(1_795_296_991_000_000 + minute * 60_000_000), 0, "node")
        }
    }

    #[test]
    fn ids_are_those_of_the_rfc() {
        let dns = bytes("6ba7b810-9dad-11d1-80b4-00c04fd430c8");
        assert_eq!(uuid(&dns, "www.example.com"), "2ed6657d-e927-568b-95e1-2665a8aea6a2");
        assert_eq!(bytes("6ba7b811-9dad-11d1-80b4-00c04fd430c8"), NAMESPACE);
    }

    // PyMISP reads both, and Python's `uuid` makes the same ids.
    #[test]
    fn an_event_and_an_attribute_are_the_same_whenever_they_are_made() {
        let it = output();
        let login = record(7, &kinds::SSH_LOGIN, "203.0.113.7", 0);
        let event = it.event(&login);
        assert_eq!(
            event,
            json!({ "Event": {
                "uuid": "56255796-8b2b-5473-bd46-509fc2aaa7d5", "info": "Serin node 2026-11-21", "date": "2026-11-21",
                "distribution": "0", "threat_level_id": "3", "analysis": "2", "Tag": [{ "name": "tlp:green" }],
            } })
        );
        let attribute: Value = serde_json::from_slice(&it.encode(&login).unwrap()).unwrap();
        assert_eq!(
            attribute,
            json!({
                "uuid": "2378343e-4ef5-50df-b5af-8c649395c0b4", "type": "ip-src",
                "category": "Network activity", "value": "203.0.113.7", "to_ids": true,
                "comment": "Honeypot: ssh.login", "first_seen": "2026-11-21T21:36:31.000000Z",
                "last_seen": "2026-11-21T21:36:31.000000Z",
            })
        );
        assert_eq!(it.event(&record(8, &kinds::FTP_LOGIN, "203.0.113.8", 100)), event);
        assert_ne!(it.event(&record(8, &kinds::FTP_LOGIN, "203.0.113.8", 200)), event);
    }

    #[test]
    fn a_source_is_told_once_an_hour() {
        let it = output();
        let told = |it: &Misp, seq, minute| {
            it.encode(&record(seq, &kinds::SSH_LOGIN, "203.0.113.7", minute)).is_some()
        };
        assert_eq!(
            [told(&it, 1, 0), told(&it, 2, 1), told(&it, 3, 60), told(&it, 4, 61)],
            [true, false, true, false]
        );
        let mut again = output();
        again.recall(it.memory().as_deref());
        assert_eq!([told(&again, 3, 60), told(&again, 5, 62)], [true, false], "read again after a restart");
        for (kind, source) in [
            (&kinds::PORTSCAN_SYN, "203.0.113.9"),
            (&kinds::SNMP_REQUEST, "203.0.113.9"),
            (&kinds::SSH_CONNECTION, "203.0.113.9"),
            (&kinds::SSH_LOGIN, "10.0.0.7"),
        ] {
            assert_eq!(it.encode(&record(9, kind, source, 0)), None, "{}", kind.name);
        }
    }

    #[test]
    fn days_do_not_pile_up() {
        let mut memory = Memory::default();
        for day in 10..30 {
            memory.day(&format!("2026-11-{day} node")).made = true;
        }
        assert!(memory.days.len() <= DAYS_MAX + 1 && memory.days.contains_key("2026-11-29 node"));
    }

    #[test]
    fn what_misp_says_is_understood() {
        let said = |status, text: &str| {
            let answer =
                Answer { status, headers: HeaderMap::new(), body: text.as_bytes().to_vec(), cut: false };
            match understood(&answer, "Attribute") {
                Said::Done => "done".to_owned(),
                Said::Known => "known".to_owned(),
                Said::Missing => "missing".to_owned(),
                Said::Other(other) => format!("{other:?}").split(['(', ' ']).next().unwrap().to_owned(),
            }
        };
        for (status, text, meaning) in [
            (200, r#"{"Attribute":{"id":"1"}}"#, "done"),
            (200, r#"{"saved":true,"success":true,"name":"1 sighting successfully added."}"#, "done"),
            (200, "<html>", "Hold"),
            (
                403,
                r#"{"saved":false,"errors":{"value":["A similar attribute already exists for this event."]}}"#,
                "known",
            ),
            (
                404,
                r#"{"name":"Event already exists, if you would like to edit it, use the url in the location header."}"#,
                "known",
            ),
            (404, r#"{"name":"Invalid event"}"#, "missing"),
            (
                403,
                r#"{"name":"Could not add Sighting","errors":"No valid attributes found that match the criteria."}"#,
                "missing",
            ),
            (403, r#"{"saved":false,"errors":{"value":["Value not in the right type/format."]}}"#, "Reject"),
            (403, r#"{"name":"Authentication failed.","errors":"Authentication failed."}"#, "Hold"),
            (500, "", "Retry"),
        ] {
            assert_eq!(said(status, text), meaning, "{status} {text}");
        }
    }
}
