//! AbuseIPDB: who is reported, how often, and what the world gets to read. The double checks what the
//! real one checks, counts its quota, and takes one report of an address in 15 minutes.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use serin_event::{Record, kinds};
use serin_tests::{Receiver, Reply, Request, Sensor, Setup, eventually};

use super::{status, store, store_at, stranger, strangers};

const KEY: &str = "4f0c2a9e7b1d8c36e5a0f7429bd1c86e3fa57290d4e8b61c9a05d37f2e8b41c6a93d70f5e2b8c4d1";
const TARGET: &str = "192.88.99.250";
/// One report of an address in this time.
const SPACING: Duration = Duration::from_mins(15);

#[derive(Debug, Default)]
struct Ledger {
    /// The accepted reports: the form's fields.
    reports: Vec<BTreeMap<String, String>>,
    at: BTreeMap<String, Instant>,
    /// What was wrong with requests.
    refused: Vec<String>,
    quota: usize,
}

/// The double.
struct AbuseIpDb {
    receiver: Receiver,
    ledger: Arc<Mutex<Ledger>>,
}

impl AbuseIpDb {
    /// Takes so many reports a day. Of `known` it has a report already.
    fn start(quota: usize, known: &[String]) -> Self {
        let at = known.iter().map(|it| (it.clone(), Instant::now())).collect();
        let ledger = Arc::new(Mutex::new(Ledger { at, quota, ..Ledger::default() }));
        let serving = ledger.clone();
        let receiver = Receiver::start(move |request| answer(request, &mut serving.lock().unwrap()));
        Self { receiver, ledger }
    }

    fn settings(&self) -> Value {
        json!({
            "type": "abuseipdb", "apikey": KEY, "url": self.receiver.url("/api/v2/report"), "start": "beginning",
        })
    }

    fn reports(&self) -> Vec<BTreeMap<String, String>> {
        self.ledger.lock().unwrap().reports.clone()
    }

    /// Who was reported, in order.
    fn reported(&self) -> Vec<String> {
        self.reports().iter().map(|it| it["ip"].clone()).collect()
    }

    #[track_caller]
    fn assert_manners(&self) {
        assert_eq!(self.ledger.lock().unwrap().refused, Vec::<String>::new());
        for request in self.receiver.seen() {
            let all = format!("{} {}", request.path, request.text());
            for secret in [KEY, "root", "pa%22ss", "10.0.0.", TARGET, "opencanary-1"] {
                assert!(!all.contains(secret), "{secret} left: {all}");
            }
        }
    }
}

fn failed(status: u16, detail: &str) -> Reply {
    let errors = json!({ "errors": [{ "detail": detail, "status": status }] });
    Reply::new(status, errors.to_string()).header("Content-Type", "application/json")
}

fn answer(request: &Request, ledger: &mut Ledger) -> Reply {
    if request.header("key") != KEY {
        let detail = "Authentication failed. Your API key is either missing, incorrect, or revoked.";
        return failed(401, detail);
    }
    if request.method == "GET" && request.path == "/api/v2/check?ipAddress=127.0.0.2" {
        let data = json!({ "data": { "ipAddress": "127.0.0.2", "abuseConfidenceScore": 0 } });
        return Reply::new(200, data.to_string());
    }
    if request.method != "POST" || request.path != "/api/v2/report" {
        return Reply::new(404, "<!doctype html><title>Not Found</title>");
    }
    let fields = match form(request) {
        Ok(fields) => fields,
        Err(why) => {
            ledger.refused.push(why.clone());
            return failed(422, &why);
        }
    };
    let ip = fields["ip"].clone();
    if ledger.reports.len() >= ledger.quota {
        let detail = format!("Daily rate limit of {} requests exceeded for this endpoint.", ledger.quota);
        return failed(429, &detail).header("Retry-After", "29241").header("X-RateLimit-Remaining", "0");
    }
    if ledger.at.get(&ip).is_some_and(|it| it.elapsed() < SPACING) {
        let detail = format!("You can only report the same IP address (`{ip}`) once in 15 minutes.");
        return failed(429, &detail).header("Retry-After", "900");
    }
    ledger.at.insert(ip.clone(), Instant::now());
    ledger.reports.push(fields);
    let data = json!({ "data": { "ipAddress": ip, "abuseConfidenceScore": 52 } });
    Reply::new(200, data.to_string()).header("X-RateLimit-Limit", "1000")
}

/// The fields of a report, where all of them are as they must be.
fn form(request: &Request) -> Result<BTreeMap<String, String>, String> {
    if request.header("content-type") != "application/x-www-form-urlencoded" {
        return Err("The content is no form.".to_owned());
    }
    let decoded = |text: &str| -> Result<String, String> {
        let mut bytes = Vec::new();
        let mut rest = text.bytes();
        while let Some(byte) = rest.next() {
            bytes.push(match byte {
                b'+' => b' ',
                b'%' => {
                    let digits = [rest.next(), rest.next()].map(|it| char::from(it.unwrap_or(b'?')));
                    u8::from_str_radix(&String::from_iter(digits), 16).map_err(|it| it.to_string())?
                }
                other => other,
            });
        }
        String::from_utf8(bytes).map_err(|it| it.to_string())
    };
    let mut fields = BTreeMap::new();
    for pair in request.text().split('&') {
        let (name, value) = pair.split_once('=').ok_or("a field without a value")?;
        fields.insert(decoded(name)?, decoded(value)?);
    }
    let names: BTreeSet<&str> = fields.keys().map(String::as_str).collect();
    if names != BTreeSet::from(["categories", "comment", "ip", "timestamp"]) {
        return Err(format!("The fields are {names:?}."));
    }
    if fields["ip"].parse::<IpAddr>().is_err() {
        return Err("The ip address must be a valid IPv4 or IPv6 address.".to_owned());
    }
    let categories: Vec<Option<u8>> = fields["categories"].split(',').map(|it| it.parse().ok()).collect();
    if !categories.iter().all(|it| it.is_some_and(|it| (1..=23).contains(&it))) || categories.len() > 30 {
        return Err("The categories are invalid.".to_owned());
    }
    if fields["comment"].chars().count() > 1024 {
        return Err("The comment may not be greater than 1024 characters.".to_owned());
    }
    let time = fields["timestamp"].as_bytes();
    let form = b"0000-00-00T00:00:00.000000Z";
    let alike = |(is, as_in): (&u8, &u8)| is == as_in || (is.is_ascii_digit() && *as_in == b'0');
    if time.len() != form.len() || !time.iter().zip(form).all(alike) {
        return Err("The timestamp does not match the format.".to_owned());
    }
    Ok(fields)
}

/// So many logins of one source.
fn logins(count: usize, source: &str) -> Vec<Record> {
    (0..count).map(|_| strangers(&kinds::SSH_LOGIN, source, TARGET)).collect()
}

fn reporting(double: &AbuseIpDb, records: Vec<Record>) -> Sensor {
    let setup = Setup::of(&["ftp"]);
    store(&setup, records);
    setup.output("abuse", double.settings()).start()
}

fn in_state(sensor: &Sensor, state: &str) -> Value {
    eventually(state, || Some(status(sensor, "abuse")).filter(|it| it["state"] == state))
}

#[test]
fn who_insists_is_reported_once_whatever_happens_to_the_sensor() {
    let double = AbuseIpDb::start(1000, &[]);
    let mut records = logins(12, &stranger(1));
    records.extend((0..2).map(|_| strangers(&kinds::TELNET_LOGIN, &stranger(3), "10.0.0.1")));
    // The number of the last tells that all before it were seen.
    records.extend(logins(9, &stranger(2)));
    records.extend(logins(20, "10.0.0.7"));
    records.extend(logins(20, "203.0.113.9"));
    records.extend(logins(20, &stranger(4)).into_iter().map(|it| Record { honeycred: Some(true), ..it }));
    for kind in [&kinds::PORTSCAN_SYN, &kinds::SNMP_REQUEST, &kinds::SSH_CONNECTION] {
        records.extend((0..20).map(|_| strangers(kind, &stranger(5), TARGET)));
    }
    records.extend(logins(8, &stranger(3)));
    let mut sensor = reporting(&double, records);
    eventually("two reports", || Some(()).filter(|()| double.reports().len() == 2));
    assert_eq!(double.reported(), [stranger(1), stranger(3)]);
    let report = &double.reports()[1];
    assert_eq!(
        (report["categories"].as_str(), report["comment"].as_str()),
        ("18,22,23", "Honeypot: 10 attempts within two hours: ssh 8, telnet 2")
    );
    let receipt = eventually("a receipt", || status(&sensor, "abuse")["receipt"].as_str().map(str::to_owned));
    assert_eq!(receipt, "AbuseIPDB took 2 reports");
    assert!(sensor.said().contains("it publishes them under the name of your account"), "{}", sensor.said());
    let config = sensor.config().display().to_string();
    let tested = sensor.ask(&["outputs", "test", "abuse", "--config", &config]).words();
    assert!(tested.contains("accepted by AbuseIPDB"), "{tested}");

    sensor.stop();
    store_at(sensor.folder(), logins(30, &stranger(1)));
    sensor.start();
    sensor.crash();
    store_at(sensor.folder(), [logins(30, &stranger(3)), logins(10, &stranger(6))].concat());
    sensor.start();
    eventually("a third report", || Some(()).filter(|()| double.reports().len() > 2));
    assert_eq!(double.reported(), [stranger(1), stranger(3), stranger(6)]);
    double.assert_manners();
    assert!(!sensor.said().contains(KEY));
}

#[test]
fn a_used_up_quota_is_waited_for_also_after_a_restart() {
    let double = AbuseIpDb::start(1, &[]);
    let mut sensor = reporting(&double, [logins(10, &stranger(1)), logins(10, &stranger(2))].concat());
    let status = in_state(&sensor, "backing-off");
    assert!(status["last_error"].as_str().unwrap().contains("Daily rate limit of 1 requests"), "{status}");
    let asked = double.receiver.seen().len();
    assert_eq!((double.reported(), asked), (vec![stranger(1)], 2));
    sensor.stop();
    sensor.start();
    let told = eventually("its patience", || {
        let told = super::status(&sensor, "abuse")["last_error"].as_str()?.to_owned();
        told.contains("the quota is used up; AbuseIPDB asks to wait 29").then_some(told)
    });
    assert!(!told.contains(KEY));
    assert_eq!(double.receiver.seen().len(), asked, "asked again");
    double.assert_manners();
}

#[test]
fn a_source_that_was_just_reported_is_no_failure() {
    let double = AbuseIpDb::start(1000, &[stranger(1)]);
    let sensor = reporting(&double, [logins(10, &stranger(1)), logins(10, &stranger(2))].concat());
    eventually("a report", || Some(()).filter(|()| double.reports().len() == 1));
    assert_eq!(double.reported(), [stranger(2)]);
    let status = eventually("the count", || Some(status(&sensor, "abuse")).filter(|it| it["sent"] == 1));
    assert_eq!((&status["duplicate"], &status["state"]), (&json!(1), &json!("ok")));
    double.assert_manners();
}

#[test]
fn a_wrong_key_is_held() {
    let double = AbuseIpDb::start(1000, &[]);
    let setup = Setup::of(&["ftp"]);
    store(&setup, logins(10, &stranger(1)));
    let mut settings = double.settings();
    settings["apikey"] = json!("wrong-key");
    let sensor = setup.output("abuse", settings).start();
    let status = in_state(&sensor, "hold");
    assert!(status["last_error"].as_str().unwrap().contains("Authentication failed"), "{status}");
    assert_eq!((&status["sent"], &status["rejected"]), (&json!(0), &json!(0)));
}
