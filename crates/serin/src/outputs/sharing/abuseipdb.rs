//! Reports to AbuseIPDB: who attacked, how often, and nothing else. Its comments are public.
//!
//! Nobody is accused of what anybody could have sent in his name: only what came after a whole
//! handshake counts, and only a source that insists is reported, once a day.
//! <https://docs.abuseipdb.com/#report-endpoint>

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt::Write as _;
use std::net::IpAddr;
use std::time::Duration;

use parking_lot::Mutex;
use reqwest::Url;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serin_event::{Intent, Record, Timestamp};
use serin_services::conf::{Complaint, Conf};
use serin_services::settings;

use super::policy::{self, AddressPolicy};
use crate::outputs::secret::Secret;
use crate::outputs::transport::http::{Answer, Http, Request};
use crate::outputs::transport::{http, tls};
use crate::outputs::trial;
use crate::outputs::{Batch, Carries, Delivery, Item, Later, Outcome, Output, OutputType, Passwords};
use crate::runtime::clock::now;

pub(crate) static OUTPUT: OutputType = OutputType {
    name: "abuseipdb",
    about: "Reports of attackers to AbuseIPDB, which publishes them",
    keys: &[Settings::KEYS, policy::KEYS, http::KEYS, tls::KEYS],
    carries: Carries::Events,
    passwords: Passwords::Drop,
    batch: Batch { events: 10, bytes: 64 * 1024, linger: Duration::ZERO },
    build,
};

settings! { "abuseipdb" {
    /// The key of your account.
    apikey: Secret = Secret::default();
    /// Where reports go.
    url: String = "https://api.abuseipdb.com/api/v2/report".into();
    /// Reports a source after so many attempts within two hours.
    threshold: u32 = 10;
    /// Seconds until a source is reported again, at least 900.
    report_again_after: Duration = Duration::from_hours(24);
    /// Counts also connections in which nothing was asked for; they are reported as port scans.
    /// Packets that anybody could have sent never count.
    connections: bool = false;
} }

/// Attempts count within this time, in microseconds.
const WINDOW: i64 = 2 * 3600 * 1_000_000;
/// AbuseIPDB takes one report of an address in this time.
const AGAIN_LEAST: Duration = Duration::from_mins(15);
/// What AbuseIPDB may ask us to wait at most: its quota is one of days.
const PATIENCE_MAX: Duration = Duration::from_hours(24);
/// So many sources are watched and remembered at once; the ones that were not seen for longest are
/// forgotten first.
const SOURCES_MAX: usize = 10_000;
/// A higher threshold is of no use and takes memory.
const THRESHOLD_MAX: u32 = 100;

fn build(conf: &Conf) -> Result<Box<dyn Output>, Vec<Complaint>> {
    let settings = Settings::read(conf)?;
    let mut complaints = Vec::new();
    let key = settings.apikey.reveal_or_complain("abuseipdb.apikey", &mut complaints);
    let url = super::address("abuseipdb.url", &settings.url, &mut complaints);
    let mut complain = |setting: &str, text: &str| {
        complaints.push(Complaint { key: format!("abuseipdb.{setting}"), text: text.to_owned() });
    };
    if settings.apikey.is_empty() {
        complain("apikey", "wants the key of your account");
    }
    if settings.report_again_after < AGAIN_LEAST {
        complain("report_again_after", "wants at least 900 seconds");
    }
    if !(1..=THRESHOLD_MAX).contains(&settings.threshold) {
        complain("threshold", "wants a number from 1 to 100");
    }
    let (Some(url), []) = (url, complaints.as_slice()) else { return Err(complaints) };
    Ok(Box::new(AbuseIpDb {
        policy: AddressPolicy::new(conf)?,
        http: Http::new(conf)?,
        warning: tls::warning(conf),
        url,
        key,
        settings,
        clock: now,
        attempts: Mutex::default(),
        memory: Mutex::default(),
    }))
}

#[derive(Debug)]
struct AbuseIpDb {
    policy: AddressPolicy,
    http: Http,
    warning: Option<String>,
    url: Url,
    key: String,
    settings: Settings,
    clock: fn() -> Timestamp,
    /// The last attempts of each source. Forgotten at a stop: who goes on is counted anew.
    attempts: Mutex<BTreeMap<IpAddr, VecDeque<Attempt>>>,
    memory: Mutex<Memory>,
}

#[derive(Debug, Clone, Copy)]
struct Attempt {
    at: i64,
    service: &'static str,
    categories: &'static [u8],
}

/// What must be known after a restart.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Memory {
    /// When each source was last reported: the time of the event that led to it.
    reported: BTreeMap<IpAddr, i64>,
    /// Reports on their way.
    pending: BTreeMap<IpAddr, Report>,
    /// Nothing is sent before this time: the quota is used up.
    asleep_until: Option<i64>,
    /// Reports that AbuseIPDB took.
    confirmed: u64,
}

/// What is told of a source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Report {
    /// Number and time of the event that led to it.
    seq: u64,
    at: i64,
    /// AbuseIPDB's numbers for what happened.
    categories: BTreeSet<u8>,
    /// Attempts by service.
    attempts: BTreeMap<String, u32>,
}

impl Report {
    fn of(record: &Record, attempts: &VecDeque<Attempt>) -> Self {
        let mut report = Self {
            seq: record.seq,
            at: record.time.0,
            categories: BTreeSet::new(),
            attempts: BTreeMap::new(),
        };
        for attempt in attempts {
            report.categories.extend(attempt.categories);
            *report.attempts.entry(attempt.service.to_owned()).or_default() += 1;
        }
        report
    }

    /// The form's text. Not a word that the peer chose, nor anything of this host.
    fn form(&self, source: IpAddr) -> String {
        let categories: Vec<_> = self.categories.iter().map(u8::to_string).collect();
        let sum: u32 = self.attempts.values().sum();
        let mut comment = format!("Honeypot: {sum} attempts within two hours");
        for (number, (service, count)) in self.attempts.iter().enumerate() {
            // Writing to a String cannot fail.
            let _ = write!(comment, "{} {service} {count}", if number == 0 { ":" } else { "," });
        }
        let mut form = reqwest::Url::parse("form:").ok();
        if let Some(form) = &mut form {
            form.query_pairs_mut()
                .append_pair("ip", &source.to_string())
                .append_pair("categories", &categories.join(","))
                .append_pair("comment", &comment)
                .append_pair("timestamp", &Timestamp(self.at).rfc3339());
        }
        form.and_then(|it| it.query().map(str::to_owned)).unwrap_or_default()
    }
}

impl AbuseIpDb {
    /// Counts the event. `Some`: it is time for a report.
    fn due(&self, source: IpAddr, record: &Record) -> Option<Report> {
        let mut memory = self.memory.lock();
        let again = micros(self.settings.report_again_after);
        let is_recent = |at: i64| record.time.0.saturating_sub(at) < again;
        match memory.pending.get(&source) {
            // Read again after a restart.
            Some(report) if report.seq == record.seq => return Some(report.clone()),
            Some(report) if is_recent(report.at) => return None,
            _ => {}
        }
        if memory.reported.get(&source).is_some_and(|at| is_recent(*at)) {
            return None;
        }
        let mut sources = self.attempts.lock();
        if sources.len() >= SOURCES_MAX && !sources.contains_key(&source) {
            let oldest = sources.iter().min_by_key(|it| it.1.back().map(|it| it.at)).map(|it| *it.0);
            oldest.map(|it| sources.remove(&it));
        }
        let attempts = sources.entry(source).or_default();
        attempts.push_back(Attempt {
            at: record.time.0,
            service: record.kind.service,
            categories: categories(record),
        });
        while attempts.front().is_some_and(|it| record.time.0.saturating_sub(it.at) > WINDOW) {
            attempts.pop_front();
        }
        if attempts.len() < usize::try_from(self.settings.threshold).unwrap_or(usize::MAX) {
            return None;
        }
        let report = Report::of(record, attempts);
        sources.remove(&source);
        memory.pending.insert(source, report.clone());
        Some(report)
    }

    async fn report(&self, item: &Item) -> Outcome {
        let Ok(source) = self.policy.source(&item.record) else {
            return Outcome::Reject("its source may not be told".to_owned());
        };
        if let Some(outcome) = self.not_now(source, item.record.time) {
            return outcome;
        }
        let request = Request::post(self.url.clone(), "application/x-www-form-urlencoded", item.body.clone())
            .with("Key", self.key.clone())
            .with("Accept", "application/json");
        let answer = match self.http.send(request).await {
            Ok(answer) => answer,
            Err(outcome) => return outcome,
        };
        let outcome = understood(&answer, "ipAddress");
        let mut memory = self.memory.lock();
        if answer.status == 429 && outcome != Outcome::Duplicate {
            let wait = answer.asks_for().map(|it| micros(it.min(PATIENCE_MAX)));
            memory.asleep_until = wait.map(|it| (self.clock)().0.saturating_add(it));
        }
        if matches!(outcome, Outcome::Delivered | Outcome::Duplicate | Outcome::Reject(_)) {
            memory.settle(source, item.record.time.0, micros(self.settings.report_again_after));
        }
        memory.confirmed += u64::from(outcome == Outcome::Delivered);
        outcome
    }

    /// What is known without asking: that the quota is used up, or that this source was just reported.
    fn not_now(&self, source: IpAddr, time: Timestamp) -> Option<Outcome> {
        let mut memory = self.memory.lock();
        let now = (self.clock)().0;
        // A time further away than any that we note: the clock was set back.
        let asleep = memory.asleep_until.filter(|it| it.saturating_sub(now) <= micros(PATIENCE_MAX));
        let left = asleep.map_or(0, |it| it.saturating_sub(now));
        if left > 0 {
            let after = Duration::from_micros(u64::try_from(left).unwrap_or(0));
            let why = format!("the quota is used up; AbuseIPDB asks to wait {} s", after.as_secs());
            return Some(Outcome::Retry { why, after: Some(after) });
        }
        memory.asleep_until = None;
        let reported = memory.reported.get(&source).copied();
        let just = reported.is_some_and(|it| time.0.saturating_sub(it) < micros(AGAIN_LEAST));
        if just {
            memory.pending.remove(&source);
        }
        just.then_some(Outcome::Duplicate)
    }

    /// Whether the key is right, without a report of anybody: a look-up of an address that AbuseIPDB
    /// keeps for tests.
    async fn try_key(&self) -> Outcome {
        let mut url = self.url.clone();
        let path = url.path().trim_end_matches("/report").to_owned();
        url.set_path(&format!("{path}/check"));
        url.set_query(Some("ipAddress=127.0.0.2"));
        let request = Request::get(url).with("Key", self.key.clone()).with("Accept", "application/json");
        match self.http.send(request).await {
            Ok(answer) => understood(&answer, "ipAddress"),
            Err(outcome) => outcome,
        }
    }
}

impl Memory {
    /// A report came to its end.
    fn settle(&mut self, source: IpAddr, at: i64, again: i64) {
        self.pending.remove(&source);
        self.reported.retain(|_, it| at.saturating_sub(*it) < again);
        if self.reported.len() >= SOURCES_MAX {
            let oldest = self.reported.iter().min_by_key(|it| *it.1).map(|it| *it.0);
            oldest.map(|it| self.reported.remove(&it));
        }
        self.reported.insert(source, at);
    }
}

fn micros(time: Duration) -> i64 {
    i64::try_from(time.as_micros()).unwrap_or(i64::MAX)
}

/// What an answer means. A report of an address that was just reported is refused with 429, as what
/// goes beyond the quota; earlier versions said 403. A success names the member `wanted`.
fn understood(answer: &Answer, wanted: &str) -> Outcome {
    const AGAIN: &str = "the same IP address";
    let said: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    let just = || {
        let errors = said.get("errors").and_then(Value::as_array).into_iter().flatten();
        errors.filter_map(|it| it.get("detail")?.as_str()).any(|it| it.contains(AGAIN))
    };
    match answer.outcome() {
        _ if matches!(answer.status, 403 | 422 | 429) && just() => Outcome::Duplicate,
        Outcome::Delivered if !answer.cut && said.get("data").and_then(|it| it.get(wanted)).is_none() => {
            Outcome::Hold(format!("this does not answer like AbuseIPDB: {}", answer.told()))
        }
        Outcome::Retry { why, .. } if answer.status == 429 => {
            Outcome::Retry { why, after: answer.asks_for().map(|it| it.min(PATIENCE_MAX)) }
        }
        other => other,
    }
}

/// AbuseIPDB's numbers for what happened. <https://www.abuseipdb.com/categories>
fn categories(record: &Record) -> &'static [u8] {
    const PORT_SCAN: u8 = 14;
    const HACKING: u8 = 15;
    const BRUTE_FORCE: u8 = 18;
    let login = record.intent() >= Intent::Login;
    match record.kind.service {
        _ if record.intent() <= Intent::Connect => &[PORT_SCAN],
        // "FTP brute force", "SSH", "IoT targeted", "web app attack".
        "ftp" => &[5, BRUTE_FORCE],
        "ssh" => &[BRUTE_FORCE, 22],
        "telnet" => &[BRUTE_FORCE, 23],
        "http" if login => &[BRUTE_FORCE, 21],
        "http" => &[21],
        _ if login => &[BRUTE_FORCE],
        _ => &[HACKING],
    }
}

impl Output for AbuseIpDb {
    fn encode(&self, record: &Record) -> Option<Vec<u8>> {
        if trial::is_trial(record) {
            return Some(Vec::new());
        }
        let counts = record.intent() > Intent::Connect || self.settings.connections;
        let source = self.policy.source(record).ok().filter(|_| counts && policy::is_accusable(record))?;
        self.due(source, record).map(|it| it.form(source).into_bytes())
    }

    fn deliver<'a>(&'a mut self, batch: &'a [Item]) -> Later<'a, Delivery> {
        Box::pin(async move {
            let mut outcomes = Vec::with_capacity(batch.len());
            for item in batch {
                let trial = trial::is_trial(&item.record);
                let outcome = if trial { self.try_key().await } else { self.report(item).await };
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
            return;
        }
        tracing::warn!(
            url = %self.url,
            "reports to AbuseIPDB are on: addresses of whoever insists, when, how often and at which services are \
             sent; it publishes them under the name of your account"
        );
    }

    fn memory(&self) -> Option<String> {
        serde_json::to_string(&*self.memory.lock()).ok()
    }

    fn receipt(&self) -> Option<String> {
        let confirmed = self.memory.lock().confirmed;
        (confirmed > 0).then(|| format!("AbuseIPDB took {confirmed} reports"))
    }

    fn confirms(&self) -> &'static str {
        "accepted by AbuseIPDB"
    }

    fn warning(&self) -> Option<String> {
        self.warning.clone()
    }

    fn deadline(&self) -> Duration {
        // A batch goes one by one.
        self.http.deadline() * u32::try_from(OUTPUT.batch.events).unwrap_or(1)
    }
}

#[cfg(test)]
mod tests {
    use reqwest::header::HeaderMap;
    use serin_event::{Endpoint, Event, Kind, kinds};

    use super::*;

    const SOURCE: &str = "203.0.113.7";

    fn output() -> AbuseIpDb {
        let mut conf = Conf::new();
        conf.set("abuseipdb.threshold", 3);
        AbuseIpDb {
            policy: AddressPolicy::for_documentation(&[], &[]),
            http: Http::new(&conf).unwrap(),
            warning: None,
            url: Url::parse("http://127.0.0.1:1/").unwrap(),
            key: "k".into(),
            settings: Settings::read(&conf).unwrap(),
            clock: || time(123),
            attempts: Mutex::default(),
            memory: Mutex::default(),
        }
    }

    fn time(minute: i64) -> Timestamp {
        Timestamp(1_795_296_991_000_000 + minute * 60_000_000)
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
            ..Record::of(&event, time(minute), 0, "node")
        }
    }

    fn login(seq: u64, minute: i64) -> Record {
        record(seq, &kinds::SSH_LOGIN, SOURCE, minute)
    }

    #[test]
    fn a_source_is_reported_when_it_insists_and_not_again_for_a_day() {
        let it = output();
        assert_eq!((it.encode(&login(1, 0)), it.encode(&login(2, 121))), (None, None));
        let telnet = record(3, &kinds::TELNET_LOGIN, SOURCE, 122);
        assert_eq!(it.encode(&telnet), None, "the first is two hours old");
        let body = String::from_utf8(it.encode(&login(4, 123)).unwrap()).unwrap();
        assert_eq!(
            body,
            "ip=203.0.113.7&categories=18%2C22%2C23&comment=Honeypot%3A+3+attempts+within+two+hours%3A+ssh+2%2C+\
             telnet+1&timestamp=2026-11-21T23%3A39%3A31.000000Z"
        );
        assert_eq!(it.encode(&login(5, 124)), None, "one is on its way");
        let mut again = output();
        again.recall(it.memory().as_deref());
        assert_eq!(again.encode(&login(4, 123)).unwrap(), body.into_bytes(), "read again after a restart");
        it.memory.lock().settle(SOURCE.parse().unwrap(), time(123).0, micros(Duration::from_hours(24)));
        for minute in 125..140 {
            assert_eq!(it.encode(&login(6, minute)), None);
        }
        let day = 123 + 24 * 60;
        assert_eq!([it.encode(&login(7, day)), it.encode(&login(8, day))], [None, None]);
        assert!(it.encode(&login(9, day)).is_some());
    }

    #[test]
    fn a_report_that_got_lost_does_not_protect_a_source_for_ever() {
        let it = output();
        let all: Vec<_> = (1..=3).map(|seq| it.encode(&login(seq, 0)).is_some()).collect();
        assert_eq!(all, [false, false, true]);
        let day = 24 * 60;
        let all: Vec<_> = (4..=6).map(|seq| it.encode(&login(seq, day)).is_some()).collect();
        assert_eq!(all, [false, false, true]);
    }

    #[test]
    fn nobody_is_accused_for_what_anybody_could_have_sent() {
        let it = output();
        for (kind, source) in [
            (&kinds::PORTSCAN_SYN, SOURCE),
            (&kinds::SNMP_REQUEST, SOURCE),
            (&kinds::SSH_CONNECTION, SOURCE),
            (&kinds::SSH_LOGIN, "10.0.0.7"),
        ] {
            for seq in 1..10 {
                assert_eq!(it.encode(&record(seq, kind, source, 0)), None, "{}", kind.name);
            }
        }
        let mut asked = output();
        asked.settings.connections = true;
        let all = (1..=3).filter_map(|seq| asked.encode(&record(seq, &kinds::SSH_CONNECTION, SOURCE, 0)));
        let body = String::from_utf8(all.last().unwrap()).unwrap();
        assert!(body.starts_with("ip=203.0.113.7&categories=14&"), "{body}");
        let scans =
            (1..=9).filter_map(|seq| asked.encode(&record(seq, &kinds::PORTSCAN_SYN, "192.0.2.1", 0)));
        assert_eq!(scans.count(), 0);
    }

    #[test]
    fn too_many_reports_of_one_address_are_no_failure() {
        let answer = |status, text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert("retry-after", "30000".parse().unwrap());
            understood(&Answer { status, headers, body: text.as_bytes().to_vec(), cut: false }, "ipAddress")
        };
        let taken = r#"{"data":{"ipAddress":"203.0.113.7","abuseConfidenceScore":52}}"#;
        assert_eq!(answer(200, taken), Outcome::Delivered);
        assert!(matches!(answer(200, "<html>"), Outcome::Hold(_)));
        let again = r#"{"errors":[{"detail":"You can only report the same IP address (`203.0.113.7`) once in 15 minutes.","status":429}]}"#;
        assert_eq!((answer(429, again), answer(403, again)), (Outcome::Duplicate, Outcome::Duplicate));
        let quota = r#"{"errors":[{"detail":"Daily rate limit of 1000 requests exceeded for this endpoint.","status":429}]}"#;
        let Outcome::Retry { after, .. } = answer(429, quota) else { panic!("{:?}", answer(429, quota)) };
        assert_eq!(after, Some(Duration::from_mins(500)), "more than an hour");
        assert!(matches!(answer(401, ""), Outcome::Hold(_)));
        assert!(matches!(answer(422, ""), Outcome::Reject(_)));
    }

    #[test]
    fn a_used_up_quota_is_remembered() {
        let mut it = output();
        it.memory.lock().asleep_until = Some(time(123).0 + 60_000_000);
        let mut again = output();
        again.recall(it.memory().as_deref());
        let source = SOURCE.parse().unwrap();
        assert!(
            matches!(again.not_now(source, time(0)), Some(Outcome::Retry { after: Some(after), .. }) if after.as_secs() == 60)
        );
        it.clock = || time(125);
        assert_eq!(it.not_now(source, time(0)), None);
        it.memory.lock().settle(source, time(0).0, 1);
        assert_eq!(it.not_now(source, time(14)), Some(Outcome::Duplicate));
        assert_eq!(it.not_now(source, time(15)), None);
    }
}
