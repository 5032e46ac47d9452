//! Alerts for the local API (LAPI) of CrowdSec, which then decides whom to block.
//!
//! An alert is about one source and one service. The first one goes at once, because it may block
//! somebody; what follows is collected. <https://docs.crowdsec.net/u/developers/swagger/>

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use reqwest::Url;
use serde_json::{Value, json};
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
    name: "crowdsec",
    about: "Alerts for CrowdSec's local API",
    keys: &[Settings::KEYS, policy::KEYS, http::KEYS, tls::KEYS],
    carries: Carries::Events,
    passwords: Passwords::Drop,
    batch: Batch { events: 250, bytes: 1024 * 1024, linger: Duration::ZERO },
    build,
};

settings! { "crowdsec" {
    /// The address of the local API.
    url: String = "http://127.0.0.1:8080/".into();
    /// The machine's name, from `cscli machines add`.
    machine_id: String = String::new();
    /// The machine's password.
    password: Secret = Secret::default();
    /// Whether CrowdSec's profiles may make a decision of it, such as to block the source.
    remediation: bool = true;
    /// Seconds between two deliveries, unless there are 250 events.
    interval: Duration = Duration::from_secs(10);
} }

/// Of one alert so many events are told.
const EVENTS_MAX: usize = 50;

fn build(conf: &Conf) -> Result<Box<dyn Output>, Vec<Complaint>> {
    let settings = Settings::read(conf)?;
    let mut complaints = Vec::new();
    let password = settings.password.reveal_or_complain("crowdsec.password", &mut complaints);
    let url = super::address("crowdsec.url", &settings.url, &mut complaints);
    for (key, empty) in
        [("machine_id", settings.machine_id.is_empty()), ("password", settings.password.is_empty())]
    {
        if empty {
            complaints.push(Complaint { key: format!("crowdsec.{key}"), text: "is missing".to_owned() });
        }
    }
    let (Some(url), []) = (url, complaints.as_slice()) else { return Err(complaints) };
    Ok(Box::new(CrowdSec {
        policy: AddressPolicy::new(conf)?,
        http: Http::new(conf)?,
        warning: tls::warning(conf),
        url,
        password,
        settings,
        token: None,
        pushed: None,
        hurry: false,
    }))
}

#[derive(Debug)]
struct CrowdSec {
    policy: AddressPolicy,
    http: Http,
    warning: Option<String>,
    url: Url,
    password: String,
    settings: Settings,
    token: Option<String>,
    /// When alerts were last delivered.
    pushed: Option<Timestamp>,
    hurry: bool,
}

impl CrowdSec {
    /// How long these are to wait for company.
    fn wait(&self, batch: &[Item], now: Timestamp) -> Option<Duration> {
        if self.hurry || batch.len() >= OUTPUT.batch.events {
            return None;
        }
        let since = u64::try_from(now.0.saturating_sub(self.pushed?.0)).ok()?;
        self.settings.interval.checked_sub(Duration::from_micros(since)).filter(|it| !it.is_zero())
    }

    fn at(&self, path: &str) -> Url {
        let mut url = self.url.clone();
        url.set_path(&format!("{}{path}", self.url.path().trim_end_matches('/')));
        url
    }

    fn post(&self, path: &str, body: &Value) -> Request {
        Request::post(self.at(path), "application/json", body.to_string().into_bytes())
    }

    async fn log_in(&mut self, scenarios: &[String]) -> Result<String, Outcome> {
        if let Some(token) = &self.token {
            return Ok(token.clone());
        }
        let request = self.post(
            "/v1/watchers/login",
            &json!({ "machine_id": self.settings.machine_id, "password": self.password, "scenarios": scenarios }),
        );
        let answer = self.http.send(request).await?;
        match answer.outcome() {
            Outcome::Delivered if answer.cut => return Err(Outcome::retry(answer.told())),
            Outcome::Delivered => {}
            Outcome::Reject(why) => return Err(Outcome::Hold(why)),
            other => return Err(other),
        }
        let said: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        let token = said.get("token").and_then(Value::as_str).map(str::to_owned);
        self.token.clone_from(&token);
        token.ok_or_else(|| not_lapi(&answer))
    }

    async fn push(&mut self, alerts: &[Value]) -> Outcome {
        let scenarios: Vec<String> =
            alerts.iter().filter_map(|it| it.get("scenario")?.as_str().map(str::to_owned)).collect();
        // A token lives for an hour: the second time is with a fresh one.
        for last in [false, true] {
            let token = match self.log_in(&scenarios).await {
                Ok(token) => token,
                Err(outcome) => return outcome,
            };
            let request = self.post("/v1/alerts", &json!(alerts));
            let request = request.with("Authorization", format!("Bearer {token}"));
            match self.http.send(request).await {
                Ok(answer) if matches!(answer.status, 401 | 403) && !last => self.token = None,
                Ok(answer) => return understood(&answer),
                Err(outcome) => return outcome,
            }
        }
        Outcome::retry("the local API does not take its own token")
    }

    /// One alert for each source and service.
    fn alerts(&self, batch: &[Item]) -> Vec<Value> {
        let mut groups: BTreeMap<(IpAddr, String), Vec<&Record>> = BTreeMap::new();
        for record in batch.iter().map(|it| &*it.record) {
            if let Ok(source) = self.policy.source(record) {
                groups.entry((source, policy::service(record))).or_default().push(record);
            }
        }
        groups.iter().map(|((source, service), records)| self.alert(*source, service, records)).collect()
    }

    fn alert(&self, source: IpAddr, service: &str, records: &[&Record]) -> Value {
        let times = || records.iter().map(|it| it.time);
        let (start, stop) = (times().min().unwrap_or_default(), times().max().unwrap_or_default());
        let login = records.iter().any(|it| it.intent() == Intent::Login);
        let scenario = format!("serin/{service}-{}", if login { "login" } else { "touch" });
        let events: Vec<_> = records.iter().take(EVENTS_MAX).map(|it| event(it)).collect();
        json!({
            "capacity": 0,
            "events": events,
            "events_count": records.len(),
            "leakspeed": "0s",
            "message": format!("{source} performed {scenario} ({} events)", records.len()),
            "scenario": scenario,
            "scenario_hash": "",
            "scenario_version": "",
            "simulated": false,
            "remediation": self.settings.remediation,
            "source": { "scope": "Ip", "value": source.to_string(), "ip": source.to_string() },
            "start_at": start.rfc3339(),
            "stop_at": stop.rfc3339(),
        })
    }
}

/// The local API tells the numbers that it gave to the alerts.
fn understood(answer: &Answer) -> Outcome {
    let numbers = || serde_json::from_slice(&answer.body).is_ok_and(|it: Value| it.is_array());
    match answer.outcome() {
        Outcome::Delivered if !answer.cut && !numbers() => not_lapi(answer),
        other => other,
    }
}

fn not_lapi(answer: &Answer) -> Outcome {
    Outcome::Hold(format!("this does not answer like CrowdSec's local API: {}", answer.told()))
}

fn event(record: &Record) -> Value {
    let meta = |key: &str, value: String| json!({ "key": key, "value": value });
    json!({
        "timestamp": record.time.rfc3339(),
        "meta": [
            meta("service", policy::service(record)),
            meta("log_type", record.kind.name.to_owned()),
            meta("source_ip", record.source.host_text()),
            meta("target_port", record.target.port.map(|it| it.to_string()).unwrap_or_default()),
            meta("event_id", crate::outputs::event_id(record)),
        ],
    })
}

impl Output for CrowdSec {
    fn encode(&self, record: &Record) -> Option<Vec<u8>> {
        let told = policy::is_accusable(record) && self.policy.source(record).is_ok();
        (told || trial::is_trial(record)).then(|| event(record).to_string().into_bytes())
    }

    fn deliver<'a>(&'a mut self, batch: &'a [Item]) -> Later<'a, Delivery> {
        Box::pin(async move {
            if batch.iter().any(|it| trial::is_trial(&it.record)) {
                // Nobody is to be blocked for a test: the machine's name and password are tried.
                return Delivery::Whole(self.log_in(&[]).await.err().unwrap_or(Outcome::Delivered));
            }
            if let Some(wait) = self.wait(batch, now()) {
                return Delivery::Whole(Outcome::Wait(wait));
            }
            let alerts = self.alerts(batch);
            if alerts.is_empty() {
                return Delivery::Whole(Outcome::Reject("its source may not be told".to_owned()));
            }
            self.pushed = Some(now());
            Delivery::Whole(self.push(&alerts).await)
        })
    }

    fn hurry(&mut self) {
        self.hurry = true;
    }

    fn confirms(&self) -> &'static str {
        "taken by the local API"
    }

    fn warning(&self) -> Option<String> {
        self.warning.clone()
    }

    fn deadline(&self) -> Duration {
        self.http.deadline() * 4
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serin_event::{Endpoint, Event, Kind, kinds};

    use super::*;

    fn output() -> CrowdSec {
        CrowdSec {
            policy: AddressPolicy::for_documentation(&[], &[]),
            http: Http::new(&Conf::new()).unwrap(),
            warning: None,
            url: Url::parse("http://127.0.0.1:8080/").unwrap(),
            password: "x".into(),
            settings: Settings::read(&Conf::new()).unwrap(),
            token: None,
            pushed: None,
            hurry: false,
        }
    }

    fn record(kind: &'static Kind, source: &str, second: i64) -> Record {
        let mut event = Event::new(kind);
        if kind.declares("PASSWORD") {
            event = event.with("PASSWORD", "s3cret");
        }
        Record {
            seq: 7,
            source: Endpoint { host: source.parse().ok(), port: Some(4242) },
            target: Endpoint { host: "10.0.0.9".parse().ok(), port: Some(22) },
            ..Record::of(&event, Timestamp(1_795_296_991_000_000 + second * 1_000_000), 0, "node")
        }
    }

    #[test]
    fn one_alert_for_each_source_and_service() {
        let it = output();
        let records = [
            record(&kinds::SSH_LOGIN, "203.0.113.7", 0),
            record(&kinds::SSH_LOGIN, "203.0.113.7", 60),
            record(&kinds::FTP_AUTH_INITIATED, "203.0.113.7", 5),
        ];
        let items: Vec<_> = records
            .into_iter()
            .map(|record| Item { body: it.encode(&record).unwrap(), record: Arc::new(record) })
            .collect();
        let alerts = it.alerts(&items);
        assert_eq!(alerts.len(), 2);
        let ssh = &alerts[1];
        assert_eq!((&ssh["scenario"], &ssh["events_count"]), (&json!("serin/ssh-login"), &json!(2)));
        assert_eq!(ssh["source"], json!({ "scope": "Ip", "value": "203.0.113.7", "ip": "203.0.113.7" }));
        assert_eq!(ssh["start_at"], "2026-11-21T21:36:31.000000Z");
        assert_eq!(ssh["stop_at"], "2026-11-21T21:37:31.000000Z");
        assert_eq!(alerts[0]["scenario"], "serin/ftp-touch");
        assert!(
            !json!(alerts).to_string().contains("s3cret") && !json!(alerts).to_string().contains("10.0.0.9")
        );
    }

    #[test]
    fn the_first_goes_at_once_and_the_next_wait_for_company() {
        let mut it = output();
        let record = Arc::new(record(&kinds::SSH_LOGIN, "203.0.113.7", 0));
        let item = Item { body: Vec::new(), record };
        let second = |number: i64| Timestamp(number * 1_000_000);
        assert_eq!(it.wait(std::slice::from_ref(&item), second(1)), None);
        it.pushed = Some(second(100));
        assert_eq!(it.wait(std::slice::from_ref(&item), second(104)), Some(Duration::from_secs(6)));
        assert_eq!(it.wait(std::slice::from_ref(&item), second(110)), None);
        assert_eq!(it.wait(std::slice::from_ref(&item), second(40)), None, "the clock was set back");
        assert_eq!(it.wait(&vec![item.clone(); 250], second(104)), None);
        it.hurry = true;
        assert_eq!(it.wait(&[item], second(104)), None);
    }

    #[test]
    fn nobody_is_accused_without_a_handshake() {
        let it = output();
        for record in [
            record(&kinds::PORTSCAN_SYN, "203.0.113.7", 0),
            record(&kinds::SNMP_REQUEST, "203.0.113.7", 0),
            record(&kinds::SSH_LOGIN, "10.0.0.7", 0),
            record(&kinds::PING, "203.0.113.7", 0),
        ] {
            assert_eq!(it.encode(&record), None, "{record:?}");
        }
    }
}
